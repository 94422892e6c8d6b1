"""ScaNN behind the prefilter's interface."""

import math

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from pipelines.prefilter.planned_search import PlannedSearch

# With half as many points a tree of leaves is slower than none, with as many it is twice as fast (docs/prefilter.md).
TREE_POINTS = 10000
# Points a leaf that the tree is trained on. With ScaNN's own 100,000 for all leaves a query must look into several
# times as many of them at a million points (docs/prefilter.md).
_TRAINING_POINTS = 200


class ScannSearch(PlannedSearch):
    """ScaNN: a tree over many points, 4-bit codes of those in a few leaves, true distances for the best of them.

    The tree's k-means starts by k-means++, with which builds agree; its default start has no seed, so that two builds
    would find different neighbours.
    """

    library = "ScaNN"
    # For its codebooks.
    least_points = 16

    def _build(self):
        leaves = round(math.sqrt(len(self._points))) if len(self._points) >= TREE_POINTS else 0
        builder = scann_ops_pybind.builder(self._points, 1, "squared_l2")
        if leaves:
            sample = min(len(self._points), _TRAINING_POINTS * leaves)
            builder = builder.tree(leaves, 1, training_sample_size=sample, random_init=False)
        self._searcher = builder.score_ah(2).reorder(1).build()
        return leaves

    def _found(self, queries, k, searched, rescored):
        more = (searched,) if searched else ()
        found, distances = self._searcher.search_batched_parallel(queries, k, max(rescored, k), *more)
        # Where the leaves that were looked into hold fewer than k points, ScaNN fills up with row 0.
        return np.where(np.isnan(distances), -1, found.astype(np.int64)), distances
