"""Sizes that cannot fit together: refused when a configuration is read where the models would refuse them later."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

from rgan_tf.config import ConfigError, DiscriminatorsConfig, FeatureNetworkConfig, GeneratorConfig, load_config, sizes
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.models.feature_network import FeatureNetwork
from rgan_tf.models.generator import Generator

# tests/tiny.yaml has pictures of 32 pixels, patches of 16, crops of objects of 8.
TOGETHER = {
    "discriminators.image_layers=6": "discriminators.image_layers: 32 pixels cannot be halved 6 times",
    "discriminators.object_layers=4": "discriminators.object_layers: 8 pixels cannot be halved 4 times",
    "discriminators.image_layers=5": "discriminators.image_layers 5 leaves maps of one pixel",
    "discriminators.object_layers=3": "discriminators.object_layers 3 leaves maps of one pixel",
    "generator.crop_size=5": "generator.crop_size is 5; patches of 16 pixels",
    "generator.crop_size=32": "generator.crop_size is 32; patches of 16 pixels",
    "generator.decoder_widths=[8,8]": "gives 64, not the 32 pixels of data.image_size",
    "generator.canvas_size=1,generator.decoder_widths=[8,8,8,8,8]": "generator.canvas_size 1 leaves maps of one pixel",
    "losses.feature_network.layers=[block5_conv1]": "object_crop_size is 8; .* block5_conv1, needs at least 16",
    "losses.feature_network.layers=[block1_conv3]": "VGG19 has no layer 'block1_conv3'",
    "losses.feature_network.layers=[pool_3]": "VGG19 has no layer 'pool_3'",
    "retrieval.marginal_gradient=true,retrieval.straight_through=false": "set retrieval.straight_through to true",
    "candidates.k_max=2": "candidates.k_max is 2; it must be at least candidates.k_train, 3",
    "data.max_objects=2": "data.max_objects is 2; it must be at least data.min_objects, 3",
    "data.max_triples=3": "data.max_triples is 3; it must be at least data.max_objects, 4",
    "data.min_objects=1,data.max_objects=2": "synthetic_scenes draws 3 to 14 objects",
    "data.min_objects=15,data.max_objects=20,data.max_triples=20": "synthetic_scenes draws 3 to 14 objects",
    "data.builder=coco_stuff": "data.source_dir is empty",
    "evaluation.network=saved_model": "evaluation.handle is empty",
    "seed=2147483647,repetition=1": "seed is 2147483647 and repetition 1; .* 2148483650, which must be at most",
    "training.panel_interval=3": "training.panel_interval is 3; it must be a multiple of training.summary_interval",
    "evaluation.in_domain.steps=1000000000": "in_domain.steps is 1000000000 and .*batch_size 8; their product",
    "runtime.task_index=1": "runtime.task_index is 1, and runtime.worker_hosts names no other",
}


@pytest.mark.parametrize("override", TOGETHER)
def test_what_cannot_go_together_is_one_sentence(override):
    with pytest.raises(ConfigError, match=TOGETHER[override]) as caught:
        tiny_config(override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "generator.crop_size=16",
        "generator.canvas_size=32,generator.decoder_widths=[]",
        "generator.canvas_size=8,generator.decoder_widths=[8,4]",
        "discriminators.image_layers=4,discriminators.object_layers=1",
        "discriminators.image_layers=5,discriminators.object_layers=3,discriminators.normalization=group",
        "losses.feature_network.layers=[block4_conv4]",
        "losses.feature_network.layers=[pool_3],losses.feature_network.handle=somewhere",
        "data.min_objects=1,data.max_objects=14,data.max_triples=14",
        "data.builder=coco_stuff,data.source_dir=none,data.min_objects=1,data.max_objects=2",
        "seed=2146483644,repetition=1",
    ],
)
def test_what_goes_together_is_accepted(override):
    tiny_config(override)


def test_every_shipped_configuration_is_accepted():
    for path in (REPOSITORY / "configs").rglob("*.yaml"):
        if path.parent.name != "scenes":
            load_config(path)


@pytest.mark.parametrize(
    "hosts, index, words",
    [
        ("a:1,b:2", 2, "task_index is 2; it must be .* from 0 to 1"),
        ("a:1,b:2", -1, "task_index is -1"),
        ("a:1,a:1", 0, "worker_hosts is 'a:1,a:1'; it must name every worker once"),
        ("a:1,b:70000", 0, "worker_hosts names 'b:70000'; its port"),
        ("a:1, b:2", 0, "worker_hosts is 'a:1, b:2'; it must be text"),
        ("a:1,b:2", 1, ""),
        ("[::1]:2222,10.0.0.1:2222", 0, ""),
    ],
)
def test_workers_and_their_places(tmp_path, hosts, index, words):
    path = tmp_path / "config.yaml"
    path.write_text(f"runtime: {{worker_hosts: '{hosts}', task_index: {index}}}")
    if not words:
        assert load_config(path).runtime.worker_hosts == hosts
        return
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def generate(patch_size, image_size, **settings):
    generator = Generator(GeneratorConfig(crop_width=2, canvas_width=2, residual_blocks=0, **settings), image_size)
    scene = [tf.zeros([1, 1, patch_size, patch_size, 3]), tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), tf.ones([1, 1], bool)]
    triples = [tf.zeros([1, 1, 3], tf.int32), tf.ones([1, 1], bool), tf.zeros([1, 1, 2])]
    return generator(*scene, tf.zeros([1, 1, 2]), *triples)


@pytest.mark.parametrize("patch_size, crop_size", [(8, 3), (8, 16), (12, 8), (8, 8), (8, 2), (12, 6)])
def test_the_crop_encoder_refuses_the_same_patches(patch_size, crop_size):
    def build():
        generate(patch_size, 8, crop_size=crop_size, canvas_size=8, decoder_widths=[])

    agree(lambda: sizes.crop_halvings(patch_size, crop_size), build)


@pytest.mark.parametrize("canvas_size, doublings", [(4, 1), (4, 0), (8, 0), (2, 1), (2, 2), (3, 1)])
def test_the_generator_refuses_the_same_canvases(canvas_size, doublings):
    def build():
        generate(8, 8, crop_size=8, canvas_size=canvas_size, decoder_widths=[2] * doublings)

    agree(lambda: sizes.check_canvas(canvas_size, doublings, 8), build)


@pytest.mark.parametrize("size, layers", [(8, 3), (8, 4), (4, 2), (7, 3), (9, 3)])
def test_the_critics_refuse_the_same_depths(size, layers):
    config = DiscriminatorsConfig(
        image_width=2, image_layers=layers, object_width=2, object_layers=layers, object_crop_size=size
    )
    image, boxes = tf.zeros([1, size, size, 3]), tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    agree(lambda: sizes.check_depth(size, layers, "layers"), lambda: ImageDiscriminator(config)(image))
    agree(lambda: sizes.check_depth(size, layers, "layers"), lambda: ObjectDiscriminator(config, 3)(image, boxes))


@pytest.mark.parametrize("layer", ["block0_conv1", "block1_conv3", "block2_conv3", "block3_conv5", "block5_conv5", "x"])
def test_the_feature_network_refuses_the_same_layers(layer):
    def build():
        FeatureNetwork(FeatureNetworkConfig(weights="random", layers=[layer]))

    agree(lambda: sizes.vgg19_position(layer), build)


def test_the_feature_network_refuses_the_same_sizes():
    layers = ["block1_conv2", "block3_conv1"]
    network = FeatureNetwork(FeatureNetworkConfig(weights="random", layers=layers))
    least = sizes.vgg19_least_size(layers)
    network(tf.zeros([1, least, least, 3]))
    with pytest.raises(ConfigError, match="too small"):
        network(tf.zeros([1, least - 1, least, 3]))


def agree(rule, build):
    """Both raise a `ConfigError`, or neither does."""
    try:
        rule()
    except ConfigError:
        with pytest.raises(ConfigError):
            build()
    else:
        build()


def test_instance_normalization_blinds_a_critic_whose_maps_are_one_pixel():
    images, boxes = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)), tf.float32), tf.zeros([2, 1, 4])
    boxes += tf.constant([0.0, 0.0, 1.0, 1.0])

    def spread(**settings):
        config = DiscriminatorsConfig(object_width=8, object_crop_size=8, **settings)
        logits, _ = ObjectDiscriminator(config, 3)(images, boxes)
        return float(tf.abs(logits[0] - logits[1]))

    assert spread(object_layers=3) == 0.0  # Refused.
    assert spread(object_layers=2) > 0.0 and spread(object_layers=3, normalization="group") > 0.0
