"""The trained model of a workspace, with the bank that it retrieves from."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import to_device, whole_scenes
from pipelines.patch_bank.bank import PatchBankError
from pipelines.prefilter.candidates import SearchSettings, find_candidates
from rgan_tf.ops import pixels, relaxed_subset
from rgan_tf.scene_generator.interface import SceneGenerator
from rgan_tf.scene_graph import SceneError, SceneGraph, pad_scenes
from rgan_tf.scene_requests import CandidatePatches, GeneratedScene, SourcePicture
from rgan_tf.training import artifacts
from rgan_tf.training.systems import system_of
from rgan_tf.workspace import Workspace


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
        self._drawer = self._system.load(workspace, self.config)
        self._generate = tf.function(self._drawer.draw)

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

    def rank(self, scene: SceneGraph, seed: int) -> list[CandidatePatches]:
        """See `SceneGenerator`."""
        raise SceneError(f"{self.config.model} draws without patches, so that its objects have no candidates.")

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
        self._scenes = artifacts.scene_source(workspace, self.config, "train")
        self._choose = tf.function(self._choose_among, autograph=False)

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

    def rank(self, scene: SceneGraph, seed: int) -> list[CandidatePatches]:
        """See `SceneGenerator`; of a model that does not learn to choose, in the order of its graph features."""
        batch = self._batch([scene], seed)
        rows, pinned = self._candidates([scene], batch)
        patches = self._bank.gather_patches(rows)
        choice, scores = np.where(pinned[0].any(-1), pinned[0].argmax(-1), 0), None
        if self._drawer.retrieval is not None:
            asked = (pixels.to_float(tf.constant(patches)), rows >= 0, batch["scene_seed"], pinned)
            choice, scores = (value[0].numpy() for value in self._choose(*asked))
        found = []
        for i in range(len(scene.objects)):
            held = np.flatnonzero(rows[0, i] >= 0)
            if scores is not None:
                held = held[np.argsort(-scores[i, held], kind="stable")]
            at = rows[0, i, held]
            found.append(
                CandidatePatches(
                    patch_ids=np.asarray(self._bank.patch_id[at]),
                    patches=patches[0, i, held],
                    sources=[str(name) for name in self._bank.image_id[at]],
                    licenses=[str(name) for name in self._bank.license[at]],
                    scores=None if scores is None else scores[i, held],
                    choice=int(np.flatnonzero(held == choice[i])[0]),
                )
            )
        return found

    def _choose_among(self, patches, mask, seed, pinned):
        """Of candidates [1, N, k], the chosen index [1, N] and scores [1, N, k]."""
        retrieval = self._drawer.retrieval
        features = retrieval.embed(patches)
        result = retrieval.choose(features, mask, seed, pinned)
        distances = relaxed_subset.candidate_distances(
            features, result.query[:, None, None], self.config.retrieval.distance
        )
        return result.hard_index, -distances

    def source(self, patch_id: int) -> SourcePicture:
        """See `SceneGenerator`."""
        try:
            row = self._bank.row_of(patch_id)
        except PatchBankError as error:
            raise SceneError(str(error)) from error
        scene = int(self._bank.scene_index[row])
        (record,) = whole_scenes(self._scenes, scene, scene + 1).as_numpy_iterator()
        return SourcePicture(record["image"], np.asarray(self._bank.box[row]))

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
                    first = self._row_of(b, i, patch)
                    rows[b, i] = np.where(rows[b, i] == first, -1, rows[b, i])
                    rows[b, i, 0], pinned[b, i, 0] = first, 1.0
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
