"""Where every artifact of an experiment lives, and whether it is current.

A workspace is one directory. Each stage owns one folder in it, made whole or not at all: work goes on in a hidden
folder beside it, which gets its name when it is done. A manifest keeps the fingerprint of what the stage was made from:
its part of the configuration and the fingerprints of its inputs.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

from absl import logging

from rgan_tf import config as config_lib
from rgan_tf.errors import WorkspaceError

# In the order in which they run; each with the stages it reads.
STAGES: dict[str, tuple[str, ...]] = {
    "dataset": (),
    "graph_encoder": ("dataset",),
    "patch_bank": ("dataset", "graph_encoder"),
    "candidates": ("patch_bank",),
    "cooccurrence": ("patch_bank",),
    "retrievegan": ("candidates", "cooccurrence"),
}
_MANIFEST = "manifest.json"
# Fields that say how a run reports, not what it learns.
_REPORTING = ("summary_interval", "panel_interval", "checkpoint_interval", "keep_checkpoints")


class Workspace:
    """The artifacts under one directory, laid out as WORKSPACE.md describes."""

    def __init__(self, root):
        """Takes the directory, which need not exist yet."""
        self.root = pathlib.Path(root)

    def directory(self, stage: str) -> pathlib.Path:
        """The folder of a finished stage.

        Raises:
          WorkspaceError: the stage has not been run.
        """
        if stage == "retrievegan":
            ready = any((self.root / stage).glob("checkpoint*"))
        else:
            ready = (self.root / stage / _MANIFEST).is_file()
        if not ready:
            raise WorkspaceError(
                f"The workspace {self.root} has no {stage}; "
                f"run python -m rgan_tf.train --config_file=… --workspace={self.root} --stage={stage} first."
            )
        return self.root / stage

    def is_current(self, stage: str, config: config_lib.ExperimentConfig) -> bool:
        """Whether the stage is finished and was made from this configuration and these inputs."""
        manifest = self._manifest(self.root / stage)
        return manifest.get("fingerprint") == fingerprint(stage, config) and manifest.get("steps", 0) >= (
            config.training.steps if stage == "retrievegan" else 0
        )

    def follows_inputs(self, stage: str) -> bool:
        """Whether a stage before the main training was made from its inputs as they lie here, by any configuration."""
        manifest = self._manifest(self.root / stage)
        inputs = [self._manifest(self.root / name).get("fingerprint") for name in STAGES[stage]]
        return manifest.get("fingerprint") == _hash(manifest.get("configuration"), inputs)

    def partial(self, stage: str) -> pathlib.Path:
        """The folder in which a stage is made, and which a killed run leaves behind."""
        return self.root / f".{stage}.partial"

    @contextlib.contextmanager
    def making(self, stage: str, config: config_lib.ExperimentConfig) -> Iterator[pathlib.Path]:
        """Gives the folder in which to make a stage, and moves it to its place when the block ends well.

        What an earlier, killed run left there is given again if it was made from the same configuration and inputs, so
        that training can resume; else it is removed.
        """
        partial = self.partial(stage)
        mark = {"fingerprint": fingerprint(stage, config)}
        if partial.exists() and self._manifest(partial, "pending.json") != mark:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        _write_json(partial / "pending.json", mark)
        yield partial
        (partial / "pending.json").unlink()
        _write_json(partial / _MANIFEST, {**mark, "stage": stage, "configuration": _part(stage, config)})
        final = self.root / stage
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)

    @contextlib.contextmanager
    def training(self, config: config_lib.ExperimentConfig, chief: bool = True) -> Iterator[pathlib.Path]:
        """Gives the folder of the main training, which is filled in place so that it can be watched and used meanwhile.

        A training from another configuration is set aside under a name of its own, never removed, and comes back to its
        place when its configuration does. Of several workers the chief alone does this book-keeping.
        """
        directory = self.root / "retrievegan"
        if not chief:
            yield directory
            return
        mark = {"fingerprint": fingerprint("retrievegan", config)}
        found = self._manifest(directory).get("fingerprint")
        if directory.exists() and found != mark["fingerprint"]:
            aside = self.root / f"retrievegan.{found or 'unknown'}"
            logging.warning("The configuration or an input changed: the earlier training moves to %s.", aside)
            directory.rename(aside)
        earlier = self.root / f"retrievegan.{mark['fingerprint']}"
        if earlier.exists():
            earlier.rename(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _write_json(directory / _MANIFEST, {**mark, "steps": self._manifest(directory).get("steps", 0)})
        config_lib.save_config(config, directory / "config.yaml")
        yield directory
        _write_json(directory / _MANIFEST, {**mark, "steps": config.training.steps})

    def trained_config(self, overrides: str = "") -> config_lib.ExperimentConfig:
        """The configuration of the main training.

        Args:
          overrides: as of `config_lib.load_config`, of fields that shape no stage.

        Raises:
          WorkspaceError: there has been no main training, or an override would describe another one.
        """
        path = self.directory("retrievegan") / "config.yaml"
        config, trained = config_lib.load_config(path, overrides), config_lib.load_config(path)
        if fingerprint("retrievegan", config) != fingerprint("retrievegan", trained):
            raise WorkspaceError(
                f"The override {overrides!r} describes another training than that of {self.root}; "
                "override fields of evaluation alone."
            )
        return config

    @staticmethod
    def _manifest(directory: pathlib.Path, name: str = _MANIFEST) -> dict:
        try:
            return json.loads((directory / name).read_text())
        except (OSError, json.JSONDecodeError):
            return {}


def fingerprint(stage: str, config: config_lib.ExperimentConfig) -> str:
    """A short hash of all that a stage's result depends on: its configuration and, in turn, its inputs'."""
    return _hash(_part(stage, config), [fingerprint(name, config) for name in STAGES[stage]])


def _hash(part, inputs) -> str:
    content = {"part": part, "inputs": inputs}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _part(stage: str, config: config_lib.ExperimentConfig) -> dict:
    """The part of the configuration that a stage itself depends on."""
    tree = config.as_dict()
    if stage == "dataset":
        return {"data": _without(tree["data"], "max_triples", "shuffle_buffer")}
    if stage in ("graph_encoder", "cooccurrence"):
        part = {**tree[stage], "training": _without(tree[stage]["training"], *_REPORTING)}
        return {stage: part, "data": tree["data"], "seed": config.seed}
    if stage == "patch_bank":
        return {stage: tree[stage]}
    if stage == "candidates":
        return {stage: _without(tree[stage], "k_train")}
    rooms = {name: tree[name] for name in ("retrieval", "generator", "discriminators", "losses")}
    rooms["losses"] = {**tree["losses"], "feature_network": _read_fields(tree["losses"]["feature_network"])}
    training = _without(tree["training"], "steps", *_REPORTING)
    return {**rooms, "training": training, "k_train": config.candidates.k_train, "seed": config.training_seed}


def _read_fields(network: dict) -> dict:
    """The fields that the feature network is made from: VGG19 reads none of a handle's, and the other way round."""
    if network["handle"]:
        return _without(network, "weights")
    return _without(network, "handle", "signature", "input_range", "input_size")


def _without(tree: dict, *keys: str) -> dict:
    return {key: value for key, value in tree.items() if key not in keys}


def _write_json(path: pathlib.Path, content: dict) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(beside, path)
