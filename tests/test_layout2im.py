"""layout2im's parts against NumPy and SciPy references from its paper."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

from rgan_tf import config as config_lib
from rgan_tf.baselines.layout2im import model as layout2im
from rgan_tf.baselines.layout2im.trainer import divergence
from rgan_tf.config import ConfigError
from rgan_tf.scene_graph import Vocabulary
from rgan_tf.training.systems import system_of

TINY = "model=layout2im,baseline.latent_dim=3,baseline.embedding_dim=4,baseline.width=4,baseline.lstm_widths=[5,3]"
TINY += ",baseline.residual_blocks=1,baseline.crop_size=8"


def settings(more=""):
    return tiny_config(f"{TINY},{more}".rstrip(",")).baseline


def same(maps, kernel):
    """A same-padded convolution of [H, W, C]."""
    return np.stack(
        [
            sum(scipy.signal.correlate2d(maps[..., c], kernel[..., c, f], "same") for c in range(maps.shape[-1]))
            for f in range(kernel.shape[-1])
        ],
        axis=-1,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_fuser_is_a_convolutional_lstm_over_valid_objects():
    rng = np.random.default_rng(0)
    fuser, maps = layout2im.Fuser([5, 3]), rng.normal(size=(2, 4, 6, 6, 2))
    mask = np.array([[True, True, True, True], [True, True, False, False]])
    found = fuser(tf.constant(maps, tf.float32), tf.constant(mask)).numpy()
    for scene, valid, result in zip(maps, mask, found):
        sequence = list(scene[valid])
        for layer in fuser.recurrent:
            kernel, recurrent, bias = (weight.numpy() for weight in layer.cell.weights)
            width = layer.filters
            hidden = cell = np.zeros((6, 6, width))
            outputs = []
            for step in sequence:
                gates = same(step, kernel) + same(hidden, recurrent) + bias
                into, forget, candidate, out = np.split(gates, 4, axis=-1)
                cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(candidate)
                hidden = sigmoid(out) * np.tanh(cell)
                outputs.append(hidden)
            sequence = outputs
        np.testing.assert_allclose(result, sequence[-1], rtol=1e-3, atol=1e-5)


def halved(maps, kernel):
    """A convolution of [H, W, C] by a 4 x 4 kernel that steps by two; TensorFlow pads one pixel on either side."""
    padded = np.pad(maps, [(1, 1), (1, 1), (0, 0)])
    full = [
        sum(scipy.signal.correlate2d(padded[..., c], kernel[..., c, f], "valid") for c in range(maps.shape[-1]))
        for f in range(kernel.shape[-1])
    ]
    return np.stack(full, axis=-1)[::2, ::2]


def normalized(maps, valid, categories, norm):
    """Of maps [M, H, W, C] by the statistics of the valid ones, and by category."""
    mean, deviation = maps[valid].mean(axis=(0, 1, 2)), maps[valid].var(axis=(0, 1, 2))
    scale, shift = (table.embeddings.numpy()[categories][:, None, None] for table in (norm.scale, norm.shift))
    return (maps - mean) / np.sqrt(deviation + 1e-3) * scale + shift


def stirred(model, rng):
    """Gives every table by category numbers of its own."""
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.Embedding):
            layer.embeddings.assign(rng.normal(1, 0.3, layer.embeddings.shape))


CATEGORIES, VALID = np.array([[3, 5, 5]], np.int32), np.array([[True, True, False]])


def test_a_code_is_estimated_by_category():
    rng, flat = np.random.default_rng(1), (VALID[0], CATEGORIES[0])
    estimator, crops = layout2im.CropEstimator(settings(), 7), rng.normal(size=(1, 3, 8, 8, 3))
    inputs = tf.constant(crops, tf.float32), tf.constant(CATEGORIES), tf.constant(VALID)
    estimator(*inputs)
    stirred(estimator, rng)
    found = estimator(*inputs, training=True)
    maps = crops[0]
    for block in (estimator.stem, *estimator.downsampling):
        convolve = same if block is estimator.stem else halved
        maps = np.stack([convolve(each, block.conv.kernel.numpy()) for each in maps])
        maps = np.maximum(normalized(maps, *flat, block.norm), 0)
    features = maps.mean(axis=(1, 2))
    for layer, value in ((estimator.to_mean, found.mean), (estimator.to_log_variance, found.log_variance)):
        kernel, bias = (weight.numpy() for weight in layer.weights)
        np.testing.assert_allclose(value[0], features @ kernel + bias, rtol=1e-3, atol=1e-4)


def test_object_maps_are_vectors_within_boxes_brought_down():
    rng, flat = np.random.default_rng(2), (VALID[0], CATEGORIES[0])
    maps, latents = layout2im.ObjectMaps(settings(), 32, 7), rng.normal(size=(1, 3, 3)).astype(np.float32)
    # On the pixel grid, where what a box covers is 0 or 1.
    boxes = np.array([[[0, 0, 0.5, 1], [0.25, 0.25, 0.75, 0.5], [0, 0, 1, 1]]], np.float32)
    inputs = tf.constant(CATEGORIES), tf.constant(VALID), tf.constant(latents), tf.constant(boxes)
    maps(*inputs)
    stirred(maps, rng)
    found = maps(*inputs, training=True)
    vectors = np.concatenate([maps.embedding.embeddings.numpy()[CATEGORIES[0]], latents[0]], axis=-1)
    expected = np.zeros([3, 32, 32, 4])
    for place, (vector, (x0, y0, x1, y1)) in enumerate(zip(vectors, (32 * boxes[0]).astype(int))):
        expected[place, y0:y1, x0:x1] = vector @ maps.stem.kernel.numpy()
    expected = np.maximum(normalized(expected, *flat, maps.stem_norm), 0)
    for block in maps.downsampling:
        expected = np.stack([halved(each, block.conv.kernel.numpy()) for each in expected])
        expected = normalized(expected, *flat, block.norm)
        # What goes into the fuser is not cut off at zero.
        expected = expected if block is maps.downsampling[-1] else np.maximum(expected, 0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-4)


def test_the_divergence_is_that_of_normal_distributions():
    mean, log_variance = (np.random.default_rng(2).normal(size=(1, 1, 3)).astype(np.float32) for _ in range(2))
    places = np.linspace(-14, 14, 200001)
    expected = 0.0
    for m, v in zip(mean[0, 0], log_variance[0, 0]):
        q = np.exp(-((places - m) ** 2) / (2 * np.exp(v))) / np.sqrt(2 * np.pi * np.exp(v))
        p = np.exp(-(places**2) / 2) / np.sqrt(2 * np.pi)
        keep = q > 1e-300
        expected += np.trapz(np.where(keep, q * np.log(np.where(keep, q, 1) / np.maximum(p, 1e-300)), 0), places)
    found = divergence(layout2im.Posterior(tf.constant(mean), tf.constant(log_variance)))
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-4)


def test_codes_are_normal_and_belong_to_scene_and_place():
    model = layout2im.Layout2Im(tiny_config(TINY), 7)
    seeds = tf.stack([tf.range(400), tf.zeros(400, tf.int32)], axis=1)
    codes = model.prior(seeds, 4).numpy()
    assert abs(codes.mean()) < 0.05 and abs(codes.std() - 1) < 0.05
    np.testing.assert_array_equal(model.prior(seeds[5:6], 9)[:, :4], codes[5:6])
    posterior = layout2im.Posterior(tf.fill([400, 4, 3], 2.0), tf.fill([400, 4, 3], np.float32(np.log(0.25))))
    sampled = model.sample(posterior, seeds).numpy()
    assert abs(sampled.mean() - 2) < 0.05 and abs(sampled.std() - 0.5) < 0.03
    assert abs(np.corrcoef(sampled.ravel(), codes.ravel())[0, 1]) < 0.05


def test_published_widths_have_the_parameters_of_the_authors_code():
    """zhaobozb/layout2im, 031f65b, by its own defaults and 184 categories, with all that differs."""
    more = "data.source_dir=none,data.image_size=64,generator.canvas_size=16,generator.decoder_widths=[64,32]"
    path = REPOSITORY / "configs" / "baselines" / "layout2im.yaml"
    config = config_lib.load_config(path, f"{more},discriminators.image_layers=3,discriminators.object_layers=3")
    names = Vocabulary.from_names([f"object {i}" for i in range(171)], list("abcdef"))
    model = system_of("layout2im").build(config, names)
    # Scale and shift by category of the crop estimator and of the object maps; the categories' vectors.
    categories = 12 * (2 * (64 + 128 + 256 + 512 + 1024) + 2 * (64 + 128 + 256 + 512) + 64)
    trained = sum(int(tf.size(weight)) for weight in model.trainable_variables)
    assert trained == 27_684_739 - categories


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match="baseline.fused_size is 12; pictures of data.image_size 32 cannot be halved"):
        layout2im.Layout2Im(tiny_config(f"{TINY},baseline.fused_size=12"), 7)
