"""Measures a trained workspace on a split: python -m rgan_tf.evaluate --workspace=… [--split=test].

Draws every scene, appends a line for each figure to evaluation/metrics.jsonl, prints them, and writes TensorBoard
scalars and evaluation/report.html. With --pictures=DIR it measures pictures that another system drew of the split's
scenes (`rgan_tf.evaluation.scenes` writes those), by the same protocol. docs/evaluation.md states what each figure is.
"""

import pathlib
import time
from collections.abc import Sequence

from absl import flags

from rgan_tf import commands  # isort: split

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf import locks
from rgan_tf.evaluation import records, scoring
from rgan_tf.evaluation.measurements import PICTURES, Setting
from rgan_tf.evaluation.pictures import split_drawing
from rgan_tf.evaluation.report.page import write_report
from rgan_tf.training import artifacts, runtime
from rgan_tf.workspace import Workspace


def evaluate(workspace: Workspace, setting: Setting, lpips_weights: str = "", overrides: str = "") -> list[dict]:
    """Measures, records, and returns the lines.

    Args:
      workspace: trained.
      setting: how scenes are drawn.
      lpips_weights: file for the Diversity Score; "" leaves it out.
      overrides: of the training's configuration, fields of `evaluation`.

    Raises:
      WorkspaceError: the workspace is not trained, or another process evaluates it or takes patches out of it.
      UserError: an argument is not known, or a network cannot be had.
    """
    # Of the evaluation alone: a training may go on meanwhile, of which this measures the newest checkpoint.
    own = locks.writing(workspace.root, "evaluation")
    with own, locks.all_of(locks.reading, workspace.lenders(), "evaluation"):
        return _evaluate(workspace, setting, lpips_weights, overrides)


def _evaluate(workspace: Workspace, setting: Setting, lpips_weights: str, overrides: str) -> list[dict]:
    started = time.monotonic()
    config = _prepared_config(workspace, overrides)
    step = split_drawing.checkpoint_step(workspace)
    # Before the work: a line after a damaged one would be lost with it.
    records.check(workspace)
    with artifacts.reading(workspace):
        found = scoring.score_split(workspace, config, setting, lpips_weights)
        of, seconds = records.of_checkpoint(config, step), time.monotonic() - started
        lines = records.append(workspace.root / records.FILE, of, setting, found.measurements, seconds)
        _write_scalars(workspace, lines, step)
        page = write_report(workspace, lines, found)
    _tell(found.left_out, f"The report is {page}")
    return lines


def evaluate_pictures(
    workspace: Workspace, setting: Setting, directory, lpips_weights: str = "", overrides: str = ""
) -> list[dict]:
    """Measures a folder of pictures by a workspace's data set and networks; records the lines in it and returns them.

    Args:
      workspace: trained; that it is trained well or not changes nothing.
      setting: split, boxes and samples of the pictures.
      directory: of `PictureFolder`.
      lpips_weights: file for the Diversity Score; "" leaves it out.
      overrides: of the training's configuration, fields of `evaluation`.

    Raises:
      PictureFolderError: the folder does not hold what it should.
    """
    started = time.monotonic()
    setting = setting._replace(policy=PICTURES)
    own = locks.writing(workspace.root, "evaluation")
    with own, locks.all_of(locks.reading, workspace.lenders(), "evaluation"), artifacts.reading(workspace):
        config = _prepared_config(workspace, overrides)
        measured, left_out = scoring.score_pictures(workspace, config, setting, directory, lpips_weights)
    path = pathlib.Path(directory) / records.FILE.name
    lines = records.append(path, records.of_pictures(config), setting, measured, time.monotonic() - started)
    _tell(left_out, f"The figures are in {path}")
    return lines


def _tell(left_out: Sequence[str], where: str) -> None:
    for reason in left_out:
        print(f"left out: {reason}")
    print(where)


def _prepared_config(workspace: Workspace, overrides: str) -> config_lib.ExperimentConfig:
    config = workspace.trained_config(overrides)
    runtime.prepare(runtime.alone(config.runtime))
    # Ampere GPUs would round matrix products to ten bits, and scores with them.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return config


def _write_scalars(workspace: Workspace, lines: list[dict], step: int) -> None:
    with tf.summary.create_file_writer(str(workspace.root / "evaluation")).as_default(step):
        for line in lines:
            tf.summary.scalar(line["name"], line["value"])


def print_table(lines: list[dict]) -> None:
    """The figures with their protocols and what is known of their spread, cautions below."""
    width = max(len(line["name"]) for line in lines)
    for line in lines:
        print(f"{line['name']:{width}}  {line['value']:10.4g}{records.spread(line)}")
    for line in lines:
        if "caution" in line["notes"]:
            print(f"{line['name']}: {line['notes']['caution']}")


def main() -> None:
    """Evaluates and prints."""
    given = flags.FLAGS
    setting = Setting(given.split, given.boxes, given.samples_per_scene, given.retrieval, given.seed)
    workspace, rest = Workspace(given.workspace, given.model), (given.lpips_weights, given.params_override)
    if given.pictures:
        print_table(evaluate_pictures(workspace, setting, given.pictures, *rest))
    else:
        print_table(evaluate(workspace, setting, *rest))


if __name__ == "__main__":
    flags.DEFINE_string("workspace", None, "A trained workspace.", required=True)
    flags.DEFINE_enum("model", "", ["", *config_lib.MODELS], "Of several that were trained in it, which one draws.")
    flags.DEFINE_enum("split", "test", split_drawing.SPLITS, "Scenes to draw.")
    flags.DEFINE_enum("boxes", "predicted", split_drawing.BOXES, "Layout to draw them on.")
    flags.DEFINE_integer("samples_per_scene", 1, "Pictures of a scene, under different seeds.", lower_bound=1)
    flags.DEFINE_enum("retrieval", "learned", split_drawing.POLICIES, "How patches are chosen among the candidates.")
    flags.DEFINE_integer("seed", 0, "Of all draws.", lower_bound=0)
    flags.DEFINE_string("lpips_weights", "", "Weights of LPIPS (.npz or .h5) for the Diversity Score.")
    flags.DEFINE_string("pictures", "", "Folder of pictures that another system drew, to be measured in its stead.")
    flags.DEFINE_string("params_override", "", "Of `evaluation` in the configuration: evaluation.network=in_domain.")
    commands.run(main)
