"""How a process is set up: logical CPUs, workers by flag, and a workspace of several workers that is used alone."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, mirrored, tiny_config

from rgan_tf import train
from rgan_tf.config import ConfigError
from rgan_tf.training import checkpoints, runtime

HOSTS = "10.0.0.1:2222,10.0.0.2:2222"


def configuration(hosts="", task=-1, strategy="", overrides=""):
    """What `rgan_tf.train` makes of its flags."""
    given = {"config_file": str(REPOSITORY / "tests" / "tiny.yaml"), "params_override": overrides}
    given.update({"worker_hosts": hosts, "task_index": task, "distribution_strategy": strategy})
    return train.configuration(types.SimpleNamespace(**given))


def test_logical_cpus_are_mirrored_over(monkeypatch):
    assert runtime.prepare(tiny_config("runtime.distribution_strategy=mirrored").runtime).num_replicas_in_sync == 1
    # As many as tests/conftest.py has made.
    monkeypatch.setenv(runtime.LOGICAL_CPUS, "2")
    assert runtime.prepare(tiny_config("runtime.distribution_strategy=mirrored").runtime).num_replicas_in_sync == 2
    assert runtime.prepare(tiny_config("runtime.distribution_strategy=one_device").runtime).num_replicas_in_sync == 1


@pytest.mark.parametrize("asked", ["0", None])
def test_commands_convolve_by_onednn_on_any_cpu_unless_told_not_to(asked):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment.update({"TF_ENABLE_ONEDNN_OPTS": asked} if asked else {})
    lines = (
        "from rgan_tf import train",
        "from tensorflow.python.util import _pywrap_util_port as port",
        "print(port.IsMklEnabled())",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(asked != "0")


@pytest.mark.parametrize("asked", ["0", "-1", "two", "65", "", "1.5", "²"])
def test_a_number_of_logical_cpus_that_is_none_is_refused(monkeypatch, asked):
    monkeypatch.setenv(runtime.LOGICAL_CPUS, asked)
    with pytest.raises(ConfigError, match=runtime.LOGICAL_CPUS):
        runtime.prepare(tiny_config().runtime)


def test_workers_are_given_by_flags():
    config = configuration(HOSTS, 1)
    assert config.runtime.worker_hosts == HOSTS and config.runtime.task_index == 1
    assert config.runtime.distribution_strategy == "multi_worker_mirrored"
    assert configuration().runtime.worker_hosts == ""


@pytest.mark.parametrize(
    "hosts, task, words",
    [(HOSTS, -1, "task_index"), (HOSTS, 2, "task_index"), ("a,b", 0, "worker_hosts"), ("", 1, "task")],
)
def test_workers_that_make_no_sense_are_refused(hosts, task, words):
    with pytest.raises(ConfigError, match=words):
        configuration(hosts, task)


def test_one_process_uses_the_workspace_of_several_alone():
    settings = configuration(HOSTS, 1).runtime
    assert runtime.prepare(runtime.alone(settings)).num_replicas_in_sync == 1
    plain = tiny_config("runtime.distribution_strategy=one_device").runtime
    assert runtime.alone(plain) is plain


def test_an_error_of_one_process_by_itself_is_no_lost_worker():
    with pytest.raises(tf.errors.UnavailableError), runtime.together(tf.distribute.get_strategy()):
        raise tf.errors.UnavailableError(None, None, "the disk is gone")


@pytest.mark.parametrize(
    "named, common",
    [
        ([[4, 2, 6], [4, 2, 6]], 6),
        ([[4, 2, 6], [4, 2]], 4),
        ([[], []], 0),
        ([[4], []], None),
        ([[8, 10], [4, 6]], None),
        ([[0], [0]], 0),
    ],
)
def test_the_common_step_is_the_last_that_every_worker_has(monkeypatch, named, common):
    """Workers' rows as the exchange would give them; tests/test_workers.py has the exchange itself."""
    strategy = tf.distribute.get_strategy()
    rows = np.full((2, 64), -1)
    for row, steps in zip(rows, named):
        row[: len(steps)] = steps
    monkeypatch.setattr(type(strategy), "run", lambda self, function: tf.constant(rows))
    assert runtime.common_step(strategy, named[0]) == common


def test_the_newest_steps_alone_are_exchanged():
    strategy = mirrored()
    assert runtime.common_step(strategy, list(range(10)), most=3) == 9
    assert runtime.common_step(strategy, []) == 0


def test_going_back_deletes_what_comes_after(tmp_path):
    step = tf.Variable(0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=step), tmp_path, 9, checkpoint_name=checkpoints.NAME)
    for number in (2, 4, 6):
        step.assign(number)
        manager.save(number)
    assert checkpoints.steps_of(tmp_path) == [2, 4, 6]
    checkpoints.go_back(tmp_path, 4)
    assert checkpoints.steps_of(tmp_path) == [2, 4] and tf.train.latest_checkpoint(tmp_path).endswith("-4")
    checkpoints.go_back(tmp_path, 0)
    assert checkpoints.steps_of(tmp_path) == [] and checkpoints.newest(tmp_path) is None
