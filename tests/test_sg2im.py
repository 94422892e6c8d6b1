"""sg2im against NumPy and SciPy references from its paper, and its properties."""

import dataclasses
import shutil

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

from pipelines.input_pipeline import evaluation_batches, training_batches
from rgan_tf import config as config_lib
from rgan_tf import evaluate
from rgan_tf.baselines.sg2im import model as sg2im
from rgan_tf.baselines.sg2im.system import SYSTEM
from rgan_tf.baselines.sg2im.trainer import Models, Sg2imTrainer
from rgan_tf.config import ConfigError
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.scene_generator import load
from rgan_tf.scene_graph import SceneError
from rgan_tf.training import artifacts
from rgan_tf.training.stages import StageRunner
from rgan_tf.training.systems import example_batch
from rgan_tf.workspace import Workspace

TINY = "model=sg2im,baseline.refinement_widths=[12,8],baseline.mask_size=4,graph_encoder.embedding_dim=8"


def configured(more=""):
    return tiny_config(f"{TINY},{more}".rstrip(","))


@pytest.fixture(scope="module")
def workspace(tiny_workspace, tmp_path_factory):
    """A workspace with the data set alone, in which sg2im was trained."""
    root = tmp_path_factory.mktemp("sg2im") / "w"
    shutil.copytree(tiny_workspace.root / "dataset", root / "dataset")
    workspace = Workspace(root, "sg2im")
    StageRunner(workspace, configured(), tf.distribute.get_strategy()).run()
    return workspace


@pytest.fixture(scope="module")
def batch(tiny_workspace):
    source = artifacts.scene_source(tiny_workspace, tiny_config(), "validation")
    return next(iter(evaluation_batches(source, 4)))


@pytest.fixture(scope="module")
def names(tiny_workspace):
    return artifacts.vocabulary(tiny_workspace)


def built(config, names):
    tf.keras.utils.set_random_seed(3)
    model = sg2im.Sg2im(config, names.num_objects, names.num_predicates)
    batch = example_batch(config, names)
    model(batch, batch["boxes"], batch["object_mask"])
    return model


def convolved(maps, layer, slope):
    """A same-padded convolution of [H, W, C] with a Keras layer's weights, and leaky ReLU, by SciPy."""
    kernel, bias = (weight.numpy() for weight in layer.conv.weights)
    outputs = [
        sum(scipy.signal.correlate2d(maps[..., c], kernel[..., c, f], "same") for c in range(maps.shape[-1]))
        for f in range(kernel.shape[-1])
    ]
    outputs = np.stack(outputs, axis=-1) + bias
    return np.where(outputs > 0, outputs, slope * outputs)


def doubled(maps):
    return np.kron(maps, np.ones((2, 2, 1)))


def test_masks_are_those_of_the_paper(names):
    model, features = (
        built(configured("baseline.normalization=none"), names),
        np.random.default_rng(0).normal(size=(3, 8)),
    )
    found = model.masks(tf.constant(features, tf.float32)).numpy()
    for feature, mask in zip(features, found):
        maps = feature[None, None]
        for block in model.masks.blocks:
            maps = convolved(doubled(maps), block, 0.0)
        kernel, bias = (weight.numpy() for weight in model.masks.to_logits.weights)
        logits = maps @ kernel[0, 0] + bias
        np.testing.assert_allclose(mask, 1 / (1 + np.exp(-logits[..., 0])), rtol=1e-4)
    assert found.shape == (3, 4, 4)


def test_refinement_is_that_of_the_paper(names):
    model, rng = built(configured("baseline.normalization=none"), names), np.random.default_rng(1)
    layout, noise = rng.normal(size=(32, 32, 8)), rng.normal(size=(8, 8, 1))
    found = model.refinement(*(tf.constant(value[None], tf.float32) for value in (layout, noise)))[0].numpy()
    maps = noise
    for size, (first, second) in zip((16, 32), model.refinement.levels):
        shrunk = layout.reshape(size, 32 // size, size, 32 // size, 8).mean(axis=(1, 3))
        maps = np.concatenate([shrunk, doubled(maps)], axis=-1)
        maps = convolved(convolved(maps, first, 0.2), second, 0.2)
    kernel, bias = (weight.numpy() for weight in model.refinement.to_colours.weights)
    expected = convolved(maps, model.refinement.hidden, 0.2) @ kernel[0, 0] + bias
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_full_mask_fills_its_box_with_the_objects_features():
    features = np.random.default_rng(2).normal(size=(1, 3, 5)).astype(np.float32)
    boxes = np.array([[[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1], [0, 0, 1, 1]]], np.float32)
    mask = np.array([[True, True, False]])
    layout = sg2im.scene_layout(features, tf.ones([1, 3, 4, 4]), boxes, mask, 8).numpy()[0]
    expected = np.zeros((8, 8, 5), np.float32)
    expected[:4, :4] += features[0, 0]
    expected[2:, 2:] += features[0, 1]
    np.testing.assert_allclose(layout, expected, atol=1e-5)


def test_masks_are_warped_bilinearly():
    rng = np.random.default_rng(3)
    masks = rng.random((1, 1, 4, 4)).astype(np.float32)
    layout = sg2im.scene_layout(tf.ones([1, 1, 1]), masks, [[[0.0, 0.0, 1.0, 1.0]]], [[True]], 8).numpy()[0, ..., 0]
    places = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    low = np.minimum(places.astype(int), 2)
    share = places - low
    rows = masks[0, 0][low] * (1 - share)[:, None] + masks[0, 0][low + 1] * share[:, None]
    expected = rows[:, low] * (1 - share) + rows[:, low + 1] * share
    np.testing.assert_allclose(layout, expected, rtol=1e-5)


def drawn(model, batch):
    given = tf.zeros_like(batch["object_mask"])
    return model(batch, batch["boxes"], given)


def test_the_order_of_objects_and_padding_change_nothing(names, batch):
    model = built(configured(), names)
    first = drawn(model, batch)
    order = np.array([2, 0, 3, 1])
    place = np.argsort(order).astype(np.int32)
    permuted = {name: tf.gather(batch[name], order, axis=1) for name in ("objects", "object_mask", "boxes")}
    triples = batch["triples"].numpy()
    triples[..., 0], triples[..., 2] = place[triples[..., 0]], place[triples[..., 2]]
    second = drawn(model, {**batch, **permuted, "triples": tf.constant(triples)})
    np.testing.assert_allclose(second.image, first.image, atol=2e-5)
    padded = {
        name: tf.pad(batch[name], [[0, 0], [0, 3]] + [[0, 0]] * (len(batch[name].shape) - 2)) for name in permuted
    }
    third = drawn(model, {**batch, **padded})
    np.testing.assert_allclose(third.image, first.image, atol=2e-5)
    np.testing.assert_allclose(third.encoding.boxes[:, :4], first.encoding.boxes, atol=1e-6)


def test_given_boxes_are_used_and_seeds_count(names, batch):
    model = built(configured(), names)
    first = model(batch, batch["boxes"], batch["object_mask"])
    moved = model(batch, batch["boxes"] * 0.5, batch["object_mask"])
    assert np.abs(first.image - moved.image).max() > 1e-3
    unused = model(batch, batch["boxes"] * 0.5, tf.zeros_like(batch["object_mask"]))
    np.testing.assert_array_equal(unused.image, drawn(model, batch).image)
    other = model({**batch, "scene_seed": batch["scene_seed"] + 1}, batch["boxes"], batch["object_mask"])
    assert np.abs(first.image - other.image).max() > 1e-4


def test_published_widths_have_the_published_layers():
    """Parameters counted from the paper's layers: the graph network, the masks', five modules, two convolutions."""
    path = REPOSITORY / "configs" / "baselines" / "sg2im.yaml"
    config = config_lib.load_config(
        path,
        "data.source_dir=x,data.image_size=64,generator.canvas_size=16,"
        "baseline.refinement_widths=[1024,512,256,128,64]",
    )
    model = sg2im.Sg2im(config, 172, 7)
    batch = {
        "objects": tf.ones([1, 8], tf.int32),
        "object_mask": tf.ones([1, 8], bool),
        "boxes": tf.zeros([1, 8, 4]),
        "triples": tf.zeros([1, 8, 3], tf.int32),
        "triple_mask": tf.ones([1, 8], bool),
        "scene_seed": tf.zeros([1, 2], tf.int32),
    }
    model(batch, batch["boxes"], batch["object_mask"])

    def dense(inputs, outputs):
        return (inputs + 1) * outputs

    def conv(inputs, outputs, normalized=True):
        return 9 * inputs * outputs + outputs + 2 * outputs * normalized

    graph = 5 * (dense(384, 512) + dense(512, 1152) + dense(512, 512) + dense(512, 128))
    graph += (172 + 7) * 128 + dense(128, 512) + dense(512, 4)
    masks = 4 * conv(128, 128) + dense(128, 1)
    refinement, before = 0, 1
    for width in (1024, 512, 256, 128, 64):
        refinement += conv(128 + before, width) + conv(width, width)
        before = width
    refinement += conv(64, 64, normalized=False) + dense(64, 3)
    assert model.count_params() == graph + masks + refinement


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("baseline.mask_size=6", "baseline.mask_size is 6; it must be a power of two"),
        (
            "baseline.refinement_widths=[8,8,8,8,8,8]",
            "data.image_size is 32; it cannot be halved for each of the 6 widths",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_told(names, override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        built(configured(override), names)


def test_another_models_section_is_not_known():
    with pytest.raises(ConfigError, match="there is no field baseline.mask_size"):
        tiny_config("baseline.mask_size=8")
    with pytest.raises(ConfigError, match="model"):
        tiny_config("model=attngan")


def terms_of(strategy, config, names, batch):
    with strategy.scope():
        tf.keras.utils.set_random_seed(5)
        models = Models.create(config, names.num_objects, names.num_predicates)
        models.build(batch)
        trainer = Sg2imTrainer(models, config)
    trainer.train_loop_begin()
    data = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch).unbatch().batch(4).repeat())
    iterator = iter(data)
    for _ in range(2):
        trainer.train_step(iterator)
    means = {name: float(total) / 2 for name, total in trainer._sums.items()}
    return means, [weight.numpy() for weight in models.sg2im.trainable_variables]


def test_two_replicas_are_one(names, batch):
    config = configured()
    one = terms_of(tf.distribute.OneDeviceStrategy("CPU:0"), config, names, batch)
    two = terms_of(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), config, names, batch)
    for name, value in one[0].items():
        assert two[0][name] == pytest.approx(value, rel=2e-3, abs=2e-5), name
    for a, b in zip(one[1], two[1]):
        # Adam's first steps are signs of gradients: where those are rounding alone, they may differ by twice the rate.
        assert np.mean(np.abs(a - b) > 1e-5) < 0.02


def test_every_weight_learns(names, batch):
    config = configured("training.optimizer.learning_rate=0.01")
    strategy = tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(5)
    models = Models.create(config, names.num_objects, names.num_predicates)
    models.build(batch)
    before = {weight.name: weight.numpy() for weight in models.sg2im.trainable_variables}
    assert len(before) == len(models.sg2im.trainable_variables)
    _, after = terms_of(strategy, config, names, batch)
    still = {name for (name, a), b in zip(before.items(), after) if (a == b).all()}
    # New predicate vectors of the last layer reach nothing, but share their weights with messages.
    assert not still


def test_a_few_scenes_are_learned_by_heart(tiny_workspace, names):
    config = configured(
        "training.batch_size=4,training.optimizer.learning_rate=0.003,baseline.refinement_widths=[24,24,16,16]"
    )
    source = dataclasses.replace(
        artifacts.scene_source(tiny_workspace, config, "validation"), data=config.data.replace(shuffle_buffer=1)
    )
    batches = training_batches(source, 4).take(2).cache().repeat()
    first = next(iter(batches))
    tf.keras.utils.set_random_seed(0)
    models = Models.create(config, names.num_objects, names.num_predicates)
    models.build(first)
    trainer = Sg2imTrainer(models, config)
    trainer.train_loop_begin()
    iterator, losses = iter(batches), []
    for _ in range(5):
        for _ in range(50):
            trainer.train_step(iterator)
        losses.append(float(trainer._sums["loss/pixel"]) / 50)
        trainer.train_loop_begin()
    assert losses[-1] < 0.5 * losses[0] and losses[-1] < 0.16, losses


def test_a_workspace_is_trained_drawn_from_and_scored(workspace):
    assert sorted(path.name for path in workspace.root.iterdir() if not path.name.startswith(".")) == [
        "dataset",
        "sg2im",
    ]
    assert Workspace(workspace.root).model == "sg2im"
    generator = load(workspace.root)
    scene = {"objects": ["sky", "sea"], "relationships": [[0, "above", 1]]}
    first, again = generator.generate(scene, seed=4), generator.generate(scene, seed=4)
    assert first.image.shape == (32, 32, 3) and first.boxes.shape == (2, 4) and first.patches is None
    np.testing.assert_array_equal(first.image, again.image)
    given = generator.generate(scene, boxes=[[0.0, 0.0, 1.0, 0.5], None])
    np.testing.assert_allclose(given.boxes[0], [0, 0, 1, 0.5])
    with pytest.raises(SceneError, match="pins a patch, and sg2im draws without patches"):
        generator.generate(scene, pinned=[3, None])
    lines = evaluate.evaluate(
        workspace, Setting("validation", samples=2), overrides="evaluation.network=in_domain,evaluation.splits=2"
    )
    metrics = {line["metric"] for line in lines}
    assert {"fid", "kid", "scene_fid", "classifier_accuracy", "relation_accuracy", "box_iou"} <= metrics
    assert "ground_truth_accuracy" not in metrics


def test_a_killed_training_goes_on_to_the_same_numbers(workspace, tmp_path):
    shutil.copytree(workspace.root / "dataset", tmp_path / "dataset")
    stopped = Workspace(tmp_path, "sg2im")
    StageRunner(stopped, configured("training.steps=2"), tf.distribute.get_strategy()).run()
    StageRunner(stopped, configured(), tf.distribute.get_strategy()).run()
    expected, found = (tf.train.load_checkpoint(str(w.root / "sg2im")) for w in (workspace, stopped))
    shapes = expected.get_variable_to_shape_map()
    assert shapes == found.get_variable_to_shape_map()
    for name in shapes:
        if "save_counter" not in name and "_CHECKPOINTABLE" not in name:
            np.testing.assert_array_equal(expected.get_tensor(name), found.get_tensor(name), err_msg=name)


def test_the_system_needs_no_patches(workspace):
    assert not SYSTEM.retrieves and SYSTEM.reader(workspace, configured(), "train") is None
    with pytest.raises(ConfigError, match="--stage=retrievegan is the main training of another model"):
        StageRunner(workspace, configured(), tf.distribute.get_strategy()).run("retrievegan")
