"""What tests share: a tiny configuration and a workspace in which every stage has run once."""

import ctypes
import fcntl
import functools
import gc
import os
import pathlib
import shutil

# FAISS's threads would spin while they wait for each other, and for the other test process's.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Before TensorFlow, as every command does: it computes alike here and there.
from rgan_tf import commands  # noqa: F401

# isort: split

import pytest
import tensorflow as tf

from rgan_tf import config as config_lib

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# Two logical CPUs, so that a mirrored strategy has two replicas; must precede any use of TensorFlow's devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.experimental.enable_op_determinism()
# Graphs run a few times here: optimizing them costs more than it saves.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


# Files of few long tests. Last in line, one process would run them while the other has nothing left to do.
_FIRST = (
    "test_baselines.py",
    "test_comparison.py",
    "test_workers.py",
    "test_learning.py",
    "test_step.py",
    "test_training.py",
    "test_refresh.py",
    "test_benchmark.py",
)


def pytest_collection_modifyitems(items):
    """Brings the long files to the front, in the order of `_FIRST`."""
    items.sort(key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else len(_FIRST))


def tiny_config(overrides: str = "") -> config_lib.ExperimentConfig:
    """configs/demo.yaml shrunk until every stage takes seconds."""
    return config_lib.load_config(REPOSITORY / "tests" / "tiny.yaml", overrides)


@functools.cache
def mirrored() -> tf.distribute.Strategy:
    """The one strategy of this process over both CPUs: a second one would number its collective operations as the first
    one did, whose shapes the process remembers."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def _made_once(tmp_path_factory, name, make):
    """A folder that the first of the test processes makes, and the others wait for; kept for further runs in the folder
    `TEST_FIXTURES`, if the environment names one."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    root = pathlib.Path(os.environ.get("TEST_FIXTURES", root))
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / f"{name}.made").exists():
            make(root / name)
            (root / f"{name}.made").touch()
    return root / name


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """What a test file's graphs took goes back to the system at its end; else the processes grow to many gigabytes."""
    yield
    tf.keras.backend.clear_session()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _workspace_of(tmp_path_factory, name, overrides=""):
    """A workspace whose stages were all run with the tiny configuration."""
    from rgan_tf.training.stages import StageRunner
    from rgan_tf.workspace import Workspace

    def make(directory):
        StageRunner(Workspace(directory), tiny_config(overrides), tf.distribute.get_strategy()).run()

    return Workspace(_made_once(tmp_path_factory, name, make))


@pytest.fixture(scope="session")
def tiny_workspace(tmp_path_factory):
    """A workspace whose stages were all run with the tiny configuration; tests must not write to it."""
    return _workspace_of(tmp_path_factory, "tiny")


# Patches that were cut out, of those that fill half of their box.
MATTES = "data.mattes=true,patch_bank.mattes=true,patch_bank.min_coverage=0.5,training.steps=2"


@pytest.fixture(scope="session")
def matte_workspace(tmp_path_factory):
    """As `tiny_workspace`, with patches that have mattes; tests must not write to it."""
    return _workspace_of(tmp_path_factory, "mattes", MATTES)


@pytest.fixture(scope="session")
def tiny_export(tiny_workspace, tmp_path_factory):
    """The folder of an exported model's versions, version 1 made from `tiny_workspace`; tests must not write to it."""
    from export.saved_model import export

    return _made_once(tmp_path_factory, "rgan_tf", lambda directory: export(tiny_workspace, directory))


@pytest.fixture(scope="session")
def scene_export(tiny_workspace, tmp_path_factory):
    """As `tiny_export`, of a model whose bad scenes answer for themselves; tests must not write to it."""
    from export.refusals import SCENE
    from export.saved_model import export

    return _made_once(tmp_path_factory, "by_scene", lambda directory: export(tiny_workspace, directory, mode=SCENE))


@pytest.fixture(scope="session")
def loaded_export(tiny_export):
    """Version 1 of `tiny_export`, loaded."""
    return tf.saved_model.load(str(tiny_export / "1"))


# Sections of the baselines that make each small; a configuration is `baseline_config(MODEL)`.
BASELINES = {
    "sg2im": "baseline.refinement_widths=[12,8],baseline.mask_size=4",
    "layout2im": "baseline.latent_dim=4,baseline.embedding_dim=4,baseline.width=4,baseline.lstm_widths=[6,4],"
    "baseline.residual_blocks=1,baseline.crop_size=8",
    "pastegan": "",
}


def baseline_config(model: str, more: str = "") -> config_lib.ExperimentConfig:
    """The tiny configuration of a baseline."""
    return tiny_config(",".join(filter(None, (f"model={model}", BASELINES[model], more))))


@pytest.fixture(scope="session")
def baseline_root(tiny_workspace, tmp_path_factory):
    """A function from a baseline's name to the tiny workspace, in which it was trained beside RetrieveGAN; tests must
    not write to it."""
    from rgan_tf.training.stages import StageRunner
    from rgan_tf.workspace import Workspace

    def make(model, directory):
        shutil.copytree(tiny_workspace.root, directory)
        StageRunner(Workspace(directory, model), baseline_config(model), tf.distribute.get_strategy()).run()

    return lambda model: _made_once(tmp_path_factory, model, functools.partial(make, model))


@pytest.fixture(scope="session")
def baselines_root(baseline_root, tmp_path_factory):
    """As of `baseline_root`, with all of them side by side."""

    def make(directory):
        for model in BASELINES:
            shutil.copytree(baseline_root(model), directory, dirs_exist_ok=True)

    return _made_once(tmp_path_factory, "baselines", make)
