"""Locks on folders: one writer at a time, refused at once where there is another.

A lock is the kernel's `flock` on a file in the folder. It goes with its process, however that ends, so none is ever
left behind; the file itself stays, and only says who holds the lock. A forked process does not keep it, since its copy
is closed below, and neither does a started one, since Python opens files so.

On NFS, Linux turns `flock` into a lock at the server, which other machines see. Mounted with `nolock` or `local_lock`,
or on file systems that lock on one machine alone, two machines do not see each other's locks.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Callable

import psutil

from rgan_tf.errors import WorkspaceError

_SHOWN = 200
# A holder writes its name right after it has the lock.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 1.0, 0.05
_held: set[BinaryIO] = set()


@contextlib.contextmanager
def writing(folder, part: str = "") -> Iterator[None]:
    """Holds a folder, which is made where it is missing, against all others that write to it or hold it still.

    Args:
      folder: as a whole, a workspace or a folder of exports.
      part: of the folder, which has a lock of its own: "evaluation", "worker-1", "export".

    Raises:
      WorkspaceError: another process holds it, which the message names, or the folder cannot be written.
    """
    path = _path(folder, part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "r+b", buffering=0, opener=_creating)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}; give a folder that can be.") from error
    with _locked(file, path, fcntl.LOCK_EX, pathlib.Path(folder) / part):
        yield


@contextlib.contextmanager
def reading(folder, part: str = "") -> Iterator[None]:
    """Holds a folder, or a part of it, still: others may hold it so too, but nobody can write to it.

    Raises:
      WorkspaceError: another process writes to it, which the message names.
    """
    path = _path(folder, part)
    try:
        file = open(path, "r+b", buffering=0, opener=_creating)
    except OSError:
        # Not ours to write to: a lock for reading needs no more than that.
        try:
            file = open(path, "rb", buffering=0)
        except OSError:
            # No writer has ever been here, or this one could not have made its file.
            yield
            return
    with _locked(file, path, fcntl.LOCK_SH, pathlib.Path(folder) / part):
        yield


@contextlib.contextmanager
def all_of(hold: Callable, folders: Iterable, part: str = "") -> Iterator[None]:
    """Holds several folders: `hold` is `writing` or `reading`.

    Raises:
      WorkspaceError: as `hold` does; nothing is held then.
    """
    with contextlib.ExitStack() as held:
        for folder in folders:
            held.enter_context(hold(folder, part))
        yield


def _path(folder, part: str) -> pathlib.Path:
    return pathlib.Path(folder) / (f".{part}.lock" if part else ".lock")


def _creating(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


@contextlib.contextmanager
def _locked(file: BinaryIO, path: pathlib.Path, kind: int, what: pathlib.Path) -> Iterator[None]:
    with file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(
                f"{what} is in use by {_holder(path)}; wait until that has ended, or stop it, and start again."
            ) from error
        except OSError as error:
            raise WorkspaceError(
                f"{path} cannot be locked: {error.strerror}; put the folder on a file system that has locks."
            ) from error
        _held.add(file)
        name = _name() if file.writable() else b""
        try:
            if name:
                os.ftruncate(file.fileno(), 0)
                os.pwrite(file.fileno(), name, 0)
            yield
        finally:
            # Another one that holds the folder still may have put its name here since.
            if name and not file.closed and os.pread(file.fileno(), 2 * len(name), 0) == name:
                os.ftruncate(file.fileno(), 0)
            _held.discard(file)


def _name() -> bytes:
    """This process, for others to read."""
    command = " ".join(" ".join(psutil.Process().cmdline()).split())
    command = command if len(command) <= _SHOWN else command[: _SHOWN - 1] + "…"
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "command": command}).encode()


def _holder(path: pathlib.Path) -> str:
    """Who holds a lock, in words; without a name where the one that is written there has ended."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            found = json.loads(path.read_bytes())
            if found["host"] != socket.gethostname() or psutil.pid_exists(found["process"]):
                return f"process {found['process']} on {found['host']} ({found['command']})"
        except (OSError, ValueError, TypeError, KeyError):
            pass
        if time.monotonic() > end:
            return "another process"
        time.sleep(_PAUSE_SECONDS)


def _forget() -> None:
    """In a forked process: closes its copies, which would keep the locks after their holder has ended."""
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_forget)
