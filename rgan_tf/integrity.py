"""What files were when they were written: sizes and checksums, kept beside them and compared before they are read.

A checksum is CRC-32, which sees every change of a few bytes and every file cut short; it guards against damage, not
against people. A file that brings checksums of its own is recorded by its size alone. What was written before there
were checksums has none to compare, and is read as it is.
"""

import fnmatch
import json
import os
import pathlib
import zlib
from collections.abc import Iterable, Mapping

from rgan_tf.errors import UserError

_BLOCK = 1 << 20
_SEAL = "checksum"
# File -> what it was when its checksum was last right, so that a process reads a file for that only once.
_checked: dict[pathlib.Path, tuple] = {}


class DamageError(UserError):
    """A file that is not what it was when it was written; the message names it and the mend."""


def describe(folder: pathlib.Path, files: Iterable[pathlib.Path], self_checked: Iterable[str] = ()) -> dict[str, dict]:
    """What `check` compares: by name within the folder, each file's size and checksum.

    Args:
      folder: that holds the files.
      files: to be recorded.
      self_checked: patterns of file names that are recorded by their size alone.
    """
    described = {}
    for file in sorted(files):
        entry = {"size": file.stat().st_size}
        if not any(fnmatch.fnmatch(file.name, pattern) for pattern in self_checked):
            entry["crc32"] = _crc32(file)
        described[file.relative_to(folder).as_posix()] = entry
    return described


def check(folder: pathlib.Path, described: Mapping[str, Mapping], mend: str, contents: bool = True) -> None:
    """Holds a folder's files against what `describe` said of them.

    Args:
      folder: that holds the files.
      described: may be empty, which checks nothing.
      mend: the end of the sentence: what to do.
      contents: False compares sizes alone.

    Raises:
      DamageError: a file is missing, has another size or another content, or cannot be read.
    """
    for name, entry in described.items():
        file = folder / name
        try:
            found = file.stat()
            if found.st_size != entry["size"]:
                raise DamageError(f"{file} has {found.st_size} bytes instead of {entry['size']}; {mend}.")
            if not contents or "crc32" not in entry:
                continue
            state = (found.st_size, found.st_mtime_ns, found.st_ino, entry["crc32"])
            if _checked.get(file) == state:
                continue
            if _crc32(file) != entry["crc32"]:
                raise DamageError(f"{file} is not what was written there: its checksum differs; {mend}.")
            _checked[file] = state
        except FileNotFoundError as error:
            raise DamageError(f"{file} is missing; {mend}.") from error
        except OSError as error:
            raise DamageError(f"{file} cannot be read ({error.strerror}); {mend}.") from error


def write_json(path: pathlib.Path, content: dict) -> None:
    """Writes an object with a checksum of itself; a reader sees the old file or the whole new one."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(sealed(content), indent=1) + "\n", encoding="utf-8")
    os.replace(beside, path)


def read_json(path: pathlib.Path, mend: str) -> dict:
    """Reads an object that `write_json` wrote, or one without a checksum.

    Args:
      path: the file.
      mend: the end of the sentence where it is damaged.

    Raises:
      FileNotFoundError: there is none.
      DamageError: it is no such object, or its checksum differs.
    """
    try:
        return unsealed(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise DamageError(f"{path} cannot be read ({error.strerror}); {mend}.") from error
    except ValueError as error:
        raise DamageError(f"{path} is damaged ({error}); {mend}.") from error


def sealed(content: dict) -> dict:
    """An object of JSON with a checksum of itself added."""
    return {**content, _SEAL: _of_json(content)}


def unsealed(content) -> dict:
    """What `sealed` was given; an object without a checksum as it is.

    Raises:
      ValueError: it is no object, or its checksum differs.
    """
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} where an object is due")
    rest = {key: value for key, value in content.items() if key != _SEAL}
    if _SEAL in content and content[_SEAL] != _of_json(rest):
        raise ValueError("its checksum differs")
    return rest


def _of_json(content: dict) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _crc32(file: pathlib.Path) -> str:
    found = 0
    with open(file, "rb") as content:
        for block in iter(lambda: content.read(_BLOCK), b""):
            found = zlib.crc32(block, found)
    return f"{found:08x}"
