"""Working on valid rows alone: the same as working on all and hiding the rest, for every mask."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from rgan_tf.ops.valid_rows import map_valid

WEIGHTS = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


def rowwise(values, offsets):
    """A function of one row each: [M, 3] and [M] to [M, 2]."""
    return tf.tanh(values @ WEIGHTS + offsets[:, None])


masks = st_numpy.arrays(bool, st_numpy.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7))


@settings(max_examples=40, deadline=None)
@given(masks, st.integers(0, 100))
def test_equals_all_rows_with_the_padded_ones_hidden(mask, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(*mask.shape, 3)).astype(np.float32)
    offsets = rng.normal(size=mask.shape).astype(np.float32)
    expected = np.where(mask[..., None], np.tanh(values @ WEIGHTS + offsets[..., None]), 0.0)
    for skip_padding in (True, False):
        found = map_valid(rowwise, tf.constant(mask), values, offsets, skip_padding=skip_padding)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_gradients_reach_valid_rows_alone(share):
    rng = np.random.default_rng(1)
    mask = rng.uniform(size=(4, 9)) < share
    values = rng.normal(size=(4, 9, 3)).astype(np.float32)
    upstream = rng.normal(size=(4, 9, 2)).astype(np.float32)
    weights = tf.Variable(WEIGHTS)

    @tf.function
    def gradients(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = map_valid(lambda rows: tf.tanh(rows @ weights), tf.constant(mask), values, skip_padding=True)
            loss = tf.reduce_sum(found * upstream)
        return tape.gradient(loss, [values, weights])

    by_values, by_weights = gradients(tf.constant(values))
    flat = (1.0 - np.tanh(values @ WEIGHTS) ** 2) * upstream * mask[..., None]
    np.testing.assert_allclose(by_values, flat @ WEIGHTS.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_weights, np.einsum("bni,bno->io", values, flat), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 16, 18, 64])
def test_padding_is_left_out_and_there_are_few_shapes(size):
    seen = []

    def count(rows):
        seen.append(int(tf.shape(rows)[0]))
        return rows

    for valid in range(size + 1):
        mask = np.arange(size) < valid
        np.random.default_rng(valid).shuffle(mask)
        map_valid(count, tf.constant(mask[None]), tf.zeros([1, size, 1]), skip_padding=True)
        assert valid <= seen[-1] < valid + max(2, size / 16 + 1)
    assert len(set(seen)) <= 16
    map_valid(count, tf.zeros([1, size], bool), tf.zeros([1, size, 1]), skip_padding=False)
    assert seen[-1] == size
