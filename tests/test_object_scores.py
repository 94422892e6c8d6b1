"""D_obj restored from a checkpoint, and the accuracy of its class head against counts by hand."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from pipelines.input_pipeline import evaluation_batches
from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.evaluation.metrics.object_scores import ObjectAccuracy, discriminator_logits
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.ops import pixels
from rgan_tf.training import artifacts, stage_trainer
from rgan_tf.workspace import Workspace, WorkspaceError

CLASSES = 5


def colour_judge(images, boxes):
    """A classifier by hand: the category is the red value at the box's corner, in units of ten."""
    height, width = images.shape[1:3]
    x, y = tf.cast(boxes[..., 0] * width, tf.int32), tf.cast(boxes[..., 1] * height, tf.int32)
    red = tf.gather_nd(images[..., 0], tf.stack([y, x], axis=-1), batch_dims=1)
    found = tf.cast(tf.round((red + 1.0) * 127.5 / 10.0), tf.int32)
    return tf.one_hot(found, CLASSES)


def scene(rng, batch=6, objects=4, size=8):
    images = np.zeros([batch, size, size, 3], np.uint8)
    images[..., 0] = 10 * rng.integers(0, CLASSES, images.shape[:3])
    corner = rng.integers(0, size, (batch, objects, 2))
    boxes = np.concatenate([corner / size, np.ones_like(corner)], axis=-1).astype(np.float32)
    shown = np.array([[images[b, y, x, 0] // 10 for x, y in corner[b]] for b in range(batch)])
    return images, boxes, shown


def test_accuracy_is_the_share_of_objects_recognized():
    rng = np.random.default_rng(0)
    images, boxes, shown = scene(rng, batch=30)
    asked, mask = np.where(rng.random(shown.shape) < 0.7, shown, 4), rng.random(shown.shape) < 0.6
    accuracy = ObjectAccuracy(colour_judge)
    for part in (slice(0, 20), slice(20, 30)):
        accuracy.update(images[part], boxes[part], asked[part], mask[part])
    score = accuracy.result()["accuracy"]
    right = [bool(shown[place] == asked[place]) for place in zip(*np.nonzero(mask))]
    assert 0.5 < score.mean < 1.0 and score.count == len(right)
    np.testing.assert_allclose(score.mean, sum(right) / len(right), rtol=1e-12)
    scenes = [(shown == asked)[b][mask[b]].mean() for b in range(30) if mask[b].any()]
    np.testing.assert_allclose(score.scene_mean, np.mean(scenes), rtol=1e-12)


def test_degenerate_input():
    images, boxes, shown = scene(np.random.default_rng(1))
    accuracy = ObjectAccuracy(colour_judge)
    accuracy.update(images, boxes, shown, np.zeros(shown.shape, bool))
    with pytest.raises(UndefinedScore, match="no scene of the split has a single object"):
        accuracy.result()
    with pytest.raises(ValueError, match="takes uint8 pictures, not float32"):
        accuracy.update(images.astype(np.float32), boxes, shown, np.ones(shown.shape, bool))
    diverged = ObjectAccuracy(lambda images, boxes: np.nan * colour_judge(images, boxes))
    with pytest.raises(EvaluationError, match=r"The classifier's logits at \[0, 0\] of a batch is not finite"):
        diverged.update(images, boxes, shown, np.ones(shown.shape, bool))


def checkpoint_weights(directory):
    """Arrays of D_obj in the newest checkpoint by their path in the model, read past the library."""
    reader = tf.train.load_checkpoint(str(directory))
    prefix, suffix = "object_discriminator_object_discriminator/", "/.ATTRIBUTES/VARIABLE_VALUE"
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith(prefix) and n.endswith(suffix)]
    return {name[len(prefix) : -len(suffix)]: reader.get_tensor(name) for name in names}


def in_order(arrays):
    return sorted(map(np.asarray, arrays), key=lambda array: (array.shape, array.tobytes()))


def test_restored_weights_are_the_checkpoints(tiny_workspace):
    config, names = tiny_workspace.trained_config(), artifacts.vocabulary(tiny_workspace)
    assert config.discriminators.object_optimizer.ema_momentum == 0
    restored = artifacts.trained_object_discriminator(tiny_workspace, config, names)
    expected = checkpoint_weights(tiny_workspace.directory("retrievegan"))
    for layer in ("to_features", "to_logit", "to_class_logits"):
        np.testing.assert_array_equal(getattr(restored, layer).kernel, expected[f"{layer}/kernel"])
    assert len(restored.variables) == len(expected) >= 8
    for a, b in zip(in_order(restored.variables), in_order(expected.values())):
        np.testing.assert_array_equal(a, b)
    tf.keras.utils.set_random_seed(config.seed)
    fresh = ObjectDiscriminator(config.discriminators, names.num_objects)
    fresh(tf.zeros([1, 8, 8, 3]), tf.zeros([1, 2, 4]))
    trained, untrained = restored.to_class_logits.kernel, fresh.to_class_logits.kernel
    assert np.abs(trained - untrained).max() > 0


def test_averaged_weights_are_restored_where_training_kept_them(tiny_workspace, tmp_path):
    """A checkpoint of a D_obj after two steps of an optimizer that averages."""
    config, names = tiny_workspace.trained_config(), artifacts.vocabulary(tiny_workspace)
    optimizer = dataclasses.replace(config.discriminators.object_optimizer, ema_momentum=0.5)
    config = config.replace(discriminators={"object_optimizer": optimizer.as_dict()})
    model = artifacts.trained_object_discriminator(tiny_workspace, config_without_average(config), names)
    trained = stage_trainer.OptimizedModel.create((model,), optimizer)
    kernel = model.to_class_logits.kernel
    averaged = kernel.numpy()
    for _ in range(2):
        trained.optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in trained.variables])
        averaged = 0.5 * averaged + 0.5 * kernel.numpy()
    items = {f"object_discriminator_{model.name}": model, "object_discriminator_optimizer": trained.optimizer}
    workspace = Workspace(tmp_path)
    tf.train.CheckpointManager(tf.train.Checkpoint(**items), str(tmp_path / "retrievegan"), 1).save()
    restored = artifacts.trained_object_discriminator(workspace, config, names).to_class_logits.kernel
    np.testing.assert_allclose(restored, averaged, atol=1e-7)
    assert np.abs(restored - kernel).max() > 1e-5


def config_without_average(config):
    return config.replace(discriminators={"object_optimizer": {"ema_momentum": 0.0}})


def test_an_untrained_workspace_is_refused(tmp_path):
    names = types.SimpleNamespace(num_objects=CLASSES)
    with pytest.raises(WorkspaceError, match="has no retrievegan"):
        artifacts.trained_object_discriminator(Workspace(tmp_path), tiny_config(), names)


def test_real_pictures_of_a_workspace(tiny_workspace):
    """The upper reference, against D_obj called scene by scene on exact crops."""
    config, names = tiny_workspace.trained_config(), artifacts.vocabulary(tiny_workspace)
    discriminator = artifacts.trained_object_discriminator(tiny_workspace, config, names)
    source = artifacts.scene_source(tiny_workspace, config, "validation")
    accuracy, right = ObjectAccuracy(discriminator_logits(discriminator)), []
    for batch in evaluation_batches(source, 3):
        accuracy.update(pixels.to_uint8(batch["image"]), batch["boxes"], batch["objects"], batch["object_mask"])
        for b, mask in enumerate(batch["object_mask"].numpy()):
            _, logits = discriminator(batch["image"][b : b + 1], batch["boxes"][b : b + 1])
            right += list((np.argmax(logits[0], axis=-1) == batch["objects"][b].numpy())[mask])
    score = accuracy.result()["accuracy"]
    assert score.count == len(right) and score.scenes == 8
    np.testing.assert_allclose(score.mean, np.mean(right), rtol=1e-12)
