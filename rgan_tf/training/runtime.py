"""Devices, precision and determinism of a process, from the configuration."""

import tensorflow as tf
from official.common import distribute_utils

from rgan_tf import config as config_lib


def prepare(runtime: config_lib.RuntimeConfig) -> tf.distribute.Strategy:
    """Applies the runtime configuration to the process and returns its distribution strategy.

    Raises:
      ConfigError: more GPUs are asked for than there are, or more than the strategy can use.
    """
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
    try:
        return distribute_utils.get_distribution_strategy(runtime.distribution_strategy, num_gpus=gpus)
    except ValueError as error:
        raise config_lib.ConfigError(
            f"runtime.distribution_strategy {runtime.distribution_strategy}: {error}"
        ) from error


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
