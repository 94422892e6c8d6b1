"""What is asked of a model that draws scenes, and what it answers, in one form for workspace, SavedModel and server.

Signatures take scene graphs as padded arrays of names and indices (docs/serving.md); this turns `SceneGraph`s into
them, and their outputs into `GeneratedScene`s. Nothing here needs TensorFlow.
"""

import io
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
from PIL import Image

from rgan_tf.errors import UserError
from rgan_tf.runtime_messages import bounded
from rgan_tf.scene_graph import SceneError, SceneGraph

GENERATE, WITH_LAYOUT, WITH_PATCHES = "serving_default", "generate_with_layout", "generate_with_patches"
GENERATING = (GENERATE, WITH_LAYOUT, WITH_PATCHES)
RETRIEVE, RETRIEVE_WITH_PATCHES = "retrieve", "retrieve_with_patches"
# The outputs from which a GeneratedScene is made.
OUTPUTS = ("png_bytes", "boxes", "patch_ids", "patch_source", "patch_license", "patch_png_bytes")
# One more output of a model whose bad scenes answer for themselves: a sentence for each scene that was refused, "" for
# the others. A model without it refuses the whole request.
ERROR = "error"
# How these sentences begin: the server cannot know where in whose request a scene is.
ANY_SCENE = "The scene"
# Stands for a box or a patch that is left open.
OPEN = -1


class GeneratedScene(NamedTuple):
    """One picture and how it came about.

    image uint8 [H, W, 3]; boxes float32 [n, 4]; patches uint8 [n, h, w, C]; patch_ids int64 [n], their bank ids;
    sources, their pictures' ids; licenses, those pictures' licences, "" where unknown. The last four are None of a
    model that retrieves no patches.
    """

    image: np.ndarray
    boxes: np.ndarray
    patches: Optional[np.ndarray] = None
    patch_ids: Optional[np.ndarray] = None
    sources: Optional[list[str]] = None
    licenses: Optional[list[str]] = None


class CandidatePatches(NamedTuple):
    """What an object's patch was chosen from, the best fitting first.

    patch_ids int64 [k]; patches uint8 [k, h, w, C]; sources and licenses, image names and licences. scores float32 [k],
    minus the distance under E_p to the query after the last round, so of fitting the chosen patches; None of a model
    that does not learn to choose. choice: the place of the one that is drawn.
    """

    patch_ids: np.ndarray
    patches: np.ndarray
    sources: list[str]
    licenses: list[str]
    scores: Optional[np.ndarray]
    choice: int


class SourcePicture(NamedTuple):
    """Where a patch comes from: the picture uint8 [H, W, 3], and the box (x0, y0, x1, y1) in [0, 1] that was cut."""

    image: np.ndarray
    box: np.ndarray


class RefusedScenesError(SceneError):
    """Scenes of a request that were refused, beside others that were answered.

    answers: what the call would have given, with None (or rows of zeros, where it gives arrays) for the refused.
    sentences: why, by the scenes' positions in the call.
    """

    def __init__(self, answers: Any, sentences: Mapping[int, str]):
        """Takes the answers and at least one sentence."""
        first = sentences[min(sentences)]
        super().__init__(first if len(sentences) == 1 else f"{len(sentences)} scenes are refused; the first: {first}")
        self.answers, self.sentences = answers, dict(sentences)


def pick_signature(scenes: Sequence[SceneGraph]) -> str:
    """The plainest generating signature that can say what the scenes fix."""
    if _pins_any(scenes):
        return WITH_PATCHES
    if any(box is not None for scene in scenes for box in scene.boxes or ()):
        return WITH_LAYOUT
    return GENERATE


def pick_retrieval(scenes: Sequence[SceneGraph]) -> str:
    """The plainest retrieving signature that can say which patches the scenes pin."""
    return RETRIEVE_WITH_PATCHES if _pins_any(scenes) else RETRIEVE


def _pins_any(scenes: Sequence[SceneGraph]) -> bool:
    return any(patch is not None for scene in scenes for patch in scene.patches or ())


def to_inputs(
    scenes: Sequence[SceneGraph], signature: str, max_objects: int, max_triples: int, seed: int
) -> dict[str, np.ndarray]:
    """The inputs of a signature for a batch of scenes.

    Args:
      scenes: at most `max_objects` objects and `max_triples` relationships each.
      signature: one of those that take scene graphs; what it cannot say of a scene is left out.
      max_objects: N of the model.
      max_triples: T of the model.
      seed: of every scene; the same seed gives the same picture.

    Returns:
      Arrays by input name; names are UTF-8 bytes in object arrays.

    Raises:
      UserError: a scene is larger than the model takes, or the seed is too large.
    """
    if not -(2**63) <= seed < 2**63:
        raise UserError(f"The seed is {seed}; it must fit 64 bits with a sign.")
    batch = len(scenes)
    inputs = {
        "object_names": np.full((batch, max_objects), b"", object),
        "subjects": np.full((batch, max_triples), OPEN, np.int32),
        "predicates": np.full((batch, max_triples), b"", object),
        "objects_of": np.full((batch, max_triples), OPEN, np.int32),
        "seed": np.full((batch,), seed, np.int64),
    }
    if signature in (WITH_LAYOUT, WITH_PATCHES):
        inputs["boxes"] = np.full((batch, max_objects, 4), OPEN, np.float32)
    if signature in (WITH_PATCHES, RETRIEVE_WITH_PATCHES):
        inputs["patch_ids"] = np.full((batch, max_objects), OPEN, np.int64)
    for b, scene in enumerate(scenes):
        _check_size(b, scene, max_objects, max_triples)
        for i, name in enumerate(scene.objects):
            inputs["object_names"][b, i] = name.encode()
        for i, (subject, predicate, target) in enumerate(scene.relationships):
            inputs["subjects"][b, i], inputs["objects_of"][b, i] = subject, target
            inputs["predicates"][b, i] = predicate.encode()
        _fill(inputs.get("boxes"), b, scene.boxes)
        _fill(inputs.get("patch_ids"), b, scene.patches)
    return inputs


def _check_size(number: int, scene: SceneGraph, max_objects: int, max_triples: int) -> None:
    counts = (("objects", len(scene.objects), max_objects), ("relationships", len(scene.relationships), max_triples))
    for kind, count, most in counts:
        if count > most:
            raise UserError(f"Scene {number} has {count} {kind}; this model takes at most {most}.")


def _fill(array, scene: int, values) -> None:
    for i, value in enumerate(values or ()):
        if array is not None and value is not None:
            array[scene, i] = value


def from_outputs(scenes: Sequence[SceneGraph], outputs: Mapping[str, np.ndarray]) -> list[GeneratedScene]:
    """The answers of a generating signature, without padding; needs the outputs `OUTPUTS`, and `ERROR` if there is one.

    Raises:
      RefusedScenesError: some scenes were refused; it has the answers for the others.
    """
    refused = refusals(outputs)
    answers = [None if b in refused else _answer(outputs, b, len(scene.objects)) for b, scene in enumerate(scenes)]
    return require_all(answers, refused)


def candidates_from(count: int, outputs: Mapping[str, np.ndarray]) -> list[CandidatePatches]:
    """The candidates of one scene's `count` objects, from a retrieving signature's outputs for it.

    Raises:
      RefusedScenesError: the scene was refused.
    """
    require_all([None], refusals(outputs))
    found = []
    for i in range(count):
        ids = np.asarray(outputs["patch_ids"][0, i])
        held = np.flatnonzero(ids >= 0)
        names = {key: [outputs[key][0, i][j].decode() for j in held] for key in ("patch_source", "patch_license")}
        patches = np.stack([decoded(outputs["png_bytes"][0, i][j]) for j in held])
        scores, choice = np.asarray(outputs["scores"][0, i])[held], int(outputs["choice"][0, i])
        found.append(CandidatePatches(ids[held], patches, *names.values(), scores, choice))
    return found


def refusals(outputs: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Why scenes were refused, by their positions; empty where all were answered."""
    said = enumerate(outputs.get(ERROR, ()))
    return {b: sentence_at(b, bounded(sentence.decode("utf-8", "replace"))) for b, sentence in said if sentence}


def require_all(answers, refused: Mapping[int, str]):
    """The answers, where all scenes have one.

    Raises:
      RefusedScenesError: some were refused.
    """
    if refused:
        raise RefusedScenesError(answers, refused)
    return answers


def sentence_at(position: int, sentence: str) -> str:
    """A sentence about a scene with its position in a call or a file, instead of another or none."""
    return re.sub(rf"^({ANY_SCENE}|Scene \d+)\b", f"Scene {position}", sentence)


def _answer(outputs: Mapping[str, np.ndarray], b: int, n: int) -> GeneratedScene:
    return GeneratedScene(
        image=decoded(outputs["png_bytes"][b]),
        boxes=np.asarray(outputs["boxes"][b, :n]),
        patches=np.stack([decoded(png) for png in outputs["patch_png_bytes"][b, :n]]),
        patch_ids=np.asarray(outputs["patch_ids"][b, :n]),
        sources=[source.decode() for source in outputs["patch_source"][b, :n]],
        licenses=[license.decode() for license in outputs["patch_license"][b, :n]],
    )


def decoded(png: bytes) -> np.ndarray:
    """The pixels uint8 [H, W, C] of a PNG; C is 4 of a patch with a matte, else 3."""
    picture = Image.open(io.BytesIO(png), formats=["PNG"])
    return np.asarray(picture if picture.mode == "RGBA" else picture.convert("RGB"))


def save_picture(picture: Image.Image, path) -> None:
    """Writes a PNG beside and renames it, so that a picture is whole or not there.

    Raises:
      UserError: it cannot be written.
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.partial")
        picture.save(beside, format="PNG")
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"The picture cannot be written to {path}: {error.strerror}.") from error
