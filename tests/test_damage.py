"""Damaged files of a workspace: a sentence that names the file and the mend, or the right result; never a wrong one."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from damages import KINDS, Refusal, answer_of, damaged, damaged_bytes, files_of
from removal_workspaces import copy_of, ids_file, state_of

import rgan_tf
from pipelines.patch_bank import removal
from pipelines.patch_bank.ledger import read_ledger
from rgan_tf import integrity
from rgan_tf.errors import UserError, WorkspaceError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.feature_networks import in_domain_classifier
from rgan_tf.evaluation.metrics.image_statistics import ImageFeatures, ImageStatistics
from rgan_tf.evaluation.scoring import Measurement, Setting
from rgan_tf.training import artifacts, checkpoints, stages
from rgan_tf.workspace import STAGES, Workspace

TRAINED = ("graph_encoder", "cooccurrence", "retrievegan")
COLUMNS = ("category", "graph_feature", "patch_id", "scene_index", "object_index", "box", "image_id", "license")


def digest(*values):
    """Of arrays and texts."""
    parts = [np.asarray(value).tobytes() if not isinstance(value, str) else value.encode() for value in values]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


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
    records.append(workspace, config, Setting(), figures, 4, 1.0)
    with pytest.raises(KeyboardInterrupt), workspace.making("graph_encoder", config) as partial:
        for path in (workspace.root / "graph_encoder").glob("checkpoint*"):
            shutil.copy(path, partial)
        raise KeyboardInterrupt
    return workspace


def checkpoint_of(directory):
    path = checkpoints.newest(directory)
    with checkpoints.reading(path):
        reader = tf.train.load_checkpoint(str(path))
        names = sorted(name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name)
        return digest(*names, *(reader.get_tensor(name) for name in names))


def bank_of(workspace):
    bank = artifacts.open_bank(workspace)
    rows = np.flatnonzero(~bank.removed)
    columns = [np.asarray(getattr(bank, name)) for name in COLUMNS]
    return digest(bank.gather_patches(rows), bank.gather_cooccurrence(rows), *columns)


def scenes_of(workspace, split):
    with artifacts.reading(workspace):
        source = artifacts.scene_source(workspace, tiny_config(), split)
        scenes = list(source.records().as_numpy_iterator())
    return digest(*(record["image"] for _, record in scenes), *(record["objects"]["box"] for _, record in scenes))


def lists_of(workspace):
    readers = [artifacts.bank_reader(workspace, tiny_config(), split) for split in stages.SPLITS]
    return digest(*(reader.candidates for reader in readers))


def classifier_of(workspace):
    found = in_domain_classifier.trained(tiny_config(), workspace)
    return digest(json.dumps(found.notes), *found.model.get_weights())


def statistics_of(workspace):
    found = ImageStatistics.load(workspace.root / "evaluation" / "real_statistics" / "mark.npz", "mark")
    return found and digest(found.moments.mean, found.moments.scatter, *(part.marginal for part in found.parts))


def resumed(workspace):
    """What a stage that was killed goes on from."""
    partial, kept = workspace.partial("graph_encoder"), workspace.root / "kept"
    shutil.copytree(partial, kept)
    try:
        with workspace.making("graph_encoder", tiny_config()):
            raise Resumed(checkpoint_of(partial) if checkpoints.newest(partial) else "anew")
    except Resumed as found:
        return str(found)
    finally:
        shutil.rmtree(partial)
        kept.rename(partial)


class Resumed(Exception):
    """Ends a stage in the making, as a kill would."""


# What commands read a workspace by.
READERS = {
    "current": lambda w: [w.is_current(stage, tiny_config()) for stage in STAGES],
    "config": lambda w: json.dumps(w.trained_config().as_dict()),
    "vocabulary": artifacts.vocabulary,
    "bank": bank_of,
    "candidates": lists_of,
    "figures": records.read,
    "ledger": lambda w: read_ledger(w.root),
    "classifier": classifier_of,
    "statistics": statistics_of,
    "resumption": resumed,
    **{split: lambda w, split=split: scenes_of(w, split) for split in stages.SPLITS},
    **{stage: lambda w, stage=stage: checkpoint_of(w.directory(stage)) for stage in TRAINED},
}


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
            for name, read in READERS.items():
                found, case = answer_of(lambda read=read: read(evaluated)), (name, path.name, kind)
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
    for stage in STAGES:
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


def test_the_manifest_of_a_training_is_made_anew_and_nothing_trained_is_lost(tiny_workspace, tmp_path, monkeypatch):
    workspace = Workspace(shutil.copytree(tiny_workspace.root, tmp_path / "copy"))
    manifest, trained = workspace.root / "retrievegan" / "manifest.json", []
    whole = manifest.read_bytes()
    monkeypatch.setattr(stages.loop, "train", lambda trainer, run: trained.append(run.directory))
    for damage in ("cut", "changed"):
        manifest.write_bytes(damaged_bytes(whole, damage, 1))
        with pytest.raises(UserError, match="manifest.json is damaged .*; delete it and run python -m rgan_tf.train"):
            stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy()).run()
    manifest.unlink()
    stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy()).run()
    assert trained == [workspace.root / "retrievegan"] and manifest.read_bytes() == whole
    assert not list(workspace.root.glob("retrievegan.*"))


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
