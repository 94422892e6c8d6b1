"""The in-domain classifier: labels, learning, determinism, and that it is kept and used again."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from pipelines import input_pipeline
from pipelines.records import STYLE_NAMES
from rgan_tf.evaluation.feature_networks import in_domain_classifier, small_networks
from rgan_tf.evaluation.feature_networks.image_features import make_feature_extractor
from rgan_tf.evaluation.feature_networks.in_domain_classifier import trained
from rgan_tf.evaluation.metrics.averages import EvaluationError
from rgan_tf.evaluation.metrics.image_scores import frechet_distance, inception_score
from rgan_tf.evaluation.metrics.image_statistics import collect
from rgan_tf.ops import pixels
from rgan_tf.training import artifacts
from rgan_tf.training.stages import StageRunner
from rgan_tf.workspace import Workspace

LEARNING = "evaluation.in_domain.steps=150,evaluation.in_domain.width=8,evaluation.in_domain.learning_rate=1e-2"


@pytest.fixture(scope="module")
def new_workspace(tmp_path_factory):
    """Makes workspaces that share a data set and have nothing else."""
    first = Workspace(tmp_path_factory.mktemp("data"))
    StageRunner(first, tiny_config(), tf.distribute.get_strategy()).run("dataset")

    def make():
        root = tmp_path_factory.mktemp("workspace")
        (root / "dataset").symlink_to(first.directory("dataset"))
        return Workspace(root)

    return make


@pytest.fixture(scope="module")
def workspace(new_workspace):
    """One with a classifier of the tiny configuration."""
    made = new_workspace()
    trained(tiny_config(), made)
    return made


def weights_of(classifier):
    return [weight.copy() for weight in classifier.model.get_weights()]


def same(first, second):
    return all((a == b).all() for a, b in zip(first, second))


def records_of(workspace, split):
    """The split's records, read beside the pipeline."""
    return list(artifacts.scene_source(workspace, tiny_config(), split).builder.as_dataset(split=split))


def test_it_is_kept_and_not_trained_again(workspace, monkeypatch):
    first = trained(tiny_config(), workspace)
    monkeypatch.setattr(in_domain_classifier, "_train", lambda *_: pytest.fail("trained again"))
    second = trained(tiny_config("training.steps=9,evaluation.splits=1,retrieval.temperature_end=0.1"), workspace)
    assert same(weights_of(first), weights_of(second)) and first.notes == second.notes
    assert [path.name for path in (workspace.root / "evaluation").iterdir()] == ["in_domain"]
    (kept,) = (workspace.root / "evaluation" / "in_domain").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["notes.json", "weights.npz"]


def test_training_is_a_function_of_data_and_its_own_settings(workspace, new_workspace):
    first = weights_of(trained(tiny_config(), workspace))
    tf.keras.utils.set_random_seed(99)
    assert same(first, weights_of(trained(tiny_config("seed=7,data.shuffle_buffer=3"), new_workspace())))
    assert not same(first, weights_of(trained(tiny_config("evaluation.in_domain.seed=1"), workspace)))
    assert len(list((workspace.root / "evaluation" / "in_domain").iterdir())) == 2


def test_a_killed_training_leaves_nothing(new_workspace, monkeypatch):
    workspace = new_workspace()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(in_domain_classifier, "_quality", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        trained(tiny_config(), workspace)
    assert not (workspace.root / "evaluation").exists()
    trained(tiny_config(), workspace)


def test_it_learns_and_says_how_well(new_workspace):
    workspace, config = new_workspace(), tiny_config(LEARNING)
    classifier = trained(config, workspace)
    records = records_of(workspace, "train")
    images = np.stack([record["image"].numpy() for record in records])
    styles = np.array([int(record["style"]) for record in records])
    features, logits = classifier.features_and_logits(pixels.to_float(images))
    assert features.shape == (48, 8) and features.dtype == tf.float32
    assert np.mean(np.argmax(logits, axis=1) == styles) > 0.8
    assert classifier.notes["label"] == "style" and classifier.notes["label_accuracy"] > 0.5
    assert classifier.caution == ""


def test_quality_against_numpy(workspace):
    """Accuracy, the most frequent label's share, and the area under the ROC curve as a share of ordered pairs."""
    classifier, records = trained(tiny_config(), workspace), records_of(workspace, "validation")
    images = np.stack([record["image"].numpy() for record in records])
    styles = np.array([int(record["style"]) for record in records])
    _, presence, labels = (value.numpy() for value in classifier.model(pixels.to_float(images)))
    assert classifier.notes["validation_images"] == 8
    assert classifier.notes["label_accuracy"] == np.mean(labels.argmax(axis=1) == styles)
    assert classifier.notes["label_chance"] == np.unique(styles, return_counts=True)[1].max() / 8
    present = np.zeros(presence.shape, bool)
    for row, record in zip(present, records):
        row[record["objects"]["category"].numpy() - 1] = True
    areas = []
    for truth, logits in zip(present.T, presence.T):
        if truth.any() and not truth.all():
            pairs = logits[truth][:, None] - logits[~truth]
            areas.append(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    # Keras integrates over 200 thresholds.
    assert classifier.notes["presence_auc"] == pytest.approx(np.mean(areas), abs=0.05)


def test_caution_where_nothing_was_learned():
    notes = {"label": "style", "label_accuracy": 0.2, "label_chance": 0.25}
    classifier = in_domain_classifier.InDomainClassifier(None, notes)
    assert "style" in classifier.caution and "0.20" in classifier.caution and "0.25" in classifier.caution


def test_examples_of_scenes_without_style(monkeypatch):
    """The label is the largest valid object's category, the first of equals; presence leaves padding out."""
    boxes = np.zeros((3, 4, 4), np.float32)
    boxes[..., 2:] = 0.5
    boxes[0, 2] = (0.1, 0.1, 0.9, 0.95)
    boxes[2, 3] = (0.0, 0.0, 1.0, 1.0)
    objects = np.array([[5, 2, 3, 2], [4, 1, 0, 0], [2, 6, 6, 5]], np.int32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], bool)
    batch = {"image": tf.fill([3, 8, 8, 3], -1.0), "objects": objects, "object_mask": mask, "boxes": boxes}
    batch["style"] = np.full(3, -1, np.int32)
    batches = tf.data.Dataset.from_tensors(batch)
    monkeypatch.setattr(input_pipeline, "evaluation_batches", lambda *_: batches)
    examples = in_domain_classifier._Examples.read(None, categories=6)
    assert examples.images.dtype == np.uint8 and not examples.images.any()
    assert examples.labels.tolist() == [3 - 1, 4 - 1, 2 - 1]
    expected = [[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1]]
    assert examples.presence.tolist() == expected
    assert len(in_domain_classifier._Examples.read(None, categories=6, limit=2).labels) == 2


def test_every_example_is_seen_once_an_epoch():
    settings = tiny_config("evaluation.in_domain.steps=9,evaluation.in_domain.batch_size=4").evaluation.in_domain
    rows = small_networks.row_order(12, settings).reshape(3, 12)
    assert (np.sort(rows) == np.arange(12)).all()
    assert len({tuple(row) for row in rows}) == 3


def test_as_a_feature_network(workspace):
    config = tiny_config()
    extract = make_feature_extractor(config, workspace)
    assert (extract.name, extract.resize) == ("in_domain", "none32")
    assert extract.notes["label"] == "style" and isinstance(extract.caution, str)
    assert make_feature_extractor(tiny_config("seed=5"), workspace).fingerprint == extract.fingerprint
    other = make_feature_extractor(tiny_config("evaluation.in_domain.seed=1"), workspace)
    assert other.fingerprint != extract.fingerprint
    images = np.stack([record["image"].numpy() for record in records_of(workspace, "train")])
    statistics = collect(extract, np.split(images, 3), config.evaluation.splits)
    styles = len(artifacts.scene_source(workspace, config, "train").builder.info.metadata[STYLE_NAMES])
    assert inception_score(statistics).classes == styles == 6
    assert frechet_distance(statistics, statistics).features == 8


def test_images_of_another_size_are_refused(workspace):
    extract = make_feature_extractor(tiny_config(), workspace)
    with pytest.raises(EvaluationError, match=r"trained on images \[32, 32, 3\], not \[64, 64, 3\]"):
        extract(np.zeros([2, 64, 64, 3], np.uint8))


def test_a_broken_file_is_named(new_workspace):
    workspace = new_workspace()
    trained(tiny_config(), workspace)
    (kept,) = (workspace.root / "evaluation" / "in_domain").iterdir()
    notes = json.loads((kept / "notes.json").read_text())
    for damage in (lambda: (kept / "notes.json").unlink(), lambda: (kept / "weights.npz").write_bytes(b"")):
        damage()
        with pytest.raises(EvaluationError, match=f"{re.escape(str(kept))} cannot be read .*remove the folder"):
            trained(tiny_config(), workspace)
        (kept / "notes.json").write_text(json.dumps(notes))


def test_a_diverged_training_is_told(new_workspace):
    workspace, config = new_workspace(), tiny_config()
    config.evaluation.in_domain.learning_rate = 1e30  # More than a file may ask for.
    with pytest.raises(EvaluationError, match="not finite at step .*evaluation.in_domain.learning_rate"):
        trained(config, workspace)
    assert not (workspace.root / "evaluation").exists()
