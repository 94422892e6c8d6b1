"""Spectral normalization against SVD, and critics that have it."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import DiscriminatorsConfig
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.models.layers import ConvBlock, SpectralConv2D, SpectralDense
from rgan_tf.ops.spectral import spectral_norm


@pytest.mark.parametrize("shape", [(4, 4, 3, 16), (4, 4, 32, 64), (3, 3, 8, 1), (64, 128), (5, 1)])
def test_it_is_the_largest_singular_value_or_a_little_less(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    exact = np.linalg.svd(kernel.reshape(-1, shape[-1]), compute_uv=False)[0]
    found = float(spectral_norm(tf.constant(kernel)))
    assert 0.95 * exact <= found <= exact * (1 + 1e-5)
    assert float(spectral_norm(tf.constant(7 * kernel))) == pytest.approx(7 * found, rel=1e-4)


def test_with_a_leading_direction_value_and_gradient_are_exact():
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (6, 4))
    kernel = tf.Variable((left[:, :4] * [3.0, 0.4, 0.3, 0.1]) @ right.T, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = spectral_norm(kernel)
    np.testing.assert_allclose(value, 3.0, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(value, kernel), np.outer(left[:, 0], right[:, 0]), atol=1e-5)


def test_zero_weights_are_finite():
    kernel = tf.Variable(tf.zeros([3, 3, 2, 4]))
    with tf.GradientTape() as tape:
        value = spectral_norm(kernel)
    assert value > 0 and np.all(np.isfinite(tape.gradient(value, kernel)))


def test_layers_are_their_plain_kind_with_divided_kernels():
    rng = np.random.default_rng(2)
    images, vectors = rng.normal(size=(2, 8, 8, 3)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)
    for layer, inputs in ((SpectralConv2D(5, 4, 2, "same"), images), (SpectralDense(7, "relu"), vectors)):
        found = layer(inputs)
        layer.bias.assign(rng.normal(size=layer.bias.shape))
        found = layer(inputs)
        divided = layer.kernel / spectral_norm(layer.kernel)
        plain = tf.nn.conv2d(inputs, divided, 2, "SAME") if inputs.ndim == 4 else inputs @ divided
        expected = plain + layer.bias
        np.testing.assert_allclose(found, expected if inputs.ndim == 4 else tf.nn.relu(expected), atol=1e-5)


def test_a_critic_that_has_it_is_not_changed_by_the_size_of_its_weights():
    sizes = {"image_width": 4, "image_layers": 2, "object_width": 4, "object_layers": 2, "object_crop_size": 8}
    settings = DiscriminatorsConfig(**sizes, spectral=True, normalization="none")
    image = tf.random.stateless_uniform([2, 16, 16, 3], [1, 1], -1, 1)
    boxes = tf.constant([[[0.1, 0.1, 0.8, 0.9], [0.0, 0.2, 0.5, 0.6]]] * 2)
    critics = ImageDiscriminator(settings), ObjectDiscriminator(settings, 5)
    before = critics[0](image), critics[1](image, boxes)[0]
    for model in critics:
        for weight in model.trainable_variables:
            weight.assign(weight * 3.0 if "kernel" in weight.name and "class" not in weight.name else weight)
    for old, new in zip(before, (critics[0](image), critics[1](image, boxes)[0])):
        np.testing.assert_allclose(new, old, atol=1e-4)
    compiled = tf.function(lambda: critics[0](image), jit_compile=True)()
    np.testing.assert_allclose(compiled, critics[0](image), atol=1e-4)


def test_mixed_precision_divides_what_it_computes_with():
    images = np.random.default_rng(3).normal(size=(2, 8, 8, 3)).astype(np.float32)
    layers = [ConvBlock(4, spectral=True), SpectralDense(3)]
    exact = [layer(images).numpy() for layer in layers]
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = [ConvBlock(4, spectral=True), SpectralDense(3)]
        for layer, twin, expected in zip(layers, mixed, exact):
            twin(images)
            twin.set_weights(layer.get_weights())
            found = twin(images)
            assert found.dtype == tf.bfloat16
            np.testing.assert_allclose(tf.cast(found, tf.float32), expected, rtol=0.05, atol=0.05)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
