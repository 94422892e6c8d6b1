"""IoU and recall against areas counted pixel by pixel, and what degenerate layouts score."""

import fractions

import numpy as np
import pytest

from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.evaluation.metrics.layout_scores import LayoutScores

GRID = 8


def draw_boxes(rng, *shape):
    """Boxes whose corners lie on a grid, so that areas are numbers of cells."""
    corners = np.sort(rng.integers(0, GRID + 1, shape + (2, 2)), axis=-1)
    return np.concatenate([corners[..., 0], corners[..., 1]], axis=-1)


def cells(box):
    x0, y0, x1, y1 = box
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


def counted_iou(a, b):
    union = len(cells(a) | cells(b))
    return fractions.Fraction(len(cells(a) & cells(b)), union) if union else fractions.Fraction(0)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_counted_cells(seed):
    rng = np.random.default_rng(seed)
    predicted, target, mask = draw_boxes(rng, 12, 5), draw_boxes(rng, 12, 5), rng.random((12, 5)) < 0.6
    predicted[:4] = target[:4] + rng.integers(0, 2, (4, 5, 4)) * [0, 0, 1, 1]
    scores = LayoutScores()
    for part in (slice(0, 5), slice(5, 12)):
        # The type in which the models give boxes.
        scores.update((predicted[part] / GRID).astype(np.float32), (target[part] / GRID).astype(np.float32), mask[part])
    result = scores.result()
    scenes = [[counted_iou(p[i], t[i]) for i in np.flatnonzero(m)] for p, t, m in zip(predicted, target, mask)]
    scenes = [scene for scene in scenes if scene]
    entries = [iou for scene in scenes for iou in scene]
    assert 0.1 < result["recall@0.5"].mean < result["recall@0.3"].mean < 0.9
    np.testing.assert_allclose(result["iou"].mean, float(sum(entries) / len(entries)), rtol=1e-12)
    np.testing.assert_allclose(
        result["iou"].scene_mean, float(sum(sum(scene) / len(scene) for scene in scenes) / len(scenes)), rtol=1e-12
    )
    for name, threshold in (("recall@0.3", fractions.Fraction(3, 10)), ("recall@0.5", fractions.Fraction(1, 2))):
        assert result[name].mean == sum(iou >= threshold for iou in entries) / len(entries)
        assert result[name].count == len(entries) and result[name].scenes == len(scenes)


def test_a_threshold_that_is_reached_counts():
    scores = LayoutScores()
    scores.update([[[0, 0, 0.5, 1]]], [[[0, 0, 1, 1]]], [[True]])
    result = scores.result()
    assert result["iou"].mean == 0.5 and result["recall@0.5"].mean == 1.0


def test_perfect_disjoint_and_empty_boxes():
    target = np.array([[[0.0, 0.0, 0.5, 0.5]]])
    for predicted, expected in (
        (target, 1.0),
        (target + 0.5, 0.0),
        (target * 0.0 + 0.2, 0.0),
        (target[..., [2, 3, 0, 1]], 0.0),
    ):
        scores = LayoutScores()
        scores.update(predicted, target, [[True]])
        assert {name: score.mean for name, score in scores.result().items()} == dict.fromkeys(
            ("iou", "recall@0.3", "recall@0.5"), expected
        )


def test_padding_takes_no_part():
    rng = np.random.default_rng(0)
    target, mask = draw_boxes(rng, 3, 4) / GRID, np.array([[True, True, False, False]] * 3)
    predicted = np.where(mask[..., None], draw_boxes(rng, 3, 4) / GRID, np.nan)
    padded, short = LayoutScores(), LayoutScores()
    padded.update(predicted, target, mask)
    short.update(predicted[:, :2], target[:, :2], mask[:, :2])
    assert padded.result() == short.result()


def test_without_objects_nothing_is_defined():
    scores = LayoutScores()
    scores.update(np.zeros([2, 3, 4]), np.zeros([2, 3, 4]), np.zeros([2, 3], bool))
    with pytest.raises(UndefinedScore, match="no scene of the split has a single object"):
        scores.result()


def test_boxes_of_a_diverged_model_are_refused():
    boxes = np.zeros([2, 3, 4])
    boxes[1, 2, 0] = np.nan
    for predicted, target, name in ((boxes, 0 * boxes, "Predicted"), (np.zeros_like(boxes), boxes, "Ground-truth")):
        with pytest.raises(EvaluationError, match=rf"{name} box at \[1, 2\] of a batch is not finite"):
            LayoutScores().update(predicted, target, np.ones([2, 3], bool))
