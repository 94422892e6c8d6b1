"""Which checkpoint of a folder is the newest, and what to do where it is damaged.

TensorFlow keeps a file "checkpoint" with the names of a folder's checkpoints, the newest last. It is believed, since a
run may have been killed while it wrote a newer one; where it is damaged or gone, the files' names say what it said.
A checkpoint's own files have checksums, which TensorFlow compares when it reads them.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Optional

import tensorflow as tf
from absl import logging
from google.protobuf import message, text_format
from tensorflow.python.training import checkpoint_state_pb2

from rgan_tf.config import MODELS
from rgan_tf.errors import WorkspaceError
from rgan_tf.runtime_messages import sentence_of

NAME = "checkpoint"
_FILE = re.compile(r"(.+-[0-9]+)\.(index|data-[0-9]{5}-of-[0-9]{5})")


def newest(directory) -> Optional[pathlib.Path]:
    """The newest checkpoint of a stage's folder, as TensorFlow names it, without an ending; None before the first.

    Raises:
      WorkspaceError: it is not whole, or its files were deleted where no other one will do.
    """
    directory = pathlib.Path(directory)
    found, named = _on_disk(directory), _named(directory)
    if not found and not named:
        return None
    there = [name for name in named if name in found] or sorted(found, key=step)
    if named and (not there or (_is_finished(directory) and named[-1] != there[-1])):
        raise WorkspaceError(_sentence(directory / named[-1], "its files are missing"))
    if named[-1:] != there[-1:]:
        logging.warning("%s does not say what is there: %s is taken for the newest.", directory / NAME, there[-1])
    path = directory / there[-1]
    missing = [ending for ending in ("index", "data") if not any(e.startswith(ending) for e in found[there[-1]])]
    if missing:
        raise WorkspaceError(_sentence(path, f"its .{missing[0]} file is missing"))
    return path


def settle(directory) -> None:
    """Makes TensorFlow's file name what is there, before a training that goes on reads it."""
    directory, path = pathlib.Path(directory).absolute(), newest(directory)
    if path is None or _named(directory)[-1:] == [path.name]:
        return
    kept = [name for name in sorted(_on_disk(directory), key=step) if step(name) <= step(path.name)]
    times = [(directory / f"{name}.index").stat().st_mtime for name in kept if (directory / f"{name}.index").exists()]
    tf.compat.v1.train.update_checkpoint_state(
        str(directory),
        path.name,
        kept,
        all_model_checkpoint_timestamps=times if len(times) == len(kept) else None,
        last_preserved_timestamp=0.0,
    )


def steps_of(directory) -> list[int]:
    """The steps of the checkpoints up to the newest, ascending."""
    path = newest(directory)
    found = [] if path is None else map(step, _on_disk(pathlib.Path(directory)))
    return sorted(number for number in found if number <= step(path))


def go_back(directory, last: int) -> None:
    """Deletes the checkpoints of steps after `last`, which a training that goes on from there writes again."""
    directory = pathlib.Path(directory)
    for name in sorted(_on_disk(directory), key=step, reverse=True):
        if step(name) > last:
            logging.warning("%s goes: another worker has none of its step.", directory / name)
            for file in directory.glob(f"{name}.*"):
                file.unlink()
    if not _on_disk(directory):
        (directory / NAME).unlink(missing_ok=True)
    settle(directory)


@contextlib.contextmanager
def reading(path: Optional[pathlib.Path]) -> Iterator[None]:
    """Makes a sentence of what TensorFlow raises where a checkpoint is damaged.

    Raises:
      WorkspaceError: names the checkpoint, and the one before it with how to go back to it, or what to make again.
    """
    try:
        yield
    except (tf.errors.OpError, IndexError, message.DecodeError) as error:
        if path is None:
            raise
        raise WorkspaceError(_sentence(path, sentence_of(str(error)))) from error


def step(name) -> int:
    """The training step of a checkpoint by its name or path."""
    return int(str(name).rpartition("-")[2])


def _on_disk(directory: pathlib.Path) -> dict[str, list[str]]:
    """Endings of the files of each checkpoint that has any."""
    found: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*-*")):
        match = _FILE.fullmatch(path.name)
        if match:
            found.setdefault(match[1], []).append(match[2])
    return found


def _named(directory: pathlib.Path) -> list[str]:
    """The checkpoints that TensorFlow's file names, the newest last; none where it is missing or contradicts itself."""
    state = checkpoint_state_pb2.CheckpointState()
    try:
        text_format.Parse((directory / NAME).read_text(encoding="utf-8"), state)
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        return []
    names = [pathlib.PurePath(path).name for path in state.all_model_checkpoint_paths]
    # TensorFlow says the newest twice.
    consistent = names and pathlib.PurePath(state.model_checkpoint_path).name == names[-1]
    return names if consistent and re.fullmatch(".+-[0-9]+", names[-1]) else []


def _is_finished(directory: pathlib.Path) -> bool:
    """Whether it is of a finished stage before the main training, whose other artifacts come from its last step."""
    return directory.name not in MODELS and (directory / "manifest.json").exists()


def _sentence(path: pathlib.Path, reason: str) -> str:
    directory = path.parent
    said = f"The checkpoint {path} is damaged ({reason.rstrip('.')});"
    if _is_finished(directory):
        return f"{said} delete {directory} and run python -m rgan_tf.train … --stage={directory.name} again."
    earlier = [name for name in sorted(_on_disk(directory), key=step) if step(name) < step(path.name)]
    if not earlier:
        return f"{said} there is none before it, so delete {directory} and train again from the start."
    return f"{said} delete {path}.* to go back to {earlier[-1]}, the one before it, and train on from there."
