"""python -m pipelines.patch_bank --verify, on whole and on damaged banks."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from removal_workspaces import copy_of, ids_file

from pipelines.patch_bank import removal, verification
from pipelines.patch_bank.bank import PatchBank, PatchBankError


@pytest.fixture
def workspace(tiny_workspace, tmp_path):
    return copy_of(tiny_workspace, tmp_path / "w")


def bytes_of_patches(workspace):
    """Where the patches start in their file, the bytes of one, and the file."""
    path = workspace.root / "patch_bank" / "patches.npy"
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.offset, array[0].nbytes, path


def damage(workspace, *rows):
    start, size, path = bytes_of_patches(workspace)
    with open(path, "r+b") as file:
        for row in rows:
            file.seek(start + row * size + 7)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))


def test_a_whole_bank_with_removed_patches_is_as_it_was_written(workspace):
    removal.remove(workspace, ids_file(workspace, [3, 8]))
    (line,) = verification.verify(workspace)
    count = len(PatchBank.open(workspace.root / "patch_bank"))
    assert line == f"{count} patches, 2 of them removed: every file and every patch is what was written."


def test_every_damaged_patch_is_counted(workspace, monkeypatch):
    monkeypatch.setattr(verification, "_BATCH", 16)
    rows = [0, 15, 16, 17, 30, 31, 32, 33, 34, 35, 40, 41]
    damage(workspace, *rows)
    with pytest.raises(PatchBankError) as caught:
        verification.verify(workspace)
    named = ", ".join(map(str, rows[:10]))
    assert f"12 of {len(PatchBank.open(workspace.root / 'patch_bank'))} patches" in str(caught.value)
    assert f"(ids {named}, …); delete " in str(caught.value) and "--stage=patch_bank again" in str(caught.value)


def test_the_command(workspace):
    command = [sys.executable, "-m", "pipelines.patch_bank", f"--workspace={workspace.root}"]

    def run(*more):
        done = subprocess.run([*command, *more], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    code, printed, _ = run("--verify")
    assert code == 0 and printed.endswith("every patch is what was written.\n")
    damage(workspace, 5)
    code, printed, error = run("--verify")
    assert code == 2 and printed == "" and "1 of " in error and "(ids 5)" in error and "Traceback" not in error
    code, _, error = run("--verify", "--remove=ids.txt")
    assert code == 2 and "not both" in error


def test_other_files_are_compared_too(workspace):
    path = workspace.root / "patch_bank" / "box.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Exception, match="box.npy is not what was written there"):
        verification.verify(workspace)
