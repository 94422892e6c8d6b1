"""The ablation: what it plans, shares, skips and tabulates. Trainings and evaluations have tests of their own."""

import json

import pytest
from conftest import REPOSITORY

from rgan_tf import ablation, experiment
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.paper_tables import tables
from rgan_tf.fingerprints import fingerprint, stages_of
from rgan_tf.workspace import Workspace


@pytest.fixture
def configs(tmp_path):
    """Two rows on the tiny configuration."""
    folder = tmp_path / "configs"
    folder.mkdir()
    for row, weight in (("both", 1.0), ("neither", 0.0)):
        text = f"base: {REPOSITORY / 'tests' / 'tiny.yaml'}\nlosses: {{sel_gt: {weight}, sel_occur: {weight}}}\n"
        (folder / f"{row}.yaml").write_text(text)
    return folder


def add_line(run, metric, value, **changes):
    config = run.config()
    line = {
        "fingerprint": fingerprint("retrievegan", config),
        "step": config.training.steps,
        "policy": "learned",
        "boxes": "predicted",
        "split": "test",
        "samples": 2,
        "metric": metric,
        "name": f"{metric}.test9x2",
        "value": value,
        "deviation": None,
        "notes": {},
        **changes,
    }
    path = run.workspace.root / records.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def test_the_papers_four_rows_are_planned_seed_by_seed(tmp_path):
    runs = experiment.plan(
        REPOSITORY / "configs" / "ablations", tmp_path, 2, first=("neither", "sel_gt", "sel_occur", "both")
    )
    assert [(run.row, run.repetition) for run in runs] == [
        (row, n) for n in (0, 1) for row in ("neither", "sel_gt", "sel_occur", "both")
    ]
    assert len({str(run.workspace.root) for run in runs}) == 8
    for stage in stages_of("retrievegan"):
        prints = {fingerprint(stage, run.config()) for run in runs}
        assert len(prints) == (8 if stage == "retrievegan" else 1), stage


def test_a_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no configuration"):
        experiment.plan(tmp_path / "nowhere", tmp_path / "work", 1)


def recorded(monkeypatch, runs):
    """The commands that are started from here on; those that train leave what says that a stage is there."""
    called = []

    def command(module, *arguments, **how):
        given = dict(argument[2:].split("=", 1) for argument in arguments)
        called.append((module, given))
        workspace = Workspace(given["workspace"])
        if module == "rgan_tf.train":
            run = next(r for r in runs if str(r.config_file) == given["config_file"] and r.changes in given.values())
            stage = given.get("stage", "retrievegan")
            (workspace.root / stage).mkdir(parents=True)
            manifest = {"fingerprint": fingerprint(stage, run.config()), "steps": run.config().training.steps}
            (workspace.root / stage / "manifest.json").write_text(json.dumps(manifest))

    monkeypatch.setattr(experiment, "_command", command)
    return called


def test_rows_share_what_they_agree_in(configs, tmp_path, monkeypatch):
    with open(configs / "both.yaml", "a") as file:
        file.write("patch_bank: {patch_size: 32}\ngenerator: {crop_size: 8}\n")
    runs = experiment.plan(configs, tmp_path / "work", 2, first=ablation.ROWS)
    called = recorded(monkeypatch, runs)
    for _ in range(2):
        experiment.make_shared(runs, tmp_path / "work")
    made = [(given["workspace"].rpartition("/")[2], given["stage"]) for _, given in called]
    own = ("patch_bank", "candidates", "cooccurrence")
    assert made == [("shared", stage) for stage in stages_of("retrievegan")[:-1]] + [("shared-both", s) for s in own]
    for run in runs:
        assert all(run.workspace.is_current(stage, run.config()) for stage in stages_of("retrievegan")[:-1])
        assert (run.workspace.root / "dataset").resolve() == (tmp_path / "work" / "shared" / "dataset").resolve()
        place = "shared-both" if run.row == "both" else "shared"
        assert (run.workspace.root / "patch_bank").resolve() == (tmp_path / "work" / place / "patch_bank").resolve()
        measured = (run.workspace.root / "evaluation" / "in_domain").resolve()
        assert measured == (tmp_path / "work" / "shared" / "evaluation" / "in_domain").resolve()


def test_rows_of_other_data_are_measured_by_networks_of_their_own(configs, tmp_path, monkeypatch):
    with open(configs / "both.yaml", "a") as file:
        file.write("data: {mattes: true}\n")
    runs = experiment.plan(configs, tmp_path / "work", 1, first=ablation.ROWS)
    recorded(monkeypatch, runs)
    experiment.make_shared(runs, tmp_path / "work")
    for run, place in zip(runs, ("shared", "shared-both")):
        measured = (run.workspace.root / "evaluation" / "in_domain").resolve()
        assert measured == (tmp_path / "work" / place / "evaluation" / "in_domain").resolve()


def test_what_is_done_is_not_done_again(configs, tmp_path, monkeypatch):
    runs = experiment.plan(configs, tmp_path / "work", 2, first=ablation.ROWS)
    called = recorded(monkeypatch, runs)
    for _ in range(2):
        experiment.make_shared(runs, tmp_path / "work")
        experiment.train(runs)
    stages = [given.get("stage") for _, given in called]
    assert stages == [*stages_of("retrievegan")[:-1], *[None] * 4]
    assert [given["params_override"] for _, given in called[5:]] == [f"repetition={n}" for n in (0, 0, 1, 1)]
    for run in runs:
        assert all(run.workspace.is_current(stage, run.config()) for stage in stages_of("retrievegan"))
        assert (run.workspace.root / "dataset").resolve() == (tmp_path / "work" / "shared" / "dataset").resolve()
    called.clear()
    for policy in ("learned", "random"):
        add_line(runs[1], "fid", 1.0, policy=policy)
    ablation.evaluate(runs, "test", 2)
    asked = [(given["workspace"], given["retrieval"]) for _, given in called]
    work = tmp_path / "work"
    expected = [
        (work / "neither" / "0", "learned"),
        (work / "neither" / "1", "learned"),
        (work / "both" / "1", "learned"),
    ]
    expected += [(work / "both" / "1", "random"), (work / "both" / "0", "graph_feature")]
    expected += [(work / "both" / "1", "graph_feature")]
    expected += [(work / "both" / number, "cooccurrence") for number in "01"]
    assert sorted(asked) == sorted((str(path), policy) for path, policy in expected)
    called.clear()
    ablation.evaluate(runs, "test", 2, baselines=False)
    assert {given["retrieval"] for _, given in called} == {"learned"}
    called.clear()
    # The Diversity Score is missing where it was not asked for before.
    for weights, again in (("", 0), ("lpips.npz", 1)):
        experiment.measure([(runs[1], "learned", "predicted")], "test", 2, weights)
        assert [given["lpips_weights"] for _, given in called] == ["lpips.npz"] * again
    add_line(runs[1], "diversity", 0.2)
    experiment.measure([(runs[1], "learned", "predicted")], "test", 2, "lpips.npz")
    assert len(called) == 1


def stand_in(monkeypatch, tmp_path, script):
    """A program in Python's place, which is called with the arguments that a training is."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(experiment.sys, "executable", str(program))


def planned_folders(configs, root):
    runs = experiment.plan(configs, root, 2, first=ablation.ROWS)
    for run in runs:
        run.workspace.root.mkdir(parents=True)
    return runs


def test_trainings_run_side_by_side_with_a_share_of_the_processors(configs, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment.os, "cpu_count", lambda: 5)
    runs = planned_folders(configs, tmp_path / "work")
    # The first ends only after a second has begun.
    meet = """echo begun >> begun
for wait in $(seq 200); do test $(wc -l < begun) -ge 2 && break; sleep 0.1; done
test $(wc -l < begun) -ge 2 || exit 1
echo "$TF_NUM_INTRAOP_THREADS threads for $*" """
    stand_in(monkeypatch, tmp_path, meet)
    experiment.train(runs, at_once=2)
    for run in runs:
        said = (run.workspace.root / "train.log").read_text()
        assert said.startswith("2 threads for -m rgan_tf.train") and f"--workspace={run.workspace.root} " in said


def test_after_a_training_that_failed_no_other_begins(configs, tmp_path, monkeypatch):
    runs = planned_folders(configs, tmp_path / "work")
    stand_in(monkeypatch, tmp_path, "echo once >> begun; echo no patches left; exit 3")
    with pytest.raises(UserError, match="stopped with status 3; mend what it says above"):
        experiment.train(runs)
    assert (tmp_path / "begun").read_text().count("once") == 1
    with pytest.raises(UserError, match="mend what it says in .*train.log"):
        experiment.train(runs, at_once=2)
    assert (tmp_path / "begun").read_text().count("once") <= 3
    assert "no patches left" in (runs[0].workspace.root / "train.log").read_text()


def test_table_takes_the_figures_of_this_training_alone(configs, tmp_path):
    runs = experiment.plan(configs, tmp_path / "work", 2, first=ablation.ROWS)
    for run in runs:
        value = {"neither": 40.0, "both": 30.0}[run.row] + run.repetition
        add_line(run, "fid", 99.0)
        add_line(run, "fid", value)
        add_line(run, "fid", 77.0, fingerprint="another")
        add_line(run, "fid", 78.0, split="validation")
        add_line(run, "fid", 79.0, samples=5)
        add_line(run, "fid", 80.0, step=1)
        add_line(run, "fid", 81.0, boxes="ground_truth")
    add_line(runs[-1], "fid", 60.0, policy="random")
    table = ablation.table(runs, "test", 2)
    rows = dict(table.rows)
    assert rows["neither"][0] == tables.Cell(40.5, 0.5) and rows["both"][0] == tables.Cell(30.5, 0.5)
    assert rows["both, random retrieval"][0] == tables.Cell(60.0, None)
    assert "both, graph_feature retrieval" not in rows and rows["both"][1] is None
