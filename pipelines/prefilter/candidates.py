"""Candidates of objects by category, and how well they were found."""

import math
from typing import NamedTuple, Optional

import numpy as np

from pipelines.prefilter.faiss_search import FaissSearch
from pipelines.prefilter.planned_search import SearchPlan
from pipelines.prefilter.scann_search import ScannSearch
from pipelines.prefilter.search import ExactSearch
from rgan_tf.errors import UserError
from rgan_tf.progress import progress_bar

# Those that search approximately.
LIBRARIES = {"scann": ScannSearch, "faiss": FaissSearch}
BACKENDS = ("exact", *LIBRARIES)
# Queries of a category by which its recall is measured.
_MEASURED = 256


class RecallError(UserError):
    """Approximate search found too few of the nearest patches."""


class SearchSettings(NamedTuple):
    """How candidates are searched.

    backend: one of `BACKENDS`. query_batch: queries searched at once. brute_force_below: categories with fewer patches
    are searched exhaustively by every back end. min_recall: share of the nearest patches that is to be found in every
    category. refuse_less: whether a category where that cannot be reached is an error.
    """

    backend: str = "scann"
    query_batch: int = 1024
    brute_force_below: int = 2000
    min_recall: float = 0.99
    refuse_less: bool = True


class CategorySearch(NamedTuple):
    """How a category was searched, where that was not exhaustively.

    category: its id. patches: in the bank. library: that searched. plan: how. recall: of `measured` queries, at the
    number of neighbours that were asked for.
    """

    category: int
    patches: int
    library: str
    plan: SearchPlan
    recall: float
    measured: int


class Candidates(NamedTuple):
    """Bank rows int32 [Q, k_max], nearest first, -1 where a category has too few patches of other groups; and how each
    category was searched that was not searched exhaustively."""

    rows: np.ndarray
    searches: list[CategorySearch]


def make_search(points, settings, k=32):
    """The way to search by name; few points, or fewer than a library needs, are searched exhaustively."""
    if settings.backend not in BACKENDS:
        raise ValueError(f"The candidate back end is {settings.backend!r}; it must be one of {', '.join(BACKENDS)}.")
    library = LIBRARIES.get(settings.backend)
    if library is None or len(points) < max(settings.brute_force_below, library.least_points):
        return ExactSearch(points, settings.query_batch)
    return library(points, settings.query_batch, k, settings.min_recall)


def find_candidates(
    bank,
    query_features,
    query_categories,
    excluded_group,
    k_max,
    settings,
    names: Optional[tuple[str, ...]] = None,
    progress=True,
    bank_groups=None,
):
    """Ranks bank patches for every query object.

    Args:
      bank: a `PatchBank`, or anything with its `offered` [M], `graph_feature` [M, D_g] and `scene_index` [M].
      query_features: float32 [Q, D_g], the objects' graph features.
      query_categories: int [Q]; an object whose category has no patch gets no candidate.
      excluded_group: int [Q], the group whose patches the query must not be given; -1 for none.
      k_max: number of candidates.
      settings: how to search.
      names: of the categories, by id, for errors.
      progress: whether to show a bar.
      bank_groups: int [M], the groups of the patches; by default each training scene is one.

    Returns:
      What was found.

    Raises:
      RecallError: a category's recall is below `settings.min_recall`, and `settings.refuse_less`.
    """
    query_categories, excluded_group = np.asarray(query_categories), np.asarray(excluded_group)
    bank_groups = np.asarray(bank.scene_index if bank_groups is None else bank_groups)
    if not len(query_features) == len(query_categories) == len(excluded_group):
        raise ValueError(
            f"There are {len(query_features)} query features, {len(query_categories)} categories and "
            f"{len(excluded_group)} excluded groups; give one of each for a query."
        )
    candidates = np.full((len(query_categories), k_max), -1, np.int32)
    bank_categories, searches = np.asarray(bank.offered), []
    desc = f"candidates ({settings.backend})"
    with progress_bar(total=len(candidates), unit="query", desc=desc, disable=not progress) as bar:
        for category in np.unique(query_categories):
            asked = np.flatnonzero(query_categories == category)
            rows = np.flatnonzero(bank_categories == category).astype(np.int32)
            if not len(rows):
                bar.update(len(asked))
                continue
            groups = bank_groups[rows]
            # Searching so many more leaves k after the own group's are dropped.
            k = k_max + _most_excluded(groups, excluded_group[asked])
            search = make_search(bank.graph_feature[rows], settings, k)
            if not search.is_exact():
                searches.append(_adjust(search, category, len(rows), query_features[asked], k, settings.min_recall))
                _check(searches[-1], settings, k, names)
            for start in range(0, len(asked), settings.query_batch):
                block = asked[start : start + settings.query_batch]
                found = search.search(query_features[block], k)
                candidates[block] = _drop_excluded(found, rows, groups, excluded_group[block], k_max)
                bar.update(len(block))
    return Candidates(candidates, searches)


def _adjust(search, category, patches, queries, k, min_recall):
    """Makes a search as thorough as queries from all over the category need it."""
    sample = queries[np.unique(np.linspace(0, len(queries) - 1, _MEASURED).astype(int))]
    recall = search.improve(sample, min(k, patches), min_recall)
    return CategorySearch(int(category), patches, search.library, search.plan, recall, len(sample))


def _check(found, settings, k, names):
    if settings.refuse_less and found.recall < settings.min_recall:
        name = f"{names[found.category]!r}" if names else str(found.category)
        # Rounded down: it must not read as if it were enough.
        recall = math.floor(1000 * found.recall) / 1000
        raise RecallError(
            f"Of the {k} nearest patches {found.library} finds {recall:.3f} in category {name} "
            f"({found.patches} patches, {found.measured} queries), and candidates.min_recall is {settings.min_recall}; "
            f"lower it, or search this category exhaustively with candidates.brute_force_below above {found.patches}."
        )


def _most_excluded(groups, excluded):
    """Most patches that any query must do without: searching so many more leaves k after they are dropped."""
    counts = np.bincount(groups, minlength=int(excluded.max(initial=-1)) + 1)
    return int(counts[excluded[excluded >= 0]].max(initial=0))


def _drop_excluded(found, rows, groups, excluded, k):
    """Bank rows [Q, k] from positions `found` [Q, k + extra] in `rows`, without those of the excluded groups."""
    dropped = (found < 0) | (groups[found] == excluded[:, None])
    kept = np.where(dropped, -1, rows[found])
    return np.take_along_axis(kept, np.argsort(dropped, axis=1, kind="stable"), axis=1)[:, :k]
