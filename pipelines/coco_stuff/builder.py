"""tensorflow-datasets builder over a local copy of COCO 2017 with stuff annotations."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Optional

import tensorflow_datasets as tfds

from pipelines import records
from pipelines.coco_stuff import protocol, segmentation
from pipelines.records import SourceError
from rgan_tf.progress import progress_bar

MISSING_IMAGE = "image file missing (scene skipped)"
CORRUPT_IMAGE = "image that cannot be decoded (scene skipped)"
OTHER_SIZE = "image of another size than its annotations say (scene skipped)"
NO_SEGMENTATION = "object without segmentation (box centre taken)"
MALFORMED_SEGMENTATION = "object with malformed or empty segmentation (box centre taken)"
# tensorflow-datasets sorts records by 128-bit keys, in buckets that each hold an equal range of them.
KEY_RANGE = 2**128


@dataclasses.dataclass(eq=False)
class CocoStuffConfig(tfds.core.BuilderConfig):
    """Source folder and protocol; `name` follows from them.

    `validation_images` is how many of val2017's scenes, in file order, make the validation split; the rest is the test
    split. Scenes are counted after the protocol chose them, before pictures are read.
    """

    name: str = ""
    source_dir: str = ""
    validation_images: int = 1024
    require_stuff: bool = True
    min_object_area: float = 0.02
    min_objects: int = 3
    max_objects: int = 8

    def __post_init__(self):
        """Derives the name."""
        settings = (self.source_dir, self.validation_images, self.require_stuff, float(self.min_object_area))
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        self.name = f"{self.min_objects}to{self.max_objects}_objects_{digest}"


class CocoStuff(tfds.core.GeneratorBasedBuilder):
    """COCO photos with things and stuff, by sg2im's protocol; each record holds the JPEG file as it is."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="COCO 2017 photos, things and stuff together, 3 to 8 objects an image.",
            features=records.features(),
            metadata=records.metadata(),
            homepage="https://cocodataset.org",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        config = self.builder_config
        root = protocol.check_layout(config.source_dir)
        rules = protocol.Protocol(config.min_object_area, config.min_objects, config.max_objects, config.require_stuff)
        train, val = (protocol.read_part(root, part, rules) for part in protocol.PARTS)
        names = protocol.object_names(protocol.merge_categories(train.categories, val.categories, "the val2017 files"))
        self.info.metadata[records.OBJECT_NAMES] = names
        self.info.metadata[records.SELECTION] = {"train2017": dict(train.selection), "val2017": dict(val.selection)}
        scenes = {
            "train": train.scenes,
            "validation": val.scenes[: config.validation_images],
            "test": val.scenes[config.validation_images :],
        }
        self._check_splits(scenes, len(val.scenes))
        ids = {name: index for index, name in enumerate(names, start=1)}
        problems = {"train": train.problems, "validation": val.problems, "test": val.problems}
        return {split: self._generate_examples(split, scenes[split], ids, problems[split]) for split in scenes}

    def _check_splits(self, scenes: dict[str, list[protocol.Scene]], in_val: int) -> None:
        if not scenes["train"]:
            raise SourceError(f"{self.builder_config.source_dir}: no image of train2017 passes the protocol.")
        if not scenes["validation"] or not scenes["test"]:
            raise SourceError(
                f"data.validation_images is {self.builder_config.validation_images}, but {in_val} scenes of val2017 "
                "pass the protocol; choose a number above 0 and below that, so that validation and test both get some."
            )

    def _generate_examples(
        self, split: str, scenes: list[protocol.Scene], ids: dict[str, int], problems: Counter
    ) -> Iterator[tuple[int, dict]]:
        """Yields the scenes in order; whatever is wrong with one is counted in `problems`."""
        stride = KEY_RANGE // len(scenes)
        yielded = 0
        for index, scene in enumerate(progress_bar(scenes, desc=f"{split} scenes", unit="scene")):
            record = _record(scene, ids, problems)
            if record is not None:
                yielded += 1
                yield index * stride, record
        part = "train2017" if split == "train" else "val2017"
        self.info.metadata[records.PROBLEMS][part] = dict(problems)
        if not yielded:
            raise SourceError(f"The {split} split has no usable scene of {len(scenes)}; problems: {dict(problems)}.")


def _record(scene: protocol.Scene, ids: dict[str, int], problems: Counter) -> Optional[dict]:
    """The record of a scene; None, and counted, where its picture is of no use."""
    try:
        encoded = scene.path.read_bytes()
    except FileNotFoundError:
        problems[MISSING_IMAGE] += 1
        return None
    size = segmentation.decoded_size(encoded)
    if size != (scene.height, scene.width):
        problems[CORRUPT_IMAGE if size is None else OTHER_SIZE] += 1
        return None
    objects = [
        {"category": ids[item.category], "box": item.box, "centroid": _centroid(item, scene, problems)}
        for item in scene.objects
    ]
    return {
        "image": encoded,
        "image_id": scene.image_id,
        "license": scene.license,
        "style": records.NO_STYLE,
        "objects": objects,
    }


def _centroid(item: protocol.SceneObject, scene: protocol.Scene, problems: Counter) -> tuple[float, float]:
    """Centroid of the object's mask, or the centre of its box where there is no usable mask."""
    centre = ((item.box[0] + item.box[2]) / 2, (item.box[1] + item.box[3]) / 2)
    try:
        centroid = segmentation.mask_centroid(item.segmentation, scene.height, scene.width)
    except segmentation.SegmentationError:
        problems[MALFORMED_SEGMENTATION] += 1
        return centre
    if centroid is None:
        problems[NO_SEGMENTATION] += 1
        return centre
    return centroid
