"""Normalization over the batch, against NumPy; over replicas, and in use."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import mirrored, tiny_config

from rgan_tf.baselines.batch_norm import BatchNorm, ConditionalBatchNorm, check_replicas
from rgan_tf.config import ConfigError

MAPS = np.random.default_rng(0).normal(3.0, 2.0, size=(6, 4, 4, 5)).astype(np.float32)
VALID = np.array([True, True, False, True, False, True])


def reference(maps, valid):
    of = maps[valid].astype(np.float64)
    return (maps - of.mean(axis=(0, 1, 2))) / np.sqrt(of.var(axis=(0, 1, 2)) + 1e-3)


def test_statistics_are_of_what_is_valid():
    layer = BatchNorm()
    np.testing.assert_allclose(layer(MAPS, VALID, training=True), reference(MAPS, VALID), rtol=1e-3, atol=1e-4)
    everything = np.ones(6, bool)
    np.testing.assert_allclose(layer(MAPS, training=True), reference(MAPS, everything), rtol=1e-3, atol=1e-4)
    other = np.where(VALID[:, None, None, None], MAPS, 1e3).astype(np.float32)
    found = layer(other, VALID, training=True).numpy()
    np.testing.assert_allclose(found[VALID], reference(MAPS, VALID)[VALID], rtol=1e-3, atol=1e-4)


def test_a_category_scales_and_shifts():
    layer, categories = ConditionalBatchNorm(5, 3), np.array([0, 1, 2, 2, 1, 0])
    layer(MAPS, categories, VALID)
    tables = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    layer.scale.embeddings.assign(tables[0])
    layer.shift.embeddings.assign(tables[1])
    scale, shift = tables[:, categories][:, :, None, None]
    expected = reference(MAPS, VALID) * scale + shift
    np.testing.assert_allclose(layer(MAPS, categories, VALID, training=True), expected, rtol=1e-3, atol=1e-4)


def test_in_use_a_picture_does_not_depend_on_its_batch():
    layer = BatchNorm()
    for _ in range(100):
        layer(MAPS, VALID, training=True)
    together = layer(MAPS)
    for place in range(len(MAPS)):
        np.testing.assert_array_equal(layer(MAPS[place : place + 1])[0], together[place])
    # What is remembered is what it saw a hundred times.
    np.testing.assert_allclose(together, reference(MAPS, VALID), rtol=1e-2, atol=1e-2)
    remembered = [variable.numpy() for variable in layer.non_trainable_variables]
    layer(10 * MAPS)
    for variable, value in zip(layer.non_trainable_variables, remembered):
        np.testing.assert_array_equal(variable, value)


def test_replicas_share_their_statistics_and_gradients():
    strategy = mirrored()
    # Unequal halves: four valid maps of the one, none but two of the other.
    weights = np.random.default_rng(2).normal(size=MAPS.shape).astype(np.float32)

    def run(layer, maps, valid, weights):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            outputs = layer(maps, valid, training=True)
            loss = tf.reduce_sum(outputs * weights)
        return outputs, tape.gradient(loss, maps)

    def share(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(values, 2)[context.replica_id_in_sync_group])
        )

    alone = BatchNorm()
    expected = run(alone, tf.constant(MAPS), tf.constant(VALID), tf.constant(weights))
    with strategy.scope():
        layer = BatchNorm()
        layer.build(MAPS.shape)
        layer.norm.build(MAPS.shape)
    shares = [share(values) for values in (MAPS, VALID, weights)]
    found = tf.function(lambda *values: strategy.run(lambda *own: run(layer, *own), args=values), autograph=False)(
        *shares
    )
    for value, each in zip(expected, found):
        joined = np.concatenate([part.numpy() for part in strategy.experimental_local_results(each)])
        np.testing.assert_allclose(joined, value, rtol=1e-3, atol=1e-4)
    for one, two in zip(alone.non_trainable_variables, layer.non_trainable_variables):
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=1e-4, atol=1e-5)


def test_a_compiled_step_has_one_replica():
    config = tiny_config("model=sg2im,runtime.xla=true")
    check_replicas(config)
    with mirrored().scope(), pytest.raises(ConfigError, match="there are 2 replicas, over all of which sg2im normal"):
        check_replicas(config)
