"""Scene graphs: sg2im's JSON format in and out, checks that name the fault, padding to tensors.

A scene is `{"objects": ["sky", "grass"], "relationships": [[0, "above", 1]]}`, optionally with `"boxes"` (one
`[x0, y0, x1, y1]` in [0, 1] an object, or null) and `"patches"` (one pinned patch id of the bank an object, or null).
"""

import dataclasses
import difflib
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Optional, Union

import numpy as np

from rgan_tf.errors import UserError

IMAGE_OBJECT = "__image__"
IN_IMAGE_PREDICATE = "__in_image__"
Box = tuple[float, float, float, float]


class SceneError(UserError):
    """A scene that cannot be used; the message names the scene, the value and the mend."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Names of object categories and predicates; the id of a name is its position.

    Id 0 of either is reserved: `__image__`, the node that stands for the whole picture, and `__in_image__`, the edge
    from an object to it. The same id pads.
    """

    objects: tuple[str, ...]
    predicates: tuple[str, ...]

    @classmethod
    def from_names(cls, objects: Sequence[str], predicates: Sequence[str]) -> "Vocabulary":
        """Makes a vocabulary of real names, ids starting at 1.

        Raises:
          ValueError: a name is empty or occurs twice.
        """
        for kind, names in (("object", objects), ("predicate", predicates)):
            twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
            if twice or "" in names:
                raise ValueError(f"The {kind} names must be distinct and not empty; found twice: {twice}.")
        return cls((IMAGE_OBJECT, *objects), (IN_IMAGE_PREDICATE, *predicates))

    @property
    def num_objects(self) -> int:
        """Number of object ids, the reserved one included."""
        return len(self.objects)

    @property
    def num_predicates(self) -> int:
        """Number of predicate ids, the reserved one included."""
        return len(self.predicates)

    def save(self, path) -> None:
        """Writes the vocabulary as JSON."""
        pathlib.Path(path).write_text(json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path) -> "Vocabulary":
        """Reads what `save` wrote."""
        content = json.loads(pathlib.Path(path).read_text())
        return cls(tuple(content["objects"]), tuple(content["predicates"]))


@dataclasses.dataclass(frozen=True)
class SceneGraph:
    """One scene: object names, triples (subject index, predicate name, object index), and what the user fixed."""

    objects: tuple[str, ...]
    relationships: tuple[tuple[int, str, int], ...] = ()
    boxes: Optional[tuple[Optional[Box], ...]] = None
    patches: Optional[tuple[Optional[int], ...]] = None

    def to_dict(self) -> dict:
        """The JSON form; `parse_scenes` reads it back."""
        content = {"objects": list(self.objects), "relationships": [list(triple) for triple in self.relationships]}
        if self.boxes is not None:
            content["boxes"] = [None if box is None else list(box) for box in self.boxes]
        if self.patches is not None:
            content["patches"] = list(self.patches)
        return content

    def in_words(self) -> str:
        """The scene as one line: its phrases."""
        return ", ".join(self.phrases())

    def phrases(self) -> list[str]:
        """Its relations as "subject predicate object", then the objects that no relation names."""
        said = [f"{self.objects[s]} {predicate} {self.objects[o]}" for s, predicate, o in self.relationships]
        named = {index for s, _, o in self.relationships for index in (s, o)}
        return said + [name for index, name in enumerate(self.objects) if index not in named]


def load_scenes(path, vocabulary: Optional[Vocabulary], max_objects: int, max_triples: int) -> list[SceneGraph]:
    """Reads a file of one scene or a list of scenes; see `parse_scenes`.

    Raises:
      SceneError: the file cannot be read, is not JSON, or holds a scene that cannot be used.
    """
    return _all_good(load_each(path, vocabulary, max_objects, max_triples))


def load_each(
    path, vocabulary: Optional[Vocabulary], max_objects: int, max_triples: int
) -> list[Union[SceneGraph, SceneError]]:
    """Reads a file as `load_scenes` does, with the error of each scene that cannot be used in its place.

    Raises:
      SceneError: the file cannot be read, is not JSON, or holds no scene.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SceneError(f"The scene file {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SceneError(f"The scene file {path} is not valid JSON: {error}.") from error
    return _parse_each(content, vocabulary, max_objects, max_triples)


def parse_scenes(content, vocabulary: Optional[Vocabulary], max_objects: int, max_triples: int) -> list[SceneGraph]:
    """Checks decoded JSON, one scene or a list of them, against a vocabulary and the sizes a model is built for.

    Without a vocabulary (None) any name will do: for those who ask a server, which knows its own.

    Raises:
      SceneError: with one sentence naming the scene, the value and the mend.
    """
    return _all_good(_parse_each(content, vocabulary, max_objects, max_triples))


def _parse_each(content, *limits) -> list[Union[SceneGraph, SceneError]]:
    scenes = content if isinstance(content, list) else [content]
    if not scenes:
        raise SceneError("The file holds an empty list; it must hold a scene or a list of scenes.")
    parsed = []
    for i, scene in enumerate(scenes):
        try:
            parsed.append(_SceneParser(f"Scene {i}", *limits).parse(scene))
        except SceneError as error:
            parsed.append(error)
    return parsed


def _all_good(parsed: Sequence[Union[SceneGraph, SceneError]]) -> list[SceneGraph]:
    for scene in parsed:
        if isinstance(scene, SceneError):
            raise scene
    return list(parsed)


class _SceneParser:
    """Checks one scene; `where` opens every message."""

    def __init__(self, where: str, vocabulary: Optional[Vocabulary], max_objects: int, max_triples: int):
        self.where = where
        self.known_objects = vocabulary and vocabulary.objects[1:]
        self.known_predicates = vocabulary and vocabulary.predicates[1:]
        self.max_objects = max_objects
        self.max_triples = max_triples

    def parse(self, scene) -> SceneGraph:
        if not isinstance(scene, dict):
            self._fail(f'is a {type(scene).__name__}; it must be an object with "objects" and "relationships"')
        unknown = sorted(set(scene) - {"objects", "relationships", "boxes", "patches"})
        if unknown:
            self._fail(f"has the unknown key {unknown[0]!r}; known are objects, relationships, boxes and patches")
        objects = self._objects(scene.get("objects"))
        relationships = self._relationships(scene.get("relationships", []), len(objects))
        boxes = self._one_each("boxes", scene.get("boxes"), len(objects), self._box)
        patches = self._one_each("patches", scene.get("patches"), len(objects), self._patch)
        return SceneGraph(objects, relationships, boxes, patches)

    def _fail(self, message: str):
        raise SceneError(f"{self.where} {message}.")

    def _objects(self, names) -> tuple[str, ...]:
        if not isinstance(names, list):
            self._fail('needs "objects", a list of names')
        if not names:
            self._fail("has no objects; name at least one")
        if len(names) > self.max_objects:
            self._fail(f"has {len(names)} objects; this model takes at most {self.max_objects}")
        return tuple(self._name(f"object {i}", name, self.known_objects) for i, name in enumerate(names))

    def _name(self, what: str, name, known: Optional[Sequence[str]]) -> str:
        # Half a surrogate pair, say, is text in JSON and yet no text.
        if not isinstance(name, str) or not name or not name.isprintable():
            self._fail(f"has {name!r} as {what}; it must be a name")
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
            self._fail(f"has the unknown name {name!r} as {what}; the nearest known are {', '.join(near)}")
        return name

    def _relationships(self, triples, count: int) -> tuple[tuple[int, str, int], ...]:
        if not isinstance(triples, list):
            self._fail('has "relationships" that are not a list')
        if len(triples) > self.max_triples:
            self._fail(f"has {len(triples)} relationships; this model takes at most {self.max_triples}")
        return tuple(self._triple(i, triple, count) for i, triple in enumerate(triples))

    def _triple(self, position: int, triple, count: int) -> tuple[int, str, int]:
        if not isinstance(triple, list) or len(triple) != 3:
            self._fail(
                f"has {triple!r} as relationship {position}; it must be [subject index, predicate, object index]"
            )
        subject, predicate, target = triple
        for index in (subject, target):
            if not _is_int(index) or not 0 <= index < count:
                self._fail(f"has the index {index!r} in relationship {position}; it must be from 0 to {count - 1}")
        if subject == target:
            self._fail(f"relates object {subject} to itself in relationship {position}; name two objects")
        name = self._name(f"predicate of relationship {position}", predicate, self.known_predicates)
        return subject, name, target

    def _one_each(self, key: str, values, count: int, check):
        if values is None:
            return None
        if not isinstance(values, list) or len(values) != count:
            self._fail(f'needs one entry an object in "{key}" ({count}), null where it is left open')
        return tuple(None if value is None else check(i, value) for i, value in enumerate(values))

    def _box(self, position: int, box) -> Box:
        numbers = isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)
        if not numbers or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            self._fail(
                f"has the box {box!r} for object {position}; it must be [x0, y0, x1, y1], x0 < x1 and y0 < y1 in [0, 1]"
            )
        return tuple(float(value) for value in box)

    def _patch(self, position: int, patch) -> int:
        if not _is_int(patch) or not 0 <= patch < 2**63:
            self._fail(f"has the patch {patch!r} for object {position}; it must be a patch id of the bank, or null")
        return patch


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def pad_scenes(
    scenes: Sequence[SceneGraph], vocabulary: Vocabulary, max_objects: int, max_triples: int
) -> dict[str, np.ndarray]:
    """Pads scenes to the tensors of a batch.

    Returns:
      objects int32 [B, N], object_mask bool [B, N], triples int32 [B, T, 3], triple_mask bool [B, T],
      boxes float32 [B, N, 4] (zero where the scene gives none), box_given bool [B, N].
    """
    batch, objects_of, predicates_of = len(scenes), vocabulary.objects.index, vocabulary.predicates.index
    padded = {
        "objects": np.zeros((batch, max_objects), np.int32),
        "object_mask": np.zeros((batch, max_objects), bool),
        "triples": np.zeros((batch, max_triples, 3), np.int32),
        "triple_mask": np.zeros((batch, max_triples), bool),
        "boxes": np.zeros((batch, max_objects, 4), np.float32),
        "box_given": np.zeros((batch, max_objects), bool),
    }
    for b, scene in enumerate(scenes):
        for i, name in enumerate(scene.objects):
            padded["objects"][b, i] = objects_of(name)
            padded["object_mask"][b, i] = True
        for i, (subject, predicate, target) in enumerate(scene.relationships):
            padded["triples"][b, i] = (subject, predicates_of(predicate), target)
            padded["triple_mask"][b, i] = True
        for i, box in enumerate(scene.boxes or ()):
            if box is not None:
                padded["boxes"][b, i] = box
                padded["box_given"][b, i] = True
    return padded


def unpad_scene(objects, object_mask, triples, triple_mask, vocabulary: Vocabulary) -> SceneGraph:
    """The scene graph of one padded row: the inverse of `pad_scenes` for arrays without the batch axis."""
    names = tuple(vocabulary.objects[i] for i, valid in zip(objects, object_mask) if valid)
    relationships = tuple(
        (int(s), vocabulary.predicates[p], int(o)) for (s, p, o), valid in zip(triples, triple_mask) if valid
    )
    return SceneGraph(names, relationships)
