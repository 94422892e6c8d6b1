"""Groups of pictures that look alike: who is in one, and that no object is given a candidate of its own."""

import os
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

from pipelines.patch_bank.bank import PatchBank, candidate_lists
from rgan_tf import config as config_lib
from rgan_tf.config import ConfigError
from rgan_tf.evaluation.metrics.candidate_recall import candidate_recall
from rgan_tf.fingerprints import fingerprint
from rgan_tf.training import artifacts
from rgan_tf.training.scene_features import kept_apart
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import Workspace

# A few steps at tiny sizes.
SIZES = (
    "data.image_size=32,patch_bank.patch_size=16,graph_encoder.embedding_dim=16,graph_encoder.hidden_dim=32,"
    "graph_encoder.layers=2,graph_encoder.training.steps=20,candidates.k_max=8,generator.decoder_widths=[8]"
)


class Records:
    """A split by its groups alone."""

    def __init__(self, groups):
        self.groups, self.size = groups, len(groups)

    def records(self):
        return types.SimpleNamespace(as_numpy_iterator=lambda: ((i, {"group": g}) for i, g in enumerate(self.groups)))


def test_groups_of_patches_and_scenes(monkeypatch):
    splits = {"train": Records([b"a", b"b", b"a", b"c"]), "test": Records([b"c", b"d", b"a"])}
    monkeypatch.setattr(artifacts, "scene_source", lambda workspace, config, split: splits[split])
    bank = types.SimpleNamespace(scene_index=np.array([0, 0, 1, 2, 3, 3]))
    config = tiny_config("data.builder=coco_stuff,data.source_dir=none,data.group_separator=_")
    train, test = (kept_apart(None, config, bank, split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.bank, [0, 0, 1, 0, 2, 2])
    np.testing.assert_array_equal(test.bank, train.bank)
    np.testing.assert_array_equal(train.scenes, [0, 1, 0, 2])
    np.testing.assert_array_equal(test.scenes, [2, -1, 0])
    # Without groups, a training scene is its own.
    train, test = (kept_apart(None, tiny_config(), bank, split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.bank, bank.scene_index)
    np.testing.assert_array_equal(train.scenes, range(4))
    np.testing.assert_array_equal(test.scenes, [-1] * 3)


def test_workspaces_without_groups_stay_what_they_were():
    grouped = tiny_config("data.builder=coco_stuff,data.source_dir=none,data.group_separator=_")
    plain = tiny_config("data.builder=coco_stuff,data.source_dir=none")
    assert fingerprint("dataset", grouped) != fingerprint("dataset", plain)
    assert fingerprint("dataset", tiny_config()) == "0179b8699b6e9f30"
    with pytest.raises(ConfigError, match="data.group_separator is '_'; .*coco_stuff"):
        tiny_config("data.group_separator=_")


def test_streets_find_candidates_in_other_drives(tmp_path):
    here = REPOSITORY.parent / "shared" / "data" / "camvid"
    folder = pathlib.Path(os.environ.get("RGAN_TF_CAMVID_DIR", here))
    if not (folder / "annotations").is_dir():
        pytest.skip(f"no CamVid at {folder}; RGAN_TF_CAMVID_DIR may name it")
    config = config_lib.load_config(REPOSITORY / "configs" / "camvid.yaml", f"data.source_dir={folder},{SIZES}")
    workspace = Workspace(tmp_path)
    runner = StageRunner(workspace, config, tf.distribute.get_strategy())
    for stage in ("dataset", "graph_encoder", "patch_bank", "candidates"):
        runner.run(stage)
    bank = PatchBank.open(workspace.directory("patch_bank"))
    drives = {}
    for split in ("train", "validation", "test"):
        source = artifacts.scene_source(workspace, config, split)
        drives[split] = np.array([record["group"].decode() for _, record in source.records().as_numpy_iterator()])
    assert {split: len(names) for split, names in drives.items()} == {"train": 354, "validation": 33, "test": 66}
    assert set(drives["train"]) == {"0001TP", "0006R0", "0016E5"} and set(drives["test"]) == {"0016E5"}
    of_patches = drives["train"][bank.scene_index]
    for split, own in drives.items():
        rows = candidate_lists(workspace.directory("candidates") / f"{split}.npy", "r")
        found = rows >= 0
        assert found.mean() > 0.2
        assert (of_patches[rows] != own[:, None, None])[found].all()
    recall = candidate_recall(workspace, config, "test")
    assert recall["stored"].mean == 1.0
