"""The loop: resumption, divergence, averages, traces, panels."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import baseline_config, mirrored, tiny_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rgan_tf import losses
from rgan_tf.training import artifacts, stage_trainer, stages
from rgan_tf.workspace import Workspace


@pytest.fixture
def workspace_copy(tiny_workspace, tmp_path):
    """The tiny workspace without its main training."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny_workspace.root, copy, ignore=shutil.ignore_patterns("retrievegan*"))
    return Workspace(copy)


def run_stage(workspace, config, stage="retrievegan", profile="", strategy=None):
    stages.StageRunner(workspace, config, strategy or tf.distribute.get_strategy(), profile).run(stage)


def kill_after(monkeypatch, steps):
    """Ends the process's training, as far as it can tell, in the middle of an interval."""
    counted = iter(range(steps))
    step = stage_trainer.StageTrainer.train_step

    def dying(self, iterator):
        if next(counted, None) is None:
            raise KeyboardInterrupt
        step(self, iterator)

    monkeypatch.setattr(stage_trainer.StageTrainer, "train_step", dying)


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


def test_a_loss_that_is_not_finite_stops_with_step_and_term(tiny_workspace, workspace_copy, monkeypatch):
    directory = workspace_copy.root / "retrievegan"
    shutil.copytree(tiny_workspace.directory("retrievegan"), directory)
    before = checkpoint_values(directory)
    monkeypatch.setattr(losses, "reconstruction_loss", lambda *_: tf.constant(float("nan")))
    with pytest.raises(stage_trainer.TrainingDiverged, match=r"step 4 .*loss/recon_img"):
        run_stage(workspace_copy, tiny_config("training.steps=6"))
    after = checkpoint_values(directory)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_loss_that_is_not_finite_stops_replicas_too(workspace_copy, monkeypatch):
    shutil.rmtree(workspace_copy.root / "cooccurrence")
    monkeypatch.setattr(losses, "cooccurrence_triplet_loss", lambda anchors, *_: tf.reduce_sum(anchors) * float("nan"))
    with pytest.raises(stage_trainer.TrainingDiverged, match=r"step 0 .*loss/triplet"):
        run_stage(workspace_copy, tiny_config(), "cooccurrence", strategy=mirrored())


def test_averaged_weights_are_used_where_kept(tiny_workspace):
    values, names = checkpoint_values(tiny_workspace.directory("retrievegan")), artifacts.vocabulary(tiny_workspace)
    model = artifacts.trained_model(tiny_workspace, tiny_config(), names)
    kernel = model.retrieval.patch_encoder.trainable_variables[0].numpy()
    same = [name for name, value in values.items() if value.shape == kernel.shape and np.array_equal(value, kernel)]
    assert same and all("generator_optimizer" in name for name in same), "averages live in the optimizer"


def test_profiled_steps_leave_a_trace(workspace_copy):
    # Any model's: of one that is traced quickly.
    config, workspace = baseline_config("sg2im"), Workspace(workspace_copy.root, "sg2im")
    run_stage(workspace, config, "sg2im", profile="1,2")
    traces = list(workspace.directory("sg2im").glob("plugins/profile/*/*.xplane.pb"))
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
