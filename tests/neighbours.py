"""Nearest neighbours by their definition, and points to look for them in."""

import numpy as np


def brute_force(queries, points, k):
    """Every distance by its definition, in double precision, sorted stably: ties go to the lower row."""
    rows = []
    for query in queries.astype(np.float64):
        distances = ((points.astype(np.float64) - query) ** 2).sum(axis=1)
        order = np.argsort(distances, kind="stable")[:k]
        rows.append(np.pad(order, (0, k - len(order)), constant_values=-1))
    return np.array(rows, np.int32).reshape(len(queries), k)


def clustered(rng, number, dim, clusters=20, spread=0.3, centres_seed=99):
    centres = np.random.default_rng(centres_seed).normal(size=(clusters, dim))
    return (centres[rng.integers(0, clusters, number)] + spread * rng.normal(size=(number, dim))).astype(np.float32)


def recall(found, truth):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth)])
