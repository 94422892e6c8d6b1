"""Fréchet and kernel distance and Inception Score from the statistics of images, through tensorflow-gan in float64."""

from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from rgan_tf import gan_library
from rgan_tf.evaluation.metrics.averages import UndefinedScore, check_same_features
from rgan_tf.evaluation.metrics.image_statistics import ImageStatistics


class FrechetDistance(NamedTuple):
    """The distance; what it is of; and a sentence that belongs beside the number, "" where there is none."""

    value: float
    images: int
    real_images: int
    features: int
    caution: str


def frechet_distance(images: ImageStatistics, real: ImageStatistics) -> FrechetDistance:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) between Gaussian fits of features (Heusel et al. 2017, FID).

    Covariances are unbiased, and all of it is float64. With no more images than features a covariance is singular. The
    distance is then defined all the same, and so it is given; but a sample's distance exceeds that of its distribution,
    the more the fewer images there are, so such a number compares only with those of as many images, which is what the
    caution says. Peers' splits are of this size, so an error would forbid the published protocol.

    Args:
      images: of the generated images.
      real: of the real ones, under the same network.

    Raises:
      UndefinedScore: either side has less than two images.
      EvaluationError: they differ in their number of features.
    """
    if min(images.count, real.count) < 2:
        raise UndefinedScore(
            f"The Fréchet distance needs two images on either side to have covariances; there are {images.count} "
            f"generated and {real.count} real ones."
        )
    first, second = images.moments, real.moments
    features = len(first.mean)
    check_same_features(features, len(second.mean))
    means = np.sum((first.mean - second.mean) ** 2)
    covariances = np.trace(first.covariance) + np.trace(second.covariance)
    covariances -= 2 * _trace_sqrt_product(first.covariance, second.covariance)
    caution = ""
    if min(images.count, real.count) <= features:
        caution = (
            f"{min(images.count, real.count)} images are too few for a covariance of {features} features: the distance "
            "compares only with others of the same counts."
        )
    # Rounding can take the distance of a set to itself below 0.
    return FrechetDistance(max(0.0, float(means + covariances)), images.count, real.count, features, caution)


def _trace_sqrt_product(first: np.ndarray, second: np.ndarray) -> float:
    """tr((first second)^(1/2)) of covariances.

    tensorflow-gan takes no root of singular values below 1e-10, which those of features of a small scale would all be;
    so both covariances are brought to a mean variance of 1 first.
    """
    scales = [np.trace(covariance) / len(covariance) for covariance in (first, second)]
    if 0 in scales:
        return 0.0
    with tf.device("CPU:0"):
        trace = gan_library.trace_sqrt_product(tf.constant(first / scales[0]), tf.constant(second / scales[1]))
    return float(trace) * np.sqrt(scales[0] * scales[1])


class KernelDistance(NamedTuple):
    """The distance; the standard error of its mean over blocks, None for a single one; blocks; images on each side."""

    value: float
    deviation: Optional[float]
    blocks: int
    images: int
    real_images: int


def kernel_distance(images: np.ndarray, real: np.ndarray, block_size: int = 1024) -> KernelDistance:
    """Unbiased square of the maximum mean discrepancy under the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, KID).

    It is a mean over blocks of at most `block_size` images; unlike the Fréchet distance its expectation does not depend
    on the number of images, and near 0 it may be negative.

    Args:
      images: features [M, D] of the generated images.
      real: features [N, D] of the real ones, under the same network.
      block_size: images of a block, at most.

    Raises:
      UndefinedScore: a block of either side would have less than two images.
      EvaluationError: they differ in their number of features.
    """
    blocks = -(-max(len(images), len(real)) // block_size)
    if min(len(images), len(real)) < 2 * blocks:
        raise UndefinedScore(
            f"The kernel distance needs two images a block on either side; there are {len(images)} generated and "
            f"{len(real)} real ones for {blocks} blocks."
        )
    check_same_features(images.shape[1], real.shape[1])
    with tf.device("CPU:0"):
        first, second = (tf.constant(features, tf.float64) for features in (real, images))
        value, deviation = gan_library.kernel_distance_and_deviation(first, second, block_size, tf.float64)
    return KernelDistance(float(value), float(deviation) if blocks > 1 else None, blocks, len(images), len(real))


class InceptionScore(NamedTuple):
    """Mean and deviation over parts; what they are of; and a sentence beside the number, "" where there is none."""

    mean: float
    deviation: float
    images: int
    splits: int
    classes: int
    caution: str


def inception_score(images: ImageStatistics) -> InceptionScore:
    """exp of the mean KL(p(y|x) || p(y)), mean and (population) deviation over parts of the images (Salimans 2016).

    It lies between 1 and the number of classes, and cannot exceed a part's number of images.

    Raises:
      UndefinedScore: there are fewer images than parts, or the network knows no classes.
    """
    parts = images.parts
    if images.count < len(parts):
        raise UndefinedScore(
            f"{images.count} images cannot be divided into the {len(parts)} parts of the Inception Score; give more "
            "images, or lower evaluation.splits."
        )
    if not all(parts):
        raise UndefinedScore("The Inception Score is of a network's classes, and this one has none; it is left out.")
    scores = [np.exp(part.information) for part in parts]
    classes, smallest = len(parts[0].marginal), min(part.count for part in parts)
    caution = ""
    if smallest < classes:
        caution = (
            f"Parts of {smallest} images are too few for {classes} classes: the score compares only with others of the "
            "same counts."
        )
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), images.count, len(parts), classes, caution)
