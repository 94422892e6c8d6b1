"""Patches with mattes in the models: pasted, continued, shared out, and judged."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from rgan_tf.config import DiscriminatorsConfig, GeneratorConfig, blueprint
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.models.generator import Generator
from rgan_tf.models.object_image_fuser import ObjectImageFuser
from rgan_tf.ops.box_sampling import paste
from rgan_tf.ops.matte_fill import continue_colours, fill_holes


def make_fuser(with_mattes):
    tf.keras.utils.set_random_seed(0)
    fuser = ObjectImageFuser(GeneratorConfig(canvas_size=8, crop_width=4), 16, with_mattes)
    channels = 4 if with_mattes else 3
    fuser(tf.zeros([1, 2, 4, 4, 4]), tf.zeros([1, 2, 8, 8, channels]), tf.zeros([1, 2, 4]), tf.ones([1, 2], bool))
    return fuser


def fused_inputs(alpha):
    random = np.random.default_rng(1)
    maps = tf.constant(random.normal(size=(1, 2, 4, 4, 4)), tf.float32)
    colours = random.uniform(-1, 1, (1, 2, 8, 8, 3))
    patches = tf.constant(np.concatenate([colours, 2 * alpha - 1], axis=-1), tf.float32)
    boxes = tf.constant([[[0.0, 0.0, 1.0, 1.0], [0.25, 0.25, 0.75, 0.75]]])
    return maps, patches, boxes, tf.ones([1, 2], bool)


def test_full_mattes_fuse_as_boxes_do():
    plain, fuser = make_fuser(False), make_fuser(True)
    # Boxes of which no matte is learned, and keys so short that their bound does not show.
    for weight in (*plain.coarse_matte.weights, *plain.fine_matte.weights):
        weight.assign(tf.zeros_like(weight))
    plain.keys.set_weights([0.01 * weight for weight in plain.keys.get_weights()])
    for mine, theirs in zip((fuser.keys, fuser.query), (plain.keys, plain.query)):
        mine.set_weights(theirs.get_weights())
    for name in ("background", "layout_weights"):
        getattr(fuser, name).assign(getattr(plain, name))
    # Of boxes the background's share is black, of mattes what is around.
    for each in (plain, fuser):
        each.background_logit.assign(-30.0)
    maps, patches, boxes, mask = fused_inputs(np.ones((1, 2, 8, 8, 1)))
    for found, expected in zip(fuser(maps, patches, boxes, mask), plain(maps, patches[..., :3], boxes, mask)):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_hole_shows_what_lies_behind():
    fuser, alpha = make_fuser(True), np.ones((1, 2, 8, 8, 1))
    alpha[0, 1, :, 4:] = 0.0  # The right half of the small object in front.
    maps, patches, boxes, mask = fused_inputs(alpha)
    canvas, collage = fuser(maps, patches, boxes, mask)
    alone = tf.constant([[True, False]])
    canvas_behind, collage_behind = fuser(maps, patches, boxes, alone)
    # Pixels 8 to 11 of rows 4 to 11 lie in the hole, the outer ones clear of interpolation with the other half.
    np.testing.assert_allclose(collage[0, 5:11, 9:11, :3], collage_behind[0, 5:11, 9:11, :3], atol=0.01)
    assert np.abs(collage[0, 5:11, 5:7] - collage_behind[0, 5:11, 5:7]).max() > 0.1
    assert np.abs(canvas - canvas_behind).max() > 1e-3


def test_keys_put_nothing_behind_what_is_much_larger():
    fuser = make_fuser(True)
    maps, patches, boxes, mask = fused_inputs(np.ones((1, 2, 8, 8, 1)))
    colours = tf.constant([-1.0, 1.0])[None, :, None, None, None] * tf.ones_like(patches[..., :3])
    patches = tf.concat([colours, patches[..., 3:]], axis=-1)
    kernel, bias = fuser.keys.get_weights()
    shares = []
    for scale in (-1e4, 1e4):
        fuser.keys.set_weights([scale * kernel, bias])
        _, collage = fuser(maps, patches, boxes, mask)
        shares.append((collage[0, 6:10, 6:10, 0] + 1.0) / 2.0)
    # The small one has a quarter of the other's size, which stands for 3 log 4; keys for at most 3.
    least = 1.0 / (1.0 + np.exp(3.0 - 3.0 * np.log(4.0)))
    assert least - 1e-3 < np.min(shares) < least + 0.1


def test_where_nobody_stands_the_larger_ones_colours_go_on():
    fuser, alpha = make_fuser(True), np.ones((1, 2, 8, 8, 1))
    alpha[0, 0, 2:6, 2:6] = 0.0  # A hole in the large one, larger than the small one, which has its right half alone.
    alpha[0, 1, :, :4] = 0.0
    maps, patches, boxes, mask = fused_inputs(alpha)
    patches = continue_colours(patches)
    _, collage = fuser(maps, patches, boxes, mask)
    alone, _ = paste(patches[:, :1], boxes[:, :1], [16, 16])
    hole = (slice(None), slice(6, 10), slice(5, 7))
    np.testing.assert_allclose(collage[hole][..., 3], 1.0, atol=0.01)
    # The small one's colours go on there too, for a small share.
    assert np.abs(collage[hole][..., :3] - alone[:, 0][hole][..., :3]).max() < 0.25
    # Where no box is the colours go on as well, and the canvas has the background.
    canvas, collage = fuser(maps, patches, boxes * 0.5, mask)
    np.testing.assert_allclose(collage[0, 8:, 8:, 3], 1.0, atol=1e-6)
    assert collage[0, :8, 8:, :3].numpy().std(axis=0).min() > 0.01
    np.testing.assert_allclose(canvas[0, 4:, 4:], np.broadcast_to(fuser.background, (4, 4, 4)), atol=1e-6)
    _, empty = fuser(maps, patches, boxes, tf.zeros([1, 2], bool))
    np.testing.assert_allclose(empty, np.broadcast_to([0.0, 0.0, 0.0, 1.0], (1, 16, 16, 4)), atol=1e-6)


def brute_force_mean(colours, weights):
    """The mean colour around each pixel by the formula, from all pixels."""
    height, width = weights.shape
    result = np.empty_like(colours)
    for y, x in np.ndindex(height, width):
        far = np.abs(np.arange(height) - y)[:, None] / height + np.abs(np.arange(width) - x) / width
        near = weights * np.exp(-16 * far)
        result[y, x] = np.einsum("ij,ijc->c", near, colours) / near.sum()
    return result


def test_holes_are_filled_by_the_formula():
    random = np.random.default_rng(6)
    patches, shares = random.uniform(-1, 1, (2, 3, 9, 11, 3)), random.dirichlet([0.3] * 4, (2, 9, 11))
    shares[:, 3:6, 4:, :3], shares[:, 3:6, 4:, 3] = 0.0, 1.0
    shares, nobody = np.moveaxis(shares[..., :3], -1, 1), shares[..., 3]
    found = fill_holes(*(tf.constant(value, tf.float32) for value in (patches, shares, nobody)))
    for one, patch, share, rest in zip(found, patches, shares, nobody):
        weights = share * share.mean(axis=(1, 2), keepdims=True) ** 2
        colours = np.einsum("nhw,nhwc->hwc", weights, patch) / np.maximum(weights.sum(axis=0), 1e-9)[..., None]
        around = brute_force_mean(colours, weights.sum(axis=0))
        np.testing.assert_allclose(one, np.einsum("nhw,nhwc->hwc", share, patch) + rest[..., None] * around, atol=1e-5)


def brute_force_continuation(patch):
    """Each pixel's colour by the formula."""
    opacity, result = (patch[..., 3:] + 1) / 2, patch.copy()
    around = brute_force_mean(patch[..., :3], opacity[..., 0])
    result[..., :3] = opacity * patch[..., :3] + (1 - opacity) * around
    return result


def test_colours_go_on_beyond_a_matte_by_the_formula():
    random = np.random.default_rng(2)
    patches = random.uniform(-1, 1, (3, 10, 12, 4))
    patches[0, :, 3:, 3] = -1.0
    patches[1, ..., 3] = 1.0
    found = continue_colours(tf.constant(patches, tf.float32)).numpy()
    for one, patch in zip(found, patches):
        np.testing.assert_allclose(one, brute_force_continuation(patch), atol=1e-5)
    np.testing.assert_allclose(found[1], patches[1], atol=1e-6)
    # One pixel in a corner of the largest patches is enough; and nothing at all is grey.
    single = np.full((2, 256, 256, 4), -1.0, np.float32)
    single[0, 0, 0] = [0.5, -0.25, 1.0, 1.0]
    with tf.GradientTape() as tape:
        tape.watch(source := tf.constant(single))
        found = continue_colours(source)
    np.testing.assert_allclose(found[0, ..., :3], np.broadcast_to([0.5, -0.25, 1.0], (256, 256, 3)), atol=1e-5)
    np.testing.assert_array_equal(found[1, ..., :3], 0.0)
    assert np.abs(tape.gradient(found, source)).max() < 1e5
    half = continue_colours(tf.constant(patches, tf.float16))
    assert half.dtype == tf.float16
    np.testing.assert_allclose(half, [brute_force_continuation(patch) for patch in patches], atol=5e-3)
    np.testing.assert_array_equal(continue_colours(source[..., :3]), source[..., :3])


def test_a_generator_sees_nothing_of_an_objects_surroundings():
    config = tiny_config("data.mattes=true,patch_bank.mattes=true")
    tf.keras.utils.set_random_seed(0)
    generator = Generator(config.generator, config.data.image_size, mattes=True)
    random, side = np.random.default_rng(0), config.patch_bank.patch_size
    patches = random.uniform(-1, 1, (1, 2, side, side, 4)).astype(np.float32)
    patches[..., 3] = np.where(patches[..., 3] > 0, 1.0, -1.0)
    other = np.where(patches[..., 3:] < 0, random.uniform(-1, 1, patches.shape), patches).astype(np.float32)
    other[..., 3] = patches[..., 3]
    boxes, features = tf.constant([[[0.0, 0.0, 1.0, 1.0], [0.2, 0.3, 0.7, 0.8]]]), tf.zeros([1, 2, 8])
    graph = (tf.ones([1, 2], bool), features, tf.constant([[[0, 1, 1]]]), tf.ones([1, 1], bool), features[:, :1])
    one, two = (generator(tf.constant(each), boxes, *graph).numpy() for each in (patches, other))
    np.testing.assert_allclose(one, two, atol=1e-5)
    counted = blueprint.generator(config.generator, config.patch_bank, config.data.image_size, 2, 1, 8).parameters
    assert counted == sum(weight.shape.num_elements() for weight in generator.weights)
    patches[..., :3] = -patches[..., :3]
    assert np.abs(generator(tf.constant(patches), boxes, *graph) - one).max() > 0.05


def test_gradients_reach_a_matte():
    fuser = make_fuser(True)
    maps, patches, boxes, mask = fused_inputs(np.full((1, 2, 8, 8, 1), 0.6))
    with tf.GradientTape() as tape:
        tape.watch(patches)
        value = tf.reduce_sum(fuser(maps, patches, boxes, mask)[1][..., 3])
    slope = tape.gradient(value, patches).numpy()
    # Small, for a longer step meets a bend of the fine matte's ReLU.
    step, place = 1e-3, (0, 1, 3, 2, 3)
    ends = []
    for change in (step, -step):
        moved = patches.numpy()
        moved[place] += change
        # In float64: a float32 sum over the picture would round the difference away.
        ends.append(fuser(maps, tf.constant(moved), boxes, mask)[1][..., 3].numpy().astype(np.float64))
    assert slope[place] == pytest.approx((ends[0] - ends[1]).sum() / (2 * step), rel=0.01) and slope[place] != 0


def test_slopes_at_thin_edges_are_bounded():
    """One pixel that a box or an object hardly touches must not outweigh all others."""
    fuser, random = make_fuser(True), np.random.default_rng(3)
    maps = tf.constant(random.normal(size=(1, 2, 4, 4, 4)), tf.float32)
    alpha = random.choice([0.0, 1e-7, 1e-4, 0.5, 1.0 - 1e-7, 1.0], (1, 2, 8, 8, 1))
    patches = np.concatenate([random.uniform(-1, 1, (1, 2, 8, 8, 3)), 2 * alpha - 1], axis=-1)
    largest = []
    for edge in (0.25, 0.25 + 1e-9, 0.25 - 1e-7, 0.25 + 1e-5, 0.27):
        given = [
            maps,
            tf.constant(patches, tf.float32),
            tf.constant([[[0, 0, 1, 1], [edge, 0.25, 0.75 + edge / 9, 0.8]]]),
        ]
        with tf.GradientTape() as tape:
            tape.watch(given)
            canvas, collage = fuser(maps, continue_colours(given[1]), given[2], tf.ones([1, 2], bool))
            value = tf.reduce_sum(canvas**2) + tf.reduce_sum(collage**2)
        largest.append([np.abs(slope).max() for slope in tape.gradient(value, given)])
    # As large as of a plain edge, the last one.
    assert (np.max(largest[:-1], axis=0) < 4 * np.array(largest[-1])).all(), largest


def test_canvas_and_collage_are_means_of_what_is_pasted():
    fuser, alpha = make_fuser(True), np.ones((1, 2, 8, 8, 1))
    alpha[0, 0], alpha[0, 1, :, :2] = 0.0, 0.0  # Nobody stands where the small box begins.
    maps, patches, _, mask = fused_inputs(alpha)
    patches = continue_colours(patches)
    # It begins in the middle of a cell of two pixels, and touches the other one by hundredths of a percent and more.
    for more in (0.0, 5e-5, 1e-4, 1e-3):
        boxes = tf.constant([[[0.0, 0.0, 1.0, 1.0], [5 / 16 - more, 0.25, 0.75, 0.75]]])
        canvas, collage = fuser(maps, patches, boxes, mask)
        assert np.abs(canvas).max() <= np.abs(maps).max()
        assert np.abs(collage[..., :3]).max() <= np.abs(patches[..., :3]).max()


def test_d_obj_sees_mattes_where_there_are_any():
    settings = DiscriminatorsConfig(object_width=8, object_layers=2, object_crop_size=8)
    critic = ObjectDiscriminator(settings, 3)
    _, patches, boxes, _ = fused_inputs(np.random.default_rng(0).uniform(size=(1, 2, 8, 8, 1)))
    image = tf.zeros([1, 16, 16, 3])
    crops = critic.crops(image, boxes, patches)
    assert crops.shape == (1, 2, 8, 8, 4)
    # As large as they are looked at, mattes stay what they are.
    np.testing.assert_allclose(crops[..., 3], patches[..., 3], atol=1e-6)
    np.testing.assert_array_equal(crops[..., :3], critic.crops(image, boxes, patches[..., :3]))
    logits, _ = critic(image, boxes, patches=patches)
    other, _ = critic(image, boxes, patches=tf.concat([patches[..., :3], -patches[..., 3:]], axis=-1))
    assert np.abs(logits - other).max() > 1e-5
