"""Devices, precision and determinism of a process, from the configuration; the processes of a training together."""

import contextlib
import os
from collections.abc import Iterator
from typing import Optional

import tensorflow as tf
from official.common import distribute_utils

from rgan_tf import config as config_lib
from rgan_tf.errors import UserError

# Splits the CPU, so that mirroring can be tried where there is no GPU.
LOGICAL_CPUS = "RGAN_TF_LOGICAL_CPUS"
_MOST_LOGICAL_CPUS = 64


class WorkerLostError(UserError):
    """Another of the processes that train together is gone."""


def prepare(runtime: config_lib.RuntimeConfig) -> tf.distribute.Strategy:
    """Applies the runtime configuration to the process and returns its distribution strategy.

    With several workers it waits until all of them are there.

    Raises:
      ConfigError: more GPUs are asked for than there are, or more than the strategy can use; or the number of logical
        CPUs is none.
    """
    cpus = _split_cpu()
    found = len(tf.config.list_physical_devices("GPU"))
    gpus = found if runtime.num_gpus < 0 else runtime.num_gpus
    if gpus > found:
        raise config_lib.ConfigError(
            f"runtime.num_gpus is {gpus}, but this machine shows {found}; ask for fewer, or -1."
        )
    workers = distribute_utils.configure_cluster(runtime.worker_hosts or None, runtime.task_index)
    if workers > 1 and runtime.distribution_strategy != "multi_worker_mirrored":
        raise config_lib.ConfigError(
            f"runtime.worker_hosts names {workers} workers; set runtime.distribution_strategy to multi_worker_mirrored."
        )
    if runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if runtime.mixed_precision else "float32")
    if cpus > 1 and gpus == 0 and runtime.distribution_strategy == "mirrored":
        return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(cpus)])
    if workers > 1:
        print(f"Worker {runtime.task_index} of {workers} waits for the others.", flush=True)
    try:
        return distribute_utils.get_distribution_strategy(runtime.distribution_strategy, num_gpus=gpus)
    except ValueError as error:
        raise config_lib.ConfigError(
            f"runtime.distribution_strategy {runtime.distribution_strategy}: {error}"
        ) from error


def alone(runtime: config_lib.RuntimeConfig) -> config_lib.RuntimeConfig:
    """The configuration for a process by itself, of one that may have been for several workers together."""
    if not runtime.worker_hosts:
        return runtime
    return runtime.replace(worker_hosts="", task_index=-1, distribution_strategy="mirrored")


def _split_cpu() -> int:
    """Logical CPUs that the environment asks for; 1 where it does not."""
    asked = os.environ.get(LOGICAL_CPUS, "1")
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= _MOST_LOGICAL_CPUS:
        raise config_lib.ConfigError(
            f"{LOGICAL_CPUS} is {asked!r}; it must be a number of logical CPUs from 1 to {_MOST_LOGICAL_CPUS}."
        )
    cpu, count = tf.config.list_physical_devices("CPU")[0], int(asked)
    if count > 1 and len(tf.config.get_logical_device_configuration(cpu) or ()) != count:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    return count


@contextlib.contextmanager
def together(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Makes a sentence of what a process meets in a block when another worker is gone.

    Raises:
      WorkerLostError: it is. It was noticed at the next exchange of gradients, or within half a minute.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if worker_count(strategy) == 1:
            raise
        raise WorkerLostError(
            f"Worker {strategy.cluster_resolver.task_id} lost another worker, without which it cannot go on: start all "
            "workers again, and they resume from the newest checkpoint that they share."
        ) from error


def common_step(strategy: tf.distribute.Strategy, steps: list[int], most: int = 64) -> Optional[int]:
    """The last of the steps that every worker names, of each the newest `most` at most.

    Returns:
      0 where no worker names one; None where some do, but none that all of them do.
    """
    row = sorted(steps)[-most:]
    row = tf.constant([row + [-1] * (most - len(row))], tf.int64)

    def gather():
        return tf.distribute.get_replica_context().all_gather(row, axis=0)

    rows = strategy.experimental_local_results(strategy.run(tf.function(gather)))[0].numpy()
    named = [{step for step in other.tolist() if step >= 0} for other in rows]
    if not any(named):
        return 0
    return max(set.intersection(*named), default=None)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes what all workers share."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type in (None, "", "chief"):
        return True
    return "chief" not in resolver.cluster_spec().as_dict() and resolver.task_id == 0


def own_part(strategy: tf.distribute.Strategy) -> str:
    """The name of what this process alone writes to in a workspace that workers share; "", the whole, for the chief."""
    return "" if is_chief(strategy) else f"worker-{strategy.cluster_resolver.task_id}"


def worker_count(strategy: tf.distribute.Strategy) -> int:
    """Processes that train together."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver is not None else {}
    return max(1, len(cluster.get("worker", [])) + len(cluster.get("chief", [])))
