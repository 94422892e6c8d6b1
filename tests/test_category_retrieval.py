"""Retrieval by category against counting by hand, object by object."""

import numpy as np
import pytest

from rgan_tf.evaluation.metrics.category_retrieval import CategoryRetrieval
from rgan_tf.evaluation.metrics.retrieval_scores import GroundTruthRank

NAMES = ("__image__", "sky", "grass", "sheep")


def batches(rng):
    """Random scenes with padding, candidates that are missing, and rows that repeat."""
    for _ in range(3):
        objects = rng.integers(1, 4, (4, 5))
        mask = np.arange(5) < rng.integers(1, 6, (4, 1))
        candidate_mask = (rng.random((4, 5, 6)) < 0.7) & mask[..., None]
        truth, candidates = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 6, 3))
        rows = np.where(candidate_mask.any(axis=-1), rng.integers(0, 4, (4, 5)), -1)
        yield objects, (truth, mask, candidates, candidate_mask), rows


def test_table_counts_what_a_loop_counts():
    seen = CategoryRetrieval(NAMES)
    ranks = {name: [] for name in NAMES}
    rows = {name: [] for name in NAMES}
    for objects, features, retrieved in batches(np.random.default_rng(3)):
        seen.add_ranks(objects, GroundTruthRank().update(*features))
        seen.add_rows(objects, retrieved)
        truth, mask, candidates, candidate_mask = features
        for b, query, ranked in np.ndindex(4, 5, 5):
            valid = candidates[b, ranked][candidate_mask[b, ranked]]
            if query == ranked or not (mask[b, query] and mask[b, ranked]) or not len(valid):
                continue
            own = np.square(truth[b, ranked] - truth[b, query]).sum()
            others = np.square(valid - truth[b, query]).sum(axis=-1)
            ranks[NAMES[objects[b, ranked]]].append((1 + (others < own).sum(), 1 / (1 + len(valid))))
        for category, row in zip(objects[retrieved >= 0], retrieved[retrieved >= 0]):
            rows[NAMES[category]].append(row)
    table = seen.table()
    assert {row.name for row in table} == {"sky", "grass", "sheep"}
    assert [row.accuracy for row in table] == sorted(row.accuracy for row in table)
    for row in table:
        rank, chance = np.array(ranks[row.name]).T
        assert row.queries == len(rank) and row.accuracy == pytest.approx(np.mean(rank == 1))
        assert row.mean_rank == pytest.approx(rank.mean()) and row.chance == pytest.approx(chance.mean())
        assert row.retrieved == len(rows[row.name])
        assert row.variety == pytest.approx(len(set(rows[row.name])) / len(rows[row.name]))


def test_nothing_seen_gives_no_row():
    assert CategoryRetrieval(NAMES).table() == []
