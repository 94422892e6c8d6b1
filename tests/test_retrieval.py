"""The retrieval layer: schedule, first queries, pins, ground-truth logits, and draws that belong to scenes."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rgan_tf.config import PatchEncoderConfig, RetrievalConfig
from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.ops import relaxed_subset, scene_random

B, N, K, D = 3, 4, 3, 6


def make_layer(**options):
    return RetrievalLayer(RetrievalConfig(encoder=PatchEncoderConfig(width=4, feature_dim=D), **options))


def draw(seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((B, N, K)) < 0.7
    mask[:, 0, 0], mask[1, 2:] = True, False
    return rng.normal(size=(B, N, K, D)).astype(np.float32), mask


def seeds_of(count, seed=(1, 2)):
    return scene_random.scene_seeds(tf.constant(seed), tf.range(count))


def test_temperature_falls_geometrically():
    layer = make_layer(temperature_start=2.0, temperature_end=0.125, temperature_steps=100)
    for step, expected in [(0, 2.0), (25, 1.0), (50, 0.5), (100, 0.125), (10_000, 0.125)]:
        np.testing.assert_allclose(layer.temperature(tf.constant(step, tf.int64)), expected, rtol=1e-6)


def test_temperature_and_noise_reach_the_algorithm():
    layer = make_layer(straight_through=False, temperature_start=2.0, temperature_end=0.5, temperature_steps=10)
    features, mask = draw()
    by_step = layer(features, mask, seeds_of(B), 10)
    np.testing.assert_array_equal(by_step.selection, layer(features, mask, seeds_of(B), 10, temperature=0.5).selection)
    query = layer.initial_query(features, mask, seeds_of(B), 10)
    quiet = layer(features, mask, seeds_of(B), 10, noise_scale=0.0)
    expected = relaxed_subset.retrieve(features, mask, query, tf.zeros([B, N, N, K]), 0.5, estimator="relaxed")
    np.testing.assert_allclose(quiet.selection, expected.selection, atol=1e-6)
    assert abs(by_step.selection - quiet.selection).numpy().max() > 0.01


@pytest.mark.parametrize("distance", relaxed_subset.DISTANCES)
@pytest.mark.parametrize("update", relaxed_subset.QUERY_UPDATES)
def test_configuration_reaches_the_algorithm(distance, update):
    layer = make_layer(distance=distance, query_update=update, straight_through=False)
    features, mask = draw()
    expected = relaxed_subset.retrieve(
        features,
        mask,
        layer.initial_query(features, mask, seeds_of(B), 0),
        tf.zeros([B, N, N, K]),
        0.3,
        distance,
        update,
        estimator="relaxed",
    )
    actual = layer(features, mask, seeds_of(B), 0, noise_scale=0.0, temperature=0.3)
    np.testing.assert_allclose(actual.selection, expected.selection, atol=1e-6)


def test_marginal_gradient_reaches_the_algorithm():
    """Same choices, another derivative."""
    features, mask = (tf.constant(value) for value in draw())
    found = []
    for marginal in (False, True):
        layer = make_layer(marginal_gradient=marginal)
        with tf.GradientTape() as tape:
            tape.watch(features)
            result = layer(features, mask, seeds_of(B), 3)
            loss = tf.reduce_sum(result.selection * tf.range(K, dtype=tf.float32))
        found.append((result.selection.numpy(), tape.gradient(loss, features).numpy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert np.abs(found[0][1] - found[1][1]).max() > 1e-3


def test_same_seed_and_step_same_choice():
    layer = make_layer()
    features, mask = draw()
    one, two = (layer(features, mask, tf.constant([5, 6]), 3) for _ in range(2))
    np.testing.assert_array_equal(one.selection, two.selection)
    others = [layer(features, mask, tf.constant(s), t).soft_selection for s, t in [([5, 7], 3), ([5, 6], 4)]]
    for other in others:
        assert abs(other - one.soft_selection).numpy().max() > 1e-3


def test_scene_alone_and_in_a_batch_padded_further():
    layer = make_layer()
    features, mask = draw()
    whole = layer(features, mask, seeds_of(B), 3)
    for scene in range(B):
        grow = [(0, 0), (0, 5), (0, 31)]  # beyond one block of noise in every direction
        alone = layer(
            np.pad(features[scene : scene + 1], [*grow, (0, 0)], constant_values=3.0),
            np.pad(mask[scene : scene + 1], grow),
            seeds_of(B)[scene : scene + 1],
            3,
        )
        np.testing.assert_array_equal(alone.hard_index[0, :N], whole.hard_index[scene])
        np.testing.assert_allclose(alone.soft_selection[0, :N, :K], whole.soft_selection[scene], atol=1e-5)
        np.testing.assert_allclose(alone.query[0], whole.query[scene], atol=1e-5)


def test_first_query_is_uniform_over_valid_candidates():
    layer, draws = make_layer(), 3000
    mask = np.array([[True, False, True], [True, True, False]])
    features = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    first = tf.function(
        lambda: layer.initial_query(
            np.tile(features, (draws, 1, 1, 1)), tf.constant(np.tile(mask, (draws, 1, 1))), seeds_of(draws), 0
        )
    )()
    counts = np.bincount(first.numpy()[:, 0].astype(int), minlength=6)
    assert (counts[~mask.ravel()] == 0).all()
    assert scipy.stats.chisquare(counts[mask.ravel()]).pvalue > 1e-3


def test_pinned_patches_are_selected_and_start_the_query():
    layer = make_layer()
    features, mask = draw()
    mask[:2] = True
    mask[1, 2:] = False
    pinned = np.zeros((B, N, K), np.float32)
    pinned[0, 1, 2] = pinned[0, 3, 0] = pinned[1, 0, 1] = 1
    query = layer.initial_query(features, mask, seeds_of(B), 0, pinned)
    np.testing.assert_allclose(query[0], (features[0, 1, 2] + features[0, 3, 0]) / 2, rtol=1e-5)
    np.testing.assert_allclose(query[1], features[1, 0, 1], rtol=1e-5)
    np.testing.assert_array_equal(query[2], layer.initial_query(features, mask, seeds_of(B), 0)[2])
    choose = tf.function(lambda step: layer(features, tf.constant(mask), seeds_of(B), step, pinned=pinned).hard_index)
    for step in tf.range(20):
        index = choose(step).numpy()
        assert (index[0, 1], index[0, 3], index[1, 0]) == (2, 0, 1)
        np.testing.assert_array_equal(index >= 0, mask.any(axis=-1))


def test_embedding_takes_patches_of_candidates():
    patches = np.random.default_rng(0).uniform(-1, 1, (2, N, K, 16, 16, 3)).astype(np.float32)
    layer = make_layer()
    assert layer.embed(patches).shape == (2, N, K, D)
    assert len(layer.trainable_variables) == len(layer.patch_encoder.trainable_variables) > 0


@pytest.mark.parametrize("distance", relaxed_subset.DISTANCES)
def test_ground_truth_logits(distance):
    layer = make_layer(distance=distance)
    features, mask = draw()
    truth = np.random.default_rng(1).normal(size=(B, N, D)).astype(np.float32)
    truth_mask = mask.any(axis=-1)
    seen = set()
    compute = tf.function(lambda step: layer.ground_truth_logits(truth, truth_mask, features, mask, seeds_of(B), step))
    for step in tf.range(30):
        logits, weights = compute(step)
        for scene in range(B):
            (chosen,) = np.flatnonzero(truth_mask[scene] & (weights[scene].numpy() == 0))
            seen.add((scene, chosen))
            expected_weights = truth_mask[scene].astype(float)
            expected_weights[chosen] = 0
            np.testing.assert_array_equal(weights[scene], expected_weights)
            patches = np.concatenate([truth[scene][:, None], features[scene]], axis=1)
            distances = ((patches - truth[scene, chosen]) ** 2).sum(axis=-1)
            distances = distances if distance == "squared_euclidean" else np.sqrt(distances)
            valid = np.concatenate([truth_mask[scene][:, None], mask[scene]], axis=1)
            np.testing.assert_allclose(logits[scene], np.where(valid, -distances, -1e9), rtol=1e-5, atol=1e-5)
    assert seen == set(zip(*np.nonzero(truth_mask)))  # every valid object gets to be the query's


def test_ground_truth_query_does_not_depend_on_padding():
    layer = make_layer()
    features, mask = draw()
    truth, truth_mask = features[:, :, 0], mask.any(axis=-1)
    small = layer.ground_truth_logits(truth, truth_mask, features, mask, seeds_of(B), 1)
    grow = [(0, 0), (0, 6), (0, 2)]
    large = layer.ground_truth_logits(
        np.pad(truth, [(0, 0), (0, 6), (0, 0)]),
        np.pad(truth_mask, grow[:2]),
        np.pad(features, [*grow, (0, 0)]),
        np.pad(mask, grow),
        seeds_of(B),
        1,
    )
    np.testing.assert_array_equal(large.weights[:, :N], small.weights)
    np.testing.assert_allclose(large.logits[:, :N, : K + 1], small.logits, rtol=1e-6)


def test_scene_with_one_object_has_no_weight():
    layer = make_layer()
    features, mask = draw()
    mask[0, 1:] = False
    _, weights = layer.ground_truth_logits(features[:, :, 0], mask.any(axis=-1), features, mask, seeds_of(B), 0)
    assert (weights[0].numpy() == 0).all()


def test_compiled_training_step_reaches_the_encoder():
    layer = make_layer()
    patches = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, N, K, 16, 16, 3)).astype(np.float32))
    mask = tf.ones([2, N, K], tf.bool)
    layer.embed(patches)

    @tf.function(jit_compile=True)
    def step(number):
        with tf.GradientTape() as tape:
            result = layer(layer.embed(patches), mask, tf.constant([1, 2]), number)
            loss = tf.reduce_sum(result.selection * tf.reduce_mean(patches, axis=[3, 4, 5]))
        return result.selection, tape.gradient(loss, layer.trainable_variables)

    selection, gradients = step(tf.constant(4))
    np.testing.assert_array_equal(np.sort(selection, axis=-1)[..., -1], 1)
    assert all(np.isfinite(g).all() for g in gradients)
    assert max(abs(g.numpy()).max() for g in gradients) > 0


def test_saved_with_unknown_batch_size(tmp_path):
    layer = make_layer()
    features, mask = draw()
    module = tf.Module()
    module.choose = tf.function(
        lambda f, m, s: layer(f, m, s, 0, temperature=0.1).hard_index,
        input_signature=[
            tf.TensorSpec([None, N, K, D]),
            tf.TensorSpec([None, N, K], tf.bool),
            tf.TensorSpec([None, 2], tf.int32),
        ],
    )
    tf.saved_model.save(module, str(tmp_path))
    restored = tf.saved_model.load(str(tmp_path))
    expected = layer(features, mask, seeds_of(B), 0, temperature=0.1).hard_index
    np.testing.assert_array_equal(restored.choose(features, mask, seeds_of(B)), expected)
    np.testing.assert_array_equal(restored.choose(features[1:2], mask[1:2], seeds_of(B)[1:2]), expected[1:2])
