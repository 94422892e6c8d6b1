"""Workspaces: stages are whole or absent, and stale exactly when something they depend on changed."""

import json

import pytest
from conftest import tiny_config

from rgan_tf.workspace import STAGES, Workspace, WorkspaceError, fingerprint


def stale_stages(override):
    before, after = tiny_config(), tiny_config(override)
    return [stage for stage in STAGES if fingerprint(stage, before) != fingerprint(stage, after)]


@pytest.mark.parametrize(
    "override, expected",
    [
        ("data.train_scenes=40", list(STAGES)),
        ("graph_encoder.layers=3", [stage for stage in STAGES if stage != "dataset"]),
        ("patch_bank.patch_size=8", ["patch_bank", "candidates", "cooccurrence", "retrievegan", "pastegan"]),
        ("candidates.k_max=9", ["candidates", "retrievegan", "pastegan"]),
        ("cooccurrence.margin=0.2", ["cooccurrence", "retrievegan"]),
        ("losses.sel_occur=0", ["retrievegan"]),
        ("candidates.k_train=2", ["retrievegan"]),
        ("training.steps=8", []),
        ("training.summary_interval=1", []),
        ("runtime.xla=true", []),
    ],
)
def test_a_change_makes_stale_what_depends_on_it(override, expected):
    assert stale_stages(override) == expected


def test_stage_appears_only_when_whole(tmp_path):
    workspace, config = Workspace(tmp_path), tiny_config()
    with pytest.raises(KeyboardInterrupt):
        with workspace.making("patch_bank", config) as directory:
            (directory / "half").write_text("x")
            raise KeyboardInterrupt
    assert not workspace.is_current("patch_bank", config)
    with pytest.raises(WorkspaceError, match="--stage=patch_bank"):
        workspace.directory("patch_bank")
    with workspace.making("patch_bank", config) as directory:
        assert (directory / "half").exists(), "what a killed run left is given again"
    assert workspace.is_current("patch_bank", config)
    assert sorted(path.name for path in workspace.directory("patch_bank").iterdir()) == ["half", "manifest.json"]


def test_leavings_of_another_configuration_are_removed(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        with workspace.making("candidates", tiny_config()) as directory:
            (directory / "half").write_text("x")
            raise KeyboardInterrupt
    with workspace.making("candidates", tiny_config("candidates.k_max=9")) as directory:
        assert not (directory / "half").exists()


def test_training_of_another_configuration_is_set_aside_and_comes_back(tmp_path):
    workspace, first, second = Workspace(tmp_path), tiny_config(), tiny_config("losses.bbx=1.0")
    with workspace.training(first) as directory:
        (directory / "checkpoint-4.index").write_text("first")
    assert workspace.is_current("retrievegan", first) and not workspace.is_current("retrievegan", second)
    with workspace.training(second) as directory:
        assert not (directory / "checkpoint-4.index").exists()
    with workspace.training(first) as directory:
        assert (directory / "checkpoint-4.index").read_text() == "first"


def test_longer_training_is_not_current_but_goes_on(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.training(tiny_config("training.steps=4")) as directory:
        assert json.loads((directory / "manifest.json").read_text())["steps"] == 0
    longer = tiny_config("training.steps=8")
    assert not workspace.is_current("retrievegan", longer)
    with workspace.training(longer) as directory:
        assert json.loads((directory / "manifest.json").read_text())["steps"] == 4
    assert workspace.is_current("retrievegan", longer)
    assert workspace.is_current("retrievegan", tiny_config("training.steps=4"))
