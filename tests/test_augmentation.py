"""Random changes of pictures: each against a reference in loops, and gradients through them."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.ops.augmentation import DRAWS, KINDS, augment

SIDES = [(16, 16), (12, 20), (9, 9)]


def pictures(seed, height=16, width=16, count=5):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, height, width, 3)), rng.uniform(0, 1, (count, DRAWS))


def recoloured(image, draws):
    image = image + draws[0] - 0.5
    grey = image.mean(axis=-1, keepdims=True)
    image = grey + (image - grey) * 2 * draws[1]
    return image.mean() + (image - image.mean()) * (draws[2] + 0.5)


def moved(image, draws):
    """Pixel by pixel."""
    steps = []
    for side, draw in zip(image.shape[:2], draws):
        farthest = int(side / 8 + 0.5)
        steps.append(int(draw * (2 * farthest + 1)) - farthest)
    result = np.zeros_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            source = y - steps[0], x - steps[1]
            if all(0 <= place < side for place, side in zip(source, image.shape)):
                result[y, x] = image[source]
    return result


def cut(image, draws):
    """A hole of half the side whose middle may be on the far edge too."""
    bounds = []
    for side, draw in zip(image.shape[:2], draws):
        length = int(side / 2 + 0.5)
        first = int(draw * (side + 1 - length % 2)) - length // 2
        bounds.append(slice(max(first, 0), max(first + length, 0)))
    result = image.copy()
    result[tuple(bounds)] = 0
    return result


@pytest.mark.parametrize("height, width", SIDES)
def test_each_kind_is_its_reference(height, width):
    images, draws = pictures(0, height, width)
    for kind, reference, columns in (
        ("colour", recoloured, slice(0, 3)),
        ("translation", moved, slice(3, 5)),
        ("cutout", cut, slice(5, 7)),
    ):
        found = augment(tf.constant(images, tf.float32), tf.constant(draws, tf.float32), [kind])
        expected = [reference(image, each[columns]) for image, each in zip(images, draws)]
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=kind)
        assert np.abs(found - images).max() > 0.1


def test_kinds_follow_each_other_in_one_order():
    images, draws = pictures(1)
    images, draws = tf.constant(images, tf.float32), tf.constant(draws, tf.float32)
    one_by_one = images
    for kind in KINDS:
        one_by_one = augment(one_by_one, draws, [kind])
    np.testing.assert_array_equal(augment(images, draws, KINDS[::-1]), one_by_one)
    assert augment(images, draws, []) is images
    with pytest.raises(ValueError, match="Augmentation 'blur' is not known"):
        augment(images, draws, ["blur"])


def test_pictures_are_moved_as_far_either_way_and_stay_in_place_at_times():
    count = 4000
    images = tf.tile(tf.one_hot([8], 16)[:, None, :, None], [count, 16, 1, 3])
    draws = tf.random.stateless_uniform([count, DRAWS], [1, 2])
    places = np.argmax(augment(images, draws, ["translation"])[:, 8, :, 0], axis=-1)
    counts = np.bincount(places, minlength=16)
    assert set(np.flatnonzero(counts)) == set(range(6, 11))
    np.testing.assert_allclose(counts[6:11], count / 5, rtol=0.1)


def test_gradients_are_finite_differences_and_compile():
    images, draws = pictures(2, 6, 6, 2)
    images, draws = tf.constant(images, tf.float32), tf.constant(draws, tf.float32)
    weights = tf.random.stateless_normal(images.shape, [3, 4])

    def score(images):
        return tf.reduce_sum(weights * augment(images, draws, KINDS))

    (theoretical,), (numerical,) = tf.test.compute_gradient(score, [images], delta=1e-2)
    np.testing.assert_allclose(theoretical, numerical, atol=2e-3)
    assert np.abs(theoretical).max() > 0.1
    compiled = tf.function(lambda images: augment(images, draws, KINDS), jit_compile=True)(images)
    np.testing.assert_allclose(compiled, augment(images, draws, KINDS), atol=1e-5)


def test_the_type_of_pictures_stays():
    images, draws = pictures(3)
    found = augment(tf.cast(images, tf.bfloat16), tf.constant(draws, tf.float32), KINDS)
    assert found.dtype == tf.bfloat16
    exact = augment(tf.cast(tf.cast(images, tf.bfloat16), tf.float32), tf.constant(draws, tf.float32), KINDS)
    np.testing.assert_allclose(tf.cast(found, tf.float32), exact, atol=0.05)
