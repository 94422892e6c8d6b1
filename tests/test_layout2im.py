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
TINY += ",baseline.residual_blocks=1,baseline.crop_size=8,baseline.normalization=none"


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


def test_a_code_is_estimated_by_category():
    rng = np.random.default_rng(1)
    estimator = layout2im.CropEstimator(settings(), 7)
    crops = rng.normal(size=(1, 2, 8, 8, 3))
    categories = np.array([[3, 5]], np.int32)
    estimator(tf.constant(crops, tf.float32), tf.constant(categories))
    for block in (estimator.stem, *estimator.downsampling):
        for table in (block.scale, block.shift):
            table.embeddings.assign(rng.normal(1, 0.3, table.embeddings.shape))
    found = estimator(tf.constant(crops, tf.float32), tf.constant(categories))
    for place, category in enumerate(categories[0]):
        maps = crops[0, place]
        for block in (estimator.stem, *estimator.downsampling):
            kernel = block.conv.kernel.numpy()
            if block is estimator.stem:
                maps = same(maps, kernel)
            else:
                # TensorFlow's "same" pads one pixel on either side of a 4 x 4 kernel that steps by two.
                padded = np.pad(maps, [(1, 1), (1, 1), (0, 0)])
                full = np.stack(
                    [
                        sum(
                            scipy.signal.correlate2d(padded[..., c], kernel[..., c, f], "valid")
                            for c in range(maps.shape[-1])
                        )
                        for f in range(kernel.shape[-1])
                    ],
                    axis=-1,
                )
                maps = full[::2, ::2]
            scale, shift = (table.embeddings.numpy()[category] for table in (block.scale, block.shift))
            maps = np.maximum(maps * scale + shift, 0)
        features = maps.mean(axis=(0, 1))
        for layer, value in ((estimator.to_mean, found.mean), (estimator.to_log_variance, found.log_variance)):
            kernel, bias = (weight.numpy() for weight in layer.weights)
            np.testing.assert_allclose(value[0, place], features @ kernel + bias, rtol=1e-3, atol=1e-5)


def test_object_maps_are_their_vectors_within_their_boxes():
    maps = layout2im.ObjectMaps(settings(), 32, 7)
    categories, latents = tf.constant([[2, 4]]), tf.random.stateless_normal([1, 2, 3], [0, 1])
    boxes = tf.constant([[[0.0, 0.0, 0.5, 1.0], [0.25, 0.25, 0.75, 0.5]]])
    result = maps(categories, latents, boxes)
    assert result.shape == (1, 2, 8, 8, 16)
    # Far from the box a map holds what an empty picture would give.
    elsewhere = maps(categories, latents, tf.zeros([1, 2, 4]))
    np.testing.assert_allclose(result[0, 0, :, 6:], elsewhere[0, 0, :, 6:], atol=1e-5)
    assert np.abs(result[0, 0, :, :3] - elsewhere[0, 0, :, :3]).max() > 1e-3


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
    categories = 12 * (2 * (64 + 128 + 256 + 512 + 1024) + 2 * (128 + 256 + 512) + 64)
    # After the first product of the object maps.
    scale_and_shift = 184 * 2 * 64
    norms, biases = 2 * (128 + 256 + 512), 12 * 64 + 256
    assert model.count_params() == 27_684_739 - categories - scale_and_shift + norms + biases


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match="baseline.fused_size is 12; pictures of data.image_size 32 cannot be halved"):
        layout2im.Layout2Im(tiny_config(f"{TINY},baseline.fused_size=12"), 7)
