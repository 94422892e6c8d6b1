"""The colours of an object continued beyond its matte, for the holes that it has where others stood before it."""

import tensorflow as tf

# The share of a patch's side over which a colour's influence falls by a factor of e. Short, so that a sky's shading
# goes on, and long enough for float32 from one corner to the other.
_REACH = 1 / 16


def continue_colours(patches: tf.Tensor) -> tf.Tensor:
    """Patches whose colours are the object's everywhere: the share of a pixel that the matte leaves open is filled with
    the mean of the object's colours, weighed by matte and distance (Shepard's interpolation, ACM 1968, with a kernel
    that is a product over the axes, exp(-|dy| / (h / 16)) exp(-|dx| / (w / 16)), so that it is products of matrices).

    For gradients the weights are constants: a trace of an object where none is near would change all colours around.

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
    height, width = patches.shape[-3:-1]
    weights = tf.stop_gradient(opacity)
    spread = _spread(tf.concat([weights * colours, weights], axis=-1), height, width)
    continued = tf.math.divide_no_nan(spread[..., :3], spread[..., 3:])
    filled = opacity * colours + (1.0 - opacity) * continued
    return tf.concat([tf.cast(filled, patches.dtype), patches[..., 3:]], axis=-1)


def _spread(values: tf.Tensor, height: int, width: int) -> tf.Tensor:
    rows = tf.einsum("yi,...ixc->...yxc", _kernel(height), values)
    return tf.einsum("xj,...yjc->...yxc", _kernel(width), rows)


def _kernel(length: int) -> tf.Tensor:
    places = tf.range(length, dtype=tf.float32)
    return tf.exp(-tf.abs(places[:, None] - places) / (_REACH * length))
