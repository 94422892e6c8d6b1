"""Is this machine ready: python -m rgan_tf.doctor [--config_file=… [--params_override=…] [--workspace=…]]

One page, a line for each thing looked at: ok, or what would mend it. It is what to paste into an issue. Ends with exit
status 1 where something needs mending.
"""

import importlib.metadata
import pathlib
import platform
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Callable, NamedTuple

import psutil
from absl import flags
from packaging import requirements

from rgan_tf import commands  # isort: split

import tensorflow as tf

from pipelines.coco_stuff import protocol
from pipelines.visual_genome import annotations
from rgan_tf import config as config_lib
from rgan_tf import preflight
from rgan_tf.errors import UserError
from rgan_tf.fingerprints import stages_of
from rgan_tf.models.feature_weights import FeatureWeightsError
from rgan_tf.training import runtime
from rgan_tf.workspace import Workspace

_GIB = 2**30
# Where Keras gets VGG19 from.
_VGG19 = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
# Seconds for an address to answer.
_PATIENCE = 10
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


class Finding(NamedTuple):
    """What was looked at, what is there, and what would mend it, "" where all is well."""

    subject: str
    found: str
    mend: str = ""


def main() -> None:
    """Prints the page."""
    given = flags.FLAGS
    findings = [*software(), *devices(), *machine(pathlib.Path(given.workspace))]
    if given.config_file:
        findings += configuration(given.config_file, given.params_override, Workspace(given.workspace))
    for finding in findings:
        print(f"{'mend' if finding.mend else 'ok':6}{finding.subject:20}{finding.found}")
        if finding.mend:
            print(f"{'':26}-> {finding.mend}")
    sys.exit(1 if any(finding.mend for finding in findings) else 0)


def software() -> Iterator[Finding]:
    """Python, the package, and every package that it asks for, against the range it asks for."""
    version = importlib.metadata.version("rgan_tf")
    yield Finding("rgan_tf", f"{version}, Python {platform.python_version()}, {platform.platform()}")
    wanted = [requirements.Requirement(text) for text in importlib.metadata.requires("rgan_tf") or ()]
    fitting = []
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed != "missing" and requirement.specifier.contains(installed, prereleases=True):
            fitting.append(f"{requirement.name} {installed}")
        else:
            mend = f"pip install -c constraints.txt '{requirement.name}{requirement.specifier}'"
            yield Finding(requirement.name, installed, mend)
    yield Finding("packages", ", ".join(fitting))


def devices() -> Iterator[Finding]:
    """Processors; GPUs that the driver shows, that TensorFlow sees, and that compute what the CPU computes."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    yield Finding("processors", f"{cores} cores, {psutil.cpu_count()} threads, {platform.machine()}")
    shown, seen = _driver_shows(), tf.config.list_physical_devices("GPU")
    if shown and not seen:
        build = tf.sysconfig.get_build_info()
        mend = (
            f"install TensorFlow's own CUDA {build.get('cuda_version', '')} packages: "
            "pip install -c constraints.txt -e '.[gpu]'; see README, On GPUs"
        )
        yield Finding("GPUs", f"nvidia-smi shows {'; '.join(shown)}, TensorFlow none", mend)
    elif not seen:
        yield Finding("GPUs", "none; training works on the CPU")
    for index, device in enumerate(seen):
        yield _compute_on(f"GPU:{index}", device)


def _driver_shows() -> list[str]:
    """GPUs by nvidia-smi, a line each; none where there is no driver."""
    try:
        answer = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def _compute_on(name: str, device: tf.config.PhysicalDevice) -> Finding:
    """A convolution on the GPU against the same on the CPU."""
    details = tf.config.experimental.get_device_details(device)
    found = f"{details.get('device_name', '?')}, compute capability {details.get('compute_capability', '?')}"
    image, kernel = tf.random.stateless_normal([1, 32, 32, 8], [0, 0]), tf.ones([3, 3, 8, 8])
    try:
        results = []
        for place in ("CPU:0", name):
            with tf.device(place):
                results.append(tf.nn.conv2d(image, kernel, 1, "SAME"))
        difference = float(tf.reduce_max(tf.abs(results[0] - results[1])) / tf.reduce_max(tf.abs(results[0])))
    except tf.errors.OpError as error:
        return Finding(name, found, f"it cannot compute ({error.message}); see whether driver and CUDA packages fit")
    if not difference < 1e-2:
        return Finding(name, found, f"its convolution differs from the CPU's by {difference:.1g}; test its memory")
    return Finding(name, f"{found}, used; its convolution differs from the CPU's by {difference:.1g}")


def machine(folder: pathlib.Path) -> Iterator[Finding]:
    """Memory and disk, of which little that is free is worth a word."""
    total, free = preflight.machine_memory(), psutil.virtual_memory().available
    mend = "" if free > 2 * _GIB else "end other programs: training alone takes 2 GiB and more"
    yield Finding("memory", f"{total / _GIB:.1f} GiB, {free / _GIB:.1f} free", mend)
    usage = preflight.disk_usage(folder)
    mend = "" if usage.free > _GIB else "make room, or take a --workspace on another disk"
    yield Finding("disk", f"{usage.total / _GIB:.0f} GiB where {folder} lies, {usage.free / _GIB:.0f} free", mend)


def configuration(path: str, overrides: str, workspace: Workspace) -> Iterator[Finding]:
    """Whether a configuration can be used here, what it reads, and what it takes."""
    try:
        config = config_lib.load_config(path, overrides)
    except UserError as error:
        yield Finding("configuration", path, str(error))
        return
    yield Finding("configuration", path)
    strategy = yield from _looked_at(
        "strategy",
        lambda: runtime.prepare(runtime.alone(config.runtime)),
        lambda s: f"{config.runtime.distribution_strategy}, {s.num_replicas_in_sync} replica(s)",
    )
    yield from _looked_at("data", lambda: _source(config), str)
    yield from _looked_at("feature network", lambda: _feature_network(config), str)
    if config.model in config_lib.COUNTED_MODELS:
        yield from _estimated(config, strategy.num_replicas_in_sync if strategy else 1, workspace)
    else:
        yield Finding("memory and disk it takes", f"not known of {config.model}; try a few steps")
    done = [stage for stage in stages_of(config.model) if workspace.is_current(stage, config)]
    yield Finding("stages", f"current in {workspace.root}: {', '.join(done) or 'none'}")


def _estimated(config: config_lib.ExperimentConfig, replicas: int, workspace: Workspace) -> Iterator[Finding]:
    estimate = config_lib.estimate_memory(config, replicas)
    memory = f"about {estimate.training_memory / _GIB:.1f} GiB, of it {estimate.step_activations / _GIB:.1f} for a step"
    short = estimate.training_memory > preflight.machine_memory() and not tf.config.list_physical_devices("GPU")
    yield Finding("memory it takes", memory, "lower training.batch_size, if it does not fit" if short else "")
    if estimate.disk:
        free = preflight.disk_usage(workspace.root).free
        disk = f"about {estimate.disk / _GIB:.1f} GiB, checkpoints left out"
    else:
        free, disk = 0, f"{estimate.bank_disk_per_patch / 1024:.0f} KiB a patch; the number of scenes is not known here"
    yield Finding("disk it takes", disk, "make room" if estimate.disk > free else "")


def _looked_at(subject: str, look: Callable, tell: Callable) -> Iterator[Finding]:
    """A finding of what `look` gives, or of the sentence with which it fails; the value is returned, or None."""
    try:
        value = look()
    except UserError as error:
        yield Finding(subject, "cannot be used", str(error))
        return None
    yield Finding(subject, tell(value))
    return value


def _feature_network(config: config_lib.ExperimentConfig) -> str:
    preflight.check_feature_network(config)
    network = config.losses.feature_network
    if network.handle:
        return f"{network.handle}{_reached(network.handle)}"
    if network.weights == "imagenet":
        kept = pathlib.Path("~/.keras/models").expanduser() / pathlib.Path(_VGG19).name
        return f"VGG19, weights imagenet{f' in {kept}' if kept.exists() else _reached(_VGG19)}"
    return f"VGG19, weights {network.weights}"


def _reached(address: str) -> str:
    """ "" for a file, and how an address was reached.

    Raises:
      FeatureWeightsError: it was not.
    """
    if not address.startswith(("http://", "https://")):
        return ""
    try:
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "rgan_tf"})
        with urllib.request.urlopen(request, timeout=_PATIENCE):
            return f", to be downloaded from {address}"
    except OSError as error:
        raise FeatureWeightsError(
            f"{address} cannot be reached ({error}); connect to the network, or set losses.feature_network.weights to "
            "a .npz or .h5 file, or to random."
        ) from error


def _source(config: config_lib.ExperimentConfig) -> str:
    if config.data.builder == "coco_stuff":
        return f"COCO in {protocol.check_layout(config.data.source_dir)}"
    if config.data.builder == "visual_genome":
        return f"Visual Genome in {annotations.check_layout(config.data.source_dir)}"
    return "synthetic scenes, drawn here"


if __name__ == "__main__":
    flags.DEFINE_string("config_file", "", "A configuration to look at as well; see configs/.")
    flags.DEFINE_string("params_override", "", "Fields to override: key=value,key.subkey=value.")
    flags.DEFINE_string("workspace", "workspaces", "Where its artifacts would be; need not exist.")
    commands.run(main)
