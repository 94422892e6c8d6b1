"""Crop and paste: one separable bilinear primitive over boxes.

A box is (x0, y0, x1, y1) in fractions of the image. For each axis of each box there is a matrix of interpolation
weights, output samples by input samples, and two matrix products apply the pair. Pasting is cropping with the inverse
box. Everything is differentiable in image and box, has static shapes (only B may be unknown) and compiles with XLA,
which has no kernel for `tf.image.crop_and_resize`.
"""

import tensorflow as tf

# Pasting divides by the extent of a box. One narrower than this, a hundredth of a pixel in most images, is treated as
# this wide when its patch is sampled, so that gradients stay finite; its coverage is the true one, so it hardly shows.
_MIN_EXTENT = 1e-4


def _split(boxes: tf.Tensor):
    """The four coordinates of `boxes`, in float32 at least: positions in half precision would be off by pixels."""
    boxes = tf.convert_to_tensor(boxes)
    if boxes.dtype != tf.float64:
        boxes = tf.cast(boxes, tf.float32)
    return tf.unstack(boxes, axis=-1)


def _centres(size: int, dtype: tf.DType) -> tf.Tensor:
    return (tf.range(size, dtype=dtype) + 0.5) / size


def _axis_weights(low: tf.Tensor, high: tf.Tensor, size_in: int, size_out: int) -> tf.Tensor:
    """Linear-interpolation weights [..., size_out, size_in] of samples spread evenly over [low, high]."""
    positions = low[..., None] + _centres(size_out, low.dtype) * (high - low)[..., None]
    positions = tf.clip_by_value(positions * size_in - 0.5, 0.0, size_in - 1.0)
    distances = tf.abs(positions[..., None] - tf.range(size_in, dtype=low.dtype))
    return tf.nn.relu(1.0 - distances)


def _axis_coverage(low: tf.Tensor, high: tf.Tensor, size: int) -> tf.Tensor:
    """Fraction of each of `size` pixels of an axis that lies in [low, high]: [..., size]."""
    starts = tf.range(size, dtype=low.dtype) / size
    overlap = tf.minimum(high[..., None], starts + 1.0 / size) - tf.maximum(low[..., None], starts)
    return tf.nn.relu(overlap) * size


def _inverse(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The image's ends on one axis in fractions of the box."""
    extent = tf.maximum(high - low, _MIN_EXTENT)
    return -low / extent, (1.0 - low) / extent


def _interpolate_rows(weights: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Weights [..., out, H] applied to images [..., H, W, C]: [..., out, W, C], one product of matrices an image."""
    *leading, height, width, channels = images.shape.as_list()
    rows = tf.matmul(tf.cast(weights, images.dtype), tf.reshape(images, [-1, *leading[1:], height, width * channels]))
    return tf.reshape(rows, [-1, *leading[1:], weights.shape[-2], width, channels])


def _interpolate_columns(weights: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Weights [B, N, out, W] applied to images [B, N, H, W, C]: [B, N, H, out, C]."""
    swap = [0, 1, 3, 2, 4]
    return tf.transpose(_interpolate_rows(weights, tf.transpose(images, swap)), swap)


def crop(images: tf.Tensor, boxes: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Cut boxes out of images by bilinear interpolation.

    Samples lie at pixel centres: sample i of h is at y = (y0 + (i + 0.5) / h * (y1 - y0)) * H - 0.5 pixels; positions
    outside the image take its edge. A box without area gives the one point it holds, repeated.

    Args:
      images: float [B, H, W, C].
      boxes: float [B, N, 4].
      size: (h, w) of a crop.

    Returns:
      [B, N, h, w, C] in the type of `images`.
    """
    images = tf.convert_to_tensor(images)
    height, width, channels = images.shape[1:]
    x0, y0, x1, y1 = _split(boxes)
    rows = _axis_weights(y0, y1, height, size[0])
    columns = _axis_weights(x0, x1, width, size[1])
    # The rows of all boxes of an image in one product.
    strips = _interpolate_rows(tf.reshape(rows, [-1, boxes.shape[1] * size[0], height]), images)
    return _interpolate_columns(columns, tf.reshape(strips, [-1, boxes.shape[1], size[0], width, channels]))


def paste(patches: tf.Tensor, boxes: tf.Tensor, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Lay each patch over its box on a canvas of its own.

    Args:
      patches: float [B, N, h, w, C].
      boxes: float [B, N, 4], or [1, 1, 4] for all.
      size: (H, W) of the canvas.

    Returns:
      canvas: [B, N, H, W, C] in the type of `patches`, multiplied by the coverage and thus zero outside the box.
      coverage: [B, N, H, W], float32 at least; the fraction of each canvas pixel that lies in the box, in [0, 1]. Boxes
        without area, as padded objects have, cover nothing.
    """
    patches = tf.convert_to_tensor(patches)
    height, width = patches.shape[2:4]
    x0, y0, x1, y1 = _split(boxes)
    covered_rows = _axis_coverage(y0, y1, size[0])
    covered_columns = _axis_coverage(x0, x1, size[1])
    rows = _axis_weights(*_inverse(y0, y1), height, size[0]) * covered_rows[..., None]
    columns = _axis_weights(*_inverse(x0, x1), width, size[1]) * covered_columns[..., None]
    canvas = _interpolate_rows(rows, _interpolate_columns(columns, patches))
    return canvas, covered_rows[..., :, None] * covered_columns[..., None, :]


def log_centrality(boxes: tf.Tensor, size: tuple[int, int], floor: float) -> tf.Tensor:
    """How central each canvas pixel lies in each box, as a logarithm: 0 at the middle, falling towards the border.

    The sum over both axes of log(1 - d^2), d the distance from the middle in half extents, each bounded below by
    log(`floor`), which it is from the border on.

    Args:
      boxes: float [B, N, 4].
      size: (H, W) of the canvas.
      floor: the least value of 1 - d^2, above 0.

    Returns:
      [B, N, H, W], float32 at least.
    """

    def along(low, high, length):
        half_extent = tf.maximum(high - low, _MIN_EXTENT) / 2.0
        offset = (_centres(length, low.dtype) - ((low + high) / 2.0)[..., None]) / half_extent[..., None]
        return tf.math.log(tf.maximum(1.0 - tf.square(offset), floor))

    x0, y0, x1, y1 = _split(boxes)
    return along(y0, y1, size[0])[..., :, None] + along(x0, x1, size[1])[..., None, :]


def box_area(boxes: tf.Tensor) -> tf.Tensor:
    """Area of boxes [..., 4] as fractions of the image: [...]; 0 where a box is turned inside out."""
    x0, y0, x1, y1 = _split(boxes)
    return tf.nn.relu(x1 - x0) * tf.nn.relu(y1 - y0)


def box_iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Intersection over union of boxes `a` and `b`, both [..., 4], broadcast: [...]; 0 where neither has an area."""
    ax0, ay0, ax1, ay1 = _split(a)
    bx0, by0, bx1, by1 = _split(b)
    width = tf.nn.relu(tf.minimum(ax1, bx1) - tf.maximum(ax0, bx0))
    height = tf.nn.relu(tf.minimum(ay1, by1) - tf.maximum(ay0, by0))
    intersection = width * height
    return tf.math.divide_no_nan(intersection, box_area(a) + box_area(b) - intersection)
