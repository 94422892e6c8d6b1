"""What nobody holds is given back: TensorFlow keeps each graph in which a custom gradient was traced, or loaded."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.ops import relaxed_subset


@pytest.mark.parametrize("differentiable", [True, False])
def test_the_graph_of_a_retrieval_goes_with_its_function(differentiable):
    rng = np.random.default_rng(0)
    mask = tf.fill([2, 3, 4], True)
    query, noise = (tf.constant(rng.normal(size=shape), tf.float32) for shape in ((2, 5), (2, 3, 3, 4)))

    @tf.function(autograph=False)
    def slopes(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            result = relaxed_subset.retrieve(features, mask, query, noise, 0.5, differentiable=differentiable)
        return tape.gradient(result.selection, features)

    graph = weakref.ref(slopes.get_concrete_function(tf.TensorSpec([2, 3, 4, 5])).graph)
    assert graph() is not None
    del slopes
    gc.collect()
    assert graph() is None


def test_a_loaded_export_goes_when_nobody_holds_it(tiny_export):
    loaded = tf.saved_model.load(str(tiny_export / "1"))
    graph = weakref.ref(loaded.signatures["serving_default"].graph)
    assert graph() is not None
    del loaded
    gc.collect()
    assert graph() is None
