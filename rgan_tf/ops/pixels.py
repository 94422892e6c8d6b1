"""The one conversion between stored pixels and what networks see."""

import tensorflow as tf


def to_float(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 in [0, 255] to float32 in [-1, 1], any shape."""
    return tf.cast(pixels, tf.float32) / 127.5 - 1.0


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """float in [-1, 1] to uint8 in [0, 255], rounded to the nearest and clipped, any shape."""
    return tf.cast(tf.round(tf.clip_by_value((images + 1.0) * 127.5, 0.0, 255.0)), tf.uint8)
