"""Precision, recall, density and coverage by their definitions in loops; kernel distance; bootstrap intervals."""

import numpy as np
import pytest

from rgan_tf.evaluation.metrics import manifold_scores as manifolds
from rgan_tf.evaluation.metrics.averages import EvaluationError, SceneAverage, UndefinedScore
from rgan_tf.evaluation.metrics.image_scores import kernel_distance
from rgan_tf.evaluation.metrics.intervals import bootstrap_interval
from rgan_tf.evaluation.metrics.manifold_scores import manifold_scores


def vectors(count, seed, dim=3, offset=0.0):
    return (np.random.default_rng(seed).normal(size=(count, dim)) + offset).astype(np.float32)


def distance(a, b):
    return np.linalg.norm(a.astype(np.float64) - b.astype(np.float64))


def radius(points, index, k):
    return sorted(distance(points[index], other) for j, other in enumerate(points) if j != index)[k - 1]


def by_loops(generated, real):
    """Kynkäänniemi's equations 1 and 2, Naeem's 3 and 4."""
    in_real = [any(distance(g, r) <= radius(real, j, 3) for j, r in enumerate(real)) for g in generated]
    in_generated = [any(distance(r, g) <= radius(generated, i, 3) for i, g in enumerate(generated)) for r in real]
    held = [sum(distance(g, r) <= radius(real, j, 5) for j, r in enumerate(real)) for g in generated]
    covered = [any(distance(g, r) <= radius(real, j, 5) for g in generated) for j, r in enumerate(real)]
    values = (np.mean(in_real), np.mean(in_generated), np.sum(held) / (5 * len(generated)), np.mean(covered))
    return dict(zip(("precision", "recall", "density", "coverage"), values))


@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("counts", [(30, 25), (8, 40), (45, 7)])
def test_scores_are_those_of_the_definitions(offset, counts, monkeypatch):
    monkeypatch.setattr(manifolds, "_ROWS", 7)
    generated, real = vectors(counts[0], 1, offset=offset), vectors(counts[1], 2)
    found = manifold_scores(generated, real)
    expected = by_loops(generated, real)
    assert {name: score.value for name, score in found.items()} == pytest.approx(expected, rel=1e-12)
    for score in found.values():
        low, high = score.interval
        assert low <= score.value <= high


def test_equal_sets_cover_each_other_and_distant_ones_do_not():
    points = vectors(200, 3)
    same = manifold_scores(points, points)
    assert same["precision"].value == same["recall"].value == same["coverage"].value == 1.0
    # Each of the k + 1 balls that hold a point on average, its own among them.
    assert same["density"].value == pytest.approx(1.2)
    apart = manifold_scores(points + 100, points)
    assert all(score.value == 0.0 for score in apart.values())


def test_one_mode_is_precise_and_covers_little():
    real = np.concatenate([vectors(100, 4, offset=0), vectors(100, 5, offset=30)])
    found = manifold_scores(vectors(200, 6), real)
    assert found["precision"].value > 0.8 and found["recall"].value < 0.6 and found["coverage"].value < 0.6


def test_too_few_or_other_pictures_are_told():
    with pytest.raises(UndefinedScore, match="more than 5 pictures on either side; there are 5 generated and 9 real"):
        manifold_scores(vectors(5, 0), vectors(9, 1))
    with pytest.raises(EvaluationError, match="3 features and the real ones 4"):
        manifold_scores(vectors(9, 0), vectors(9, 1, dim=4))


def kernel_by_loops(x, y):
    """The unbiased estimate, term by term."""

    def kernel(a, b):
        return (np.dot(a.astype(np.float64), b.astype(np.float64)) / len(a) + 1) ** 3

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j])
        for points in (x, y)
    ]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kernel_distance_is_the_unbiased_estimate():
    generated, real = vectors(40, 7, offset=0.3), vectors(30, 8)
    found = kernel_distance(generated, real)
    assert found.value == pytest.approx(kernel_by_loops(generated, real), rel=1e-10)
    assert (found.blocks, found.deviation, found.images, found.real_images) == (1, None, 40, 30)


def test_kernel_distance_in_blocks_is_their_mean_with_its_standard_error():
    generated, real = vectors(40, 9, offset=0.3), vectors(20, 10)
    found = kernel_distance(generated, real, block_size=10)
    blocks = [kernel_by_loops(g, r) for g, r in zip(np.split(generated, 4), np.split(real, 4))]
    assert found.blocks == 4 and found.value == pytest.approx(np.mean(blocks), rel=1e-10)
    assert found.deviation == pytest.approx(np.std(blocks, ddof=1) / 2, rel=1e-10)


def test_kernel_distance_is_unbiased():
    """Of sets that are alike it is 0 on average, however few they are."""
    values = [kernel_distance(vectors(6, 2 * i), vectors(6, 2 * i + 1)).value for i in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    with pytest.raises(UndefinedScore, match="two images a block"):
        kernel_distance(vectors(30, 0), vectors(3, 1), block_size=10)
    with pytest.raises(EvaluationError, match="3 features and the real ones 4"):
        kernel_distance(vectors(9, 0), vectors(9, 1, dim=4))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng, covered = np.random.default_rng(11), 0
    for _ in range(200):
        counts = rng.integers(1, 9, 60)
        low, high = bootstrap_interval(rng.binomial(counts, 0.3), counts)
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_intervals_are_the_same_again_and_none_for_one_unit():
    sums, counts = np.arange(10.0), np.arange(1, 11)
    assert bootstrap_interval(sums, counts) == bootstrap_interval(sums, counts)
    assert bootstrap_interval([1.0, 0.0], [2, 0]) is None
    average = SceneAverage("A", "b")
    average.update([[1.0, 3.0], [2.0, 0.0]], [[True, True], [True, False]])
    low, high = average.result().interval
    assert (low, high) == (2.0, 2.0) and average.result().mean == 2.0
