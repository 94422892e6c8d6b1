"""The prefilter: exhaustive search, and candidates by category, against their definition."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from neighbours import brute_force, clustered, recall

from pipelines.prefilter import planned_search, search
from pipelines.prefilter.candidates import RecallError, SearchSettings, find_candidates, make_search
from pipelines.prefilter.scann_search import ScannSearch
from pipelines.prefilter.search import ExactSearch, nearest_of_sample, recall_of
from rgan_tf import progress


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


def test_back_end_by_name():
    few, many = np.zeros((30, 2), np.float32), np.random.default_rng(8).normal(size=(60, 2)).astype(np.float32)
    assert isinstance(make_search(few, SearchSettings("scann", brute_force_below=50)), ExactSearch)
    assert isinstance(make_search(many, SearchSettings("scann", brute_force_below=50)), ScannSearch)
    assert isinstance(make_search(many, SearchSettings("exact", brute_force_below=50)), ExactSearch)
    assert isinstance(
        make_search(many[:15], SearchSettings("scann", brute_force_below=0)), ExactSearch
    )  # ScaNN needs 16.
    assert isinstance(make_search(many[:16], SearchSettings("scann", brute_force_below=0)), ScannSearch)
    with pytest.raises(ValueError, match="'annoy'; it must be one of exact, scann, faiss"):
        make_search(few, SearchSettings("annoy"))


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


def make_bank(rng, patches, categories=3, scenes=12, dim=5):
    # Few distinct values, so that many distances are equal.
    return types.SimpleNamespace(
        offered=rng.integers(1, categories + 1, patches).astype(np.int32),
        graph_feature=rng.integers(0, 3, (patches, dim)).astype(np.float32),
        scene_index=np.sort(rng.integers(0, scenes, patches)).astype(np.int32),
    )


def expected_candidates(bank, features, categories, excluded, k):
    table = np.full((len(features), k), -1, np.int32)
    for index in range(len(features)):
        allowed = np.flatnonzero((bank.offered == categories[index]) & (bank.scene_index != excluded[index]))
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


@pytest.mark.parametrize("library, query_batch", [("scann", 16), ("scann", 1024), ("faiss", 1024)])
def test_candidates_of_libraries_keep_category_and_scene_apart_and_are_filled(library, query_batch):
    rng = np.random.default_rng(9)
    patches = 6000
    bank = types.SimpleNamespace(
        offered=rng.choice([1, 2, 3], patches, p=[0.7, 0.29, 0.01]).astype(np.int32),
        graph_feature=clustered(rng, patches, 24),
        scene_index=np.sort(rng.integers(0, 60, patches)).astype(np.int32),
    )
    asked = rng.choice(patches, 150, replace=False)
    categories, own = bank.offered[asked], bank.scene_index[asked]
    approximate = SearchSettings(library, query_batch, brute_force_below=1000)
    arguments = (bank, bank.graph_feature[asked], categories, own, 32)
    found = find_candidates(*arguments, approximate, progress=False).rows
    # Every category has more than 32 patches outside every scene.
    assert (found >= 0).all()
    assert (bank.offered[found] == categories[:, None]).all()
    assert (bank.scene_index[found] != own[:, None]).all()
    assert all(len(set(rows)) == 32 for rows in found)
    exact = find_candidates(*arguments, SearchSettings("exact"), progress=False).rows
    assert recall(found, exact) >= 0.98
    few = categories == 3
    np.testing.assert_array_equal(found[few], exact[few])
    again = find_candidates(*arguments, approximate, progress=False).rows
    np.testing.assert_array_equal(again, found)


def test_a_training_object_never_finds_itself():
    bank = make_bank(np.random.default_rng(10), 40)
    found = find_candidates(
        bank, bank.graph_feature, bank.offered, bank.scene_index, 8, SearchSettings("exact"), progress=False
    ).rows
    assert not (found == np.arange(40)[:, None]).any()
    free = find_candidates(
        bank, bank.graph_feature, bank.offered, np.full(40, -1), 8, SearchSettings("exact"), progress=False
    ).rows
    same = (bank.graph_feature[free[:, 0]] == bank.graph_feature).all(axis=1)
    assert same.all()


@pytest.mark.parametrize("backend", ["exact", "scann"])
def test_no_candidate_is_of_the_own_group(backend):
    bank, groups = make_bank(np.random.default_rng(12), 600), np.arange(600) % 4
    settings = SearchSettings(backend, brute_force_below=0)
    excluded = np.where(np.arange(600) % 5 > 0, groups, -1)
    found = find_candidates(
        bank, bank.graph_feature, bank.offered, excluded, 8, settings, progress=False, bank_groups=groups
    ).rows
    for row, own, features in zip(found, excluded, bank.graph_feature):
        assert (row >= 0).all() and own not in groups[row]
        if backend == "exact":
            others = np.flatnonzero((bank.offered == bank.offered[row[0]]) & (groups != own))
            distances = np.square(bank.graph_feature[others].astype(np.float64) - features).sum(axis=1)
            np.testing.assert_array_equal(row, others[np.lexsort((others, distances))[:8]])


def large_bank(rng, patches=3000, dim=16):
    return types.SimpleNamespace(
        offered=np.ones(patches, np.int32),
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
    monkeypatch.setattr(planned_search, "_grid", lambda leaves, points, k: [(0, k)])
    arguments = (bank, bank.graph_feature[:300], [1] * 300, [-1] * 300, 20)
    found = find_candidates(*arguments, SearchSettings(min_recall=0.0), progress=False)
    assert found.searches[0].recall < 0.99
    with pytest.raises(RecallError) as caught:
        find_candidates(*arguments, SearchSettings(), names=("__image__", "tree"), progress=False)
    shown = int(1000 * found.searches[0].recall) / 1000
    assert str(caught.value) == (
        f"Of the 20 nearest patches ScaNN finds {shown:.3f} in category 'tree' (3000 patches, 256 queries), "
        "and candidates.min_recall is 0.99; lower it, or search this category exhaustively with "
        "candidates.brute_force_below above 3000."
    )


@pytest.mark.parametrize("backend", ["scann", "faiss"])
def test_queries_that_are_harder_than_the_patches_get_a_dearer_search(backend, monkeypatch):
    rng = np.random.default_rng(23)
    bank, queries = large_bank(rng), rng.normal(size=(300, 16)).astype(np.float32) * 10
    arguments = (bank, queries, [1] * 300, [-1] * 300, 20)
    measured, improve = [], planned_search.PlannedSearch.improve

    def recorded(self, *given):
        measured.append((self.plan, recall_of(bank.graph_feature, given[0], self.search(given[0], 20), exact)))
        return improve(self, *given)

    exact = nearest_of_sample(bank.graph_feature, queries, 20)
    exact = exact[np.unique(np.linspace(0, 299, 256).astype(int))]
    monkeypatch.setattr(planned_search.PlannedSearch, "improve", recorded)
    (found,) = find_candidates(*arguments, SearchSettings(backend), progress=False).searches
    ((first, recall_at_first),) = measured
    assert first.recall > 0.99 > recall_at_first, "else nothing was to be improved"
    assert found.recall >= 0.99
    assert (found.plan.searched, found.plan.rescored) != (first.searched, first.rescored)
    rows = find_candidates(*arguments, SearchSettings(backend), progress=False).rows
    assert recall(rows, brute_force(queries, bank.graph_feature, 20)) >= 0.985


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
    with pytest.raises(ValueError, match="3 query features, 2 categories and 3 excluded groups"):
        find_candidates(bank, np.zeros((3, 5)), [1, 1], [-1] * 3, 4, SearchSettings(), progress=False)


def test_progress_shows_a_rate(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    bank = make_bank(np.random.default_rng(12), 30)
    find_candidates(bank, bank.graph_feature, bank.offered, bank.scene_index, 4, SearchSettings("exact"))
    shown = capsys.readouterr().err
    assert "candidates (exact)" in shown and "30/30" in shown and "query/s" in shown
