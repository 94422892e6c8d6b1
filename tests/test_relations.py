"""Relations: geometry against sg2im's angles, the draw against its distribution."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from pipelines import relations


def reference_predicate(subject_box, object_box, subject_centroid, object_centroid):
    """The rule as sg2im states it, by angle, in float64."""
    sx0, sy0, sx1, sy1 = subject_box
    ox0, oy0, ox1, oy1 = object_box
    theta = math.atan2(subject_centroid[1] - object_centroid[1], subject_centroid[0] - object_centroid[0])
    if sx0 < ox0 and sx1 > ox1 and sy0 < oy0 and sy1 > oy1:
        return "surrounding"
    if sx0 > ox0 and sx1 < ox1 and sy0 > oy0 and sy1 < oy1:
        return "inside"
    if theta >= 3 * math.pi / 4 or theta <= -3 * math.pi / 4:
        return "left of"
    if theta < -math.pi / 4:
        return "above"
    if theta < math.pi / 4:
        return "right of"
    return "below"


def predicate(subject_box, object_box, subject_centroid, object_centroid):
    arguments = [
        tf.constant(value, tf.float32) for value in (subject_box, object_box, subject_centroid, object_centroid)
    ]
    return relations.PREDICATES[int(relations.predicate_ids(*arguments)) - 1]


def random_scene(rng, number, padded_to):
    corners = np.sort(rng.uniform(size=(padded_to, 2, 2)), axis=1)
    boxes = corners.reshape(padded_to, 4).astype(np.float32)
    centroids = rng.uniform(size=(padded_to, 2)).astype(np.float32)
    mask = np.arange(padded_to) < number
    boxes[~mask], centroids[~mask] = 0, 0
    return boxes, centroids, mask


def test_predicates_agree_with_angles():
    rng = np.random.default_rng(0)
    count = 3000
    first, _, _ = random_scene(rng, count, count)
    second, _, _ = random_scene(rng, count, count)
    # A third of the pairs is nested, with edges moved inwards.
    nested = np.arange(count) % 3 == 0
    inset = rng.uniform(0.05, 0.2, (count, 1)) * np.concatenate([first[:, 2:] - first[:, :2]] * 2, axis=1)
    second[nested] = (first + inset * [1, 1, -1, -1])[nested]
    swapped = np.arange(count) % 6 == 0
    first[swapped], second[swapped] = second[swapped], first[swapped].copy()
    centroid_a, centroid_b = rng.uniform(size=(2, count, 2)).astype(np.float32)
    found = relations.predicate_ids(first, second, centroid_a, centroid_b).numpy()
    expected = [
        reference_predicate(*pair)
        for pair in zip(first.tolist(), second.tolist(), centroid_a.tolist(), centroid_b.tolist())
    ]
    assert [relations.PREDICATES[index - 1] for index in found] == expected
    assert set(expected) == set(relations.PREDICATES)


@pytest.mark.parametrize(
    "dx, dy, expected",
    [
        (1, 0, "right of"),
        (0, 1, "below"),
        (-1, 0, "left of"),
        (0, -1, "above"),
        (1, 1, "below"),
        (-1, 1, "left of"),
        (-1, -1, "left of"),
        (1, -1, "right of"),
        (0, 0, "right of"),
    ],
)
def test_sector_borders(dx, dy, expected):
    box = (0.0, 0.0, 1.0, 1.0)
    for step in (0.25, 0.1, 1 / 3, 1e-6):
        # Around the origin both differences are the same float on a diagonal.
        assert predicate(box, box, (step * dx, step * dy), (0, 0)) == expected
    assert reference_predicate(box, box, (dx, dy), (0, 0)) == expected


def test_one_shared_edge_is_not_inside():
    outer = (0.1, 0.1, 0.9, 0.9)
    for inner in [(0.1, 0.2, 0.8, 0.8), (0.2, 0.1, 0.8, 0.8), (0.2, 0.2, 0.9, 0.8), (0.2, 0.2, 0.8, 0.9), outer]:
        assert predicate(inner, outer, (0.2, 0.5), (0.5, 0.5)) == "left of"
        assert predicate(outer, inner, (0.5, 0.5), (0.2, 0.5)) == "right of"
    assert predicate((0.2, 0.2, 0.8, 0.8), outer, (0.2, 0.5), (0.5, 0.5)) == "inside"
    assert predicate(outer, (0.2, 0.2, 0.8, 0.8), (0.5, 0.5), (0.2, 0.5)) == "surrounding"


@pytest.mark.parametrize("number", [2, 3, 8])
def test_each_object_draws_another_one(number):
    rng = np.random.default_rng(number)
    boxes, centroids, mask = random_scene(rng, number, 8)
    for seed in range(20):
        triples, triple_mask = relations.draw_triples(boxes, centroids, mask, tf.constant([7, seed]), 16)
        assert triples.dtype == tf.int32 and triples.shape == (16, 3) and triple_mask.shape == (16,)
        triples = triples.numpy()
        np.testing.assert_array_equal(triple_mask, np.arange(16) < number)
        assert not triples[number:].any()
        for slot, (subject, name, other) in enumerate(triples[:number]):
            assert subject != other and slot in (subject, other) and max(subject, other) < number
            expected = reference_predicate(*(v[i].tolist() for v in (boxes, centroids) for i in (subject, other)))
            assert relations.PREDICATES[name - 1] == expected


@pytest.mark.parametrize("number", [0, 1])
def test_no_partner_no_triple(number):
    boxes, centroids, mask = random_scene(np.random.default_rng(0), number, 4)
    triples, triple_mask = relations.draw_triples(boxes, centroids, mask, tf.constant([0, 0]), 4)
    assert not triples.numpy().any() and not triple_mask.numpy().any()


def test_padding_does_not_change_the_draw():
    boxes, centroids, mask = random_scene(np.random.default_rng(3), 5, 5)
    padded = [np.concatenate([value, np.zeros((7,) + value.shape[1:], value.dtype)]) for value in (boxes, centroids)]
    for seed in range(10):
        alone, _ = relations.draw_triples(boxes, centroids, mask, tf.constant([seed, 1]), 5)
        longer, longer_mask = relations.draw_triples(
            *padded, np.concatenate([mask, np.zeros(7, bool)]), tf.constant([seed, 1]), 20
        )
        np.testing.assert_array_equal(alone, longer[:5])
        assert longer_mask.numpy().sum() == 5


def test_partner_and_direction_are_uniform():
    number, draws = 5, 4000
    boxes, centroids, mask = random_scene(np.random.default_rng(1), number, 8)

    @tf.function
    def draw(seed):
        return relations.draw_triples(boxes, centroids, mask, tf.stack([11, seed]), 8)[0]

    triples = np.stack(list(tf.data.Dataset.range(draws).map(lambda i: draw(tf.cast(i, tf.int32))).as_numpy_iterator()))
    counts = np.zeros((number, number, 2))
    for slot in range(number):
        forward = triples[:, slot, 0] == slot
        partner = np.where(forward, triples[:, slot, 2], triples[:, slot, 0])
        np.add.at(counts, (slot, partner, forward.astype(int)), 1)
    assert not counts[np.arange(number), np.arange(number)].any()
    for slot in range(number):
        cells = np.delete(counts[slot], slot, axis=0).ravel()
        assert stats.chisquare(cells).pvalue > 1e-3
    # Neighbouring slots draw independently.
    first, second = (triples[:, slot, 0] == slot for slot in (0, 1))
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_the_seed_decides():
    boxes, centroids, mask = random_scene(np.random.default_rng(1), 8, 8)
    draws = [relations.draw_triples(boxes, centroids, mask, tf.constant([0, s]), 8)[0].numpy() for s in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_too_few_slots_is_an_error():
    boxes, centroids, mask = random_scene(np.random.default_rng(1), 4, 4)
    with pytest.raises(ValueError, match="max_triples is 3"):
        relations.draw_triples(boxes, centroids, mask, tf.constant([0, 0]), 3)
