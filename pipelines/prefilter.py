"""Candidate patches for every object: the nearest graph features among the bank's patches of its category.

Paper section 3.2: candidates are ranked by the Euclidean distance between the graph feature of the object and those of
the bank's patches. Two back ends stand behind one interface: exhaustive search, and ScaNN. Both order what they return
by distance, in double precision, and by row where distances are equal, so that results never depend on the machine.
"""

import abc
import math

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from rgan_tf.progress import progress_bar

BACKENDS = ("exact", "scann")
# Most distances held at once (64 MiB in double precision), whatever the number of queries searched together.
_MAX_DISTANCES = 2**23
# ScaNN computes true distances for so many points a neighbour asked for: recall against time.
_RESCORED_PER_NEIGHBOUR = 32
_LEAST_RESCORED = 1024
# Points that ScaNN's codebooks need.
_SCANN_POINTS = 16


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
    if not np.isfinite(values).all():
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


class ScannSearch(CandidateSearch):
    """ScaNN: quantized scores of all points (asymmetric hashing), true distances for the best of them.

    It does without ScaNN's tree: the tree's k-means starts at random and takes no seed, so that two builds would find
    different neighbours, and among the points of one category hashing alone is fast enough.
    """

    def __init__(self, points, query_batch=1024):
        """See `CandidateSearch`; ScaNN's codebooks need at least 16 points."""
        super().__init__(points, query_batch)
        if len(self._points) < _SCANN_POINTS:
            raise ValueError(
                f"ScaNN was given {len(self._points)} points; it needs {_SCANN_POINTS} or more, search fewer "
                "exhaustively."
            )
        builder = scann_ops_pybind.builder(self._points, 1, "squared_l2")
        self._searcher = builder.score_ah(2).reorder(1).build()

    def is_exact(self):
        """False."""
        return False

    def _search_block(self, queries, k):
        rescored = min(len(self._points), max(_RESCORED_PER_NEIGHBOUR * k, _LEAST_RESCORED))
        found, _ = self._searcher.search_batched_parallel(queries, k, rescored)
        return np.stack(
            [_nearest(query, self._points, rows, k) for query, rows in zip(queries, found.astype(np.int32))]
        )


def make_search(points, backend="scann", query_batch=1024, brute_force_below=2000):
    """The back end by name; "scann" searches fewer than `brute_force_below` points, or than it needs, exhaustively."""
    if backend not in BACKENDS:
        raise ValueError(f"The candidate back end is {backend!r}; it must be one of {', '.join(BACKENDS)}.")
    if backend == "exact" or len(points) < max(brute_force_below, _SCANN_POINTS):
        return ExactSearch(points, query_batch)
    return ScannSearch(points, query_batch)


def find_candidates(
    bank,
    query_features,
    query_categories,
    excluded_scene,
    k_max,
    backend="scann",
    query_batch=1024,
    brute_force_below=2000,
    progress=True,
):
    """Ranks bank patches for every query object.

    Args:
      bank: a `PatchBank`, or anything with its `category` [M], `graph_feature` [M, D_g] and `scene_index` [M].
      query_features: float32 [Q, D_g], the objects' graph features.
      query_categories: int [Q]; an object whose category has no patch gets no candidate.
      excluded_scene: int [Q], the training scene whose patches the query must not be given; -1 for none.
      k_max: number of candidates.
      backend: "scann" or "exact".
      query_batch: number of queries searched at once.
      brute_force_below: categories with fewer patches are searched exhaustively by "scann" too.
      progress: whether to show a bar.

    Returns:
      int32 [Q, k_max] bank rows, nearest first; -1 where the category has too few patches of other scenes.
    """
    query_categories, excluded_scene = np.asarray(query_categories), np.asarray(excluded_scene)
    if not len(query_features) == len(query_categories) == len(excluded_scene):
        raise ValueError(
            f"There are {len(query_features)} query features, {len(query_categories)} categories and "
            f"{len(excluded_scene)} excluded scenes; give one of each for a query."
        )
    candidates = np.full((len(query_categories), k_max), -1, np.int32)
    bank_categories = np.asarray(bank.category)
    with progress_bar(total=len(candidates), unit="query", desc=f"candidates ({backend})", disable=not progress) as bar:
        for category in np.unique(query_categories):
            asked = np.flatnonzero(query_categories == category)
            rows = np.flatnonzero(bank_categories == category).astype(np.int32)
            if len(rows):
                search = make_search(bank.graph_feature[rows], backend, query_batch, brute_force_below)
                scenes = np.asarray(bank.scene_index)[rows]
                extra = _most_excluded(scenes, excluded_scene[asked])
                for start in range(0, len(asked), query_batch):
                    block = asked[start : start + query_batch]
                    found = search.search(query_features[block], k_max + extra)
                    candidates[block] = _drop_excluded(found, rows, scenes, excluded_scene[block], k_max)
                    bar.update(len(block))
            else:
                bar.update(len(asked))
    return candidates


def _most_excluded(scenes, excluded):
    """Most patches that any query must do without: searching so many more leaves k after they are dropped."""
    counts = np.bincount(scenes, minlength=int(excluded.max(initial=-1)) + 1)
    return int(counts[excluded[excluded >= 0]].max(initial=0))


def _drop_excluded(found, rows, scenes, excluded, k):
    """Bank rows [Q, k] from positions `found` [Q, k + extra] in `rows`, without those of the excluded scenes."""
    dropped = (found < 0) | (scenes[found] == excluded[:, None])
    kept = np.where(dropped, -1, rows[found])
    return np.take_along_axis(kept, np.argsort(dropped, axis=1, kind="stable"), axis=1)[:, :k]
