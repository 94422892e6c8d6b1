"""The ledger of patches taken down: by picture and box, since a bank built anew may number its patches differently."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Callable, NamedTuple

from pipelines.patch_bank.bank import MANIFEST, PatchBank, PatchBankError
from rgan_tf import integrity

LEDGER = "removed_patches.json"
_FORMAT = 1


class RemovedPatch(NamedTuple):
    """A line of the ledger: the patch's id when it was removed, its picture, and its box as float32 gives it."""

    patch_id: int
    image_id: str
    box: tuple[float, float, float, float]


def read_ledger(root) -> list[RemovedPatch]:
    """The ledger of a workspace, empty where nothing was ever removed.

    Raises:
      PatchBankError: it is there and cannot be read, or it is gone while the bank shows that patches were removed.
    """
    path = pathlib.Path(root) / LEDGER
    mend = "restore it from a copy, for without it a bank built anew would hold the removed patches again"
    try:
        content = integrity.unsealed(json.loads(path.read_text(encoding="utf-8")))
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, this version reads {_FORMAT}")
        return [_parse(patch) for patch in content["patches"]]
    except FileNotFoundError as error:
        if _has_tombstones(pathlib.Path(root) / "patch_bank"):
            raise PatchBankError(f"{path} is missing, though the bank lost patches; {mend}.") from error
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PatchBankError(f"{path} cannot be read ({type(error).__name__}: {error}); {mend}.") from error


def _has_tombstones(bank_directory: pathlib.Path) -> bool:
    """Whether a whole bank lies there and shows that patches were removed."""
    if not (bank_directory / MANIFEST).is_file():
        return False
    return bool(PatchBank.open(bank_directory).removed.any())


def _parse(patch: dict) -> RemovedPatch:
    x0, y0, x1, y1 = map(float, patch["box"])
    return RemovedPatch(int(patch["patch_id"]), str(patch["image_id"]), (x0, y0, x1, y1))


def write_ledger(root: pathlib.Path, ledger: Sequence[RemovedPatch]) -> None:
    """Puts a ledger in the place of the one in a workspace's root."""
    content = integrity.sealed({"format": _FORMAT, "patches": [line._asdict() for line in ledger]})
    replace_file(root / LEDGER, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))


def replace_file(path: pathlib.Path, write: Callable) -> None:
    """Writes beside, to the disk, and renames, so that the file is the old one or the whole new one."""
    beside = path.with_name(f".{path.name}.partial")
    with open(beside, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
