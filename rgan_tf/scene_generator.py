"""Trained models that draw scenes: from a workspace, or from an exported SavedModel, behind one small object."""

import abc
import pathlib
from collections.abc import Sequence
from typing import Optional, Union

import numpy as np
import tensorflow as tf
from google.protobuf import message

from pipelines.input_pipeline import to_device
from pipelines.patch_bank.bank import PatchBankError
from pipelines.prefilter.candidates import SearchSettings, find_candidates
from rgan_tf import export_files, scene_requests
from rgan_tf.config import MODELS
from rgan_tf.errors import UserError
from rgan_tf.ops import pixels
from rgan_tf.runtime_messages import sentence_of
from rgan_tf.scene_graph import Box, SceneError, SceneGraph, Vocabulary, pad_scenes, parse_scenes
from rgan_tf.scene_requests import GeneratedScene
from rgan_tf.training import artifacts
from rgan_tf.training.systems import system_of
from rgan_tf.workspace import Workspace


class SceneGenerator(abc.ABC):
    """Draws scene graphs.

    Attributes:
      vocabulary: the names that scenes may use.
      max_objects, max_triples: the largest scene.
    """

    vocabulary: Vocabulary
    max_objects: int
    max_triples: int

    def generate(
        self,
        scene: Union[SceneGraph, dict],
        seed: int = 0,
        boxes: Optional[Sequence[Optional[Box]]] = None,
        pinned: Optional[Sequence[Optional[int]]] = None,
    ) -> GeneratedScene:
        """Draws one scene.

        Args:
          scene: a scene graph, or its JSON form as a dictionary.
          seed: the same seed gives the same picture.
          boxes: one (x0, y0, x1, y1) in [0, 1] an object, None where it is left open; instead of the scene's own.
          pinned: one patch id of the bank an object, None where it is left open; instead of the scene's own.

        Raises:
          SceneError: the scene cannot be drawn; one sentence says why.
        """
        content = dict(scene.to_dict() if isinstance(scene, SceneGraph) else scene)
        if boxes is not None:
            content["boxes"] = [None if box is None else np.asarray(box).tolist() for box in boxes]
        if pinned is not None:
            content["patches"] = [None if patch is None else int(patch) for patch in pinned]
        scenes = parse_scenes(content, self.vocabulary, self.max_objects, self.max_triples)
        return self.draw(scenes, seed)[0]

    @abc.abstractmethod
    def draw(self, scenes: Sequence[SceneGraph], seed: int) -> list[GeneratedScene]:
        """Draws scenes at once; each answer depends on its own scene and the seed alone.

        Raises:
          SceneError: a pinned patch is not in the bank, or the bank has no patch for an object.
          RefusedScenesError: the same from an export in which bad scenes answer for themselves; it is a SceneError that
            has the pictures of the others.
        """


class WorkspaceGenerator(SceneGenerator):
    """The trained model of a workspace, whichever it is."""

    def __init__(self, workspace: Workspace):
        """Loads the newest checkpoint, with averaged weights where training kept them.

        Raises:
          WorkspaceError: the workspace has not been trained.
        """
        self.config = workspace.trained_config()
        self.vocabulary = artifacts.vocabulary(workspace)
        self.max_objects, self.max_triples = self.config.data.max_objects, self.config.data.max_triples
        self._system = system_of(workspace.model)
        self._generate = tf.function(self._system.load(workspace, self.config).draw)

    def draw(self, scenes: Sequence[SceneGraph], seed: int) -> list[GeneratedScene]:
        """See `SceneGenerator`; a model that retrieves no patches can pin none."""
        for number, scene in enumerate(scenes):
            if any(patch is not None for patch in scene.patches or ()):
                raise SceneError(
                    f"Scene {number} pins a patch, and {self.config.model} draws without patches; leave patches out."
                )
        result = self._generate(to_device(self._batch(scenes, seed)))
        images = pixels.to_uint8(result.image).numpy()
        counts = [len(scene.objects) for scene in scenes]
        return [GeneratedScene(images[i], result.boxes[i, :n].numpy()) for i, n in enumerate(counts)]

    def _batch(self, scenes: Sequence[SceneGraph], seed: int) -> dict[str, tf.Tensor]:
        padded = pad_scenes(scenes, self.vocabulary, self.max_objects, self.max_triples)
        seeds = np.tile(np.array([[seed % 2**31, 0]], np.int32), (len(scenes), 1))
        return {name: tf.constant(value) for name, value in {**padded, "scene_seed": seeds}.items()}


class RetrievingGenerator(WorkspaceGenerator):
    """The trained model of a workspace, and its bank, from which it retrieves patches."""

    def __init__(self, workspace: Workspace):
        """See `WorkspaceGenerator`."""
        super().__init__(workspace)
        self._bank = self._system.reader(workspace, self.config, "test").bank
        self._prefilter = artifacts.pretrained_graph_encoder(workspace, self.config)

    def draw(self, scenes: Sequence[SceneGraph], seed: int) -> list[GeneratedScene]:
        """See `SceneGenerator`."""
        batch = self._batch(scenes, seed)
        rows, pinned = self._candidates(scenes, batch)
        batch["candidate_mask"] = tf.constant(rows >= 0)
        batch["candidate_patches"] = tf.constant(self._bank.gather_patches(rows))
        result = self._generate(to_device(batch), tf.constant(pinned))
        images, patches = pixels.to_uint8(result.image).numpy(), pixels.to_uint8(result.patches).numpy()
        answers = []
        for i, scene in enumerate(scenes):
            n = len(scene.objects)
            chosen = rows[i, np.arange(n), result.choice[i, :n].numpy()]
            answers.append(
                GeneratedScene(
                    image=images[i],
                    boxes=result.boxes[i, :n].numpy(),
                    patches=patches[i, :n],
                    patch_ids=np.asarray(self._bank.patch_id[chosen]),
                    sources=[str(name) for name in self._bank.image_id[chosen]],
                    licenses=[str(name) for name in self._bank.license[chosen]],
                )
            )
        return answers

    def _candidates(self, scenes: Sequence[SceneGraph], batch: dict[str, tf.Tensor]):
        """Bank rows int32 [B, N, k] of each object's candidates, pinned ones first, and the pinned as float one-hot."""
        settings, mask = self.config.candidates, batch["object_mask"].numpy()
        features = self._prefilter.encode(batch).object_features.numpy()
        rows = np.full(mask.shape + (settings.k_max,), -1, np.int32)
        rows[mask] = find_candidates(
            self._bank,
            features[mask],
            batch["objects"].numpy()[mask],
            np.full(mask.sum(), -1),
            settings.k_max,
            SearchSettings("exact", settings.query_batch),
            progress=False,
        ).rows
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
        try:
            return self._bank.row_of(patch)
        except PatchBankError as error:
            raise SceneError(f"Scene {scene} pins a patch for object {position} that cannot be had. {error}") from error


class SavedModelGenerator(SceneGenerator):
    """An exported model; needs nothing but its folder."""

    def __init__(self, folder):
        """Loads the version in `folder`.

        Raises:
          DamageError: a file of it is damaged.
          UserError: it is no SavedModel, or one of something else.
        """
        folder = pathlib.Path(folder)
        export_files.check(folder)
        try:
            # The loaded object owns the variables that its signatures read.
            self._model = tf.saved_model.load(str(folder))
            self._signatures = self._model.signatures
            _, inputs = self._signatures[scene_requests.WITH_PATCHES].structured_input_signature
            self.max_objects = inputs["object_names"].shape[1]
            self.max_triples = inputs["subjects"].shape[1]
            names = [(folder / "assets" / f"{kind}.txt").read_text().splitlines() for kind in ("objects", "predicates")]
        except (OSError, LookupError, ValueError, RuntimeError, message.DecodeError, tf.errors.OpError) as error:
            reason = sentence_of(str(error))
            raise UserError(f"{folder} holds no model that rgan_tf exported ({reason}); export one.") from error
        self.vocabulary = Vocabulary(*map(tuple, names))

    def draw(self, scenes: Sequence[SceneGraph], seed: int) -> list[GeneratedScene]:
        """See `SceneGenerator`."""
        signature = scene_requests.pick_signature(scenes)
        inputs = scene_requests.to_inputs(scenes, signature, self.max_objects, self.max_triples, seed)
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        try:
            outputs = self._signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise SceneError(sentence_of(error.message)) from error
        return scene_requests.from_outputs(scenes, {name: value.numpy() for name, value in outputs.items()})


def load(path, model: str = "") -> SceneGenerator:
    """A trained model, ready to draw.

    Args:
      path: a workspace; an exported version, `DIR/N`; or the folder of versions, `DIR`, for its newest.
      model: of a workspace in which several were trained, which one; see `Workspace`.

    Raises:
      UserError: it is none of these.
    """
    path = pathlib.Path(path)
    if export_files.is_version(path):
        return SavedModelGenerator(path)
    if model or any((path / name).is_dir() for name in MODELS):
        workspace = Workspace(path, model)
        retrieves = system_of(workspace.model).retrieves
        return RetrievingGenerator(workspace) if retrieves else WorkspaceGenerator(workspace)
    versions = [folder for folder in path.glob("[0-9]*") if folder.name.isdigit() and export_files.is_version(folder)]
    if not versions:
        raise UserError(f"{path} is neither a trained workspace nor an exported model; train or export one.")
    return SavedModelGenerator(max(versions, key=lambda folder: int(folder.name)))
