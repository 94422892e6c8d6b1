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
    values = (random.normal(0, spread, shape), opacity, within, random.normal(-6, 1, shape[:2]))
    return [tf.constant(value, tf.float32) for value in values]


@pytest.mark.parametrize("compiled", [False, True])
def test_boxes_share_as_a_softmax(compiled):
    logits, _, within, _ = inputs(0)
    share = tf.function(share_boxes, jit_compile=True) if compiled else share_boxes
    objects, background = share(logits, within, tf.constant(-2.0))
    odds = np.exp(logits) * within.numpy()
    total = odds.sum(axis=1) + np.exp(-2.0)
    # Nothing covers a pixel that is not in the box, whatever its logit.
    np.testing.assert_allclose(objects * within, odds / total[:, None], atol=1e-6)
    np.testing.assert_allclose(background, np.exp(-2.0) / total, atol=1e-6)


def test_full_mattes_share_as_boxes():
    logits, opacity, within, beyond = inputs(1, full=True)
    within = tf.round(within)
    objects, nobody, background = share_mattes(logits, opacity, within, beyond, tf.constant(-2.0))
    expected, ground = share_boxes(logits, within, tf.constant(-2.0))
    np.testing.assert_allclose(objects, expected * within, atol=1e-5)
    for each in (nobody, background):
        np.testing.assert_allclose(each, ground, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_are_all_of_a_pixel(seed, compiled):
    values = inputs(seed, spread=30.0)
    share = tf.function(share_mattes, jit_compile=True) if compiled else share_mattes
    objects, nobody, background = share(*values, tf.constant(BACKGROUND))
    np.testing.assert_allclose(tf.reduce_sum(objects, axis=1) + background, 1.0, atol=1e-5)
    for each in (objects, nobody, background):
        assert np.isfinite(each).all() and np.min(each) > -1e-5
    assert np.max(nobody) < 1 + 1e-5 and np.max(background - nobody) < 1e-5


def test_two_mattes_blend_by_the_over_operator():
    random = np.random.default_rng(5)
    alpha = random.uniform(size=(1, 2, 7, 7))
    logits = np.broadcast_to(np.array([4.0, 16.0])[:, None, None], alpha.shape)
    # What the first continues to outweighs the second's by far.
    beyond = np.array([[-12.0, -52.0]])
    values = [tf.constant(value, tf.float32) for value in (logits, alpha, np.ones_like(alpha), beyond)]
    objects, nobody, background = share_mattes(*values, tf.constant(-40.0))
    near, far = alpha[0, 1], alpha[0, 0]
    left = (1 - near) * (1 - far)
    np.testing.assert_allclose(objects[0, 1], near, atol=5e-3)
    np.testing.assert_allclose(objects[0, 0], (1 - near) * far + left, atol=5e-3)
    np.testing.assert_allclose(nobody[0], left, atol=5e-3)
    np.testing.assert_allclose(background, 0.0, atol=1e-3)


def test_shares_are_differentiable_in_logits():
    logits, opacity, within, beyond = (tf.cast(value, tf.float64) for value in inputs(3, spread=1.0))
    weights = np.random.default_rng(0).normal(size=opacity.shape)

    def value(logits, beyond):
        objects, nobody, _ = share_mattes(logits, opacity, within, beyond, tf.constant(-3.0, tf.float64))
        return tf.reduce_sum(objects * weights) + tf.reduce_sum(nobody**2)

    arguments = [logits, beyond]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        slopes = tape.gradient(value(*arguments), arguments)
    for argument, slope in enumerate(slopes):
        for place in np.argwhere(np.abs(slope) > 0.01)[::7]:
            ends = []
            for step in (1e-6, -1e-6):
                moved = [each.numpy().copy() for each in arguments]
                moved[argument][tuple(place)] += step
                ends.append(value(*moved).numpy())
            assert slope.numpy()[tuple(place)] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_what_is_covered_more_shows_more():
    logits, opacity, within, beyond = inputs(4, objects=1)
    opacity = 0.1 + 0.8 * opacity
    with tf.GradientTape() as tape:
        tape.watch(opacity)
        _, nobody, _ = share_mattes(logits, opacity, within, beyond, tf.constant(BACKGROUND))
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
            random.choice([-60.0, -6.0, 0.0, 60.0], shape[:2]),
            BACKGROUND,
        )
    ]
    with tf.GradientTape() as tape:
        tape.watch(values)
        objects, nobody, background = share_mattes(*values)
        total = tf.reduce_sum(objects, axis=1)
        weighed = tf.reduce_sum(total**2) + tf.reduce_sum(nobody**2) + tf.reduce_sum(background**2)
    np.testing.assert_allclose(total + background, 1.0, atol=1e-4)
    for slope, most in zip(tape.gradient(weighed, values), (10, 10, 1e4)):
        assert np.isfinite(slope).all() and np.abs(slope).max() < most
