"""sg2im's parts against NumPy and SciPy references from its paper."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

from pipelines.input_pipeline import evaluation_batches
from rgan_tf import config as config_lib
from rgan_tf.baselines.sg2im import model as sg2im
from rgan_tf.config import ConfigError
from rgan_tf.training import artifacts
from rgan_tf.training.systems import example_batch

TINY = "model=sg2im,baseline.refinement_widths=[12,8],baseline.mask_size=4,graph_encoder.embedding_dim=8"


def configured(more=""):
    return tiny_config(f"{TINY},{more}".rstrip(","))


@pytest.fixture(scope="module")
def batch(tiny_workspace):
    source = artifacts.scene_source(tiny_workspace, tiny_config(), "validation")
    return next(iter(evaluation_batches(source, 4)))


@pytest.fixture(scope="module")
def names(tiny_workspace):
    return artifacts.vocabulary(tiny_workspace)


def built(config, names):
    tf.keras.utils.set_random_seed(3)
    model = sg2im.Sg2im(config, names.num_objects, names.num_predicates)
    batch = example_batch(config, names)
    model(batch, batch["boxes"], batch["object_mask"])
    return model


def convolved(maps, layer):
    """A same-padded convolution of [H, W, C] with a Keras layer's weights, by SciPy."""
    kernel, bias = (weight.numpy() for weight in layer.weights)
    outputs = [
        sum(scipy.signal.correlate2d(maps[..., c], kernel[..., c, f], "same") for c in range(maps.shape[-1]))
        for f in range(kernel.shape[-1])
    ]
    return np.stack(outputs, axis=-1) + bias


def normalized(maps, valid, slope):
    """Maps [M, H, W, C] by the statistics of the valid ones, and leaky ReLU."""
    outputs = (maps - maps[valid].mean(axis=(0, 1, 2))) / np.sqrt(maps[valid].var(axis=(0, 1, 2)) + 1e-3)
    return np.where(outputs > 0, outputs, slope * outputs)


def doubled(maps):
    return np.kron(maps, np.ones((2, 2, 1)))


def test_masks_are_those_of_the_paper(names):
    model, features = built(configured(), names), np.random.default_rng(0).normal(size=(3, 8))
    valid = np.array([True, False, True])
    found = model.masks(tf.constant(features, tf.float32), tf.constant(valid), training=True).numpy()
    maps = features[:, None, None]
    for block in model.masks.blocks:
        maps = np.stack([convolved(doubled(each), block.conv) for each in maps])
        maps = normalized(maps, valid, 0.0)
    kernel, bias = (weight.numpy() for weight in model.masks.to_logits.weights)
    logits = maps @ kernel[0, 0] + bias
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits[..., 0])), rtol=1e-3)
    assert found.shape == (3, 4, 4)


def test_refinement_is_that_of_the_paper(names):
    model, rng = built(configured(), names), np.random.default_rng(1)
    layout, noise = rng.normal(size=(2, 32, 32, 8)), rng.normal(size=(2, 8, 8, 1))
    inputs = [tf.constant(value, tf.float32) for value in (layout, noise)]
    found = model.refinement(*inputs, training=True).numpy()
    maps = noise
    for size, (first, second) in zip((16, 32), model.refinement.levels):
        shrunk = layout.reshape(2, size, 32 // size, size, 32 // size, 8).mean(axis=(2, 4))
        maps = np.concatenate([shrunk, np.stack([doubled(each) for each in maps])], axis=-1)
        for block in (first, second):
            maps = normalized(np.stack([convolved(each, block.conv) for each in maps]), [True, True], 0.2)
    kernel, bias = (weight.numpy() for weight in model.refinement.to_colours.weights)
    hidden = np.stack([convolved(each, model.refinement.hidden.conv) for each in maps])
    expected = np.where(hidden > 0, hidden, 0.2 * hidden) @ kernel[0, 0] + bias
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_full_mask_fills_its_box_with_the_objects_features():
    features = np.random.default_rng(2).normal(size=(1, 3, 5)).astype(np.float32)
    boxes = np.array([[[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1], [0, 0, 1, 1]]], np.float32)
    mask = np.array([[True, True, False]])
    layout = sg2im.scene_layout(features, tf.ones([1, 3, 4, 4]), boxes, mask, 8).numpy()[0]
    expected = np.zeros((8, 8, 5), np.float32)
    expected[:4, :4] += features[0, 0]
    expected[2:, 2:] += features[0, 1]
    np.testing.assert_allclose(layout, expected, atol=1e-5)


def test_masks_are_warped_bilinearly():
    rng = np.random.default_rng(3)
    masks = rng.random((1, 1, 4, 4)).astype(np.float32)
    layout = sg2im.scene_layout(tf.ones([1, 1, 1]), masks, [[[0.0, 0.0, 1.0, 1.0]]], [[True]], 8).numpy()[0, ..., 0]
    places = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    low = np.minimum(places.astype(int), 2)
    share = places - low
    rows = masks[0, 0][low] * (1 - share)[:, None] + masks[0, 0][low + 1] * share[:, None]
    expected = rows[:, low] * (1 - share) + rows[:, low + 1] * share
    np.testing.assert_allclose(layout, expected, rtol=1e-5)


def test_given_boxes_are_used_and_seeds_count(names, batch):
    model = built(configured(), names)
    first = model(batch, batch["boxes"], batch["object_mask"])
    moved = model(batch, batch["boxes"] * 0.5, batch["object_mask"])
    assert np.abs(first.image - moved.image).max() > 1e-3
    unused = model(batch, batch["boxes"] * 0.5, tf.zeros_like(batch["object_mask"]))
    predicted = model(batch, batch["boxes"], tf.zeros_like(batch["object_mask"]))
    np.testing.assert_array_equal(unused.image, predicted.image)
    other = model({**batch, "scene_seed": batch["scene_seed"] + 1}, batch["boxes"], batch["object_mask"])
    assert np.abs(first.image - other.image).max() > 1e-4


def test_published_widths_have_the_published_layers():
    """Parameters counted from the paper's layers: the graph network, the masks', five modules, two convolutions."""
    path = REPOSITORY / "configs" / "baselines" / "sg2im.yaml"
    config = config_lib.load_config(
        path,
        "data.source_dir=x,data.image_size=64,generator.canvas_size=16,"
        "baseline.refinement_widths=[1024,512,256,128,64]",
    )
    model = sg2im.Sg2im(config, 172, 7)
    batch = {
        "objects": tf.ones([1, 8], tf.int32),
        "object_mask": tf.ones([1, 8], bool),
        "boxes": tf.zeros([1, 8, 4]),
        "triples": tf.zeros([1, 8, 3], tf.int32),
        "triple_mask": tf.ones([1, 8], bool),
        "scene_seed": tf.zeros([1, 2], tf.int32),
    }
    model(batch, batch["boxes"], batch["object_mask"])

    def dense(inputs, outputs):
        return (inputs + 1) * outputs

    def conv(inputs, outputs, normalized=True):
        return 9 * inputs * outputs + outputs + 2 * outputs * normalized

    graph = 5 * (dense(384, 512) + dense(512, 1152) + dense(512, 512) + dense(512, 128))
    graph += (172 + 7) * 128 + dense(128, 512) + dense(512, 4)
    masks = 4 * conv(128, 128) + dense(128, 1)
    refinement, before = 0, 1
    for width in (1024, 512, 256, 128, 64):
        refinement += conv(128 + before, width) + conv(width, width)
        before = width
    refinement += conv(64, 64, normalized=False) + dense(64, 3)
    trained = sum(int(tf.size(weight)) for weight in model.trainable_variables)
    assert trained == graph + masks + refinement
    # What the authors' code (google/sg2im, 2c1bf4a) counts by its own defaults, less what it has besides: 13 rows of
    # the categories' table, 32 channels of noise in every module's layout, the classifier of relations.
    noise = 32 * 9 * (1024 + 512 + 256 + 128 + 64)
    relations = dense(2 * 128 + 8, 512) + dense(512, 7)
    assert trained == 28_158_223 - 13 * 128 - noise - relations


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("baseline.mask_size=6", "baseline.mask_size is 6; it must be a power of two"),
        (
            "baseline.refinement_widths=[8,8,8,8,8,8]",
            "data.image_size is 32; it cannot be halved for each of the 6 widths",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_told(names, override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        built(configured(override), names)
