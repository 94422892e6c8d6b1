"""COCO's annotation files, reduced to scenes by the protocol of sg2im (Johnson et al. 2018, section 4).

Things and stuff together; an object counts if its box covers more than a share of the image; a scene is kept if the
number of such objects is within bounds; the stuff category "other" is left out; by default only images that have stuff
annotations. The files are streamed, and of them only what may become part of a scene is kept.
"""

import dataclasses
import json
import math
import pathlib
from collections import Counter
from typing import Any, Optional

from pipelines import json_lists
from pipelines.coco_stuff.scene import Scene, SceneObject
from pipelines.records import SourceError, source_folder

PARTS = ("train", "val")
FILES = tuple(f"{kind}_{part}2017.json" for part in PARTS for kind in ("instances", "stuff"))
STUFF_LEFT_OUT = "other"

MALFORMED_ANNOTATION = "annotation that is no object (skipped)"
MALFORMED_IMAGE = "image entry without id, file name or size (skipped)"
UNKNOWN_IMAGE = "annotation of an image that is not listed (skipped)"
UNKNOWN_CATEGORY = "annotation of a category that is not listed (skipped)"
MALFORMED_BOX = "box that is not four finite numbers (object skipped)"
ZERO_AREA_BOX = "box without area (object skipped)"
OUTSIDE_BOX = "box outside the image (object skipped)"
CLIPPED_BOX = "box reaching over the image's edge (clipped)"
# A box may overshoot the edge by this many pixels, as rounded numbers do, before it is worth a report.
CLIP_TOLERANCE = 0.5


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Which objects and images are kept."""

    min_object_area: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    require_stuff: bool = True


@dataclasses.dataclass
class Part:
    """What one half of COCO (train2017 or val2017) gives.

    `categories` maps the files' category ids to names; `problems` counts what was wrong by kind; `selection` counts the
    images by what the protocol did to them.
    """

    scenes: list[Scene]
    categories: dict[int, str]
    problems: Counter
    selection: Counter


def check_layout(source_dir: str) -> pathlib.Path:
    """Returns the folder if it has COCO's layout.

    Raises:
      SourceError: naming everything that is not there.
    """
    expected = [*(f"images/{part}2017/" for part in PARTS), *(f"annotations/{name}" for name in FILES)]
    layout = (
        "images/{train,val}2017/ with the pictures and annotations/{instances,stuff}_{train,val}2017.json, the layout "
        "of COCO 2017"
    )
    return source_folder(source_dir, "COCO's", expected, layout)


def read_part(root: pathlib.Path, part: str, protocol: Protocol) -> Part:
    """Reads the instances and the stuff file of "train" or "val" and keeps the scenes that pass the protocol.

    Scenes come in the order in which the files list their images, objects in the order of their annotations, things
    first.

    Raises:
      SourceError: a file is not JSON with COCO's lists, or two files disagree on a category.
    """
    reader = _PartReader(root / "images" / f"{part}2017", protocol)
    for kind in ("instances", "stuff"):
        reader.read(root / "annotations" / f"{kind}_{part}2017.json", is_stuff=kind == "stuff")
    return Part(reader.select(), reader.categories, reader.problems, reader.selection)


def merge_categories(first: dict[int, str], second: dict[int, str], where: str) -> dict[int, str]:
    """Union of two category tables.

    Raises:
      SourceError: an id has two names.
    """
    for category_id in first.keys() & second.keys():
        if first[category_id] != second[category_id]:
            names = f"{first[category_id]!r} and {second[category_id]!r}"
            raise SourceError(f"Category id {category_id} has two names, {names} (the latter in {where}).")
    return {**first, **second}


def object_names(categories: dict[int, str]) -> list[str]:
    """Distinct names in the order of their ids."""
    return list(dict.fromkeys(categories[category_id] for category_id in sorted(categories)))


class _PartReader:
    """Gathers the objects of each image from one file after another."""

    def __init__(self, image_dir: pathlib.Path, protocol: Protocol):
        self._image_dir = image_dir
        self._protocol = protocol
        self._scenes: dict[int, Scene] = {}
        self.categories: dict[int, str] = {}
        self.problems: Counter = Counter()
        self.selection: Counter = Counter()

    def read(self, path: pathlib.Path, is_stuff: bool) -> None:
        """Takes the images of a file and the objects that are large enough."""
        listed = _category_names(path)
        left_out = {key for key, name in listed.items() if is_stuff and name == STUFF_LEFT_OUT}
        kept = {key: name for key, name in listed.items() if key not in left_out}
        self.categories = merge_categories(self.categories, kept, path.name)
        self._take_images(path)
        for annotation in json_lists.items(path, "annotations"):
            if not isinstance(annotation, dict):
                self.problems[MALFORMED_ANNOTATION] += 1
                continue
            scene = self._scenes.get(_id(annotation, "image_id"))
            if scene is None:
                self.problems[UNKNOWN_IMAGE] += 1
                continue
            scene.has_stuff |= is_stuff
            category_id = _id(annotation, "category_id")
            if category_id in left_out:
                continue
            if category_id not in listed:
                self.problems[UNKNOWN_CATEGORY] += 1
                continue
            box = self._box(annotation.get("bbox"), scene)
            if box and (box[2] - box[0]) * (box[3] - box[1]) > self._protocol.min_object_area:
                segmentation = json.dumps(annotation.get("segmentation"), separators=(",", ":")).encode()
                scene.objects.append(SceneObject(listed[category_id], box, segmentation))

    def select(self) -> list[Scene]:
        """Scenes that pass the protocol; the others are counted."""
        selected = []
        for scene in self._scenes.values():
            verdict = "kept"
            if self._protocol.require_stuff and not scene.has_stuff:
                verdict = "without stuff"
            elif len(scene.objects) < self._protocol.min_objects:
                verdict = "too few objects"
            elif len(scene.objects) > self._protocol.max_objects:
                verdict = "too many objects"
            else:
                selected.append(scene)
            self.selection[verdict] += 1
        return selected

    def _take_images(self, path: pathlib.Path) -> None:
        licenses = {_id(entry, "id"): entry for entry in json_lists.items(path, "licenses", required=False)}
        for entry in json_lists.items(path, "images"):
            image_id, sized = _id(entry, "id"), False
            if image_id is not None:
                width, height, name = entry.get("width"), entry.get("height"), entry.get("file_name")
                sized = all(isinstance(side, int) and side > 0 for side in (width, height))
            if not sized or not isinstance(name, str) or not name:
                self.problems[MALFORMED_IMAGE] += 1
            elif image_id not in self._scenes:
                terms = _license_text(licenses.get(_id(entry, "license")))
                self._scenes[image_id] = Scene(str(image_id), self._image_dir / name, width, height, terms)

    def _box(self, bbox: Any, scene: Scene) -> Optional[tuple[float, float, float, float]]:
        """The box of (x, y, width, height) in pixels, clipped, in fractions; None, and counted, where there is none."""
        if not _is_box(bbox):
            self.problems[MALFORMED_BOX] += 1
            return None
        x0, y0, x1, y1 = bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]
        if bbox[2] <= 0 or bbox[3] <= 0:
            self.problems[ZERO_AREA_BOX] += 1
            return None
        if x1 <= 0 or y1 <= 0 or x0 >= scene.width or y0 >= scene.height:
            self.problems[OUTSIDE_BOX] += 1
            return None
        if max(-x0, -y0, x1 - scene.width, y1 - scene.height) > CLIP_TOLERANCE:
            self.problems[CLIPPED_BOX] += 1
        x0, x1 = max(x0, 0) / scene.width, min(x1, scene.width) / scene.width
        y0, y1 = max(y0, 0) / scene.height, min(y1, scene.height) / scene.height
        return x0, y0, x1, y1


def _category_names(path: pathlib.Path) -> dict[int, str]:
    names = {}
    for entry in json_lists.items(path, "categories"):
        if _id(entry, "id") is None or not isinstance(entry.get("name"), str):
            raise SourceError(f"{path}: a category has no id or no name: {entry!r:.80}; is it the file as published?")
        names[entry["id"]] = entry["name"]
    return names


def _id(entry: Any, key: str) -> Optional[int]:
    """The whole number under a key; None where there is none."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, int) else None


def _is_box(bbox: Any) -> bool:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return False
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in bbox)


def _license_text(entry: Optional[dict[str, Any]]) -> str:
    """Name and address of a licence as the file states them; empty where it states none."""
    if entry is None:
        return ""
    name, url = entry.get("name", ""), entry.get("url", "")
    return f"{name} ({url})" if name and url else name or url
