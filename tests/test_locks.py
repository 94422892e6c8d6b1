"""One writer at a time: who is refused, what it is told, and that a lock goes with its process."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config
from removal_workspaces import copy_of, ids_file

from export import saved_model
from pipelines.patch_bank import removal
from rgan_tf import evaluate, locks
from rgan_tf.errors import WorkspaceError
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.training import runtime, stages
from rgan_tf.workspace import Workspace

# A process of its own that takes a lock, says so, and keeps it until it is killed.
HOLDER = """
import sys, time
from rgan_tf import locks
kind, folder, *part = sys.argv[1:]
with getattr(locks, kind)(folder, *part):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held_elsewhere(folder, *part, kind="writing"):
    """Another process's lock, which goes by SIGKILL; gives the process."""
    command = [sys.executable, "-c", HOLDER, kind, str(folder), *part]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def run_all(workspace):
    stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy()).run()


@pytest.fixture(scope="module")
def workspace(tiny_workspace, tmp_path_factory):
    """A workspace for tests that are refused, and change nothing."""
    return copy_of(tiny_workspace, tmp_path_factory.mktemp("locks") / "workspace")


def test_a_second_writer_is_told_process_host_and_command(tmp_path):
    took = []
    with held_elsewhere(tmp_path) as holder:
        # The best of three, since a busy machine may pause any of them.
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(WorkspaceError) as refused, locks.writing(tmp_path):
                pass
            took.append(time.monotonic() - started)
    assert min(took) < 1.0
    text = str(refused.value)
    assert f"process {holder.pid} on {socket.gethostname()} ({sys.executable} -c import sys, time" in text
    assert str(tmp_path) in text and "\n" not in text and len(text) < 600


def test_a_killed_process_leaves_no_lock(tmp_path):
    with held_elsewhere(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locks.writing(tmp_path):
            pass
    assert (tmp_path / ".lock").read_bytes() == b""


def test_neither_forked_nor_started_processes_keep_the_lock(tmp_path):
    with contextlib.ExitStack() as cleanup:
        with locks.writing(tmp_path):
            started = cleanup.enter_context(subprocess.Popen(["sleep", "600"], close_fds=False))
            cleanup.callback(started.kill)
            heard, said = os.pipe()
            forked = os.fork()
            if not forked:
                os.write(said, b"running")
                time.sleep(600)
                os._exit(0)
            assert os.read(heard, 7) == b"running"
            cleanup.callback(os.waitpid, forked, 0)
            cleanup.callback(os.kill, forked, signal.SIGKILL)
        with locks.writing(tmp_path):
            pass


def test_a_fork_that_ends_takes_nothing_from_its_parent(tmp_path):
    with locks.writing(tmp_path):
        name = (tmp_path / ".lock").read_bytes()
        forked = os.fork()
        if not forked:
            os._exit(0)
        os.waitpid(forked, 0)
        assert name and (tmp_path / ".lock").read_bytes() == name
        with pytest.raises(WorkspaceError, match=f"process {os.getpid()} "), locks.writing(tmp_path):
            pass


def test_parts_have_locks_of_their_own(tmp_path):
    with locks.writing(tmp_path), locks.writing(tmp_path, "worker-1"), locks.writing(tmp_path, "evaluation"):
        with pytest.raises(WorkspaceError, match="worker-1 is in use"), locks.writing(tmp_path, "worker-1"):
            pass


def test_readers_share_and_keep_writers_out(tmp_path):
    with held_elsewhere(tmp_path, kind="reading"), locks.reading(tmp_path):
        with pytest.raises(WorkspaceError, match="in use by process"), locks.writing(tmp_path):
            pass
    with locks.writing(tmp_path), pytest.raises(WorkspaceError, match="in use"), locks.reading(tmp_path):
        pass


def test_a_name_that_outlived_its_process_is_not_given(tmp_path):
    with held_elsewhere(tmp_path):
        ended = (tmp_path / ".lock").read_bytes()
    with locks.reading(tmp_path):
        (tmp_path / ".lock").write_bytes(ended)
        with pytest.raises(WorkspaceError, match="in use by another process"), locks.writing(tmp_path):
            pass


def test_every_writer_is_refused_while_another_writes(workspace, tmp_path):
    ids = ids_file(workspace, [3])
    with held_elsewhere(workspace.root) as holder:
        for write in (
            lambda: run_all(workspace),
            lambda: removal.remove(workspace, ids),
            lambda: saved_model.export(workspace, tmp_path / "models"),
        ):
            with pytest.raises(WorkspaceError, match=f"process {holder.pid} "):
                write()
    assert not (tmp_path / "models").exists()


def test_an_evaluation_is_alone_but_for_trainings(workspace):
    with held_elsewhere(workspace.root, "evaluation") as holder:
        for write in (
            lambda: evaluate.evaluate(workspace, Setting()),
            lambda: removal.remove(workspace, ids_file(workspace, [3])),
        ):
            with pytest.raises(WorkspaceError, match=f"evaluation is in use by process {holder.pid} "):
                write()
        with locks.writing(workspace.root):
            pass
    with held_elsewhere(workspace.root), pytest.raises(WorkspaceError, match="has no retrievegan"):
        evaluate.evaluate(workspace, Setting())


def test_workspaces_that_share_stages_hold_them_still(workspace, tmp_path):
    """As in an ablation: two rows with links to one workspace's bank."""
    rows = [Workspace(tmp_path / name) for name in "ab"]
    for row in rows:
        row.root.mkdir()
        for stage in ("dataset", "patch_bank"):
            (row.root / stage).symlink_to(workspace.root / stage)
        assert row.lenders() == [workspace.root.resolve()]
    assert workspace.lenders() == []
    ids = ids_file(workspace, [3])
    with held_elsewhere(workspace.root, kind="reading"):
        with locks.all_of(locks.reading, rows[1].lenders()), pytest.raises(WorkspaceError, match="in use by process"):
            removal.remove(rows[0], ids)
    with held_elsewhere(workspace.root), pytest.raises(WorkspaceError, match="in use by process"):
        run_all(rows[1])
    with held_elsewhere(workspace.root, "evaluation"), pytest.raises(WorkspaceError, match="evaluation is in use"):
        evaluate.evaluate(rows[0], Setting())


def test_two_exports_do_not_share_their_folder(workspace, tmp_path):
    with held_elsewhere(tmp_path, "models"), pytest.raises(WorkspaceError, match="models is in use by process"):
        saved_model.export(workspace, tmp_path / "models")


def test_workers_other_than_the_chief_hold_their_own_folder(workspace, monkeypatch):
    runner = stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy())
    made = []
    monkeypatch.setattr(runner, "_run_one", made.append)
    with held_elsewhere(workspace.root), monkeypatch.context() as patch:
        patch.setattr(runtime, "own_part", lambda strategy: "worker-1")
        runner.run("retrievegan")
        with locks.writing(workspace.root, "worker-1"), pytest.raises(WorkspaceError, match="worker-1 is in use"):
            runner.run("retrievegan")
    assert made == ["retrievegan"]


def test_the_second_of_two_trainings_ends_with_status_2(tmp_path):
    command = [sys.executable, "-m", "rgan_tf.train", "--config_file=tests/tiny.yaml", f"--workspace={tmp_path}"]
    with held_elsewhere(tmp_path) as holder:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"error: {tmp_path} is in use by process {holder.pid} on " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="file/.lock cannot be written"), locks.writing(tmp_path / "file"):
        pass
    with locks.reading(tmp_path / "missing"):
        assert not (tmp_path / "missing").exists()
