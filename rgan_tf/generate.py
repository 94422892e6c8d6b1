"""Turns scene graphs into a picture: python -m rgan_tf.generate --workspace=… --scene=FILE.json --output=FILE.png."""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from rgan_tf import commands  # isort: split

import tensorflow as tf
from PIL import Image

from pipelines import prefilter
from pipelines.input_pipeline import to_device
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.errors import UserError
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.ops import pixels
from rgan_tf.scene_graph import SceneError, SceneGraph, load_scenes, pad_scenes
from rgan_tf.training import artifacts
from rgan_tf.training.graph_encoder import encode_graph
from rgan_tf.training.loop import restore_model
from rgan_tf.workspace import Workspace

_WORKSPACE = flags.DEFINE_string("workspace", None, "A trained workspace.", required=True)
_SCENE = flags.DEFINE_string("scene", None, "JSON file with a scene graph or a list of them.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The PNG to write.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same picture.", lower_bound=0)
_SAMPLES = flags.DEFINE_integer("num_samples", 1, "Pictures of each scene, each with its own patches.", lower_bound=1)
_SHEET = flags.DEFINE_bool(
    "sheet", True, "Draw graph, boxes and patches beside each picture; --nosheet: pictures alone."
)


class GeneratedScene(NamedTuple):
    """One picture and how it came about.

    image uint8 [H, W, 3]; boxes float32 [n, 4]; patches uint8 [n, h, w, 3]; patch_ids int64 [n], their bank ids;
    sources, their pictures' ids.
    """

    image: np.ndarray
    boxes: np.ndarray
    patches: np.ndarray
    patch_ids: np.ndarray
    sources: list[str]


class SceneGenerator:
    """The trained model of a workspace with its bank, ready to draw scenes."""

    def __init__(self, workspace: Workspace):
        """Loads the newest checkpoint, with averaged weights where training kept them.

        Raises:
          WorkspaceError: the workspace has not been trained.
        """
        self.config = workspace.trained_config()
        self.vocabulary = artifacts.vocabulary(workspace)
        self._bank = artifacts.open_bank(workspace)
        self._prefilter_encoder = artifacts.pretrained_graph_encoder(workspace, self.config)
        model = RetrieveGAN(self.config, self.vocabulary.num_objects, self.vocabulary.num_predicates)
        model.generate(self._empty_batch())
        restore_model(workspace.directory("retrievegan"), "generator", model, self.config.training.optimizer)
        self._model = model
        self._generate = tf.function(model.generate)

    def generate(self, scenes: Sequence[SceneGraph], seed: int, sample: int = 0) -> list[GeneratedScene]:
        """Draws scenes; each answer depends on its own scene, the seed and the sample number alone.

        Raises:
          SceneError: a pinned patch is not in the bank, or the bank has no patch for an object.
        """
        data = self.config.data
        padded = pad_scenes(scenes, self.vocabulary, data.max_objects, data.max_triples)
        rows, pinned = self._candidates(scenes, padded)
        seeds = np.tile(np.array([[seed % 2**31, sample]], np.int32), (len(scenes), 1))
        batch = {name: tf.constant(value) for name, value in {**padded, "scene_seed": seeds}.items()}
        batch["candidate_mask"] = tf.constant(rows >= 0)
        batch["candidate_patches"] = tf.constant(self._bank.gather_patches(rows))
        result = self._generate(to_device(batch), tf.constant(pinned))
        images, patches = pixels.to_uint8(result.image).numpy(), pixels.to_uint8(result.patches).numpy()
        answers = []
        for i, scene in enumerate(scenes):
            n = len(scene.objects)
            chosen = rows[i, np.arange(n), result.choice[i, :n].numpy()]
            sources = [str(name) for name in self._bank.image_id[chosen]]
            ids = np.asarray(self._bank.patch_id[chosen])
            answers.append(GeneratedScene(images[i], result.boxes[i, :n].numpy(), patches[i, :n], ids, sources))
        return answers

    def _candidates(self, scenes: Sequence[SceneGraph], padded: dict[str, np.ndarray]):
        """Bank rows int32 [B, N, k] of each object's candidates, pinned ones first, and the pinned as float one-hot."""
        settings, mask = self.config.candidates, padded["object_mask"]
        graph = {name: tf.constant(value) for name, value in padded.items()}
        features = encode_graph(self._prefilter_encoder, graph).object_features.numpy()
        rows = np.full(mask.shape + (settings.k_max,), -1, np.int32)
        rows[mask] = prefilter.find_candidates(
            self._bank,
            features[mask],
            padded["objects"][mask],
            np.full(mask.sum(), -1),
            settings.k_max,
            "exact",
            settings.query_batch,
            progress=False,
        )
        pinned = np.zeros(rows.shape, np.float32)
        for b, scene in enumerate(scenes):
            for i, patch in enumerate(scene.patches or ()):
                if patch is not None:
                    rows[b, i, 0] = self._row_of(b, i, patch)
                    pinned[b, i, 0] = 1.0
            for i, name in enumerate(scene.objects):
                if rows[b, i].max() < 0:
                    raise SceneError(
                        f"Scene {b} has the object {name!r}, of which the bank holds no patch; name another."
                    )
        return rows, pinned

    def _row_of(self, scene: int, position: int, patch: int) -> int:
        found = np.flatnonzero(np.asarray(self._bank.patch_id) == patch)
        if not len(found):
            raise SceneError(
                f"Scene {scene} pins patch {patch} for object {position}, which the bank does not hold; "
                f"its ids go from {self._bank.patch_id[0]} to {self._bank.patch_id[-1]}."
            )
        return found[0]

    def _empty_batch(self) -> dict[str, tf.Tensor]:
        """A batch of the right shapes, to create variables with."""
        data, k = self.config.data, self.config.candidates.k_max
        scene = SceneGraph((self.vocabulary.objects[1],))
        batch = {
            n: tf.constant(v)
            for n, v in pad_scenes([scene], self.vocabulary, data.max_objects, data.max_triples).items()
        }
        side = self._bank.patch_size
        batch["candidate_patches"] = tf.zeros([1, data.max_objects, k, side, side, 3])
        batch["candidate_mask"] = tf.ones([1, data.max_objects, k], bool)
        batch["scene_seed"] = tf.zeros([1, 2], tf.int32)
        return batch


def main() -> None:
    """Reads scenes, draws them, writes the PNG."""
    generator = SceneGenerator(Workspace(_WORKSPACE.value))
    data = generator.config.data
    scenes = load_scenes(_SCENE.value, generator.vocabulary, data.max_objects, data.max_triples)
    drawn = [
        (s, g)
        for sample in range(_SAMPLES.value)
        for s, g in zip(scenes, generator.generate(scenes, _SEED.value, sample))
    ]
    if _SHEET.value:
        picture = draw_sheet([SceneView(s, g.boxes, g.patches, (("image", g.image),)) for s, g in drawn])
    else:
        rows = [np.concatenate([g.image for _, g in drawn[i :: len(scenes)]], axis=1) for i in range(len(scenes))]
        picture = Image.fromarray(np.concatenate(rows))
    _write(picture, pathlib.Path(_OUTPUT.value))
    print(f"{_OUTPUT.value}: {len(scenes)} scenes, {_SAMPLES.value} pictures each.")


def _write(picture: Image.Image, path: pathlib.Path) -> None:
    """Writes beside and renames, so that a picture is whole or not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.partial")
        picture.save(beside, format="PNG")
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"The picture cannot be written to {path}: {error.strerror}.") from error


if __name__ == "__main__":
    commands.run(main)
