"""sg2im's protocol for Visual Genome (Johnson et al. 2018, section 4): which images, objects and relations are kept.

An object takes the first of its names that is one of the frequent categories; small ones are left out. A relation is
kept where both of its ends are, and its predicate is frequent. Frequencies are those of the training split. As in the
code that was published with that paper, predicates of training images alone are put into lower case and replaced by
their alias; those of the other splits count as they were written. docs/method.md says where this differs.
"""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.visual_genome import annotations
from pipelines.visual_genome.annotations import AnnotatedObject, Image
from pipelines.visual_genome.scene import Scene

KEPT = "kept"
SMALL_IMAGE = "image too small"
NOT_LISTED = "not in image_data.json"
FEW_OBJECTS, MANY_OBJECTS = "too few objects", "too many objects"
FEW_RELATIONSHIPS, MANY_RELATIONSHIPS = "too few relationships", "too many relationships"

REPEATED_OBJECT = "object listed twice in one image (the later entry taken)"
OUTSIDE_BOX = "object outside the image (skipped)"
CLIPPED_BOX = "box reaching over the image's edge (clipped)"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Which images, objects and relations are kept; sizes in pixels, counts in the training split."""

    min_image_side: int = 200
    min_category_count: int = 2000
    min_predicate_count: int = 500
    min_object_side: int = 32
    min_objects: int = 3
    max_objects: int = 30
    min_relationships: int = 1
    max_relationships: int = 30


@dataclasses.dataclass
class Annotations:
    """What is kept: scenes, and counts of the images by what became of them, by split; names in id order; faults."""

    scenes: dict[str, list[Scene]]
    selection: dict[str, Counter]
    object_names: list[str]
    predicates: list[str]
    problems: Counter


@dataclasses.dataclass(frozen=True)
class _KeptObjects:
    """Of one image: ids int64 [n], categories int32 [n], boxes float32 [n, 4] in fractions."""

    ids: np.ndarray
    categories: np.ndarray
    boxes: np.ndarray


class _Reader:
    """The passes over the files, in order; each keeps only what may become part of a scene."""

    def __init__(self, root: pathlib.Path, images: dict[int, Image], splits: dict[str, Sequence[int]], rules: Protocol):
        self._root, self._images, self._rules = root, images, rules
        self.problems: Counter = Counter()
        self.selection = {split: Counter() for split in splits}
        self._split_ids = {split: list(self._large_enough(split, ids)) for split, ids in splits.items()}
        self._split_of = {image_id: split for split, ids in self._split_ids.items() for image_id in ids}

    def _large_enough(self, split: str, ids: Sequence[int]) -> Iterator[int]:
        for image_id in ids:
            image = self._images.get(image_id)
            if image is None:
                self.selection[split][NOT_LISTED] += 1
            elif min(image.width, image.height) < self._rules.min_image_side:
                self.selection[split][SMALL_IMAGE] += 1
            else:
                yield image_id

    def categories(self, aliases: dict[str, str]) -> list[str]:
        """Names frequent enough among the training split's objects, of whatever size, most frequent first."""
        counts: Counter = Counter()
        # Faults are counted in the next pass over the same file.
        for image_id, objects in annotations.read_objects(self._root, Counter()):
            if self._split_of.get(image_id) == "train":
                for item in objects:
                    counts.update(dict.fromkeys((aliases.get(name, name) for name in item.names), 1))
        return [name for name, n in counts.most_common() if n >= self._rules.min_category_count and name]

    def objects(self, names: list[str], aliases: dict[str, str]) -> dict[int, _KeptObjects]:
        """The objects of each image that count."""
        ids = {name: index for index, name in enumerate(names, start=1)}
        kept = {}
        for image_id, objects in annotations.read_objects(self._root, self.problems):
            if image_id in self._split_of:
                kept[image_id] = self._keep(self._images[image_id], objects, ids, aliases)
        return kept

    def _keep(
        self, image: Image, objects: list[AnnotatedObject], ids: dict[str, int], aliases: dict[str, str]
    ) -> _KeptObjects:
        last = {item.object_id: item for item in objects}
        self.problems[REPEATED_OBJECT] += len(objects) - len(last)
        rows = []
        for item in last.values():
            named = [ids[name] for name in (aliases.get(name, name) for name in item.names) if name in ids]
            if named and min(item.box[2:]) >= self._rules.min_object_side:
                box = self._clipped(item.box, image)
                if box is not None:
                    rows.append((item.object_id, named[0], box))
        return _KeptObjects(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.int32),
            np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        )

    def _clipped(self, box, image: Image):
        """Corners in fractions of the image; None, and counted, where the box lies outside."""
        x0, y0, x1, y1 = box[0], box[1], box[0] + box[2], box[1] + box[3]
        if x1 <= 0 or y1 <= 0 or x0 >= image.width or y0 >= image.height:
            self.problems[OUTSIDE_BOX] += 1
            return None
        self.problems[CLIPPED_BOX] += x0 < 0 or y0 < 0 or x1 > image.width or y1 > image.height
        x0, x1 = max(x0, 0) / image.width, min(x1, image.width) / image.width
        return x0, max(y0, 0) / image.height, x1, min(y1, image.height) / image.height

    def relationships(
        self, objects: dict[int, _KeptObjects], aliases: dict[str, str]
    ) -> tuple[list[str], dict[int, np.ndarray]]:
        """Frequent predicates in order of appearance in the training split, and each image's triples."""
        written: dict[str, int] = {}
        counts: Counter = Counter()
        found = {}
        for image_id, relationships in annotations.read_relationships(self._root, self.problems):
            if image_id not in objects:
                continue
            index = {object_id: place for place, object_id in enumerate(objects[image_id].ids.tolist())}
            training = self._split_of[image_id] == "train"
            rows = []
            for item in relationships:
                if item.subject in index and item.object in index:
                    predicate = _normal(item.predicate, aliases) if training else item.predicate
                    if training:
                        counts[predicate] += 1
                    rows.append((index[item.subject], written.setdefault(predicate, len(written)), index[item.object]))
            found[image_id] = np.array(rows, np.int32).reshape(-1, 3)
        names = [name for name, n in counts.items() if n >= self._rules.min_predicate_count and name]
        ids = np.zeros(len(written) + 1, np.int32)
        ids[[written[name] for name in names]] = np.arange(1, len(names) + 1)
        triples = {}
        for image_id, rows in found.items():
            rows[:, 1] = ids[rows[:, 1]]
            triples[image_id] = rows[rows[:, 1] > 0]
        return names, triples

    def scenes(self, objects: dict[int, _KeptObjects], triples: dict[int, np.ndarray]) -> dict[str, list[Scene]]:
        """The images with numbers of objects and relations within bounds, in the order of their split."""
        nothing = _KeptObjects(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 4), np.float32))
        kept: dict[str, list[Scene]] = {split: [] for split in self._split_ids}
        for split, image_ids in self._split_ids.items():
            for image_id in image_ids:
                held, related = objects.get(image_id, nothing), triples.get(image_id, np.zeros((0, 3), np.int32))
                verdict = self._verdict(len(held.ids), len(related))
                self.selection[split][verdict] += 1
                if verdict == KEPT:
                    image = self._images[image_id]
                    size = image.width, image.height
                    kept[split].append(Scene(str(image_id), image.path, *size, held.categories, held.boxes, related))
        return kept

    def _verdict(self, objects: int, relationships: int) -> str:
        rules = self._rules
        if not rules.min_objects <= objects <= rules.max_objects:
            return FEW_OBJECTS if objects < rules.min_objects else MANY_OBJECTS
        if not rules.min_relationships <= relationships <= rules.max_relationships:
            return FEW_RELATIONSHIPS if relationships < rules.min_relationships else MANY_RELATIONSHIPS
        return KEPT


def _normal(predicate: str, aliases: dict[str, str]) -> str:
    predicate = predicate.lower().strip()
    return aliases.get(predicate, predicate)


def read(
    root: pathlib.Path, images: dict[int, Image], splits: dict[str, Sequence[int]], rules: Protocol
) -> Annotations:
    """Reads objects and relationships and keeps the scenes that pass the protocol.

    Args:
      root: the folder of the published files.
      images: by id.
      splits: train, validation and test to image ids; scenes come in this order.
      rules: the protocol.

    Raises:
      SourceError: a file is not what was published.
    """
    reader = _Reader(root, images, splits, rules)
    object_aliases = annotations.read_aliases(root / "object_alias.txt")
    names = reader.categories(object_aliases)
    objects = reader.objects(names, object_aliases)
    predicates, triples = reader.relationships(objects, annotations.read_aliases(root / "relationship_alias.txt"))
    scenes = reader.scenes(objects, triples)
    return Annotations(scenes, reader.selection, names, predicates, +reader.problems)
