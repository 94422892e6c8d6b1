"""Nearest neighbours among fixed points: the interface, and exhaustive search."""

import abc
import math

import numpy as np

# Most distances held at once (64 MiB in double precision), whatever the number of queries searched together.
_MAX_DISTANCES = 2**23
# Points compared at once by `nearest_of_sample`.
_POINTS_AT_ONCE = 2**16


class CandidateSearch(abc.ABC):
    """Nearest neighbours among fixed points under the Euclidean distance."""

    def __init__(self, points, query_batch):
        """Keeps the points.

        Args:
          points: float32 [M, D], finite, M >= 1.
          query_batch: number of queries searched at once; bounds memory, changes no result.
        """
        self._points = _features(points, "points")
        self._query_batch = query_batch

    @abc.abstractmethod
    def is_exact(self):
        """Whether the nearest points are always found."""

    @abc.abstractmethod
    def _search_block(self, queries, k):
        """Rows int32 [Q, k] of float32 queries [Q, D], nearest first; 1 <= k <= M."""

    def search(self, queries, k):
        """Finds the k nearest points of each query.

        Args:
          queries: float32 [Q, D], finite.
          k: at least 1.

        Returns:
          int32 [Q, k]: rows of the points, nearest first, by row where equally near; -1 where there are too few.
        """
        if k < 1:
            raise ValueError(f"{k} neighbours were asked for; ask for at least 1.")
        queries = _features(queries, "queries")
        if queries.shape[1] != self._points.shape[1]:
            raise ValueError(
                f"Queries have {queries.shape[1]} features and points {self._points.shape[1]}; they must agree."
            )
        rows = np.full((len(queries), k), -1, np.int32)
        found = min(k, len(self._points))
        for start in range(0, len(queries), self._query_batch):
            block = slice(start, start + self._query_batch)
            rows[block, :found] = self._search_block(queries[block], found)
        return rows


def _features(values, name):
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim != 2:
        raise ValueError(f"The {name} have the shape {list(values.shape)}; they must be [number, features].")
    # The extremes tell, without an array of the same size.
    if values.size and not np.isfinite([values.min(), values.max()]).all():
        row = np.flatnonzero(~np.isfinite(values).all(axis=1))[0]
        raise ValueError(
            f"Row {row} of the {name} is not finite; the encoder that made it has diverged, train it again."
        )
    return values


def _nearest(query, points, rows, k):
    """The k of `rows` nearest to the query: distances from differences, so without cancellation, ties by row."""
    differences = points[rows].astype(np.float64) - query
    distances = np.sum(differences * differences, axis=1)
    return rows[np.lexsort((rows, distances))[:k]]


class ExactSearch(CandidateSearch):
    """Exhaustive search: a matrix product narrows the points, distances from differences decide."""

    def __init__(self, points, query_batch=1024):
        """See `CandidateSearch`."""
        super().__init__(points, query_batch)
        self._double = self._points.astype(np.float64)
        self._square_norms = np.sum(self._double * self._double, axis=1)
        self._query_batch = max(1, min(query_batch, _MAX_DISTANCES // len(self._points)))

    def is_exact(self):
        """True."""
        return True

    def _search_block(self, queries, k):
        queries = queries.astype(np.float64)
        # ||p - q||^2 without ||q||^2, which is the same for all points of a query.
        scores = self._square_norms - 2.0 * (queries @ self._double.T)
        kth = np.partition(scores, k - 1, axis=1)[:, k - 1]
        # Rounding moves a score by less than this, so no point of the true k lies beyond twice as far from the k-th.
        reach = np.linalg.norm(queries, axis=1) + math.sqrt(self._square_norms.max())
        slack = 4 * (queries.shape[1] + 4) * np.finfo(np.float64).eps * reach**2
        near = scores <= (kth + 2 * slack)[:, None]
        return np.stack([_nearest(query, self._double, np.flatnonzero(row), k) for query, row in zip(queries, near)])


def nearest_of_sample(points, queries, k):
    """The k nearest points of some queries, block by block of the points: what the approximate ways are held against.

    Unlike `ExactSearch` it needs no second copy of the points; distances that differ by rounding alone may change
    places.

    Args:
      points: float32 [M, D], M >= k; may be memory-mapped.
      queries: float32 [Q, D].
      k: at least 1.

    Returns:
      int64 [Q, k], nearest first.
    """
    queries = queries.astype(np.float64)
    rows = np.zeros((len(queries), 0), np.int64)
    distances = np.zeros((len(queries), 0))
    for start in range(0, len(points), _POINTS_AT_ONCE):
        block = np.asarray(points[start : start + _POINTS_AT_ONCE], np.float64)
        # Without the queries' own square, which is the same for all points.
        found = np.sum(block * block, axis=1) - 2.0 * (queries @ block.T)
        rows = np.concatenate([rows, np.broadcast_to(start + np.arange(len(block)), found.shape)], axis=1)
        distances = np.concatenate([distances, found], axis=1)
        if rows.shape[1] > k:
            best = np.argpartition(distances, k - 1, axis=1)[:, :k]
            rows, distances = np.take_along_axis(rows, best, 1), np.take_along_axis(distances, best, 1)
    return np.take_along_axis(rows, np.argsort(distances, axis=1, kind="stable"), 1)


def recall_of(points, queries, found, exact):
    """The share of exact neighbours that were found; one that is as near as the last of them is as good.

    Args:
      points: float32 [M, D].
      queries: float32 [Q, D].
      found: int [Q, k] rows, -1 where there is none.
      exact: int [Q, k] rows, of `nearest_of_sample`.
    """
    furthest = square_distances(points, queries, exact).max(axis=1, keepdims=True)
    reached = (found >= 0) & (square_distances(points, queries, found) <= furthest)
    return float(reached.mean())


def square_distances(points, queries, rows):
    """Square distances float64 [Q, k] of rows int [Q, k]."""
    differences = points[rows].astype(np.float64) - queries[:, None, :]
    return np.einsum("qkd,qkd->qk", differences, differences)
