"""Workspaces from which patches are removed: copies, lists of ids, digests."""

import hashlib
import shutil

from rgan_tf.workspace import Workspace


def copy_of(workspace, path, *without):
    shutil.copytree(workspace.root, path, ignore=shutil.ignore_patterns("retrievegan*", *without))
    return Workspace(path)


def ids_file(workspace, ids):
    path = workspace.root.with_suffix(".ids")
    path.write_text("".join(f"{number}\n" for number in ids))
    return path


def state_of(workspace):
    """A digest of every file but those of locks, which hold nothing."""
    files = sorted(path for path in workspace.root.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(workspace.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
