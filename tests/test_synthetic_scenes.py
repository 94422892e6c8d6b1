"""Synthetic scenes: what is drawn, what is recorded, and what the hidden style may and may not show."""

import collections

import cv2
import numpy as np
import pytest
from scipy import stats

from pipelines import datasets
from pipelines.synthetic_scenes import layout, scenery
from pipelines.synthetic_scenes.canvas import Canvas
from pipelines.synthetic_scenes.scene import draw_scene
from pipelines.synthetic_scenes.styles import STYLE_NAMES, STYLES
from rgan_tf.config import DataConfig

SCENES = 600


def scene(index, image_size=64, area=0.02, fewest=3, most=8, split=0):
    return draw_scene(np.random.default_rng([0, split, index]), image_size, area, fewest, most)


@pytest.fixture(scope="module")
def scenes():
    return [scene(index) for index in range(SCENES)]


def test_scenes_keep_the_protocol(scenes):
    seen = collections.Counter()
    for item in scenes:
        count = len(item.categories)
        seen.update(item.categories)
        assert 3 <= count <= 8 and item.image.shape == (64, 64, 3) and item.image.dtype == np.uint8
        assert item.boxes.shape == (count, 4) and item.centroids.shape == (count, 2)
        low, high = item.boxes[:, :2], item.boxes[:, 2:]
        assert (low >= 0).all() and (high <= 1).all()
        assert (np.prod(high - low, axis=1) > 0.02).all()
        assert (item.centroids > low).all() and (item.centroids < high).all()
        assert "sky" in item.categories and {"sea", "grass", "snow"} & set(item.categories)
    assert set(seen) == set(layout.CATEGORIES) and len(layout.CATEGORIES) >= 12
    assert min(seen.values()) >= 0.03 * SCENES
    sizes = np.bincount([len(item.categories) for item in scenes], minlength=9)[3:]
    assert stats.chisquare(sizes).pvalue > 1e-3


def test_things_stand_where_they_belong(scenes):
    for item in scenes:
        boxes = dict(zip(item.categories, item.boxes))
        land = next((boxes[name] for name in layout.LAND if name in boxes), None)
        for name, box in zip(item.categories, item.boxes):
            if name == "boat":
                assert boxes["sea"][1] < box[3] <= boxes["sea"][3] + 0.01
            elif name in layout.SIZES:
                assert land[1] < box[3]


def test_boxes_and_centroids_are_those_of_the_pixels_seen():
    canvas = Canvas(128, STYLES[0], light_from=1)
    canvas.polygon([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)], (0.0, 0.0, 0.0), 0)
    scenery.sun(canvas, 1, (0.25, 0.25, 0.75, 0.75), np.random.default_rng(0))
    rows, columns = np.nonzero(canvas.visible(1))
    assert abs(rows.min() / 128 - 0.25) < 0.02 and abs((columns.max() + 1) / 128 - 0.75) < 0.02
    assert abs(len(rows) / 128**2 - np.pi * 0.25**2) < 0.01
    # Something in front hides the right half; what is left is what counts.
    canvas.polygon([(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)], (1.0, 0.0, 0.0), 2)
    _, columns = np.nonzero(canvas.visible(1))
    assert columns.max() < 64


def test_a_scene_depends_on_its_number_alone():
    first, again, other = scene(5), scene(5), scene(5, split=1)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.categories == again.categories and first.style == again.style
    assert first.image.shape == other.image.shape and (first.image != other.image).any()


def test_geometry_does_not_depend_on_the_resolution():
    for index in range(12):
        small, large = scene(index), scene(index, image_size=160)
        assert large.image.shape == (160, 160, 3)
        assert small.categories == large.categories and small.style == large.style
        assert (np.abs(small.boxes - large.boxes) < 0.02).mean() > 0.95
        np.testing.assert_allclose(small.centroids, large.centroids, atol=0.02)
        shrunk = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk.astype(float) - small.image).mean() < 8


def test_layouts_do_not_know_the_style():
    for index in range(40):
        sunny, moonlit = (layout.draw_layout(np.random.default_rng(index), 7, chance) for chance in (1.0, 0.0))
        assert (sunny is None) == (moonlit is None)
        if sunny is None:
            continue
        for one, other in zip(sunny.items, moonlit.items):
            assert one.box == other.box
            assert one.category == other.category or (one.category, other.category) == ("sun", "moon")


def test_the_graph_does_not_name_the_style(scenes):
    table = np.zeros((len(STYLES), len(layout.CATEGORIES)))
    for item in scenes:
        for name in item.categories:
            table[item.style, layout.CATEGORIES.index(name)] += 1
    assert (table > 0).all()
    others = [index for index, name in enumerate(layout.CATEGORIES) if name not in ("sun", "moon")]
    assert stats.chi2_contingency(table[:, others]).pvalue > 1e-3
    assert stats.chisquare(np.bincount([item.style for item in scenes], minlength=len(STYLES))).pvalue > 1e-3


def test_every_object_shows_the_style(scenes):
    """Its own crop, at eight by eight pixels, finds a crop of its category and style among the others' nearest."""
    crops = collections.defaultdict(list)
    for item in scenes:
        for name, box in zip(item.categories, item.boxes):
            x0, y0, x1, y1 = np.concatenate([np.floor(box[:2] * 64), np.ceil(box[2:] * 64)]).astype(int)
            small = cv2.resize(item.image[y0:y1, x0:x1], (8, 8), interpolation=cv2.INTER_AREA)
            crops[name].append((small.ravel() / 255.0, item.style))
    for name, found in crops.items():
        features, styles = np.array([crop for crop, _ in found]), np.array([style for _, style in found])
        distances = ((features[:, None] - features[None]) ** 2).sum(-1)
        np.fill_diagonal(distances, np.inf)
        agreement = (styles[distances.argmin(axis=1)] == styles).mean()
        assert agreement > 0.7, f"{name}: {agreement:.2f}"


def test_scenes_of_one_style_differ_a_little():
    means = np.array([item.image[:8].mean((0, 1)) for item in map(scene, range(60)) if item.style == 0])
    assert 1 < means.std(axis=0).max() < 30


def test_impossible_bounds_are_an_error():
    with pytest.raises(ValueError, match="lower data.min_object_area"):
        scene(0, area=0.4)


def test_bounds_beyond_what_a_scene_can_hold_still_give_scenes():
    assert all(3 <= len(scene(index, fewest=1, most=30).categories) <= 14 for index in range(12))


def test_builder_records_the_scenes(tmp_path):
    config = DataConfig(train_scenes=5, validation_scenes=2, test_scenes=3, max_objects=6)
    builder = datasets.make_builder(config, tmp_path)
    with pytest.raises(ValueError, match="one scene in each of train"):
        datasets.make_builder(DataConfig(train_scenes=0), tmp_path)
    datasets.prepare(builder)
    again = datasets.make_builder(config, tmp_path)
    assert again.is_prepared() and str(again.data_dir).startswith(str(tmp_path))
    assert {name: split.num_examples for name, split in again.info.splits.items()} == {
        "train": 5,
        "validation": 2,
        "test": 3,
    }
    vocabulary = datasets.vocabulary(again)
    assert vocabulary.objects == ("__image__", *layout.CATEGORIES)
    assert tuple(again.info.metadata["style_names"]) == STYLE_NAMES
    assert datasets.source_report(again) == ["5 train scenes, 2 validation scenes, 3 test scenes, 16 categories"]
    for split, number in (("train", 0), ("test", 2)):
        for index, record in enumerate(again.as_dataset(split=split).as_numpy_iterator()):
            expected = scene(index, most=6, split=number)
            np.testing.assert_array_equal(record["image"], expected.image)
            np.testing.assert_array_equal(record["objects"]["box"], expected.boxes)
            np.testing.assert_array_equal(record["objects"]["centroid"], expected.centroids)
            assert tuple(vocabulary.objects[c] for c in record["objects"]["category"]) == expected.categories
            assert record["style"] == expected.style and record["license"] == b""
            assert record["image_id"] == f"{split}_{index:06d}".encode()


def test_settings_name_their_own_directory(tmp_path):
    configs = [DataConfig(), DataConfig(train_scenes=7), DataConfig(image_size=128), DataConfig(min_object_area=0.03)]
    directories = [str(datasets.make_builder(config, tmp_path).data_dir) for config in [*configs, DataConfig()]]
    assert len(set(directories)) == len(configs) and directories[0] == directories[-1]
