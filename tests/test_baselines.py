"""What every baseline must do: learn, mirror, resume, draw and be scored, by the same commands as RetrieveGAN."""

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import BASELINES, baseline_config, mirrored, tiny_config

from pipelines.input_pipeline import evaluation_batches, training_batches
from rgan_tf import evaluate
from rgan_tf.config import MODELS, ConfigError
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.fingerprints import STAGES, fingerprint, stages_of
from rgan_tf.scene_generator import load
from rgan_tf.scene_graph import SceneError
from rgan_tf.training import artifacts
from rgan_tf.training.stages import StageRunner
from rgan_tf.training.systems import system_of
from rgan_tf.workspace import Workspace

SCENE = {"objects": ["sky", "sea"], "relationships": [[0, "above", 1]]}
every = pytest.mark.parametrize("model", sorted(BASELINES))
# One of them in the suite, all where time counts less.
one_of_them = pytest.mark.parametrize(
    "model", ["sg2im", *(pytest.param(model, marks=pytest.mark.slow) for model in ("layout2im", "pastegan"))]
)


@pytest.fixture(scope="module")
def workspace(baselines_root, tmp_path_factory):
    """Every baseline, trained beside RetrieveGAN, in a copy that is evaluated here."""
    return Workspace(shutil.copytree(baselines_root, tmp_path_factory.mktemp("baselines") / "w"))


def trainer_and_batch(workspace, config, split="train", size=4):
    """A trainer that was just built, and a batch of the split with what the system reads beside it."""
    system = system_of(config.model)
    source = artifacts.scene_source(workspace, config, split)
    batch = next(iter(evaluation_batches(source, size, system.reader(workspace, config, split))))
    tf.keras.utils.set_random_seed(5)
    return system.make_trainer(workspace, config, artifacts.vocabulary(workspace), batch), batch


def test_the_table_of_models_is_complete():
    assert set(MODELS) == {"retrievegan", *BASELINES} and set(MODELS) <= set(STAGES)
    assert stages_of("sg2im") == ["dataset", "sg2im"]
    assert stages_of("layout2im") == ["dataset", "graph_encoder", "layout2im"]
    assert stages_of("pastegan") == ["dataset", "graph_encoder", "patch_bank", "candidates", "pastegan"]
    assert stages_of("retrievegan") == [*(stage for stage in STAGES if stage not in MODELS), "retrievegan"]


@every
def test_its_own_section_shapes_its_training_and_no_other(model):
    changed = baseline_config(model, "baseline.adv_img=0.5")
    for stage in STAGES:
        differs = fingerprint(stage, changed) != fingerprint(stage, baseline_config(model))
        assert differs == (stage == model) or stage in MODELS and stage != model
    assert fingerprint("retrievegan", tiny_config()) == fingerprint("retrievegan", tiny_config("model=retrievegan"))


def test_another_models_section_is_not_known():
    with pytest.raises(ConfigError, match="there is no field baseline.mask_size"):
        tiny_config("model=layout2im,baseline.mask_size=8")
    with pytest.raises(ConfigError, match="model"):
        tiny_config("model=attngan")


@every
def test_one_workspace_holds_them_side_by_side(workspace, model):
    assert workspace.model == "retrievegan"
    assert Workspace(workspace.root, model).trained_config().model == model
    assert Workspace(workspace.root, model).is_current(model, baseline_config(model))
    with pytest.raises(ConfigError, match="--stage=retrievegan is the main training of another model"):
        StageRunner(workspace, baseline_config(model), tf.distribute.get_strategy()).run("retrievegan")


def steps_of(strategy, workspace, config, count=2):
    with strategy.scope():
        trainer, batch = trainer_and_batch(workspace, config)
    before = [weight.numpy() for weight in trainer.model.trainable_variables]
    trainer.train_loop_begin()
    data = tf.data.Dataset.from_tensors(batch).unbatch().batch(4).repeat()
    iterator = iter(strategy.experimental_distribute_dataset(data))
    for _ in range(count):
        trainer.train_step(iterator)
    means = {name: float(total) / count for name, total in trainer._sums.items()}
    after = [weight.numpy() for weight in trainer.model.trainable_variables]
    names = [weight.name for weight in trainer.model.trainable_variables]
    return means, before, after, names


@one_of_them
def test_two_replicas_are_one_and_every_weight_learns(workspace, model):
    config = baseline_config(model, "runtime.skip_padding=False,training.optimizer.learning_rate=0.001")
    one = steps_of(tf.distribute.OneDeviceStrategy("CPU:0"), workspace, config)
    two = steps_of(mirrored(), workspace, config)
    for name, value in one[0].items():
        assert two[0][name] == pytest.approx(value, rel=5e-3, abs=1e-4), name
    for start, a, b, name in zip(one[1], one[2], two[2], one[3]):
        assert (start != a).any(), name
        # Adam's first steps are signs of gradients: where those are rounding alone, they may differ by twice the rate.
        assert np.mean(np.abs(a - b) > 1e-4) < 0.05, name


@one_of_them
def test_a_few_scenes_are_learned_by_heart(workspace, model):
    more = "training.batch_size=4,training.optimizer.learning_rate=0.003"
    # Codes that are estimated say what a picture shows; random ones would pull at them.
    more += ",baseline.kl=0,baseline.recon_latent=0" if model == "layout2im" else ""
    more += ",baseline.refinement_widths=[24,24,16,16]" if model == "sg2im" else ""
    config = baseline_config(model, f"{more},baseline.adv_img=0,baseline.adv_obj=0,baseline.ac_obj=0")
    system = system_of(model)
    source = artifacts.scene_source(workspace, config, "train")
    source = dataclasses.replace(source, data=config.data.replace(shuffle_buffer=1))
    batches = training_batches(source, 4, 0, system.reader(workspace, config, "train")).take(1).cache().repeat()
    tf.keras.utils.set_random_seed(0)
    trainer = system.make_trainer(workspace, config, artifacts.vocabulary(workspace), next(iter(batches)))
    pixel = "loss/recon_img" if model == "layout2im" else "loss/pixel"
    iterator, losses = iter(batches), []
    for _ in range(4):
        trainer.train_loop_begin()
        for _ in range(40):
            trainer.train_step(iterator)
        losses.append(float(trainer._sums[pixel]) / 40)
    assert losses[-1] < 0.6 * losses[0] and losses[-1] < 0.2, losses


def drawn(drawer, batch):
    return drawer.draw({**batch, "box_given": tf.zeros_like(batch["object_mask"])})


@every
def test_padding_changes_nothing_and_order_only_where_the_paper_has_one(workspace, model):
    config = baseline_config(model)
    trainer, batch = trainer_and_batch(workspace, config)
    batch = {
        name: tf.cast(value, tf.float32) / 127.5 - 1 if value.dtype == tf.uint8 else value
        for name, value in batch.items()
    }
    drawer = system_of(model).drawer(trainer.model, workspace, config)
    first = drawn(drawer, batch)
    objects = [name for name in batch if name.startswith(("object", "box", "candidate_patches", "candidate_mask"))]
    padded = {name: tf.pad(batch[name], [[0, 0], [0, 3]] + [[0, 0]] * (len(batch[name].shape) - 2)) for name in objects}
    again = drawn(drawer, {**batch, **padded})
    np.testing.assert_allclose(again.image, first.image, atol=1e-4)
    np.testing.assert_allclose(again.boxes[:, :4], first.boxes, atol=1e-6)
    if model == "layout2im":
        # Objects are fused one after the other.
        return
    order = np.array([2, 0, 3, 1])
    place = np.argsort(order).astype(np.int32)
    permuted = {name: tf.gather(batch[name], order, axis=1) for name in objects}
    triples = batch["triples"].numpy()
    triples[..., 0], triples[..., 2] = place[triples[..., 0]], place[triples[..., 2]]
    second = drawn(drawer, {**batch, **permuted, "triples": tf.constant(triples)})
    np.testing.assert_allclose(second.image, first.image, atol=1e-4)


@every
def test_it_draws_what_it_is_asked(workspace, model):
    generator, system = load(workspace.root, model), system_of(model)
    first, again = generator.generate(SCENE, seed=4), generator.generate(SCENE, seed=4)
    assert first.image.shape == (32, 32, 3) and first.boxes.shape == (2, 4)
    np.testing.assert_array_equal(first.image, again.image)
    given = generator.generate(SCENE, boxes=[[0.0, 0.0, 1.0, 0.5], None])
    np.testing.assert_allclose(given.boxes[0], [0, 0, 1, 0.5])
    # What shares the batch changes nothing.
    scenes = [generator.generate(SCENE, seed=4).image, generator.generate({"objects": ["sea"]}, seed=4).image]
    assert np.abs(scenes[0].astype(int) - first.image).max() <= 1
    if system.retrieves:
        assert len(first.patch_ids) == 2 and first.patches.shape == (2, 16, 16, 3)
        pinned = generator.generate(SCENE, pinned=[None, int(first.patch_ids[1])])
        np.testing.assert_array_equal(pinned.image, first.image)
    else:
        assert first.patches is None and first.patch_ids is None
        with pytest.raises(SceneError, match=f"pins a patch, and {model} draws without patches"):
            generator.generate(SCENE, pinned=[3, None])
        assert (generator.generate(SCENE, seed=5).image != first.image).any()


@every
def test_it_is_scored_by_the_same_protocol(workspace, model):
    setting = Setting("validation", samples=2)
    overrides = "evaluation.network=in_domain,evaluation.splits=2"
    lines = evaluate.evaluate(Workspace(workspace.root, model), setting, overrides=overrides)
    metrics = {line["metric"] for line in lines}
    assert {"fid", "kid", "scene_fid", "classifier_accuracy", "relation_accuracy", "box_iou", "is"} <= metrics
    assert "ground_truth_accuracy" not in metrics
    retrieves = system_of(model).retrieves
    assert ("style_agreement" in metrics) == ("candidate_recall_stored" in metrics) == retrieves
    page = (workspace.root / "evaluation" / "report.html").read_text()
    assert f"{model}, predicted boxes" in page and "<svg" in page and "One scene, other seeds" in page
    assert ("Where the patches are from" in page) == ("Styles that meet" in page) == retrieves
    assert "Retrieval by category" not in page and "Patches that fit" not in page
    assert {line["fingerprint"] for line in lines} == {fingerprint(model, baseline_config(model))}


@one_of_them
def test_a_killed_training_goes_on_to_the_same_numbers(workspace, tmp_path, model):
    for stage in stages_of(model)[:-1]:
        shutil.copytree(workspace.root / stage, tmp_path / stage)
    stopped = Workspace(tmp_path, model)
    for config in (baseline_config(model, "training.steps=2"), baseline_config(model)):
        StageRunner(stopped, config, tf.distribute.get_strategy()).run()
    expected, found = (tf.train.load_checkpoint(str(root / model)) for root in (workspace.root, tmp_path))
    shapes = expected.get_variable_to_shape_map()
    assert shapes == found.get_variable_to_shape_map()
    for name in shapes:
        if "save_counter" not in name and "_CHECKPOINTABLE" not in name:
            np.testing.assert_array_equal(expected.get_tensor(name), found.get_tensor(name), err_msg=name)
