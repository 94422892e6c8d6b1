"""The served candidate search against the exhaustive one of pipelines.prefilter."""

import types

import numpy as np
import pytest
import tensorflow as tf

from pipelines.prefilter.candidates import SearchSettings, find_candidates
from rgan_tf.ops import candidate_search


def searched(points, category, queries, asked, k):
    """Rows [Q, k] by the graph, and by prefilter, of points sorted by category."""
    starts = np.searchsorted(category, np.arange(category.max() + 3)).astype(np.int32)
    norms = np.sum(points.astype(np.float64) ** 2, axis=1).astype(np.float32)
    held = tf.Variable(points), tf.Variable(norms), tf.Variable(starts)
    search = tf.function(
        lambda query, identity: candidate_search.nearest_rows(query, identity, *held, k),
        input_signature=[tf.TensorSpec([points.shape[1]]), tf.TensorSpec([], tf.int32)],
    )
    found = np.stack([search(tf.constant(q), tf.constant(c, tf.int32)).numpy() for q, c in zip(queries, asked)])
    bank = types.SimpleNamespace(offered=category, graph_feature=points, scene_index=np.arange(len(points)))
    none = np.full(len(queries), -1)
    return found, find_candidates(bank, queries, asked, none, k, SearchSettings("exact"), progress=False).rows


@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize("offset", [0.0, 3.0, 300.0])
def test_equals_the_exhaustive_search(k, offset):
    """Far from the origin the float32 scores cancel: what they cannot decide must be decided in double precision."""
    random = np.random.default_rng(k)
    category = np.sort(random.integers(1, 5, 900))
    points = (random.normal(size=(900, 16)) + offset).astype(np.float32)
    queries = (random.normal(size=(12, 16)) + offset).astype(np.float32)
    found, expected = searched(points, category, queries, random.integers(1, 5, 12), k)
    np.testing.assert_array_equal(found, expected)


def test_equally_near_points_come_in_order_of_rows():
    points = np.repeat(np.random.default_rng(1).normal(size=(4, 8)), 25, axis=0).astype(np.float32)
    found, expected = searched(points, np.ones(100, int), points[[0, 30]], np.array([1, 1]), 30)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[0, :25], np.arange(25))


def test_categories_with_few_or_no_points():
    random = np.random.default_rng(2)
    points, category = random.normal(size=(6, 4)).astype(np.float32), np.array([1, 1, 1, 3, 3, 3])
    found, expected = searched(points, category, points[:4], np.array([1, 3, 2, 4]), 5)
    np.testing.assert_array_equal(found, expected)
    assert (found[2:] == -1).all() and (found[:2, 3:] == -1).all()
    padding, _ = searched(points, category, points[:1], np.array([0]), 5)
    assert (padding == -1).all()
