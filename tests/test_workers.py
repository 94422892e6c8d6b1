"""Two processes that train together: they agree, and when one is killed the other ends and both resume."""

import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from conftest import BASELINES, REPOSITORY

from rgan_tf.training import checkpoints

PATIENCE = 400


class Training(NamedTuple):
    """A model that two workers train, and as many steps as it is killed in, with a checkpoint every other step."""

    model: str
    steps: int


# One loop trains both; the first is traced in seconds.
SG2IM, RETRIEVEGAN = Training("sg2im", 18), Training("retrievegan", 8)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Workers:
    """`rgan_tf.train` on one workspace, once for each worker."""

    def __init__(self, root, training, steps=None):
        hosts = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
        command = [sys.executable, "-m", "rgan_tf.train", "--config_file=tests/tiny.yaml", f"--workspace={root}"]
        settings = f"training.steps={steps or training.steps},training.panel_interval=0,training.keep_checkpoints=9"
        overrides = ",".join(filter(None, (f"model={training.model}", BASELINES.get(training.model, ""), settings)))
        command += [f"--params_override={overrides}", f"--worker_hosts={hosts}"]
        self.logs = [pathlib.Path(f"{root}.{index}.log") for index in range(2)]
        self.processes = []
        for index, log in enumerate(self.logs):
            with open(log, "w") as file:
                own = [*command, f"--task_index={index}"]
                self.processes.append(subprocess.Popen(own, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def wait(self, index):
        """A worker's exit status, and what it said."""
        status = self.processes[index].wait(PATIENCE)
        return status, self.logs[index].read_text()

    def wait_for(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert all(process.poll() is None for process in self.processes), [log.read_text() for log in self.logs]
            assert time.monotonic() < end, "nothing happened"
            time.sleep(0.02)


@pytest.fixture
def workspace(tiny_workspace, tmp_path):
    """A function from a name to a copy of the tiny workspace without its main training."""

    def copy(name):
        shutil.copytree(tiny_workspace.root, tmp_path / name, ignore=shutil.ignore_patterns("retrievegan*", ".lock"))
        return tmp_path / name

    return copy


def values(directory, step=None):
    """Everything that a checkpoint holds, by name."""
    path = checkpoints.newest(directory) if step is None else f"{directory}/checkpoint-{step}"
    reader = tf.train.load_checkpoint(str(path))
    names = [n for n in reader.get_variable_to_shape_map() if "save_counter" not in n and "OBJECT_GRAPH" not in n]
    return {name: reader.get_tensor(name) for name in names}


def assert_same(found, expected):
    assert found.keys() == expected.keys() and len(expected) > 50
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def assert_refused(status, said, worker):
    assert status == 2 and "Traceback" not in said, said
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"Worker {worker} lost another worker" in sentence and "start all workers again" in sentence


def train(root, training):
    with Workers(root, training) as workers:
        for index in range(2):
            status, said = workers.wait(index)
            assert status == 0, said


@pytest.mark.timeout(900)
@pytest.mark.parametrize("training", [SG2IM, pytest.param(RETRIEVEGAN, marks=pytest.mark.slow)], ids=lambda t: t.model)
def test_a_killed_worker_ends_the_other_and_both_resume_to_the_same_numbers(
    tiny_workspace, baseline_root, workspace, training
):
    undisturbed, killed = workspace("undisturbed"), workspace("killed")
    train(undisturbed, training)
    chief, other = undisturbed / training.model, undisturbed / training.model / ".worker-1"
    assert_same(values(other), values(chief))
    alone = tiny_workspace.root if training == RETRIEVEGAN else baseline_root(training.model)
    one = values(alone / training.model, 2)
    for name, value in values(chief, 2).items():
        # Before a normalization a bias has no gradient but rounding, of which Adam makes two steps of the rate, 1e-3;
        # its moments, which have names of their own, are held to the same as everything.
        layer, is_bias, _ = name.partition("/conv/bias/")
        idle = is_bias and any(other.startswith(f"{layer}/norm/") for other in one)
        np.testing.assert_allclose(value, one[name], atol=2e-3 if idle else 5e-5, err_msg=name)
    with Workers(killed, training) as workers:
        workers.wait_for((killed / training.model / "checkpoint-4.index").exists)
        workers.processes[1].send_signal(signal.SIGKILL)
        assert_refused(*workers.wait(0), worker=0)
    # As if it had been killed between the chief's checkpoint and its own.
    newest = checkpoints.newest(killed / training.model).name
    for file in (killed / training.model / ".worker-1").glob(f"{newest}.*"):
        file.unlink()
    train(killed, training)
    for directory in (killed / training.model, killed / training.model / ".worker-1"):
        assert_same(values(directory), values(chief))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lost_chief_ends_the_others(workspace):
    root = workspace("headless")
    with Workers(root, RETRIEVEGAN, steps=10_000) as workers:
        workers.wait_for(lambda: (root / "retrievegan" / ".worker-1" / "checkpoint-2.index").exists())
        workers.processes[0].send_signal(signal.SIGKILL)
        assert_refused(*workers.wait(1), worker=1)
