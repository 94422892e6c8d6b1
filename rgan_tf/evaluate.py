"""Measures a trained workspace on a split: python -m rgan_tf.evaluate --workspace=… [--split=test].

Draws every scene, appends a line for each figure to evaluation/metrics.jsonl, prints them, and writes TensorBoard
scalars and evaluation/report.html. docs/evaluation.md states what each figure is.
"""

import time

from absl import flags

from rgan_tf import commands  # isort: split

import tensorflow as tf

from rgan_tf import locks
from rgan_tf.evaluation import records, scoring
from rgan_tf.evaluation.measurements import Setting
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
    config = workspace.trained_config(overrides)
    runtime.prepare(runtime.alone(config.runtime))
    # Ampere GPUs would round matrix products to ten bits, and scores with them.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    step = split_drawing.checkpoint_step(workspace)
    # Before the work: a line after a damaged one would be lost with it.
    records.check(workspace)
    with artifacts.reading(workspace):
        found = scoring.score_split(workspace, config, setting, lpips_weights)
        lines = records.append(workspace, config, setting, found.measurements, step, time.monotonic() - started)
        _write_scalars(workspace, lines, step)
        page = write_report(workspace, lines, found)
    for reason in found.left_out:
        print(f"left out: {reason}")
    print(f"The report is {page}")
    return lines


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
    print_table(evaluate(Workspace(given.workspace), setting, given.lpips_weights, given.params_override))


if __name__ == "__main__":
    flags.DEFINE_string("workspace", None, "A trained workspace.", required=True)
    flags.DEFINE_enum("split", "test", split_drawing.SPLITS, "Scenes to draw.")
    flags.DEFINE_enum("boxes", "predicted", split_drawing.BOXES, "Layout to draw them on.")
    flags.DEFINE_integer("samples_per_scene", 1, "Pictures of a scene, under different seeds.", lower_bound=1)
    flags.DEFINE_enum("retrieval", "learned", split_drawing.POLICIES, "How patches are chosen among the candidates.")
    flags.DEFINE_integer("seed", 0, "Of all draws.", lower_bound=0)
    flags.DEFINE_string("lpips_weights", "", "Weights of LPIPS (.npz or .h5) for the Diversity Score.")
    flags.DEFINE_string("params_override", "", "Of `evaluation` in the configuration: evaluation.network=in_domain.")
    commands.run(main)
