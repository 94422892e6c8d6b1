"""Scenes given to other systems, and their pictures scored by the same protocol."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

from rgan_tf import evaluate
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records, scenes
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.evaluation.paper_tables import rows
from rgan_tf.evaluation.paper_tables.__main__ import gather
from rgan_tf.evaluation.pictures.picture_folder import BOXES_FILE, PictureFolder, PictureFolderError, scene_name
from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing
from rgan_tf.scene_graph import SceneGraph, parse_scenes
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

OVERRIDE = "evaluation.network=in_domain,evaluation.splits=2"


@pytest.fixture(scope="module")
def workspace(tiny_workspace, tmp_path_factory):
    return Workspace(shutil.copytree(tiny_workspace.root, tmp_path_factory.mktemp("judge") / "tiny"))


@pytest.fixture(scope="module")
def config(workspace):
    return workspace.trained_config(OVERRIDE)


@pytest.fixture(scope="module")
def source(workspace, config):
    return artifacts.scene_source(workspace, config, "validation")


@pytest.fixture(scope="module")
def drawn(workspace, config, tmp_path_factory):
    """The workspace's own pictures of the validation split, two a scene, as files with their boxes."""
    directory, boxes = tmp_path_factory.mktemp("drawn"), {}
    for batch in SplitDrawing(workspace, config, "validation", samples=2):
        for number, sample in enumerate(batch.samples):
            for row, index in enumerate(batch.scenes["scene_index"]):
                name, mask = scene_name("validation", int(index)), batch.scenes["object_mask"][row]
                Image.fromarray(sample.images[row]).save(directory / f"{name}_{number}.png")
                boxes[name] = sample.boxes[row][mask].tolist()
    (directory / BOXES_FILE).write_text(json.dumps(boxes))
    return directory


def folder_copy(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "pictures", ignore=shutil.ignore_patterns("metrics.jsonl"))


def values(lines):
    return {line["name"]: line["value"] for line in lines}


def test_a_models_pictures_from_files_have_the_scores_of_the_model(workspace, drawn, tmp_path):
    setting = Setting("validation", "predicted", samples=2)
    expected = values(evaluate.evaluate(workspace, setting, overrides=OVERRIDE))
    directory = folder_copy(drawn, tmp_path)
    lines = evaluate.evaluate_pictures(workspace, setting, directory, overrides=OVERRIDE)
    found = values(lines)
    assert {"fid", "kid", "precision", "scene_fid", "classifier_accuracy", "relation_accuracy", "is"} <= {
        line["metric"] for line in lines
    }
    # What patches are retrieved, and what the model itself says, has no place here.
    assert not {"box_iou", "object_accuracy", "ground_truth_accuracy", "cooccurrence_distance"} & {
        line["metric"] for line in lines
    }
    assert found == {name: pytest.approx(expected[name], rel=1e-6, abs=1e-9) for name in found}
    assert records.of_folder(directory, "validation", 2, "predicted").keys() == {line["metric"] for line in lines}
    assert not records.of_folder(directory, "validation", 2, "ground_truth")
    # The workspace's own record is not touched.
    assert values(records.read(workspace)) == expected


def test_without_boxes_objects_are_left_out_or_looked_for_at_the_true_ones(workspace, source, drawn, tmp_path, capsys):
    directory = folder_copy(drawn, tmp_path)
    (directory / BOXES_FILE).unlink()
    lines = evaluate.evaluate_pictures(workspace, Setting("validation", samples=2), directory, overrides=OVERRIDE)
    assert not any(line["metric"].startswith(("scene_fid", "classifier", "relation")) for line in lines)
    assert "Where these pictures show their objects is not known" in capsys.readouterr().out
    (batch,) = PictureFolder(directory, source, 2, "ground_truth")
    np.testing.assert_array_equal(batch.samples[0].boxes, batch.scenes["boxes"])


def test_boxes_may_differ_from_sample_to_sample(source, drawn, tmp_path):
    directory = folder_copy(drawn, tmp_path)
    boxes = json.loads((directory / BOXES_FILE).read_text())
    count = len(boxes["validation_000002"])
    boxes["validation_000002_1"] = [[0.25, 0.25, 0.5, 0.75]] * count
    (directory / BOXES_FILE).write_text(json.dumps(boxes))
    (batch,) = PictureFolder(directory, source, 2, "predicted")
    first, second = (sample.boxes[2, :count] for sample in batch.samples)
    np.testing.assert_allclose(first, boxes["validation_000002"], rtol=1e-6)
    assert (second == np.float32([0.25, 0.25, 0.5, 0.75])).all()


def resize(directory):
    Image.new("RGB", (32, 16)).save(directory / "validation_000003_1.png")


def as_jpeg(directory):
    Image.new("RGB", (32, 32)).save(directory / "validation_000003_1.png", "JPEG")


def boxes_of(content):
    def change(directory):
        (directory / BOXES_FILE).write_text(content)

    return change


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda d: (d / "validation_000003_1.png").unlink(), r"lacks 1 pictures \(validation_000003_1.png\)"),
        (lambda d: [path.unlink() for path in d.glob("*_1.png")], r"lacks 8 pictures \(validation_000000_1.png, .*, …"),
        (lambda d: shutil.copy(d / "validation_000000_0.png", d / "validation_000008_0.png"), "holds, beyond those"),
        (lambda d: shutil.copy(d / "validation_000000_0.png", d / "cat.png"), r"1 pictures \(cat.png\)"),
        (resize, r"validation_000003_1.png is a PNG of 32 x 16 pixels; pictures must be PNG of 32 x 32"),
        (as_jpeg, r"validation_000003_1.png is a JPEG"),
        (lambda d: (d / "validation_000003_1.png").write_bytes(b"PNG"), "cannot be read as a picture"),
        (boxes_of("[1]"), "boxes.json cannot be read"),
        (boxes_of("{"), "boxes.json cannot be read"),
        (boxes_of('{"validation_000000": [[0, 0, 2, 1]]}'), "a box of validation_000000 is not x0 < x1"),
        (boxes_of('{"validation_000000": [[0, NaN, 0.5, 1]]}'), "a box of validation_000000 is not x0 < x1"),
        (boxes_of("{}"), "has no boxes for validation_000000"),
        (boxes_of('{"validation_000000": [[0, 0, 1, 1]]}'), "has 1 boxes for validation_000000, which has"),
    ],
)
def test_folders_that_cannot_be_scored(source, drawn, tmp_path, change, sentence):
    directory = folder_copy(drawn, tmp_path)
    change(directory)
    with pytest.raises(PictureFolderError, match=sentence) as caught:
        list(PictureFolder(directory, source, 2, "predicted"))
    assert "\n" not in str(caught.value)


def test_the_scenes_that_are_written_are_those_of_the_split(workspace, source, drawn, tmp_path):
    names = artifacts.vocabulary(workspace)
    assert scenes.write_scenes(source, names, tmp_path / "out") == 8
    written = json.loads((tmp_path / "out" / "scenes.json").read_text())
    lines = (tmp_path / "out" / "sentences.txt").read_text().splitlines()
    (batch,) = PictureFolder(drawn, source, 2, "ground_truth")
    data = source.data
    for row, (content, line) in enumerate(zip(written, lines)):
        assert content.pop("name") == scene_name("validation", row)
        (graph,) = parse_scenes(content, names, data.max_objects, data.max_triples)
        mask = batch.scenes["object_mask"][row]
        assert [names.objects.index(name) for name in graph.objects] == batch.scenes["objects"][row][mask].tolist()
        np.testing.assert_allclose(graph.boxes, batch.scenes["boxes"][row][mask], atol=1e-6)
        triples = batch.scenes["triples"][row][batch.scenes["triple_mask"][row]].tolist()
        assert [[s, names.predicates.index(p), o] for s, p, o in graph.relationships] == triples
        assert line == scenes.sentence(graph)
    assert len(written) == len(lines) == 8


def test_sentences_are_relations_and_then_what_none_names():
    graph = SceneGraph(("sky", "grass", "sheep", "boat"), ((0, "above", 1), (2, "standing on", 1)))
    assert scenes.sentence(graph) == "sky above grass. sheep standing on grass. boat."
    assert scenes.sentence(SceneGraph(("sky",))) == "sky."


def test_the_commands_and_the_row_in_the_table(workspace, drawn, tmp_path):
    directory = folder_copy(drawn, tmp_path)
    command = [sys.executable, "-m", "rgan_tf.evaluation.scenes", f"--workspace={workspace.root}"]
    done = subprocess.run(
        [*command, "--split=validation", f"--write_scenes={tmp_path / 's'}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "8 scenes. Draw each at 32 x 32" in done.stdout, done.stderr
    asked = [f"--pictures={directory}", "--split=validation", "--samples_per_scene=2", f"--params_override={OVERRIDE}"]
    command = [sys.executable, "-m", "rgan_tf.evaluate", f"--workspace={workspace.root}", *asked]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "kid.validation8x2" in done.stdout, done.stderr
    found = rows.find_pictures("AttnGAN", directory, "validation", 2)
    text = rows.table_1(found).markdown()
    assert "| predicted boxes: AttnGAN |" in text and "synthetic scenes FID" in text
    with pytest.raises(UserError, match="has no figures; run python -m rgan_tf.evaluate --workspace=… --pictures="):
        gather([], [f"AttnGAN={tmp_path}"], ("test", 1), ("predicted",))
    assert gather([], [f"AttnGAN={directory}"], ("validation", 2), ("predicted",)) == found
