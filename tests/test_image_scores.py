"""Fréchet distance and Inception Score against SciPy, NumPy and known cases; streaming; degenerate input."""

import pathlib
import re

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import rgan_tf
from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.evaluation.metrics.image_scores import frechet_distance, inception_score
from rgan_tf.evaluation.metrics.image_statistics import ImageFeatures, ImageStatistics, Moments, collect


def features_of(count, features=6, classes=5, seed=0, scale=1.0, offset=0.0):
    """Correlated features and logits, float32."""
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(count, features)) @ rng.normal(size=(features, features)) * scale + offset
    return ImageFeatures(pool.astype(np.float32), rng.normal(0, 2, (count, classes)).astype(np.float32))


def statistics_of(features, batches=(), splits=1):
    """Statistics of features that come in batches ending at the given places."""
    statistics = ImageStatistics(splits)
    for pool, logits in zip(*(np.split(values, batches) for values in features)):
        statistics.add(ImageFeatures(pool, logits))
    return statistics


def gaussian(mean, covariance, count=1000):
    statistics = ImageStatistics()
    statistics.moments = Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))
    return statistics


def scipy_distance(first, second):
    """The definition, with SciPy's root of the product."""
    first, second = first.pool.astype(np.float64), second.pool.astype(np.float64)
    a, b = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(a @ b).real
    return np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + np.trace(a + b - 2 * root)


def eigenvalue_distance(first, second):
    """The same through the eigenvalues of the product, which a singular product does not trouble."""
    first, second = first.pool.astype(np.float64), second.pool.astype(np.float64)
    a, b = np.cov(first.T), np.cov(second.T)
    roots = np.sqrt(np.maximum(scipy.linalg.eigvals(a @ b).real, 0))
    return np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + np.trace(a + b) - 2 * roots.sum()


def numpy_score(logits, splits):
    """Mean and deviation over parts i mod splits, from the definition."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    scores = []
    for part in range(splits):
        p = shares[part::splits]
        q = p.mean(axis=0)
        scores.append(np.exp(np.mean([sum(a * np.log(a / b) for a, b in zip(row, q)) for row in p])))
    return np.mean(scores), np.std(scores)


@pytest.mark.parametrize("counts", [(40, 60), (500, 500)])
@pytest.mark.parametrize("features", [1, 6, 32])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_distance_against_scipy(counts, features, scale):
    """At any scale: tensorflow-gan alone takes no roots of singular values below 1e-10."""
    first = features_of(counts[0], features, seed=1, scale=scale)
    second = features_of(counts[1], features, seed=2, scale=3 * scale, offset=scale)
    if features == 1:
        spread = first.pool.std(ddof=1, dtype=np.float64) - second.pool.std(ddof=1, dtype=np.float64)
        expected = (first.pool.mean(dtype=np.float64) - second.pool.mean(dtype=np.float64)) ** 2 + spread**2
    else:
        expected = scipy_distance(first, second)
    found = frechet_distance(statistics_of(first), statistics_of(second))
    np.testing.assert_allclose(found.value, expected, rtol=1e-6)
    assert found[1:] == (*counts, features, "")


@pytest.mark.parametrize("counts", [(8, 12), (8, 300), (2, 2)])
def test_distance_of_singular_covariances(counts):
    first, second = features_of(counts[0], 40, seed=1), features_of(counts[1], 40, seed=2, offset=0.5)
    found = frechet_distance(statistics_of(first), statistics_of(second))
    np.testing.assert_allclose(found.value, eigenvalue_distance(first, second), rtol=1e-5)
    assert f"{min(counts)} images" in found.caution and "40 features" in found.caution


def test_distance_with_dead_and_with_tiny_features():
    first, second = features_of(200, 8, seed=1), features_of(200, 8, seed=2)
    for values in (first.pool, second.pool):
        values[:, 2] = 0.25
        values[:, 5] *= 1e-5
    found = frechet_distance(statistics_of(first), statistics_of(second))
    np.testing.assert_allclose(found.value, eigenvalue_distance(first, second), rtol=1e-5)


@pytest.mark.parametrize("ratio", [1.0, 1e-4, 1e4])
def test_distance_of_gaussians_with_a_common_basis(ratio):
    """|m - m'|^2 + sum (sqrt(a) - sqrt(b))^2, the closed form."""
    rng = np.random.default_rng(0)
    basis = scipy.linalg.qr(rng.normal(size=(10, 10)))[0]
    a, b, mean = rng.uniform(0.1, 4, 10), rng.uniform(0.1, 4, 10) * ratio, rng.normal(size=10)
    found = frechet_distance(gaussian(mean, basis * a @ basis.T), gaussian(np.zeros(10), basis * b @ basis.T))
    np.testing.assert_allclose(found.value, np.sum(mean**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rtol=1e-6)


def test_distance_of_a_set_to_itself_is_zero_and_it_is_symmetric():
    for count in (500, 5):
        first, second = (statistics_of(features_of(count, 20, seed=seed)) for seed in (1, 2))
        variance = np.trace(first.moments.covariance)
        assert 0 <= frechet_distance(first, first).value < 1e-6 * variance
        there, back = frechet_distance(first, second).value, frechet_distance(second, first).value
        assert there > 0.1 * variance
        np.testing.assert_allclose(there, back, rtol=1e-6)


def test_distance_of_sets_of_equal_images():
    """A covariance of zeros: what is left is the distance of the means and the other variance."""
    constant = ImageFeatures(np.full((50, 4), 2.0), np.zeros((50, 3)))
    other = features_of(60, 4)
    expected = np.sum((2 - other.pool.mean(axis=0)) ** 2) + np.var(other.pool, axis=0, ddof=1).sum()
    np.testing.assert_allclose(frechet_distance(statistics_of(constant), statistics_of(other)).value, expected, 1e-5)
    assert frechet_distance(statistics_of(constant), statistics_of(constant)).value == 0


def test_moments_far_from_zero_keep_their_precision():
    first, second = (np.random.default_rng(seed).normal(1e6, 1, (4000, 3)) for seed in (1, 2))
    merged = [Moments.of(first[:7]), Moments.of(first[7:]), Moments.of(second)]
    merged = merged[0].merged(merged[1]).merged(merged[2])
    np.testing.assert_allclose(merged.covariance, np.cov(np.concatenate([first, second]).T), rtol=1e-8, atol=1e-9)


@given(st.lists(st.integers(0, 60), max_size=12).map(sorted), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_any_division_into_batches_gives_the_same_scores(ends, splits):
    features, real = features_of(60), statistics_of(features_of(80, seed=9))
    whole, streamed = (statistics_of(features, batches, splits) for batches in ([], ends))
    assert streamed.count == 60
    np.testing.assert_allclose(
        frechet_distance(streamed, real).value, frechet_distance(whole, real).value, rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(inception_score(streamed)[:2], inception_score(whole)[:2], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(inception_score(streamed)[:2], numpy_score(features.logits, splits), rtol=1e-6)


def test_order_does_not_matter():
    """Not at all to the distance; to the Inception Score only across parts, of which there is one here."""
    features, real = features_of(60), statistics_of(features_of(80, seed=9))
    order = np.random.default_rng(3).permutation(60)
    shuffled = ImageFeatures(features.pool[order], features.logits[order])
    first, second = statistics_of(features, [13, 40]), statistics_of(shuffled, [5])
    np.testing.assert_allclose(frechet_distance(first, real).value, frechet_distance(second, real).value, rtol=1e-10)
    np.testing.assert_allclose(inception_score(first).mean, inception_score(second).mean, rtol=1e-10)


def test_statistics_do_not_grow():
    def size(statistics):
        return sum(part.marginal.nbytes for part in statistics.parts) + statistics.moments.scatter.nbytes

    assert size(statistics_of(features_of(3000), [1000, 2000], 10)) == size(statistics_of(features_of(10), splits=10))


@pytest.mark.parametrize("splits", [1, 4, 10])
def test_score_against_numpy(splits):
    features = features_of(57, classes=7)
    found = inception_score(statistics_of(features, [20, 21], splits))
    np.testing.assert_allclose(found[:2], numpy_score(features.logits, splits), rtol=1e-6)
    assert found[2:5] == (57, splits, 7)


def test_score_of_known_cases():
    certain = np.tile(np.eye(4, dtype=np.float32) * 1e4, (8, 1))  # 1e4: shares that underflow
    pool = np.zeros((32, 2))
    assert inception_score(statistics_of((pool, certain), [3])).mean == pytest.approx(4)
    assert inception_score(statistics_of((pool, certain * 0), splits=4))[:2] == pytest.approx((1, 0))
    assert inception_score(statistics_of((pool, certain[:1].repeat(32, axis=0)))).mean == pytest.approx(1)
    one = inception_score(statistics_of(features_of(1)))
    assert one.mean == pytest.approx(1) and "1 images" in one.caution


def test_score_says_when_parts_are_too_small():
    assert "Parts of 4 images" in inception_score(statistics_of(features_of(49, classes=5), splits=10)).caution
    assert inception_score(statistics_of(features_of(50, classes=5), splits=10)).caution == ""


def test_too_few_images():
    nothing, one, many = ImageStatistics(3), statistics_of(features_of(1), splits=3), statistics_of(features_of(9))
    for images, real in ((nothing, many), (many, one), (one, many)):
        with pytest.raises(UndefinedScore, match=f"there are {images.count} generated and {real.count} real"):
            frechet_distance(images, real)
    for images in (nothing, one):
        with pytest.raises(UndefinedScore, match=f"{images.count} images cannot be divided into the 3 parts"):
            inception_score(images)


@pytest.mark.parametrize("which", ["features", "logits"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(which, value):
    statistics, features = statistics_of(features_of(7)), features_of(5)
    features[which == "logits"][3, 1] = value
    with pytest.raises(EvaluationError, match=f"{which} that are not finite for image 10;"):
        statistics.add(features)
    assert statistics.count == 7


def test_two_networks_cannot_be_mixed():
    statistics = statistics_of(features_of(30, features=6))
    for other in (features_of(30, features=7), features_of(30, classes=6)):
        with pytest.raises(EvaluationError, match="one feature network for all"):
            statistics.add(other)
    with pytest.raises(EvaluationError, match="6 features and the real ones 7"):
        frechet_distance(statistics, statistics_of(features_of(30, features=7)))


def test_collect():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)

    def extract(batch):
        return ImageFeatures(batch.mean(axis=(1, 2)), batch[:, 0, :, 0] / 64.0)

    found = collect(extract, (images[i : i + 6] for i in range(0, 20, 6)), splits=2, title="test")
    expected = statistics_of(extract(images), splits=2)
    assert found.count == 20
    np.testing.assert_allclose(found.moments.scatter, expected.moments.scatter)
    np.testing.assert_allclose(inception_score(found)[:2], inception_score(expected)[:2])


def test_saved_statistics_read_back(tmp_path):
    path = tmp_path / "real.npz"
    assert ImageStatistics.load(path, "a") is None
    statistics = statistics_of(features_of(60), splits=4)
    statistics.save(path, "a")
    assert [file.name for file in tmp_path.iterdir()] == ["real.npz"]
    read, other = ImageStatistics.load(path, "a"), statistics_of(features_of(50, seed=2))
    assert frechet_distance(other, read) == frechet_distance(other, statistics)
    assert inception_score(read) == inception_score(statistics)
    assert ImageStatistics.load(path, "b") is None


def test_a_network_without_classes_has_distances_alone(tmp_path):
    with_classes, path = features_of(60), tmp_path / "real.npz"
    statistics, other = ImageStatistics(4), statistics_of(features_of(50, seed=2))
    for pool in np.split(with_classes.pool, 3):
        statistics.add(ImageFeatures(pool, None))
    statistics.save(path, "a")
    expected = frechet_distance(statistics_of(with_classes), other)
    for found in (statistics, ImageStatistics.load(path, "a")):
        assert frechet_distance(found, other) == pytest.approx(expected)
        with pytest.raises(UndefinedScore, match="Inception Score is of a network's classes, and this one has none"):
            inception_score(found)
    with pytest.raises(EvaluationError, match="and 0 classes cannot be added to those with"):
        other.add(ImageFeatures(with_classes.pool, None))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", None])
def test_unreadable_statistics(tmp_path, content):
    path = tmp_path / "real.npz"
    if content is None:
        np.savez(path, fingerprint="a", part_counts=np.array([{}], dtype=object))  # would need pickle
    else:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match=f"{re.escape(str(path))} cannot be read .*remove the file"):
        ImageStatistics.load(path, "a")


def test_statistics_of_nothing_cannot_be_saved(tmp_path):
    with pytest.raises(UndefinedScore, match="0 images do not fill the 10 parts"):
        ImageStatistics().save(tmp_path / "real.npz", "a")


def test_one_module_imports_tensorflow_gan():
    root = pathlib.Path(rgan_tf.__file__).parents[1]
    files = [path for folder in ("rgan_tf", "pipelines", "export") for path in (root / folder).rglob("*.py")]
    importers = [path.name for path in files if re.search(r"^\s*(from|import) tensorflow_gan", path.read_text(), re.M)]
    assert importers == ["gan_library.py"]
