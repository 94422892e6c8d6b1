"""Random changes of pictures through which gradients pass (Zhao et al., NeurIPS 2020, "Differentiable augmentation").

A critic that sees real and made pictures under the same changes cannot tell them apart by having learned the real ones
by heart, and the generator does not learn the changes, for it is judged under them too.
"""

from collections.abc import Collection

import tensorflow as tf

KINDS = ("colour", "translation", "cutout")
# Uniform numbers that a picture's changes are drawn from, whichever of them are asked for.
DRAWS = 7
# Of a side: how far a picture is moved at most, and how large the hole is that is cut out of it.
_FARTHEST, _HOLE = 1 / 8, 1 / 2


def augment(images: tf.Tensor, uniform: tf.Tensor, kinds: Collection[str]) -> tf.Tensor:
    """Changes every picture by its own draws.

    Args:
      images: `[M, H, W, C]` float; C is 3, or 4 with a matte, which is moved and cut as the colours are.
      uniform: `[M, DRAWS]` float32 in (0, 1). The first three are brightness, saturation and contrast, the next two the
        move along y and x, the last two the middle of the hole.
      kinds: of `KINDS`. "colour": brightness is shifted by up to 0.5 either way, then each pixel's distance from its
        grey is multiplied by up to 2, then each value's distance from the picture's mean by 0.5 to 1.5. "translation":
        moved by whole pixels, up to an eighth of the side, zeros behind. "cutout": a square of half the side is zero;
        its middle may be anywhere, so that parts of it lie outside.

    Returns:
      Pictures of the same shape and type; without kinds, `images` itself.

    Raises:
      ValueError: a kind is not known.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"Augmentation {unknown[0]!r} is not known; it must be one of {', '.join(KINDS)}.")
    if "colour" in kinds:
        images = tf.concat([_recoloured(images[..., :3], uniform[:, :3]), images[..., 3:]], axis=-1)
    if "translation" in kinds:
        images = _moved(images, uniform[:, 3:5])
    if "cutout" in kinds:
        images = _cut(images, uniform[:, 5:7])
    return images


def _recoloured(images, uniform):
    uniform = tf.cast(uniform, images.dtype)
    brightness, saturation, contrast = (part[:, None, None] for part in tf.split(uniform, 3, axis=-1))
    images += brightness - 0.5
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    images = grey + (images - grey) * (2.0 * saturation)
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _moved(images, uniform):
    """By matrices that shift rows and columns: their gradients are sums in a fixed order, unlike a gather's."""
    height, width = images.shape[1:3]
    rows, columns = (_shift(uniform[:, i], side, images.dtype) for i, side in enumerate((height, width)))
    return tf.einsum("mhH,mHWc,mwW->mhwc", rows, images, columns)


def _shift(uniform, side, dtype):
    """Matrices [M, side, side] that move by whole pixels, as far either way with equal probability."""
    farthest = int(side * _FARTHEST + 0.5)
    steps = tf.cast(tf.floor(uniform * (2 * farthest + 1)), tf.int32) - farthest
    return tf.one_hot(tf.range(side) - steps[:, None], side, dtype=dtype)


def _cut(images, uniform):
    height, width = images.shape[1:3]
    hole = _hole(uniform[:, 0], height)[:, :, None] & _hole(uniform[:, 1], width)[:, None]
    return tf.where(hole[..., None], tf.zeros_like(images), images)


def _hole(uniform, side):
    """bool [M, side]: where the hole lies, as far as it is inside."""
    length = int(side * _HOLE + 0.5)
    middle = tf.cast(tf.floor(uniform * (side + 1 - length % 2)), tf.int32)
    place = tf.range(side) - middle[:, None] + length // 2
    return (place >= 0) & (place < length)
