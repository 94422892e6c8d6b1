"""The exact candidate search of `pipelines.prefilter` from stock TensorFlow operations, to run inside a served graph.

A bank sorted by category makes an object's patches one slice, which TensorFlow reads without a copy. A matrix-vector
product in float32 narrows the slice to the points that can be among the nearest, with a bound on its rounding error;
distances from differences in double precision decide among these, and the row where they are equal (paper section 3.2).
"""

import numpy as np
import tensorflow as tf

_EPSILON = float(np.finfo(np.float32).eps)


def nearest_rows(
    query: tf.Tensor, category: tf.Tensor, points: tf.Tensor, square_norms: tf.Tensor, starts: tf.Tensor, k: int
) -> tf.Tensor:
    """The k patches of a category nearest to a query.

    Args:
      query: `[D]` float32.
      category: scalar int32; 0, which pads, has no patches.
      points: `[M, D]` float32 resource variable, graph features sorted by category.
      square_norms: `[M]` float32 variable, their squared lengths.
      starts: `[C + 1]` int32, where each category's rows start; the last entry is M.
      k: number of rows.

    Returns:
      int32 `[k]`, nearest first, by row where equally near; -1 where the category has fewer.
    """
    start, end = starts[category], starts[category + 1]
    # The slice, not the variable, is gathered from: one sparse read makes TensorFlow copy a variable at each dense one.
    points = points[start:end]
    near = _within_reach(query, points, square_norms[start:end], k)
    differences = tf.cast(tf.gather(points, near), tf.float64) - tf.cast(query, tf.float64)
    distances = tf.reduce_sum(tf.square(differences), axis=-1)
    # Of equal values top_k takes the lower index first, and `near` ascends.
    nearest = tf.math.top_k(-distances, tf.minimum(k, tf.size(near))).indices
    rows = start + tf.gather(near, nearest)
    return tf.ensure_shape(tf.pad(rows, [[0, k - tf.size(rows)]], constant_values=-1), [k])


def _within_reach(query, points, square_norms, k):
    """Indices, ascending, of the points that rounding leaves in question for the k nearest; all where there are few."""
    # ||p - q||^2 without ||q||^2, which is the same for all.
    scores = square_norms - 2.0 * tf.linalg.matvec(points, query)
    best = tf.math.top_k(-scores, tf.minimum(k, tf.size(scores))).values
    kth = -tf.reduce_min(best)
    # Rounding moves a score by less than this, so no point of the true k lies beyond twice as far from the k-th.
    reach = tf.norm(query) + tf.sqrt(tf.reduce_max(tf.concat([square_norms, [0.0]], axis=0)))
    slack = 4.0 * (query.shape[0] + 4.0) * _EPSILON * tf.square(reach)
    return tf.cast(tf.where(scores <= kth + 2.0 * slack)[:, 0], tf.int32)
