"""What the evaluation's own small classifiers share: their convolutions, their training, and how they are kept.

They are trained on the data set's pictures where there is none of the configuration yet. Initial weights and the order
of examples come from a seed of their own, so that workspaces on the same data are measured by the same networks.
"""

import hashlib
import json
import math
import os
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Callable

import numpy as np
import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf import integrity, locks
from rgan_tf.evaluation.metrics.averages import EvaluationError
from rgan_tf.progress import progress_bar
from rgan_tf.workspace import Workspace, fingerprint

# Side of the last map of features, or less.
_MAP_SIZE = 8


def classifier(name: str, settings: config_lib.InDomainConfig, size: int, heads: dict[str, int]) -> tf.keras.Model:
    """Convolutions that halve the side down to `_MAP_SIZE` and double the filters, one more, and the heads.

    Nothing is normalized over space, which would take away brightness and hue, by which styles differ.

    Args:
      name: the model's.
      settings: seed and widths.
      size: side of the pictures.
      heads: logits by name.

    Returns:
      A model of images float32 [B, size, size, 3] in [-1, 1] that gives features [B, D] and each head's logits.
    """
    levels = max(1, math.ceil(math.log2(size / _MAP_SIZE)))
    filters = [settings.width * 2**level for level in range(levels)]
    seeds = iter(np.random.SeedSequence(settings.seed).generate_state(levels + 1 + len(heads)).tolist())

    def options(initializer):
        return {"kernel_initializer": initializer(seed=next(seeds)), "dtype": "float32"}

    images = maps = tf.keras.Input([size, size, 3], dtype=tf.float32)
    for index, (count, strides) in enumerate([(count, 2) for count in filters] + [(settings.feature_dim, 1)]):
        maps = tf.keras.layers.Conv2D(
            count,
            3,
            strides,
            padding="same",
            activation="relu",
            name=f"conv_{index}",
            **options(tf.keras.initializers.HeNormal),
        )(maps)
    features = tf.keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(maps)
    logits = [
        tf.keras.layers.Dense(count, name=head, **options(tf.keras.initializers.GlorotUniform))(features)
        for head, count in heads.items()
    ]
    return tf.keras.Model(images, [features, *logits], name=name)


def fit(
    model: tf.keras.Model,
    examples: Sequence[np.ndarray],
    loss_of: Callable[..., tf.Tensor],
    settings: config_lib.InDomainConfig,
    title: str,
) -> None:
    """Trains by Adam with a cosine decay.

    Args:
      model: trained in place.
      examples: arrays of one length.
      loss_of: a batch of each to a scalar.
      settings: of the training.
      title: for the bar and for errors.

    Raises:
      EvaluationError: the loss is not finite.
    """
    schedule = tf.keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    optimizer = tf.keras.optimizers.Adam(schedule, jit_compile=False)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(*batch):
        with tf.GradientTape() as tape:
            loss = loss_of(*batch)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss

    rows = row_order(len(examples[0]), settings)
    for index, chosen in enumerate(progress_bar(rows, desc=title, unit="step")):
        if not np.isfinite(step(*(column[chosen] for column in examples))):
            raise EvaluationError(
                f"The {title}'s loss is not finite at step {index}; lower evaluation.in_domain.learning_rate, "
                f"{settings.learning_rate}."
            )


def row_order(count: int, settings: config_lib.InDomainConfig) -> np.ndarray:
    """Rows [steps, batch_size]: every example once, in random order, then again in another one."""
    rng = np.random.default_rng(settings.seed)
    needed = settings.steps * settings.batch_size
    epochs = [rng.permutation(count) for _ in range(math.ceil(needed / count))]
    return np.concatenate(epochs)[:needed].reshape(settings.steps, settings.batch_size)


def batches_of(count: int, size: int) -> Iterator[np.ndarray]:
    """Rows of so many examples, in order, at most `size` at once."""
    return iter(np.array_split(np.arange(count), math.ceil(count / size)))


def kept(
    model: tf.keras.Model,
    room: str,
    title: str,
    config: config_lib.ExperimentConfig,
    workspace: Workspace,
    make: Callable[[], dict],
) -> dict:
    """Gives the model the weights that are kept for this data and these settings, or trains it; returns its notes.

    Args:
      model: not trained.
      room: the folder within `evaluation/`; the classifier is kept in it, in a folder named by its fingerprint.
      title: of the classifier, for errors.
      config: `data` and `evaluation.in_domain`, on which it depends.
      workspace: that has the data set.
      make: trains the model and returns notes on its quality.

    Raises:
      EvaluationError: what is kept cannot be read.
    """
    made_from = {"data": fingerprint("dataset", config), "in_domain": config.evaluation.in_domain.as_dict()}
    mark = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    directory = workspace.root / "evaluation" / room / mark
    if not directory.exists():
        # An ablation's workspaces share the folder.
        shared = directory.parent.resolve()
        with locks.writing(shared.parents[1], shared.name):
            _save(model, make(), directory)
    return _load(model, directory, title)


def _save(model: tf.keras.Model, notes: dict, directory: pathlib.Path) -> None:
    """Writes weights and notes, whole or not at all."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.savez(partial / "weights.npz", **{weight.name.split(":")[0]: weight.numpy() for weight in model.weights})
    integrity.write_json(partial / "notes.json", notes)
    os.replace(partial, directory)


def _load(model: tf.keras.Model, directory: pathlib.Path, title: str) -> dict:
    """Gives the model its kept weights; returns the notes."""
    try:
        with np.load(directory / "weights.npz", allow_pickle=False) as arrays:
            model.set_weights([arrays[weight.name.split(":")[0]] for weight in model.weights])
        return integrity.read_json(directory / "notes.json", "remove the folder to train it again")
    except integrity.DamageError:
        raise
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise EvaluationError(
            f"The {title} in {directory} cannot be read ({error}); remove the folder to train it again."
        ) from error
