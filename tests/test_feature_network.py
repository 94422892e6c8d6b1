"""The perceptual network against Keras' own VGG19, and every way its weights can come or fail to come."""

import logging
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import ConfigError, FeatureNetworkConfig
from rgan_tf.models.feature_network import FeatureNetwork, halve
from rgan_tf.models.feature_weights import FeatureWeightsError

WEIGHTS_DIR = pathlib.Path(
    os.environ.get("RGAN_TF_WEIGHTS_DIR", pathlib.Path(__file__).parents[2] / "shared" / "data" / "weights")
)
PRETRAINED = WEIGHTS_DIR / "vgg19_block1_to_block3.npz"
SHAPES = {"block1_conv1": (3, 3, 3, 64), "block1_conv2": (3, 3, 64, 64), "block2_conv1": (3, 3, 64, 128)}
LAYERS = ["block2_conv1", "block1_conv2"]


def images(size=16, batch=(2,)):
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (*batch, size, size, 3)), tf.float32)


def made_weights(shapes=None):
    rng = np.random.default_rng(1)
    arrays = {}
    for name, shape in (shapes or SHAPES).items():
        arrays[f"{name}/kernel"] = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32)
        arrays[f"{name}/bias"] = rng.normal(0, 0.1, shape[3:]).astype(np.float32)
    return arrays


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **made_weights())
    return path


def keras_maps(arrays, layers, inputs):
    """What Keras' own VGG19 gives with these weights, its own preprocessing before."""
    network = tf.keras.applications.VGG19(include_top=False, weights=None, input_shape=inputs.shape[1:])
    for name in {key.split("/")[0] for key in arrays}:
        network.get_layer(name).set_weights([arrays[f"{name}/kernel"], arrays[f"{name}/bias"]])
    part = tf.keras.Model(network.input, [network.get_layer(layer).output for layer in layers])
    return part(tf.keras.applications.vgg19.preprocess_input((inputs + 1.0) * 127.5))


def close(got, want):
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.skipif(not PRETRAINED.is_file(), reason=f"no pretrained weights at {PRETRAINED} (RGAN_TF_WEIGHTS_DIR)")
def test_pretrained_weights_give_the_maps_of_keras():
    layers = ["block1_conv2", "block2_conv2", "block3_conv4", "block3_conv1"]
    network = FeatureNetwork(FeatureNetworkConfig(weights=str(PRETRAINED), layers=layers))
    with np.load(PRETRAINED, allow_pickle=False) as arrays:
        want = keras_maps(dict(arrays), layers, images(32))
    for got, expected in zip(network(images(32)), want):
        close(got, expected.numpy())


def test_npz_weights_give_the_maps_of_keras(npz):
    network = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS))
    for got, expected in zip(network(images(32)), keras_maps(made_weights(), LAYERS, images(32))):
        close(got, expected.numpy())


def test_only_layers_up_to_the_deepest_are_made(npz):
    network = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS))
    assert [layer.name for layer in network.convolutions] == list(SHAPES)
    shapes = [tuple(variable.shape) for variable in network.variables]
    assert shapes == [array.shape for array in made_weights().values()]


@pytest.mark.parametrize("whole_model", [False, True])
def test_h5_weights_equal_npz_weights(npz, tmp_path, whole_model):
    inputs = x = tf.keras.Input([16, 16, 3])
    arrays = made_weights()
    for name, shape in SHAPES.items():
        x = tf.keras.layers.Conv2D(shape[3], 3, name=name)(x)
    model = tf.keras.Model(inputs, x)
    for name in SHAPES:
        model.get_layer(name).set_weights([arrays[f"{name}/kernel"], arrays[f"{name}/bias"]])
    path = tmp_path / "weights.h5"
    model.save(path) if whole_model else model.save_weights(path)
    from_h5 = FeatureNetwork(FeatureNetworkConfig(weights=str(path), layers=LAYERS))(images())
    from_npz = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS))(images())
    for got, expected in zip(from_h5, from_npz):
        np.testing.assert_array_equal(got, expected)


def test_random_weights_are_reproducible_and_say_so(caplog):
    config = FeatureNetworkConfig(weights="random", layers=["block2_conv2"])
    with caplog.at_level(logging.WARNING):
        (first,) = FeatureNetwork(config)(images())
    assert "random weights" in caplog.text
    tf.random.set_seed(5)
    (second,) = FeatureNetwork(config)(images())
    np.testing.assert_array_equal(first, second)
    assert 1 < np.std(first) < 1000 and np.mean(first.numpy() > 0) > 0.2


def test_leading_dimensions_are_kept(npz):
    network = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS))
    crops = images(batch=(2, 3))
    maps = network(crops)
    assert maps[0].shape == (2, 3, 8, 8, 128) and maps[1].shape == (2, 3, 16, 16, 64)
    np.testing.assert_allclose(maps[0][1], network(crops[1])[0], rtol=1e-4, atol=1e-3)


def test_it_is_frozen_and_gradients_flow_to_the_image(npz):
    network, inputs = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS)), images()
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_mean(tf.square(network(inputs)[0]))
    gradient = tape.gradient(loss, inputs).numpy()
    assert network.trainable_variables == [] and len(network.non_trainable_variables) == 6
    assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


def test_it_stays_float32_under_mixed_precision(npz):
    config = FeatureNetworkConfig(weights=str(npz), layers=LAYERS)
    want = FeatureNetwork(config)(images())
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        got = FeatureNetwork(config)(images())
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for a, b in zip(got, want):
        assert a.dtype == tf.float32
        np.testing.assert_array_equal(a, b)


def test_compiled_calls_give_the_eager_maps(npz):
    network = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS))
    for jit_compile in (False, True):
        for got, want in zip(tf.function(network, jit_compile=jit_compile)(images()), network(images())):
            close(got, want.numpy())


@pytest.mark.parametrize("layer", ["block6_conv1", "block1_conv3", "block0_conv1", "conv1", "block3_pool"])
def test_unknown_layers_are_named(layer):
    with pytest.raises(ConfigError, match=f"has no layer '{layer}'"):
        FeatureNetwork(FeatureNetworkConfig(weights="random", layers=["block1_conv1", layer]))


def test_no_layers_and_small_images_are_errors(npz):
    with pytest.raises(ConfigError, match="layers is empty"):
        FeatureNetwork(FeatureNetworkConfig(weights="random", layers=[]))
    network = FeatureNetwork(FeatureNetworkConfig(weights=str(npz), layers=LAYERS))
    with pytest.raises(ConfigError, match="1 x 1 pixels are too small"):
        network(images(1))


def test_missing_layers_are_named(npz):
    config = FeatureNetworkConfig(weights=str(npz), layers=["block3_conv1"])
    with pytest.raises(FeatureWeightsError, match="lack block2_conv2, block3_conv1;"):
        FeatureNetwork(config)


def test_wrong_shapes_are_named(tmp_path):
    np.savez(tmp_path / "thin.npz", **made_weights({"block1_conv1": (3, 3, 3, 32)}))
    with pytest.raises(FeatureWeightsError, match=r"block1_conv1 has shapes \(\(3, 3, 3, 32\), \(32,\)\)"):
        FeatureNetwork(FeatureNetworkConfig(weights=str(tmp_path / "thin.npz"), layers=["block1_conv1"]))


@pytest.mark.parametrize("name", ["broken.npz", "broken.h5"])
def test_unreadable_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an archive")
    with pytest.raises(FeatureWeightsError, match=f"{name} cannot be read"):
        FeatureNetwork(FeatureNetworkConfig(weights=str(tmp_path / name), layers=["block1_conv1"]))


def test_absent_files_and_unknown_sources_are_named(tmp_path):
    with pytest.raises(FeatureWeightsError, match="there is no file .*absent.npz"):
        FeatureNetwork(FeatureNetworkConfig(weights=str(tmp_path / "absent.npz"), layers=["block1_conv1"]))
    with pytest.raises(FeatureWeightsError, match="'imagnet'; it must be"):
        FeatureNetwork(FeatureNetworkConfig(weights="imagnet", layers=["block1_conv1"]))


def test_a_failed_download_is_an_error_that_says_what_to_do(monkeypatch):
    def offline(**settings):
        assert settings == {"include_top": False, "weights": "imagenet"}
        raise OSError("no route to host")

    monkeypatch.setattr(tf.keras.applications, "VGG19", offline)
    with pytest.raises(FeatureWeightsError, match="no route to host.*Connect to the network, or set"):
        FeatureNetwork(FeatureNetworkConfig(weights="imagenet", layers=["block1_conv1"]))


def test_downloaded_weights_are_taken_by_layer(monkeypatch):
    keras_vgg19 = tf.keras.applications.VGG19
    downloaded = keras_vgg19(include_top=False, weights=None)
    monkeypatch.setattr(tf.keras.applications, "VGG19", lambda **settings: downloaded)
    network = FeatureNetwork(FeatureNetworkConfig(weights="imagenet", layers=["block2_conv2"]))
    for layer in network.convolutions:
        for got, want in zip(layer.get_weights(), downloaded.get_layer(layer.name).get_weights()):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_pooling_for_xla_is_the_native_one_also_among_equal_values(size):
    rng = np.random.default_rng(2)
    # Few values, so that most squares hold equal ones.
    maps = tf.constant(rng.integers(0, 3, (3, *size, 5)), tf.float32)
    upstream = tf.constant(rng.normal(size=(3, size[0] // 2, size[1] // 2, 5)), tf.float32)

    def value_and_gradient(pool):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            halved = pool(maps)
        return halved, tape.gradient(halved, maps, upstream)

    native = value_and_gradient(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"))
    for pool in (halve, tf.function(halve, jit_compile=True)):
        for found, expected in zip(value_and_gradient(pool), native):
            np.testing.assert_array_equal(found, expected)


def test_a_network_for_xla_gives_the_same_maps(npz):
    config = FeatureNetworkConfig(weights=str(npz), layers=LAYERS)
    for found, expected in zip(FeatureNetwork(config, xla=True)(images()), FeatureNetwork(config)(images())):
        np.testing.assert_array_equal(found, expected)
