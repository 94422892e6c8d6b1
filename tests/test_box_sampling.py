"""Crop and paste against slow references, TensorFlow's own crop, and finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.ops.box_sampling import box_area, box_iou, crop, log_centrality, paste


def bilinear_point(image, y, x):
    """One sample of image [H, W, C] at pixel position (y, x), the edge repeated outside."""
    height, width = image.shape[:2]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = int(np.floor(y)), int(np.floor(x))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = image[top, left] * (1 - dx) + image[top, right] * dx
    lower = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def slow_crop(image, box, size):
    x0, y0, x1, y1 = box
    out = np.zeros((*size, image.shape[2]))
    for i in range(size[0]):
        for j in range(size[1]):
            y = (y0 + (i + 0.5) / size[0] * (y1 - y0)) * image.shape[0] - 0.5
            x = (x0 + (j + 0.5) / size[1] * (x1 - x0)) * image.shape[1] - 0.5
            out[i, j] = bilinear_point(image, y, x)
    return out


def slow_paste(patch, box, size):
    x0, y0, x1, y1 = box
    canvas, coverage = np.zeros((*size, patch.shape[2])), np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            rows = max(0.0, min(y1, (i + 1) / size[0]) - max(y0, i / size[0])) * size[0]
            columns = max(0.0, min(x1, (j + 1) / size[1]) - max(x0, j / size[1])) * size[1]
            coverage[i, j] = rows * columns
            if coverage[i, j] > 0:
                y = ((i + 0.5) / size[0] - y0) / (y1 - y0) * patch.shape[0] - 0.5
                x = ((j + 0.5) / size[1] - x0) / (x1 - x0) * patch.shape[1] - 0.5
                canvas[i, j] = coverage[i, j] * bilinear_point(patch, y, x)
    return canvas, coverage


def random_boxes(rng, shape):
    low = rng.uniform(0.0, 0.6, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.1, 0.4, (*shape, 2))], axis=-1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_crop_equals_the_slow_reference(dtype):
    rng = np.random.default_rng(0)
    images, boxes = rng.normal(size=(2, 7, 9, 3)).astype(dtype), random_boxes(rng, (2, 4)).astype(dtype)
    boxes[0, 0] = [-0.2, 0.3, 1.3, 0.9]  # reaches outside: the edge is repeated
    got = crop(images, boxes, (5, 4))
    want = [[slow_crop(image, box, (5, 4)) for box in row] for image, row in zip(images, boxes)]
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_paste_equals_the_slow_reference(dtype):
    rng = np.random.default_rng(1)
    patches, boxes = rng.normal(size=(2, 4, 5, 6, 2)).astype(dtype), random_boxes(rng, (2, 4)).astype(dtype)
    boxes[1, 2] = [0.5, 0.5, 1.4, 0.8]
    canvas, coverage = paste(patches, boxes, (8, 11))
    for b in range(2):
        for n in range(4):
            want_canvas, want_coverage = slow_paste(patches[b, n], boxes[b, n], (8, 11))
            np.testing.assert_allclose(coverage[b, n], want_coverage, atol=1e-5)
            np.testing.assert_allclose(canvas[b, n], want_canvas, atol=1e-5)


def test_crop_equals_crop_and_resize_where_both_are_defined():
    rng = np.random.default_rng(2)
    images = rng.normal(size=(2, 12, 10, 3)).astype(np.float32)
    boxes = random_boxes(rng, (2, 3)) * 0.8 + 0.1  # all samples stay inside the image
    boxes = boxes.astype(np.float32)
    size = (6, 5)
    # TensorFlow puts the first and last sample on the box's ends, in units of (pixels - 1).
    x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
    ends = []
    for low, high, length, count in ((y0, y1, 12, size[0]), (x0, x1, 10, size[1])):
        first = low + 0.5 / count * (high - low)
        last = low + (count - 0.5) / count * (high - low)
        ends.append([(first * length - 0.5) / (length - 1), (last * length - 0.5) / (length - 1)])
    (top, bottom), (left, right) = ends
    theirs = tf.image.crop_and_resize(
        images, np.stack([top, left, bottom, right], -1).reshape(-1, 4), np.repeat([0, 1], 3), size
    )
    np.testing.assert_allclose(tf.reshape(crop(images, boxes, size), theirs.shape), theirs, atol=1e-5)


def test_cropping_the_whole_image_resizes_it():
    images = np.random.default_rng(3).normal(size=(2, 6, 8, 3)).astype(np.float32)
    whole = np.tile(np.float32([[[0, 0, 1, 1]]]), (2, 1, 1))
    np.testing.assert_allclose(crop(images, whole, (6, 8))[:, 0], images, atol=1e-6)
    np.testing.assert_allclose(crop(images, whole, (9, 13))[:, 0], tf.image.resize(images, (9, 13)), atol=1e-5)


def test_paste_takes_one_box_for_all():
    patches = np.random.default_rng(4).normal(size=(2, 3, 4, 4, 1)).astype(np.float32)
    canvas, _ = paste(patches, tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), (8, 8))
    want = tf.image.resize(patches.reshape(6, 4, 4, 1), (8, 8))
    np.testing.assert_allclose(tf.reshape(canvas, want.shape), want, atol=1e-5)


def test_pasted_patches_can_be_cropped_out_again():
    patches = np.random.default_rng(5).normal(size=(1, 2, 4, 4, 3)).astype(np.float32)
    boxes = np.float32(
        [[[0.25, 0.25, 0.75, 0.75], [0.5, 0.0, 1.0, 0.5]]]
    )  # on the grid, one patch pixel a canvas pixel
    canvas, coverage = paste(patches, boxes, (8, 8))
    for n in range(2):
        again = crop(canvas[:, n], boxes[:, n : n + 1], (4, 4))
        np.testing.assert_allclose(again[:, 0], patches[:, n], atol=1e-5)
    assert sorted(np.unique(coverage)) == [0.0, 1.0]


def test_coverage_adds_up_to_the_area_and_bounds_the_canvas():
    rng = np.random.default_rng(6)
    boxes = random_boxes(rng, (3, 5)).astype(np.float32)
    canvas, coverage = paste(np.ones((3, 5, 4, 4, 1), np.float32), boxes, (16, 16))
    np.testing.assert_allclose(tf.reduce_mean(coverage, axis=[2, 3]), box_area(boxes), atol=1e-5)
    assert 0 <= np.min(coverage) and np.max(coverage) <= 1 + 1e-5
    np.testing.assert_allclose(canvas[..., 0], coverage, atol=1e-5)  # a constant patch shows its coverage


@pytest.mark.parametrize("what", ["crop", "paste"])
def test_gradients_equal_finite_differences(what):
    rng = np.random.default_rng(7)
    boxes = tf.constant(random_boxes(rng, (1, 2)))
    if what == "crop":
        pixels, shape = tf.constant(rng.normal(size=(1, 5, 6, 2))), (1, 2, 4, 3, 2)
    else:
        pixels, shape = tf.constant(rng.normal(size=(1, 2, 4, 3, 2))), (1, 2, 7, 6, 2)
    weights = tf.constant(rng.normal(size=shape))

    def value(pixels, boxes):
        out = crop(pixels, boxes, shape[2:4]) if what == "crop" else paste(pixels, boxes, shape[2:4])[0]
        return tf.reduce_sum(out * weights)

    analytic, numeric = tf.test.compute_gradient(value, [pixels, boxes], delta=1e-6)
    for got, want in zip(analytic, numeric):
        assert np.abs(want).max() > 0.1
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [0.3, 0.4, 0.3, 0.4], [0.2, 0.6, 0.9, 0.6], [0.7, 0.7, 0.2, 0.2]])
def test_boxes_without_area_are_finite(box):
    boxes = tf.constant(box, tf.float32, shape=[1, 1, 4])
    images = tf.constant(np.random.default_rng(8).normal(size=(1, 6, 6, 2)), tf.float32)
    patches = tf.ones([1, 1, 4, 4, 2])
    with tf.GradientTape() as tape:
        tape.watch([boxes, images, patches])
        cut = crop(images, boxes, (3, 3))
        canvas, coverage = paste(patches, boxes, (5, 5))
        centrality = log_centrality(boxes, (5, 5), 0.1)
        total = sum(tf.reduce_sum(part) for part in (cut, canvas, coverage, centrality))
    assert np.all(np.isfinite(cut)) and np.all(np.isfinite(centrality))
    assert np.all(canvas.numpy() == 0) and np.all(coverage.numpy() == 0)
    for gradient in tape.gradient(total, [boxes, images, patches]):
        assert np.all(np.isfinite(gradient))


def test_narrow_boxes_have_bounded_gradients():
    boxes = tf.constant([[[0.5, 0.2, 0.5 + 1e-7, 0.8]]])
    patches = tf.constant(np.random.default_rng(9).normal(size=(1, 1, 4, 4, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        total = tf.reduce_sum(paste(patches, boxes, (8, 8))[0])
    assert np.abs(tape.gradient(total, boxes)).max() < 1e3


def test_half_precision_keeps_float32_positions():
    rng = np.random.default_rng(10)
    images, boxes = rng.uniform(-1, 1, (1, 128, 128, 1)).astype(np.float32), random_boxes(rng, (1, 3))
    half = crop(tf.cast(images, tf.float16), boxes.astype(np.float32), (16, 16))
    assert half.dtype == tf.float16
    np.testing.assert_allclose(half, crop(images, boxes.astype(np.float32), (16, 16)), atol=5e-3)


def test_compiled_with_xla_gives_the_same():
    rng = np.random.default_rng(11)
    images, boxes = tf.constant(rng.normal(size=(2, 6, 6, 3)), tf.float32), tf.constant(random_boxes(rng, (2, 3)))

    @tf.function(jit_compile=True)
    def compiled(images, boxes):
        return paste(crop(images, boxes, (4, 4)), boxes, (6, 6))

    for got, want in zip(compiled(images, boxes), paste(crop(images, boxes, (4, 4)), boxes, (6, 6))):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_unknown_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3]), tf.TensorSpec([None, 2, 4])])
    def traced(images, boxes):
        return paste(crop(images, boxes, (4, 4)), boxes, (6, 6))[0]

    assert traced(tf.zeros([3, 6, 6, 3]), tf.zeros([3, 2, 4])).shape == (3, 2, 6, 6, 3)


def test_log_centrality_by_hand():
    # A box over the left half of a 4 x 2 canvas: pixel centres lie half a half-extent from its middle on either axis.
    got = log_centrality(tf.constant([[[0.0, 0.0, 0.5, 1.0]]]), (2, 4), 0.1)[0, 0]
    inside, outside = 2 * np.log(0.75), np.log(0.75) + np.log(0.1)
    np.testing.assert_allclose(got, [[inside, inside, outside, outside]] * 2, rtol=1e-5)


def test_iou_by_hand():
    a = np.float32([[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 0.2, 0.2], [0.3, 0.3, 0.3, 0.3]])
    b = np.float32([[0.25, 0, 0.75, 0.5], [0.25, 0.25, 0.75, 0.75], [0.5, 0.5, 1, 1], [0.3, 0.3, 0.3, 0.3]])
    np.testing.assert_allclose(box_iou(a, b), [1 / 3, 1 / 4, 0, 0], atol=1e-6)
    np.testing.assert_allclose(box_iou(a, a), [1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(box_iou(a[:, None], b[None]), tf.transpose(box_iou(b[:, None], a[None])), atol=1e-6)


def test_area_of_inverted_boxes_is_zero():
    np.testing.assert_allclose(box_area(tf.constant([[0.2, 0.1, 0.6, 0.6], [0.6, 0.1, 0.2, 0.6]])), [0.2, 0.0])
