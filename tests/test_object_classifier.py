"""The evaluation's own object classifier: what it learns from, how well, and that it is kept."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from rgan_tf.evaluation.feature_networks import object_classifier, small_networks
from rgan_tf.evaluation.feature_networks.object_classifier import ObjectClassifier, trained
from rgan_tf.ops import pixels
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

LEARNING = "evaluation.in_domain.width=8,evaluation.in_domain.feature_dim=16,evaluation.in_domain.steps=400"
LEARNING += ",evaluation.in_domain.batch_size=32"


@pytest.fixture(scope="module")
def workspace(tiny_workspace, tmp_path_factory):
    root = tmp_path_factory.mktemp("judged") / "w"
    shutil.copytree(tiny_workspace.root / "dataset", root / "dataset")
    return Workspace(root)


def objects_of(workspace, split):
    """Pictures, boxes and categories of a split, object by object, read beside the pipeline."""
    builder = artifacts.scene_source(workspace, tiny_config(), split).builder
    for record in builder.as_dataset(split=split).as_numpy_iterator():
        image = tf.image.resize(record["image"].astype(np.float32), (32, 32), antialias=True)
        # The graphs have at most four objects.
        for box, category in list(zip(record["objects"]["box"], record["objects"]["category"]))[:4]:
            yield image / 127.5 - 1.0, box, category


def test_it_learns_categories_from_real_objects_and_says_how_well(workspace):
    classifier = trained(tiny_config(LEARNING), workspace)
    right = []
    for image, box, category in objects_of(workspace, "validation"):
        logits = classifier.class_logits(image[None], tf.constant(box)[None, None])
        assert logits.shape == (1, 1, artifacts.vocabulary(workspace).num_objects)
        right.append(int(np.argmax(logits[0, 0])) == category)
    notes = classifier.notes
    assert notes["validation_objects"] == len(right)
    # Crops are rounded to bytes where the notes are made.
    assert notes["validation_accuracy"] == pytest.approx(np.mean(right), abs=0.1)
    assert notes["validation_accuracy"] > notes["chance"] + 0.2 and classifier.caution == ""


def test_it_is_kept_and_a_function_of_its_settings(workspace, tmp_path, monkeypatch):
    first = trained(tiny_config(), workspace)
    shutil.copytree(workspace.root / "dataset", tmp_path / "dataset")
    tf.keras.utils.set_random_seed(5)
    again = trained(tiny_config("seed=3"), Workspace(tmp_path))
    monkeypatch.setattr(small_networks, "fit", lambda *_: pytest.fail("trained again"))
    kept = trained(tiny_config("training.steps=9"), workspace)
    for other in (again, kept):
        assert other.notes == first.notes
        for a, b in zip(first.model.get_weights(), other.model.get_weights()):
            np.testing.assert_array_equal(a, b)


def test_caution_where_nothing_was_learned():
    classifier = ObjectClassifier(None, {"validation_accuracy": 0.2, "chance": 0.25, "validation_objects": 9})
    assert "0.20" in classifier.caution and "0.25" in classifier.caution


def test_examples_are_the_valid_objects_of_the_first_scenes(workspace):
    source = artifacts.scene_source(workspace, tiny_config(), "train")
    crops, categories = object_classifier._objects_of(source, 3)
    scenes = list(objects_of(workspace, "train"))[: len(categories)]
    assert categories.tolist() == [category - 1 for _, _, category in scenes]
    assert crops.shape == (len(categories), 32, 32, 3) and crops.dtype == np.uint8
    image, box, _ = scenes[-1]
    full = object_classifier.crop(image[None], tf.constant(box)[None, None], (32, 32))[0, 0]
    np.testing.assert_array_equal(crops[-1], pixels.to_uint8(full).numpy())
