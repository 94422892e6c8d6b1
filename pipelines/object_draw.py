"""Scenes with annotated relations and more objects than a scene graph takes: a draw of their objects.

Objects with relations come first and others fill up, as in sg2im's loader for Visual Genome (Johnson et al. 2018); a
relation stays where both of its objects do.
"""

import tensorflow as tf


def draw_objects(
    count: tf.Tensor, triples: tf.Tensor, seed: tf.Tensor, slots: int, max_triples: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws the objects of one scene.

    Args:
      count: int32, number of objects.
      triples: [R, 3] int of (subject's place, predicate id, object's place), places below `count`.
      seed: [2] int32.
      slots: most objects drawn; a scene of no more keeps all of them.
      max_triples: T, at least the number of relations that can stay.

    Returns:
      places [n] int32 of the drawn objects, ascending, n <= slots; triples [T, 3] int32 among them, in the order they
      had, zeros where there is none; triple_mask [T] bool.
    """
    triples = tf.cast(triples, tf.int32)
    related = tf.concat([triples[:, 0], triples[:, 2]], 0)
    is_related = tf.math.unsorted_segment_sum(tf.ones_like(related), related, count) > 0
    # Random order within each of the two kinds.
    keys = tf.random.stateless_uniform([count], seed) + tf.where(is_related, 0.0, 1.0)
    drawn = tf.sort(tf.argsort(keys, stable=True)[:slots])
    slot = tf.tensor_scatter_nd_update(tf.fill([count], -1), drawn[:, None], tf.range(tf.shape(drawn)[0]))
    subject, other = tf.gather(slot, triples[:, 0]), tf.gather(slot, triples[:, 2])
    stays = (subject >= 0) & (other >= 0)
    kept = tf.boolean_mask(tf.stack([subject, triples[:, 1], other], axis=1), stays)[:max_triples]
    padding = max_triples - tf.shape(kept)[0]
    mask = tf.range(max_triples) < tf.shape(kept)[0]
    return drawn, tf.ensure_shape(tf.pad(kept, [[0, padding], [0, 0]]), [max_triples, 3]), mask
