"""The estimators of Algorithm 1's choice: what they choose, and their gradients against finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from algorithm1_reference import numpy_distances, numpy_scene
from retrieval_problems import ESTIMATORS, SETTINGS, draw, run

from rgan_tf.ops import relaxed_subset


def test_straight_through_choice_does_not_depend_on_temperature():
    problem = draw(np.random.default_rng(8), batch=6, objects=5)
    cold, warm = (run(*problem, temperature, estimator="straight_through") for temperature in (1e-2, 5.0))
    np.testing.assert_array_equal(cold.hard_index, warm.hard_index)
    np.testing.assert_array_equal(cold.query, warm.query)


@pytest.mark.parametrize(("distance", "update"), SETTINGS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_finite_differences(distance, update, estimator):
    """Relaxed: of the algorithm. The others: of one-hot samples that vary as the relaxation or the marginals do."""
    rng = np.random.default_rng(11)
    features, mask, query, noise = draw(rng, batch=1, objects=4, scale=0.5)
    weights, query_weights = rng.normal(size=mask.shape), rng.normal(size=query.shape)
    inputs = [tf.constant(features), tf.constant(query), tf.constant(noise)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = relaxed_subset.retrieve(
            inputs[0], tf.constant(mask), inputs[1], inputs[2], 0.8, distance, update, estimator=estimator
        )
        loss = tf.reduce_sum(result.selection * weights) + tf.reduce_sum(result.query * query_weights)
    gradients = tape.gradient(loss, inputs, unconnected_gradients="zero")
    base = [features[0].astype(np.float64), query[0].astype(np.float64), noise[0].astype(np.float64)]
    _, _, anchors, _ = numpy_scene(base[0], mask[0], base[1], base[2], 0.8, distance, update, estimator)

    def objective(values):
        about = None if estimator == "relaxed" else anchors
        total, final, _, _ = numpy_scene(
            values[0], mask[0], values[1], values[2], 0.8, distance, update, estimator, about
        )
        return (total * weights[0]).sum() + (final * query_weights[0]).sum()

    for _ in range(6):
        direction = [rng.normal(size=value.shape) for value in base]
        up, down = ([v + sign * 1e-5 * d for v, d in zip(base, direction)] for sign in (1, -1))
        expected = (objective(up) - objective(down)) / 2e-5
        actual = sum((g.numpy()[0] * d).sum() for g, d in zip(gradients, direction))
        np.testing.assert_allclose(actual, expected, rtol=2e-3, atol=2e-3)


def test_one_round_straight_through_gradient_is_the_relaxations():
    features, mask, query, noise = draw(np.random.default_rng(4), batch=5, objects=1, candidates=6, keep=1.0)
    weights = np.random.default_rng(5).normal(size=mask.shape)
    gradients = []
    for estimator in ("straight_through", "relaxed"):
        variable = tf.Variable(features)
        with tf.GradientTape() as tape:
            result = relaxed_subset.retrieve(
                variable, tf.constant(mask), tf.constant(query), tf.constant(noise), 0.5, estimator=estimator
            )
            loss = tf.reduce_sum(result.selection * weights)
        gradients.append(tape.gradient(loss, variable).numpy())
    assert abs(gradients[0]).max() > 1e-3
    np.testing.assert_array_equal(gradients[0], gradients[1])


def test_simple_chooses_as_straight_through_and_has_the_gradient_of_the_expected_loss():
    rng = np.random.default_rng(6)
    features, mask, query, _ = draw(rng, batch=1, objects=1, candidates=4, keep=1.0, scale=0.5)
    losses = rng.normal(size=4)
    shares = np.exp(-numpy_distances(features[0, 0].astype(np.float64), query[0], "squared_euclidean"))
    shares /= shares.sum()
    # d/df sum of shares times losses, by hand: of minus a squared distance it is 2 (q - f).
    expected = (shares * (losses - shares @ losses))[:, None] * 2 * (query[0] - features[0, 0])
    for seed in range(5):
        noise = np.random.default_rng(seed).gumbel(size=(1, 1, 1, 4)).astype(np.float32)
        variable = tf.Variable(features)
        with tf.GradientTape() as tape:
            result = relaxed_subset.retrieve(variable, mask, query, noise, 0.3, estimator="simple")
            loss = tf.reduce_sum(result.selection * losses)
        np.testing.assert_allclose(tape.gradient(loss, variable)[0, 0], expected, rtol=1e-4, atol=1e-6)
    problem = draw(rng, batch=20)
    simple, other = (run(*problem, estimator=estimator) for estimator in ("simple", "straight_through"))
    np.testing.assert_array_equal(simple.selection, other.selection)
    np.testing.assert_array_equal(simple.query, other.query)
