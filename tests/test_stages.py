"""Every stage on a tiny workspace, and the commands on top of it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config
from PIL import Image

from pipelines.input_pipeline import evaluation_batches, training_batches
from rgan_tf.fingerprints import stages_of
from rgan_tf.training import artifacts, stages
from rgan_tf.workspace import Workspace


def test_every_stage_is_current(tiny_workspace):
    assert [stage for stage in stages_of("retrievegan") if not tiny_workspace.is_current(stage, tiny_config())] == []


def test_bank_holds_every_training_object_in_order(tiny_workspace):
    bank, source = artifacts.open_bank(tiny_workspace), artifacts.scene_source(tiny_workspace, tiny_config(), "train")
    category, boxes, scenes = [], [], []
    for index, record in source.records().as_numpy_iterator():
        category += list(record["objects"]["category"])
        boxes += list(record["objects"]["box"])
        scenes += [index] * len(record["objects"]["category"])
    np.testing.assert_array_equal(bank.category, category)
    np.testing.assert_array_equal(bank.box, boxes)
    np.testing.assert_array_equal(bank.scene_index, scenes)


def test_candidates_are_of_the_category_and_never_of_the_own_scene(tiny_workspace):
    bank, config = artifacts.open_bank(tiny_workspace), tiny_config()
    for split in stages.SPLITS:
        rows = np.load(tiny_workspace.directory("candidates") / f"{split}.npy")
        batches = evaluation_batches(artifacts.scene_source(tiny_workspace, config, split), 8)
        objects = np.concatenate([batch["objects"] for batch in batches])
        assert rows.shape == objects.shape + (config.candidates.k_max,)
        found = rows >= 0
        assert found.any()
        assert not found[objects == 0].any()
        wanted = np.broadcast_to(objects[..., None], rows.shape)
        np.testing.assert_array_equal(bank.category[rows[found]], wanted[found])
        if split == "train":
            own = np.broadcast_to(np.arange(len(rows))[:, None, None], rows.shape)
            assert (bank.scene_index[rows[found]] != own[found]).all()


def test_training_batches_hold_the_own_patches_and_candidates(tiny_workspace):
    config = tiny_config()
    reader = artifacts.bank_reader(tiny_workspace, config, "train")
    source = artifacts.scene_source(tiny_workspace, config, "train")
    batch = next(iter(training_batches(source, 4, 0, reader)))
    bank, scene = reader.bank, batch["scene_index"].numpy()
    mask = batch["object_mask"].numpy()
    np.testing.assert_array_equal(batch["ground_truth_mask"], mask)
    own = bank.scene_rows(config.data.max_objects)[scene]
    np.testing.assert_array_equal(batch["ground_truth_patches"].numpy()[mask], bank.gather_patches(own[mask]))
    rows = batch["candidates"].numpy()
    all_rows = np.load(tiny_workspace.directory("candidates") / "train.npy")[scene]
    for b, n in np.argwhere(mask):
        valid = rows[b, n][rows[b, n] >= 0]
        assert len(set(valid)) == len(valid) == min(config.candidates.k_train, (all_rows[b, n] >= 0).sum())
        assert set(valid) <= set(all_rows[b, n])
    np.testing.assert_array_equal(batch["candidate_patches"].numpy(), bank.gather_patches(rows))


def test_an_epoch_shows_every_scene_once_and_differs_from_the_next(tiny_workspace):
    source = artifacts.scene_source(tiny_workspace, tiny_config(), "train")
    batches = [batch for batch in training_batches(source, 8).take(12)]
    first, second = ([int(i) for batch in part for i in batch["scene_index"]] for part in (batches[:6], batches[6:]))
    assert sorted(first) == sorted(second) == list(range(48))
    assert first != second
    triples = [
        {int(i): t.tobytes() for batch in part for i, t in zip(batch["scene_index"], batch["triples"].numpy())}
        for part in (batches[:6], batches[6:])
    ]
    assert sum(triples[0][i] != triples[1][i] for i in range(48)) > 24, "relations are drawn anew each epoch"


def test_order_does_not_depend_on_the_process_seed(tiny_workspace):
    source = artifacts.scene_source(tiny_workspace, tiny_config(), "train")
    orders = []
    for process_seed in (0, 5):
        tf.random.set_seed(process_seed)
        orders.append([batch["scene_index"].numpy().tolist() for batch in training_batches(source, 8).take(8)])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("start", [1, 5, 7, 13])
def test_a_resumed_pipeline_gives_the_same_batches(tiny_workspace, start):
    source = artifacts.scene_source(tiny_workspace, tiny_config(), "train")
    reader = artifacts.bank_reader(tiny_workspace, tiny_config(), "train")
    # 7 does not divide 48: batches run across the border of epochs.
    whole = list(training_batches(source, 7, 0, reader).take(start + 2))[start:]
    resumed = list(training_batches(source, 7, start, reader).take(2))
    tf.nest.map_structure(np.testing.assert_array_equal, whole, resumed)


def test_validation_draws_are_fixed(tiny_workspace):
    source = artifacts.scene_source(tiny_workspace, tiny_config(), "validation")
    reader = artifacts.bank_reader(tiny_workspace, tiny_config(), "validation")
    first, second = (list(evaluation_batches(source, 3, reader)) for _ in range(2))
    assert sum(len(batch["objects"]) for batch in first) == 8
    # As generation does: all candidates, not as many as a training step draws.
    assert {batch["candidates"].shape[2] for batch in first} == {tiny_config().candidates.k_max}
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_repetitions_differ_in_weights_and_order(tiny_workspace, tmp_path, monkeypatch):
    started = []

    def train(trainer, run):
        first_batch = next(iter(run.make_dataset(0)))
        started.append((trainer.models.retrievegan.retrieval.get_weights(), first_batch["scene_index"].numpy()))

    monkeypatch.setattr(stages.loop, "train", train)
    for repetition in range(2):
        kept = shutil.ignore_patterns("retrievegan*", "evaluation")
        root = shutil.copytree(tiny_workspace.root, tmp_path / str(repetition), ignore=kept)
        config = tiny_config(f"repetition={repetition}")
        stages.StageRunner(Workspace(root), config, tf.distribute.get_strategy()).run("retrievegan")
    (weights, order), (other_weights, other_order) = started
    assert not np.array_equal(weights[0], other_weights[0]) and not np.array_equal(order, other_order)


@pytest.fixture(scope="module")
def generator(tiny_workspace):
    """The tiny workspace's generator."""
    from rgan_tf.scene_generator import RetrievingGenerator

    return RetrievingGenerator(tiny_workspace)


def scene_of(generator, **more):
    from rgan_tf.scene_graph import parse_scenes

    bank = generator._bank
    names = [generator.vocabulary.objects[i] for i in np.bincount(bank.category).argsort()[::-1][:3]]
    content = {"objects": names, "relationships": [[0, "above", 1], [2, "left of", 1]], **more}
    return parse_scenes(content, generator.vocabulary, 4, 6)[0]


def test_same_seed_same_picture_whatever_else_is_drawn(generator):
    scene, other = scene_of(generator), scene_of(generator, objects=["sky", "tree", "sky", "sky"])
    alone = generator.draw([scene], seed=5)[0]
    together = generator.draw([other, scene], seed=5)[1]
    np.testing.assert_array_equal(alone.patch_ids, together.patch_ids)
    assert np.abs(alone.image.astype(int) - together.image).max() <= 1
    assert np.allclose(alone.boxes, together.boxes, atol=1e-6)


def test_different_seeds_choose_different_patches(generator):
    scene = scene_of(generator)
    assert len({tuple(generator.draw([scene], seed)[0].patch_ids) for seed in range(6)}) > 1


def test_given_boxes_and_pinned_patches_are_kept(generator):
    box = [0.25, 0.25, 0.75, 1.0]
    pinned = int(generator._bank.patch_id[-1])
    scene = scene_of(generator, boxes=[None, box, None], patches=[None, None, pinned])
    for seed in range(4):
        answer = generator.draw([scene], seed)[0]
        np.testing.assert_array_equal(answer.boxes[1], box)
        assert answer.patch_ids[2] == pinned
        np.testing.assert_array_equal(answer.patches[2], generator._bank.gather_patches(len(generator._bank) - 1))


def test_answers_say_where_patches_come_from(generator):
    answer = generator.draw([scene_of(generator)], 0)[0]
    bank = generator._bank
    for patch_id, source in zip(answer.patch_ids, answer.sources):
        assert bank.image_id[np.flatnonzero(bank.patch_id == patch_id)[0]] == source


def run_generate(workspace, *arguments):
    command = [sys.executable, "-m", "rgan_tf.generate", f"--workspace={workspace.root}", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_command_writes_a_picture(tiny_workspace, generator, tmp_path):
    (tmp_path / "scene.json").write_text(json.dumps([scene_of(generator).to_dict()]))
    done = run_generate(
        tiny_workspace, f"--scene={tmp_path}/scene.json", f"--output={tmp_path}/a/o.png", "--num_samples=2"
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a" / "o.png") as picture:
        assert picture.width > 4 * 200 and picture.height > 2 * 200


def test_command_refuses_with_one_sentence_and_status_2(tiny_workspace, tmp_path):
    (tmp_path / "bad.json").write_text('{"objects": ["shep"]}')
    done = run_generate(tiny_workspace, f"--scene={tmp_path}/bad.json", f"--output={tmp_path}/o.png")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "'shep'" in errors[0] and "sheep" in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o.png").exists()
