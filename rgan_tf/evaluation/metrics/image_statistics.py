"""Statistics of images under a feature network, from which the scores of pictures are computed.

Those of the Fréchet distance and the Inception Score have a size that does not depend on the number of images. They
merge: the features' moments (Chan, Golub and LeVeque 1979), and the classes' marginal with the information about it. So
a score is the same, up to rounding in float64, however the images are divided into batches. Beside them the features of
the first images are kept as they are.
"""

import dataclasses
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from rgan_tf import gan_library
from rgan_tf.evaluation.metrics.averages import EvaluationError, UndefinedScore
from rgan_tf.progress import progress_bar

# Logits farther than this below their row's largest mean a probability that float64 cannot tell from 0.
_LOGIT_RANGE = 700.0
# Images whose features are kept, for the scores that compare every image with every other one.
KEPT_FEATURES = 20000


class ImageFeatures(NamedTuple):
    """What a network says of images: pool float32 [B, D]; logits float32 [B, C], None where it has no classes."""

    pool: np.ndarray
    logits: Optional[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean [D] and scatter [D, D] (summed outer products of deviations from the mean) of vectors, float64."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> "Moments":
        """Those of vectors [B, D], B at least 1."""
        values = np.asarray(vectors, np.float64)
        mean = values.mean(axis=0)
        return cls(len(values), mean, (values - mean).T @ (values - mean))

    def merged(self, other: "Moments") -> "Moments":
        """Those of both sets of vectors together."""
        count = self.count + other.count
        apart = other.mean - self.mean
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased, float64 [D, D]; needs two vectors."""
        return self.scatter / (self.count - 1)


@dataclasses.dataclass(frozen=True)
class ClassInformation:
    """Count, marginal p(y) [C] float64, and mean over images of KL(p(y|x) || p(y)) in nats."""

    count: int
    marginal: np.ndarray
    information: float

    @classmethod
    def of(cls, logits: np.ndarray) -> "ClassInformation":
        """That of logits [B, C], B at least 1."""
        logits = np.asarray(logits, np.float64)
        logits = tf.constant(np.maximum(logits, logits.max(axis=1, keepdims=True) - _LOGIT_RANGE))
        score = gan_library.classifier_score_from_logits(logits)
        return cls(len(logits), np.mean(tf.nn.softmax(logits), axis=0), float(np.log(score)))

    def merged(self, other: "ClassInformation") -> "ClassInformation":
        """That of both sets of images together: information within the two, and between them."""
        count = self.count + other.count
        marginal = (self.count * self.marginal + other.count * other.marginal) / count
        information = sum(
            part.count / count * (part.information + np.sum(part.marginal * np.log(part.marginal / marginal)))
            for part in (self, other)
        )
        return ClassInformation(count, marginal, float(information))


class ImageStatistics:
    """All that the two scores need of a set of images, to which images are added batch by batch.

    Image i belongs to part i mod `splits` of the Inception Score, so that the parts are alike in whatever order the
    scenes come, and their number need not be known.

    Attributes:
      moments: of the features; None before the first image.
      parts: class information of the parts; None before a part's first image, or of a network without classes.
      features: float32 [M, D], of the first `KEPT_FEATURES` images.
    """

    def __init__(self, splits: int = 10):
        """Starts without images."""
        self.moments: Optional[Moments] = None
        self.parts: list[Optional[ClassInformation]] = [None] * splits
        self._kept: list[np.ndarray] = []

    @property
    def count(self) -> int:
        """Number of images."""
        return self.moments.count if self.moments else 0

    @property
    def features(self) -> np.ndarray:
        """See the class; needs an image."""
        return np.concatenate(self._kept)

    def add(self, features: ImageFeatures) -> None:
        """Adds the features of a batch of images.

        Raises:
          EvaluationError: a feature or logit is not finite, or their numbers are not those of the images before.
        """
        pool, logits = np.asarray(features.pool), features.logits
        if not len(pool):
            return
        self._check(pool, logits)
        if logits is not None:
            self._add_classes(np.asarray(logits))
        self._kept.append(pool[: max(KEPT_FEATURES - self.count, 0)].astype(np.float32))
        moments = Moments.of(pool)
        self.moments = self.moments.merged(moments) if self.moments else moments

    def _add_classes(self, logits: np.ndarray) -> None:
        parts = (self.count + np.arange(len(logits))) % len(self.parts)
        for part in np.unique(parts):
            added = ClassInformation.of(logits[parts == part])
            before = self.parts[part]
            self.parts[part] = before.merged(added) if before else added

    def _check(self, pool: np.ndarray, logits: Optional[np.ndarray]) -> None:
        for name, values in (("features", pool), ("logits", logits)):
            bad = [] if values is None else np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                raise EvaluationError(
                    f"The feature network gives {name} that are not finite for image {self.count + bad[0]}; a score "
                    "that left it out would be of other images, so mend the model or the network."
                )
        if self.moments:
            before = (len(self.moments.mean), len(self.parts[0].marginal) if self.parts[0] else 0)
            now = (pool.shape[1], 0 if logits is None else logits.shape[1])
            if before != now:
                raise EvaluationError(
                    f"Images with {now[0]} features and {now[1]} classes cannot be added to those with {before[0]} and "
                    f"{before[1]}; use one feature network for all."
                )

    def save(self, path, fingerprint: str) -> None:
        """Writes the statistics as .npz, whole or not at all, with what they were made from.

        Raises:
          UndefinedScore: there are fewer images than parts.
        """
        if self.count < len(self.parts):
            raise UndefinedScore(
                f"{self.count} images do not fill the {len(self.parts)} parts of the Inception Score, so {path} is not "
                "written; give more images, or lower evaluation.splits."
            )
        arrays = {"count": self.count, "mean": self.moments.mean, "scatter": self.moments.scatter}
        arrays["features"] = self.features
        none = ClassInformation(0, np.zeros(0), 0.0)
        parts = [part or none for part in self.parts]
        arrays["part_counts"] = [part.count for part in parts]
        arrays["marginals"] = [part.marginal for part in parts]
        arrays["information"] = [part.information for part in parts]
        path = pathlib.Path(path)
        beside = path.with_suffix(".tmp")
        with open(beside, "wb") as file:
            np.savez(file, fingerprint=fingerprint, **arrays)
        os.replace(beside, path)

    @classmethod
    def load(cls, path, fingerprint: str) -> Optional["ImageStatistics"]:
        """Reads statistics that `save` wrote; None where there are none, or they were made from something else.

        Raises:
          EvaluationError: the file cannot be read.
        """
        path = pathlib.Path(path)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if str(arrays["fingerprint"]) != fingerprint:
                    return None
                columns = (arrays["part_counts"], arrays["marginals"], arrays["information"])
                statistics = cls(len(columns[0]))
                parts = [ClassInformation(int(n), p, float(i)) for n, p, i in zip(*columns)]
                statistics.parts = [part if part.count else None for part in parts]
                statistics.moments = Moments(int(arrays["count"]), arrays["mean"], arrays["scatter"])
                statistics._kept = [arrays["features"]]
                return statistics
        except (OSError, EOFError, KeyError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
            raise EvaluationError(
                f"The image statistics {path} cannot be read ({error}); remove the file to have them computed again."
            ) from error


def collect(
    extract: Callable[[np.ndarray], ImageFeatures], batches: Iterable[np.ndarray], splits: int = 10, title: str = ""
) -> ImageStatistics:
    """The statistics of images.

    Args:
      extract: gives the features of images uint8 [B, H, W, 3], as a `FeatureExtractor` does.
      batches: such images.
      splits: parts of the Inception Score.
      title: of the progress bar.

    Raises:
      EvaluationError: as `ImageStatistics.add` does.
    """
    statistics = ImageStatistics(splits)
    with progress_bar(desc=title, unit="image") as bar:
        for images in batches:
            statistics.add(extract(images))
            bar.update(len(images))
    return statistics
