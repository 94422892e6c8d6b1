"""ScaNN behind the prefilter's interface: recall, order, plans, and the traps it has."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from neighbours import clustered, recall

from pipelines.prefilter import scann_search
from pipelines.prefilter.scann_search import ScannSearch
from pipelines.prefilter.search import ExactSearch


@pytest.mark.parametrize("k", [1, 8, 32])
@pytest.mark.parametrize("points, dim", [(2500, 128), (6000, 64), (20000, 16)])
def test_scann_recall(points, dim, k):
    rng = np.random.default_rng(points + k)
    values, queries = clustered(rng, points, dim), clustered(rng, 100, dim)
    scann = ScannSearch(values, k=k)
    assert not scann.is_exact()
    assert recall(scann.search(queries, k), ExactSearch(values).search(queries, k)) >= 0.98


def test_scann_does_not_answer_every_query_alike():
    rng = np.random.default_rng(5)
    values = clustered(rng, 3000, 32)
    np.testing.assert_array_equal(ScannSearch(values).search(values[:200], 1)[:, 0], np.arange(200))


@pytest.mark.parametrize("points", [16, 17, 100, 2001])
@pytest.mark.parametrize("dim", [1, 3, 32])
@pytest.mark.parametrize("k", [1, 15, 40])
def test_scann_gives_as_many_distinct_neighbours_as_there_are_in_order(points, dim, k):
    rng = np.random.default_rng(points * dim + k)
    values, queries = rng.normal(size=(points, dim)).astype(np.float32), rng.normal(size=(11, dim)).astype(np.float32)
    found = ScannSearch(values, query_batch=4).search(queries, k)
    number = min(k, points)
    assert found.shape == (11, k) and (found[:, number:] == -1).all()
    for query, rows in zip(queries.astype(np.float64), found[:, :number]):
        assert len(set(rows)) == number
        assert (np.diff(((values[rows].astype(np.float64) - query) ** 2).sum(axis=1)) >= 0).all()


def test_scann_orders_ties_by_row():
    values = np.random.default_rng(6).integers(0, 2, (500, 4)).astype(np.float32)
    found = ScannSearch(values).search(values[:10], 5)
    distances = ((values[found] - values[:10, None]) ** 2).sum(axis=-1)
    ascending = np.diff(found, axis=1) > 0
    assert ascending[np.diff(distances, axis=1) == 0].all()


def test_two_scann_builds_agree():
    rng = np.random.default_rng(7)
    values, queries = clustered(rng, 4000, 64, clusters=300), clustered(rng, 200, 64, clusters=300)
    first, second = (ScannSearch(values).search(queries, 32) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_scann_needs_points_for_its_codebooks():
    with pytest.raises(ValueError, match="15 points"):
        ScannSearch(np.zeros((15, 4), np.float32))


def test_plans_are_the_cheapest_that_are_good_enough():
    values = clustered(np.random.default_rng(23), 30000, 32, clusters=200)
    easy, strict = (ScannSearch(values, k=16, wanted_recall=wanted).plan for wanted in (0.5, 0.999))
    assert easy.leaves == strict.leaves == round(30000**0.5)
    assert 0.625 <= easy.recall and 0.99925 <= strict.recall
    assert (easy.searched, easy.rescored) < (strict.searched, strict.rescored)
    grid = scann_search._grid(64, 10000, 10)
    costs = [10000 * searched / 64 + 20 * rescored for searched, rescored in grid]
    assert costs == sorted(costs) and grid[-1] == (64, 4096)


def test_a_tree_gives_the_same_neighbours_in_another_process(tmp_path):
    script = tmp_path / "build.py"
    script.write_text(
        "import sys, numpy as np\nfrom pipelines.prefilter.scann_search import ScannSearch\n"
        "values = np.random.default_rng(0).normal(size=(21000, 8)).astype(np.float32)\n"
        "np.save(sys.argv[1], ScannSearch(values, k=8, wanted_recall=0.8).search(values[:500], 8))\n"
    )
    for number in range(2):
        subprocess.run([sys.executable, script, str(tmp_path / f"{number}.npy")], cwd=REPOSITORY, check=True)
    first, second = (np.load(tmp_path / f"{number}.npy") for number in range(2))
    # Few leaves are looked into, so that another tree would find others.
    np.testing.assert_array_equal(first, second)


def test_leaves_with_too_few_points_leave_slots_empty():
    """ScaNN fills such slots with row 0, however far it is."""
    rng = np.random.default_rng(24)
    values = np.concatenate([rng.normal(size=(20000, 4)), 100 + rng.normal(size=(100, 4))]).astype(np.float32)
    scann = ScannSearch(values, k=8)
    scann.plan = scann.plan._replace(searched=1)
    found = scann.search(values[-5:], 300)
    assert (found < 0).any(axis=1).all()
    distances = np.linalg.norm(values[found].astype(np.float64) - values[-5:, None], axis=-1)
    for row, far in zip(found, distances):
        number = (row >= 0).sum()
        assert 30 < number and len(set(row[:number])) == number and (row[number:] == -1).all()
        assert (np.diff(far[:number]) >= 0).all() and far[0] == 0
