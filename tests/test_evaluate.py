"""The evaluation of a split: what is drawn, what is measured on it, and what is written down."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import sys

import chromium
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from conftest import REPOSITORY
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rgan_tf import evaluate
from rgan_tf.errors import UserError
from rgan_tf.evaluation import records
from rgan_tf.evaluation.feature_networks import image_features
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing, real_images
from rgan_tf.evaluation.report.meanings import MEANINGS
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace, WorkspaceError

OVERRIDE = "evaluation.network=in_domain,evaluation.splits=2"


@pytest.fixture(scope="module")
def workspace(tiny_workspace, tmp_path_factory):
    return Workspace(shutil.copytree(tiny_workspace.root, tmp_path_factory.mktemp("evaluated") / "tiny"))


@pytest.fixture(scope="module")
def config(workspace):
    return workspace.trained_config(OVERRIDE)


@pytest.fixture(scope="module")
def lines(workspace):
    return evaluate.evaluate(workspace, Setting(split="validation", samples=2), overrides=OVERRIDE)


@pytest.fixture(scope="module")
def drawn(workspace, config):
    """The split drawn once more, as `lines` measured it: two samples of each scene."""
    return list(SplitDrawing(workspace, config, "validation", samples=2))


def values(lines):
    return {line["name"]: line["value"] for line in lines}


def test_names_carry_the_protocol(lines):
    names = set(values(lines))
    assert {
        "fid.validation8x2.predicted_boxes.in_domain.none32",
        "is.validation8x2.predicted_boxes.in_domain.none32.splits2",
        "is_real.validation8.in_domain.none32.splits2",
        "kid.validation8x2.predicted_boxes.in_domain.none32",
        "precision.validation8x2.predicted_boxes.k3.in_domain.none32",
        "coverage_real.validation8.k5.train16.in_domain.none32",
        "scene_fid.validation8x2.predicted_boxes.in_domain.none32",
        "classifier_accuracy.validation8x2.predicted_boxes.own",
        "relation_accuracy_real.validation8",
        "box_iou.validation8",
        "box_recall@0.5.validation8",
        "object_accuracy.validation8x2.predicted_boxes.d_obj",
        "ground_truth_accuracy.validation8.k6",
        "style_agreement.validation8x2.predicted_boxes.k6",
        "cooccurrence_distance.validation8x2.predicted_boxes.k6",
    } <= names
    assert not any(name.startswith("diversity") for name in names), "there were no weights for it"


def scipy_frechet(*sets):
    means = [features.mean(axis=0, dtype=np.float64) for features in sets]
    covariances = [np.cov(features.astype(np.float64), rowvar=False) for features in sets]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)


def test_figures_are_those_of_the_drawn_pictures(workspace, config, lines, drawn):
    """Fréchet distance by SciPy, co-occurrence and IoU by loops, over pictures drawn once more."""
    bank, source = artifacts.open_bank(workspace), artifacts.scene_source(workspace, config, "validation")
    found = values(lines)
    extract = image_features.make_feature_extractor(config, workspace)
    generated = np.concatenate([extract(sample.images).pool for batch in drawn for sample in batch.samples])
    real = np.concatenate([extract(images).pool for images in real_images(source)])
    expected = scipy_frechet(generated, real)
    assert found["fid.validation8x2.predicted_boxes.in_domain.none32"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    # The floor: as many training pictures as were drawn.
    training = real_images(artifacts.scene_source(workspace, config, "train"))
    first = np.concatenate([extract(images).pool for images in training])[: len(generated)]
    assert len(first) == 16
    assert found["fid_real.validation8.train16.in_domain.none32"] == pytest.approx(
        scipy_frechet(first, real), rel=1e-3, abs=1e-4
    )

    distances, ious = [], []
    for batch in drawn:
        for sample in batch.samples:
            for rows in sample.rows:
                points = bank.gather_cooccurrence(rows[rows >= 0])
                pairs = [np.sum((a - b) ** 2) for i, a in enumerate(points) for b in points[:i]]
                distances += [np.mean(pairs)] if pairs else []
        for predicted, target, mask in zip(batch.predicted_boxes, batch.scenes["boxes"], batch.scenes["object_mask"]):
            for a, b in zip(predicted[mask], target[mask]):
                overlap = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
                ious.append(overlap / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap))
    assert found["cooccurrence_distance.validation8x2.predicted_boxes.k6"] == pytest.approx(
        np.mean(distances), rel=1e-5
    )
    assert found["box_iou.validation8"] == pytest.approx(np.mean(ious), rel=1e-5)


def test_drawing_depends_on_seed_scene_and_sample(workspace, config, drawn):
    ((first, second),) = [batch.samples for batch in drawn]
    (alone,) = SplitDrawing(workspace, config, "validation")
    np.testing.assert_array_equal(alone.samples[0].images, first.images)
    np.testing.assert_array_equal(alone.samples[0].rows, first.rows)
    (other,) = SplitDrawing(workspace, config, "validation", seed=1)
    assert (first.rows != second.rows).any() and (other.samples[0].rows != first.rows).any()


def test_layouts_and_policies(workspace, config):
    for batch in SplitDrawing(workspace, config, "validation", boxes="ground_truth", policy="graph_feature"):
        mask = batch.scenes["object_mask"]
        np.testing.assert_allclose(batch.samples[0].boxes[mask], batch.scenes["boxes"][mask], atol=1e-6)
        np.testing.assert_array_equal(batch.samples[0].rows[mask], batch.scenes["candidates"][mask][:, 0])
    (predicted,) = SplitDrawing(workspace, config, "validation", policy="random")
    mask = predicted.scenes["object_mask"]
    np.testing.assert_allclose(predicted.samples[0].boxes[mask], predicted.predicted_boxes[mask], atol=1e-6)
    rows = predicted.samples[0].rows
    expected = artifacts.open_bank(workspace).gather_patches(rows[rows >= 0])
    np.testing.assert_array_equal(predicted.samples[0].patches[rows >= 0], expected)


@pytest.mark.parametrize("given", [{"split": "train"}, {"boxes": "both"}, {"policy": "best"}, {"samples": 0}])
def test_unknown_settings_are_refused(given, workspace, config):
    with pytest.raises(UserError, match=f"{next(iter(given.values()))}"):
        SplitDrawing(workspace, config, **given)


def test_lines_are_appended_with_all_they_depend_on(workspace, config, lines):
    file = workspace.root / records.FILE
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert written == lines == records.read(workspace)
    for line in written:
        assert line["step"] == 4 and line["seed"] == 0 and line["split"] == "validation" and line["seconds"] > 0
        assert line["libraries"]["tensorflow"] == tf.__version__ and len(line["fingerprint"]) == 16
    tf.config.experimental.enable_tensor_float_32_execution(True)
    again = evaluate.evaluate(workspace, Setting(split="validation", samples=2), overrides=OVERRIDE)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert values(again) == values(lines)
    assert len(records.read(workspace)) == 2 * len(lines)
    assert set(records.newest(records.read(workspace))) == set(values(lines))
    assert len(list((workspace.root / "evaluation" / "real_statistics").glob("*.npz"))) == 4
    events = [EventAccumulator(str(path)).Reload() for path in (workspace.root / "evaluation").glob("events.out.*")]
    assert set(events[0].Tags()["tensors"]) == set(values(lines))


def test_only_the_evaluation_may_be_overridden(workspace):
    with pytest.raises(WorkspaceError, match="another training"):
        workspace.trained_config("retrieval.inference_noise=0.0")
    with pytest.raises(UserError, match="was not evaluated; run"):
        records.read(Workspace(REPOSITORY / "configs"))


def test_report_shows_everything_and_asks_for_nothing(workspace, lines):
    page = (workspace.root / "evaluation" / "report.html").read_text()
    for line in lines:
        assert line["name"] in page and html.escape(MEANINGS[line["metric"]]) in page
    of_others = {"diversity", "candidate_recall_faiss", "agreement_hue", "agreement_region"}
    assert set(MEANINGS) == {line["metric"] for line in lines} | of_others
    # The floor stands right below the distance.
    assert page.index("fid.validation") < page.index("fid_real.validation") < page.index("is.validation")
    for part in ("loss/total", "Patches that fit worst", "One scene, other seeds", "noon", "autumn", "<svg"):
        assert part in page
    assert re.search(r"<tr><th>sky</th><td>[1-9]\d*</td><td>\d+%</td>", page)
    assert "<script" not in page and 'src="http' not in page and "default-src 'none'" in page
    pictures = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"', page)
    assert len(pictures) == page.count("<img") > 30
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for _, data in pictures]
    # Two samples of 32 pixels beside each other, shown at twice their size, for each of the eight scenes.
    assert sum(size == (128, 64) for size in sizes) == 8
    sources = [words for words, _ in pictures if ": train_" in words]
    assert len(sources) > 8 and len(sources) == sum(size == (112, 112) for size in sizes)


@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium is installed")
def test_report_opens_in_a_browser(workspace, lines, tmp_path):
    page = workspace.root / "evaluation" / "report.html"
    with chromium.Chromium(tmp_path) as browser:
        browser.open(page.resolve().as_uri())
        assert not browser.errors and [r for r in browser.requests if not r.startswith(("file:", "data:"))] == []
        loaded = browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert loaded is True


def test_command_prints_every_figure(workspace):
    command = [sys.executable, "-m", "rgan_tf.evaluate", f"--workspace={workspace.root}", "--boxes=ground_truth"]
    command += ["--retrieval=random", f"--params_override={OVERRIDE}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fid.test4.ground_truth_boxes.random_retrieval.in_domain.none32" in done.stdout
    assert "left out: The Diversity Score" in done.stdout and "too few" in done.stdout
