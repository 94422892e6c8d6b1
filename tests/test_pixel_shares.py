"""Whose each pixel is, against the over operator and a softmax in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.ops.pixel_shares import share_boxes, share_mattes

BACKGROUND = -16.0


def inputs(seed, objects=4, spread=3.0, full=False):
    random = np.random.default_rng(seed)
    shape = (2, objects, 5, 6)
    opacity = np.ones(shape) if full else random.uniform(size=shape) * (random.uniform(size=shape) > 0.3)
    within = random.uniform(size=shape) * (random.uniform(size=shape) > 0.3)
    values = (random.normal(0, spread, shape), opacity, within)
    return [tf.constant(value, tf.float32) for value in values]


@pytest.mark.parametrize("compiled", [False, True])
def test_boxes_share_as_a_softmax(compiled):
    logits, _, within = inputs(0)
    share = tf.function(share_boxes, jit_compile=True) if compiled else share_boxes
    objects, background = share(logits, within, tf.constant(-2.0))
    odds = np.exp(logits) * within.numpy()
    total = odds.sum(axis=1) + np.exp(-2.0)
    # Nothing covers a pixel that is not in the box, whatever its logit.
    np.testing.assert_allclose(objects * within, odds / total[:, None], atol=1e-6)
    np.testing.assert_allclose(background, np.exp(-2.0) / total, atol=1e-6)


def test_full_mattes_share_as_boxes():
    logits, opacity, within = inputs(1, full=True)
    within = tf.round(within)
    objects, nobody = share_mattes(logits, opacity, within, tf.constant(-2.0))
    expected, ground = share_boxes(logits, within, tf.constant(-2.0))
    np.testing.assert_allclose(objects, expected * within, atol=1e-5)
    np.testing.assert_allclose(nobody, ground, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_are_all_of_a_pixel(seed, compiled):
    values = inputs(seed, spread=30.0)
    share = tf.function(share_mattes, jit_compile=True) if compiled else share_mattes
    objects, nobody = share(*values, tf.constant(BACKGROUND))
    np.testing.assert_allclose(tf.reduce_sum(objects, axis=1) + nobody, 1.0, atol=1e-5)
    for each in (objects, nobody):
        assert np.isfinite(each).all() and np.min(each) > -1e-5 and np.max(each) < 1 + 1e-5


def test_two_mattes_blend_by_the_over_operator():
    random = np.random.default_rng(5)
    alpha = random.uniform(size=(1, 2, 7, 7))
    logits = np.broadcast_to(np.array([4.0, 16.0])[:, None, None], alpha.shape)
    values = [tf.constant(value, tf.float32) for value in (logits, alpha, np.ones_like(alpha))]
    objects, nobody = share_mattes(*values, tf.constant(-40.0))
    near, far = alpha[0, 1], alpha[0, 0]
    np.testing.assert_allclose(objects[0, 1], near, atol=5e-3)
    np.testing.assert_allclose(objects[0, 0], (1 - near) * far, atol=5e-3)
    np.testing.assert_allclose(nobody[0], (1 - near) * (1 - far), atol=5e-3)


def test_shares_are_differentiable_in_logits():
    logits, opacity, within = (tf.cast(value, tf.float64) for value in inputs(3, spread=1.0))
    weights = np.random.default_rng(0).normal(size=opacity.shape)

    def value(logits):
        objects, nobody = share_mattes(logits, opacity, within, tf.constant(-3.0, tf.float64))
        return tf.reduce_sum(objects * weights) + tf.reduce_sum(nobody**2)

    with tf.GradientTape() as tape:
        tape.watch(logits)
        slope = tape.gradient(value(logits), logits).numpy()
    places = np.argwhere(np.abs(slope) > 0.01)[::7]
    assert len(places) > 5
    for place in map(tuple, places):
        step = np.zeros_like(slope)
        step[place] = 1e-6
        ends = value(logits + step).numpy(), value(logits - step).numpy()
        assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_what_is_covered_more_shows_more():
    logits, opacity, within = inputs(4, objects=1)
    opacity = 0.1 + 0.8 * opacity
    with tf.GradientTape() as tape:
        tape.watch(opacity)
        _, nobody = share_mattes(logits, opacity, within, tf.constant(BACKGROUND))
    slope, covered = tape.gradient(nobody, opacity).numpy(), within.numpy()
    # The over operator's: of one object alone all is gone that it covers.
    np.testing.assert_allclose(slope, -np.where(covered > 1e-3, covered, 0.0), atol=0.2)


def test_gradients_are_finite_at_the_edges_of_what_floats_hold():
    opacities = [0.0, -6e-8, 6e-8, 1e-20, 0.5, 1.0 - 6e-8, 1.0, 1.0 + 1e-7]
    parts = [0.0, 1e-30, 1e-16, 1e-8, 1e-3, 0.5, 1.0]
    random = np.random.default_rng(0)
    shape = (4, 5, 32, 32)
    values = [
        tf.constant(value, tf.float32)
        for value in (
            random.choice([-200.0, -60.0, 0.0, 20.0, 60.0, 200.0], shape),
            random.choice(opacities, shape),
            random.choice(parts, shape),
            BACKGROUND,
        )
    ]
    with tf.GradientTape() as tape:
        tape.watch(values)
        objects, nobody = share_mattes(*values)
        total = tf.reduce_sum(objects, axis=1)
        weighed = tf.reduce_sum(total**2) + tf.reduce_sum(nobody**2)
    np.testing.assert_allclose(total + nobody, 1.0, atol=1e-4)
    for slope, most in zip(tape.gradient(weighed, values), (10, 10, 1e4)):
        assert np.isfinite(slope).all() and np.abs(slope).max() < most
