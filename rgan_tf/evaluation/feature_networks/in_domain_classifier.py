"""A classifier of the data set's own pictures, trained by the evaluation: a feature network without a download.

It is a small convolutional network at the data set's image size with two heads. One says which object categories are
in the picture (a sigmoid each). The other one chooses one label of the picture: its style, where the data set has
styles (synthetic scenes), else the category of its largest object, by the area of its box, the first of equals. The
features under both, pooled over space, serve the Fréchet distance: it sees what tells categories and labels apart, and
may be blind to what does not. The second head's softmax is p(y|x) of the Inception Score.

With styles that score is high where every picture is recognisably of one style and all styles occur; the number of
styles is its bound. Without, it is high where one category clearly dominates every picture and all of them take their
turn. Under either it compares with no Inception's score, and it cannot tell good pictures from others that the network
takes for them, so the score of real pictures belongs beside it.

The network depends on `data` and `evaluation.in_domain` alone, which has a seed of its own: workspaces trained with
several seeds on the same data are measured by the same network, if with deterministic kernels (runtime.deterministic)
on the same machine. Elsewhere it differs by rounding, which training amplifies, and so do all scores: to compare
workspaces of several machines, copy one's `evaluation/in_domain/` to the others.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines import input_pipeline
from pipelines.input_pipeline import SceneSource
from pipelines.records import STYLE_NAMES
from rgan_tf import config as config_lib
from rgan_tf.evaluation.feature_networks import small_networks
from rgan_tf.evaluation.metrics.averages import EvaluationError
from rgan_tf.ops import pixels
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

_TITLE = "in-domain classifier"
_READ_BATCH = 64


@dataclasses.dataclass(frozen=True)
class InDomainClassifier:
    """The trained network, and how good it is.

    Attributes:
      model: images float32 [B, S, S, 3] in [-1, 1] to features [B, D], presence logits [B, categories], and label
        logits [B, labels].
      notes: "label" ("style" or "largest object"), "label_accuracy" and, for comparison, "label_chance", the share of
        the most frequent label; "presence_auc", mean over categories of the area under the ROC curve (chance 0.5),
        left out where none is in some pictures and not in others; "validation_images". All on the validation split.
    """

    model: tf.keras.Model
    notes: dict

    @property
    def caution(self) -> str:
        """A sentence that belongs beside its scores, "" where it has learned its labels."""
        accuracy, chance = self.notes["label_accuracy"], self.notes["label_chance"]
        if accuracy > chance:
            return ""
        return (
            f"The in-domain classifier has not learned to tell a picture's {self.notes['label']}: its accuracy is "
            f"{accuracy:.2f}, and that of always giving the most frequent one {chance:.2f}; its Inception Score says "
            "nothing, and its Fréchet distance little."
        )

    def features_and_logits(self, images: tf.Tensor) -> Sequence[tf.Tensor]:
        """Features [B, D] and label logits [B, labels] of images float32 [B, S, S, 3] in [-1, 1].

        Raises:
          EvaluationError: the images are of another size.
        """
        if images.shape[1:] != self.model.input_shape[1:]:
            raise EvaluationError(
                f"The in-domain classifier was trained on images {list(self.model.input_shape[1:])}, not "
                f"{list(images.shape[1:])}; give images of data.image_size."
            )
        features, _, label_logits = self.model(images, training=False)
        return features, label_logits


def trained(config: config_lib.ExperimentConfig, workspace: Workspace) -> InDomainClassifier:
    """Reads the workspace's classifier, or trains it where there is none of this configuration.

    Args:
      config: `data` and `evaluation.in_domain`.
      workspace: that has the data set; the classifier is kept in its `evaluation/in_domain/FINGERPRINT/`.

    Raises:
      WorkspaceError: the workspace has no data set.
      EvaluationError: the kept classifier cannot be read, or its training diverged.
    """
    source = artifacts.scene_source(workspace, config, "train")
    styles = len(source.builder.info.metadata[STYLE_NAMES])
    categories = artifacts.vocabulary(workspace).num_objects - 1
    heads = {"presence": categories, "label": styles or categories}
    model = small_networks.classifier(
        "in_domain_classifier", config.evaluation.in_domain, config.data.image_size, heads
    )

    def make() -> dict:
        settings = config.evaluation.in_domain
        _train(model, _Examples.read(source, categories, settings.max_scenes), settings)
        validation = _Examples.read(dataclasses.replace(source, split="validation"), categories)
        return {"label": "style" if styles else "largest object", **_quality(model, validation)}

    return InDomainClassifier(model, small_networks.kept(model, "in_domain", _TITLE, config, workspace, make))


@dataclasses.dataclass(frozen=True)
class _Examples:
    """images uint8 [M, S, S, 3], presence float32 [M, categories], labels int32 [M]."""

    images: np.ndarray
    presence: np.ndarray
    labels: np.ndarray

    @classmethod
    def read(cls, source: SceneSource, categories: int, limit: int = -1) -> "_Examples":
        """The first `limit` scenes of a split, -1 for all."""
        columns = []
        for batch in input_pipeline.evaluation_batches(source, _READ_BATCH).unbatch().take(limit).batch(_READ_BATCH):
            objects = tf.where(batch["object_mask"], batch["objects"], 0)
            presence = tf.reduce_max(tf.one_hot(objects, categories + 1), axis=1)[:, 1:]
            x0, y0, x1, y1 = tf.unstack(batch["boxes"], axis=-1)
            areas = tf.where(batch["object_mask"], (x1 - x0) * (y1 - y0), -1.0)
            largest = tf.gather(objects, tf.argmax(areas, axis=1), batch_dims=1) - 1
            labels = tf.where(batch["style"] >= 0, batch["style"], largest)
            columns.append((pixels.to_uint8(batch["image"]), presence, labels))
        return cls(*(np.concatenate(column) for column in zip(*columns)))


def _train(model: tf.keras.Model, examples: _Examples, settings: config_lib.InDomainConfig) -> None:
    """On the sum of all heads' cross-entropies."""

    def loss_of(images, presence, labels):
        _, presence_logits, label_logits = model(pixels.to_float(images), training=True)
        return tf.reduce_mean(
            tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(presence, presence_logits), axis=1)
            + tf.nn.sparse_softmax_cross_entropy_with_logits(labels, label_logits)
        )

    small_networks.fit(model, (examples.images, examples.presence, examples.labels), loss_of, settings, _TITLE)


def _quality(model: tf.keras.Model, examples: _Examples) -> dict:
    """How good the network is on examples it has not seen."""
    batches = small_networks.batches_of(len(examples.labels), _READ_BATCH)
    outputs = [model(pixels.to_float(examples.images[rows]), training=False) for rows in batches]
    _, presence_logits, label_logits = (np.concatenate(column) for column in zip(*outputs))
    areas = []
    for present, logits in zip(examples.presence.T, presence_logits.T):
        if 0 < present.sum() < len(present):
            curve = tf.keras.metrics.AUC(from_logits=True)
            areas.append(float(curve(present, logits)))
    return {
        "label_accuracy": float(np.mean(label_logits.argmax(axis=1) == examples.labels)),
        "label_chance": float(np.bincount(examples.labels).max() / len(examples.labels)),
        **({"presence_auc": float(np.mean(areas))} if areas else {}),
        "validation_images": len(examples.labels),
    }
