"""The loop: replicas, resumption, divergence, averages, traces."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.input_pipeline import training_batches
from rgan_tf import losses
from rgan_tf.training import artifacts, loop, stages
from rgan_tf.training.retrievegan import Models, RetrieveGANTrainer, build_models
from rgan_tf.workspace import Workspace


def make_trainer(workspace, config, strategy, batch):
    """A trainer of the full model with weights that depend on the seed alone."""
    names = artifacts.vocabulary(workspace)
    with strategy.scope():
        tf.keras.utils.set_random_seed(config.seed)
        models = Models.create(config, names.num_objects, names.num_predicates)
        build_models(models, batch)
        return RetrieveGANTrainer(models, config)


def batches_of(workspace, config):
    source, reader = (f(workspace, config, "train") for f in (artifacts.scene_source, artifacts.bank_reader))
    return training_batches(source, config.training.batch_size, 0, reader)


def train_steps(trainer, dataset, steps):
    trainer.train_dataset = trainer.strategy.experimental_distribute_dataset(dataset)
    return trainer.train(tf.constant(steps))


def test_two_replicas_give_the_one_replica_update(tiny_workspace):
    config = tiny_config()
    dataset = batches_of(tiny_workspace, config)
    batch = next(iter(dataset))
    trainers = []
    for strategy in (tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
        trainer = make_trainer(tiny_workspace, config, strategy, batch)
        train_steps(trainer, dataset, 1)
        trainers.append(trainer)
    assert trainers[1].strategy.num_replicas_in_sync == 2
    for name, one in trainers[0].optimized.items():
        two = trainers[1].optimized[name]
        largest = max(np.abs(moment.numpy()).max() for moment in one.optimizer._momentums)
        for moment, other, a, b in zip(
            one.optimizer._momentums, two.optimizer._momentums, one.variables, two.variables
        ):
            gradient = moment.numpy() / (1.0 - one.config.beta_1)
            # Some gradients vanish but for rounding (E_p's last bias moves all features alike).
            scale = np.abs(gradient).max() + 1e-3 * largest
            np.testing.assert_allclose(
                other.numpy() / (1.0 - one.config.beta_1), gradient, atol=2e-4 * scale + 1e-7, err_msg=a.name
            )
            # Adam's first step has the size of the rate whatever the gradient's: only clear gradients can be compared.
            clear = np.abs(gradient) > 1e-2 * scale
            rate = one.config.learning_rate
            np.testing.assert_allclose(b.numpy()[clear], a.numpy()[clear], atol=0.02 * rate, err_msg=a.name)


def first_terms(workspace, config):
    """The terms of a first step."""
    dataset = batches_of(workspace, config)
    trainer = make_trainer(workspace, config, tf.distribute.get_strategy(), next(iter(dataset)))
    train_steps(trainer, dataset, 1)
    return {name: float(total) for name, total in trainer._sums.items()}


@pytest.fixture(scope="module")
def terms(tiny_workspace):
    """The first step's terms in plain float32."""
    return first_terms(tiny_workspace, tiny_config())


@pytest.mark.parametrize("override, tolerance", [("runtime.xla=true", 1e-3), ("runtime.mixed_precision=true", 3e-2)])
def test_compiled_and_mixed_precision_steps_give_the_plain_losses(tiny_workspace, terms, override, tolerance):
    config = tiny_config(override)
    if config.runtime.mixed_precision:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        other = first_terms(tiny_workspace, config)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(np.isfinite(value) for value in other.values())
    # Terms without a random draw; XLA draws other numbers.
    for name in ("recon_img", "p_img", "p_obj", "bbx", "d_ac_obj"):
        assert other[f"loss/{name}"] == pytest.approx(terms[f"loss/{name}"], rel=tolerance), name


def test_terms_have_every_loss_raw_and_weighted(terms):
    from rgan_tf.config import LOSS_TERMS

    config = tiny_config()
    assert {f"loss/{name}" for name in LOSS_TERMS} <= set(terms)
    for name in LOSS_TERMS:
        assert terms[f"weighted/{name}"] == pytest.approx(
            getattr(config.losses, name) * terms[f"loss/{name}"], rel=1e-5
        )
    total = sum(terms[f"weighted/{name}"] for name in LOSS_TERMS)
    assert terms["loss/total"] == pytest.approx(total, rel=1e-5)
    assert 0.0 <= terms["selection/entropy"] <= np.log(config.candidates.k_train) + 1e-5
    assert 0.0 <= terms["selection/hard_agreement"] <= 1.0 + 1e-5


@pytest.fixture
def workspace_copy(tiny_workspace, tmp_path):
    """The tiny workspace without its main training."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny_workspace.root, copy, ignore=shutil.ignore_patterns("retrievegan*"))
    return Workspace(copy)


def run_stage(workspace, config, stage="retrievegan", profile=""):
    stages.StageRunner(workspace, config, tf.distribute.get_strategy(), profile).run(stage)


def kill_after(monkeypatch, steps):
    """Ends the process's training, as far as it can tell, in the middle of an interval."""
    counted = iter(range(steps))
    step = loop.StageTrainer.train_step

    def dying(self, iterator):
        if next(counted, None) is None:
            raise KeyboardInterrupt
        step(self, iterator)

    monkeypatch.setattr(loop.StageTrainer, "train_step", dying)


def checkpoint_values(directory):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(directory)))
    names = [
        name for name in reader.get_variable_to_shape_map() if "save_counter" not in name and "OBJECT_GRAPH" not in name
    ]
    return {name: reader.get_tensor(name) for name in names}


def last_scalars(directory):
    """The newest value of every curve, over all event files of a run and its resumptions."""
    latest = {}
    for file in sorted(directory.glob("events.out.*")):
        events = EventAccumulator(str(file), size_guidance={"tensors": 0}).Reload()
        for name in events.Tags()["tensors"]:
            for event in events.Tensors(name):
                if name != "panel" and not name.startswith("speed"):
                    latest[name, event.step] = float(tf.make_ndarray(event.tensor_proto))
    return latest


@pytest.mark.parametrize("stage, killed_at", [("retrievegan", 3), ("graph_encoder", 15), ("cooccurrence", 3)])
def test_killed_and_resumed_equals_uninterrupted(tiny_workspace, workspace_copy, monkeypatch, stage, killed_at):
    if stage != "retrievegan":
        shutil.rmtree(workspace_copy.root / stage)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_after(patch, killed_at)
        run_stage(workspace_copy, tiny_config(), stage)
    assert not workspace_copy.is_current(stage, tiny_config())
    run_stage(workspace_copy, tiny_config(), stage)
    assert workspace_copy.is_current(stage, tiny_config())
    whole, resumed = (checkpoint_values(w.directory(stage)) for w in (tiny_workspace, workspace_copy))
    assert whole.keys() == resumed.keys() and len(whole) > 10
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    assert last_scalars(workspace_copy.directory(stage)) == last_scalars(tiny_workspace.directory(stage)) != {}


def test_a_loss_that_is_not_finite_stops_with_step_and_term(workspace_copy, monkeypatch):
    run_stage(workspace_copy, tiny_config("training.steps=2"))
    before = checkpoint_values(workspace_copy.directory("retrievegan"))
    monkeypatch.setattr(losses, "reconstruction_loss", lambda *_: tf.constant(float("nan")))
    with pytest.raises(loop.TrainingDiverged, match=r"step 2 .*loss/recon_img"):
        run_stage(workspace_copy, tiny_config())
    after = checkpoint_values(workspace_copy.directory("retrievegan"))
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_averaged_weights_are_used_where_kept(tiny_workspace):
    from rgan_tf.generate import SceneGenerator

    values = checkpoint_values(tiny_workspace.directory("retrievegan"))
    kernel = SceneGenerator(tiny_workspace)._model.retrieval.patch_encoder.trainable_variables[0].numpy()
    same = [name for name, value in values.items() if value.shape == kernel.shape and np.array_equal(value, kernel)]
    assert same and all("generator_optimizer" in name for name in same), "averages live in the optimizer"


def test_profiled_steps_leave_a_trace(workspace_copy):
    run_stage(workspace_copy, tiny_config(), profile="1,2")
    traces = list(workspace_copy.directory("retrievegan").glob("plugins/profile/*/*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 10000


def test_panels_are_written(tiny_workspace):
    images = []
    for file in tiny_workspace.directory("retrievegan").glob("events.out.*"):
        events = EventAccumulator(str(file), size_guidance={"tensors": 0}).Reload()
        images += [event for name in events.Tags()["tensors"] if name == "panel" for event in events.Tensors(name)]
    assert [event.step for event in images] == [4]
    width, height, picture = tf.make_ndarray(images[0].tensor_proto)[:3]
    decoded = tf.io.decode_png(picture)
    assert decoded.shape == [int(height), int(width), 3] and np.ptp(decoded.numpy()) > 100
