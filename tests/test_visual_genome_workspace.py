"""A workspace of Visual Genome's scenes, of more objects than are drawn at a time: from the files to Table 1."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config
from visual_genome_files import random_files

from pipelines import input_pipeline
from pipelines.patch_bank.cropping import crop_patch
from rgan_tf import evaluate
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.evaluation.metrics.candidate_recall import candidate_recall
from rgan_tf.training import artifacts
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import Workspace

SOURCE = (
    "data.builder=visual_genome,data.source_dir={root},data.visual_genome.splits_file={root}/splits.json,"
    "data.visual_genome.min_category_count=2,data.visual_genome.min_predicate_count=2,"
    "data.visual_genome.max_objects=9,data.visual_genome.max_relationships=6"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return random_files(tmp_path_factory.mktemp("source") / "vg")


@pytest.fixture(scope="module")
def config(files):
    return tiny_config(SOURCE.format(root=files.root))


@pytest.fixture(scope="module")
def workspace(config, tmp_path_factory):
    """All stages; four objects a scene graph, of up to nine in a record."""
    workspace = Workspace(tmp_path_factory.mktemp("vg"))
    StageRunner(workspace, config, tf.distribute.get_strategy()).run()
    return workspace


def training_batches(workspace, config, epochs):
    """All scenes of the training split, by epoch: a list of dictionaries of rows, in scene order."""
    source, reader = (f(workspace, config, "train") for f in (artifacts.scene_source, artifacts.bank_reader))
    batches = input_pipeline.training_batches(source, config.training.batch_size, 0, reader).as_numpy_iterator()
    for _ in range(epochs):
        rows = [next(batches) for _ in range(source.size // config.training.batch_size)]
        whole = {name: np.concatenate([batch[name] for batch in rows]) for name in rows[0]}
        order = np.argsort(whole["scene_index"])
        yield {name: values[order] for name, values in whole.items()}


def records_of(workspace, config, split="train"):
    source = artifacts.scene_source(workspace, config, split)
    return [record for _, record in source.records().as_numpy_iterator()]


def test_the_bank_has_every_recorded_object(workspace, config):
    records = records_of(workspace, config)
    counts = [len(record["objects"]["category"]) for record in records]
    bank = artifacts.open_bank(workspace)
    assert max(counts) > config.data.max_objects and len(bank) == sum(counts)
    rows = bank.scene_rows(config.data.recorded_objects)
    assert [np.sum(row >= 0) for row in rows] == counts


def test_batches_carry_the_drawn_objects_of_the_record(workspace, config):
    records, bank = records_of(workspace, config), artifacts.open_bank(workspace)
    first, second = training_batches(workspace, config, 2)
    for epoch in (first, second):
        for scene, record in enumerate(records):
            mask, places = epoch["object_mask"][scene], epoch["object_index"][scene]
            places = places[mask]
            assert len(places) == min(len(record["objects"]["category"]), config.data.max_objects)
            np.testing.assert_array_equal(epoch["objects"][scene][mask], record["objects"]["category"][places])
            np.testing.assert_array_equal(epoch["boxes"][scene][mask], record["objects"]["box"][places])
            image = tf.io.decode_image(record["image"]).numpy()
            for slot, place in enumerate(places):
                patch = crop_patch(image, record["objects"]["box"][place], bank.patch_size)
                np.testing.assert_array_equal(epoch["ground_truth_patches"][scene, slot], patch)
            among = list(places)
            kept = [[among.index(s), p, among.index(o)] for s, p, o in record["relations"] if {s, o} <= set(among)]
            assert epoch["triples"][scene][epoch["triple_mask"][scene]].tolist() == kept
    assert (first["object_index"] != second["object_index"]).any()


def test_candidates_are_of_the_drawn_objects_categories_and_of_other_scenes(workspace, config):
    bank = artifacts.open_bank(workspace)
    (epoch,) = training_batches(workspace, config, 1)
    rows, mask = epoch["candidates"], epoch["candidate_mask"]
    assert mask.any() and not mask[~epoch["object_mask"]].any()
    categories = np.broadcast_to(epoch["objects"][..., None], rows.shape)
    np.testing.assert_array_equal(bank.category[rows[mask]], categories[mask])
    scenes = np.broadcast_to(epoch["scene_index"][:, None, None], rows.shape)
    assert (bank.scene_index[rows[mask]] != scenes[mask]).all()


def test_candidates_are_nearest_by_the_graph_features_of_the_whole_scene(workspace, config):
    bank = artifacts.open_bank(workspace)
    lists = np.load(workspace.directory("candidates") / "train.npy", allow_pickle=False)
    assert lists.shape == (24, 9, config.candidates.k_max)
    features = np.asarray(bank.graph_feature)
    for row in range(0, len(bank), 7):
        distances = np.linalg.norm(features - features[row], axis=1)
        allowed = (bank.category == bank.category[row]) & (bank.scene_index != bank.scene_index[row])
        expected = np.sort(distances[allowed])[: config.candidates.k_max]
        found = lists[bank.scene_index[row], bank.object_index[row]]
        np.testing.assert_allclose(distances[found[found >= 0]], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("split", ["train", "test"])
def test_stored_candidates_are_found_again(workspace, config, split):
    scores = candidate_recall(workspace, config, split)
    assert scores["stored"].mean == 1.0 and scores["stored"].count > 100


def test_table_1_has_its_columns(workspace, files, tmp_path):
    evaluate.evaluate(workspace, Setting("test"), overrides="evaluation.network=in_domain")
    command = [
        sys.executable,
        "-m",
        "rgan_tf.evaluation.paper_tables",
        "--table=1",
        f"--workspace=ours={workspace.root}",
    ]
    done = subprocess.run(
        [*command, f"--output={tmp_path / 'table'}"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    header, _, real, ours = (tmp_path / "table.md").read_text().splitlines()[:4]
    assert header == "|  | Visual Genome FID | Visual Genome IS | Visual Genome DS |"
    score = json.loads(pathlib.Path(workspace.root, "evaluation", "metrics.jsonl").read_text().splitlines()[0])
    assert ours.startswith("| predicted boxes: ours | ") and score["name"].startswith("fid.test8")
    assert f"| {score['value']:.3g} |" in ours
    assert real.startswith("| real pictures |")
