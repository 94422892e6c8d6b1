"""Trainings that are compared: a folder of configurations, several seeds of each, planned, trained, measured and drawn.

A row is a configuration. Stages before the main training are made once for all rows that agree in them. What is
finished is not done again. `ablation` and `table1` are the commands.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image
from tqdm import tqdm

from rgan_tf import config as config_lib
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing
from rgan_tf.fingerprints import STAGES, fingerprint, stages_of
from rgan_tf.progress import progress_bar
from rgan_tf.scene_graph import unpad_scene
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

# Of the evaluation: the same for all runs that share their data.
_SHARED_MEASURES = ("in_domain", "object_classifier", "real_statistics")
# Scenes of the sheet.
_SHOWN = 6


class Run(NamedTuple):
    """One training of the table: a row's name and configuration file, the repetition, its workspace, and overrides."""

    row: str
    config_file: pathlib.Path
    repetition: int
    workspace: Workspace
    overrides: str = ""

    @property
    def changes(self) -> str:
        """What is overridden in the file."""
        return ",".join(filter(None, (self.overrides, f"repetition={self.repetition}")))

    def config(self) -> config_lib.ExperimentConfig:
        """The configuration as it is trained."""
        return config_lib.load_config(self.config_file, self.changes)


def plan(config_dir, root, seeds: int, overrides: str = "", first: Sequence[str] = ()) -> list[Run]:
    """All trainings, repetition by repetition, so that a table of fewer seeds is complete early.

    Args:
      config_dir: folder with a YAML configuration for each row.
      root: the experiment's folder: `shared/`, and `ROW/N/` for each row and repetition; `shared-ROW/` where a row
        differs before its main training.
      seeds: repetitions of each row.
      overrides: of fields of every row's configuration.
      first: rows in the order in which they are shown; others follow by name.

    Raises:
      UserError: the folder has no configuration.
    """
    files = {path.stem: path for path in pathlib.Path(config_dir).glob("*.yaml")}
    if not files:
        raise UserError(f"{config_dir} holds no configuration (*.yaml); give a folder like configs/ablations.")
    rows = [row for row in first if row in files] + sorted(set(files) - set(first))
    configs = {row: config_lib.load_config(files[row], overrides) for row in rows}
    root = pathlib.Path(root)
    return [
        Run(row, files[row], n, Workspace(root / row / str(n), configs[row].model), overrides)
        for n in range(seeds)
        for row in rows
    ]


class _Shared(NamedTuple):
    """A workspace of stages before main trainings: of each its fingerprint and a run whose configuration makes it."""

    workspace: Workspace
    prints: dict[str, str]
    makers: dict[str, Run]


def _agree_on(runs: list[Run], root: pathlib.Path) -> list[tuple[Run, _Shared]]:
    """Every run, and the stages that it shares with those that agree with it in all that both need."""
    found: list[_Shared] = []
    pairs = []
    for run in runs:
        prints = {stage: fingerprint(stage, run.config()) for stage in stages_of(run.workspace.model)[:-1]}
        shared = next((each for each in found if all(each.prints.get(s, p) == p for s, p in prints.items())), None)
        if shared is None:
            shared = _Shared(Workspace(root / (f"shared-{run.row}" if found else "shared")), {}, {})
            found.append(shared)
        for stage, key in prints.items():
            shared.prints[stage] = key
            shared.makers.setdefault(stage, run)
        pairs.append((run, shared))
    return pairs


def make_shared(runs: list[Run], root) -> None:
    """Makes the stages before the main trainings, each once, and links them into the workspaces that read them."""
    root, made = pathlib.Path(root), {}
    pairs = _agree_on(runs, root)
    for shared in {id(each): each for _, each in pairs}.values():
        for stage in (stage for stage in STAGES if stage in shared.prints):
            place, key = shared.workspace.root / stage, shared.prints[stage]
            if key in made:
                _link(place, made[key])
            elif not shared.workspace.is_current(stage, shared.makers[stage].config()):
                _train(shared.makers[stage], shared.workspace, f"--stage={stage}")
            made.setdefault(key, place)
    for run, shared in pairs:
        for stage in stages_of(run.workspace.model)[:-1]:
            _link(run.workspace.root / stage, shared.workspace.root / stage)
        for name in _SHARED_MEASURES:
            target = made[shared.prints["dataset"]].parent / "evaluation" / name
            target.mkdir(parents=True, exist_ok=True)
            _link(run.workspace.root / "evaluation" / name, target)


def _link(link: pathlib.Path, target: pathlib.Path) -> None:
    """A relative link, so that the whole folder can be moved."""
    if link.is_symlink() or not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()))


def train(runs: list[Run], at_once: int = 1) -> None:
    """Trains what is not trained; every training is a process of its own, and goes on where it was stopped.

    Args:
      runs: to train.
      at_once: trainings side by side, each with its share of the processors; small models use few of them well. Of
        more than one, each says what it has to say in `train.log` of its workspace.

    Raises:
      UserError: one failed. Those beside it are finished, and no other is begun.
    """
    missing = [run for run in runs if not run.workspace.is_current(run.workspace.model, run.config())]
    over = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        begun = [pool.submit(_train_among, run, at_once, over) for run in missing]
        done = concurrent.futures.as_completed(begun)
        try:
            for training in progress_bar(done, total=len(missing), desc="trainings", unit="training"):
                training.result()
        finally:
            over.set()


def _train_among(run: Run, at_once: int, over: threading.Event) -> None:
    """One of several trainings, unless they are over; they are when it fails."""
    if over.is_set():
        return
    log = run.workspace.root / "train.log" if at_once > 1 else None
    told = f", which {log} tells about" if log else ""
    tqdm.write(f"{run.row}, seed {run.repetition}: training in {run.workspace.root}{told}")
    try:
        _train(run, run.workspace, threads=max(1, (os.cpu_count() or 1) // at_once) if log else 0, log=log)
    except BaseException:
        # At once: the waiting thread takes its next training before anybody hears of this one.
        over.set()
        raise


def _train(run: Run, workspace: Workspace, *more: str, **how) -> None:
    _command(
        "rgan_tf.train",
        f"--config_file={run.config_file}",
        f"--workspace={workspace.root}",
        f"--params_override={run.changes}",
        *more,
        **how,
    )


def _command(module: str, *arguments: str, threads: int = 0, log: Optional[pathlib.Path] = None) -> None:
    """Runs a command of this package and shows what it says, or adds it to a log; stops at its first failure.

    With `threads`, TensorFlow computes in so many.
    """
    limits = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(threads)) if threads else {}
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(open(log, "ab")) if log else None
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            check=False,
            env={**os.environ, **limits},
            stdout=said,
            stderr=said,
        )
    if done.returncode:
        where = f"in {log}" if log else "above"
        raise UserError(f"{module} stopped with status {done.returncode}; mend what it says {where} and start again.")


def measure(asked: Sequence[tuple[Run, str, str]], split: str, samples: int, lpips_weights: str = "") -> None:
    """Measures what is not measured.

    Args:
      asked: runs, each with a policy of retrieval and a layout.
      split: to draw.
      samples: pictures of a scene.
      lpips_weights: file for the Diversity Score; "" leaves it out.
    """
    wanted = "diversity" if lpips_weights and samples > 1 else "fid"
    missing = [each for each in asked if wanted not in _figures(*each, split, samples)]
    for run, policy, boxes in progress_bar(missing, desc="evaluations", unit="evaluation"):
        tqdm.write(f"{run.row}, seed {run.repetition}, {policy} retrieval, {boxes} boxes: evaluating")
        _command(
            "rgan_tf.evaluate",
            f"--workspace={run.workspace.root}",
            f"--model={run.workspace.model}",
            f"--split={split}",
            f"--boxes={boxes}",
            f"--samples_per_scene={samples}",
            f"--retrieval={policy}",
            f"--lpips_weights={lpips_weights}",
        )


def _figures(run: Run, policy: str, boxes: str, split: str, samples: int) -> dict[str, dict]:
    return records.of_training(run.workspace, run.config(), split, samples, policy, boxes)


def sheet(runs: list[Run], split: str) -> Image.Image:
    """Scenes from all over the split, on predicted boxes by the first run of every row, beside the real pictures."""
    columns, views = {}, []
    for run in progress_bar([run for run in runs if run.repetition == 0], desc="sheet", unit="row"):
        columns[run.row] = _spread(SplitDrawing(run.workspace, run.config(), split))
    names = artifacts.vocabulary(runs[0].workspace)
    for shown in zip(*columns.values()):
        scene, real, _ = shown[0]
        graph = [scene[name] for name in ("objects", "object_mask", "triples", "triple_mask")]
        pictures = (("real", real), *((title, image) for title, (_, _, image) in zip(columns, shown)))
        views.append(SceneView(unpad_scene(*graph, names), scene["boxes"][scene["object_mask"]], None, pictures))
    return draw_sheet(views)


def _spread(drawing: SplitDrawing) -> list[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
    """Scene, real picture and drawing at even distances over the split: scenes beside each other may look alike."""
    shown, found, start = set(np.linspace(0, drawing.size - 1, _SHOWN).round().astype(int)), [], 0
    for batch in drawing:
        for row in range(len(batch.real)):
            if start + row in shown:
                scene = {name: values[row] for name, values in batch.scenes.items()}
                found.append((scene, batch.real[row], batch.samples[0].images[row]))
        start += len(batch.real)
    return found
