"""tensorflow-datasets builder over a local copy of COCO 2017 with stuff annotations."""

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from typing import Any, Optional

import numpy as np
import tensorflow_datasets as tfds

from pipelines import mattes, photographs, records
from pipelines.coco_stuff import protocol, segmentation
from pipelines.coco_stuff.scene import Scene, SceneObject
from pipelines.records import SourceError
from pipelines.scene_builder import PhotographBuilder

NO_SEGMENTATION = "object without segmentation (box centre taken)"
MALFORMED_SEGMENTATION = "object with malformed or empty segmentation (box centre taken)"

# What the published files give (Johnson et al. 2018, section 4).
PUBLISHED = records.Published(
    scenes={"train": 24972, "validation": 1024, "test": 2048},
    object_names=171,
    predicates=None,
    reasons="a part of the photographs, other bounds in `data`, stuff files with COCO's 53 merged panoptic classes "
    "instead of the 91 of COCO-Stuff, or of a release with another number of images (there 40,000 for training)",
)


@dataclasses.dataclass(eq=False)
class CocoStuffConfig(tfds.core.BuilderConfig):
    """Source folder and protocol; `name` follows from them.

    `validation_images` is how many of val2017's scenes, in file order, make the validation split; the rest is the test
    split. Scenes are counted after the protocol chose them, before pictures are read. `group_separator` ends the part
    of a picture's name that its group shares; "" records no groups. `mattes` records which pixels are an object's.
    """

    name: str = ""
    source_dir: str = ""
    validation_images: int = 1024
    require_stuff: bool = True
    min_object_area: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    group_separator: str = ""
    mattes: bool = False

    def __post_init__(self):
        """Derives the name."""
        settings = (self.source_dir, self.validation_images, self.require_stuff, float(self.min_object_area))
        settings += (self.group_separator,) if self.group_separator else ()
        settings += ("mattes",) if self.mattes else ()
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        self.name = f"{self.min_objects}to{self.max_objects}_objects_{digest}"


class CocoStuff(PhotographBuilder):
    """COCO photos with things and stuff, by sg2im's protocol; each record holds the JPEG file as it is."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="COCO 2017 photos, things and stuff together, 3 to 8 objects an image.",
            features=records.features(
                with_group=bool(self.builder_config.group_separator), with_mattes=self.builder_config.mattes
            ),
            metadata=records.metadata(),
            homepage="https://cocodataset.org",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Any]:
        config = self.builder_config
        root = protocol.check_layout(config.source_dir)
        rules = protocol.Protocol(config.min_object_area, config.min_objects, config.max_objects, config.require_stuff)
        train, val = (protocol.read_part(root, part, rules) for part in protocol.PARTS)
        names = protocol.object_names(protocol.merge_categories(train.categories, val.categories, "the val2017 files"))
        self.info.metadata[records.OBJECT_NAMES] = names
        self.info.metadata[records.SELECTION] = {"train2017": dict(train.selection), "val2017": dict(val.selection)}
        self.info.metadata[records.PROBLEMS] = {"train2017": dict(train.problems), "val2017": dict(val.problems)}
        scenes = {
            "train": train.scenes,
            "validation": val.scenes[: config.validation_images],
            "test": val.scenes[config.validation_images :],
        }
        self._check_splits(scenes, len(val.scenes))
        ids = {name: index for index, name in enumerate(names, start=1)}
        sources = photographs.state_of(root / "annotations" / name for name in protocol.FILES)
        to_record = functools.partial(_to_record, ids=ids, config=config)
        return {split: self._photographs(split, scenes[split], _examine, to_record, sources) for split in scenes}

    def _check_splits(self, scenes: dict[str, list[Scene]], in_val: int) -> None:
        if not scenes["train"]:
            raise SourceError(f"{self.builder_config.source_dir}: no image of train2017 passes the protocol.")
        if not scenes["validation"] or not scenes["test"]:
            raise SourceError(
                f"data.validation_images is {self.builder_config.validation_images}, but {in_val} scenes of val2017 "
                "pass the protocol; choose a number above 0 and below that, so that validation and test both get some."
            )

    def _note_problems(self, split: str, problems: Counter) -> None:
        part = "train2017" if split == "train" else "val2017"
        noted = self.info.metadata[records.PROBLEMS]
        noted[part] = dict(Counter(noted[part]) + problems)


def _examine(scene: Scene) -> photographs.Finding:
    fault = photographs.fault_of(scene.path, scene.height, scene.width)
    if fault:
        return photographs.Finding(False, (fault,))
    centroids, problems = zip(*(_centroid(item, scene) for item in scene.objects))
    return photographs.Finding(True, tuple(filter(None, problems)), centroids)


def _to_record(scene: Scene, finding: photographs.Finding, ids: dict[str, int], config: CocoStuffConfig) -> dict:
    objects = []
    for item, centroid in zip(scene.objects, finding.centroids):
        matte = {records.MATTE: _matte(item, scene)} if config.mattes else {}
        objects.append({"category": ids[item.category], "box": item.box, "centroid": centroid, **matte})
    separator = config.group_separator
    group = {records.GROUP: scene.path.name.partition(separator)[0]} if separator else {}
    return {
        "image": scene.path.read_bytes(),
        "image_id": scene.image_id,
        "license": scene.license,
        "style": records.NO_STYLE,
        "objects": objects,
        **group,
    }


def _centroid(item: SceneObject, scene: Scene) -> tuple[tuple[float, float], Optional[str]]:
    """Centroid of the object's mask, or the centre of its box where there is no usable mask, and why."""
    centre = ((item.box[0] + item.box[2]) / 2, (item.box[1] + item.box[3]) / 2)
    try:
        mask = segmentation.mask_of(json.loads(item.segmentation), scene.height, scene.width)
    except segmentation.SegmentationError:
        return centre, MALFORMED_SEGMENTATION
    return (centre, NO_SEGMENTATION) if mask is None else (segmentation.centroid(mask), None)


def _matte(item: SceneObject, scene: Scene) -> bytes:
    """What the object covers of its box; `mattes.NONE` where there is no usable mask, which `_examine` has counted."""
    try:
        mask = segmentation.mask_of(json.loads(item.segmentation), scene.height, scene.width)
    except segmentation.SegmentationError:
        mask = None
    return mattes.NONE if mask is None else mattes.encode(255 * mask.astype(np.uint8), item.box)
