"""Gathering and pooling over padded triples, against NumPy loops."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.ops import graph


def draw(trailing, batch=3, nodes=5, triples=7):
    rng = np.random.default_rng(0)
    index = rng.integers(0, nodes - 1, size=(2, batch, triples))  # the last node never gets a message
    mask = rng.random((batch, triples)) < 0.6
    messages = rng.normal(size=(2, batch, triples, *trailing)).astype(np.float32)
    features = rng.normal(size=(batch, nodes, *trailing)).astype(np.float32)
    return features, messages, index, mask


@pytest.mark.parametrize("trailing", [(6,), (2, 3, 4)])
def test_gather(trailing):
    features, _, index, _ = draw(trailing)
    gathered = graph.gather_nodes(tf.constant(features), tf.constant(index[0]))
    np.testing.assert_array_equal(gathered, np.stack([f[i] for f, i in zip(features, index[0])]))


@pytest.mark.parametrize("trailing", [(6,), (2, 3, 4)])
def test_pool(trailing):
    _, messages, index, mask = draw(trailing)
    expected = np.zeros((3, 5, *trailing))
    for b, t in np.argwhere(mask):
        expected[b, index[0, b, t]] += messages[0, b, t]
    pooled = graph.pool_messages(tf.constant(messages[0]), tf.constant(index[0]), tf.constant(mask), 5)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


@pytest.mark.parametrize("trailing", [(6,), (2, 3, 4)])
def test_average_over_both_roles(trailing):
    _, messages, index, mask = draw(trailing)
    received = {}
    for b, t in np.argwhere(mask):
        for role in (0, 1):
            received.setdefault((b, index[role, b, t]), []).append(messages[role, b, t])
    expected = np.zeros((3, 5, *trailing))
    for place, values in received.items():
        expected[place] = np.mean(values, axis=0)
    average = graph.average_messages(*(tf.constant(x) for x in (*messages, *index, mask)), 5)
    np.testing.assert_allclose(average, expected, atol=1e-6)
    assert (average[:, 4].numpy() == 0).all()


def test_masked_triples_do_not_count():
    _, messages, index, mask = draw((4,))
    one = graph.average_messages(*(tf.constant(x) for x in (*messages, *index, mask)), 5)
    changed = np.where(mask[None, ..., None], messages, 99.0).astype(np.float32)
    moved = np.where(mask[None], index, 3)
    two = graph.average_messages(*(tf.constant(x) for x in (*changed, *moved, mask)), 5)
    np.testing.assert_array_equal(one, two)


def test_gradients_by_finite_differences():
    features, messages, index, mask = (tf.constant(x) for x in draw((3,)))
    features, messages = tf.cast(features, tf.float64), tf.cast(messages, tf.float64)

    def both(features, messages):
        gathered = graph.gather_nodes(features, index[0])
        averaged = graph.average_messages(messages[0] * gathered, messages[1], index[0], index[1], mask, 5)
        return tf.reduce_sum(averaged**2)

    theory, numeric = tf.test.compute_gradient(both, [features, messages], delta=1e-4)
    for a, b in zip(theory, numeric):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_in_functions_with_and_without_batch_size(compiled):
    features, messages, index, mask = draw((4,))
    batch = 3 if compiled else None
    specs = [
        tf.TensorSpec([batch, *x.shape[1:]], x.dtype) for x in (messages[0], messages[1], index[0], index[1], mask)
    ]
    average = tf.function(lambda *args: graph.average_messages(*args, 5), input_signature=specs, jit_compile=compiled)
    inputs = [tf.constant(x) for x in (*messages, *index, mask)]
    np.testing.assert_allclose(average(*inputs), graph.average_messages(*inputs, 5), atol=1e-6)
