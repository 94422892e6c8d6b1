"""A classifier of objects cut out of the data set's real pictures: a judge that no generator was trained against.

It tells an object's category from its box's pixels alone, and is kept with a workspace's evaluation, as the in-domain
classifier is: workspaces on the same data, and pictures from anywhere, are judged by the same network.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from pipelines import input_pipeline
from pipelines.input_pipeline import SceneSource
from rgan_tf import config as config_lib
from rgan_tf.evaluation.feature_networks import small_networks
from rgan_tf.ops import pixels
from rgan_tf.ops.box_sampling import crop
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

_TITLE = "object classifier"
# Side of an object as it is looked at.
CROP_SIZE = 32
_READ_BATCH = 64


@dataclasses.dataclass(frozen=True)
class ObjectClassifier:
    """The trained network.

    Attributes:
      model: crops float32 [M, 32, 32, 3] in [-1, 1] to features [M, D] and logits [M, categories].
      notes: "validation_accuracy" on real objects of the validation split, "chance", the share of its most frequent
        category, and "validation_objects".
    """

    model: tf.keras.Model
    notes: dict

    def class_logits(self, images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Logits [B, N, categories + 1] of the objects of pictures float32 [B, H, W, 3], by category id; that of the
        reserved id 0 is the least."""
        crops = crop(images, boxes, (CROP_SIZE, CROP_SIZE))
        _, logits = self.model(tf.reshape(crops, [-1, CROP_SIZE, CROP_SIZE, 3]), training=False)
        logits = tf.reshape(logits, [-1, boxes.shape[1], logits.shape[-1]])
        return tf.concat([tf.reduce_min(logits, axis=-1, keepdims=True) - 1.0, logits], axis=-1)

    @property
    def caution(self) -> str:
        """A sentence that belongs beside its scores, "" where it has learned its categories."""
        accuracy, chance = self.notes["validation_accuracy"], self.notes["chance"]
        if accuracy > chance:
            return ""
        return (
            f"The object classifier has not learned its categories: its accuracy on real objects is {accuracy:.2f}, "
            f"and that of always giving the most frequent one {chance:.2f}."
        )


def trained(config: config_lib.ExperimentConfig, workspace: Workspace) -> ObjectClassifier:
    """Reads the workspace's classifier, or trains it where there is none of this configuration.

    Args:
      config: `data` and `evaluation.in_domain`, whose widths, steps and seed it takes.
      workspace: that has the data set; the classifier is kept in its `evaluation/object_classifier/FINGERPRINT/`.

    Raises:
      WorkspaceError: the workspace has no data set.
      EvaluationError: the kept classifier cannot be read, or its training diverged.
    """
    source, settings = artifacts.scene_source(workspace, config, "train"), config.evaluation.in_domain
    heads = {"category": artifacts.vocabulary(workspace).num_objects - 1}
    model = small_networks.classifier("object_classifier", settings, CROP_SIZE, heads)

    def loss_of(crops, categories):
        _, logits = model(pixels.to_float(crops), training=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(categories, logits))

    def make() -> dict:
        small_networks.fit(model, _objects_of(source, settings.max_scenes), loss_of, settings, _TITLE)
        return _quality(model, *_objects_of(dataclasses.replace(source, split="validation")))

    return ObjectClassifier(model, small_networks.kept(model, "object_classifier", _TITLE, config, workspace, make))


def _objects_of(source: SceneSource, limit: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Crops uint8 [M, 32, 32, 3] of the objects of a split's first scenes, and their categories int32 [M] from 0."""
    columns = []
    for batch in input_pipeline.evaluation_batches(source, _READ_BATCH).unbatch().take(limit).batch(_READ_BATCH):
        crops = pixels.to_uint8(crop(batch["image"], batch["boxes"], (CROP_SIZE, CROP_SIZE)))
        mask = batch["object_mask"].numpy()
        columns.append((crops.numpy()[mask], batch["objects"].numpy()[mask] - 1))
    crops, categories = (np.concatenate(column) for column in zip(*columns))
    return crops, categories


def _quality(model: tf.keras.Model, crops: np.ndarray, categories: np.ndarray) -> dict:
    """How good the network is on objects it has not seen."""
    batches = small_networks.batches_of(len(categories), 8 * _READ_BATCH)
    found = [np.argmax(model(pixels.to_float(crops[rows]), training=False)[1], axis=1) for rows in batches]
    return {
        "validation_accuracy": float(np.mean(np.concatenate(found) == categories)),
        "chance": float(np.bincount(categories).max() / len(categories)),
        "validation_objects": len(categories),
    }
