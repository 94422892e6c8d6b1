"""ScaNN and FAISS behind the prefilter's interface: recall, order, plans, and the traps they have."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from neighbours import clustered, recall

from pipelines.prefilter import planned_search
from pipelines.prefilter.faiss_search import FaissSearch
from pipelines.prefilter.scann_search import ScannSearch
from pipelines.prefilter.search import ExactSearch
from rgan_tf.errors import UserError

both = pytest.mark.parametrize("library", [ScannSearch, FaissSearch])


@both
@pytest.mark.parametrize("k", [1, 8, 32])
@pytest.mark.parametrize("points, dim", [(2500, 128), (6000, 63), (20000, 16)])
def test_recall(library, points, dim, k):
    rng = np.random.default_rng(points + k)
    values, queries = clustered(rng, points, dim), clustered(rng, 100, dim)
    approximate = library(values, k=k)
    assert not approximate.is_exact()
    assert recall(approximate.search(queries, k), ExactSearch(values).search(queries, k)) >= 0.98


@both
def test_not_every_query_is_answered_alike(library):
    rng = np.random.default_rng(5)
    values = clustered(rng, 3000, 32)
    np.testing.assert_array_equal(library(values).search(values[:200], 1)[:, 0], np.arange(200))


@pytest.mark.parametrize(
    "library, points",
    [*((ScannSearch, points) for points in (16, 17, 100, 2001)), *((FaissSearch, points) for points in (624, 2001))],
)
@pytest.mark.parametrize("dim", [1, 3, 32])
@pytest.mark.parametrize("k", [1, 15, 40])
def test_there_are_as_many_distinct_neighbours_as_asked_in_order(library, points, dim, k):
    rng = np.random.default_rng(points * dim + k)
    values, queries = rng.normal(size=(points, dim)).astype(np.float32), rng.normal(size=(11, dim)).astype(np.float32)
    found = library(values, query_batch=4, k=k).search(queries, k)
    number = min(k, points)
    assert found.shape == (11, k) and (found[:, number:] == -1).all()
    for query, rows in zip(queries.astype(np.float64), found[:, :number]):
        assert len(set(rows)) == number
        assert (np.diff(((values[rows].astype(np.float64) - query) ** 2).sum(axis=1)) >= 0).all()


@both
def test_ties_are_ordered_by_row(library):
    values = np.random.default_rng(6).integers(0, 2, (700, 4)).astype(np.float32)
    found = library(values).search(values[:10], 5)
    distances = ((values[found] - values[:10, None]) ** 2).sum(axis=-1)
    ascending = np.diff(found, axis=1) > 0
    assert ascending[np.diff(distances, axis=1) == 0].all()


@both
def test_two_builds_agree(library):
    rng = np.random.default_rng(7)
    values, queries = clustered(rng, 4000, 64, clusters=300), clustered(rng, 200, 64, clusters=300)
    first, second = (library(values).search(queries, 32) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("library, name, least", [(ScannSearch, "ScaNN", 16), (FaissSearch, "FAISS", 624)])
def test_libraries_need_points_for_their_codes(library, name, least):
    with pytest.raises(ValueError, match=f"{name} was given {least - 1} points; it needs {least} or more"):
        library(np.zeros((least - 1, 4), np.float32))


def test_a_missing_library_is_named_with_its_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"faiss-cpu cannot be imported .*; install rgan-tf\[search\], or set"):
        FaissSearch(np.zeros((700, 4), np.float32))


@both
def test_equal_points_are_searched_too(library):
    found = library(np.ones((700, 4), np.float32), k=8).search(np.ones((3, 4), np.float32), 8)
    assert all(len(set(rows)) == 8 for rows in found)


@both
def test_plans_are_the_cheapest_that_are_good_enough(library):
    values = clustered(np.random.default_rng(23), 30000, 32, clusters=200)
    easy, strict = (library(values, k=16, wanted_recall=wanted).plan for wanted in (0.5, 0.999))
    assert easy.cells == strict.cells == round(30000**0.5)
    assert 0.625 <= easy.recall and 0.99925 <= strict.recall
    assert (easy.searched, easy.rescored) < (strict.searched, strict.rescored)


def test_the_grid_of_plans_goes_from_cheap_to_whole():
    grid = planned_search._grid(64, 10000, 10)
    costs = [10000 * searched / 64 + 20 * rescored for searched, rescored in grid]
    assert costs == sorted(costs) and grid[-1] == (64, 4096)


@both
def test_another_process_finds_the_same_neighbours(library, tmp_path):
    script = tmp_path / "build.py"
    script.write_text(
        f"import sys, numpy as np\nfrom {library.__module__} import {library.__name__} as Search\n"
        "values = np.random.default_rng(0).normal(size=(21000, 8)).astype(np.float32)\n"
        "np.save(sys.argv[1], Search(values, k=8, wanted_recall=0.8).search(values[:500], 8))\n"
    )
    for number in range(2):
        subprocess.run([sys.executable, script, str(tmp_path / f"{number}.npy")], cwd=REPOSITORY, check=True)
    first, second = (np.load(tmp_path / f"{number}.npy") for number in range(2))
    # Few cells are looked into, so that other cells would give others.
    np.testing.assert_array_equal(first, second)


@both
def test_cells_with_too_few_points_leave_slots_empty(library):
    """ScaNN fills such slots with row 0, however far it is."""
    rng = np.random.default_rng(24)
    values = np.concatenate([rng.normal(size=(20000, 4)), 100 + rng.normal(size=(100, 4))]).astype(np.float32)
    approximate = library(values, k=8)
    approximate.plan = approximate.plan._replace(searched=1)
    found = approximate.search(values[-5:], 300)
    assert (found < 0).any(axis=1).all()
    distances = np.linalg.norm(values[found].astype(np.float64) - values[-5:, None], axis=-1)
    for row, far in zip(found, distances):
        number = (row >= 0).sum()
        assert 5 < number and len(set(row[:number])) == number and (row[number:] == -1).all()
        assert (np.diff(far[:number]) >= 0).all() and far[0] == 0


@both
@pytest.mark.parametrize("offset, spread", [(0, 1), (1e4, 1e-1), (1e3, 1e-3), (0, 1e-17), (0, 1e18)])
def test_order_is_that_of_double_precision(library, offset, spread, monkeypatch):
    """Only queries whose order rounding may have changed are ordered again; the result is as if all were."""
    rng = np.random.default_rng(31)
    values, queries = ((offset + spread * rng.normal(size=(number, 24))).astype(np.float32) for number in (3000, 400))
    approximate = library(values, k=20, wanted_recall=0.8)
    found = approximate.search(queries, 20)
    monkeypatch.setattr(planned_search, "_doubtful", lambda distances, rows, features: np.ones(len(rows), bool))
    np.testing.assert_array_equal(approximate.search(queries, 20), found)


def test_few_queries_are_in_doubt():
    rng = np.random.default_rng(32)
    distances = np.sort(rng.gamma(8, size=(4000, 32)).astype(np.float32), axis=1)
    rows = np.tile(np.arange(32), (4000, 1))
    doubtful = planned_search._doubtful(distances, rows, 128)
    assert 0 < doubtful.mean() < 0.2
    for row, told in zip(distances.astype(np.float64), doubtful):
        assert told == (np.diff(row) <= 132 * 2.0**-23 * row[1:]).any()
    rows[:, 5:] = -1
    assert planned_search._doubtful(distances, rows, 128).mean() < doubtful.mean()
    distances[0, 0] = 0.0
    distances[1, 4] = np.inf
    assert planned_search._doubtful(distances, rows, 128)[:2].all()
