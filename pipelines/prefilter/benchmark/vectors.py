"""Vectors to search among: clusters, each spread over a few directions of its own, as learned features are."""

import pathlib

import numpy as np

from rgan_tf.progress import progress_bar

DIMENSIONS = 128
QUERIES = 2000
_BLOCK = 2**16
# Directions of a cluster, how far points reach along each, and how far in all others.
_DIRECTIONS, _REACH, _NOISE = 16, 0.2, 0.05


def write_vectors(directory: pathlib.Path, number: int, seed: int = 0) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes points float32 [number, 128] and queries float32 [2000, 128] of the same clusters, block by block.

    Files that are there already are kept.

    Returns:
      The two .npy files.
    """
    paths = directory / f"points_{number}_{seed}.npy", directory / f"queries_{number}_{seed}.npy"
    if not all(path.exists() for path in paths):
        clusters = _Clusters(max(10, round(number**0.5)), seed)
        save_whole(paths[1], clusters.draw(QUERIES, 0))
        beside = paths[0].with_suffix(".partial")
        points = np.lib.format.open_memmap(beside, "w+", np.float32, (number, DIMENSIONS))
        for start in progress_bar(range(0, number, _BLOCK), desc=f"{number} vectors", unit="block"):
            points[start : start + _BLOCK] = clusters.draw(min(_BLOCK, number - start), 1 + start // _BLOCK)
        points.flush()
        beside.rename(paths[0])
    return paths


def save_whole(path: pathlib.Path, values: np.ndarray) -> None:
    """As np.save; a run that is killed leaves no file of that name."""
    beside = path.with_suffix(".partial")
    with open(beside, "wb") as file:
        np.save(file, values)
    beside.rename(path)


class _Clusters:
    def __init__(self, number: int, seed: int):
        random = np.random.default_rng([seed, 0])
        self._seed = seed
        self._centres = random.normal(size=(number, DIMENSIONS)).astype(np.float32)
        self._directions = _REACH * random.normal(size=(number, _DIRECTIONS, DIMENSIONS)).astype(np.float32)

    def draw(self, number: int, block: int) -> np.ndarray:
        random = np.random.default_rng([self._seed, 1, block])
        cluster = random.integers(0, len(self._centres), number)
        points = self._centres[cluster] + _NOISE * random.normal(size=(number, DIMENSIONS)).astype(np.float32)
        order = np.argsort(cluster, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
            along = random.normal(size=(len(rows), _DIRECTIONS)).astype(np.float32)
            points[rows] += along @ self._directions[cluster[rows[0]]]
        return points
