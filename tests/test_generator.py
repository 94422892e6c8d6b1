"""The generator: what its picture may depend on, where gradients go, and that it runs everywhere."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import ConfigError, GeneratorConfig
from rgan_tf.models.generator import Generator
from rgan_tf.models.layers import NORMALIZATIONS, ConvBlock, UpsamplingBlock, fold, normalization, unfold
from rgan_tf.models.object_image_fuser import ObjectImageFuser

IMAGE_SIZE, PATCH_SIZE, FEATURES = 16, 8, 5
ARGUMENTS = (
    "patches",
    "boxes",
    "object_mask",
    "object_features",
    "triples",
    "triple_mask",
    "predicate_features",
)


def small_config(**changes):
    settings = {
        "crop_width": 8,
        "crop_size": 4,
        "refiner_layers": 1,
        "canvas_size": 8,
        "canvas_width": 8,
        "residual_blocks": 1,
        "decoder_widths": [8],
    }
    return GeneratorConfig(**{**settings, **changes})


def scene(rng, valid, max_objects, max_triples):
    """One scene of `valid` objects in a ring of relations; padding holds what a batch's padding holds, zeros."""
    low = rng.uniform(0, 0.6, (valid, 2))
    triples = [(i, rng.integers(1, 7), (i + 1) % valid) for i in range(valid)]
    tensors = {
        "patches": rng.uniform(-1, 1, (valid, PATCH_SIZE, PATCH_SIZE, 3)),
        "boxes": np.concatenate([low, low + rng.uniform(0.2, 0.4, (valid, 2))], axis=-1),
        "object_mask": np.ones(valid, bool),
        "object_features": rng.normal(size=(valid, FEATURES)),
        "triples": np.array(triples, np.int32),
        "triple_mask": np.ones(valid, bool),
        "predicate_features": rng.normal(size=(valid, FEATURES)),
    }

    def pad(name, array):
        size = max_triples if name.startswith(("triple", "predicate")) else max_objects
        array = np.asarray(array, np.float32 if array.dtype == np.float64 else array.dtype)
        return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))

    return {name: pad(name, array) for name, array in tensors.items()}


def batch(*scenes):
    return {name: tf.constant(np.stack([one[name] for one in scenes])) for name in ARGUMENTS}


def scenes(seed, max_objects=4, max_triples=5):
    rng = np.random.default_rng(seed)
    return [scene(rng, valid, max_objects, max_triples) for valid in (3, 2)]


@pytest.fixture(scope="module")
def generator():
    tf.keras.utils.set_random_seed(0)
    model = Generator(small_config(), IMAGE_SIZE)
    model(**batch(*scenes(0)))
    return model


def test_shape_type_and_range(generator):
    image = generator(**batch(*scenes(1)))
    assert image.shape == (2, IMAGE_SIZE, IMAGE_SIZE, 3) and image.dtype == tf.float32
    assert -1 <= np.min(image) and np.max(image) <= 1 and np.std(image) > 0.01


def test_a_scene_alone_and_in_a_padded_batch_gives_the_same_image(generator):
    alone = scene(np.random.default_rng(2), 3, max_objects=3, max_triples=3)
    padded = scene(np.random.default_rng(2), 3, max_objects=6, max_triples=9)
    other = scene(np.random.default_rng(3), 6, max_objects=6, max_triples=9)
    together = generator(**batch(other, padded))
    np.testing.assert_allclose(together[1], generator(**batch(alone))[0], atol=1e-5)


def test_nothing_in_padding_is_seen(generator):
    one = batch(*scenes(4))
    dirty = dict(one)
    for name, mask in (
        ("patches", "object_mask"),
        ("boxes", "object_mask"),
        ("object_features", "object_mask"),
        ("predicate_features", "triple_mask"),
    ):
        keep = tf.reshape(one[mask], [*one[mask].shape, *[1] * (one[name].shape.rank - 2)])
        dirty[name] = tf.where(keep, one[name], 0.7)
    np.testing.assert_allclose(generator(**dirty), generator(**one), atol=1e-5)


def test_the_order_of_objects_does_not_matter(generator):
    one = batch(*scenes(5))
    order = np.array([2, 0, 3, 1])
    place = np.argsort(order).astype(np.int32)
    permuted = dict(one)
    for name in ("patches", "boxes", "object_mask", "object_features"):
        permuted[name] = tf.gather(one[name], order, axis=1)
    triples = one["triples"].numpy()
    permuted["triples"] = tf.constant(np.stack([place[triples[..., 0]], triples[..., 1], place[triples[..., 2]]], -1))
    np.testing.assert_allclose(generator(**permuted), generator(**one), atol=1e-5)


def test_relations_matter_and_have_a_direction(generator):
    one = batch(*scenes(6))
    image = generator(**one)
    reversed_ = {**one, "triples": tf.reverse(one["triples"], axis=[-1])}
    without = {**one, "triple_mask": tf.zeros_like(one["triple_mask"])}
    assert np.abs(generator(**reversed_) - image).max() > 1e-3
    assert np.abs(generator(**without) - image).max() > 1e-3


def test_gradients_reach_patches_boxes_features_and_every_weight(generator):
    one = batch(*scenes(7))
    inputs = [one[name] for name in ("patches", "boxes", "object_features", "predicate_features")]
    target = tf.random.stateless_uniform([2, IMAGE_SIZE, IMAGE_SIZE, 3], seed=[0, 1])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_mean(tf.square(generator(**one) - target))
    gradients = tape.gradient(loss, [*inputs, *generator.trainable_variables])
    names = ["patches", "boxes", "object features", "predicate features"]
    for name, gradient in zip(names + [v.name for v in generator.trainable_variables], gradients):
        assert gradient is not None and np.all(np.isfinite(gradient)), name
        assert np.any(gradient.numpy() != 0), name


def test_weights_have_distinct_stable_names(generator):
    names = [variable.name for variable in generator.variables]
    assert len(set(names)) == len(names)
    assert "generator/object_image_fuser/layout_weights:0" in names


def test_pixels_without_any_object_are_finite():
    tf.keras.utils.set_random_seed(1)
    generator = Generator(small_config(), IMAGE_SIZE)
    empty = {name: tf.zeros_like(tensor) for name, tensor in batch(*scenes(8)).items()}
    with tf.GradientTape() as tape:
        image = generator(**empty)
        loss = tf.reduce_sum(tf.square(image - 0.5))
    assert np.all(np.isfinite(image))
    for gradient in tape.gradient(loss, generator.trainable_variables, unconnected_gradients="zero"):
        assert np.all(np.isfinite(gradient))


def test_compiled_calls_give_the_eager_image(generator):
    one = batch(*scenes(9))
    image = generator(**one)
    for jit_compile in (False, True):
        compiled = tf.function(lambda batch: generator(**batch), jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(one), image, atol=1e-5, err_msg=f"jit_compile={jit_compile}")


def cut_out(scenes_in_batch):
    """The same, of patches with mattes that have edges, holes and full parts."""
    patches = scenes_in_batch["patches"]
    alpha = np.random.default_rng(5).choice([-1.0, -0.2, 1.0], (*patches.shape[:-1], 1))
    return {**scenes_in_batch, "patches": tf.concat([patches, tf.constant(alpha, patches.dtype)], axis=-1)}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_equals_eager_with_mattes(jit_compile):
    generator, one = Generator(small_config(), IMAGE_SIZE, mattes=True), cut_out(batch(*scenes(9)))
    compiled = tf.function(lambda batch: generator(**batch), jit_compile=jit_compile)
    np.testing.assert_allclose(generator(**one), compiled(one), atol=1e-5)


@pytest.mark.parametrize("mattes", [False, True])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32_images_and_finite_gradients(policy, mattes):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        generator = Generator(small_config(), IMAGE_SIZE, mattes)
        one = batch(*scenes(10))
        one = cut_out(one) if mattes else one
        with tf.GradientTape() as tape:
            image = generator(**one)
            loss = tf.reduce_mean(tf.square(image))
        gradients = tape.gradient(loss, generator.trainable_variables)
        assert image.dtype == tf.float32 and np.all(np.isfinite(image))
        assert generator.fuser.layout_weights.dtype == tf.float32
        for gradient in gradients:
            assert np.all(np.isfinite(tf.cast(gradient, tf.float32)))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("canvas_size, widths, crop_size", [(16, [], 8), (4, [8, 6], 2)])
def test_sizes_and_normalizations(kind, canvas_size, widths, crop_size):
    config = small_config(canvas_size=canvas_size, decoder_widths=widths, crop_size=crop_size, normalization=kind)
    image = Generator(config, IMAGE_SIZE)(**batch(*scenes(11)))
    assert image.shape == (2, IMAGE_SIZE, IMAGE_SIZE, 3) and np.all(np.isfinite(image))


@pytest.mark.parametrize("blocks", [1, 8])
def test_where_nothing_is_normalized_the_picture_begins_as_the_collage(blocks):
    one = batch(*scenes(13))
    tf.keras.utils.set_random_seed(0)
    generator = Generator(small_config(normalization="none", residual_blocks=blocks), IMAGE_SIZE)
    with tf.GradientTape() as tape:
        image = generator(**one)
        loss = tf.reduce_mean(tf.square(image - 0.5))
    maps = unfold(generator.crop_encoder(fold(one["patches"], 3), fold(one["object_features"], 1)), [4])
    for layer in generator.refiner:
        maps = layer(
            maps, *(one[name] for name in ("object_mask", "triples", "triple_mask", "predicate_features")), False
        )
    _, collage = generator.fuser(maps, one["patches"], one["boxes"], one["object_mask"])
    # But for the range of tanh, which reaches no limit.
    np.testing.assert_allclose(image, 0.98 * collage[..., :3], atol=1e-5)
    assert tape.gradient(loss, generator.decoder.to_colours.kernel).numpy().any()


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match="canvas_size 8.*1 decoder_widths.*64 pixels"):
        Generator(small_config(), 64)
    with pytest.raises(ConfigError, match="crop_size is 3; patches of 8 pixels"):
        Generator(small_config(crop_size=3), IMAGE_SIZE)(**batch(*scenes(12)))
    with pytest.raises(ValueError, match="'batch'; it must be one of instance, group, none"):
        normalization("batch", 8, "norm")


def test_normalization_takes_each_sample_by_itself():
    layer = normalization("instance", 4, "norm")
    values = np.random.default_rng(13).normal(2.0, 3.0, (3, 6, 6, 4)).astype(np.float32)
    want = (values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True)
    np.testing.assert_allclose(layer(values), want, atol=1e-3)
    np.testing.assert_allclose(layer(values[1:2])[0], layer(values)[1], atol=1e-5)


def fused(patches, boxes, object_mask=None):
    """The collage of constant-coloured patches under the fuser's initial layout prior alone."""
    fuser = ObjectImageFuser(small_config(), IMAGE_SIZE)
    patches = tf.constant(patches, tf.float32)[None, :, None, None, None] * tf.ones([1, 1, 8, 8, 3])
    mask = tf.ones([1, len(boxes)], tf.bool) if object_mask is None else tf.constant([object_mask])
    maps = tf.zeros([1, len(boxes), 4, 4, 8])
    fuser(maps, patches, tf.constant([boxes], tf.float32), mask)
    for layer in (fuser.coarse_matte, fuser.fine_matte, fuser.keys):
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    return fuser(maps, patches, tf.constant([boxes], tf.float32), mask)[1].numpy()[0]


def test_the_smaller_box_starts_in_front():
    whole, small = [0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75]
    for patches, boxes in (([-1, 1], [whole, small]), ([1, -1], [small, whole])):
        collage = fused(patches, boxes)
        assert collage[8, 8, 0] > 0.9 and collage[1, 8, 0] < -0.6


def test_attention_and_background_share_every_pixel():
    collage = fused([1.0, 1.0], [[0, 0, 0.5, 1], [0.25, 0, 0.75, 1]])
    np.testing.assert_allclose(collage[..., 0] + collage[..., 3], 1.0, atol=1e-5)
    np.testing.assert_array_equal(collage[:, 12:, 3], 1.0)
    assert collage[:, :12, 3].max() < 0.6
    np.testing.assert_allclose(fused([1.0, 1.0], [[0, 0, 0.5, 1]] * 2, [True, False]), fused([1.0], [[0, 0, 0.5, 1]]))


def test_reconstruction_is_learned_quickly():
    tf.keras.utils.set_random_seed(2)
    generator, optimizer = Generator(small_config(), IMAGE_SIZE), tf.keras.optimizers.Adam(3e-3)
    one = batch(*scenes(14))
    target = tf.image.resize(tf.random.stateless_uniform([2, 4, 4, 3], seed=[3, 4], minval=-0.8, maxval=0.8), [16, 16])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(generator(**one) - target))
        gradients = tape.gradient(loss, generator.trainable_variables)
        optimizer.apply_gradients(zip(gradients, generator.trainable_variables))
        return loss

    losses = [float(step()) for _ in range(150)]
    assert losses[0] > 0.3 and losses[-1] < 0.12, (losses[0], losses[-1])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["none", "instance"])
def test_upsampling_block_is_a_convolution_over_repeated_pixels(kind, compiled):
    rng = np.random.default_rng(3)
    small = tf.constant(rng.normal(size=(2, 5, 6, 7)), tf.float32)
    beside = tf.constant(rng.normal(size=(2, 10, 12, 4)), tf.float32)
    upstream = tf.constant(rng.normal(size=(2, 10, 12, 3)), tf.float32)
    block, plain = UpsamplingBlock(3, normalization_kind=kind), ConvBlock(3, normalization_kind=kind)

    def enlarged():
        return plain(tf.concat([tf.repeat(tf.repeat(small, 2, axis=1), 2, axis=2), beside], axis=-1))

    block((small, beside)), enlarged()
    block.conv.bias.assign(rng.normal(size=3))
    plain.set_weights(block.get_weights())

    def value_and_gradients(call, layer):
        with tf.GradientTape() as tape:
            tape.watch([small, beside])
            result = call()
        return [result, *tape.gradient(result, [small, beside, *layer.trainable_variables], upstream)]

    run = tf.function(value_and_gradients, jit_compile=compiled)
    found, expected = run(lambda: block((small, beside)), block), value_and_gradients(enlarged, plain)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
