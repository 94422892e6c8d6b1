"""The patch encoder: shapes, normalization, and that it sees light and colour."""

import numpy as np
import tensorflow as tf

from rgan_tf.config import PatchEncoderConfig
from rgan_tf.models.patch_encoder import PatchEncoder


def make(normalize=False):
    tf.keras.utils.set_random_seed(0)
    return PatchEncoder(PatchEncoderConfig(width=4, feature_dim=6), normalize=normalize)


def draw(*leading):
    return np.random.default_rng(0).uniform(-1, 1, size=(*leading, 16, 16, 3)).astype(np.float32)


def test_any_leading_dimensions():
    encoder, patches = make(), draw(2, 3, 4)
    whole = encoder(patches)
    assert whole.shape == (2, 3, 4, 6)
    assert whole.dtype == tf.float32
    np.testing.assert_allclose(whole[1, 2], encoder(patches[1, 2]), atol=1e-6)


def test_unit_length_where_asked():
    plain, unit = make(False), make(True)
    patches = draw(5)
    values = plain(patches).numpy()
    unit(patches)
    unit.set_weights(plain.get_weights())
    np.testing.assert_allclose(unit(patches), values / np.linalg.norm(values, axis=-1, keepdims=True), atol=1e-5)
    assert np.ptp(np.linalg.norm(values, axis=-1)) > 1e-3


def test_blank_patches_have_finite_embeddings_and_gradients():
    encoder = make(True)
    patches = tf.zeros([2, 16, 16, 3])
    with tf.GradientTape() as tape:
        tape.watch(patches)
        embedding = encoder(patches)
    assert np.isfinite(embedding).all()
    assert np.isfinite(tape.gradient(embedding, patches)).all()


def test_brightness_contrast_and_hue_change_the_embedding():
    encoder, patch = make(), draw(1) * 0.4
    base = encoder(patch).numpy()
    for changed in (patch + 0.4, patch * 0.5, patch[..., ::-1]):
        assert abs(encoder(changed).numpy() - base).max() > 1e-2 * abs(base).max()


def test_unknown_batch_size_and_mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        encoder = make(True)
        function = tf.function(encoder.call, input_signature=[tf.TensorSpec([None, None, 16, 16, 3])])
        embedding = function(draw(2, 3))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert embedding.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)
