"""How two sets of pictures cover each other in feature space: precision, recall, density and coverage.

A set's manifold is the union of balls around its feature vectors, each reaching to the vector's k-th nearest neighbour
in the same set. Precision and recall are those of Kynkäänniemi et al. (Improved precision and recall metric for
assessing generative models, NeurIPS 2019, eq. 1 and 2, k = 3); density and coverage those of Naeem et al. (Reliable
fidelity and diversity metrics for generative models, ICML 2020, eq. 3 and 4, k = 5). Balls are closed. Distances are
Euclidean, in float64.
"""

from typing import NamedTuple, Optional

import numpy as np

from rgan_tf.evaluation.metrics.averages import UndefinedScore, check_same_features
from rgan_tf.evaluation.metrics.intervals import bootstrap_interval

# Neighbours that bound a ball: of precision and recall, of density and coverage.
PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5
# Distances of so many vectors to all others are held at once.
_ROWS = 1024


class ManifoldScore(NamedTuple):
    """A score; its 95 percent bootstrap interval over the pictures that it is a mean over, manifolds held fixed, None
    for a single one; and the neighbours that bound a ball."""

    value: float
    interval: Optional[tuple[float, float]]
    neighbours: int


def manifold_scores(generated: np.ndarray, real: np.ndarray) -> dict[str, ManifoldScore]:
    """The four scores of generated pictures against real ones.

    Args:
      generated: features [M, D], finite.
      real: features [N, D] of the same network.

    Returns:
      "precision", the share of generated pictures within the real manifold; "recall", the share of real pictures within
      the generated one; "density", the mean over generated pictures of how many real balls hold them, divided by k (it
      may exceed 1); "coverage", the share of real balls that hold a generated picture.

    Raises:
      UndefinedScore: either side has too few pictures for k neighbours.
      EvaluationError: they differ in their number of features.
    """
    most = max(PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS)
    if min(len(generated), len(real)) <= most:
        raise UndefinedScore(
            f"Precision, recall, density and coverage need more than {most} pictures on either side; there are "
            f"{len(generated)} generated and {len(real)} real ones."
        )
    check_same_features(generated.shape[1], real.shape[1])
    real_radii = radii(real, (PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS))
    (generated_radii,) = radii(generated, (PRECISION_NEIGHBOURS,)).T
    within_real, held_by, near_real, within_generated = [], [], np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows in _parts(len(generated)):
        distances = square_distances(generated[rows], real)
        within_real.append((distances <= real_radii[:, 0]).any(axis=1))
        inside = distances <= real_radii[:, 1]
        held_by.append(inside.sum(axis=1))
        near_real |= inside.any(axis=0)
        within_generated |= (distances <= generated_radii[rows, None]).any(axis=0)
    return {
        "precision": _score(np.concatenate(within_real), PRECISION_NEIGHBOURS),
        "recall": _score(within_generated, PRECISION_NEIGHBOURS),
        "density": _score(np.concatenate(held_by) / DENSITY_NEIGHBOURS, DENSITY_NEIGHBOURS),
        "coverage": _score(near_real, DENSITY_NEIGHBOURS),
    }


def radii(vectors: np.ndarray, neighbours: tuple[int, ...]) -> np.ndarray:
    """Square distances float64 [M, len(neighbours)] of vectors [M, D] to their k-th nearest others."""
    found = np.empty((len(vectors), len(neighbours)))
    for rows in _parts(len(vectors)):
        distances = square_distances(vectors[rows], vectors)
        distances[np.arange(len(distances)), np.arange(len(vectors))[rows]] = np.inf
        wanted = [k - 1 for k in neighbours]
        found[rows] = np.partition(distances, wanted, axis=1)[:, wanted]
    return found


def square_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[M, D] and [N, D] to float64 [M, N]; never negative."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    squares = np.sum(first * first, axis=1)[:, None] + np.sum(second * second, axis=1)
    return np.maximum(squares - 2.0 * (first @ second.T), 0.0)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, count, _ROWS)]


def _score(values: np.ndarray, neighbours: int) -> ManifoldScore:
    values = values.astype(np.float64)
    return ManifoldScore(float(values.mean()), bootstrap_interval(values, np.ones(len(values))), neighbours)
