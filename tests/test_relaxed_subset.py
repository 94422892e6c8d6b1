"""Algorithm 1 against a NumPy reference, its invariants, its numerics and what it chooses how often."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from algorithm1_reference import numpy_distances, numpy_scene
from hypothesis import strategies as st
from retrieval_problems import ESTIMATORS, SETTINGS, draw, run

from rgan_tf.ops import relaxed_subset, scene_random


def assert_one_each(selection, mask, atol=0.0):
    np.testing.assert_allclose(selection.sum(axis=-1), mask.any(axis=-1), atol=atol)
    np.testing.assert_allclose(selection.max(axis=-1), mask.any(axis=-1), atol=atol)
    assert (selection[~mask] == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("distance", "update"), SETTINGS)
@pytest.mark.parametrize("temperature", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 1, 5, 3), (3, 4, 3, 5), (2, 8, 8, 16)])
def test_equals_the_reference(shape, temperature, distance, update, estimator):
    batch, objects, candidates, depth = shape
    features, mask, query, noise = draw(np.random.default_rng(sum(shape)), batch, objects, candidates, depth, 0.5)
    result = run(features, mask, query, noise, temperature, distance=distance, query_update=update, estimator=estimator)
    for scene in range(batch):
        total, final, softs, _ = numpy_scene(
            features[scene], mask[scene], query[scene], noise[scene], temperature, distance, update, estimator
        )
        np.testing.assert_allclose(result.selection[scene], total, atol=2e-4)
        np.testing.assert_allclose(result.soft_selection[scene], sum(softs), atol=2e-4)
        np.testing.assert_allclose(result.query[scene], final, atol=2e-4)
        valid = mask[scene].any(axis=1)
        np.testing.assert_array_equal(result.hard_index[scene], np.where(valid, total.argmax(axis=1), -1))


@st.composite
def problems(draw_from):
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    # Fixed shape, variable validity: shapes are covered above, and a new shape means a new trace.
    keep = draw_from(st.sampled_from([0.2, 0.6, 1.0]))
    scale = draw_from(st.sampled_from([0.0, 0.3, 3.0, 30.0]))
    return (*draw(rng, batch=1, objects=4, candidates=3, depth=5, scale=scale, keep=keep), rng)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    problem=problems(), temperature=st.sampled_from([1e-3, 0.1, 1.0, 10.0]), setting=st.sampled_from(SETTINGS)
)
def test_mass_padding_and_one_a_group(problem, temperature, setting):
    features, mask, query, noise, _ = problem
    options = {"distance": setting[0], "query_update": setting[1]}
    soft = run(features, mask, query, noise, temperature, estimator="relaxed", **options).selection.numpy()
    assert (soft >= 0).all()
    assert (soft[~mask] == 0).all()
    np.testing.assert_allclose(soft.sum(), mask.any(axis=-1).sum(), rtol=1e-5)

    hard = run(features, mask, query, noise, temperature, estimator="straight_through", **options)
    assert set(np.unique(hard.selection)) <= {0.0, 1.0}
    assert_one_each(hard.selection.numpy(), mask)
    index = hard.hard_index.numpy()
    np.testing.assert_array_equal(index >= 0, mask.any(axis=-1))
    assert all(hard.selection[0, n, c] == 1 for n, c in enumerate(index[0]) if c >= 0)

    *_, gaps = numpy_scene(features[0], mask[0], query[0], noise[0], temperature, *setting, "relaxed")
    if (gaps[~np.isnan(gaps)] > 20).all():  # hard rounds: nothing near a tie
        assert_one_each(soft, mask, atol=1e-4)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(problem=problems(), estimator=st.sampled_from(ESTIMATORS), setting=st.sampled_from(SETTINGS))
def test_objects_may_be_permuted(problem, estimator, setting):
    features, mask, query, noise, rng = problem
    order = rng.permutation(mask.shape[1])
    options = {"distance": setting[0], "query_update": setting[1], "estimator": estimator}
    one = run(features, mask, query, noise, 1.0, **options)
    two = run(features[:, order], mask[:, order], query, noise[:, :, order], 1.0, **options)
    np.testing.assert_allclose(one.selection.numpy()[:, order], two.selection, atol=2e-3)
    np.testing.assert_allclose(one.query, two.query, atol=2e-3 * (1 + abs(query).max()))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_padding_further_changes_nothing(estimator):
    features, mask, query, noise = draw(np.random.default_rng(3))
    small = run(features, mask, query, noise, 0.7, estimator=estimator)
    grow = [(0, 0), (0, 2), (0, 3)]
    # Padding holds junk, to show that it does not count.
    large = run(
        np.pad(features, [*grow, (0, 0)], constant_values=7.0),
        np.pad(mask, grow),
        query,
        np.pad(noise, [(0, 0), (0, 2), (0, 2), (0, 3)], constant_values=5.0),
        0.7,
        estimator=estimator,
    )
    np.testing.assert_allclose(large.selection[:, :4, :3], small.selection, atol=1e-5)
    np.testing.assert_allclose(large.query, small.query, atol=1e-5)
    np.testing.assert_array_equal(large.hard_index[:, :4], small.hard_index)
    assert tf.reduce_sum(large.selection[:, 4:]) + tf.reduce_sum(large.selection[:, :, 3:]) == 0


def test_scene_without_candidates_chooses_nothing():
    features, mask, query, noise = draw(np.random.default_rng(3))
    mask[1] = False
    result = run(features, mask, query, noise, estimator="straight_through")
    assert tf.reduce_sum(result.selection[1]) == 0
    assert (result.hard_index[1].numpy() == -1).all()
    np.testing.assert_array_equal(result.query[1], query[1])


def test_clamped_penalty_would_choose_a_group_twice():
    """Far-apart features: taking groups out is what keeps one a group; a clamped log(1 - max s) loses to distances."""
    features, mask, query, noise = draw(np.random.default_rng(0), batch=8, objects=6, scale=45.0, keep=1.0)
    clamped = [
        numpy_scene(*scene, 0.1, *SETTINGS[0], "relaxed", clamp_only=True)[0]
        for scene in zip(features, mask, query, noise)
    ]
    assert max(total.sum(axis=1).max() for total in clamped) > 1.9
    assert (features**2).sum(axis=-1).max() > 1e4
    for estimator in ESTIMATORS:
        result = run(features, mask, query, noise, 0.1, estimator=estimator)
        assert_one_each(result.selection.numpy(), mask, atol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("distance", relaxed_subset.DISTANCES)
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("kind", ["equal", "equal_noiseless", "far", "far_noiseless", "simplex"])
def test_finite_everywhere(kind, temperature, distance, estimator):
    features, mask, query, noise = draw(np.random.default_rng(5), objects=8, candidates=4, depth=32, scale=30.0)
    if kind.startswith("equal"):
        features[:], query[:] = features[0, 0, 0], features[0, 0, 0]
    if kind == "simplex":  # all at one distance from the query: each round amplifies gradients to the utmost
        features = np.broadcast_to(100.0 * np.eye(32, dtype=np.float32).reshape(8, 4, 32), features.shape)
        query = features.mean(axis=(1, 2))
    if kind.endswith("noiseless") or kind == "simplex":
        noise = np.zeros_like(noise)
    features, query = tf.constant(features), tf.constant(query)
    weights = np.random.default_rng(6).normal(size=mask.shape)
    with tf.GradientTape() as tape:
        tape.watch([features, query])
        result = relaxed_subset.retrieve(
            features, tf.constant(mask), query, tf.constant(noise), temperature, distance, estimator=estimator
        )
        loss = tf.reduce_sum(result.selection * weights) + tf.reduce_sum(result.query)
    gradients = tape.gradient(loss, [features, query])
    for value in [result.selection, result.soft_selection, result.query, *gradients]:
        assert np.isfinite(value).all()
    np.testing.assert_allclose(tf.reduce_sum(result.selection, axis=[1, 2]), mask.any(axis=-1).sum(axis=1), rtol=1e-5)
    if estimator != "relaxed":
        assert_one_each(result.selection.numpy(), mask)


def test_gumbel_choices_follow_the_probabilities():
    """Joint choice of two objects' patches: softmax at the first query, softmax of the other group at the moved one."""
    rng = np.random.default_rng(1)
    draws, candidates = 6000, 3
    features = (rng.normal(size=(2, candidates, 4)) * 0.5).astype(np.float32)
    query = (rng.normal(size=4) * 0.5).astype(np.float32)
    first = np.exp(-numpy_distances(features, query, "squared_euclidean"))
    first /= first.sum()
    joint = np.zeros((candidates, candidates))
    for group in (0, 1):
        for i in range(candidates):
            moved = (query + features[group, i]) / 2
            second = np.exp(-numpy_distances(features[1 - group], moved, "squared_euclidean"))
            both = first[group, i] * second / second.sum()
            joint[(i, slice(None)) if group == 0 else (slice(None), i)] += both
    joint /= joint.sum()  # one already, up to rounding
    seeds = scene_random.scene_seeds(tf.constant([5, 6]), tf.range(draws))
    noise = tf.function(lambda s: scene_random.gumbel(scene_random.scene_uniform(s, (2, 2, candidates), 0)))(seeds)
    index = run(
        np.broadcast_to(features, (draws, *features.shape)),
        np.ones((draws, 2, candidates), bool),
        np.broadcast_to(query, (draws, 4)),
        noise,
    ).hard_index.numpy()
    counts = np.zeros((candidates, candidates))
    np.add.at(counts, (index[:, 0], index[:, 1]), 1)
    assert scipy.stats.chisquare(counts.ravel(), joint.ravel() * draws).pvalue > 1e-3
    # The test can fail: the product of independent choices is rejected.
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    assert scipy.stats.chisquare(counts.ravel(), independent.ravel() * draws).pvalue < 1e-3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_compiled_equals_uncompiled(estimator):
    features, mask, query, noise = (tf.constant(x) for x in draw(np.random.default_rng(2), objects=3))

    def step(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            result = relaxed_subset.retrieve(features, mask, query, noise, 0.5, estimator=estimator)
            loss = tf.reduce_sum(result.selection * noise[:, 0])
        return result.selection, tape.gradient(loss, features)

    for plain, compiled in zip(step(features), tf.function(step, jit_compile=True)(features)):
        np.testing.assert_allclose(plain, compiled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_no_gradient_is_taken_of_is_the_same(estimator):
    problem = draw(np.random.default_rng(3))
    for a, b in zip(run(*problem, estimator=estimator), run(*problem, estimator=estimator, differentiable=False)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("distance", relaxed_subset.DISTANCES)
def test_distances_are_precise_and_smooth_enough(distance):
    rng = np.random.default_rng(0)
    query = (rng.normal(size=128) * 10).astype(np.float32)
    features = (query + rng.normal(size=(50, 128)) * 1e-2).astype(np.float32)
    features[0] = query
    variable = tf.Variable(features)
    with tf.GradientTape() as tape:
        actual = relaxed_subset.candidate_distances(variable, tf.constant(query), distance)
    expected = numpy_distances(features.astype(np.float64), query.astype(np.float64), distance)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    gradient = tape.gradient(actual, variable).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[0] == 0).all()
    expanded = (features**2).sum(axis=-1) - 2 * features @ query + (query**2).sum()
    squared = numpy_distances(features.astype(np.float64), query.astype(np.float64), "squared_euclidean")
    assert abs(expanded - squared).max() > 1e-3  # what the direct difference avoids


@pytest.mark.parametrize("field", ["distance", "query_update", "estimator"])
def test_unknown_names_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 'cosine'; it must be one of"):
        run(*draw(np.random.default_rng(0)), **{field: "cosine"})
