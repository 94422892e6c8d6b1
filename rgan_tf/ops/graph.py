"""Gathering from nodes to triples and pooling back, over padded scene graphs.

A graph's nodes are slots `[B, N]`, its triples slots `[B, T]` that hold node indices. Both directions are products
with one-hot matrices: shapes stay static, XLA compiles them, and the gradient is a matrix product as well, so that
results do not depend on the order in which a device adds up scattered messages.
"""

import tensorflow as tf


def gather_nodes(features: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Reads the features of each triple's node.

    Args:
      features: `[B, N, ...]` float, a vector or a feature map a node.
      index: `[B, T]` int, each in [0, N). An index outside gives zeros.

    Returns:
      `[B, T, ...]`, of the type of `features`.
    """
    incidence = tf.one_hot(index, tf.shape(features)[1], dtype=features.dtype)
    return _contract(incidence, features, index.shape[1], transpose=False)


def pool_messages(messages: tf.Tensor, index: tf.Tensor, mask: tf.Tensor, num_nodes: int) -> tf.Tensor:
    """Adds up, for each node, the messages addressed to it.

    Args:
      messages: `[B, T, ...]` float, finite also where `mask` is false.
      index: `[B, T]` int, the receiving node of each message.
      mask: `[B, T]` bool or float weights; a message whose mask is false counts for nothing.
      num_nodes: N.

    Returns:
      `[B, N, ...]` sums, of the type of `messages`.
    """
    incidence = tf.one_hot(index, num_nodes, dtype=messages.dtype) * tf.cast(mask, messages.dtype)[..., tf.newaxis]
    return _contract(incidence, messages, num_nodes, transpose=True)


def average_messages(
    subject_messages: tf.Tensor,
    object_messages: tf.Tensor,
    subject_index: tf.Tensor,
    object_index: tf.Tensor,
    mask: tf.Tensor,
    num_nodes: int,
) -> tf.Tensor:
    """Averages, for each node, the messages it receives as a subject and as an object (sg2im's pooling).

    Args:
      subject_messages: `[B, T, ...]` float, each triple's message to its subject.
      object_messages: `[B, T, ...]` float, each triple's message to its object.
      subject_index: `[B, T]` int.
      object_index: `[B, T]` int.
      mask: `[B, T]` bool, false for padded triples.
      num_nodes: N.

    Returns:
      `[B, N, ...]` means over both roles together; zeros for a node without messages.
    """
    messages = tf.concat([subject_messages, object_messages], axis=1)
    index = tf.concat([subject_index, object_index], axis=1)
    weights = tf.tile(tf.cast(mask, messages.dtype), [1, 2])
    total = pool_messages(messages, index, weights, num_nodes)
    count = tf.reduce_sum(tf.one_hot(index, num_nodes, dtype=messages.dtype) * weights[..., tf.newaxis], axis=1)
    trailing = [1] * (messages.shape.rank - 2)
    return total / tf.reshape(tf.maximum(count, 1), [-1, num_nodes] + trailing)


def _contract(incidence, features, rows, transpose):
    """Multiplies `[B, T, N]` incidence (or its transpose) with features whose trailing axes are folded into one."""
    trailing = features.shape[2:].as_list()
    size = 1
    for extent in trailing:
        size *= extent
    slots = features.shape[1] if features.shape[1] is not None else tf.shape(features)[1]
    flat = tf.reshape(features, [-1, slots, size])
    out = tf.matmul(incidence, flat, transpose_a=transpose)
    return tf.reshape(out, [-1, rows if rows is not None else tf.shape(incidence)[1]] + trailing)
