"""The paper's Table 2: python -m rgan_tf.ablation --config_dir=configs/ablations --workspace=… --seeds=3.

Every configuration of the folder is trained from several seeds and evaluated; the data set, graph encoder, patch bank,
candidates and co-occurrence embedding, which must not depend on the row, are made once and shared. What is finished is
not done again, so a command that was stopped goes on.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from absl import flags
from tqdm import tqdm

from rgan_tf import commands  # isort: split

from rgan_tf import config as config_lib
from rgan_tf import locks
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.paper_tables import rows as paper_tables
from rgan_tf.evaluation.paper_tables import tables
from rgan_tf.evaluation.pictures.split_drawing import BOXES, POLICIES, SPLITS
from rgan_tf.fingerprints import STAGES, fingerprint, stages_of
from rgan_tf.progress import progress_bar
from rgan_tf.workspace import Workspace

# In the order in which a table shows them; other configurations follow by name.
_ROWS = ("neither", "sel_gt", "sel_occur", "both")
# Rows that the paper does not have; they draw with the last row's models.
BASELINES = tuple(policy for policy in POLICIES if policy != "learned")
# Of the evaluation: the same for all runs, since they share the data.
_SHARED_MEASURES = ("in_domain", "object_classifier", "real_statistics")


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


def plan(config_dir, root, seeds: int, overrides: str = "") -> list[Run]:
    """All trainings, repetition by repetition, so that a table of fewer seeds is complete early.

    Args:
      config_dir: folder with a YAML configuration for each row.
      root: the ablation's folder: `shared/`, and `ROW/N/` for each row and repetition.
      seeds: repetitions of each row.
      overrides: of fields of every row's configuration.

    Raises:
      UserError: the folder has no configuration, or two that differ in a stage that is to be shared.
    """
    files = {path.stem: path for path in pathlib.Path(config_dir).glob("*.yaml")}
    if not files:
        raise UserError(f"{config_dir} holds no configuration (*.yaml); give a folder like configs/ablations.")
    rows = [row for row in _ROWS if row in files] + sorted(set(files) - set(_ROWS))
    configs = {row: config_lib.load_config(files[row], overrides) for row in rows}
    first = configs[rows[0]]
    for row, other in configs.items():
        for stage in _shared_stages([first.model, other.model]):
            if fingerprint(stage, other) != fingerprint(stage, first):
                raise UserError(
                    f"{files[row]} and {files[rows[0]]} differ in the stage {stage}, which an ablation shares; "
                    "let its rows differ in the main training alone."
                )
    root = pathlib.Path(root)
    return [
        Run(row, files[row], n, Workspace(root / row / str(n), configs[row].model), overrides)
        for n in range(seeds)
        for row in rows
    ]


def _shared_stages(models: Iterable[str]) -> list[str]:
    """The stages before the main trainings of some models, in order."""
    needed = {stage for model in models for stage in stages_of(model)[:-1]}
    return [stage for stage in STAGES if stage in needed]


def make_shared(runs: list[Run], root) -> None:
    """Makes the stages before the main trainings, once, and links them into the workspaces that read them."""
    shared = Workspace(pathlib.Path(root) / "shared")
    for stage in _shared_stages(run.workspace.model for run in runs):
        maker = next(run for run in runs if stage in stages_of(run.workspace.model))
        if not shared.is_current(stage, maker.config()):
            _train(maker, shared, f"--stage={stage}")
    for run in runs:
        run.workspace.root.mkdir(parents=True, exist_ok=True)
        for stage in _shared_stages([run.workspace.model]):
            _link(run.workspace.root / stage, shared.root / stage)
        for name in _SHARED_MEASURES:
            target = shared.root / "evaluation" / name
            target.mkdir(parents=True, exist_ok=True)
            _link(run.workspace.root / "evaluation" / name, target)


def _link(link: pathlib.Path, target: pathlib.Path) -> None:
    """A relative link, so that the whole folder can be moved."""
    if link.is_symlink() or not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()))


def train(runs: list[Run]) -> None:
    """Trains what is not trained; every training is a process of its own, and goes on where it was stopped."""
    missing = [run for run in runs if not run.workspace.is_current(run.workspace.model, run.config())]
    for run in progress_bar(missing, desc="trainings", unit="training"):
        tqdm.write(f"{run.row}, seed {run.repetition}: training in {run.workspace.root}")
        _train(run, run.workspace)


def _train(run: Run, workspace: Workspace, *more: str) -> None:
    _command(
        "rgan_tf.train",
        f"--config_file={run.config_file}",
        f"--workspace={workspace.root}",
        f"--params_override={run.changes}",
        *more,
    )


def _command(module: str, *arguments: str) -> None:
    """Runs a command of this package and shows what it says; stops at its first failure."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode:
        raise UserError(f"{module} stopped with status {done.returncode}; mend what it says above and start again.")


def evaluate(runs: list[Run], split: str, samples: int) -> None:
    """Measures what is not measured; runs of the last row also with the other ways of retrieval."""
    asked = [(run, "learned", BOXES[0]) for run in runs]
    asked += [(run, policy, BOXES[0]) for run in runs if run.row == runs[-1].row for policy in BASELINES]
    measure(asked, split, samples)


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


def table(runs: list[Run], split: str, samples: int) -> tables.Table:
    """Mean and deviation over seeds of every row, the retrievals of other kinds first."""
    last = [run for run in runs if run.row == runs[-1].row]
    trainings = [
        paper_tables.Training(f"{run.row}, {policy} retrieval", run.workspace, run.config(), policy)
        for policy in BASELINES
        for run in last
    ]
    trainings += [paper_tables.Training(run.row, run.workspace, run.config()) for run in runs]
    return paper_tables.table_2(paper_tables.find(trainings, split, samples, BOXES[:1]))


def main() -> None:
    """Trains, evaluates, prints and writes the table."""
    given = flags.FLAGS
    runs = plan(given.config_dir, given.workspace, given.seeds)
    # The workspaces below have locks of their own, which the commands hold that it starts.
    with locks.writing(given.workspace):
        make_shared(runs, given.workspace)
        train(runs)
        evaluate(runs, given.split, given.samples_per_scene)
        made = table(runs, given.split, given.samples_per_scene)
        made.write(pathlib.Path(given.workspace) / "table2")
    print(made.markdown())


if __name__ == "__main__":
    flags.DEFINE_string("config_dir", "configs/ablations", "Folder with a configuration for each row.")
    flags.DEFINE_string(
        "workspace", None, "Folder of the ablation: shared stages, and every row's trainings.", required=True
    )
    flags.DEFINE_integer("seeds", 3, "Trainings of each row.", lower_bound=1)
    flags.DEFINE_enum("split", "test", SPLITS, "Scenes to evaluate on.")
    flags.DEFINE_integer("samples_per_scene", 4, "Pictures of a scene.", lower_bound=1)
    commands.run(main)
