"""What batches of scenes are given of the patch bank: the objects' own patches, and their candidates'."""

import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf

from pipelines.patch_bank.bank import PatchBank


@dataclasses.dataclass(frozen=True)
class BankReader:
    """Attaches patches of the bank to batches of scenes.

    ground_truth: int32 [scenes, R] bank rows of the recorded objects, -1 where there is none; None attaches none.
    candidates: int32 [scenes, R, k_max] bank rows in order of distance, -1 where there are fewer; None attaches none.
    k: candidates given for an object: drawn from its k_max where `draw`, else the nearest ones.
    refreshed: more of them, as `candidates`, and the share of k that is drawn from these; what they lack is drawn from
      the others.
    """

    bank: PatchBank
    ground_truth: Optional[np.ndarray] = None
    candidates: Optional[np.ndarray] = None
    k: int = 0
    draw: bool = False
    refreshed: Optional[np.ndarray] = None
    refreshed_share: float = 0.0

    def attach(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds bank rows, masks, patches (uint8) and, where the bank has them, candidates' co-occurrence embeddings."""
        batch = dict(batch)
        if self.ground_truth is not None:
            self._attach_ground_truth(batch)
        if self.candidates is not None:
            self._attach_candidates(batch)
        return batch

    def _attach_ground_truth(self, batch: dict[str, tf.Tensor]) -> None:
        def look_up(scenes, places, mask):
            rows = np.where(mask, self.ground_truth[scenes[:, None], places], -1)
            return rows, self.bank.gather_patches(rows)

        places = [batch["scene_index"], batch["object_index"], batch["object_mask"]]
        rows, patches = tf.numpy_function(look_up, places, [tf.int32, tf.uint8])
        rows.set_shape([None, batch["objects"].shape[1]])
        patches.set_shape(rows.shape + self.bank.patch_shape)
        batch.update(ground_truth_mask=rows >= 0, ground_truth_patches=patches)

    def _attach_candidates(self, batch: dict[str, tf.Tensor]) -> None:
        def look_up(scenes, places, mask, seeds):
            rows = self._choose(scenes, places, seeds) if self.draw else self.candidates[scenes[:, None], places]
            rows = np.where(mask[..., None], rows[..., : self.k], -1)
            more = [self.bank.gather_cooccurrence(rows)] if self.bank.has_cooccurrence else []
            return rows, self.bank.gather_patches(rows), *more

        types = [tf.int32, tf.uint8, *([tf.float32] if self.bank.has_cooccurrence else [])]
        names = ("scene_index", "object_index", "object_mask", "candidate_seed")
        rows, patches, *more = tf.numpy_function(look_up, [batch[name] for name in names], types)
        rows.set_shape([None, batch["objects"].shape[1], self.k])
        patches.set_shape(rows.shape + self.bank.patch_shape)
        batch.update(candidates=rows, candidate_mask=rows >= 0, candidate_patches=patches)
        for embeddings in more:
            embeddings.set_shape(rows.shape + [self.bank.cooccurrence_dim])
            batch.update(candidate_cooccurrence=embeddings)

    def _choose(self, scenes: np.ndarray, places: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """k candidates of each object, [B, N, k], drawn by the scenes' seeds [B, 2]."""
        generators = [np.random.default_rng(seed.astype(np.uint32)) for seed in seeds]
        listed = self.candidates[scenes[:, None], places]
        if self.refreshed is None:
            return _draw(generators, listed, self.k)
        first = _draw(generators, self.refreshed[scenes[:, None], places], round(self.refreshed_share * self.k))
        again = (listed[..., None] == first[..., None, :]).any(axis=-1)
        rows = np.concatenate([first, _draw(generators, np.where(again, -1, listed), self.k)], axis=-1)
        return np.take_along_axis(rows, np.argsort(rows < 0, axis=-1, kind="stable")[..., : self.k], axis=-1)


def _draw(generators: list[np.random.Generator], rows: np.ndarray, k: int) -> np.ndarray:
    """k of each object's rows without replacement, [B, N, k_max] to [B, N, k], the -1 of missing ones last."""
    keys = np.stack([generator.random(rows.shape[1:]) for generator in generators])
    order = np.argsort(np.where(rows >= 0, keys, 2.0), axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(rows, order, axis=-1)
