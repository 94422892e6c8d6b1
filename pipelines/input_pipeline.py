"""tf.data: records to padded, masked batches, to which a `BankReader` attaches patches.

Every order and every draw is a function of (seed, epoch, scene), so the pipeline can start at any step and give the
batches that an uninterrupted run would have given.
"""

import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines import relations
from pipelines.bank_reader import BankReader
from pipelines.object_draw import draw_objects
from pipelines.records import MATTE
from rgan_tf import config as config_lib
from rgan_tf.ops import pixels

# Purposes of draws, folded into the seed so that no two share a stream.
_SHUFFLE, _RELATIONS, _CANDIDATES, _MODEL = range(4)
# The epoch whose draws validation, test and every stored feature use.
FIXED_EPOCH = -1


@dataclasses.dataclass(frozen=True)
class SceneSource:
    """The scenes of one split, in record order."""

    builder: tfds.core.DatasetBuilder
    split: str
    data: config_lib.DataConfig
    seed: int

    @property
    def size(self) -> int:
        """Number of scenes."""
        return self.builder.info.splits[self.split].num_examples

    def records(self, start: int = 0, stop: Optional[int] = None) -> tf.data.Dataset:
        """(scene index, encoded record) in dataset order, from one scene to before another; all by default."""
        end = self.size if stop is None else stop
        if start >= end:
            return self.records().take(0)
        records = self.builder.as_dataset(
            split=tfds.core.ReadInstruction(self.split, from_=start, to=end, unit="abs"),
            shuffle_files=False,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        return records.enumerate(start)

    def parse(self, epoch: tf.Tensor, index: tf.Tensor, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Pads one record, decodes its image and draws its scene graph for an epoch."""
        return {"image": self._image(record["image"]), **self.graph(epoch, index, record)}

    def graph(self, epoch: tf.Tensor, index: tf.Tensor, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """As `parse`, without the image."""
        places, objects, triples, triple_mask = self.draw(epoch, index, record)
        return {
            "objects": tf.cast(objects["category"], tf.int32),
            "object_mask": tf.range(self.data.max_objects) < tf.shape(places)[0],
            "object_index": self._pad(places),
            "boxes": objects["box"],
            "triples": triples,
            "triple_mask": triple_mask,
            "style": tf.cast(record["style"], tf.int32),
            "scene_index": tf.cast(index, tf.int32),
            "scene_seed": self._scene_seed(_MODEL, epoch, index),
            "candidate_seed": self._scene_seed(_CANDIDATES, epoch, index),
        }

    def draw(
        self, epoch: tf.Tensor, index: tf.Tensor, record: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """The scene graph of a record in an epoch: objects of too many, or relations where none are annotated.

        Returns:
          places [n] int32 of its objects in the record; those objects' values, padded; triples and triple_mask.
        """
        seed, slots = self._scene_seed(_RELATIONS, epoch, index), self.data.max_objects
        count = tf.shape(record["objects"]["category"])[0]
        annotated = "relations" in record
        if annotated:
            places, *triples = draw_objects(count, record["relations"], seed, slots, self.data.max_triples)
        else:
            places = tf.range(tf.minimum(count, slots))
        objects = {
            name: self._pad(tf.gather(values, places)) for name, values in record["objects"].items() if name != MATTE
        }
        if not annotated:
            mask = tf.range(slots) < count
            triples = relations.draw_triples(objects["box"], objects["centroid"], mask, seed, self.data.max_triples)
        return (places, objects, *triples)

    def _pad(self, values: tf.Tensor) -> tf.Tensor:
        rest = [[0, 0]] * (len(values.shape) - 1)
        padded = tf.pad(values, [[0, self.data.max_objects - tf.shape(values)[0]]] + rest)
        return tf.ensure_shape(padded, [self.data.max_objects] + values.shape[1:])

    def _image(self, encoded: tf.Tensor) -> tf.Tensor:
        """The whole picture squeezed to a square, as sg2im does."""
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        size = [self.data.image_size] * 2
        resized = tf.image.resize(tf.cast(image, tf.float32), size, antialias=True)
        return tf.ensure_shape(resized / 127.5 - 1.0, size + [3])

    def _scene_seed(self, purpose: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        seed = tf.random.experimental.stateless_fold_in(tf.constant([self.seed, purpose], tf.int32), epoch)
        return tf.cast(tf.random.experimental.stateless_fold_in(seed, index), tf.int32)


def training_batches(
    source: SceneSource, batch_size: int, start_step: int = 0, reader: Optional[BankReader] = None
) -> tf.data.Dataset:
    """Endless batches of a training run from a step on: epoch after epoch, each in its own order, no scene left out.

    Args:
      source: the scenes.
      batch_size: scenes in a batch, over all replicas.
      start_step: batches that an earlier run has used up.
      reader: attaches patches where given.

    Returns:
      A data set of dictionaries as WORKSPACE.md's table of tensors names them; patches are uint8 until `to_device`.
    """
    used = start_step * batch_size
    first_epoch, skipped = divmod(used, source.size)

    ordered = source.records()

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # Of this function's graph alone. A shuffle's order depends on the process's seed as well, which is not ours to
        # ask for, and with a process seed of 0 it refuses a tensor as its own.
        tf.compat.v1.set_random_seed(1)
        # A folded seed's first half does not depend on what was folded in: draw a number from the whole.
        folded = tf.random.experimental.stateless_fold_in(tf.constant([source.seed, _SHUFFLE], tf.int64), epoch)
        seed = tf.random.stateless_uniform([], folded, minval=None, maxval=None, dtype=tf.int64)
        records = ordered.shuffle(source.data.shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
        records = records.skip(tf.where(epoch == first_epoch, tf.constant(skipped, tf.int64), 0))
        return records.map(lambda index, record: (epoch, index, record))

    endless = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    scenes = endless.flat_map(one_epoch).map(source.parse, num_parallel_calls=tf.data.AUTOTUNE)
    return _batched(scenes, batch_size, reader, drop_remainder=True)


def evaluation_batches(
    source: SceneSource, batch_size: int, reader: Optional[BankReader] = None, drop_remainder: bool = False
) -> tf.data.Dataset:
    """Every scene of a split once, in record order, with fixed draws; the last batch may be smaller."""
    fixed = tf.constant(FIXED_EPOCH, tf.int64)
    scenes = source.records().map(lambda i, record: source.parse(fixed, i, record), num_parallel_calls=tf.data.AUTOTUNE)
    return _batched(scenes, batch_size, reader, drop_remainder)


def graph_batches(source: SceneSource, batch_size: int, start: int = 0) -> tf.data.Dataset:
    """As `evaluation_batches`, without the images, which are not decoded; from a scene on."""
    fixed = tf.constant(FIXED_EPOCH, tf.int64)
    records = source.records(start)
    scenes = records.map(lambda i, record: source.graph(fixed, i, record), num_parallel_calls=tf.data.AUTOTUNE)
    return _batched(scenes, batch_size, None, drop_remainder=False)


def whole_scenes(source: SceneSource, start: int = 0, stop: Optional[int] = None) -> tf.data.Dataset:
    """Records from one to before another, with their pictures decoded at their own size, several at once."""

    def decode(index, record):
        image = tf.io.decode_image(record["image"], channels=3, expand_animations=False)
        return {**record, "image": image}

    return source.records(start, stop).map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _batched(scenes: tf.data.Dataset, batch_size: int, reader: Optional[BankReader], drop_remainder: bool):
    batches = scenes.batch(batch_size, drop_remainder=drop_remainder)
    if reader is not None:
        batches = batches.map(reader.attach, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    # Records of every file are needed by every worker: the batch is what is divided.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def to_device(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Turns a batch's uint8 patches to floats in [-1, 1]; called inside the step, so that bytes travel, not floats."""
    return {name: pixels.to_float(value) if value.dtype == tf.uint8 else value for name, value in batch.items()}
