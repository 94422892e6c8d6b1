"""Recall of candidate lists against set arithmetic, and of a workspace's own lists and ScaNN."""

import types

import numpy as np
import pytest
from conftest import tiny_config

from pipelines.patch_bank.bank import PatchBank
from rgan_tf.evaluation.metrics import candidate_recall as recall_lib
from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.evaluation.metrics.candidate_recall import CandidateRecall, candidate_recall, sample_queries
from rgan_tf.training import artifacts
from rgan_tf.training.scene_features import Apart


def draw_lists(rng, shape, k, least=0):
    """Lists of different rows, -1 filling their ends."""
    lists = np.full(shape + (k,), -1, np.int32)
    for place in np.ndindex(shape):
        length = rng.integers(least, k + 1)
        lists[place][:length] = rng.choice(20, length, replace=False)
    return lists


@pytest.mark.parametrize("seed", range(4))
def test_recall_equals_set_arithmetic(seed):
    rng = np.random.default_rng(seed)
    exact, found = draw_lists(rng, (5, 3), 6), draw_lists(rng, (5, 3), 6)
    recall = CandidateRecall()
    for part in (slice(0, 2), slice(2, 5)):
        recall.update(found[part], exact[part])
    sets = [
        (set(e) - {-1}, set(f) - {-1}) for e, f in zip(exact.reshape(-1, 6).tolist(), found.reshape(-1, 6).tolist())
    ]
    score = recall.result()
    assert score.count == sum(len(e) for e, _ in sets)
    np.testing.assert_allclose(score.mean, sum(len(e & f) for e, f in sets) / score.count, rtol=1e-12)


def test_order_does_not_matter_and_missing_candidates_do():
    exact = np.array([[[4, 2, 9, 1]]])
    for found, expected in (([1, 2, 4, 9], 1.0), ([4, 2, -1, -1], 0.5), ([-1] * 4, 0.0), ([4, 4, 4, 4], 0.25)):
        recall = CandidateRecall()
        recall.update([[found]], exact)
        assert recall.result().mean == expected


def test_without_candidates_recall_is_not_defined():
    recall = CandidateRecall()
    recall.update(np.full([2, 3, 4], -1), np.full([2, 3, 4], -1))
    with pytest.raises(UndefinedScore, match="no scene of the split has a single object with a candidate"):
        recall.result()


@pytest.mark.parametrize("split, size", [("validation", 8), ("train", 48)])
def test_stored_lists_of_an_exact_workspace_are_found_again(tiny_workspace, split, size):
    """The fixture's lists were made by the exact back end: whatever the sample, nothing is missing."""
    config = tiny_workspace.trained_config()
    assert config.candidates.backend == "exact"
    for scenes in (3, 1000):
        scores = candidate_recall(tiny_workspace, config, split, scenes)
        assert scores["stored"].mean == 1.0 and scores["stored"].scenes == min(scenes, size)
        assert 0.9 < scores["scann"].mean <= 1.0 and scores["scann"].count == scores["stored"].count


def test_the_library_of_the_configuration_is_measured(tiny_workspace):
    config = tiny_workspace.trained_config()
    config.candidates.backend = "faiss"
    assert set(candidate_recall(tiny_workspace, config, "test")) == {"stored", "faiss"}


@pytest.mark.parametrize("wanted, least, most", [(0.99, 0.985, 1.0), (0.5, 0.5, 0.95)])
def test_a_library_searches_as_well_as_the_configuration_wants(tiny_workspace, wanted, least, most):
    rng = np.random.default_rng(3)
    features, categories = rng.normal(size=(1200, 128)).astype(np.float32), np.ones(1200, np.int32)
    bank = types.SimpleNamespace(offered=categories, graph_feature=features)
    queries = recall_lib.Queries(
        np.arange(60), rng.normal(size=(60, 4, 128)).astype(np.float32), np.ones((60, 4)), np.ones((60, 4), bool), None
    )
    apart, config = Apart(np.arange(1200), np.full(60, -1)), tiny_config(f"candidates.min_recall={wanted}").candidates
    recall = CandidateRecall()
    recall.update(*(recall_lib.search(bank, queries, apart, config, backend) for backend in ("scann", "exact")))
    assert least <= recall.result().mean <= most


def test_the_sample_is_a_function_of_its_seed(tiny_workspace):
    config = tiny_workspace.trained_config()
    source = artifacts.scene_source(tiny_workspace, config, "train")
    encoder = artifacts.pretrained_graph_encoder(tiny_workspace, config)
    first, again, other = (
        sample_queries(source, encoder, 12, seed, batch) for seed, batch in ((0, 5), (0, 12), (1, 5))
    )
    for a, b in zip(first, again):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(set(first.scene_index)) == 12 and set(first.scene_index) != set(other.scene_index)
    table = PatchBank.open(tiny_workspace.directory("patch_bank"))
    rows = table.scene_rows(config.data.max_objects)[first.scene_index]
    np.testing.assert_array_equal(first.mask, rows >= 0)
    np.testing.assert_array_equal(first.objects[first.mask], table.category[rows[first.mask]])
    np.testing.assert_allclose(first.features[first.mask], table.graph_feature[rows[first.mask]], atol=1e-5)


def test_scann_that_loses_candidates_is_seen(tiny_workspace, monkeypatch):
    """Lists that lack one candidate each lower the recall by it."""
    config = tiny_workspace.trained_config()
    search, lost = recall_lib.search, []

    def lossy(bank, queries, apart, settings, backend):
        rows = search(bank, queries, apart, settings, "exact")
        if backend == "scann":
            lost.append((rows[..., 0] >= 0).sum())
            rows[..., 0] = -1
        return rows

    monkeypatch.setattr(recall_lib, "search", lossy)
    scores = candidate_recall(tiny_workspace, config, "test")
    assert scores["stored"].mean == 1.0 and lost[0] > 10
    assert scores["scann"].mean == pytest.approx(1 - lost[0] / scores["scann"].count)


def test_a_sample_of_nothing_is_refused(tiny_workspace):
    with pytest.raises(EvaluationError, match="asked of 0 scenes; sample at least 1"):
        candidate_recall(tiny_workspace, tiny_workspace.trained_config(), "test", scenes=0)
