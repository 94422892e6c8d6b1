"""D_img on the maps of a frozen network: shapes, what is trained, what a logit depends on, a training step with it."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import baseline_config, mirrored

from pipelines.input_pipeline import evaluation_batches
from rgan_tf.config import ConfigError, DiscriminatorsConfig, FeatureNetworkConfig
from rgan_tf.models.feature_network import FeatureNetwork
from rgan_tf.models.projected_discriminator import ProjectedDiscriminator
from rgan_tf.training import artifacts
from rgan_tf.training.systems import system_of

LAYERS = ["block1_conv2", "block2_conv2", "block3_conv1"]


@pytest.fixture(scope="module")
def features():
    tf.keras.utils.set_random_seed(0)
    return FeatureNetwork(FeatureNetworkConfig(weights="random", layers=LAYERS))


def made(features, size=32, **settings):
    tf.keras.utils.set_random_seed(1)
    model = ProjectedDiscriminator(DiscriminatorsConfig(image_width=4, **settings), features)
    images = tf.random.stateless_uniform([3, size, size, 3], [1, 2], -1, 1)
    return model, images, model(images)


@pytest.mark.parametrize("size, side", [(32, 4), (64, 4), (16, 4), (8, 2), (48, 6)])
def test_every_scale_has_logits_at_one_side(features, size, side):
    *_, logits = made(features, size)
    assert logits.shape == (3, side, side, 3) and logits.dtype == tf.float32


def test_the_network_and_the_mixing_stay_and_the_rest_learns(features):
    model, images, _ = made(features)
    trained = {weight.name for weight in model.trainable_variables}
    fixed = model.non_trainable_variables
    assert len(fixed) == 6 and all("over_" in weight.name for weight in fixed)
    assert trained and not any("over_" in name or "block" in name for name in trained)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.reduce_sum(tf.nn.softplus(model(images)))
    for gradient in tape.gradient(loss, [images, *model.trainable_variables]):
        assert np.all(np.isfinite(gradient)) and np.abs(gradient).max() > 0


def test_the_network_is_not_saved_with_the_critic(features, tmp_path):
    model, images, logits = made(features)
    written = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    shapes = tf.train.load_checkpoint(written).get_variable_to_shape_map()
    kernels = [shape for name, shape in shapes.items() if "kernel" in name]
    # Of each scale two that mix, one that judges, and those between: VGG19's would be seven more.
    assert len(kernels) == 2 * 3 + 3 + sum(len(trunk.layers) for trunk in model.trunks)
    tf.keras.utils.set_random_seed(7)
    other = ProjectedDiscriminator(DiscriminatorsConfig(image_width=4), features)
    assert np.abs(other(images) - logits).max() > 1e-3
    tf.train.Checkpoint(model=other).restore(written)
    np.testing.assert_array_equal(other(images), logits)


def test_a_picture_is_judged_alone_and_every_scale_counts(features):
    model, images, logits = made(features)
    np.testing.assert_allclose(model(images[1:2])[0], logits[1], atol=1e-4)
    blurred = tf.image.resize(tf.image.resize(images, [8, 8], "area"), [32, 32])
    assert np.abs(model(blurred) - logits).max(axis=(0, 1, 2)).min() > 1e-3


def test_a_large_scale_of_the_network_changes_nothing(features):
    *_, logits = made(features)
    *_, again = made(lambda images: [100.0 * each for each in features(images)])
    np.testing.assert_allclose(again, logits, atol=1e-3)


def test_outputs_that_are_no_pyramid_are_refused(features):
    with pytest.raises(ConfigError, match=r"outputs of the sides \[50, 25, 12\] for pictures of 50 pixels"):
        made(features, 50)
    with pytest.raises(ConfigError, match="outputs of the sides"):
        made(lambda images: [tf.reduce_mean(each, axis=[1, 2]) for each in features(images)])


RECIPE = (
    "discriminators.projected=true,discriminators.spectral=true,discriminators.normalization=none,"
    "discriminators.r1=0.5,discriminators.r2=0.5,discriminators.augmentation=[colour,translation,cutout],"
    "discriminators.image_width=4,losses.feature_network.layers=[block1_conv1,block2_conv1],"
)


def steps_of(strategy, workspace, config, count=2):
    """The terms of some steps of sg2im, and the weights of its D_img before and after, and which learn."""
    system = system_of("sg2im")
    with strategy.scope():
        batch = next(iter(evaluation_batches(artifacts.scene_source(workspace, config, "train"), 4)))
        tf.keras.utils.set_random_seed(5)
        trainer = system.make_trainer(workspace, config, artifacts.vocabulary(workspace), batch)
    critic = trainer.optimized["image_discriminator"].models[0]
    # A logit's bias is in both logits that the relativistic loss compares.
    kernels = [weight for weight in critic.weights if "kernel" in weight.name]
    before = [weight.numpy() for weight in kernels]
    trainer.train_loop_begin()
    iterator = iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch).repeat()))
    for _ in range(count):
        trainer.train_step(iterator)
    means = {name: float(total) / count for name, total in trainer._sums.items()}
    return means, before, [weight.numpy() for weight in kernels], ["over_" not in w.name for w in kernels]


@pytest.mark.slow
def test_two_replicas_are_one_with_the_whole_recipe(tiny_workspace):
    config = baseline_config("sg2im", f"{RECIPE}baseline.adversarial=relativistic")
    one = steps_of(tf.distribute.OneDeviceStrategy("CPU:0"), tiny_workspace, config)
    two = steps_of(mirrored(), tiny_workspace, config)
    for name, value in one[0].items():
        assert np.isfinite(value) and two[0][name] == pytest.approx(value, rel=2e-2, abs=1e-3), name
    assert one[0]["loss/r1_img"] > 0 and one[0]["loss/r2_obj"] > 0
    for before, after, learns in zip(*one[1:]):
        assert (before != after).any() == learns
