"""Ways to choose among candidates: what each chooses, and how often random patches agree in style."""

import types

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from pipelines.input_pipeline import evaluation_batches, to_device
from rgan_tf.evaluation.metrics.retrieval_scores import StyleAgreement
from rgan_tf.evaluation.pictures import retrieval_policies as policies
from rgan_tf.ops import scene_random
from rgan_tf.training import artifacts

MASK = np.array([[[True, True, True, False], [False, True, False, True], [False] * 4], [[False] * 4] * 3])


# Drawing scene by scene is slow outside of a graph.
random_choice = tf.function(policies.random_choice)


def batch_of(mask, seed=0):
    return {"candidate_mask": tf.constant(mask), "scene_seed": scene_random.scene_seeds([seed, 1], tf.range(len(mask)))}


def test_random_choice_is_uniform_over_valid_candidates():
    scenes = 3000
    choice = random_choice(batch_of(np.repeat(MASK[:1], scenes, axis=0))).numpy()
    assert choice.dtype == np.int32 and (choice[:, 2] == -1).all()
    assert scipy.stats.chisquare(np.bincount(choice[:, 0], minlength=3)).pvalue > 1e-3
    assert set(choice[:, 1]) == {1, 3} and abs((choice[:, 1] == 1).mean() - 0.5) < 0.04
    # Objects of a scene are independent: each pair of choices as often as the product says.
    table = np.zeros([3, 2])
    np.add.at(table, (choice[:, 0], choice[:, 1] // 2), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


def test_random_choice_belongs_to_the_scene():
    rng = np.random.default_rng(0)
    mask = rng.random((5, 3, 4)) < 0.6
    batch = batch_of(mask)
    whole = random_choice(batch).numpy()
    alone = [random_choice({name: value[b : b + 1] for name, value in batch.items()})[0] for b in range(5)]
    np.testing.assert_array_equal(whole, alone)
    padded = {**batch, "candidate_mask": tf.pad(mask, [[0, 0], [0, 2], [0, 3]])}
    np.testing.assert_array_equal(random_choice(padded)[:, :3], whole)
    others = [random_choice(batch_of(mask, seed)).numpy() for seed in range(1, 6)]
    assert any((other != whole).any() for other in others)


def test_graph_feature_choice_is_the_nearest_candidate():
    choice = policies.graph_feature_choice(batch_of(MASK))
    np.testing.assert_array_equal(choice, [[0, 1, -1], [-1, -1, -1]])


def test_chosen_rows():
    candidates = np.where(MASK, np.arange(24).reshape(2, 3, 4), -1)
    rows = policies.chosen_rows(candidates, [[2, 3, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(rows, [[2, 7, -1], [-1, -1, -1]])
    assert policies.chosen_rows([[[5, 6]]], [[-1]]) == -1
    assert rows.dtype == np.int32


@pytest.mark.parametrize("shares", [[0.5, 0.25, 0.25], [0.125] * 8, [1.0]])
def test_random_patches_agree_by_the_sum_of_squared_shares(shares):
    """Candidates with styles in given shares: two independent draws have one style with probability sum of squares."""
    scenes, objects, candidates = 400, 6, 8
    styles = np.repeat(np.arange(len(shares)), np.multiply(shares, candidates).astype(int))
    # One patch a training scene, so that a bank row is its scene; every object chooses among all eight styles' patches.
    bank = types.SimpleNamespace(
        scene_index=np.arange(candidates), num_scenes=candidates, removed=np.zeros(candidates, bool)
    )
    rows = np.broadcast_to(np.arange(candidates), (scenes, objects, candidates))
    agreement = StyleAgreement(bank, styles)
    agreement.update(policies.chosen_rows(rows, random_choice(batch_of(rows >= 0))))
    score = agreement.result()["style_agreement"]
    expected = np.square(shares).sum()
    # Deviation of the mean over independent scenes; a scene's pairs vary less than one pair would.
    deviation = np.sqrt(expected * (1 - expected) / scenes)
    assert abs(score.mean - expected) <= 4 * deviation
    assert score.mean == pytest.approx(score.scene_mean) and score.count == scenes * 15


def nearest_by_cooccurrence(model, batch):
    """The nearest open candidate to the query, object after object, by a loop."""
    points, mask = batch["candidate_cooccurrence"].numpy(), batch["candidate_mask"].numpy()
    queries = model.retrieval.initial_query(points, mask, batch["scene_seed"], 0).numpy()
    choice = np.full(mask.shape[:2], -1)
    for b, query in enumerate(queries):
        while (open_candidates := mask[b] & (choice[b] < 0)[:, None]).any():
            distance = np.where(open_candidates, np.square(points[b] - query).sum(axis=-1), np.inf)
            taken, candidate = np.unravel_index(distance.argmin(), distance.shape)
            choice[b, taken] = candidate
            query = (query + points[b, taken, candidate]) / 2
    return choice


def test_every_policy_draws_a_picture_of_a_workspace(tiny_workspace):
    config, names = tiny_workspace.trained_config(), artifacts.vocabulary(tiny_workspace)
    reader = artifacts.bank_reader(tiny_workspace, config, "validation")
    model = artifacts.trained_model(tiny_workspace, config, names)
    source = artifacts.scene_source(tiny_workspace, config, "validation")
    batch = to_device(next(iter(evaluation_batches(source, 4, reader))))
    batch["box_given"] = batch["object_mask"]
    fitting = policies.cooccurrence_choice(model.retrieval, batch)
    np.testing.assert_array_equal(fitting, nearest_by_cooccurrence(model, batch))
    k, valid = batch["candidate_mask"].shape[2], batch["candidate_mask"].numpy().any(axis=-1)
    for choice in (fitting, random_choice(batch), policies.graph_feature_choice(batch)):
        np.testing.assert_array_equal(choice.numpy() >= 0, valid)
        drawn = model.generate(batch, pinned=tf.one_hot(choice, k))
        np.testing.assert_array_equal(drawn.choice, choice)
        rows = policies.chosen_rows(batch["candidates"], choice)
        expected = to_device({"patches": tf.constant(reader.bank.gather_patches(rows))})["patches"]
        np.testing.assert_allclose(drawn.patches[valid], expected[valid], atol=1e-6)
