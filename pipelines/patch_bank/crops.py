"""The crops of a bank, made on Apache Beam: a tensorflow-datasets builder whose records are cut scenes.

What takes a bank's time, decoding pictures and cropping, is divided among machines by the files of the training split.
The bank itself is then written in one pass over these records, as over scenes that were cut in this process.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines import on_beam, photographs
from pipelines.input_pipeline import SceneSource, whole_scenes
from pipelines.patch_bank.cropping import CutScene, cut_scene
from pipelines.scene_builder import SceneBuilder


@dataclasses.dataclass(eq=False)
class PatchCropsConfig(tfds.core.BuilderConfig):
    """Whose objects are cut out, the side of a patch in pixels, and whether with mattes; `name` follows from them."""

    name: str = ""
    source: SceneSource = None
    patch_size: int = 32
    mattes: bool = False

    def __post_init__(self):
        """Derives the name."""
        self.name = f"{self.source.split}_{self.patch_size}px{'_mattes' if self.mattes else ''}"


class PatchCrops(SceneBuilder, skip_registration=True):
    """Every object of a split cut out of its picture: a record a scene, in the scenes' order."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        side, channels = self.builder_config.patch_size, 4 if self.builder_config.mattes else 3
        features = {
            "image_id": tfds.features.Text(),
            "license": tfds.features.Text(),
            "category": tfds.features.Tensor(shape=(None,), dtype=tf.int64),
            "boxes": tfds.features.Tensor(shape=(None, 4), dtype=tf.float32),
            "patches": tfds.features.Tensor(
                shape=(None, side, side, channels), dtype=tf.uint8, encoding=tfds.features.Encoding.BYTES
            ),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager) -> dict[str, Any]:
        return {self.builder_config.source.split: self._generate_examples()}

    def _generate_examples(self):
        config = self.builder_config
        source = config.source
        parts, start = [], 0
        for length in source.builder.info.splits[source.split].shard_lengths:
            parts.append((start, start + length))
            start += length
        make = functools.partial(_cut_part, source, config.patch_size, config.mattes)
        return self._on_beam(source.split, source.size, parts, make)


def _cut_part(source: SceneSource, patch_size: int, with_mattes: bool, part: tuple[int, int]) -> Iterator[on_beam.Made]:
    """Runs on Beam's machines: the scenes of one file, cut."""
    stride, (start, stop) = photographs.key_stride(source.size), part
    for number, scene in enumerate(whole_scenes(source, start, stop).as_numpy_iterator(), start):
        yield on_beam.Made((number * stride, cut_scene(number, scene, patch_size, with_mattes)._asdict()))


def read(crops: PatchCrops, start: int) -> Iterator[CutScene]:
    """The cut scenes from one on, of a prepared builder."""
    records = crops.as_dataset(
        split=crops.builder_config.source.split,
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    for record in records.skip(start).as_numpy_iterator():
        text = {name: record[name].decode("utf-8") for name in ("image_id", "license")}
        yield CutScene(**{**record, **text})
