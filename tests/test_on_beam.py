"""Records and crops that Apache Beam's direct runner makes, beside those of the single process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import visual_genome_files
from coco_files import CAT, SKY, Fixture, fill_val, hand_made, thing, whole_image
from conftest import REPOSITORY, tiny_config

from pipelines import datasets, on_beam, records
from pipelines.beam_options import BeamError, parse_beam_options
from pipelines.coco_stuff.scene import Scene as CocoScene
from pipelines.coco_stuff.scene import SceneObject
from pipelines.input_pipeline import SceneSource
from pipelines.visual_genome.scene import Scene as VisualGenomeScene
from rgan_tf.config import DataConfig, VisualGenomeConfig
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import Workspace

DIRECT = "runner=DirectRunner"


def synthetic(tmp_path):
    return DataConfig(train_scenes=70, validation_scenes=3, test_scenes=2)


def coco(tmp_path):
    return DataConfig(builder="coco_stuff", source_dir=str(hand_made(tmp_path / "coco").write()), validation_images=2)


def visual_genome(tmp_path):
    # More scenes than a machine takes at once; one photograph is missing, another is cut short.
    files = visual_genome_files.random_files(tmp_path / "genome", scenes=(80, 8, 8))
    files.path(3).unlink()
    files.path(70).write_bytes(files.path(70).read_bytes()[:200])
    own = VisualGenomeConfig(splits_file=str(files.root / "splits.json"), min_category_count=2, min_predicate_count=2)
    return DataConfig(builder="visual_genome", source_dir=str(files.root), visual_genome=own)


def prepared(config, directory, options=""):
    datasets.prepare(datasets.make_builder(config, directory), parse_beam_options(options))
    return datasets.make_builder(config, directory)


def read(builder, split):
    decoders = {"image": tfds.decode.SkipDecoding()}
    return list(builder.as_dataset(split=split, shuffle_files=False, decoders=decoders).as_numpy_iterator())


@pytest.mark.parametrize("configured", [synthetic, coco, visual_genome])
def test_records_and_what_they_say_of_themselves_are_those_of_the_single_process(configured, tmp_path):
    config = configured(tmp_path)
    alone, spread = prepared(config, tmp_path / "alone"), prepared(config, tmp_path / "spread", DIRECT)
    for split in ("train", "validation", "test"):
        expected, found = read(alone, split), read(spread, split)
        assert len(expected) == len(found) > 0
        for one, other in zip(expected, found):
            tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    assert dict(alone.info.metadata) == dict(spread.info.metadata)
    assert datasets.source_report(alone) == datasets.source_report(spread)
    if configured is visual_genome:
        assert sum(spread.info.metadata[records.PROBLEMS]["train"].values()) == 2
    # Nothing is left but the records.
    assert {path.name for path in (tmp_path / "spread").rglob("*")} == {
        path.name for path in (tmp_path / "alone").rglob("*")
    }


def test_a_bank_of_crops_from_beam_is_the_same_to_the_byte(tiny_workspace, tmp_path):
    workspace = Workspace(tmp_path / "w")
    runner = StageRunner(
        workspace, tiny_config(), tf.distribute.get_strategy(), beam_options=parse_beam_options(DIRECT)
    )
    for stage in ("dataset", "graph_encoder", "patch_bank"):
        runner.run(stage)
    expected, found = (w.directory("patch_bank") for w in (tiny_workspace, workspace))
    names = sorted(path.name for path in expected.iterdir())
    assert names == sorted(path.name for path in found.iterdir())
    for name in names:
        if name != "manifest.json":
            assert (found / name).read_bytes() == (expected / name).read_bytes(), name


def test_the_command_with_two_worker_processes(tmp_path):
    overrides = "data.train_scenes=130,data.validation_scenes=3,data.test_scenes=3"
    options = f"{DIRECT},direct_running_mode=multi_processing,direct_num_workers=2"
    common = [sys.executable, "-m", "rgan_tf.train", "--config_file=tests/tiny.yaml", "--stage=dataset"]
    for name, more in (("alone", []), ("spread", [f"--beam_pipeline_options={options}"])):
        command = [*common, f"--params_override={overrides}", f"--workspace={tmp_path / name}", *more]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    config = tiny_config(overrides).data
    alone, spread = (datasets.make_builder(config, str(tmp_path / w / "dataset")) for w in ("alone", "spread"))
    for one, other in zip(read(alone, "train"), read(spread, "train")):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_a_split_without_a_usable_scene_is_one_sentence(tmp_path):
    fixture = Fixture(tmp_path / "coco")
    fill_val(fixture)
    fixture.image("train", 1, picture=False)
    fixture.annotate("train", *[thing(CAT, 1, 0, 0, 50, 50)] * 3, whole_image(SKY, 1))
    config = DataConfig(builder="coco_stuff", source_dir=str(fixture.write()), validation_images=2)
    with pytest.raises(BeamError, match=r"Apache Beam \(DirectRunner\) failed: .* is 0 for split train") as caught:
        prepared(config, tmp_path / "data", DIRECT)
    assert "\n" not in str(caught.value)
    # The picture is there: the next run makes the records.
    fixture.image("train", 1)
    assert len(read(prepared(config, tmp_path / "data", DIRECT), "train")) == 1


def test_records_that_a_runner_loses_are_an_error_and_leave_nothing(tmp_path, monkeypatch):
    config = synthetic(tmp_path)
    with monkeypatch.context() as patch:
        # What a machine had made of a part that is not the last one.
        real = on_beam._outputs
        patch.setattr(on_beam, "_outputs", lambda part, make: [] if part == (0, 64) else real(part, make))
        sentence = "lost scenes: of 70 of the train split it made 6 records and left 0 out; nothing of it was kept"
        with pytest.raises(BeamError, match=sentence):
            prepared(config, tmp_path / "data", DIRECT)
    assert len(read(prepared(config, tmp_path / "data", DIRECT), "train")) == 70


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("direct_num_workers=2", "names no runner; give one, as in runner=DirectRunner"),
        (
            "runner=DirectRunner,direct_num_worker=2",
            "knows no option 'direct_num_worker', did you mean direct_num_workers",
        ),
        ("runner=DirectRunner,direct_num_workers=two", "has a value that Apache Beam cannot read"),
    ],
)
def test_options_that_beam_would_not_heed_are_named(text, sentence):
    with pytest.raises(BeamError, match=sentence):
        parse_beam_options(text)


def test_options_are_beams_own():
    assert parse_beam_options("") is None
    text = "runner=FlinkRunner, flink_master=localhost:8081,environment_type=LOOPBACK"
    options = parse_beam_options(text).get_all_options(drop_default=True)
    assert options["runner"] == "FlinkRunner" and options["flink_master"] == "localhost:8081"
    assert options["environment_type"] == "LOOPBACK"


def test_without_beam_its_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "apache_beam"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(BeamError, match=r"cannot be imported .*; install rgan-tf\[beam\], or leave the flag out"):
        parse_beam_options(DIRECT)
    assert parse_beam_options("") is None


def test_the_package_does_not_import_beam():
    script = "import sys, rgan_tf.train; sys.exit('apache_beam' in sys.modules)"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, env=environment, check=False).returncode == 0


def test_scenes_as_lines_are_whole(tmp_path):
    box = (0.1, 1 / 3, 0.7000000000000001, 1.0)
    text = json.dumps({"counts": "é\u2028\n"}).encode()
    coco_scene = CocoScene("7", tmp_path / "ä b.jpg", 640, 480, "by\u2028nc", True, [SceneObject("hot dog", box, text)])
    genome = VisualGenomeScene(
        "8", tmp_path / "8.jpg", 9, 7, np.array([3, 1]), np.array([box, box], np.float32), np.zeros((0, 3), np.int64)
    )
    parts = on_beam.write_parts([coco_scene.to_json(), genome.to_json()] * 50, 100, tmp_path / "deep" / "train")
    assert [start for _, start in parts] == [0, 64]
    lines = dict(line for part in parts for line in on_beam.read_part(part))
    assert list(lines) == list(range(100))
    assert CocoScene.from_json(lines[64]) == coco_scene
    again = VisualGenomeScene.from_json(lines[99])
    for name in vars(genome):
        np.testing.assert_array_equal(getattr(again, name), getattr(genome, name))


def test_slices_of_records_are_those_of_the_whole(tiny_workspace):
    source = SceneSource(
        datasets.make_builder(tiny_config().data, str(tiny_workspace.directory("dataset"))),
        "train",
        tiny_config().data,
        0,
    )
    whole = [(index, record["image_id"]) for index, record in source.records().as_numpy_iterator()]
    assert [index for index, _ in whole] == list(range(48))
    for start, stop in ((0, 48), (5, 9), (47, 48), (3, None), (48, None)):
        part = [(index, record["image_id"]) for index, record in source.records(start, stop).as_numpy_iterator()]
        assert part == whole[start:stop]
