"""Damaged files of a workspace: a sentence that names the file and the mend, or the right result; never a wrong one."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from damages import KINDS, Refusal, answer_of, damaged, damaged_bytes, files_of
from removal_workspaces import copy_of, ids_file, state_of
from workspace_readers import COLUMNS, READ_BY, READERS, bank_of, checkpoint_of, lists_of

import rgan_tf
from pipelines.patch_bank import removal
from rgan_tf import integrity
from rgan_tf.errors import UserError, WorkspaceError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.feature_networks import in_domain_classifier
from rgan_tf.evaluation.measurements import Measurement, Setting
from rgan_tf.evaluation.metrics.image_statistics import ImageFeatures, ImageStatistics
from rgan_tf.fingerprints import stages_of
from rgan_tf.training import artifacts, checkpoints, stages
from rgan_tf.workspace import Workspace


@pytest.fixture(scope="module")
def evaluated(tiny_workspace, tmp_path_factory):
    """A finished workspace that has all that a workspace can have; tests leave it as it is."""
    workspace = Workspace(shutil.copytree(tiny_workspace.root, tmp_path_factory.mktemp("damage") / "whole"))
    config = workspace.trained_config()
    removal.remove(workspace, ids_file(workspace, [5, 9]))
    in_domain_classifier.trained(config, workspace)
    statistics, rng = ImageStatistics(2), np.random.default_rng(0)
    statistics.add(ImageFeatures(rng.normal(size=(9, 4)), rng.normal(size=(9, 3))))
    (workspace.root / "evaluation" / "real_statistics").mkdir()
    statistics.save(workspace.root / "evaluation" / "real_statistics" / "mark.npz", "mark")
    figures = [Measurement("fid", f"fid.test{n}", 1.5 * n, None, {"real_images": n}) for n in (4, 5, 16)]
    records.append(workspace.root / records.FILE, records.of_checkpoint(config, 4), Setting(), figures, 1.0)
    with pytest.raises(KeyboardInterrupt), workspace.making("graph_encoder", config) as partial:
        for path in (workspace.root / "graph_encoder").glob("checkpoint*"):
            shutil.copy(path, partial)
        raise KeyboardInterrupt
    return workspace


def is_unread(path):
    """Curves, and checkpoints before the newest; what TensorFlow's file says is told by the others' names as well."""
    newest = {"graph_encoder": 20, "cooccurrence": 6, "retrievegan": 4, ".graph_encoder.partial": 20}
    older = path.parent.name in newest and path.name.startswith("checkpoint-")
    older = older and checkpoints.step(path.name.split(".")[0]) < newest[path.parent.name]
    return older or path.name.startswith("events.out.") or path.name == "checkpoint"


# Nothing wrong comes of them: a figure or a stage that is gone is made again, where nobody took it for whole.
MADE_AGAIN = {
    ("figures", "metrics.jsonl", "emptied"): [],
    ("statistics", "mark.npz", "missing"): None,
    ("resumption", "pending.json", "missing"): "anew",
}


@pytest.fixture(scope="module")
def whole(evaluated):
    """What the readers give of the workspace as it is."""
    return {name: read(evaluated) for name, read in READERS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_read_rightly_or_named(evaluated, whole, kind):
    files = files_of(evaluated.root)
    assert len(files) > 50
    for path in files:
        noticed = []
        with damaged(path, kind):
            for name in ("current", *READ_BY[path.relative_to(evaluated.root).parts[0]]):
                found, case = answer_of(lambda name=name: READERS[name](evaluated)), (name, path.name, kind)
                if isinstance(found, Refusal):
                    assert found.names(path), (case, found.text)
                    noticed.append(name)
                elif name == "current":
                    noticed += [name] * (found != whole[name])
                else:
                    assert found == MADE_AGAIN.get(case, whole[name]), case
                    noticed += [name] * (case in MADE_AGAIN)
        # Some bytes mean nothing: blanks in JSON, dates in a .zip.
        assert noticed or is_unread(path) or kind == "changed", path
        assert not (noticed and is_unread(path)), (path, noticed)
    assert {name: read(evaluated) for name, read in READERS.items()} == whole


@pytest.mark.parametrize("name", [f"{column}.npy" for column in ("patches", *COLUMNS)])
def test_any_byte_of_the_bank_that_changes_is_seen(evaluated, whole, name):
    path = evaluated.root / "patch_bank" / name
    for seed in range(8):
        with damaged(path, "changed", seed):
            found = answer_of(lambda: bank_of(evaluated))
            assert isinstance(found, Refusal) and "--stage=patch_bank" in found.text and found.names(path)
    assert bank_of(evaluated) == whole["bank"]


def test_a_workspace_of_before_there_were_checksums_still_opens(evaluated, whole, tmp_path):
    old = Workspace(shutil.copytree(evaluated.root, tmp_path / "old"))
    for stage in stages_of("retrievegan"):
        path = old.root / stage / "manifest.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: content[key] for key in content if key not in ("files", "checksum")}))
    (old.root / "patch_bank" / "patch_crc32.npy").unlink()
    assert {name: read(old) for name, read in READERS.items()} == whole
    read_by = {"dataset": ("vocabulary", "test"), "patch_bank": ("bank",), "candidates": ("candidates",)}
    for stage, readers in read_by.items():
        for path in files_of(old.root / stage):
            with damaged(path, "cut"):
                for name in readers:
                    found = answer_of(lambda name=name: READERS[name](old))
                    assert not isinstance(found, Refusal) or found.names(path) or str(old.root / stage) in found.text
            with damaged(path, "emptied"):
                answer_of(lambda name=readers[-1]: READERS[name](old))


def test_damaged_patches_and_records_end_a_stage_with_a_sentence(evaluated, monkeypatch):
    def read_all(trainer, run):
        for _ in run.make_dataset(0).take(12):
            pass

    monkeypatch.setattr(stages.loop, "train", read_all)
    (records_path,) = (evaluated.root / "dataset").rglob("*train.tfrecord*")
    for path in (evaluated.root / "patch_bank" / "patches.npy", records_path):
        for seed in range(2):
            with damaged(path, "changed", seed), pytest.raises(UserError) as refused:
                stages.StageRunner(evaluated, tiny_config("training.steps=6"), tf.distribute.get_strategy()).run()
            assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_the_way_back_from_a_damaged_checkpoint(tiny_workspace, tmp_path):
    workspace = Workspace(shutil.copytree(tiny_workspace.root, tmp_path / "copy"))
    directory = workspace.directory("retrievegan")
    expected = checkpoint_of(directory)
    before = checkpoint_of_step(directory, 2)
    data = directory / "checkpoint-4.data-00000-of-00001"
    data.write_bytes(damaged_bytes(data.read_bytes(), "cut", 0))
    for read in (
        lambda: rgan_tf.load(workspace.root),
        lambda: stages.StageRunner(workspace, tiny_config("training.steps=6"), tf.distribute.get_strategy()).run(),
    ):
        with pytest.raises(WorkspaceError, match=r"checkpoint-4 is damaged \(.*delete .*checkpoint-4.* to go back"):
            read()
    for path in directory.glob("checkpoint-4.*"):
        path.unlink()
    assert checkpoint_of(directory) == before != expected
    assert not workspace.is_current("retrievegan", tiny_config())
    stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy()).run()
    assert workspace.is_current("retrievegan", tiny_config())
    assert checkpoint_of(directory) == expected, "it trained on to where it had been"


def checkpoint_of_step(directory, step):
    """The digest of a checkpoint before the newest."""
    alone = directory.parent / f"step{step}"
    alone.mkdir()
    for path in directory.glob(f"checkpoint-{step}.*"):
        shutil.copy(path, alone)
    return checkpoint_of(alone)


def test_the_manifest_of_a_training_is_made_anew_and_nothing_trained_is_lost(tiny_workspace, tmp_path):
    workspace, config = Workspace(shutil.copytree(tiny_workspace.root, tmp_path / "copy")), tiny_config()
    manifest = workspace.root / "retrievegan" / "manifest.json"
    whole, trained = manifest.read_bytes(), checkpoint_of(manifest.parent)
    for damage in ("cut", "changed"):
        manifest.write_bytes(damaged_bytes(whole, damage, 1))
        with pytest.raises(UserError, match="manifest.json is damaged .*; delete it and run python -m rgan_tf.train"):
            workspace.is_current("retrievegan", config)
    manifest.unlink()
    assert not workspace.is_current("retrievegan", config)
    with workspace.training(config) as directory:
        assert checkpoint_of(directory) == trained
    assert workspace.is_current("retrievegan", config) and manifest.read_bytes() == whole
    assert not list(workspace.root.glob("retrievegan.*"))


def test_a_damaged_configuration_is_written_anew_by_its_training(tiny_workspace, tmp_path):
    workspace, config = Workspace(shutil.copytree(tiny_workspace.root, tmp_path / "copy")), tiny_config()
    path = workspace.root / "retrievegan" / "config.yaml"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"k_max: 6", b"k_max: 5"))
    with pytest.raises(UserError, match="config.yaml is not what was written there.*rgan_tf.train .* writes it anew"):
        workspace.trained_config()
    assert not workspace.is_current("retrievegan", config)
    with workspace.training(config):
        pass
    assert path.read_bytes() == whole and workspace.trained_config().candidates.k_max == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_removal_from_damaged_files_changes_nothing(evaluated, tmp_path, kind):
    kept = copy_of(evaluated, tmp_path / "kept", "graph_encoder", ".*.partial", "evaluation")
    ids, refused = ids_file(kept, [7, 8]), []
    for path in files_of(kept.root):
        workspace = Workspace(shutil.copytree(kept.root, tmp_path / "copy"))
        file = workspace.root / path.relative_to(kept.root)
        with damaged(file, kind):
            before = state_of(workspace)
            found = answer_of(lambda w=workspace: removal.remove(w, ids))
            if isinstance(found, Refusal):
                assert found.names(file) or file.name in found.text, found.text
                assert state_of(workspace) == before
                refused.append(path.name)
        shutil.rmtree(workspace.root)
    assert {"category.npy", "patch_id.npy", "embeddings.npy", "train.npy", "removed_patches.json"} <= set(refused)
    assert not any(name.startswith("checkpoint") or "tfrecord" in name for name in refused)


def test_checksums_follow_a_removal_and_wait_for_one_that_was_killed(tiny_workspace, tmp_path, monkeypatch):
    workspace = copy_of(tiny_workspace, tmp_path / "copy")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(removal, "_drop_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        removal.remove(workspace, ids_file(workspace, [3]))
    assert artifacts.open_bank(workspace).removed[3]
    lists_of(workspace)
    removal.remove(workspace, ids_file(workspace, [3]))
    manifests = [integrity.read_json(workspace.root / s / "manifest.json", "-") for s in ("patch_bank", "candidates")]
    assert all("files" in manifest and "changing" not in manifest for manifest in manifests)
    bank_of(workspace), lists_of(workspace)
    with damaged(workspace.root / "candidates" / "train.npy", "changed"), pytest.raises(UserError, match="train.npy"):
        lists_of(workspace)
