"""Published figures that a table shows beside measured ones, from a YAML file that says where they stand.

    source: "where the figures stand: authors, year, table"
    figures:
      - {row: RetrieveGAN, dataset: coco_stuff, boxes: predicted, fid: 1.0, is: [2.0, 0.1], diversity: [0.3, 0.1]}

`dataset` is a builder's name, `boxes` as in `rgan_tf.evaluate`; a figure is a number, or a mean and a deviation.
"""

import numbers
import pathlib
from typing import NamedTuple

import yaml

from rgan_tf.errors import UserError
from rgan_tf.evaluation.paper_tables.tables import Cell
from rgan_tf.evaluation.pictures.split_drawing import BOXES

METRICS = ("fid", "is", "diversity")
_REQUIRED = ("row", "dataset", "boxes")


class PublishedRow(NamedTuple):
    """A row of a published table for one data set: title, data set, layout, and its figures by metric."""

    title: str
    dataset: str
    boxes: str
    figures: dict[str, Cell]


class Published(NamedTuple):
    """Where figures stand, and what they are."""

    source: str
    rows: list[PublishedRow]


def read_published(path) -> Published:
    """Reads a file of the form above.

    Raises:
      UserError: it cannot be read, or is of another form; the sentence names the line that is wrong.
    """
    try:
        content = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--published={path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--published={path} is not YAML: {error}") from error
    if not isinstance(content, dict) or set(content) != {"source", "figures"}:
        raise UserError(f"--published={path} must have the keys source and figures, and no others.")
    if not isinstance(content["source"], str) or not isinstance(content["figures"], list):
        raise UserError(f"--published={path}: source must be a sentence and figures a list of rows.")
    return Published(content["source"], [_row(row, f"--published={path}") for row in content["figures"]])


def _row(row, where: str) -> PublishedRow:
    if not isinstance(row, dict) or not set(_REQUIRED) <= set(row) <= {*_REQUIRED, *METRICS}:
        raise UserError(
            f"{where}: {row} must have {', '.join(_REQUIRED)}, any of {', '.join(METRICS)}, and nothing else."
        )
    if row["boxes"] not in BOXES:
        raise UserError(f"{where}: boxes is {row['boxes']!r} in {row}; it must be one of {', '.join(BOXES)}.")
    figures = {metric: _cell(row[metric], f"{where}: {metric} in {row}") for metric in METRICS if metric in row}
    return PublishedRow(str(row["row"]), str(row["dataset"]), row["boxes"], figures)


def _cell(value, where: str) -> Cell:
    values = value if isinstance(value, list) else [value, None]
    if len(values) != 2 or not _is_number(values[0]) or not (values[1] is None or _is_number(values[1])):
        raise UserError(f"{where} must be a number, or a mean and a deviation as [mean, deviation].")
    return Cell(float(values[0]), None if values[1] is None else float(values[1]))


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
