"""Whose each pixel is: the attention of a pixel to the objects that cover it, as a softmax, and of two layers where
objects have mattes.

All shares of objects lack the factor of how much of the pixel is in the box, by which what is pasted has been
multiplied already.
"""

import tensorflow as tf

# Stands for minus infinity among logits; finite, so that no gradient is NaN.
_MASKED = -1e9
# Above what float32 loses of a difference from 1.
_ROUNDING = 1e-6
# Opacities, gaps and parts of pixels below this are none, and the rest's odds are not below its square: gradients
# divide by the squares of both.
_LEAST = 1e-5


def share_boxes(logits: tf.Tensor, within: tf.Tensor, background_logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax over objects that fill their boxes, and the background.

    Args:
      logits: float32 [B, N, H, W].
      within: float32 [B, N, H, W], how much of each pixel is in the box: the softmax's measure.
      background_logit: float32, of the background, which is everywhere.

    Returns:
      objects: [B, N, H, W]; their sum with the factor `within`, and the background, is 1.
      background: [B, H, W].
    """
    odds, background, _ = _odds(logits, within, background_logit)
    total = tf.reduce_sum(odds * within, axis=1) + background
    return odds / total[:, None], background / total


def share_mattes(
    logits: tf.Tensor, opacity: tf.Tensor, within: tf.Tensor, beyond_logits: tf.Tensor, background_logit: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What objects with mattes show of themselves: what a softmax puts in front, through its gaps what another one over
    the others puts second, and through both what the objects' colours continue to beyond their mattes.

    Full mattes give `share_boxes`. Of two objects that are far apart the shares are those of the over operator (Porter
    and Duff, SIGGRAPH 1984), so that edges blend, and gradients reach the mattes.

    Args:
      logits: float32 [B, N, H, W].
      opacity: float32 [B, N, H, W], how much of what is in the box is the object's.
      within: as of `share_boxes`.
      beyond_logits: float32 [B, N], of what objects continue to; it competes with objects and background.
      background_logit: as of `share_boxes`.

    Returns:
      objects: [B, N, H, W], what they continue to included.
      nobody: [B, H, W], the share that no object covers: continued colours, and background.
      background: [B, H, W], the background's share alone.
    """
    opacity, gaps, within = (tf.where(share > _LEAST, share, 0.0) for share in (opacity, 1.0 - opacity, within))
    beyond_logits = tf.broadcast_to(beyond_logits[..., None, None], tf.shape(gaps))
    odds, ground, top = _odds(beyond_logits, gaps * within, background_logit)
    rest = tf.reduce_sum(odds * gaps * within, axis=1) + ground
    beyond, background = gaps * odds / rest[:, None], ground / rest

    odds, rest, _ = _odds(logits, opacity * within, tf.math.log(rest) + top)
    present = opacity * odds
    total = tf.reduce_sum(present * within, axis=1) + rest
    front, nobody = present / total[:, None], rest / total
    # Squared, so that who is in front by far is not second too.
    others = present * tf.square(tf.nn.relu(1.0 - _ROUNDING - front * within))
    second = tf.math.divide_no_nan(others, (tf.reduce_sum(others * within, axis=1) + rest)[:, None])
    front, second = opacity * front, opacity * second
    gap = 1.0 - nobody - tf.reduce_sum(front * within, axis=1)
    nobody += gap * (1.0 - tf.reduce_sum(second * within, axis=1))
    return front + gap[:, None] * second + nobody[:, None] * beyond, nobody, nobody * background


def _odds(logits: tf.Tensor, measure: tf.Tensor, rest_logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Exponentials of the logits [B, N, H, W] of what is there, and of the rest's, over that of the largest; and the
    largest, a constant, on which no share depends.
    """
    logits = tf.where(measure > 0.0, logits, _MASKED)
    top = tf.stop_gradient(tf.maximum(tf.reduce_max(logits, axis=1), rest_logit))
    return tf.exp(logits - top[:, None]), tf.maximum(tf.exp(rest_logit - top), _LEAST**2), top
