"""The paper's tables: which figures they take, which they refuse to put side by side, and how they are written."""

import csv
import io
import json

import numpy as np
import pytest
from conftest import REPOSITORY

from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.paper_tables import published, tables
from rgan_tf.evaluation.paper_tables import rows as paper_tables
from rgan_tf.evaluation.paper_tables.__main__ import gather, parse_trainings
from rgan_tf.workspace import Workspace, WorkspaceError, fingerprint

TINY = REPOSITORY / "tests" / "tiny.yaml"


def training(folder, row, dataset="synthetic_scenes", repetition=0):
    """A workspace that says it was trained, on a data set by name alone."""
    config = config_lib.load_config(TINY, f"repetition={repetition}")
    config.data.builder = dataset
    return paper_tables.Training(row, Workspace(folder), config)


def measure(of, boxes="predicted", network="in_domain", weights="w1", samples=2, **values):
    """Appends lines as an evaluation does."""
    path = of.workspace.root / records.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        for metric, value in values.items():
            value, deviation = value if isinstance(value, tuple) else (value, None)
            protocol = "lpips" if metric == "diversity" else f"{network}.none64"
            line = {
                "name": f"{metric}.test9x{samples}.{boxes}_boxes.{protocol}",
                "metric": metric,
                "value": value,
                "deviation": deviation,
                "notes": {"network_fingerprint": weights} if metric in ("fid", "is") else {},
                "fingerprint": fingerprint("retrievegan", of.config),
                "step": of.config.training.steps,
                "split": "test",
                "boxes": boxes,
                "samples": samples,
                "policy": of.policy,
            }
            file.write(json.dumps(line) + "\n")


def write_published(path, figures):
    path.write_text("source: a paper\nfigures:\n" + "".join(f"  - {line}\n" for line in figures))
    return published.read_published(path)


def test_table_1_has_both_layouts_and_a_column_for_each_data_set(tmp_path):
    coco = training(tmp_path / "coco", "ours", "coco_stuff")
    genome = training(tmp_path / "vg", "ours", "visual_genome")
    measure(coco, fid=40.0, **{"is": (5.0, 0.25)}, is_real=(9.0, 0.5), diversity=(0.3, 0.1))
    measure(coco, "ground_truth", fid=30.0)
    measure(genome, fid=60.0, weights="w2")
    table = paper_tables.table_1(paper_tables.find([coco, genome], "test", 2))
    assert table.columns[1:] == tuple(f"{d} {m}" for d in ("COCO-Stuff", "Visual Genome") for m in ("FID", "IS", "DS"))
    cell = tables.Cell
    assert table.rows == [
        ("real pictures", [None, cell(9.0, 0.5), None, None, None, None]),
        ("predicted boxes: ours", [cell(40.0, None), cell(5.0, 0.25), cell(0.3, 0.1), cell(60.0, None), None, None]),
        ("ground-truth boxes: ours", [cell(30.0, None), None, None, None, None, None]),
    ]
    assert "fid.test9x2.in_domain.none64" in table.notes[0]


def test_published_figures_stand_beside_those_of_the_same_network_and_data_set(tmp_path):
    coco, genome = (training(tmp_path / name, "ours", name) for name in ("coco_stuff", "visual_genome"))
    measure(coco, network="inception_tfgan", fid=40.0, diversity=0.3)
    measure(genome, network="in_domain", fid=50.0, diversity=0.2)
    stated = write_published(
        tmp_path / "published.yaml",
        [
            "{row: A, dataset: coco_stuff, boxes: predicted, fid: 1.5, is: [2.5, 0.5], diversity: 0.25}",
            "{row: A, dataset: visual_genome, boxes: predicted, fid: 3.5, diversity: [0.5, 0.125]}",
            "{row: B, dataset: elsewhere, boxes: predicted, fid: 4.5}",
        ],
    )
    found = paper_tables.find([coco, genome], "test", 2)
    rows = dict(paper_tables.table_1(found, stated).rows)
    cell = tables.Cell
    assert rows["predicted boxes: A (published)"] == [
        *(cell(1.5, None), cell(2.5, 0.5), cell(0.25, None)),
        *(None, None, cell(0.5, 0.125)),
    ]
    assert not any("B" in title.split() for title in rows)
    notes = paper_tables.table_1(found, stated).notes
    assert "Published: a paper" in notes and any("Visual Genome: published FID and IS are left out" in n for n in notes)
    only = paper_tables.find([coco], "test", 2, ("predicted",))
    table = paper_tables.table_2(only, stated)
    assert table.rows[0] == ("A (published)", [cell(1.5, None), cell(2.5, 0.5), None, None, None, None])
    assert table.rows[1][0] == "ours"


def test_table_2_averages_the_trainings_of_a_row(tmp_path):
    runs = [training(tmp_path / str(n), "both", repetition=n) for n in range(3)]
    values = [40.0, 31.0, 36.0]
    for run, value in zip(runs, values):
        measure(run, fid=value, style_agreement=value / 50)
    table = paper_tables.table_2(paper_tables.find(runs, "test", 2, ("predicted",)))
    ((title, cells),) = table.rows
    assert title == "both" and cells[0].mean == pytest.approx(np.mean(values))
    assert cells[0].deviation == pytest.approx(np.std(values)) and cells[2].mean == pytest.approx(np.mean(values) / 50)


def test_figures_that_do_not_compare_are_refused(tmp_path):
    one, two = training(tmp_path / "one", "one"), training(tmp_path / "two", "two")
    measure(one, fid=1.0)
    measure(two, fid=2.0, weights="w2")
    for table in (paper_tables.table_1, paper_tables.table_2):
        with pytest.raises(UserError, match="one .*w1.* and of .*two .*w2.* do not compare"):
            table(paper_tables.find([one, two], "test", 2))
    measure(two, fid=2.0)
    assert len(paper_tables.table_2(paper_tables.find([one, two], "test", 2)).rows) == 2
    measure(one, network="k24", style_agreement=0.5)
    measure(two, network="k16", style_agreement=0.5)
    both = paper_tables.find([one, two], "test", 2)
    with pytest.raises(UserError, match="style_agreement of .*k24.*k16.* do not compare"):
        paper_tables.table_2(both)
    assert len(paper_tables.table_1(both).rows) == 3
    coco = training(tmp_path / "coco", "one", "coco_stuff")
    measure(coco, fid=1.0, weights="w3")
    with pytest.raises(UserError, match="coco_stuff and synthetic_scenes; give one at a time"):
        paper_tables.table_2(paper_tables.find([one, coco], "test", 2))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{row: A, dataset: coco_stuff, boxes: drawn, fid: 1}", "boxes is 'drawn'"),
        ("{row: A, dataset: coco_stuff, boxes: predicted, fid: low}", "fid in .* must be a number"),
        ("{row: A, dataset: coco_stuff, boxes: predicted, is: [1, 2, 3]}", "is in .* must be a number"),
        ("{row: A, dataset: coco_stuff, boxes: predicted, kid: 1}", "and nothing else"),
        ("{row: A, boxes: predicted}", "must have row, dataset, boxes"),
    ],
)
def test_published_figures_of_another_form_are_refused(tmp_path, line, complaint):
    with pytest.raises(UserError, match=complaint):
        write_published(tmp_path / "published.yaml", [line])


def test_files_of_published_figures_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        published.read_published(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="keys source and figures"):
        published.read_published(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(UserError, match="is not YAML"):
        published.read_published(tmp_path / "broken.yaml")


def test_workspaces_are_named_with_their_rows(tmp_path):
    for text in ("only/a/path", "=path", "name="):
        with pytest.raises(UserError, match="NAME=PATH"):
            parse_trainings([text])
    with pytest.raises(UserError, match="No workspace was given"):
        gather([], [], ("test", 1), ("predicted",))
    with pytest.raises((UserError, WorkspaceError)):
        parse_trainings([f"ours={tmp_path}"])


def test_tables_are_written_three_ways(tmp_path):
    values = [1.25, 3.5, 2.0]
    cell = tables.over_seeds([*values, None])
    assert cell.mean == pytest.approx(np.mean(values)) and cell.deviation == pytest.approx(np.std(values))
    assert tables.over_seeds([None]) is None and tables.over_seeds([2.0]) == tables.Cell(2.0, None)
    rows = [("a_b & 5%", [cell, None]), ("c", [tables.Cell(0.5, None), cell])]
    table = tables.Table(("row", "FID", "IS"), rows, ["fid.test9"])
    table.write(tmp_path / "out" / "table")
    markdown = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert (
        markdown[0] == "| row | FID | IS |"
        and markdown[2] == "| a_b & 5% | 2.25 ± 0.94 |  |"
        and markdown[-1] == "- fid.test9"
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text())))
    assert float(rows[0]["FID"]) == cell.mean and float(rows[0]["FID deviation"]) == cell.deviation
    assert rows[0]["IS"] == "" and rows[1]["FID deviation"] == ""
    latex = (tmp_path / "out" / "table.tex").read_text()
    assert r"a\_b \& 5\% & 2.25 $\pm$ 0.94 & -- \\" in latex and latex.count(r"\\") == 3
    assert latex.startswith("% fid.test9\n\\begin{tabular}{lrr}")
