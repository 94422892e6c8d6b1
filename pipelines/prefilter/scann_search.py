"""ScaNN, its parameters found on a sample of the points themselves."""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from pipelines.prefilter.search import CandidateSearch, nearest_of_sample, recall_of, square_distances

# Points that ScaNN's codebooks need.
LEAST_POINTS = 16
# With fewer points a tree saves less than its leaves cost.
TREE_POINTS = 20000
# Points a leaf that the tree is trained on. With ScaNN's own 100,000 for all leaves a query must look into several
# times as many of them at a million points (docs/prefilter.md).
_TRAINING_POINTS = 200
# Queries whose neighbours' features fit into a processor's cache while they are put in order.
_ORDERED_AT_ONCE = 64
# Points by which parameters are chosen.
_SAMPLE = 512
# Rescoring a point, whose features lie anywhere in memory, costs about as much as hashing so many in a row.
_RESCORING = 20
# How many of the hashed scores are followed by true distances: as multiples of k, and as numbers.
_RESCORED_TIMES, _RESCORED = (1.5, 2, 3, 4, 8, 16, 32), (64, 128, 256, 512, 1024, 2048, 4096)


class ScannPlan(NamedTuple):
    """How ScaNN searches.

    leaves: of its tree, 0 for none. searched: leaves that a query looks into. rescored: points for which the true
    distance is computed. recall: of the sample that this was chosen by.
    """

    leaves: int
    searched: int
    rescored: int
    recall: float


class ScannSearch(CandidateSearch):
    """ScaNN: a tree over many points, quantized scores of those in a few leaves, true distances for the best of them.

    Its parameters are the cheapest of a grid that reach the wanted recall on a sample of the points, by a cost that
    counts points and not seconds: two builds choose the same. The tree's k-means starts by k-means++, with which builds
    agree; its default start has no seed, so that two builds would find different neighbours.
    """

    def __init__(self, points, query_batch=1024, k=32, wanted_recall=0.99):
        """Builds and chooses.

        Args:
          points: float32 [M, D], M at least 16, which the codebooks need.
          query_batch: as of `CandidateSearch`.
          k: neighbours that will be asked for; more are found too, with a recall that nobody chose.
          wanted_recall: of the sample, in [0, 1].
        """
        super().__init__(points, query_batch)
        if len(self._points) < LEAST_POINTS:
            raise ValueError(
                f"ScaNN was given {len(self._points)} points; it needs {LEAST_POINTS} or more, search fewer "
                "exhaustively."
            )
        leaves = round(math.sqrt(len(self._points))) if len(self._points) >= TREE_POINTS else 0
        builder = scann_ops_pybind.builder(self._points, 1, "squared_l2")
        if leaves:
            sample = min(len(self._points), _TRAINING_POINTS * leaves)
            builder = builder.tree(leaves, 1, training_sample_size=sample, random_init=False)
        self._searcher = builder.score_ah(2).reorder(1).build()
        self.plan = self._choose(leaves, min(k, len(self._points)), wanted_recall)

    def _choose(self, leaves, k, wanted_recall):
        """The cheapest plan that reaches somewhat more than is wanted, for a sample is not what will be asked."""
        rows = np.unique(np.linspace(0, len(self._points) - 1, _SAMPLE).astype(int))
        sample = self._points[rows]
        # A point is nearest to itself, which is no merit: it is left out on both sides.
        one_more = min(k + 1, len(self._points))
        exact = _without(nearest_of_sample(self._points, sample, one_more), rows)
        enough = wanted_recall + (1 - wanted_recall) / 4
        plan = None
        for searched, rescored in _grid(leaves, len(self._points), k):
            found = _without(self._found(sample, one_more, searched, rescored), rows)
            plan = ScannPlan(leaves, searched, rescored, recall_of(self._points, sample, found, exact))
            if plan.recall >= enough:
                break
        return plan

    def is_exact(self):
        """False."""
        return False

    def _found(self, queries, k, searched, rescored):
        more = (searched,) if searched else ()
        found, distances = self._searcher.search_batched_parallel(queries, k, max(rescored, k), *more)
        # Where the leaves that were looked into hold fewer than k points, ScaNN fills up with row 0.
        return np.where(np.isnan(distances), -1, found.astype(np.int64))

    def _search_block(self, queries, k):
        found = self._found(queries, k, self.plan.searched, self.plan.rescored)
        for start in range(0, len(queries), _ORDERED_AT_ONCE):
            rows = found[start : start + _ORDERED_AT_ONCE]
            far = square_distances(self._points, queries[start : start + _ORDERED_AT_ONCE], rows)
            order = np.lexsort((rows, np.where(rows < 0, np.inf, far)), axis=-1)
            found[start : start + _ORDERED_AT_ONCE] = np.take_along_axis(rows, order, 1)
        return found.astype(np.int32)


def _without(found, own):
    """Rows int [Q, k] of neighbours int [Q, k + 1] without each query's own, or the last where that is missing."""
    is_own = found == own[:, None]
    return np.take_along_axis(found, np.argsort(is_own, axis=1, kind="stable"), 1)[:, :-1]


def _grid(leaves, points, k):
    """Pairs (leaves searched, points rescored), the cheapest first; the last looks into all leaves."""
    steps = {round(2 ** (half / 2)) for half in range(2 * leaves.bit_length())}
    searched = sorted({min(step, leaves) for step in steps}) if leaves else [0]
    rescored = {min(points, max(number, k)) for number in (*_RESCORED, *(math.ceil(f * k) for f in _RESCORED_TIMES))}

    def cost(pair):
        hashed = points * pair[0] / leaves if leaves else points
        return hashed + leaves + _RESCORING * pair[1]

    return sorted(itertools.product(searched, rescored), key=cost)
