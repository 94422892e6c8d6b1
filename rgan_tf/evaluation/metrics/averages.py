"""Averages over a split that is seen batch by batch: what every layout, object and retrieval score comes down to."""

from typing import NamedTuple, Optional

import numpy as np

from rgan_tf.errors import UserError
from rgan_tf.evaluation.metrics.intervals import bootstrap_interval


class EvaluationError(UserError):
    """A score cannot be computed; the message says of what and why."""


class UndefinedScore(EvaluationError):
    """The split holds nothing that the score is an average of."""


class Score(NamedTuple):
    """A score over a split.

    mean: over all counted entries alike (micro average).
    scene_mean: over scenes, of each scene's own mean (macro average); only scenes with a counted entry take part.
    count: number of entries counted.
    scenes: number of scenes with at least one.
    interval: 95 percent bootstrap interval of `mean` over scenes; None for a single one.
    """

    mean: float
    scene_mean: float
    count: int
    scenes: int
    interval: Optional[tuple[float, float]] = None


class SceneAverage:
    """Both averages of values that come in padded and masked; holds two numbers a scene, sums in double precision."""

    def __init__(self, score: str, entry: str):
        """Takes the names of the score and of what is counted, such as "object", for messages."""
        self._score, self._entry = score, entry
        self._sums: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []

    def update(self, values, mask) -> None:
        """Adds scenes.

        Args:
          values: `[B, ...]` numbers; anything where masked.
          mask: `[B, ...]` bool, of the same shape: what counts.

        Raises:
          ValueError: the shapes differ.
          EvaluationError: a value that counts is not finite.
        """
        values, mask = np.asarray(values, np.float64), np.asarray(mask, bool)
        if values.shape != mask.shape:
            raise ValueError(f"{self._score}: values {values.shape} and mask {mask.shape} differ in shape.")
        check_finite(values, mask, f"{self._score}: the value")
        within_scene = tuple(range(1, values.ndim))
        sums, counts = np.where(mask, values, 0.0).sum(axis=within_scene), mask.sum(axis=within_scene)
        self._sums.append(sums[counts > 0])
        self._counts.append(counts[counts > 0])

    def result(self) -> Score:
        """The averages over all scenes so far.

        Raises:
          UndefinedScore: nothing was counted.
        """
        if not sum(map(len, self._counts)):
            raise UndefinedScore(
                f"{self._score} is not defined: no scene of the split has a single {self._entry}; leave this score out."
            )
        sums, counts = np.concatenate(self._sums), np.concatenate(self._counts)
        interval = bootstrap_interval(sums, counts)
        return Score(
            float(sums.sum() / counts.sum()), float(np.mean(sums / counts)), int(counts.sum()), len(counts), interval
        )


def check_finite(values, mask, what: str) -> None:
    """Refuses NaN and infinity before a comparison turns them into a plausible score.

    Args:
      values: `[*M]` or `[*M, ...]` float.
      mask: `[*M]` bool, what counts.
      what: their name in the message.

    Raises:
      EvaluationError: a value that counts is not finite.
    """
    values, mask = np.asarray(values), np.asarray(mask, bool)
    finite = np.isfinite(values).all(axis=tuple(range(mask.ndim, values.ndim)))
    if not finite[mask].all():
        place = tuple(int(i) for i in np.argwhere(mask & ~finite)[0])
        raise EvaluationError(
            f"{what} at {list(place)} of a batch is not finite; the model that made it has diverged, train it again."
        )


def check_same_features(generated: int, real: int) -> None:
    """Raises `EvaluationError` where generated and real pictures have different numbers of features."""
    if generated != real:
        raise EvaluationError(
            f"The generated pictures have {generated} features and the real ones {real}; use one feature network for "
            "both."
        )
