"""Synthetic scenes that hide a hue and a region beside the style, and the scores of agreement in them."""

import itertools
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from pipelines import datasets
from pipelines.records import FACTORS, STYLE_NAMES, Factor, factors_of
from pipelines.synthetic_scenes import regional
from pipelines.synthetic_scenes.canvas import Brush, Canvas
from pipelines.synthetic_scenes.scene import draw_scene
from pipelines.synthetic_scenes.sprites import draw
from pipelines.synthetic_scenes.styles import REGIONS, STYLES, in_region
from rgan_tf.config import ConfigError
from rgan_tf.evaluation.metrics.averages import UndefinedScore
from rgan_tf.evaluation.metrics.retrieval_scores import FactorAgreement
from rgan_tf.fingerprints import STAGES, fingerprint

BUILT = ("tree", "house", "boat")


def drawn(category, style, seed=0):
    canvas = Canvas(96, style, light_from=1)
    draw(canvas, 0, category, (0.1, 0.1, 0.9, 0.9), 0.2, np.random.default_rng(seed))
    return canvas


@pytest.mark.parametrize("category", BUILT)
def test_every_region_builds_in_its_own_way_and_fills_the_place(category):
    shapes = []
    for region in REGIONS:
        mask = drawn(category, in_region(STYLES[0], 0.0, region)).visible(0)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        # Else boxes would tell the region.
        assert len(rows) > 0.85 * 0.8 * 96 and len(columns) > 0.7 * 0.8 * 96
        shapes.append(mask)
    for first, second in itertools.combinations(shapes, 2):
        assert (first != second).sum() > 0.1 * np.maximum(first.sum(), second.sum())


def test_regions_leave_other_things_alone_and_snow_and_lamps_reach_theirs():
    for category in ("sheep", "cow", "dog", "person"):
        for region in REGIONS:
            plain = drawn(category, STYLES[0])
            np.testing.assert_array_equal(drawn(category, in_region(STYLES[0], 0.0, region)).owner, plain.owner)
    for part in (regional.cabin, regional.flat_house, regional.longboat, regional.dhow):
        pictures = []
        for style in STYLES:
            canvas = Canvas(96, style, light_from=1)
            part(Brush(canvas, 0, (0.1, 0.1, 0.9, 0.9), 0.2, mirrored=False), np.random.default_rng(0))
            pictures.append(canvas.colour)
        for first, second in itertools.combinations(pictures, 2):
            assert np.abs(first - second).max() > 0.05


def test_near_hues_look_alike_and_the_circle_is_closed():
    means = [drawn("sheep", in_region(STYLES[0], hue, "valley")).colour.mean(axis=(0, 1)) for hue in np.arange(12) / 12]
    steps = [np.abs(means[i] - means[(i + 1) % 12]).max() for i in range(12)]
    across = [np.abs(means[i] - means[(i + 6) % 12]).max() for i in range(12)]
    assert max(steps) < 0.7 * min(across) and min(steps) > 0


def test_scenes_without_factors_are_what_they_were():
    plain = draw_scene(np.random.default_rng(1), 64, 0.02, 3, 8)
    asked = draw_scene(np.random.default_rng(1), 64, 0.02, 3, 8, with_factors=True)
    assert plain.factors == () and len(asked.factors) == 2 and plain.style == asked.style
    assert 0 <= asked.factors[0] < 1 and asked.factors[1] in range(3)
    config, hidden = tiny_config(), tiny_config("data.hidden_factors=true")
    assert all(fingerprint(stage, config) != fingerprint(stage, hidden) for stage in STAGES)
    with pytest.raises(ConfigError, match="synthetic_scenes alone draws them"):
        tiny_config("data.hidden_factors=true,data.builder=coco_stuff,data.source_dir=x")


def test_records_hold_the_factors(tmp_path):
    config = tiny_config("data.hidden_factors=true,data.train_scenes=30,data.test_scenes=1,data.validation_scenes=1")
    builder = datasets.make_builder(config.data, str(tmp_path))
    datasets.prepare(builder)
    assert factors_of(builder) == [Factor("hue", "circle"), Factor("region", "kind", BUILT)]
    values = np.stack([record[FACTORS] for record in builder.as_dataset(split="train").as_numpy_iterator()])
    assert values.shape == (30, 2) and set(values[:, 1]) == {0, 1, 2} and np.ptp(values[:, 0]) > 0.5
    assert builder.info.metadata[STYLE_NAMES]


def test_data_sets_of_before_there_were_factors_have_none():
    assert factors_of(types.SimpleNamespace(info=types.SimpleNamespace(metadata={}))) == []


@pytest.mark.parametrize("factor", [Factor("hue", "circle"), Factor("region", "kind", ("a",))], ids=lambda f: f.name)
def test_agreement_equals_brute_force(factor):
    random = np.random.default_rng(2)
    values = random.integers(0, 3, 10) if factor.kind == "kind" else random.uniform(size=10)
    bank = types.SimpleNamespace(
        scene_index=random.integers(0, 10, 40), category=random.integers(1, 4, 40), removed=np.arange(40) == 7
    )
    shown = {1, 3}
    score, rows = FactorAgreement(bank, factor, values, shown), random.integers(-1, 40, (20, 5))
    score.update(rows[:12])
    score.update(rows[12:])
    scenes = []
    for scene in rows:
        kept = [row for row in scene if row >= 0 and row != 7 and bank.category[row] in shown]
        pairs = []
        for a, b in itertools.combinations([values[bank.scene_index[row]] for row in kept], 2):
            turn = abs(np.exp(2j * np.pi * a) + np.exp(2j * np.pi * b)) ** 2 / 4
            pairs.append(float(a == b) if factor.kind == "kind" else turn)
        scenes += [pairs] if pairs else []
    found = score.result()[f"agreement_{factor.name}"]
    assert found.count == sum(map(len, scenes)) and found.mean == pytest.approx(np.mean(np.concatenate(scenes)))
    with pytest.raises(UndefinedScore, match=f"Agreement in {factor.name}"):
        FactorAgreement(bank, factor, values, shown).result()


def test_the_tint_is_what_it_says():
    style = in_region(STYLES[0], 1 / 3, "north")
    # Green, at a third of the circle.
    moved = np.array(style.ambient) - STYLES[0].ambient
    assert style.region == "north" and moved[1] > 0.1 and (moved[[0, 2]] < 0).all()
    assert tf.reduce_all(np.abs(moved) <= 0.131)
