"""Work on a padded tensor's valid rows alone: padding costs next to nothing then, and the result is the same up to
rounding.
"""

from typing import Callable

import tensorflow as tf

# How many numbers of rows there can be. A GPU's convolutions are tuned anew for each shape that they meet.
_SHAPES = 16


def map_valid(function: Callable, mask: tf.Tensor, *tensors: tf.Tensor, skip_padding: bool) -> tf.Tensor:
    """Applies a function to the rows of padded tensors where a mask holds.

    Args:
      function: takes [M, ...] of each tensor and gives [M, ...], row by row; M is one of at most 16 numbers.
      mask: bool [B, ...], the leading dimensions of each tensor.
      *tensors: [B, ..., and their own dimensions], all but B static.
      skip_padding: False works on padded rows too, for XLA, to which the number of valid ones must not be a shape.

    Returns:
      [B, ..., and the result's own dimensions], zeros where the mask does not hold.
    """
    flat_mask = tf.reshape(mask, [-1])
    flat = [tf.reshape(tensor, [-1, *tensor.shape[mask.shape.rank :]]) for tensor in tensors]
    if skip_padding:
        valid_first = tf.concat([tf.where(flat_mask), tf.where(~flat_mask)], axis=0)[:, 0]
        place = tf.cumsum(tf.cast(flat_mask, tf.int32), exclusive=True)
        rows = valid_first[: _filled_up(tf.reduce_sum(tf.cast(flat_mask, tf.int32)), tf.size(flat_mask))]
        results = function(*(tf.gather(tensor, rows) for tensor in flat))
        # Gathered rather than scattered: TensorFlow scatters on the CPU where it has to be deterministic. What a padded
        # row gathers, some valid one's result, is taken away below.
        results = tf.gather(results, tf.minimum(place, tf.shape(rows)[0] - 1))
    else:
        results = function(*flat)
    shown = tf.reshape(flat_mask, [-1] + [1] * (results.shape.rank - 1))
    results = tf.where(shown, results, tf.zeros([], results.dtype))
    return tf.reshape(results, [-1, *mask.shape[1:], *results.shape[1:]])


def _filled_up(count: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The next of `_SHAPES` numbers of rows, at least one; `size` is the largest."""
    unit = -(-size // _SHAPES)
    return tf.clip_by_value(-(-count // unit) * unit, tf.minimum(unit, size), size)
