"""Averages over a split that is seen batch by batch: what every layout, object and retrieval score comes down to."""

from typing import NamedTuple

import numpy as np

from rgan_tf.errors import UserError


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
    """

    mean: float
    scene_mean: float
    count: int
    scenes: int


class SceneAverage:
    """Both averages of values that come in padded and masked; holds four numbers, sums in double precision."""

    def __init__(self, score: str, entry: str):
        """Takes the names of the score and of what is counted, such as "object", for messages."""
        self._score, self._entry = score, entry
        self._sum = self._scene_sum = 0.0
        self._count = self._scenes = 0

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
        counted = counts > 0
        self._sum += float(sums.sum())
        self._count += int(counts.sum())
        self._scene_sum += float((sums[counted] / counts[counted]).sum())
        self._scenes += int(counted.sum())

    def result(self) -> Score:
        """The averages over all scenes so far.

        Raises:
          UndefinedScore: nothing was counted.
        """
        if not self._count:
            raise UndefinedScore(
                f"{self._score} is not defined: no scene of the split has a single {self._entry}; leave this score out."
            )
        return Score(self._sum / self._count, self._scene_sum / self._scenes, self._count, self._scenes)


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
