"""SavedModels as feature networks: values, gradients, replicas and training, against direct computations."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import mirrored, tiny_config
from test_step import batches_of, make_trainer, train_steps
from texture_network import KERNEL, export_texture, images

from rgan_tf.config import FeatureNetworkConfig
from rgan_tf.models.feature_network import FeatureNetwork, make_feature_network
from rgan_tf.models.hub_network import HubNetwork


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export_texture(tmp_path_factory.mktemp("texture") / "model")


def direct_maps(pixels):
    """The convolution by NumPy in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(pixels, np.float64), (3, 3), axis=(-4 + 1, -4 + 2))
    return np.tanh(np.einsum("bhwcyx,yxcf->bhwf", windows, KERNEL))


def close(got, want, tolerance=1e-5):
    assert got.dtype == tf.float32 and got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_outputs_in_order_and_range(folder, low, high):
    inputs = images()
    mean, maps = HubNetwork(folder, ["mean", "maps"], input_range=(low, high))(inputs)
    want = direct_maps(low + (inputs.numpy().astype(np.float64) + 1) / 2 * (high - low))
    close(maps, want, 1e-4)
    close(mean, want.mean(axis=(1, 2)), 1e-4)


def test_leading_dimensions_are_kept(folder):
    network, crops = HubNetwork(folder, ["maps", "mean"]), images(batch=(2, 3))
    maps, mean = network(crops)
    assert maps.shape == (2, 3, 5, 7, 4) and mean.shape == (2, 3, 4)
    for i in range(2):
        close(maps[i], network(crops[i])[0])


def test_own_call_is_made_for_inference(folder):
    pixels, maps = HubNetwork(folder, ["output_1", "output_0"], signature="", input_range=(-1.0, 1.0))(images())
    close(maps, direct_maps(images()))
    close(pixels, images().numpy().mean(axis=(1, 2)))


def test_a_keras_model_is_called_with_its_moving_averages(tmp_path):
    inputs = tf.keras.Input([None, None, 3])
    normalized = tf.keras.layers.BatchNormalization(epsilon=0.0)(inputs)
    model = tf.keras.Model(inputs, {"normalized": tf.keras.layers.Dropout(0.5)(normalized)})
    gamma_beta_mean_variance = np.repeat([[2.0], [1.0], [0.5], [4.0]], 3, axis=1)
    model.layers[1].set_weights(list(gamma_beta_mean_variance))
    tf.random.set_seed(0)
    model.save(tmp_path / "model")
    (got,) = HubNetwork(str(tmp_path / "model"), ["normalized"], signature="", input_range=(-1.0, 1.0))(images())
    close(got, 2.0 * (images() - 0.5) / 2.0 + 1.0)


def test_half_precision_networks_give_float32(folder):
    (got,) = HubNetwork(folder, ["pixels"], signature="half", input_range=(-1.0, 1.0))(images())
    close(got, images(), 1e-3)


@pytest.mark.parametrize("height, width", [(8, 6), (19, 25), (5, 4), (8, 25)])
def test_images_are_resized_to_a_fixed_size(folder, height, width):
    pixels, maps = HubNetwork(folder, ["pixels", "maps"], "fixed", (-1.0, 1.0))(images(height, width))
    want = tf.image.resize(images(height, width), (8, 6), antialias=True)
    close(pixels, want)
    close(maps, direct_maps(want))


def test_images_are_resized_when_asked_for(folder):
    (maps,) = HubNetwork(folder, ["maps"], input_range=(-1.0, 1.0), input_size=6)(images(batch=(1, 2)))
    close(maps[0], direct_maps(tf.image.resize(images(batch=(1, 2))[0], (6, 6), antialias=True)))


@pytest.mark.parametrize("signature", ["serving_default", "fixed", ""])
def test_gradients_agree_with_finite_differences(folder, signature):
    output = "output_0" if signature == "" else "maps"
    network, inputs, random = HubNetwork(folder, [output], signature), images(), np.random.default_rng(2)

    def loss(pixels):
        return tf.reduce_sum(tf.square(network(pixels)[0]))

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(inputs)
    assert tape.watched_variables() == ()
    gradient = tape.gradient(value, inputs)
    for _ in range(3):
        step = tf.constant(random.choice([-0.02, 0.02], inputs.shape), tf.float32)
        difference = (loss(inputs + step) - loss(inputs - step)) / 2.0
        assert float(tf.reduce_sum(gradient * step)) == pytest.approx(float(difference), rel=0.02, abs=0.02)


def test_compiled_calls_and_precision_policies_change_nothing(folder):
    network = HubNetwork(folder, ["maps", "pixels"], "fixed")
    want = network(images())
    for jit_compile in (False, True):
        for got, value in zip(tf.function(network, jit_compile=jit_compile)(images()), want):
            close(got, value)
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        for got, value in zip(HubNetwork(folder, ["maps", "pixels"], "fixed")(images()), want):
            np.testing.assert_array_equal(got, value)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("signature, output", [("fixed", "maps"), ("", "output_0")])
def test_two_replicas_give_the_maps_and_gradients_of_one(folder, signature, output):
    strategy = mirrored()
    with strategy.scope():
        replicated = HubNetwork(folder, [output], signature)

    def both(network, inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            maps = network(inputs)[0]
            loss = tf.reduce_sum(tf.square(maps))
        return maps, tape.gradient(loss, inputs)

    shares = strategy.experimental_distribute_values_from_function(
        lambda context: images(batch=(2, 2))[context.replica_id_in_sync_group]
    )
    results = tf.function(lambda: strategy.run(both, args=(replicated, shares)))()
    one = HubNetwork(folder, [output], signature)
    for got, want in zip(results, zip(*[both(one, share) for share in images(batch=(2, 2))])):
        assert len(got.values) == 2
        for a, b in zip(got.values, want):
            close(a, b)


def vgg19_of(network):
    """Keras' VGG19, its preprocessing before, with the weights of a FeatureNetwork and its layers' outputs."""
    keras_network = tf.keras.applications.VGG19(include_top=False, weights=None)
    for layer in network.convolutions:
        keras_network.get_layer(layer.name).set_weights(layer.get_weights())
    layers = [layer.name for layer in network.convolutions]
    pixels = tf.keras.Input([None, None, 3])
    part = tf.keras.Model(keras_network.input, [keras_network.get_layer(layer).output for layer in layers])
    maps = part(tf.keras.applications.vgg19.preprocess_input(pixels))
    return tf.keras.Model(pixels, dict(zip(layers, tf.nest.flatten(maps))))


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory):
    """The folder of an exported VGG19 with random weights, up to block2_conv1."""
    path = tmp_path_factory.mktemp("vgg19") / "model"
    network = vgg19_of(FeatureNetwork(FeatureNetworkConfig(weights="random", layers=["block2_conv1"])))
    tf.saved_model.save(network, str(path))
    return str(path)


def test_an_exported_vgg19_equals_the_feature_network(vgg19):
    config = FeatureNetworkConfig(weights="random", layers=["block2_conv1", "block1_conv2"])
    want = FeatureNetwork(config)(images(16, 16, (2, 2)))
    config.override({"handle": vgg19, "signature": "", "input_range": [0.0, 255.0]})
    network = make_feature_network(config)
    assert isinstance(network, HubNetwork)
    for got, value in zip(network(images(16, 16, (2, 2))), want):
        np.testing.assert_array_equal(got, value)


def test_a_step_of_training_with_a_handle_equals_one_with_vgg19(tiny_workspace, vgg19):
    config = tiny_config()
    as_vgg19 = FeatureNetwork(config.losses.feature_network)
    config.losses.feature_network.override({"handle": vgg19, "signature": "", "input_range": [0.0, 255.0]})
    dataset = batches_of(tiny_workspace, config)
    batch = next(iter(dataset))
    trainer = make_trainer(tiny_workspace, config, tf.distribute.get_strategy(), batch)
    with_handle, trainer.models = trainer.models, trainer.models._replace(feature_network=as_vgg19)
    want, gradients = trainer.gradients(batch, tf.constant(0, tf.int64))
    want["gradient_norm/generator"] = tf.linalg.global_norm(gradients["generator"])
    trainer.models = with_handle
    assert isinstance(trainer.models.feature_network, HubNetwork)
    train_steps(trainer, dataset, 1)
    assert want["loss/p_img"] > 0 and want["loss/p_obj"] > 0
    for name, value in want.items():
        assert float(trainer._sums[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), name
