"""Visual Genome's published files, streamed: one image's entry is in memory at a time.

image_data.json lists the images, objects.json and relationships.json the annotations of each, object_alias.txt and
relationship_alias.txt the names that mean the same. What is malformed is counted and left out.
"""

import dataclasses
import math
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Optional

from pipelines import json_lists
from pipelines.records import SourceError, source_folder

FOLDERS = ("VG_100K", "VG_100K_2")
FILES = ("image_data.json", "objects.json", "relationships.json", "object_alias.txt", "relationship_alias.txt")

MALFORMED_IMAGE = "entry of image_data.json without id, size or the address of a picture (skipped)"
REPEATED_IMAGE = "image listed twice in one file (the later entry taken)"
MALFORMED_ENTRY = "image's entry without id or list (skipped)"
MALFORMED_OBJECT = "object without id, names or four finite numbers (skipped)"
MALFORMED_RELATIONSHIP = "relationship without predicate, subject or object (skipped)"


@dataclasses.dataclass(frozen=True)
class Image:
    """One listed image; sizes in pixels."""

    path: pathlib.Path
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
    """One object as annotated: its id, its names, and its box (x, y, width, height) in pixels."""

    object_id: int
    names: tuple[str, ...]
    box: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Relationship:
    """One relationship as annotated: ids of subject and object, and the predicate as it was written."""

    subject: int
    predicate: str
    object: int


def check_layout(source_dir: str) -> pathlib.Path:
    """Returns the folder if it has Visual Genome's files.

    Raises:
      SourceError: naming everything that is not there.
    """
    expected = [*FILES, *(f"{folder}/" for folder in FOLDERS)]
    return source_folder(source_dir, "Visual Genome's", expected, ", ".join(expected))


def read_images(root: pathlib.Path, problems: Counter) -> dict[int, Image]:
    """The images by id, in the order of image_data.json."""
    images: dict[int, Image] = {}
    for entry in json_lists.items(root / "image_data.json"):
        image = _image(root, entry)
        if image is None:
            problems[MALFORMED_IMAGE] += 1
            continue
        problems[REPEATED_IMAGE] += entry["image_id"] in images
        images[entry["image_id"]] = image
    return images


def _image(root: pathlib.Path, entry: Any) -> Optional[Image]:
    if not isinstance(entry, dict) or not _is_integer(entry.get("image_id")):
        return None
    width, height, url = entry.get("width"), entry.get("height"), entry.get("url")
    if not all(_is_integer(side) and side > 0 for side in (width, height)) or not isinstance(url, str):
        return None
    # An address ends in the picture's folder and name.
    *_, folder, name = ["", "", *url.split("/")]
    if folder not in FOLDERS or name in ("", ".", "..") or "\\" in name or "\0" in name:
        return None
    return Image(root / folder / name, width, height)


def read_objects(root: pathlib.Path, problems: Counter) -> Iterator[tuple[int, list[AnnotatedObject]]]:
    """Yields each image's id and its objects, as objects.json lists them."""
    for image_id, entries in _annotated(root / "objects.json", "objects", problems):
        objects = [_object(entry) for entry in entries]
        problems[MALFORMED_OBJECT] += objects.count(None)
        yield image_id, [item for item in objects if item is not None]


def _object(entry: Any) -> Optional[AnnotatedObject]:
    if not isinstance(entry, dict) or not _is_integer(entry.get("object_id")):
        return None
    names, box = entry.get("names"), tuple(entry.get(side) for side in "xywh")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    # So large a number is damage, and its corners would be no numbers.
    if not all(_is_number(value) and abs(value) < 2**31 for value in box):
        return None
    return AnnotatedObject(entry["object_id"], tuple(names), box)


def read_relationships(root: pathlib.Path, problems: Counter) -> Iterator[tuple[int, list[Relationship]]]:
    """Yields each image's id and its relationships, as relationships.json lists them."""
    for image_id, entries in _annotated(root / "relationships.json", "relationships", problems):
        found = [_relationship(entry) for entry in entries]
        problems[MALFORMED_RELATIONSHIP] += found.count(None)
        yield image_id, [item for item in found if item is not None]


def _relationship(entry: Any) -> Optional[Relationship]:
    if not isinstance(entry, dict) or not isinstance(entry.get("predicate"), str):
        return None
    ends = [entry.get(end) for end in ("subject", "object")]
    ids = [end.get("object_id") if isinstance(end, dict) else None for end in ends]
    return Relationship(ids[0], entry["predicate"], ids[1]) if all(map(_is_integer, ids)) else None


def _annotated(path: pathlib.Path, key: str, problems: Counter) -> Iterator[tuple[int, list]]:
    seen: set[int] = set()
    for entry in json_lists.items(path):
        image_id = entry.get("image_id") if isinstance(entry, dict) else None
        if not _is_integer(image_id) or not isinstance(entry.get(key), list):
            problems[MALFORMED_ENTRY] += 1
            continue
        problems[REPEATED_IMAGE] += image_id in seen
        seen.add(image_id)
        yield image_id, entry[key]


def read_aliases(path: pathlib.Path) -> dict[str, str]:
    """Name -> the name taken for it: the first of its line, and of several lines the last.

    Raises:
      SourceError: the file is no text.
    """
    aliases: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read as text: {error}") from error
    for line in lines:
        names = [name.strip() for name in line.split(",")]
        aliases.update((name, names[0]) for name in names if name and names[0])
    return aliases


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
