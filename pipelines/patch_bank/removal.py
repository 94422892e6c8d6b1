"""Patches taken down: out of a workspace's bank for good, and out of every bank that is built in it later.

A removal is first written to a ledger in the workspace's root, by picture and box, since a bank built anew may number
its patches differently. Then the bank's rows become tombstones (`patch_bank`), overwritten where they lie in the files,
and what was made from the bank loses them too. Every step goes over all that ledger and tombstones say, so that a
removal that was cut short is finished by running it again.
"""

import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import Callable

import numpy as np

from pipelines.patch_bank import ledger as ledger_lib
from pipelines.patch_bank.bank import EMBEDDINGS, PatchBank, PatchBankError, candidate_lists
from pipelines.patch_bank.ledger import LEDGER, RemovedPatch
from rgan_tf import locks
from rgan_tf.workspace import Workspace

# The category comes first: from then on a row is known by it, when picture and box are gone and the rest is not yet.
_ERASED = ("category", "patches", "patch_crc32", "graph_feature", "box", "image_id", "license")
# 18 digits fit an int64.
_PATCH_ID = re.compile(r"[0-9]{1,18}")


def read_ids(path) -> dict[int, int]:
    """Reads patch ids, one a line; blank lines and what follows a # do not count.

    Returns:
      id -> number of its line, from 1.

    Raises:
      PatchBankError: the file cannot be read, names no patch, or has a line that is no id or repeats one.
    """
    lines: dict[int, int] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                text = line.split("#", 1)[0].strip()
                if not text:
                    continue
                if not _PATCH_ID.fullmatch(text):
                    raise PatchBankError(
                        f"{path}, line {number} is {text[:40]!r}; it must be a patch id, a whole number from 0."
                    )
                if int(text) in lines:
                    raise PatchBankError(
                        f"{path}, line {number} repeats the patch {int(text)} of line {lines[int(text)]}; name it once."
                    )
                lines[int(text)] = number
    except OSError as error:
        raise PatchBankError(f"The list of patches {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PatchBankError(f"The list of patches {path} is not text in UTF-8; write one patch id a line.") from error
    if not lines:
        raise PatchBankError(f"{path} names no patch; write one patch id a line.")
    return lines


def remove(workspace: Workspace, ids_path) -> list[str]:
    """Removes the patches that a file names, and what is the same crop under another id: same picture, same box.

    Args:
      workspace: with a patch bank; candidates and co-occurrence embeddings are mended where they were made from it.
      ids_path: as `read_ids` takes it; ids that were removed before may be among them.

    Returns:
      What was done, a sentence each.

    Raises:
      PatchBankError: the file is no list of the bank's patches, or the ledger cannot be read: nothing was changed. Or a
        file could not be written: the same call finishes the removal when it can be.
      DamageError: a file of the bank, or of what was made from it, is damaged: nothing was changed.
      WorkspaceError: the workspace has no bank, or another process writes to it or evaluates it: figures of a bank that
        changes meanwhile would be of neither.
    """
    roots = [workspace.root, *workspace.lenders()]
    with locks.all_of(locks.writing, roots), locks.all_of(locks.writing, roots, "evaluation"):
        return _remove(workspace, ids_path)


def _remove(workspace: Workspace, ids_path) -> list[str]:
    directory = workspace.directory("patch_bank")
    bank, named, ledger = PatchBank.open(directory), read_ids(ids_path), ledger_lib.read_ledger(workspace.root)
    for stage in ("candidates", "cooccurrence"):
        if workspace.follows_inputs(stage):
            # For its checks: what is damaged is refused before anything is changed.
            workspace.directory(stage)
    rows, gone = _rows(bank, named, ids_path), bank.removed
    # What the ledger has and the bank still shows is left of a removal that was cut short.
    going = np.flatnonzero(_matching(bank, ledger + [_line(bank, row) for row in rows if not gone[row]]) & ~gone)
    lines = [_line(bank, row) for row in going]
    try:
        ledger_lib.write_ledger(workspace.root, list(dict.fromkeys(ledger + lines)))
        with workspace.changing("patch_bank"):
            erase_from_bank(directory, workspace.root)
        derived = erase_from_derived(workspace, directory, workspace.follows_inputs)
        leavings = _remove_leavings(workspace)
    except OSError as error:
        raise PatchBankError(
            f"{error.filename or directory} cannot be written: {error.strerror}; mend that and run the same again, for "
            "the removal may be half done."
        ) from error
    report = [f"{len(going)} patches removed from {directory}; {sum(gone[row] for row in rows)} were already gone."]
    others = [line.patch_id for line in lines if line.patch_id not in named]
    if others:
        report.append(
            f"Among them are {len(others)} that {ids_path} does not name, as the same crop under another id or left "
            f"over from a removal that was cut short: {', '.join(map(str, others))}."
        )
    kept = len(bank) - int(bank.removed.sum())
    return report + [f"The bank holds {kept} patches and {len(bank) - kept} removed ones."] + derived + leavings


def erase_from_bank(directory, root) -> list[str]:
    """Makes tombstones of all patches of a bank that the ledger in the workspace's `root` names by picture and box.

    Returns:
      What was done, a sentence each; nothing where the ledger is empty.

    Raises:
      PatchBankError: no whole bank, or a damaged ledger.
    """
    ledger = ledger_lib.read_ledger(root)
    if not ledger:
        return []
    bank = PatchBank.open(directory)
    matching = _matching(bank, ledger)
    erased = bank.removed | matching
    here = {_line(bank, row)[1:] for row in np.flatnonzero(matching)}
    elsewhere = [str(line.patch_id) for line in ledger if line[1:] not in here]
    for name in (*_ERASED, *(["coverage"] if bank.has_mattes else [])):
        _zero_rows(pathlib.Path(directory) / f"{name}.npy", erased)
    report = [f"{erased.sum()} patches of the bank stay removed; {LEDGER} names {len(ledger)}."]
    if elsewhere:
        report.append(f"The bank has no object of the picture and box of {', '.join(elsewhere)} in {LEDGER}.")
    return report


def erase_from_derived(workspace: Workspace, bank_directory, is_of_bank: Callable[[str], bool]) -> list[str]:
    """Takes a bank's removed patches out of the workspace's candidates and co-occurrence embeddings.

    Args:
      workspace: holds them, where they were made yet.
      bank_directory: the bank, removed patches already erased.
      is_of_bank: says of the stage "candidates" or "cooccurrence" whether it was made from this bank; where not, its
        rows are another bank's, and it is left as it is.

    Returns:
      What was done, a sentence each.

    Raises:
      PatchBankError: a file is damaged that has no checksum.
      DamageError: a file is damaged.
    """
    report = []
    removed = PatchBank.open(bank_directory).removed
    if not removed.any():
        return report
    for stage in ("candidates", "cooccurrence"):
        directory = workspace.root / stage
        if not directory.exists():
            continue
        if not is_of_bank(stage):
            report.append(f"{stage}: made from another bank and left as it is.")
            continue
        with workspace.changing(stage):
            if stage == "candidates":
                for path in sorted(directory.glob("*.npy")):
                    report.append(f"{stage}: {_drop_rows(path, removed)} entries dropped from {path.name}.")
            else:
                # Opened for its checks: the file must be whole and have one row a patch.
                PatchBank.open(bank_directory, directory / EMBEDDINGS)
                _zero_rows(directory / EMBEDDINGS, removed)
                report.append(f"{stage}: {removed.sum()} rows of {EMBEDDINGS} are zero.")
    return report


def _rows(bank: PatchBank, named: dict[int, int], path) -> list[int]:
    """The bank's row of every id, in the file's order."""
    row_of = dict(zip(bank.patch_id.tolist(), range(len(bank))))
    for patch_id, number in named.items():
        if patch_id not in row_of:
            raise PatchBankError(
                f"{path}, line {number} names the patch {patch_id}, which the bank does not have; its ids go from "
                f"{bank.patch_id.min()} to {bank.patch_id.max()}."
            )
    return [row_of[patch_id] for patch_id in named]


def _line(bank: PatchBank, row: int) -> RemovedPatch:
    return RemovedPatch(int(bank.patch_id[row]), str(bank.image_id[row]), tuple(bank.box[row].tolist()))


def _matching(bank: PatchBank, ledger: Sequence[RemovedPatch]) -> np.ndarray:
    """bool [M], which rows are of a picture and box that the ledger names."""
    found = np.zeros(len(bank), bool)
    if ledger:
        crops = {line[1:] for line in ledger}
        for row in np.flatnonzero(np.isin(bank.image_id, sorted({line.image_id for line in ledger}))):
            found[row] = _line(bank, row)[1:] in crops
    return found


def _zero_rows(path: pathlib.Path, chosen: np.ndarray) -> None:
    """Overwrites rows, chosen by bool [M], in their place in the file; on the disk when it returns."""
    array = np.lib.format.open_memmap(path, mode="r+")
    array[chosen] = np.zeros((), array.dtype)
    array.flush()


def _drop_rows(path: pathlib.Path, removed: np.ndarray) -> int:
    """Drops bank rows from the lists int32 [S, N, k] of a file, -1 filling their ends; returns how many it dropped."""
    lists = candidate_lists(path)
    dropped = (lists >= 0) & removed[lists]
    shorter = dropped.any(axis=-1)
    if shorter.any():
        kept = np.where(dropped[shorter], -1, lists[shorter])
        lists[shorter] = np.take_along_axis(kept, np.argsort(kept < 0, axis=-1, kind="stable"), axis=-1)
        ledger_lib.replace_file(path, lambda file: np.save(file, lists))
    return int(dropped.sum())


def _remove_leavings(workspace: Workspace) -> list[str]:
    """Removes what a killed run left of a bank: it may hold the patches, and is of no use to the next run."""
    leavings = workspace.partial("patch_bank")
    if not leavings.exists():
        return []
    shutil.rmtree(leavings)
    return [f"{leavings}, left by a run that was killed, is gone."]
