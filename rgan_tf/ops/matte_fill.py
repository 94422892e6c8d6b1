"""Colours where no object says any: beyond a patch's matte those of its object, in a picture those of what is around.

Both are Shepard's interpolation (ACM 1968) with a kernel that is a product over the axes, exp(-|dy| / (h / 16))
exp(-|dx| / (w / 16)), so that it is products of matrices. For gradients the weights are constants: a trace of an object
where none is near would change all colours around.
"""

import tensorflow as tf

# The share of a side over which a colour's influence falls by a factor of e. Short, so that a sky's shading
# goes on, and long enough for float32 from one corner to the other.
_REACH = 1 / 16
# Power of the share of the picture that an object covers, by which what it continues to is weighed: holes are of what
# lies behind, and a person leaves no halo on the grass.
_BEHIND = 2


def continue_colours(patches: tf.Tensor) -> tf.Tensor:
    """Patches whose colours are the object's everywhere: the share of a pixel that the matte leaves open is filled with
    the mean of the object's colours, weighed by matte and distance.

    Args:
      patches: `[..., h, w, C]` in [-1, 1]. The fourth channel is the matte, -1 for nothing; with C 3 there is none, and
        the patches are returned as they are.

    Returns:
      As `patches`, with the same mattes; all colours 0 where a matte covers nothing at all.
    """
    if patches.shape[-1] == 3:
        return patches
    # The weights of half precision would vanish within a patch.
    exact = tf.cast(patches, tf.float32)
    colours, opacity = exact[..., :3], (exact[..., 3:] + 1.0) / 2.0
    weights = tf.stop_gradient(opacity)
    filled = opacity * colours + (1.0 - opacity) * _around(weights * colours, weights)
    return tf.concat([tf.cast(filled, patches.dtype), patches[..., 3:]], axis=-1)


def fill_holes(patches: tf.Tensor, shares: tf.Tensor, nobody: tf.Tensor) -> tf.Tensor:
    """The picture of objects, and where nobody stands the mean of the colours around, weighed by distance, share and
    the square of how much of the picture their object covers.

    Args:
      patches: [B, N, H, W, 3], objects pasted on the picture.
      shares: float32 [B, N, H, W], how much of a pixel is whose.
      nobody: float32 [B, H, W], how much is nobody's.

    Returns:
      float32 [B, H, W, 3]; 0 where there is no object at all.
    """
    colours = tf.cast(patches, tf.float32)
    covered = tf.reduce_mean(shares, axis=[2, 3], keepdims=True)
    weights = tf.stop_gradient(shares * covered**_BEHIND)[..., None]
    around = _around(tf.reduce_sum(weights * colours, axis=1), tf.reduce_sum(weights, axis=1))
    return tf.reduce_sum(shares[..., None] * colours, axis=1) + nobody[..., None] * around


def _around(weighed: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The mean colour around each pixel, of colours [..., h, w, 3] times their weights and of these [..., h, w, 1]."""
    rows, columns = (_kernel(length) for length in weights.shape[-3:-1])
    spread = tf.einsum("yi,...ixc->...yxc", rows, tf.concat([weighed, weights], axis=-1))
    spread = tf.einsum("xj,...yjc->...yxc", columns, spread)
    return tf.math.divide_no_nan(spread[..., :3], spread[..., 3:])


def _kernel(length: int) -> tf.Tensor:
    places = tf.range(length, dtype=tf.float32)
    return tf.exp(-tf.abs(places[:, None] - places) / (_REACH * length))
