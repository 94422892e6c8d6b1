"""Objects drawn of scenes with more than a scene graph takes, and their relations, against plain Python."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.object_draw import draw_objects

SLOTS, MAX_TRIPLES = 4, 6


def drawn(count, triples, seed, slots=SLOTS, function=draw_objects):
    triples = tf.constant(np.reshape(triples, (-1, 3)), tf.int64)
    return [x.numpy() for x in function(tf.constant(count), triples, tf.constant([7, seed]), slots, MAX_TRIPLES)]


def relations_among(places, triples):
    """The relations whose two objects are drawn, by place among the drawn."""
    places = list(places)
    kept = [t for t in triples if t[0] in places and t[2] in places]
    return [[places.index(subject), predicate, places.index(other)] for subject, predicate, other in kept]


@pytest.mark.parametrize("graph", [False, True])
def test_random_scenes_against_plain_python(graph):
    function = tf.function(draw_objects, reduce_retracing=True) if graph else draw_objects
    rng = np.random.default_rng(0)
    for seed in range(100):
        count = int(rng.integers(1, 11))
        triples = np.stack([rng.integers(0, count, 5), rng.integers(1, 4, 5), rng.integers(0, count, 5)], 1)
        triples = triples[: rng.integers(0, 6)]
        places, found, mask = drawn(count, triples, seed, function=function)
        assert list(places) == sorted(set(places)) and len(places) == min(count, SLOTS)
        related = set(triples[:, [0, 2]].ravel())
        # No orphan is there while an object with a relation is left out.
        assert len(related & set(places)) == min(len(related), SLOTS)
        assert found[mask].tolist() == relations_among(places, triples.tolist())
        assert found.shape == (MAX_TRIPLES, 3) and not found[~mask].any()


def test_every_object_has_the_same_chance_among_its_kind():
    """Of six objects with relations four are drawn, each in two thirds of the draws; the two orphans in none."""
    triples = [[0, 1, 1], [2, 1, 3], [4, 1, 5]]
    times = np.zeros(8)
    for seed in range(600):
        times[drawn(8, triples, seed)[0]] += 1
    assert not times[6:].any()
    # Four standard deviations of a binomial.
    np.testing.assert_allclose(times[:6] / 600, 2 / 3, atol=4 * np.sqrt(2 / 9 / 600))


def test_orphans_fill_up_by_chance():
    times = np.zeros(8)
    for seed in range(600):
        times[drawn(8, [[0, 1, 1]], seed)[0]] += 1
    assert list(times[:2]) == [600, 600]
    np.testing.assert_allclose(times[2:] / 600, 1 / 3, atol=4 * np.sqrt(2 / 9 / 600))


def test_few_objects_are_all_kept_in_order():
    places, found, mask = drawn(3, [[2, 5, 0], [1, 4, 1]], 0)
    assert places.tolist() == [0, 1, 2] and found[mask].tolist() == [[2, 5, 0], [1, 4, 1]]


def test_seeds_decide():
    triples = [[0, 1, 5]]
    np.testing.assert_equal(drawn(10, triples, 3), drawn(10, triples, 3))
    assert len({tuple(drawn(10, triples, seed)[0]) for seed in range(20)}) > 1


def test_a_scene_without_relations_has_no_triples():
    places, found, mask = drawn(6, np.zeros((0, 3)), 1)
    assert len(places) == SLOTS and not mask.any() and not found.any()
