"""Retrieval among all patches of a category: which are chosen, and that they are what is drawn."""

import numpy as np
import pytest
import tensorflow as tf
from algorithm1_reference import numpy_scene
from conftest import tiny_config

from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing
from rgan_tf.evaluation.pictures.whole_category import WholeCategory
from rgan_tf.ops import pixels
from rgan_tf.training import artifacts
from rgan_tf.training.scene_features import Apart

CONFIG = "retrieval.inference_noise=0"


@pytest.fixture(scope="module")
def model(tiny_workspace):
    config = tiny_config(CONFIG)
    return artifacts.trained_model(tiny_workspace, config, artifacts.vocabulary(tiny_workspace))


def test_choices_are_those_of_the_reference_over_all_of_the_category(tiny_workspace, model):
    bank = artifacts.open_bank(tiny_workspace)
    # The third scene's group is the first training scene.
    groups = Apart(np.asarray(bank.scene_index), np.array([-1, -1, 0]))
    whole = WholeCategory(model.retrieval, bank, groups)
    features = model.retrieval.embed(pixels.to_float(bank.gather_patches(np.arange(len(bank))))).numpy()
    kinds = np.unique(bank.category[bank.scene_index == 0])[:3]
    objects = np.stack([kinds, kinds[::-1], kinds]).astype(np.int32)
    objects = np.pad(objects, [(0, 0), (0, 1)])
    batch = {
        "objects": tf.constant(objects),
        "object_mask": tf.constant(objects > 0),
        "scene_index": tf.range(3),
        "scene_seed": tf.constant([[1, 2], [3, 4], [1, 2]]),
    }
    narrowed = whole.narrowed(batch)
    rows, widest = narrowed["candidates"].numpy()[..., 0], np.bincount(bank.category).max()
    np.testing.assert_array_equal(rows[:, 3], -1)
    np.testing.assert_array_equal(narrowed["candidate_mask"][..., 0], rows >= 0)
    np.testing.assert_array_equal(narrowed["candidate_patches"][:, :, 0], bank.gather_patches(rows))
    for scene in range(3):
        offered = np.full((4, widest), -1)
        for place, category in enumerate(objects[scene, :3]):
            found = np.flatnonzero(bank.category == category)
            offered[place, : len(found)] = found
        if scene == 2:
            offered[bank.scene_index[offered] == 0] = -1
            assert not (rows[2, :3, None] == np.flatnonzero(bank.scene_index == 0)).any()
        mask, given = offered >= 0, features[offered]
        query = model.retrieval.initial_query(given[None], mask[None], batch["scene_seed"][scene : scene + 1], 0)
        silence = np.zeros((4, 4, widest))
        total = numpy_scene(
            given, mask, query.numpy()[0], silence, 0.1, "squared_euclidean", "running_average", "straight_through"
        )[0]
        np.testing.assert_array_equal(rows[scene, :3], np.take_along_axis(offered, total.argmax(-1)[:, None], 1)[:3, 0])


def test_a_split_is_drawn_from_them(tiny_workspace):
    drawn = {}
    for policy in ("learned", "whole_category"):
        splits = SplitDrawing(tiny_workspace, tiny_config(), samples=2, policy=policy)
        drawn[policy] = next(iter(splits))
    bank, batch = splits.reader.bank, drawn["whole_category"]
    mask = batch.scenes["object_mask"]
    for sample in batch.samples:
        np.testing.assert_array_equal(sample.rows >= 0, mask)
        np.testing.assert_array_equal(bank.category[sample.rows[mask]], batch.scenes["objects"][mask])
        np.testing.assert_array_equal(sample.patches[mask], bank.gather_patches(sample.rows[mask]))
    assert (batch.samples[0].rows != drawn["learned"].samples[0].rows).any()
    # What ranks are taken of stays what it was.
    np.testing.assert_array_equal(batch.scenes["candidates"], drawn["learned"].scenes["candidates"])
    again = next(iter(SplitDrawing(tiny_workspace, tiny_config(), samples=2, policy="whole_category")))
    np.testing.assert_array_equal(again.samples[1].images, batch.samples[1].images)
