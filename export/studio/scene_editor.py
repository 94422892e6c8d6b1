"""What people do to a scene on the page: every edit gives a new scene, or one sentence that says why not."""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Optional
from urllib.parse import quote, unquote

from export.studio.sentences import read_sentences
from rgan_tf.scene_graph import Box, SceneError, SceneGraph, Vocabulary, parse_scenes

# Of an address, a text, a JSON document: more is no scene that a model takes.
MOST_CHARACTERS = 20_000
_MOST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class StudioScene:
    """A scene graph with the boxes and patches that are fixed in it, one entry an object, None where open; the seed."""

    graph: SceneGraph
    seed: int = 0

    @property
    def boxes(self) -> list[Optional[Box]]:
        """Of every object the box that was given, or None."""
        return list(self.graph.boxes or [None] * len(self.graph.objects))

    @property
    def patches(self) -> list[Optional[int]]:
        """Of every object the patch that was pinned, or None."""
        return list(self.graph.patches or [None] * len(self.graph.objects))

    def to_dict(self) -> dict:
        """The scene as `rgan_tf.generate` takes it: JSON without the seed, without what is left open."""
        content = self.graph.to_dict()
        return {key: value for key, value in content.items() if any(entry is not None for entry in value)}


class SceneEditor:
    """Edits under the limits of one model; what it gives can be drawn.

    Every method raises `SceneError` with one sentence where its edit makes no scene.
    """

    def __init__(self, vocabulary: Optional[Vocabulary], max_objects: int, max_triples: int):
        """Takes the names that scenes may use, None for any, and the largest scene."""
        self.vocabulary = vocabulary
        self._limits = (vocabulary, max_objects, max_triples)

    def add(self, scene: StudioScene, name: str) -> StudioScene:
        """One more object, with nothing fixed."""
        return self._changed(
            scene,
            objects=[*scene.graph.objects, _word(name)],
            boxes=[*scene.boxes, None],
            patches=[*scene.patches, None],
        )

    def rename(self, scene: StudioScene, place: int, name: str) -> StudioScene:
        """Another category for an object, which lets go of its patch."""
        objects, patches = list(scene.graph.objects), scene.patches
        if objects[place] == _word(name):
            return scene
        objects[place], patches[place] = _word(name), None
        return self._changed(scene, objects=objects, patches=patches)

    def remove(self, scene: StudioScene, place: int) -> StudioScene:
        """One object less, with the relations that name it."""

        def moved(index):
            return index - (index > place)

        def without(values):
            return [value for i, value in enumerate(values) if i != place]

        triples = [(moved(s), p, moved(o)) for s, p, o in scene.graph.relationships if place not in (s, o)]
        return self._changed(
            scene,
            objects=without(scene.graph.objects),
            relationships=triples,
            boxes=without(scene.boxes),
            patches=without(scene.patches),
        )

    def relate(self, scene: StudioScene, subject: int, predicate: str, target: int) -> StudioScene:
        """One more relation; the same one again changes nothing."""
        triple = (subject, _word(predicate), target)
        if triple in scene.graph.relationships:
            return scene
        return self._changed(scene, relationships=[*scene.graph.relationships, triple])

    def unrelate(self, scene: StudioScene, number: int) -> StudioScene:
        """One relation less."""
        kept = [triple for i, triple in enumerate(scene.graph.relationships) if i != number]
        return self._changed(scene, relationships=kept)

    def place(self, scene: StudioScene, place: int, box: Optional[Sequence[float]]) -> StudioScene:
        """A box (x0, y0, x1, y1) in [0, 1] for an object; None lets the model predict it again."""
        boxes = scene.boxes
        boxes[place] = None if box is None else [round(float(value), 4) for value in box]
        return self._changed(scene, boxes=boxes)

    def pin(self, scene: StudioScene, place: int, patch: Optional[int]) -> StudioScene:
        """A patch of the bank for an object; None lets the model choose again."""
        patches = scene.patches
        patches[place] = patch
        return self._changed(scene, patches=patches)

    def reseed(self, scene: StudioScene, seed) -> StudioScene:
        """The same scene under another seed."""
        if not isinstance(seed, int) or not 0 <= seed <= _MOST_SEED:
            raise SceneError(f"The seed is {seed!r}; it must be a whole number from 0 to {_MOST_SEED}.")
        return dataclasses.replace(scene, seed=seed)

    def from_text(self, text: str, seed: int = 0) -> StudioScene:
        """A scene told in sentences ("sky above sea, boat inside sea") or as the JSON of `rgan_tf.generate`."""
        text = _bounded(text or "").strip()
        if text.startswith(("{", "[")):
            return StudioScene(self._parsed(_decoded(text)), seed)
        return StudioScene(self._parsed(read_sentences(text, self.vocabulary).to_dict()), seed)

    def to_address(self, scene: StudioScene) -> str:
        """The part of an address that brings the scene back, from its "#" on."""
        content = json.dumps({**scene.to_dict(), "seed": scene.seed}, separators=(",", ":"), ensure_ascii=False)
        return f"#{quote(content)}"

    def from_address(self, address: str) -> StudioScene:
        """The scene of `to_address`."""
        content = _decoded(unquote(_bounded(address).lstrip("#")))
        if not isinstance(content, dict):
            raise SceneError("The address holds no scene; follow a link that this page gave.")
        seed = content.pop("seed", 0)
        return self.reseed(StudioScene(self._parsed(content)), seed)

    def _changed(self, scene: StudioScene, **parts) -> StudioScene:
        content = {**scene.graph.to_dict(), "boxes": scene.boxes, "patches": scene.patches, **parts}
        for key in ("boxes", "patches"):
            content[key] = content[key] if any(entry is not None for entry in content[key]) else None
        # JSON's lists, in which alone a scene is checked.
        return dataclasses.replace(scene, graph=self._parsed(json.loads(json.dumps(content))))

    def _parsed(self, content) -> SceneGraph:
        try:
            scenes = parse_scenes(content, *self._limits)
        except SceneError as error:
            raise SceneError(re.sub(r"^Scene 0\b", "The scene", str(error))) from error
        if len(scenes) > 1:
            raise SceneError(f"The text holds {len(scenes)} scenes; give one of them.")
        return scenes[0]


def _word(name) -> str:
    return (name or "").strip()


def _bounded(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise SceneError(f"The text has {len(text)} characters; a scene needs at most {MOST_CHARACTERS}.")
    return text


def _decoded(text: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SceneError(f"The text is not valid JSON: {error}.") from error
