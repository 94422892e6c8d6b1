"""Damage to files: what can happen to one, and what a command may answer then."""

import contextlib
import zlib

import numpy as np

from rgan_tf.errors import UserError

KINDS = ("cut", "emptied", "changed", "missing")


def files_of(folder):
    """Every file below a folder but those of locks, which hold nothing."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def damaged_bytes(whole, kind, seed):
    """A file's bytes after damage: cut in the middle, none left, or one of them another."""
    if kind == "cut":
        return whole[: len(whole) // 2]
    if kind == "emptied":
        return b""
    rng = np.random.default_rng(seed)
    place = int(rng.integers(len(whole)))
    return whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :]


@contextlib.contextmanager
def damaged(path, kind, seed=0):
    """A file under damage; whole again afterwards. The byte that changes is another for every file and seed."""
    whole = path.read_bytes()
    path.unlink()
    if kind != "missing":
        path.write_bytes(damaged_bytes(whole, kind, zlib.crc32(path.name.encode()) + seed))
    try:
        yield
    finally:
        path.write_bytes(whole)


def answer_of(command):
    """What a command gives, or the sentence with which it refuses; anything else that it raises is a failure."""
    try:
        return command()
    except UserError as error:
        return Refusal(error)


class Refusal:
    """A sentence."""

    def __init__(self, error):
        self.text = str(error)

    def names(self, path):
        """Whether it is one line that names the file, its checkpoint, its folder, or the stage that makes it."""
        stem = path.with_suffix("") if path.suffix == ".index" or ".data-" in path.suffix else path
        names = (str(path), str(stem), str(path.parent), f"--stage={path.parent.name} ")
        named = any(name in self.text for name in names) or f"{path.parent.parent} was not evaluated" in self.text
        return named and "\n" not in self.text
