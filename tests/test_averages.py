"""Streaming averages against loops over Python floats, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from rgan_tf.errors import UserError
from rgan_tf.evaluation.metrics.averages import EvaluationError, SceneAverage, Score, UndefinedScore

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4))


@settings(deadline=None, max_examples=60)
@given(SHAPES.flatmap(lambda shape: st_numpy.arrays(bool, shape)), st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_both_averages_whatever_the_batches(mask, seed, batch):
    values = np.random.default_rng(seed).normal(size=mask.shape)
    values[~mask] = np.nan
    average = SceneAverage("Score", "object")
    for start in range(0, len(mask), batch):
        average.update(values[start : start + batch], mask[start : start + batch])
    if not mask.any():
        with pytest.raises(UndefinedScore, match="^Score is not defined: no scene of the split has a single object"):
            average.result()
        return
    scenes = [[float(v) for v in scene[chosen]] for scene, chosen in zip(values, mask) if chosen.any()]
    entries = [value for scene in scenes for value in scene]
    expected = Score(
        sum(entries) / len(entries),
        sum(sum(scene) / len(scene) for scene in scenes) / len(scenes),
        len(entries),
        len(scenes),
    )
    *found, interval = average.result()
    np.testing.assert_allclose(found, expected[:4], rtol=1e-12, atol=1e-12)
    assert (interval is None) == (len(scenes) == 1)


def test_the_two_averages_differ():
    average = SceneAverage("Score", "object")
    average.update([[1.0, 1.0, 1.0], [0.0, 5.0, 5.0]], [[True, True, True], [True, False, False]])
    assert average.result()[:4] == (0.75, 0.5, 4, 2)
    # Of the first scene or the second alone.
    assert average.result().interval == (0.0, 1.0)


def test_sums_keep_their_precision():
    average = SceneAverage("Score", "object")
    ones = np.ones([1, 4], np.float32)
    average.update(2.0**25 * ones, ones > 0)
    for _ in range(1000):
        average.update(ones, ones > 0)
    assert average.result().mean == (4 * 2**25 + 4000) / 4004


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    average = SceneAverage("Score", "object")
    with pytest.raises(EvaluationError, match=r"Score: the value at \[1, 0\] of a batch is not finite"):
        average.update([[0.0, value], [value, 0.0]], [[True, False], [True, True]])
    assert issubclass(EvaluationError, UserError)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        SceneAverage("Score", "object").update(np.zeros([2, 3]), np.ones([2, 1], bool))


def test_an_empty_batch_changes_nothing():
    average = SceneAverage("Score", "object")
    average.update(np.zeros([0, 3]), np.zeros([0, 3], bool))
    average.update([2.0, 3.0], [True, False])
    average.update(np.zeros([4, 0]), np.zeros([4, 0], bool))
    assert average.result() == Score(2.0, 2.0, 1, 1)
