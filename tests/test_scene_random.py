"""Per-scene random numbers: their distribution, and that they depend on seed, purpose and slot alone."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rgan_tf.ops import scene_random


def seeds_of(count, seed=(3, 4)):
    return scene_random.scene_seeds(tf.constant(seed), tf.range(count))


def test_seed_is_the_librarys_fold_in():
    base = tf.constant([7, 9])
    seeds = scene_random.scene_seeds(base, tf.constant([0, 5, -2], tf.int64))
    for row, key in zip(seeds, [0, 5, -2]):
        np.testing.assert_array_equal(row, tf.random.experimental.stateless_fold_in(base, key, alg="philox"))


@pytest.mark.parametrize("shape", [(1, 2, 3), (8, 8, 32), (9, 9, 33), (2, 17, 70)])
def test_slots_keep_their_numbers_in_any_shape_and_batch(shape):
    whole = scene_random.scene_uniform(seeds_of(3), (9, 17, 70), 1).numpy()
    alone = scene_random.scene_uniform(seeds_of(3)[1:2], shape, 1).numpy()
    assert alone.shape == (1, *shape)
    np.testing.assert_array_equal(alone[0], whole[1][tuple(slice(extent) for extent in shape)])


def test_scenes_purposes_and_slots_differ():
    seeds = seeds_of(4)
    draws = [scene_random.scene_uniform(seeds, (9, 9, 33), purpose).numpy() for purpose in (0, 1, [0, 1], [1, 0])]
    values = np.concatenate([draw.ravel() for draw in draws])
    # Float32 uniform numbers have 2^23 values: of about 43,000 draws some coincide, a repeated block would be 2,048.
    assert len(values) - len(np.unique(values)) < 300


def test_numbers_are_uniform_and_gumbel():
    uniform = scene_random.scene_uniform(seeds_of(20), (8, 8, 32), 2)
    assert scipy.stats.kstest(uniform.numpy().ravel(), "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(scene_random.gumbel(uniform).numpy().ravel(), "gumbel_r").pvalue > 1e-3
    extremes = tf.constant([1.1754944e-38, np.nextafter(np.float32(1), np.float32(0))])
    assert np.isfinite(scene_random.gumbel(extremes)).all()


def test_choice_is_uniform_over_valid_entries():
    mask = np.tile([True, False, True, True, False], (4000, 1))
    draw = tf.function(lambda seeds: scene_random.scene_uniform(seeds, (1, 1, 5), 0)[:, 0, 0])
    chosen = scene_random.uniform_choice(draw(seeds_of(4000)), tf.constant(mask)).numpy()
    np.testing.assert_array_equal(chosen.sum(axis=1), 1)
    counts = chosen.sum(axis=0)
    assert counts[1] == counts[4] == 0
    assert scipy.stats.chisquare(counts[[0, 2, 3]]).pvalue > 1e-3


def test_no_valid_entry_chooses_nothing():
    chosen = scene_random.uniform_choice(tf.fill([2, 3], 0.5), tf.constant([[False] * 3, [False, True, False]]))
    np.testing.assert_array_equal(chosen, [[0, 0, 0], [0, 1, 0]])


def test_unknown_batch_size(tmp_path):
    module = tf.Module()
    module.draw = tf.function(
        lambda seeds: scene_random.scene_uniform(seeds, (2, 3, 4), 0),
        input_signature=[tf.TensorSpec([None, 2], tf.int32)],
    )
    tf.saved_model.save(module, str(tmp_path))
    restored = tf.saved_model.load(str(tmp_path))
    for count in (1, 5):
        np.testing.assert_array_equal(
            restored.draw(seeds_of(count)), scene_random.scene_uniform(seeds_of(count), (2, 3, 4), 0)
        )
