"""Removals asked for badly, twice, or of workspaces that lack something, and what the command says."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from removal_workspaces import copy_of, ids_file, state_of

from pipelines.patch_bank import ledger, removal
from pipelines.patch_bank.bank import PatchBank, PatchBankError
from pipelines.patch_bank.cropping import cut_in_threads
from pipelines.patch_bank.writer import build
from rgan_tf import integrity
from rgan_tf.workspace import Workspace


@pytest.fixture
def bare(tiny_workspace, tmp_path):
    """A copy that a test may change: bank, candidates and embeddings alone."""
    return copy_of(tiny_workspace, tmp_path / "bare", "dataset", "graph_encoder")


def test_removing_again_changes_nothing_and_says_so(bare):
    first = removal.remove(bare, ids_file(bare, [4, 9]))
    assert first[0].startswith("2 patches removed") and first[0].endswith("; 0 were already gone.")
    once = state_of(bare)
    again = removal.remove(bare, ids_file(bare, [9, 4]))
    assert again[0].startswith("0 patches removed") and again[0].endswith("; 2 were already gone.")
    assert state_of(bare) == once
    more = removal.remove(bare, ids_file(bare, [4, 11]))
    assert more[0].startswith("1 patches removed") and more[0].endswith("; 1 were already gone.")
    assert [line.patch_id for line in ledger.read_ledger(bare.root)] == [4, 9, 11]


@pytest.mark.parametrize(
    "content, message",
    [
        ("3\nseven\n", r"line 2 is 'seven'; it must be a patch id"),
        ("3\n-1\n", "line 2 is '-1'"),
        ("3\n4.0\n", "line 2 is '4.0'"),
        ("3 4\n", "line 1 is '3 4'"),
        ("3\n1_0\n", "line 2 is '1_0'"),
        ("3\n٤\n", "line 2 is '٤'"),
        ("9" * 5000, "line 1 is '9{40}'"),
        ("3\n\n# three again\n03\n", "line 4 repeats the patch 3 of line 1"),
        ("3\n100000\n", r"line 2 names the patch 100000.*go from 0 to \d+"),
        ("# nothing\n\n", "names no patch"),
        (b"\xff\xfe3\n", "not text in UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_list_that_is_not_wholly_valid_changes_nothing(bare, tmp_path, content, message):
    path, before = tmp_path / "ids.txt", state_of(bare)
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PatchBankError, match=message) as error:
        removal.remove(bare, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert state_of(bare) == before


def test_lists_may_hold_comments_and_windows_line_ends(tmp_path):
    (tmp_path / "ids.txt").write_bytes("\ufeff# asked for on paper\r\n\r\n 12 # the sheep\r\n7".encode())
    assert removal.read_ids(tmp_path / "ids.txt") == {12: 3, 7: 4}


@pytest.mark.parametrize(
    "content", ["{", '{"format": 2, "patches": []}', '{"format": 1, "patches": [{"patch_id": 1}]}']
)
def test_a_ledger_that_cannot_be_read_stops_everything(bare, content):
    path = ids_file(bare, [1])
    (bare.root / ledger.LEDGER).write_text(content)
    before = state_of(bare)
    with pytest.raises(PatchBankError, match="removed_patches.json cannot be read"):
        removal.remove(bare, path)
    assert state_of(bare) == before


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_lost(bare):
    obstacle = bare.root / "candidates" / ".train.npy.partial"
    obstacle.mkdir()
    with pytest.raises(PatchBankError, match=r"\.train\.npy\.partial cannot be written.*run the same again"):
        removal.remove(bare, ids_file(bare, range(30)))
    obstacle.rmdir()
    removal.remove(bare, ids_file(bare, range(30)))
    assert np.load(bare.root / "candidates" / "train.npy").max() >= 30
    assert not np.isin(np.load(bare.root / "candidates" / "train.npy"), range(30)).any()


@pytest.mark.parametrize("stage, file", [("candidates", "train.npy"), ("cooccurrence", "embeddings.npy")])
def test_stages_that_are_not_of_this_bank_are_left_alone(bare, stage, file):
    manifest = bare.root / stage / "manifest.json"
    integrity.write_json(manifest, {**integrity.read_json(manifest, "-"), "fingerprint": "another"})
    before = state_of(bare)[f"{stage}/{file}"]
    report = removal.remove(bare, ids_file(bare, range(30)))
    assert f"{stage}: made from another bank and left as it is." in report
    assert state_of(bare)[f"{stage}/{file}"] == before


def test_later_stages_may_be_missing_and_leavings_of_a_killed_build_go(bare):
    for stage in ("candidates", "cooccurrence"):
        shutil.rmtree(bare.root / stage)
    shutil.copytree(bare.root / "patch_bank", bare.partial("patch_bank"))
    report = removal.remove(bare, ids_file(bare, [0]))
    assert not bare.partial("patch_bank").exists() and len(report) == 3
    assert np.flatnonzero(PatchBank.open(bare.directory("patch_bank")).removed).tolist() == [0]


def test_the_same_crop_goes_under_every_id(tmp_path):
    workspace, rng = Workspace(tmp_path / "w"), np.random.default_rng(0)
    whole, part = [0, 0, 1, 1], [0, 0, 0.5, 1]
    scenes = []
    for image_id in ("a", "b"):
        objects = {"category": np.array([1, 2, 3]), "box": np.array([whole, part, whole], np.float32)}
        image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        scenes.append(({"image": image, "image_id": image_id, "license": "x", "objects": objects}, np.ones((3, 2))))
    bank = build(cut_in_threads(lambda start: scenes, 8), workspace.root / "patch_bank", 6, 8, 2, progress=False)
    (workspace.root / "patch_bank" / "manifest.json").write_text("{}")
    report = removal.remove(workspace, ids_file(workspace, [5]))
    assert bank.category.tolist() == [1, 2, 3, 0, 2, 0]
    assert bank.license.tolist() == ["x", "x", "x", "", "x", ""]
    assert report[0].startswith("2 patches removed") and "1 that" in report[1] and report[1].endswith(": 3.")
    np.testing.assert_array_equal(bank.scene_rows(), [[0, 1, 2], [-1, 4, -1]])
    assert [bank.row_of(number) for number in (0, 4)] == [0, 4]
    for number, message in (
        (3, "Patch 3 was removed"),
        (6, "no patch 6; its ids go from 0 to 5"),
        (10**30, "no patch"),
    ):
        with pytest.raises(PatchBankError, match=message):
            bank.row_of(number)


def test_command_says_what_it_did_and_what_it_did_not(bare):
    command = [sys.executable, "-m", "pipelines.patch_bank", f"--workspace={bare.root}"]
    command.append(f"--remove={ids_file(bare, [5])}")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert PatchBank.open(bare.directory("patch_bank")).removed[5]
    for part in ("1 patches removed", "dropped from train.npy", "trained weights", "TensorBoard", "TF Serving"):
        assert part in done.stdout
