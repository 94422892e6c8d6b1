"""D_img and D_obj: shapes, what a logit may depend on, gradients, precision."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import ConfigError, DiscriminatorsConfig
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator

NUM_OBJECTS = 6


def small_config(**changes):
    settings = {"image_width": 4, "image_layers": 2, "object_width": 4, "object_layers": 2, "object_crop_size": 8}
    return DiscriminatorsConfig(**{**settings, **changes})


def inputs(seed, batch=2, objects=3, size=16):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.5, (batch, objects, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.2, 0.5, (batch, objects, 2))], axis=-1)
    return tf.constant(rng.uniform(-1, 1, (batch, size, size, 3)), tf.float32), tf.constant(boxes, tf.float32)


@pytest.fixture(scope="module")
def image_discriminator():
    tf.keras.utils.set_random_seed(0)
    return ImageDiscriminator(small_config())


@pytest.fixture(scope="module")
def object_discriminator():
    tf.keras.utils.set_random_seed(0)
    return ObjectDiscriminator(small_config(), NUM_OBJECTS)


@pytest.mark.parametrize("size, layers, side", [(16, 2, 4), (16, 4, 1), (24, 3, 3), (18, 2, 5)])
def test_image_logits_have_one_place_for_each_patch(size, layers, side):
    logits = ImageDiscriminator(small_config(image_layers=layers))(tf.zeros([2, size, size, 3]))
    assert logits.shape == (2, side, side, 1) and logits.dtype == tf.float32


def test_image_logits_depend_on_their_own_image_alone(image_discriminator):
    images, _ = inputs(1, batch=3)
    np.testing.assert_allclose(image_discriminator(images)[1], image_discriminator(images[1:2])[0], atol=1e-5)
    assert np.abs(image_discriminator(images)[0] - image_discriminator(images)[1]).max() > 1e-3


def test_without_normalization_an_image_logit_sees_its_own_patch_only():
    tf.keras.utils.set_random_seed(1)
    discriminator = ImageDiscriminator(small_config(normalization="none"))
    images, _ = inputs(2, size=32)
    changed = tf.concat([images[:, :, :-4], -images[:, :, -4:]], axis=2)
    difference = np.abs(discriminator(images) - discriminator(changed))[..., 0]
    assert difference[:, :, 0].max() == 0 and difference[:, :, -1].max() > 0


def test_object_logits_have_a_place_for_each_object(object_discriminator):
    logits, class_logits = object_discriminator(*inputs(3))
    assert logits.shape == (2, 3) and class_logits.shape == (2, 3, NUM_OBJECTS)
    assert logits.dtype == class_logits.dtype == tf.float32


def test_object_logits_depend_on_their_own_crop_alone(object_discriminator):
    image, boxes = inputs(4)
    logits, class_logits = object_discriminator(image, boxes)
    padded = tf.pad(boxes, [[0, 0], [0, 2], [0, 0]])
    more, more_classes = object_discriminator(image, padded)
    np.testing.assert_allclose(more[:, :3], logits, atol=1e-5)
    np.testing.assert_allclose(more_classes[:, :3], class_logits, atol=1e-5)
    assert np.all(np.isfinite(more)) and np.all(np.isfinite(more_classes))
    np.testing.assert_allclose(object_discriminator(image[1:], boxes[1:])[0][0], logits[1], atol=1e-5)
    np.testing.assert_allclose(object_discriminator(image, boxes[:, ::-1])[0], logits[:, ::-1], atol=1e-5)


def test_objects_see_nothing_outside_their_box(object_discriminator):
    image, _ = inputs(5)
    boxes = tf.constant([[[0.0, 0.0, 0.5, 1.0]]] * 2)
    changed = tf.concat([image[:, :, :9], -image[:, :, 9:]], axis=2)
    np.testing.assert_array_equal(object_discriminator(image, boxes)[0], object_discriminator(changed, boxes)[0])
    assert np.abs(object_discriminator(image, boxes)[0] - object_discriminator(-image, boxes)[0]).max() > 1e-4


def test_gradients_reach_image_boxes_and_every_weight(image_discriminator, object_discriminator):
    image, boxes = inputs(6)
    image_discriminator(image), object_discriminator(image, boxes)
    weights = image_discriminator.trainable_variables + object_discriminator.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch([image, boxes])
        logits, class_logits = object_discriminator(image, boxes)
        loss = tf.reduce_sum(tf.nn.softplus(image_discriminator(image))) + tf.reduce_sum(tf.square(logits))
        loss += tf.reduce_sum(tf.square(class_logits))
    for gradient in tape.gradient(loss, [image, boxes, *weights]):
        assert gradient is not None and np.all(np.isfinite(gradient)) and np.any(gradient.numpy() != 0)


def test_padded_boxes_have_finite_gradients(object_discriminator):
    image, boxes = inputs(7)[0], tf.zeros([2, 3, 4])
    with tf.GradientTape() as tape:
        tape.watch([image, boxes])
        loss = tf.reduce_sum(object_discriminator(image, boxes)[0])
    for gradient in tape.gradient(loss, [image, boxes]):
        assert np.all(np.isfinite(gradient))


def test_compiled_calls_give_the_eager_logits(image_discriminator, object_discriminator):
    image, boxes = inputs(8)
    want = [image_discriminator(image), *object_discriminator(image, boxes)]
    for jit_compile in (False, True):
        compiled = tf.function(
            lambda image, boxes: [image_discriminator(image), *object_discriminator(image, boxes)],
            jit_compile=jit_compile,
        )
        for got, expected in zip(compiled(image, boxes), want):
            np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32_logits(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        image, boxes = inputs(9)
        outputs = [ImageDiscriminator(small_config())(image)]
        outputs += ObjectDiscriminator(small_config(), NUM_OBJECTS)(image, boxes)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(output.dtype == tf.float32 and np.all(np.isfinite(output)) for output in outputs)


def test_too_many_layers_are_named():
    with pytest.raises(ConfigError, match="discriminators.image_layers: 16 pixels cannot be halved 5 times"):
        ImageDiscriminator(small_config(image_layers=5))(tf.zeros([1, 16, 16, 3]))
    with pytest.raises(ConfigError, match="discriminators.object_layers: 8 pixels cannot be halved 4 times"):
        ObjectDiscriminator(small_config(object_layers=4), NUM_OBJECTS)


def test_objects_are_learned_to_be_told_apart():
    tf.keras.utils.set_random_seed(2)
    discriminator, optimizer = ObjectDiscriminator(small_config(), NUM_OBJECTS), tf.keras.optimizers.Adam(1e-2)
    colours = tf.constant(np.random.default_rng(10).uniform(-1, 1, (2, 4, 1, 1, 3)), tf.float32)
    image = tf.reshape(tf.tile(colours, [1, 1, 16, 4, 1]), [2, 4, 16, 4, 3])
    image = tf.reshape(tf.transpose(image, [0, 2, 1, 3, 4]), [2, 16, 16, 3])  # four stripes an image
    boxes = tf.constant([[[i / 4, 0, (i + 1) / 4, 1] for i in range(4)]] * 2, tf.float32)
    labels = tf.constant([[1, 2, 3, 4], [5, 1, 2, 3]])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            class_logits = discriminator(image, boxes)[1]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, class_logits))
        weights = discriminator.trainable_variables
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        optimizer.apply_gradients(zip(gradients, weights))
        return class_logits

    for _ in range(80):
        class_logits = step()
    np.testing.assert_array_equal(tf.argmax(class_logits, axis=-1), labels)
