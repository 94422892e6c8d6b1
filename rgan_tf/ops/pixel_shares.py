"""Whose each pixel is: the attention of a pixel to the objects that cover it, as a softmax, and of two layers where
objects have mattes.
"""

import tensorflow as tf

# Stands for minus infinity among logits; finite, so that no gradient is NaN.
_MASKED = -1e9
# Above what float32 loses of a difference from 1.
_ROUNDING = 1e-6
# Parts of a pixel below this are none.
_LEAST = 1e-3


def share_boxes(logits: tf.Tensor, within: tf.Tensor, background_logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax over objects that fill their boxes, and the background.

    Args:
      logits: float32 [B, N, H, W].
      within: float32 [B, N, H, W], how much of each pixel is in the box: the softmax's measure.
      background_logit: float32, of the background, which is everywhere.

    Returns:
      objects: [B, N, H, W], without the factor `within`, by which what is pasted has been multiplied already; their sum
        with it, and the background, is 1.
      background: [B, H, W].
    """
    odds, background = _odds(logits, within, background_logit)
    total = tf.reduce_sum(odds * within, axis=1) + background
    return odds / total[:, None], background / total


def share_mattes(
    logits: tf.Tensor, opacity: tf.Tensor, within: tf.Tensor, background_logit: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What objects with mattes show of themselves: what a softmax puts in front, and through its gaps what another one
    over the others puts second.

    Full mattes give `share_boxes`, but at borders, where a box that covers half a pixel covers half of what is behind.
    Of two objects that are far apart the shares are those of the over operator (Porter and Duff, SIGGRAPH 1984), so
    that edges blend. Gradients reach mattes and boxes through what they cover; in who comes first their measure is a
    constant, since the slope of that at thin edges would drown all else.

    Args:
      logits: float32 [B, N, H, W].
      opacity: float32 [B, N, H, W], how much of what is in the box is the object's.
      within: as of `share_boxes`.
      background_logit: as of `share_boxes`.

    Returns:
      objects: [B, N, H, W]; their sum and `nobody` is 1.
      nobody: [B, H, W], the share that no object covers.
    """
    alpha = opacity * tf.where(within > _LEAST, within, 0.0)
    present = tf.stop_gradient(tf.where(alpha > _LEAST, alpha, 0.0))
    odds, rest = _odds(logits, present, background_logit)
    rest = tf.maximum(rest, _LEAST**4)  # Against divisors that vanish.
    total = tf.reduce_sum(present * odds, axis=1) + rest
    front, nobody = present * odds / total[:, None], rest / total
    # Squared, so that who is in front by far is not second too.
    others = present * odds * tf.square(tf.nn.relu(1.0 - _ROUNDING - front))
    second = tf.math.divide_no_nan(others, (tf.reduce_sum(others, axis=1) + rest)[:, None])
    gap = 1.0 - nobody - tf.reduce_sum(alpha * front, axis=1)
    nobody += gap * (1.0 - tf.reduce_sum(alpha * second, axis=1))
    return alpha * (front + gap[:, None] * second), nobody


def _odds(logits: tf.Tensor, measure: tf.Tensor, rest_logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Exponentials of the logits [B, N, H, W] of what is there, and of the rest's, over that of the largest."""
    logits = tf.where(measure > 0.0, logits, _MASKED)
    # A constant, on which no share depends.
    top = tf.stop_gradient(tf.maximum(tf.reduce_max(logits, axis=1), rest_logit))
    return tf.exp(logits - top[:, None]), tf.exp(rest_logit - top)
