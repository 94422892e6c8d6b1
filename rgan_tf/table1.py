"""The paper's Table 1 with its other rows: python -m rgan_tf.table1 --workspace=… --seeds=3.

Every configuration of the folder, a system each, is trained from several seeds on the same scenes and measured under
predicted and ground-truth boxes. Stages that systems share are made once. What is finished is not done again, so a
command that was stopped goes on. Writes table1.md, .csv and .tex, and sheet.png, the same scenes drawn by every system.
"""

import pathlib
import time

from absl import flags

from rgan_tf import commands  # isort: split

import tensorflow as tf

from pipelines.input_pipeline import training_batches
from rgan_tf import experiment, locks
from rgan_tf.evaluation.paper_tables import rows as paper_tables
from rgan_tf.evaluation.paper_tables import tables
from rgan_tf.evaluation.pictures.split_drawing import BOXES, SPLITS, SplitDrawing
from rgan_tf.experiment import Run
from rgan_tf.progress import progress_bar
from rgan_tf.scene_requests import save_picture
from rgan_tf.training import artifacts
from rgan_tf.training.systems import system_of

_MEASURED_STEPS, _MEASURED_BATCHES = 12, 6


def evaluate(runs: list[Run], split: str, samples: int, lpips_weights: str = "") -> None:
    """Measures every run under both layouts."""
    experiment.measure([(run, "learned", boxes) for run in runs for boxes in BOXES], split, samples, lpips_weights)


def table(runs: list[Run], split: str, samples: int) -> tables.Table:
    """Mean and deviation over seeds of every system and layout."""
    trainings = [paper_tables.Training(run.row, run.workspace, run.config()) for run in runs]
    return paper_tables.comparison(paper_tables.find(trainings, split, samples))


def costs(runs: list[Run]) -> tables.Table:
    """Parameters of what draws, and images a second in training and in drawing, of each system's first run; one after
    the other in this process, so that they compare with each other."""
    rows = []
    for run in progress_bar([run for run in runs if run.repetition == 0], desc="speed", unit="system"):
        rows.append((run.row, [tables.Cell(value, None) for value in _costs_of(run)]))
    return tables.Table(("system", "parameters", "training, images/s", "drawing, images/s"), rows)


def _costs_of(run: Run) -> tuple[float, float, float]:
    config, workspace = run.config(), run.workspace
    system, names = system_of(config.model), artifacts.vocabulary(workspace)
    source = artifacts.scene_source(workspace, config, "train")
    size, reader = config.training.batch_size, system.reader(workspace, config, "train")
    batches = training_batches(source, size, 0, reader)
    trainer = system.make_trainer(workspace, config, names, next(iter(batches)))
    trainer.train_loop_begin()
    iterator = iter(batches)
    trainer.train_step(iterator)
    started = time.perf_counter()
    for _ in range(_MEASURED_STEPS):
        trainer.train_step(iterator)
    trained = _MEASURED_STEPS * size / (time.perf_counter() - started)
    parameters = sum(int(tf.size(weight)) for weight in trainer.optimized["generator"].variables)
    drawing = SplitDrawing(workspace, config, "test")
    # Traces.
    next(iter(drawing))
    started, drawn = time.perf_counter(), 0
    for _, batch in zip(range(_MEASURED_BATCHES), drawing):
        drawn += len(batch.real)
    return float(parameters), trained, drawn / (time.perf_counter() - started)


def main() -> None:
    """Trains, evaluates, prints and writes the table, the costs and the sheet."""
    given = flags.FLAGS
    root = pathlib.Path(given.workspace)
    runs = experiment.plan(given.config_dir, root, given.seeds, given.params_override)
    # The workspaces below have locks of their own, which the commands hold that it starts.
    with locks.writing(root):
        experiment.make_shared(runs, root)
        experiment.train(runs, given.at_once)
        evaluate(runs, given.split, given.samples_per_scene, given.lpips_weights)
        made, cost = table(runs, given.split, given.samples_per_scene), costs(runs)
        made.write(root / "table1")
        cost.write(root / "costs")
        save_picture(experiment.sheet(runs, given.split), root / "sheet.png")
    print(made.markdown(), cost.markdown(), f"{root / 'sheet.png'} shows the same scenes drawn by all.", sep="\n")


if __name__ == "__main__":
    flags.DEFINE_string("config_dir", "configs/baselines/synthetic", "Folder with a configuration for each system.")
    flags.DEFINE_string(
        "workspace", None, "Folder of the comparison: shared stages, and every system's trainings.", required=True
    )
    flags.DEFINE_integer("seeds", 3, "Trainings of each system.", lower_bound=1)
    flags.DEFINE_integer("at_once", 1, "Trainings side by side, each with its share of the processors.", lower_bound=1)
    flags.DEFINE_enum("split", "test", SPLITS, "Scenes to evaluate on.")
    flags.DEFINE_integer("samples_per_scene", 4, "Pictures of a scene.", lower_bound=1)
    flags.DEFINE_string("lpips_weights", "", "Weights of LPIPS (.npz or .h5) for the Diversity Score.")
    flags.DEFINE_string("params_override", "", "Of every system's configuration: key=value,key.subkey=value.")
    commands.run(main)
