"""Random numbers that belong to a scene, not to its place in a batch.

A picture must not change with whatever shares its batch, nor with how far the batch is padded. So every scene has its
own seed, and its numbers are drawn in blocks of one fixed shape, each from the scene's seed and the block's place. A
slot (round, object, candidate) reads the same number however many slots there are: more slots only add blocks. All
of it is TensorFlow's stateless Philox generator and `stateless_fold_in`; nothing here hashes by itself.
"""

import itertools
from collections.abc import Sequence

import tensorflow as tf

# Shape of a block, over (round, object, candidate). It is part of what a seed means: changing it changes every picture.
BLOCK = (8, 8, 32)
_ALGORITHM = "philox"
# Smallest normal float32: keeps a uniform number off zero, whose logarithm is not finite.
_TINY = 1.1754944e-38


def scene_seeds(seed: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Derives one seed a scene from a common one.

    It is `tf.random.experimental.stateless_fold_in` over a vector of keys: a scene's seed depends on its own key alone.

    Args:
      seed: `[2]` int32, for example folded with step and purpose.
      keys: `[B]` int, what tells scenes apart: position in the global batch, or the scene's index in the data set.

    Returns:
      `[B, 2]` int32.
    """
    keys = tf.cast(keys, tf.int32)
    first = tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), 0, alg=_ALGORITHM)[0]
    return tf.stack([tf.fill(tf.shape(keys), first), keys], axis=-1)


def scene_uniform(seeds: tf.Tensor, shape: Sequence[int], purpose: tf.Tensor) -> tf.Tensor:
    """Draws uniform numbers in (0, 1) for every scene.

    Args:
      seeds: `[B, 2]` int32, one a scene; B may be unknown.
      shape: (rounds, objects, candidates), all static.
      purpose: scalar int32, or a list of them, folded into the seeds one after the other; different purposes give
        independent numbers.

    Returns:
      `[B, *shape]` float32. Entry `[b, r, n, c]` depends on `seeds[b]`, `purpose`, r, n and c only.
    """
    purposes = purpose if isinstance(purpose, (list, tuple)) else [purpose]
    counts = [-(-shape[axis] // BLOCK[axis]) for axis in range(3)]

    def draw(seed):
        for value in purposes:
            seed = _fold(seed, value)
        places = itertools.product(*(range(count) for count in counts))
        return tf.stack([_block(_fold(_fold(_fold(seed, r), n), c)) for r, n, c in places])

    blocks = tf.map_fn(
        draw,
        tf.cast(seeds, tf.int32),
        fn_output_signature=tf.TensorSpec([counts[0] * counts[1] * counts[2], *BLOCK], tf.float32),
    )
    blocks = tf.reshape(blocks, [-1, *counts, *BLOCK])
    grid = tf.transpose(blocks, [0, 1, 4, 2, 5, 3, 6])
    whole = tf.reshape(grid, [-1, *(counts[axis] * BLOCK[axis] for axis in range(3))])
    return whole[:, : shape[0], : shape[1], : shape[2]]


def gumbel(uniform: tf.Tensor) -> tf.Tensor:
    """Turns uniform numbers in (0, 1) into standard Gumbel noise, -log(-log(u)), finite everywhere."""
    return -tf.math.log(-tf.math.log(uniform))


def uniform_choice(uniform: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Chooses one valid entry a scene, each with equal probability.

    The valid entry with the largest uniform number wins, so that padding takes no part and shifts no draw.

    Args:
      uniform: `[B, M]` float32 in (0, 1).
      mask: `[B, M]` bool.

    Returns:
      `[B, M]` float32, one-hot; zeros where a scene has no valid entry.
    """
    winner = tf.argmax(tf.where(mask, uniform, 0.0), axis=-1, output_type=tf.int32)
    chosen = tf.one_hot(winner, mask.shape[-1], dtype=tf.float32)
    return chosen * tf.cast(mask, tf.float32)


def _fold(seed, value):
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(value, tf.int32), alg=_ALGORITHM)


def _block(seed):
    return tf.random.stateless_uniform(BLOCK, seed, minval=_TINY, maxval=1.0, alg=_ALGORITHM)
