"""The comparison of systems: what it plans and shares, its table, costs and sheet."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import BASELINES, REPOSITORY

from rgan_tf import evaluate, experiment, table1
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.evaluation.paper_tables import rows
from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing
from rgan_tf.fingerprints import fingerprint, stages_of
from rgan_tf.scene_graph import Vocabulary
from rgan_tf.training.systems import system_of
from rgan_tf.workspace import Workspace

SYNTHETIC = REPOSITORY / "configs" / "baselines" / "synthetic"
OVERRIDES = "evaluation.network=in_domain,evaluation.splits=2"


@pytest.fixture(scope="module")
def runs(baselines_root, tmp_path_factory):
    """A trained run of two systems, one that retrieves and one that does not, on the tiny configuration."""
    folder = tmp_path_factory.mktemp("configs")
    for model, section in (("sg2im", BASELINES["sg2im"]), ("pastegan", "")):
        fields = [field.replace("baseline.", "", 1).replace("=", ": ") for field in _fields(section)]
        text = f"base: {REPOSITORY / 'tests' / 'tiny.yaml'}\nmodel: {model}\nbaseline: {{{', '.join(fields)}}}\n"
        (folder / f"{model}.yaml").write_text(text)
    root = tmp_path_factory.mktemp("table1")
    planned = experiment.plan(folder, root, 1)
    for run in planned:
        shutil.copytree(baselines_root, run.workspace.root)
    return experiment.plan(folder, root, 1)


def _fields(section):
    """The fields of an override, lists whole."""
    found = []
    for part in section.split(","):
        if part and "=" in part:
            found.append(part)
        elif part:
            found[-1] += f", {part}"
    return found


def test_the_systems_share_stages_data_and_steps(tmp_path):
    planned = experiment.plan(SYNTHETIC, tmp_path, 2)
    assert [run.row for run in planned] == ["layout2im", "pastegan", "retrievegan", "sg2im"] * 2
    assert len({str(run.workspace.root) for run in planned}) == 8
    for run in planned:
        assert run.workspace.model == run.row == run.config().model
    for stage in stages_of("retrievegan")[:-1]:
        assert len({fingerprint(stage, run.config()) for run in planned if stage in stages_of(run.row)}) == 1
    settings = {(run.config().training.steps, run.config().training.batch_size) for run in planned}
    assert len(settings) == 1


@pytest.mark.parametrize("folder", ["synthetic", "coco_sample"])
def test_what_is_trained_to_draw_has_as_many_parameters_in_every_system(tmp_path, folder):
    names, counts = Vocabulary.from_names([f"object {i}" for i in range(16)], list("abcdef")), {}
    for run in experiment.plan(SYNTHETIC.parent / folder, tmp_path, 1, "data.source_dir=none"):
        model = system_of(run.row).build(run.config(), names)
        counts[run.row] = sum(int(tf.size(weight)) for weight in model.trainable_variables)
    assert counts.keys() == {"retrievegan", *BASELINES}
    for system, count in counts.items():
        assert count == pytest.approx(counts["retrievegan"], rel=0.06), system


def test_overrides_reach_every_system(tmp_path):
    planned = experiment.plan(SYNTHETIC, tmp_path, 2, "training.steps=7")
    assert {run.config().training.steps for run in planned} == {7}
    assert {run.config().repetition for run in planned} == {0, 1}


def test_shared_stages_are_linked_to_those_that_read_them(tmp_path, monkeypatch):
    planned, called = experiment.plan(SYNTHETIC, tmp_path, 1), []

    def command(module, *arguments):
        given = dict(argument[2:].split("=", 1) for argument in arguments)
        called.append((given["config_file"].rpartition("/")[2], given["stage"]))

    monkeypatch.setattr(experiment, "_command", command)
    experiment.make_shared(planned, tmp_path)
    assert [stage for _, stage in called] == stages_of("retrievegan")[:-1]
    makers = dict((stage, file) for file, stage in called)
    assert makers["cooccurrence"] == "retrievegan.yaml" and makers["patch_bank"] == "pastegan.yaml"
    links = {path.name for path in (tmp_path / "sg2im" / "0").iterdir()}
    assert links == {"dataset", "evaluation"}


@pytest.mark.timeout(900)
def test_the_table_has_every_system_under_both_layouts(runs):
    for run in runs:
        assert run.workspace.is_current(run.row, run.config())
        for boxes in ("predicted", "ground_truth"):
            evaluate.evaluate(run.workspace, Setting("validation", boxes, samples=1), overrides=OVERRIDES)
    made = table1.table(runs, "validation", 1)
    titles = [title for title, _ in made.rows]
    systems = ["pastegan", "sg2im"]
    assert titles == ["real pictures"] + [f"{b} boxes: {s}" for b in ("predicted", "ground-truth") for s in systems]
    assert made.columns[1:3] == ("FID", "IS") and "KID" in made.columns and "DS" not in made.columns
    for _, cells in made.rows:
        assert sum(cell is not None for cell in cells) >= len(made.columns) - 2
    found = rows.find([rows.Training("a", runs[0].workspace, runs[0].config())], "validation", 1)
    kid = made.columns.index("KID") - 1
    assert made.rows[1][1][kid].mean == found[0].lines["kid"]["value"]


def test_costs_and_sheet_of_all(runs):
    # Of one that is traced quickly.
    cost = table1.costs([run for run in runs if run.row == "sg2im"])
    assert [title for title, _ in cost.rows] == ["sg2im"]
    for _, (parameters, trained, drawn) in cost.rows:
        assert parameters.mean > 1000 and trained.mean > 0 and drawn.mean > 0
    drawing = SplitDrawing(runs[0].workspace, runs[0].config(), "validation")
    drawn = [index for batch in drawing for index in batch.scenes["scene_index"]]
    shown = [scene["scene_index"] for scene, _, _ in experiment._spread(drawing)]
    assert len(drawn) > 6 and len(shown) == 6 and (shown[0], shown[-1]) == (drawn[0], drawn[-1])
    picture = np.asarray(experiment.sheet(runs, "validation"))
    # Graph, boxes, the real picture and two systems.
    assert picture.ndim == 3 and 5 * 200 < picture.shape[1] < 6 * 240 and len(np.unique(picture)) > 50


def test_workspaces_of_several_models_ask_which(baselines_root):
    assert Workspace(baselines_root).model == "retrievegan"
    assert Workspace(baselines_root, "layout2im").trained_config().model == "layout2im"
