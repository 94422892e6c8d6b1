"""What approximate search costs: the share of the exact nearest candidates that are among those found.

The queries are the objects of scenes sampled from a split by a seed. Two lists are compared with the exact one: the
stored list, by which the workspace's model was trained and is evaluated, and the own answer of the library that the
configuration names (ScaNN where it names none). They differ because `candidates.brute_force_below` has small categories
searched exhaustively, and by what was removed from the bank since.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import FIXED_EPOCH, SceneSource
from pipelines.patch_bank.bank import PatchBank, candidate_lists
from pipelines.prefilter.candidates import LIBRARIES, SearchSettings, find_candidates
from rgan_tf import config as config_lib
from rgan_tf.evaluation.metrics.averages import EvaluationError, SceneAverage, Score
from rgan_tf.models.graph_encoder import GraphEncoder
from rgan_tf.training import artifacts
from rgan_tf.training.scene_features import Apart, kept_apart
from rgan_tf.workspace import Workspace


class CandidateRecall:
    """Recall at k of candidate lists against exact ones."""

    def __init__(self):
        """Starts with no list."""
        self._average = SceneAverage("Candidate recall", "object with a candidate")

    def update(self, found, exact) -> None:
        """Adds scenes.

        Args:
          found: int `[B, N, k]` bank rows in any order, -1 where there are fewer.
          exact: int `[B, N, k]`, the k nearest; -1 where the category has fewer, and for padded objects, which leaves
            them uncounted. A list cut short in `found` alone loses what it lacks.
        """
        found, exact = np.asarray(found), np.asarray(exact)
        hits = (exact[..., :, np.newaxis] == found[..., np.newaxis, :]).any(axis=-1)
        self._average.update(hits, exact >= 0)

    def result(self) -> Score:
        """The recall; `mean` is the share of all exact candidates, `count` their number.

        Raises:
          UndefinedScore: no list held a candidate.
        """
        return self._average.result()


class Queries(NamedTuple):
    """Objects that ask for candidates, padded by scene.

    scene_index [S]; features float32 [S, N, D_g], by the pretrained graph encoder; objects int32 [S, N], categories;
    mask bool [S, N]; places int32 [S, N] in their records.
    """

    scene_index: np.ndarray
    features: np.ndarray
    objects: np.ndarray
    mask: np.ndarray
    places: np.ndarray


def sample_queries(source: SceneSource, encoder: GraphEncoder, scenes: int, seed: int, batch_size: int) -> Queries:
    """The objects of some scenes, drawn without replacement, with the relations that the stored candidates were for.

    Args:
      source: the split.
      encoder: the pretrained graph encoder.
      scenes: how many to draw; all if the split has fewer.
      seed: decides which.
      batch_size: scenes encoded at once.

    Raises:
      EvaluationError: less than one scene was asked for.
    """
    if scenes < 1:
        raise EvaluationError(f"Candidate recall was asked of {scenes} scenes; sample at least 1.")
    chosen = np.zeros(source.size, bool)
    chosen[np.random.default_rng(seed).choice(source.size, min(scenes, source.size), replace=False)] = True
    # Records that were not drawn are skipped before their pictures are decoded.
    drawn = source.records().filter(lambda index, record: tf.gather(chosen, index))
    fixed = tf.constant(FIXED_EPOCH, tf.int64)
    batches = drawn.map(lambda index, record: source.parse(fixed, index, record)).batch(batch_size)
    rows = []
    for batch in batches:
        features = encoder.encode(batch).object_features
        columns = [batch[name] for name in ("scene_index", "objects", "object_mask", "object_index")]
        rows.append([column.numpy() for column in (columns[0], features, *columns[1:])])
    return Queries(*map(np.concatenate, zip(*rows)))


def search(
    bank: PatchBank, queries: Queries, apart: Apart, config: config_lib.CandidatesConfig, backend: str
) -> np.ndarray:
    """Candidates int32 [S, N, k_max] of the queries; a library searches every category that is large enough for it.

    Args:
      bank: the patches.
      queries: the objects.
      apart: the groups whose patches they must not be given.
      config: k_max, the recall that is wanted, and the batch of queries.
      backend: one of `candidates.BACKENDS`.
    """
    mask = queries.mask
    groups = np.broadcast_to(apart.scenes[queries.scene_index][:, np.newaxis], mask.shape)
    rows = np.full(mask.shape + (config.k_max,), -1, np.int32)
    rows[mask] = find_candidates(
        bank,
        queries.features[mask],
        queries.objects[mask],
        groups[mask],
        config.k_max,
        # Whatever it finds is measured.
        SearchSettings(backend, config.query_batch, 0, config.min_recall, refuse_less=False),
        progress=False,
        bank_groups=apart.bank,
    ).rows
    return rows


def candidate_recall(
    workspace: Workspace, config: config_lib.ExperimentConfig, split: str, scenes: int = 256, seed: int = 0
) -> dict[str, Score]:
    """Recall at k_max of a split's candidates.

    Args:
      workspace: with a bank and candidates.
      config: with which they were made.
      split: "train", "validation" or "test".
      scenes: how many are sampled; memory grows with this number, not with the split or the bank.
      seed: of the sample.

    Returns:
      "stored", of the workspace's lists, and "scann" or "faiss", of that library in every category that has the
      patches it needs.

    Raises:
      WorkspaceError: a stage is missing.
      EvaluationError: less than one scene was asked for.
      UndefinedScore: no sampled object has a candidate.
    """
    bank = PatchBank.open(workspace.directory("patch_bank"))
    lists = candidate_lists(workspace.directory("candidates") / f"{split}.npy", "r")
    # As the stage that found them: of the training split all objects, of the others those that are drawn.
    source = artifacts.scene_source(workspace, config, split, whole=split == "train")
    encoder = artifacts.pretrained_graph_encoder(workspace, config)
    queries = sample_queries(source, encoder, scenes, seed, config.graph_encoder.training.batch_size)
    apart = kept_apart(workspace, config, bank, split)
    exact = search(bank, queries, apart, config.candidates, "exact")
    library = config.candidates.backend if config.candidates.backend in LIBRARIES else "scann"
    found = {
        "stored": np.where(queries.mask[..., None], lists[queries.scene_index[:, None], queries.places], -1),
        library: search(bank, queries, apart, config.candidates, library),
    }
    scores = {}
    for name, rows in found.items():
        recall = CandidateRecall()
        recall.update(rows, exact)
        scores[name] = recall.result()
    return scores
