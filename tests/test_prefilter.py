import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from pipelines.prefilter import scann_search, search
from pipelines.prefilter.candidates import RecallError, SearchSettings, find_candidates, make_search
from pipelines.prefilter.scann_search import ScannSearch
from pipelines.prefilter.search import ExactSearch, nearest_of_sample, recall_of
from rgan_tf import progress


def brute_force(queries, points, k):
    """Every distance by its definition, in double precision, sorted stably: ties go to the lower row."""
    rows = []
    for query in queries.astype(np.float64):
        distances = ((points.astype(np.float64) - query) ** 2).sum(axis=1)
        order = np.argsort(distances, kind="stable")[:k]
        rows.append(np.pad(order, (0, k - len(order)), constant_values=-1))
    return np.array(rows, np.int32).reshape(len(queries), k)


def clustered(rng, number, dim, clusters=20, spread=0.3, centres_seed=99):
    centres = np.random.default_rng(centres_seed).normal(size=(clusters, dim))
    return (centres[rng.integers(0, clusters, number)] + spread * rng.normal(size=(number, dim))).astype(np.float32)


def recall(found, truth):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth)])


@pytest.mark.parametrize("points", [1, 2, 17, 300])
@pytest.mark.parametrize("dim", [1, 3, 128])
@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("query_batch", [1, 7, 1024])
def test_exact_search_equals_brute_force(points, dim, k, query_batch):
    rng = np.random.default_rng(points * dim * k)
    values, queries = rng.normal(size=(points, dim)).astype(np.float32), rng.normal(size=(20, dim)).astype(np.float32)
    exact = ExactSearch(values, query_batch)
    found = exact.search(queries, k)
    assert exact.is_exact() and found.dtype == np.int32
    np.testing.assert_array_equal(found, brute_force(queries, values, k))


@settings(deadline=None, max_examples=150)
@given(
    st_numpy.arrays(
        np.float32, st.tuples(st.integers(1, 25), st.just(3)), elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0])
    ),
    st_numpy.arrays(np.float32, (4, 3), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])),
    st.integers(1, 30),
)
def test_equal_distances_are_ordered_by_row(points, queries, k):
    np.testing.assert_array_equal(ExactSearch(points).search(queries, k), brute_force(queries, points, k))


@pytest.mark.parametrize("offset, spread", [(1e4, 1e-2), (1e6, 1.0), (0.0, 1e-18), (0.0, 1e15)])
def test_exact_search_survives_cancellation_and_extreme_scales(offset, spread):
    # ||p||^2 - 2 p.q + ||q||^2 in float32 has no correct digit for the first two.
    rng = np.random.default_rng(3)
    points = (offset + spread * rng.normal(size=(400, 16))).astype(np.float32)
    queries = (offset + spread * rng.normal(size=(30, 16))).astype(np.float32)
    np.testing.assert_array_equal(ExactSearch(points).search(queries, 10), brute_force(queries, points, 10))


@pytest.mark.parametrize("spread", [1e-4, 3e-4, 1e-3, 3e-3])
def test_exact_search_survives_features_that_drown_the_others(spread):
    # Eight large features that all points share: even in double precision the product rounds the others' differences.
    rng = np.random.default_rng(4)
    shared = 1e4 * rng.normal(size=8)
    points, queries = (
        np.concatenate([np.tile(shared, (number, 1)), spread * rng.normal(size=(number, 8))], 1).astype(np.float32)
        for number in (400, 60)
    )
    np.testing.assert_array_equal(ExactSearch(points).search(queries, 10), brute_force(queries, points, 10))


def test_bounded_blocks_give_the_same_rows(monkeypatch):
    rng = np.random.default_rng(4)
    points, queries = rng.normal(size=(90, 8)).astype(np.float32), rng.normal(size=(50, 8)).astype(np.float32)
    whole = ExactSearch(points).search(queries, 9)
    monkeypatch.setattr(search, "_MAX_DISTANCES", 200)
    np.testing.assert_array_equal(ExactSearch(points).search(queries, 9), whole)


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


def test_back_end_by_name():
    few, many = np.zeros((30, 2), np.float32), np.random.default_rng(8).normal(size=(60, 2)).astype(np.float32)
    assert isinstance(make_search(few, SearchSettings("scann", brute_force_below=50)), ExactSearch)
    assert isinstance(make_search(many, SearchSettings("scann", brute_force_below=50)), ScannSearch)
    assert isinstance(make_search(many, SearchSettings("exact", brute_force_below=50)), ExactSearch)
    assert isinstance(
        make_search(many[:15], SearchSettings("scann", brute_force_below=0)), ExactSearch
    )  # ScaNN needs 16.
    assert isinstance(make_search(many[:16], SearchSettings("scann", brute_force_below=0)), ScannSearch)
    with pytest.raises(ValueError, match="'faiss'; it must be one of exact, scann"):
        make_search(few, SearchSettings("faiss"))


@pytest.mark.parametrize(
    "points, queries, k, message",
    [
        (np.zeros((3, 2)), np.zeros((1, 3)), 1, "3 features and points 2"),
        (np.zeros((3, 2)), np.zeros(2), 1, r"queries have the shape \[2\]"),
        (np.zeros((3, 2)), np.full((1, 2), np.nan), 1, "Row 0 of the queries is not finite"),
        (np.array([[0.0], [np.inf]]), np.zeros((1, 1)), 1, "Row 1 of the points is not finite"),
        (np.zeros((3, 2)), np.zeros((1, 2)), 0, "0 neighbours"),
    ],
)
def test_unusable_input_is_named(points, queries, k, message):
    with pytest.raises(ValueError, match=message):
        ExactSearch(points).search(queries, k)


def test_scann_needs_points_for_its_codebooks():
    with pytest.raises(ValueError, match="15 points"):
        ScannSearch(np.zeros((15, 4), np.float32))


def make_bank(rng, patches, categories=3, scenes=12, dim=5):
    # Few distinct values, so that many distances are equal.
    return types.SimpleNamespace(
        category=rng.integers(1, categories + 1, patches).astype(np.int32),
        graph_feature=rng.integers(0, 3, (patches, dim)).astype(np.float32),
        scene_index=np.sort(rng.integers(0, scenes, patches)).astype(np.int32),
    )


def expected_candidates(bank, features, categories, excluded, k):
    table = np.full((len(features), k), -1, np.int32)
    for index in range(len(features)):
        allowed = np.flatnonzero((bank.category == categories[index]) & (bank.scene_index != excluded[index]))
        chosen = brute_force(features[index : index + 1], bank.graph_feature[allowed], k)[0]
        table[index, chosen >= 0] = allowed[chosen[chosen >= 0]]
    return table


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 25), st.integers(1, 12), st.integers(1, 9))
def test_candidates_equal_brute_force_with_the_own_scene_left_out(seed, patches, queries, k, query_batch):
    rng = np.random.default_rng(seed)
    bank = make_bank(rng, patches)
    features = rng.integers(0, 3, (queries, 5)).astype(np.float32)
    categories = rng.integers(0, 5, queries)  # 0 and 4 are not in the bank.
    excluded = rng.integers(-1, 14, queries)  # 12 and 13 are not in it either.
    found = find_candidates(
        bank, features, categories, excluded, k, SearchSettings("exact", query_batch), progress=False
    ).rows
    np.testing.assert_array_equal(found, expected_candidates(bank, features, categories, excluded, k))


@pytest.mark.parametrize("query_batch", [16, 1024])
def test_scann_candidates_keep_category_and_scene_apart_and_are_filled(query_batch):
    rng = np.random.default_rng(9)
    patches = 6000
    bank = types.SimpleNamespace(
        category=rng.choice([1, 2, 3], patches, p=[0.7, 0.29, 0.01]).astype(np.int32),
        graph_feature=clustered(rng, patches, 24),
        scene_index=np.sort(rng.integers(0, 60, patches)).astype(np.int32),
    )
    asked = rng.choice(patches, 150, replace=False)
    categories, own = bank.category[asked], bank.scene_index[asked]
    scann = SearchSettings("scann", query_batch, brute_force_below=1000)
    arguments = (bank, bank.graph_feature[asked], categories, own, 32)
    found = find_candidates(*arguments, scann, progress=False).rows
    # Every category has more than 32 patches outside every scene.
    assert (found >= 0).all()
    assert (bank.category[found] == categories[:, None]).all()
    assert (bank.scene_index[found] != own[:, None]).all()
    assert all(len(set(rows)) == 32 for rows in found)
    exact = find_candidates(*arguments, SearchSettings("exact"), progress=False).rows
    assert recall(found, exact) >= 0.98
    few = categories == 3
    np.testing.assert_array_equal(found[few], exact[few])
    again = find_candidates(*arguments, scann, progress=False).rows
    np.testing.assert_array_equal(again, found)


def test_a_training_object_never_finds_itself():
    bank = make_bank(np.random.default_rng(10), 40)
    found = find_candidates(
        bank, bank.graph_feature, bank.category, bank.scene_index, 8, SearchSettings("exact"), progress=False
    ).rows
    assert not (found == np.arange(40)[:, None]).any()
    free = find_candidates(
        bank, bank.graph_feature, bank.category, np.full(40, -1), 8, SearchSettings("exact"), progress=False
    ).rows
    same = (bank.graph_feature[free[:, 0]] == bank.graph_feature).all(axis=1)
    assert same.all()


def large_bank(rng, patches=3000, dim=16):
    return types.SimpleNamespace(
        category=np.ones(patches, np.int32),
        graph_feature=clustered(rng, patches, dim),
        scene_index=np.arange(patches, dtype=np.int32) // 3,
    )


def test_the_recall_of_a_build_is_that_of_brute_force():
    bank, rng = large_bank(np.random.default_rng(20)), np.random.default_rng(21)
    queries = clustered(rng, 200, 16)
    found = find_candidates(bank, queries, [1] * 200, [-1] * 200, 20, SearchSettings(), progress=False)
    (measured,) = found.searches
    assert (measured.category, measured.patches, measured.measured) == (1, 3000, 200)
    assert measured.recall == pytest.approx(recall(found.rows, brute_force(queries, bank.graph_feature, 20)), abs=1e-9)
    assert measured.recall >= 0.99


def test_too_low_a_recall_is_an_error_with_its_mend(monkeypatch):
    bank = large_bank(np.random.default_rng(22))
    # A plan that rescores too little.
    monkeypatch.setattr(scann_search, "_grid", lambda leaves, points, k: [(0, k)])
    arguments = (bank, bank.graph_feature[:300], [1] * 300, [-1] * 300, 20)
    found = find_candidates(*arguments, SearchSettings(min_recall=0.0), progress=False)
    assert found.searches[0].recall < 0.99
    with pytest.raises(RecallError) as caught:
        find_candidates(*arguments, SearchSettings(), names=("__image__", "tree"), progress=False)
    assert str(caught.value) == (
        f"Of the 20 nearest patches ScaNN finds {found.searches[0].recall:.3f} in category 'tree' (3000 patches, 256 "
        "queries), and candidates.min_recall is 0.99; lower it, or search this category exhaustively with "
        "candidates.brute_force_below above 3000."
    )


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


def test_equally_near_points_are_equally_good():
    points = np.repeat(np.arange(50, dtype=np.float32)[:, None], 40, axis=0)
    exact = nearest_of_sample(points, points[:10], 5)
    assert recall_of(points, points[:10], np.tile(np.arange(35, 40), (10, 1)), exact) == 1.0
    assert recall_of(points, points[:10], np.full((10, 5), -1), exact) == 0.0
    assert recall_of(points, points[:10], np.full((10, 5), 1999), exact) == 0.0


def test_blocks_give_the_nearest_of_all(monkeypatch):
    monkeypatch.setattr(search, "_POINTS_AT_ONCE", 70)
    rng = np.random.default_rng(25)
    points, queries = rng.normal(size=(1000, 6)).astype(np.float32), rng.normal(size=(30, 6)).astype(np.float32)
    for k in (1, 9, 71, 300):
        np.testing.assert_array_equal(nearest_of_sample(points, queries, k), brute_force(queries, points, k))


def test_unequal_lengths_are_an_error():
    bank = make_bank(np.random.default_rng(11), 10)
    with pytest.raises(ValueError, match="3 query features, 2 categories and 3 excluded scenes"):
        find_candidates(bank, np.zeros((3, 5)), [1, 1], [-1] * 3, 4, SearchSettings(), progress=False)


def test_progress_shows_a_rate(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    bank = make_bank(np.random.default_rng(12), 30)
    find_candidates(bank, bank.graph_feature, bank.category, bank.scene_index, 4, SearchSettings("exact"))
    shown = capsys.readouterr().err
    assert "candidates (exact)" in shown and "30/30" in shown and "query/s" in shown
