"""Rows and columns of the paper's tables, from workspaces that were evaluated.

Table 1: both settings of the boxes, a data set beside the other. Table 2: a row a training, predicted boxes. Workspaces
of one name and data set are trainings of one row: mean and deviation over them.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Optional

from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.paper_tables import published as published_lib
from rgan_tf.evaluation.paper_tables.tables import Cell, Table, over_seeds
from rgan_tf.evaluation.pictures.split_drawing import BOXES
from rgan_tf.workspace import Workspace

# What the tables show, by the metrics' names.
TABLE_1 = {"FID": "fid", "IS": "is", "DS": "diversity"}
TABLE_2 = {
    "FID": "fid",
    "IS": "is",
    "style agreement": "style_agreement",
    "co-occurrence distance": "cooccurrence_distance",
    "ground-truth accuracy": "ground_truth_accuracy",
    "object accuracy": "object_accuracy",
}
# Of data sets with hidden factors; shown where they were measured.
FACTORS = {"hue agreement": "agreement_hue", "region agreement": "agreement_region"}
# Of a comparison of systems: what is measured of any pictures.
COMPARISON = {
    **TABLE_1,
    "KID": "kid",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "SceneFID": "scene_fid",
    "classifier accuracy": "classifier_accuracy",
    "relation accuracy": "relation_accuracy",
    "box IoU": "box_iou",
}
_DATASETS = {"coco_stuff": "COCO-Stuff", "visual_genome": "Visual Genome", "synthetic_scenes": "synthetic scenes"}
_REAL = "real pictures"
# The network that published distances and scores are made with; those of others do not compare.
_PUBLISHED_NETWORK = ".inception_tfgan."


class Training(NamedTuple):
    """A training in a table: the row's name, its workspace and configuration, and how patches were retrieved."""

    row: str
    workspace: Workspace
    config: config_lib.ExperimentConfig
    policy: str = "learned"

    @property
    def dataset(self) -> str:
        """The data set's builder."""
        return self.config.data.builder


class Evaluated(NamedTuple):
    """What was measured under one layout: the row's title, the data set's builder, where the figures lie, and the
    newest line of every metric."""

    row: str
    dataset: str
    place: pathlib.Path
    boxes: str
    lines: dict[str, dict]


def find_pictures(row: str, directory, split: str, samples: int, layouts: Sequence[str] = BOXES) -> list[Evaluated]:
    """The evaluations of a folder of pictures under given layouts, those left out that there are none of."""
    found = []
    for boxes in layouts:
        lines = records.of_folder(directory, split, samples, boxes)
        if lines:
            dataset = next(iter(lines.values()))["dataset"]
            found.append(Evaluated(row, dataset, pathlib.Path(directory), boxes, lines))
    return found


def find(trainings: Sequence[Training], split: str, samples: int, layouts: Sequence[str] = BOXES) -> list[Evaluated]:
    """The evaluations of trainings under given layouts, those left out that there are none of."""
    found = []
    for training in trainings:
        for boxes in layouts:
            lines = records.of_training(training.workspace, training.config, split, samples, training.policy, boxes)
            if lines:
                found.append(Evaluated(training.row, training.dataset, training.workspace.root, boxes, lines))
    return found


def table_1(evaluated: Sequence[Evaluated], published: Optional[published_lib.Published] = None) -> Table:
    """Rows: real pictures, then each name under each layout; columns: every metric of every data set.

    Raises:
      UserError: figures of one data set were measured in different ways, so that they do not compare.
    """
    _check_protocols(evaluated, TABLE_1)
    datasets = list(dict.fromkeys(each.dataset for each in evaluated))
    columns = [f"{_DATASETS.get(dataset, dataset)} {title}" for dataset in datasets for title in TABLE_1]
    real = []
    for dataset in datasets:
        lines = [{"is": each.lines.get("is_real")} for each in evaluated if each.dataset == dataset]
        real += [_cell(lines[:1], metric) for metric in TABLE_1.values()]
    rows = [(_REAL, real)]
    shown = _published_rows(published, evaluated)
    for boxes in BOXES:
        label = boxes.replace("_", "-") + " boxes"
        for title in dict.fromkeys(row.title for row in shown if row.boxes == boxes):
            figures = {row.dataset: row.figures for row in shown if (row.boxes, row.title) == (boxes, title)}
            cells = [figures.get(dataset, {}).get(metric) for dataset in datasets for metric in TABLE_1.values()]
            rows.append((f"{label}: {title} (published)", cells))
        for name in dict.fromkeys(each.row for each in evaluated if each.boxes == boxes):
            cells = []
            for dataset in datasets:
                lines = _lines(evaluated, name, boxes, dataset)
                cells += [_cell(lines, metric) for metric in TABLE_1.values()]
            rows.append((f"{label}: {name}", cells))
    return Table(("", *columns), rows, _notes(evaluated, published, shown))


def table_2(evaluated: Sequence[Evaluated], published: Optional[published_lib.Published] = None) -> Table:
    """A row for each name, the trainings of a name averaged; predicted boxes.

    Raises:
      UserError: the trainings are of several data sets, or were measured in different ways.
    """
    _check_protocols(evaluated, TABLE_2)
    datasets = sorted({each.dataset for each in evaluated})
    if len(datasets) > 1:
        raise UserError(f"Table 2 is of one data set, and these are of {' and '.join(datasets)}; give one at a time.")
    shown = [row for row in _published_rows(published, evaluated) if row.boxes == BOXES[0]]
    found = {name: _lines(evaluated, name, BOXES[0], datasets[0]) for name in dict.fromkeys(e.row for e in evaluated)}
    factors = {t: m for t, m in FACTORS.items() if any(_cell(lines, m) is not None for lines in found.values())}
    columns = {**TABLE_2, **factors}
    rows = [(f"{row.title} (published)", [row.figures.get(m) for m in columns.values()]) for row in shown]
    rows += [(name, [_cell(lines, metric) for metric in columns.values()]) for name, lines in found.items()]
    return Table(("retrieval", *columns), rows, _notes(evaluated, published, shown))


def comparison(evaluated: Sequence[Evaluated]) -> Table:
    """Rows: what real pictures reach, then each system under each layout; columns: every score of pictures.

    Raises:
      UserError: the systems are of several data sets, or were measured in different ways.
    """
    _check_protocols(evaluated, COMPARISON)
    datasets = sorted({each.dataset for each in evaluated})
    if len(datasets) > 1:
        raise UserError(f"A comparison is of one data set, and these are of {' and '.join(datasets)}.")
    shown = {title: m for title, m in COMPARISON.items() if any(m in each.lines for each in evaluated)}
    real = [_cell([{m: each.lines.get(f"{m}_real")} for each in evaluated][:1], m) for m in shown.values()]
    rows = [(_REAL, real)]
    for boxes in BOXES:
        for name in dict.fromkeys(each.row for each in evaluated if each.boxes == boxes):
            lines = _lines(evaluated, name, boxes, datasets[0])
            rows.append((f"{boxes.replace('_', '-')} boxes: {name}", [_cell(lines, m) for m in shown.values()]))
    return Table(("", *shown), rows, _notes(evaluated, None, []))


def _lines(evaluated, name: str, boxes: str, dataset: str) -> list[dict]:
    wanted = (name, boxes, dataset)
    return [each.lines for each in evaluated if (each.row, each.boxes, each.dataset) == wanted]


def _cell(trainings: Sequence[dict], metric: str) -> Optional[Cell]:
    """Mean and deviation over trainings; of a single one, the deviation that the metric itself has."""
    found = [lines[metric] for lines in trainings if lines.get(metric)]
    if len(found) == 1:
        return Cell(found[0]["value"], found[0]["deviation"])
    return over_seeds([line["value"] for line in found])


def _protocol(line: dict) -> tuple[str, str]:
    """What two figures must share to compare: the name without layout and retrieval, and the feature network."""
    parts = [part for part in line["name"].split(".") if not part.endswith(("_boxes", "_retrieval"))]
    return ".".join(parts), line["notes"].get("network_fingerprint", "")


def _check_protocols(evaluated: Sequence[Evaluated], shown: dict[str, str]) -> None:
    first: dict[tuple[str, str], tuple[Evaluated, dict]] = {}
    for each in evaluated:
        for metric in shown.values():
            line = each.lines.get(metric)
            if line is None:
                continue
            other, before = first.setdefault((each.dataset, metric), (each, line))
            if _protocol(before) != _protocol(line):
                raise UserError(
                    f"{metric} of {other.place} ({' '.join(_protocol(before))}) and of "
                    f"{each.place} ({' '.join(_protocol(line))}) do not compare; evaluate both with "
                    "the same feature network and samples (an in-domain network is shared by linking or copying "
                    "evaluation/in_domain)."
                )


def _same_network(evaluated) -> dict[str, bool]:
    """Of each data set, whether our distances are of the network that published ones are of."""
    measured = [each for each in evaluated if "fid" in each.lines]
    return {each.dataset: _PUBLISHED_NETWORK in each.lines["fid"]["name"] + "." for each in measured}


def _published_rows(published, evaluated) -> list[published_lib.PublishedRow]:
    """Rows of the data sets at hand; distances and scores only where ours are of the same network."""
    same, kept = _same_network(evaluated), []
    for row in published.rows if published else ():
        if row.dataset in same:
            comparable = TABLE_1.values() if same[row.dataset] else ("diversity",)
            figures = {metric: cell for metric, cell in row.figures.items() if metric in comparable}
            kept.append(row._replace(figures=figures))
    return kept


def _notes(evaluated, published, shown) -> list[str]:
    """How the figures were measured, for each data set."""
    notes = []
    for dataset in dict.fromkeys(each.dataset for each in evaluated):
        title = _DATASETS.get(dataset, dataset)
        lines = next(each.lines for each in evaluated if each.dataset == dataset)
        names = [_protocol(lines[metric])[0] for metric in TABLE_1.values() if metric in lines]
        notes.append(f"{title}: {', '.join(names)}")
        if any(row.dataset == dataset for row in shown) and not _same_network(evaluated)[dataset]:
            notes.append(f"{title}: published FID and IS are left out; they are of another feature network than ours.")
    return notes + ([f"Published: {published.source}"] if shown else [])
