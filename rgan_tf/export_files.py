"""What the files of an exported version were, kept beside them in assets.extra, which servers leave alone."""

import pathlib
from collections.abc import Sequence

from rgan_tf import integrity

FILES = "assets.extra/files.json"
_MEND = "export the model again"


def record(folder: pathlib.Path) -> None:
    """Writes what the files of a whole version are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    integrity.write_json(folder / FILES, integrity.describe(folder, files))


def is_version(folder: pathlib.Path) -> bool:
    """Whether a folder holds an exported model, or what is left of one."""
    return (folder / "saved_model.pb").is_file() or (folder / FILES).is_file()


def check(folder, extras: Sequence[str] = (), everything: bool = False) -> None:
    """Holds a version's files against what was written; one of before there were checksums is taken as it is.

    Args:
      folder: `DIR/N`.
      extras: files of assets.extra that are to be read as well; the others are not looked at.
      everything: looks at all files, and reads the variables, whose checksums TensorFlow compares when it loads them.

    Raises:
      DamageError: a file is not as it was exported.
    """
    folder = pathlib.Path(folder)
    try:
        described = integrity.read_json(folder / FILES, _MEND)
    except FileNotFoundError:
        return
    if not everything:
        read = {name: entry for name, entry in described.items() if _is_model(name) or name in extras}
        described = {name: _size_of(entry) if name.startswith("variables/") else entry for name, entry in read.items()}
    integrity.check(folder, described, _MEND)


def _is_model(name: str) -> bool:
    return not name.startswith("assets.extra/")


def _size_of(entry: dict) -> dict:
    return {"size": entry["size"]}
