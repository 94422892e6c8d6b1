"""Candidates by what E_p has learned: the bank embedded anew now and then, and searched around each scene's query.

The paper's candidates are the nearest by a fixed graph feature, few enough for memory (section 3.2). Here Algorithm 1
chooses among those, by the embeddings of the whole bank, and the patches of each object's category that are nearest to
where its query ends are candidates as well, until the next refresh. Not in the paper.
"""

import dataclasses
import io
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.bank_reader import BankReader
from pipelines.patch_bank.bank import PatchBank
from pipelines.prefilter.candidates import SearchSettings, find_candidates
from rgan_tf import config as config_lib
from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.ops import scene_random
from rgan_tf.training import artifacts
from rgan_tf.training.bank_embeddings import embed_bank
from rgan_tf.training.scene_features import kept_apart
from rgan_tf.workspace import Workspace

# Scenes whose queries are found at once.
_SCENES = 64


class _EmbeddedBank(NamedTuple):
    """A bank as `find_candidates` takes it, with E_p's features in the place of the graph features."""

    offered: np.ndarray
    graph_feature: np.ndarray
    scene_index: np.ndarray


class CandidateRefresh(tf.train.experimental.PythonState):
    """The training split's candidates by the newest refresh; part of a checkpoint, so that a resumed run has them.

    Attributes:
      rows: int32 [S, R, k_max] bank rows, nearest to the scene's query first, -1 where there are fewer; all of them
        before the first refresh.
    """

    def __init__(self, workspace: Workspace, config: config_lib.ExperimentConfig):
        """Opens the bank and the graph features' candidates."""
        super().__init__()
        self._config, self._reader = config, artifacts.bank_reader(workspace, config, "train")
        self._names = artifacts.vocabulary(workspace).objects
        self._apart = kept_apart(workspace, config, self._bank, "train")
        self.rows = np.full(self._reader.candidates.shape, -1, np.int32)

    @property
    def _bank(self) -> PatchBank:
        return self._reader.bank

    def serialize(self) -> bytes:
        """See `PythonState`."""
        stream = io.BytesIO()
        np.save(stream, self.rows, allow_pickle=False)
        return stream.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """See `PythonState`."""
        self.rows = np.load(io.BytesIO(string_value), allow_pickle=False)

    def reader(self, reader: BankReader) -> BankReader:
        """A reader that draws from these candidates too, but for patches that were removed since they were found; the
        given one before the first refresh."""
        if (self.rows < 0).all():
            return reader
        rows = np.where(self._bank.removed[self.rows], -1, self.rows)
        return dataclasses.replace(reader, refreshed=rows, refreshed_share=self._config.retrieval.refreshed_share)

    def refresh(self, retrieval: RetrievalLayer, step: int) -> None:
        """Finds the candidates of all training scenes by the weights that E_p has at a step.

        Args:
          retrieval: with E_p.
          step: sets noise and temperature of the queries, as in training.

        Raises:
          RecallError: the library finds too few of the nearest (`candidates.min_recall`).
        """
        embeddings, settings = embed_bank(retrieval.embed, self._bank, "embeddings by E_p"), self._config.candidates
        own = self._reader.ground_truth
        scene, place = np.nonzero(own >= 0)
        self.rows = np.full_like(self.rows, -1)
        self.rows[scene, place] = find_candidates(
            _EmbeddedBank(self._bank.offered, embeddings, self._bank.scene_index),
            self._queries(retrieval, embeddings, step)[scene],
            self._bank.category[own[scene, place]],
            self._apart.scenes[scene],
            settings.k_max,
            SearchSettings(settings.backend, settings.query_batch, settings.brute_force_below, settings.min_recall),
            self._names,
            bank_groups=self._apart.bank,
        ).rows

    def _queries(self, retrieval, embeddings, step):
        """Where Algorithm 1 leaves each scene's query, [S, D], when it chooses among the graph features' candidates."""
        found = []
        for start in range(0, len(self.rows), _SCENES):
            rows = np.asarray(self._reader.candidates[start : start + _SCENES])
            scenes = np.arange(start, start + len(rows), dtype=np.int32)
            found.append(self._last_query(retrieval, embeddings[rows], rows >= 0, scenes, tf.constant(step, tf.int64)))
        return np.concatenate(found)

    @tf.function(autograph=False)
    def _last_query(self, retrieval, features, mask, scenes, step):
        seed = tf.stack([self._config.training_seed, tf.cast(step, tf.int32)])
        return retrieval(features, mask, scene_random.scene_seeds(seed, scenes), step).query
