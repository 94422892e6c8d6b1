"""Feature networks behind their one door: values against direct computation, labels, fingerprints, errors."""

import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from conftest import tiny_config

from rgan_tf import config as config_lib
from rgan_tf.config import ConfigError
from rgan_tf.errors import UserError
from rgan_tf.evaluation.feature_networks.image_features import make_feature_extractor
from rgan_tf.evaluation.metrics.averages import EvaluationError
from rgan_tf.fingerprints import stages_of
from rgan_tf.models.feature_weights import FeatureWeightsError
from rgan_tf.workspace import Workspace, WorkspaceError, fingerprint

WEIGHTS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


class Network(tf.Module):
    """Says what it is given: the mean color, and the color of the pixel that is second in the third row."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def __call__(self, images):
        mean = tf.reduce_mean(images, [1, 2], keepdims=True)
        logits = images[:, 2, 1] @ self.weights
        return {"pool_3": mean, "logits": logits, "maps": images, "shares": tf.nn.softmax(logits)}

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 10, 3])])
    def fixed(self, images):
        return self(images)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    module, path = Network(), tmp_path_factory.mktemp("network") / "model"
    tf.saved_model.save(module, str(path), {"serving_default": module.__call__, "fixed": module.fixed})
    return path


@pytest.fixture(scope="module")
def keras_weights(tmp_path_factory):
    """InceptionV3 with random weights, and the file of them."""
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.applications.InceptionV3(weights=None, classifier_activation=None)
    path = tmp_path_factory.mktemp("keras") / "inception.h5"
    model.save_weights(path)
    return model, path


@pytest.fixture(scope="module")
def keras_extractor(keras_weights):
    return extractor_of(network="keras_inception", weights=str(keras_weights[1]))


def images_of(count=5, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def config_of(**evaluation):
    config = tiny_config()
    config.evaluation = config_lib.EvaluationConfig(**evaluation)
    config_lib.validate(config)
    return config


def extractor_of(**evaluation):
    return make_feature_extractor(config_of(**evaluation), Workspace("nowhere"))


def numpy_upsampled(images, factor):
    """Bilinear with pixel centres at half coordinates, edges repeated."""
    for axis in (1, 2):
        side = images.shape[axis]
        at = np.clip((np.arange(side * factor) + 0.5) / factor - 0.5, 0, side - 1)
        low = np.minimum(at.astype(int), side - 2)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        images = images.take(low, axis) * (1 - share) + images.take(low + 1, axis) * share
    return images


@pytest.mark.parametrize("low, high", [(-1.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("factor", [1, 2])
def test_saved_model_against_numpy(folder, low, high, factor):
    images = images_of()
    extract = extractor_of(
        network="saved_model", handle=str(folder), input_range=[low, high], input_size=32 * factor, batch_size=2
    )
    assert (extract.name, extract.resize) == ("saved_model", "none32" if factor == 1 else "bilinear64")
    pixels = numpy_upsampled(low + images / 255 * (high - low), factor)
    features = extract(images)
    assert features.pool.dtype == features.logits.dtype == np.float32
    np.testing.assert_allclose(features.pool, pixels.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.logits, pixels[:, 2, 1] @ WEIGHTS, rtol=1e-4, atol=1e-4)


def test_batches_and_repetition_change_nothing(folder):
    images = images_of(7)
    whole = extractor_of(network="saved_model", handle=str(folder))(images)
    parts = extractor_of(network="saved_model", handle=str(folder), batch_size=3)
    for i in (0, 3):
        np.testing.assert_allclose(parts(images[i:]).logits, whole.logits[i:], rtol=1e-6)
    assert (parts(images).pool == parts(images).pool).all()


def test_a_fixed_size_is_told(folder):
    extract = extractor_of(network="saved_model", handle=str(folder), signature="fixed")
    assert extract.resize == "bilinear6x10"
    assert extract(images_of()).pool.shape == (5, 3)


def test_tfgan_inception_from_a_local_copy(folder):
    """At 299 x 299 in [-1, 1] by the network's own call, whatever the other fields say."""
    extract = extractor_of(network="inception_tfgan", handle=str(folder), input_range=[0.0, 9.0], outputs=["a", "b"])
    assert (extract.name, extract.resize) == ("inception_tfgan", "bilinear299")
    images = images_of(2)
    resized = tf.image.resize(images / np.float32(127.5) - 1, (299, 299)).numpy()
    np.testing.assert_allclose(extract(images).logits, resized[:, 2, 1] @ WEIGHTS, rtol=1e-4, atol=1e-4)


def test_fingerprints(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    settings = dict(network="saved_model", handle=str(folder))
    first = extractor_of(**settings).fingerprint
    assert extractor_of(**{**settings, "handle": str(copy)}, batch_size=3).fingerprint == first
    others = [dict(input_range=[0.0, 1.0]), dict(input_size=48), dict(outputs=["logits", "logits"])]
    found = {extractor_of(**{**settings, **other}).fingerprint for other in others}
    module = Network()
    module.weights.assign_add(tf.ones_like(WEIGHTS))
    tf.saved_model.save(module, str(copy), {"serving_default": module.__call__})
    found |= {extractor_of(**{**settings, "handle": str(copy)}).fingerprint, first}
    assert len(found) == 5


def test_keras_inception_from_a_file(keras_weights, keras_extractor):
    model, extract, images = keras_weights[0], keras_extractor, images_of(2)
    assert (extract.name, extract.resize) == ("keras_inception", "bilinear299")
    features = extract(images)
    assert features.pool.shape == (2, 2048) and features.logits.shape == (2, 1000)
    prepared = tf.keras.applications.inception_v3.preprocess_input(tf.image.resize(images, (299, 299)))
    logits = model(prepared, training=False)
    np.testing.assert_allclose(features.logits, logits, rtol=1e-3, atol=1e-4 * np.abs(logits).max())
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(features.pool @ kernel + bias, features.logits, rtol=1e-3, atol=1e-4)


def test_keras_inception_computes_in_float32_under_any_policy(keras_weights, keras_extractor):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        found = extractor_of(network="keras_inception", weights=str(keras_weights[1]))
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
        assert found.fingerprint == keras_extractor.fingerprint
        np.testing.assert_array_equal(found(images_of(2)).pool, keras_extractor(images_of(2)).pool)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def test_vgg19_from_a_file_has_features_alone(tmp_path):
    tf.keras.utils.set_random_seed(2)
    model, images, path = tf.keras.applications.VGG19(weights=None, include_top=False), images_of(2), tmp_path / "v.npz"
    layers = [layer for layer in model.layers if layer.name.startswith(("block1_c", "block2_c", "block3_c"))]
    np.savez(path, **{f"{x.name}/{kind}": w for x in layers for kind, w in zip(("kernel", "bias"), x.get_weights())})
    extract = extractor_of(network="vgg19_block3", weights=str(path))
    assert (extract.name, extract.resize) == ("vgg19_block3", "none32")
    features = extract(images)
    assert features.pool.shape == (2, 256) and features.logits is None
    maps = tf.keras.Model(model.input, model.get_layer("block3_conv4").output)
    prepared = tf.keras.applications.vgg19.preprocess_input(images.astype(np.float32))
    np.testing.assert_allclose(1000 * features.pool, maps(prepared).numpy().mean(axis=(1, 2)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "weights, words",
    [("random", "evaluation.weights is 'random'"), ("v.npz", "evaluation.weights: there is no file v.npz; or set")],
)
def test_vgg19_needs_weights(weights, words):
    with pytest.raises(FeatureWeightsError, match=words):
        extractor_of(network="vgg19_block3", weights=weights)


def refuse(*_, **__):
    raise OSError("Name or service not known")


def test_without_network_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(hub, "resolve", refuse)
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", refuse)
    for network in ("inception_tfgan", "keras_inception"):
        with pytest.raises(FeatureWeightsError) as caught:
            extractor_of(network=network)
        message = str(caught.value)
        assert "\n" not in message and "Name or service not known" in message
        assert "set evaluation.network to in_domain" in message and message.endswith(".")
        assert message.count(". ") == 0


def test_weights_that_do_not_fit(tmp_path):
    with pytest.raises(FeatureWeightsError, match="there is no file nowhere.h5"):
        extractor_of(network="keras_inception", weights="nowhere.h5")
    path = tmp_path / "top_less.h5"
    tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,))]).save_weights(path)
    with pytest.raises(FeatureWeightsError, match=f"evaluation.weights {re.escape(str(path))}") as caught:
        extractor_of(network="keras_inception", weights=str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "outputs, words",
    [(["maps", "logits"], "features .5, 32, 32, 3., not one vector"), (["pool_3", "shares"], "probabilities")],
)
def test_outputs_of_the_wrong_kind(folder, outputs, words):
    extract = extractor_of(network="saved_model", handle=str(folder), outputs=outputs)
    with pytest.raises(EvaluationError, match=f"{words}.*evaluation.outputs"):
        extract(images_of())


@pytest.mark.parametrize(
    "images", [images_of() / 255.0, images_of()[0], images_of()[..., :2], images_of()[:0], np.zeros(3)]
)
def test_images_of_the_wrong_kind(folder, images):
    with pytest.raises(EvaluationError, match=r"give images uint8 \[B, H, W, 3\]"):
        extractor_of(network="saved_model", handle=str(folder))(images)


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(network="inceptoin_tfgan"), "evaluation.network.*did you mean 'inception_tfgan'"),
        (dict(network="saved_model"), "evaluation.handle is empty"),
        (dict(outputs=["logits"]), "evaluation.outputs.*two outputs"),
        (dict(input_range=[1.0, 0.0]), "evaluation.input_range"),
        (dict(input_size=-1), "evaluation.input_size"),
        (dict(batch_size=0), "evaluation.batch_size"),
        (dict(splits=0), "evaluation.splits"),
        (dict(in_domain=dict(steps=0)), "evaluation.in_domain.steps"),
        (dict(in_domain=dict(learning_rate=0.0)), "evaluation.in_domain.learning_rate"),
        (dict(network="saved_model", handle="nowhere"), "evaluation.handle: The feature network nowhere"),
    ],
)
def test_settings_that_cannot_be_used(settings, words):
    settings = dict(settings)
    if "in_domain" in settings:
        settings["in_domain"] = config_lib.InDomainConfig(**settings["in_domain"])
    with pytest.raises(UserError, match=words):
        extractor_of(**settings)


def test_unknown_output_is_named(folder):
    with pytest.raises(ConfigError, match="evaluation: .*'pool_4'; it has logits, maps, pool_3, shares"):
        extractor_of(network="saved_model", handle=str(folder), outputs=["pool_4", "logits"])


def test_in_domain_needs_a_data_set(tmp_path):
    with pytest.raises(WorkspaceError, match="--stage=dataset"):
        make_feature_extractor(config_of(network="in_domain"), Workspace(tmp_path))


def test_how_to_evaluate_makes_no_stage_stale():
    settings = dict(network="saved_model", handle="x", splits=3, in_domain=config_lib.InDomainConfig(seed=4))
    for stage in stages_of("retrievegan"):
        assert fingerprint(stage, config_of(**settings)) == fingerprint(stage, tiny_config())
