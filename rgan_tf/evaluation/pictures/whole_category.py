"""Retrieval among all patches of an object's category, in the place of the nearest ones by fixed graph features.

The paper keeps few candidates because of memory (section 3.2). When a picture is drawn that limit is none: E_p embeds
the bank once, and Algorithm 1 looks at embeddings alone; pixels are read of what it chose.
"""

import numpy as np
import tensorflow as tf

from pipelines.patch_bank.bank import REMOVED_CATEGORY, PatchBank
from rgan_tf.evaluation.pictures.retrieval_policies import chosen_rows
from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.models.retrievegan import Batch
from rgan_tf.training.bank_embeddings import embed_bank
from rgan_tf.training.scene_features import Apart


class WholeCategory:
    """A bank by category, with its embeddings under a trained E_p.

    Attributes:
      rows: int32 [C, K], the bank rows of each category, -1 where it has fewer than the largest one.
    """

    def __init__(self, retrieval: RetrievalLayer, bank: PatchBank, apart: Apart):
        """Embeds the bank.

        Args:
          retrieval: with trained weights.
          bank: of the candidates.
          apart: the groups of its patches, and of the scenes that are going to be drawn.
        """
        self._bank, self._apart = bank, apart
        self._embeddings = embed_bank(retrieval.embed, bank, "embeddings by E_p")
        self._choose = tf.function(lambda *batch: retrieval.choose(*batch).hard_index, autograph=False)
        self.rows = _by_category(np.asarray(bank.offered))

    def narrowed(self, batch: Batch) -> Batch:
        """A batch in which every object has one candidate, the one that was chosen for it.

        Args:
          batch: objects, object_mask, scene_index, scene_seed.
        """
        names = ("objects", "object_mask", "scene_index", "scene_seed")
        chosen = np.stack([self._of_scene(*scene) for scene in zip(*(batch[name].numpy() for name in names))])[
            ..., None
        ]
        return {
            **batch,
            "candidates": tf.constant(chosen),
            "candidate_mask": tf.constant(chosen >= 0),
            "candidate_patches": tf.constant(self._bank.gather_patches(chosen)),
        }

    def _of_scene(self, objects, mask, index, seed):
        """The chosen rows int32 [N]; a scene at a time, since a category may be as large as the bank."""
        known = np.where(objects < len(self.rows), objects, REMOVED_CATEGORY)
        rows = np.where(mask[:, None], self.rows[known], -1)
        group = self._apart.scenes[index]
        if group >= 0:
            rows = np.where(self._apart.bank[rows] == group, -1, rows)
        choice = self._choose(self._embeddings[rows][None], (rows >= 0)[None], seed[None])
        return chosen_rows(rows[None], choice)[0]


def _by_category(category):
    """Rows [C, K] of every category; none of `REMOVED_CATEGORY`."""
    of_each = [np.flatnonzero(category == number) for number in range(1, category.max() + 1)]
    table = np.full((len(of_each) + 1, max(map(len, of_each), default=0)), -1, np.int32)
    for number, rows in enumerate(of_each, start=1):
        table[number, : len(rows)] = rows
    return table
