"""A trained model run over a split: every scene drawn under several seeds, with what the scores compare it to."""

import functools
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import SceneSource, evaluation_batches, to_device
from pipelines.own_patches import ground_truth_batches
from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.evaluation.pictures import retrieval_policies
from rgan_tf.evaluation.pictures.whole_category import WholeCategory
from rgan_tf.ops import pixels, scene_random
from rgan_tf.training import artifacts, checkpoints
from rgan_tf.training.scene_features import kept_apart
from rgan_tf.training.systems import Drawing, system_of
from rgan_tf.workspace import Workspace

SPLITS = ("validation", "test")
BOXES = ("predicted", "ground_truth")
# How candidates are chosen: by the model, or in one of the ways of `retrieval_policies`; or by the model among all
# patches of the category.
POLICIES = ("learned", "random", "graph_feature", "cooccurrence", "whole_category")
_BATCH = 16


class Sample(NamedTuple):
    """Pictures of a batch under one seed.

    images uint8 [B, H, W, 3]; boxes float32 [B, N, 4], by which they are laid out, None where that is not known;
    patches uint8 [B, N, h, w, C] and rows int32 [B, N], the retrieved ones and their bank rows, -1 for none, or None
    where nothing was retrieved.
    """

    images: np.ndarray
    boxes: Optional[np.ndarray]
    patches: Optional[np.ndarray] = None
    rows: Optional[np.ndarray] = None


class RetrievalFeatures(NamedTuple):
    """E_p's features in a batch.

    truth_features [B, N, D], truth_mask bool [B, N]: of the scenes' own patches, and which there are.
    candidate_features: [B, N, k, D].
    """

    truth_features: np.ndarray
    truth_mask: np.ndarray
    candidate_features: np.ndarray


class DrawnBatch(NamedTuple):
    """A batch of scenes, drawn.

    Attributes:
      scenes: the input batch, of `scenes_of`; of a model that retrieves also candidates (bank rows) and candidate_mask.
      real: uint8 [B, H, W, 3], the scenes' own pictures.
      samples: one for each seed.
      predicted_boxes: float32 [B, N, 4]; None where nothing predicts them.
      reconstructed: uint8 [B, H, W, 3], from what training is given of the real pictures, on their own boxes; None of a
        model that is given nothing of them.
      retrieval: what ranks of patches are computed from; None of a model that did not learn to retrieve.
      own_patches: uint8 [B, N, h, w, C], cut from the scenes' own pictures; None of a model that draws from none.
    """

    scenes: dict[str, np.ndarray]
    real: np.ndarray
    samples: list[Sample]
    predicted_boxes: Optional[np.ndarray] = None
    reconstructed: Optional[np.ndarray] = None
    retrieval: Optional[RetrievalFeatures] = None
    own_patches: Optional[np.ndarray] = None


def scenes_of(batch: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """What is asked of a batch of scenes, as NumPy arrays: objects, object_mask, triples, triple_mask, boxes (ground
    truth), scene_index and style."""
    names = ("objects", "object_mask", "triples", "triple_mask", "boxes", "scene_index", "style")
    return {name: batch[name].numpy() for name in names}


class SplitDrawing:
    """Iterates over a split's scenes in record order, drawn; the same every time."""

    def __init__(
        self,
        workspace: Workspace,
        config: config_lib.ExperimentConfig,
        split: str = "test",
        boxes: str = "predicted",
        samples: int = 1,
        policy: str = "learned",
        seed: int = 0,
    ):
        """Loads the trained model.

        Args:
          workspace: trained.
          config: of its training (`Workspace.trained_config`).
          split: one of `SPLITS`.
          boxes: "predicted" from the scene graph, or "ground_truth".
          samples: seeds a scene.
          policy: one of `POLICIES`; "learned" is also the way of a model that has no other.
          seed: of all draws; a scene's depend on it, its index and the sample's number alone.

        Raises:
          UserError: an argument is none of those, or asks for a retrieval that the model does not have.
          WorkspaceError: the workspace is not trained.
        """
        for name, value, allowed in (("split", split, SPLITS), ("boxes", boxes, BOXES), ("policy", policy, POLICIES)):
            if value not in allowed:
                raise UserError(f"--{name}={value} is not known; it must be one of {', '.join(allowed)}.")
        if samples < 1:
            raise UserError(f"--samples_per_scene={samples}: a scene is drawn at least once.")
        system = system_of(config.model)
        self.config = config
        self.vocabulary = artifacts.vocabulary(workspace)
        self.reader = system.reader(workspace, config, split)
        self.source = artifacts.scene_source(workspace, config, split)
        self._drawer = system.load(workspace, config)
        if policy != "learned" and self._drawer.retrieval is None:
            raise UserError(f"--retrieval={policy} is RetrieveGAN's; {config.model} draws in its own way alone.")
        self._whole: Optional[WholeCategory] = None
        if policy == "whole_category":
            apart = kept_apart(workspace, config, self.reader.bank, split)
            self._whole = WholeCategory(self._drawer.retrieval, self.reader.bank, apart)
        self._layout, self._samples, self._policy, self._seed = boxes, samples, policy, seed
        self._draw, self._encode = tf.function(self._draw_batch), tf.function(self._encode_batch)

    @property
    def size(self) -> int:
        """Scenes in the split."""
        return self.source.size

    def __iter__(self) -> Iterator[DrawnBatch]:
        """Batch by batch."""
        batches = evaluation_batches(self.source, _BATCH, self.reader)
        if self.reader is None:
            yield from map(self._drawn, batches)
            return
        own = ground_truth_batches(self.source, self.reader.bank.patch_shape, _BATCH)
        for batch, truth in tf.data.Dataset.zip((batches, own)):
            yield self._drawn({**batch, "own_patches": truth["ground_truth_patches"]}, truth["ground_truth_mask"])

    def _drawn(self, batch: dict[str, tf.Tensor], own_mask: Optional[tf.Tensor] = None) -> DrawnBatch:
        encoded = {name: value.numpy() for name, value in self._encode(batch).items()}
        scenes, retrieval = scenes_of(batch), None
        if self.reader is not None:
            scenes.update({name: batch[name].numpy() for name in ("candidates", "candidate_mask")})
        if self._drawer.retrieval is not None:
            retrieval = RetrievalFeatures(encoded["own_features"], own_mask.numpy(), encoded["candidate_features"])
        return DrawnBatch(
            scenes=scenes,
            real=pixels.to_uint8(batch["image"]).numpy(),
            samples=[self._sample(batch, number) for number in range(self._samples)],
            predicted_boxes=encoded["predicted_boxes"],
            reconstructed=encoded.get("reconstructed"),
            retrieval=retrieval,
            own_patches=batch["own_patches"].numpy() if "own_patches" in batch else None,
        )

    def _sample(self, batch: dict[str, tf.Tensor], number: int) -> Sample:
        seeds = scene_random.scene_seeds(tf.constant([self._seed, number]), batch["scene_index"])
        batch = {**batch, "scene_seed": seeds}
        if self._whole is not None:
            batch = self._whole.narrowed(batch)
        drawn = self._draw(batch)
        images, boxes = pixels.to_uint8(drawn.image).numpy(), drawn.boxes.numpy()
        if drawn.choice is None:
            return Sample(images, boxes)
        rows = retrieval_policies.chosen_rows(batch["candidates"], drawn.choice)
        return Sample(images, boxes, pixels.to_uint8(drawn.patches).numpy(), rows)

    def _draw_batch(self, batch: dict[str, tf.Tensor]) -> Drawing:
        batch = to_device(batch)
        given = batch["object_mask"] if self._layout == "ground_truth" else tf.zeros_like(batch["object_mask"])
        batch["box_given"] = given
        pinned = None
        if self._policy not in ("learned", "whole_category"):
            choose = {
                "random": retrieval_policies.random_choice,
                "graph_feature": retrieval_policies.graph_feature_choice,
                "cooccurrence": functools.partial(retrieval_policies.cooccurrence_choice, self._drawer.retrieval),
            }
            pinned = tf.one_hot(choose[self._policy](batch), self.config.candidates.k_max)
        return self._drawer.draw(batch, pinned)

    def _encode_batch(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch, drawer = to_device(batch), self._drawer
        encoded = {"predicted_boxes": drawer.predicted_boxes(batch)}
        reconstructed = drawer.reconstruct(batch)
        if reconstructed is not None:
            encoded["reconstructed"] = pixels.to_uint8(reconstructed)
        if drawer.retrieval is not None:
            encoded["own_features"] = drawer.retrieval.embed(batch["own_patches"])
            encoded["candidate_features"] = drawer.retrieval.embed(batch["candidate_patches"])
        return encoded


def real_images(source: SceneSource, most: Optional[int] = None) -> Iterator[np.ndarray]:
    """The pictures uint8 [B, H, W, 3] of a split, at the model's size; the first `most` of them, where it is given."""
    left = source.size if most is None else most
    for batch in evaluation_batches(source, _BATCH):
        images = pixels.to_uint8(batch["image"][:left]).numpy()
        yield images
        left -= len(images)
        if left <= 0:
            return


def real_scenes(source: SceneSource) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pictures uint8 [B, H, W, 3] of a split at the model's size, with boxes float32 [B, N, 4] and object_mask."""
    for batch in evaluation_batches(source, _BATCH):
        yield pixels.to_uint8(batch["image"]).numpy(), batch["boxes"].numpy(), batch["object_mask"].numpy()


def checkpoint_step(workspace: Workspace) -> int:
    """The training step of the newest checkpoint."""
    return checkpoints.step(checkpoints.newest(workspace.directory(workspace.model)))
