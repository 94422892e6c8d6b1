"""Where every artifact of an experiment lives, and whether it is current.

A workspace is one directory. Each stage owns one folder in it, made whole or not at all: work goes on in a hidden
folder beside it, which gets its name when it is done. A manifest keeps the fingerprint of what the stage was made from,
its part of the configuration and the fingerprints of its inputs, and what its files were (`integrity`).
"""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Optional

from absl import logging

from rgan_tf import config as config_lib
from rgan_tf import integrity
from rgan_tf.errors import WorkspaceError
from rgan_tf.fingerprints import STAGES, fingerprint, hash_of, part_of

_MANIFEST = "manifest.json"
_PENDING = "pending.json"
_CONFIG = "config.yaml"
# Records and patches have a checksum each. TensorFlow checks its checkpoints, nothing is made from curves, and hidden
# files are unfinished ones.
_SELF_CHECKED = ("*.tfrecord*", "patches.npy")
_UNRECORDED = ("checkpoint", "events.out.", ".")


class Workspace:
    """The artifacts under one directory, laid out as WORKSPACE.md describes."""

    def __init__(self, root, model: str = ""):
        """Takes the directory, which need not exist yet, and the model of its main training.

        Args:
          root: the directory.
          model: one of `config.MODELS`; by default the one that was trained here, RetrieveGAN if there are several or
            none.
        """
        self.root = pathlib.Path(root)
        trained = [name for name in config_lib.MODELS if (self.root / name).is_dir()]
        self.model = model or next(iter(trained), "retrievegan")

    def directory(self, stage: str) -> pathlib.Path:
        """The folder of a finished stage, its files held against what was written.

        Raises:
          WorkspaceError: the stage has not been run.
          DamageError: a file is not as the stage left it.
        """
        if stage in config_lib.MODELS:
            ready = any((self.root / stage).glob("checkpoint*"))
        else:
            ready = (self.root / stage / _MANIFEST).is_file()
        if not ready:
            raise WorkspaceError(
                f"The workspace {self.root} has no {stage}; "
                f"run python -m rgan_tf.train --config_file=… --workspace={self.root} --stage={stage} first."
            )
        self._check(stage)
        return self.root / stage

    def lenders(self) -> list[pathlib.Path]:
        """The roots of other workspaces whose stages this one has by links, as those of an ablation do."""
        roots = {(self.root / stage).resolve().parent for stage in STAGES if (self.root / stage).exists()}
        return sorted(roots - {self.root.resolve()})

    def is_current(self, stage: str, config: config_lib.ExperimentConfig) -> bool:
        """Whether the stage is finished and was made from this configuration and these inputs."""
        manifest = self._manifest(self.root / stage)
        if manifest.get("fingerprint") != fingerprint(stage, config):
            return False
        return stage not in config_lib.MODELS or self._is_trained(stage, manifest, config.training.steps)

    def _is_trained(self, model: str, manifest: dict, steps: int) -> bool:
        """Whether a main training reached its steps, and still has what it wrote then."""
        directory = self.root / model
        kept = [path.stem.rpartition("-")[2] for path in directory.glob("checkpoint-*.index")]
        reached = max((int(step) for step in kept if step.isdigit()), default=manifest.get("steps", 0))
        try:
            self._check(model)
        except integrity.DamageError:
            # Written anew when the training goes on.
            return False
        return min(reached, manifest.get("steps", 0)) >= steps

    def follows_inputs(self, stage: str) -> bool:
        """Whether a stage before the main training was made from its inputs as they lie here, by any configuration."""
        manifest = self._manifest(self.root / stage)
        inputs = [self._manifest(self.root / name).get("fingerprint") for name in STAGES[stage]]
        return manifest.get("fingerprint") == hash_of(manifest.get("configuration"), inputs)

    def partial(self, stage: str) -> pathlib.Path:
        """The folder in which a stage is made, and which a killed run leaves behind."""
        return self.root / f".{stage}.partial"

    @contextlib.contextmanager
    def making(
        self, stage: str, config: config_lib.ExperimentConfig, about: Optional[dict] = None
    ) -> Iterator[pathlib.Path]:
        """Gives the folder in which to make a stage, and moves it to its place when the block ends well.

        What an earlier, killed run left there is given again if it was made from the same configuration and inputs, so
        that training can resume; else it is removed. What the block puts into `about` goes into the manifest.
        """
        partial = self.partial(stage)
        mark = {"fingerprint": fingerprint(stage, config)}
        if partial.exists() and self._manifest(partial, _PENDING) != mark:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        integrity.write_json(partial / _PENDING, mark)
        yield partial
        (partial / _PENDING).unlink()
        manifest = {**mark, "stage": stage, "configuration": part_of(stage, config), "files": _describe(partial)}
        if about:
            manifest["about"] = about
        integrity.write_json(partial / _MANIFEST, manifest)
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
        directory = self.root / self.model
        if not chief:
            yield directory
            return
        mark = {"fingerprint": fingerprint(self.model, config)}
        found = self._training_fingerprint(directory)
        if directory.exists() and found != mark["fingerprint"]:
            aside = self.root / f"{self.model}.{found or 'unknown'}"
            logging.warning("The configuration or an input changed: the earlier training moves to %s.", aside)
            directory.rename(aside)
        earlier = self.root / f"{self.model}.{mark['fingerprint']}"
        if earlier.exists():
            earlier.rename(directory)
        directory.mkdir(parents=True, exist_ok=True)
        beside = (directory / _CONFIG).with_suffix(".tmp")
        config_lib.save_config(config, beside)
        beside.replace(directory / _CONFIG)
        mark["files"] = integrity.describe(directory, [directory / _CONFIG])
        integrity.write_json(directory / _MANIFEST, {**mark, "steps": self._manifest(directory).get("steps", 0)})
        yield directory
        integrity.write_json(directory / _MANIFEST, {**mark, "steps": config.training.steps})

    def _training_fingerprint(self, directory: pathlib.Path) -> Optional[str]:
        """Of the training in a folder; where its manifest is gone, of the configuration that it keeps."""
        manifest = self._manifest(directory)
        if not manifest and (directory / _CONFIG).is_file():
            return fingerprint(self.model, config_lib.load_config(directory / _CONFIG))
        return manifest.get("fingerprint")

    @contextlib.contextmanager
    def changing(self, stage: str) -> Iterator[None]:
        """Lets a block change files of a finished stage in their places, and records what they are then.

        While it lasts, and after it was killed until it is run again, sizes alone are compared: a file that is half
        changed is no damage. Then damage goes unseen, and what was damaged meanwhile is taken for what was meant.

        Raises:
          DamageError: a file was not as the stage left it; nothing was changed.
        """
        directory = self.root / stage
        manifest = self._manifest(directory)
        if "files" not in manifest:
            yield
            return
        self._check(stage)
        integrity.write_json(directory / _MANIFEST, {**manifest, "changing": True})
        yield
        manifest = {key: value for key, value in manifest.items() if key != "changing"}
        integrity.write_json(directory / _MANIFEST, {**manifest, "files": _describe(directory)})

    def trained_config(self, overrides: str = "") -> config_lib.ExperimentConfig:
        """The configuration of the main training.

        Args:
          overrides: as of `config_lib.load_config`, of fields that shape no stage.

        Raises:
          WorkspaceError: there has been no main training, or an override would describe another one.
        """
        path = self.directory(self.model) / _CONFIG
        config, trained = config_lib.load_config(path, overrides), config_lib.load_config(path)
        if fingerprint(self.model, config) != fingerprint(self.model, trained):
            raise WorkspaceError(
                f"The override {overrides!r} describes another training than that of {self.root}; "
                "override fields of evaluation alone."
            )
        return config

    def _check(self, stage: str) -> None:
        directory = self.root / stage
        manifest = self._manifest(directory)
        mend = f"run {self._command()} with the configuration of this training again, which writes it anew"
        if stage not in config_lib.MODELS:
            mend = self.make_again(stage)
        integrity.check(directory, manifest.get("files", {}), mend, contents="changing" not in manifest)

    def _manifest(self, directory: pathlib.Path, name: str = _MANIFEST) -> dict:
        """A folder's manifest, empty where there is none."""
        if directory.name in config_lib.MODELS:
            mend = f"delete it and run {self._command()} with the configuration of this training, which writes it anew"
        elif name == _PENDING:
            mend = f"delete {directory}, which a stopped run left behind, and run again"
        else:
            mend = self.make_again(directory.name)
        try:
            return integrity.read_json(directory / name, mend)
        except FileNotFoundError:
            return {}

    def make_again(self, stage: str) -> str:
        """How to make a stage whose files are damaged again, as the end of a sentence."""
        return f"delete {self.root / stage} and run {self._command()} --stage={stage} again"

    def _command(self) -> str:
        return f"python -m rgan_tf.train --config_file=… --workspace={self.root}"


def _describe(directory: pathlib.Path) -> dict[str, dict]:
    """A stage's files as they are, those that later stages and commands read."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name not in (_MANIFEST, _PENDING)]
    read = [path for path in files if not path.name.startswith(_UNRECORDED)]
    return integrity.describe(directory, read, _SELF_CHECKED)
