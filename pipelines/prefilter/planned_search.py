"""Approximate search by a plan that is found on a sample of the points themselves; whose library it is, is open."""

import abc
import itertools
import math
from typing import NamedTuple

import numpy as np

from pipelines.prefilter.search import CandidateSearch, nearest_of_sample, recall_of, square_distances

# Queries whose neighbours' features fit into a processor's cache while they are put in order.
_ORDERED_AT_ONCE = 64
# Sums of squares in float32 below this may have lost some of them to underflow.
_LEAST_SQUARE = 1e-30
# Points by which parameters are chosen.
_SAMPLE = 512
# Rescoring a point, whose features lie anywhere in memory, costs about as much as hashing so many in a row.
_RESCORING = 20
# How many of the hashed scores are followed by true distances: as multiples of k, and as numbers.
_RESCORED_TIMES, _RESCORED = (1.5, 2, 3, 4, 8, 16, 32), (64, 128, 256, 512, 1024, 2048, 4096)


class SearchPlan(NamedTuple):
    """How a library searches.

    cells: into which its k-means parts the points, 0 for none. searched: cells that a query looks into. rescored:
    points for which the true distance is computed. recall: of a sample of the points.
    """

    cells: int
    searched: int
    rescored: int
    recall: float


class PlannedSearch(CandidateSearch):
    """Cells of near points, codes for those in a few cells, true distances for the best of them.

    The plan is the cheapest of a grid that reaches the wanted recall on a sample of the points, by a cost that counts
    points and not seconds: two builds choose the same.
    """

    # The library's name, for errors; and the points that it needs.
    library: str
    least_points: int

    def __init__(self, points, query_batch=1024, k=32, wanted_recall=0.99):
        """Builds and chooses.

        Args:
          points: float32 [M, D], M at least `least_points`.
          query_batch: as of `CandidateSearch`.
          k: neighbours that will be asked for; more are found too, with a recall that nobody chose.
          wanted_recall: of the sample, in [0, 1].
        """
        super().__init__(points, query_batch)
        if len(self._points) < self.least_points:
            raise ValueError(
                f"{self.library} was given {len(self._points)} points; it needs {self.least_points} or more, search "
                "fewer exhaustively."
            )
        self._cells, k = self._build(), min(k, len(self._points))
        self._sample = np.unique(np.linspace(0, len(self._points) - 1, _SAMPLE).astype(int))
        # A point is nearest to itself, which is no merit: it is left out on both sides.
        nearest = nearest_of_sample(self._points, self._points[self._sample], min(k + 1, len(self._points)))
        self._nearest_of_sample = _without(nearest, self._sample)
        # Somewhat more than is wanted, for a sample is not what will be asked.
        enough = wanted_recall + (1 - wanted_recall) / 4
        self._ever_dearer = iter(_grid(self._cells, len(self._points), k))
        for searched, rescored in self._ever_dearer:
            self.plan = self._planned(searched, rescored)
            if self.plan.recall >= enough:
                break

    @abc.abstractmethod
    def _build(self):
        """Builds the library's index of the points, equal in every build, and returns its number of cells."""

    @abc.abstractmethod
    def _found(self, queries, k, searched, rescored):
        """The k best of queries float32 [Q, D], in any order: rows int64 [Q, k], -1 where the cells hold fewer, and
        their square distances float32 [Q, k], sums of squared differences in that precision."""

    def _planned(self, searched, rescored):
        """A plan, with its recall of the sample."""
        sample, exact = self._points[self._sample], self._nearest_of_sample
        found = _without(self._found(sample, exact.shape[1] + 1, searched, rescored)[0], self._sample)
        return SearchPlan(self._cells, searched, rescored, recall_of(self._points, sample, found, exact))

    def improve(self, queries, k, wanted_recall):
        """Goes on to dearer plans while this one finds too little, for queries may be harder than the points.

        Args:
          queries: float32 [Q, D].
          k: neighbours to be found, at most as many as points.
          wanted_recall: of these queries, in [0, 1].

        Returns:
          The recall of these queries; it is below what is wanted only where the grid has come to its end.
        """
        exact = nearest_of_sample(self._points, queries, k)
        while True:
            recall = recall_of(self._points, queries, self.search(queries, k), exact)
            dearer = next(self._ever_dearer, None) if recall < wanted_recall else None
            if dearer is None:
                return recall
            self.plan = self._planned(*dearer)

    def is_exact(self):
        """False."""
        return False

    def _search_block(self, queries, k):
        found, distances = self._found(queries, k, self.plan.searched, self.plan.rescored)
        distances = np.where(found < 0, np.inf, distances)
        order = np.argsort(distances, axis=1, kind="stable")
        found, distances = (np.take_along_axis(values, order, 1) for values in (found, distances))
        self._put_right(found, queries, np.flatnonzero(_doubtful(distances, found, queries.shape[1])))
        return found.astype(np.int32)

    def _put_right(self, found, queries, doubtful):
        """Orders rows of some queries by distances in double precision, and by row where those are equal."""
        for start in range(0, len(doubtful), _ORDERED_AT_ONCE):
            some = doubtful[start : start + _ORDERED_AT_ONCE]
            rows = found[some]
            far = square_distances(self._points, queries[some], rows)
            order = np.lexsort((rows, np.where(rows < 0, np.inf, far)), axis=-1)
            found[some] = np.take_along_axis(rows, order, 1)


def _doubtful(distances, rows, features):
    """Queries [Q] of whose ascending distances float32 [Q, k] rounding may have changed the order."""
    # Each difference, square and sum is rounded once.
    slack = (features + 4) * np.finfo(np.float32).eps
    last, rest = distances[:, :-1], distances[:, 1:]
    with np.errstate(invalid="ignore"):
        close = (rest - last <= slack * rest) & (rows[:, 1:] >= 0)
    # Where squares vanish or overflow, nothing is known.
    lost = (rows >= 0) & ~((distances > _LEAST_SQUARE) & (distances < np.finfo(np.float32).max))
    return close.any(axis=1) | lost.any(axis=1)


def _without(found, own):
    """Rows int [Q, k] of neighbours int [Q, k + 1] without each query's own, or the last where that is missing."""
    is_own = found == own[:, None]
    return np.take_along_axis(found, np.argsort(is_own, axis=1, kind="stable"), 1)[:, :-1]


def _grid(cells, points, k):
    """Pairs (cells searched, points rescored), the cheapest first; the last looks into all cells."""
    steps = {round(2 ** (half / 2)) for half in range(2 * cells.bit_length())}
    searched = sorted({min(step, cells) for step in steps}) if cells else [0]
    rescored = {min(points, max(number, k)) for number in (*_RESCORED, *(math.ceil(f * k) for f in _RESCORED_TIMES))}

    def cost(pair):
        hashed = points * pair[0] / cells if cells else points
        return hashed + cells + _RESCORING * pair[1]

    return sorted(itertools.product(searched, rescored), key=cost)
