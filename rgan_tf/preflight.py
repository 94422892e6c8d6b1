"""What a training needs of this machine, looked at before its first stage begins: files, devices, memory, disk.

What a configuration must be by itself is checked when it is read (`rgan_tf.config`). A workspace's configuration is
also read where its pictures are only looked at; what is checked here matters to training alone.
"""

import pathlib
import shutil
from collections.abc import Collection

import psutil
import tensorflow as tf

from rgan_tf.config import COUNTED_MODELS, MODELS, ConfigError, ExperimentConfig, MemoryEstimate, estimate_memory
from rgan_tf.models import feature_weights
from rgan_tf.workspace import Workspace

# An estimate so many times as large as what there is can be wrong and still be too much.
_CERTAIN = 3
_TRAININGS = ("graph_encoder", "cooccurrence", *MODELS)
# Limits of a container: control groups, version 2 and 1. The first holds "max" where there is none.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_GIB = 2**30


def check(
    config: ExperimentConfig, workspace: Workspace, stages: Collection[str], strategy: tf.distribute.Strategy
) -> None:
    """Looks at what the stages that are going to be made need.

    Args:
      config: valid.
      workspace: in which they will be made.
      stages: their names; of one that is current, nothing is needed.
      strategy: on which they will be made.

    Raises:
      ConfigError: a batch cannot be shared equally, or memory or disk are surely too small.
      FeatureWeightsError: the main training's feature network is not where the configuration says.
    """
    stages = [stage for stage in stages if not workspace.is_current(stage, config)]
    replicas = strategy.num_replicas_in_sync
    reads = [name for stage in stages if stage in MODELS for name in MODELS[stage].reads]
    if any(name.startswith("losses") for name in reads) or reads and config.discriminators.projected:
        check_feature_network(config)
    trainings = [stage for stage in stages if stage in _TRAININGS]
    for stage in trainings:
        _check_share(config, stage, replicas)
    estimate = estimate_memory(config, replicas)
    if trainings and config.model in COUNTED_MODELS:
        on_gpus = config.runtime.num_gpus != 0 and bool(tf.config.list_physical_devices("GPU"))
        _check_memory(estimate, on_gpus)
    if stages:
        _check_disk(estimate, workspace.root)


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or the limit of the container around it."""
    limits = [psutil.virtual_memory().total]
    for path in _MEMORY_LIMITS:
        try:
            limits.append(int(pathlib.Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return min(limits)


def disk_usage(folder: pathlib.Path):
    """`shutil.disk_usage` of where a folder lies, or will."""
    return shutil.disk_usage(next(path for path in (folder, *folder.resolve().parents) if path.exists()))


def check_feature_network(config: ExperimentConfig) -> None:
    """Raises `FeatureWeightsError` where the perceptual network is a file that is not there."""
    network = config.losses.feature_network
    if not network.handle:
        feature_weights.check_source(network.weights)
    elif "://" not in network.handle and not pathlib.Path(network.handle).exists():
        raise feature_weights.FeatureWeightsError(
            f"losses.feature_network.handle: there is no {network.handle}; give the folder or archive of a SavedModel, "
            "or an address."
        )


def _check_share(config: ExperimentConfig, stage: str, replicas: int) -> None:
    training = config.training if stage in MODELS else getattr(config, stage).training
    if training.batch_size % replicas:
        field = "training.batch_size" if stage in MODELS else f"{stage}.training.batch_size"
        raise ConfigError(
            f"{field} is {training.batch_size}; it must be a multiple of the {replicas} devices that share a batch, "
            "so that the mean over them is the mean over the batch."
        )


def _check_memory(estimate: MemoryEstimate, on_gpus: bool) -> None:
    """Of GPUs' own memory nothing is known here: on them, what stays on the host is all that is looked at."""
    needed = estimate.training_memory - (estimate.step_activations if on_gpus else 0)
    needed, available = max(needed, estimate.scene_tables or 0), machine_memory()
    if needed > _CERTAIN * available:
        raise ConfigError(
            f"By this configuration training would need about {needed / _GIB:.0f} GiB of memory, and "
            f"{available / _GIB:.1f} GiB are there; lower the batch sizes, data.image_size, candidates.k_train or the "
            "widths."
        )


def _check_disk(estimate: MemoryEstimate, root: pathlib.Path) -> None:
    """The size of the whole disk counts, not what is free: part of the workspace may lie there already."""
    total = disk_usage(root).total
    if estimate.disk > _CERTAIN * total:
        raise ConfigError(
            f"By this configuration the workspace would take about {estimate.disk / _GIB:.0f} GiB, and the disk of "
            f"{root} has {total / _GIB:.0f}; lower data.train_scenes, patch_bank.patch_size or candidates.k_max."
        )
