"""Relations between objects, drawn from the geometry of a scene by sg2im's protocol.

For each object one other object of the scene is drawn uniformly at random, in random direction. The predicate is
"surrounding" or "inside" where one box lies strictly within the other; otherwise the direction between the centroids
says it, in quarter sectors around the axes (Johnson et al. 2018, section 4.1).
"""

import tensorflow as tf

PREDICATES = ("left of", "right of", "above", "below", "inside", "surrounding")
LEFT_OF, RIGHT_OF, ABOVE, BELOW, INSIDE, SURROUNDING = range(1, len(PREDICATES) + 1)


def _strictly_within(inner: tf.Tensor, outer: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(inner[..., :2] > outer[..., :2], -1) & tf.reduce_all(inner[..., 2:] < outer[..., 2:], -1)


def predicate_ids(
    subject_boxes: tf.Tensor, object_boxes: tf.Tensor, subject_centroids: tf.Tensor, object_centroids: tf.Tensor
) -> tf.Tensor:
    """Names the relation of each subject to its object.

    The sectors are bounded by the diagonals, and each diagonal belongs to the sector that sg2im gives it: with
    theta = atan2(dy, dx) and y pointing down, "left of" is closed at both ends, "right of" and "below" own the end with
    the smaller theta, "above" owns neither. Equal centroids are "right of" (theta = 0). The bounds are compared
    without computing theta, so that a point on a diagonal never changes sides by rounding.

    Args:
      subject_boxes: [..., 4] float, (x0, y0, x1, y1).
      object_boxes: [..., 4] float.
      subject_centroids: [..., 2] float, (x, y).
      object_centroids: [..., 2] float.

    Returns:
      [...] int32 ids into the vocabulary's predicates: 1 is `PREDICATES[0]`.
    """
    offset = subject_centroids - object_centroids
    dx, dy = offset[..., 0], offset[..., 1]
    left = (dx < 0) & (tf.abs(dy) <= -dx)
    above = (dy < 0) & (tf.abs(dx) < -dy)
    below = (dy > 0) & (-dy < dx) & (dx <= dy)
    direction = tf.where(left, LEFT_OF, tf.where(above, ABOVE, tf.where(below, BELOW, RIGHT_OF)))
    inside = _strictly_within(subject_boxes, object_boxes)
    surrounding = _strictly_within(object_boxes, subject_boxes)
    return tf.where(surrounding, SURROUNDING, tf.where(inside, INSIDE, direction))


def draw_triples(
    boxes: tf.Tensor, centroids: tf.Tensor, object_mask: tf.Tensor, seed: tf.Tensor, max_triples: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws one relation for each object of one scene.

    Slot i of the result tells the relation drawn for object i. Its random numbers come from (seed, i) alone, so the
    draw does not depend on how far the scene is padded. A scene of one object has no relations.

    Args:
      boxes: [N, 4] float, (x0, y0, x1, y1); N is static.
      centroids: [N, 2] float, (x, y).
      object_mask: [N] bool, which objects are real.
      seed: [2] int32.
      max_triples: T, the number of slots.

    Returns:
      triples [T, 3] int32 of (subject index, predicate id, object index), zeros where there is none, and
      triple_mask [T] bool.

    Raises:
      ValueError: N is not static, or there are fewer slots than objects.
    """
    num_objects = boxes.shape[0]
    if num_objects is None:
        raise ValueError("draw_triples needs a static number of objects; pad the scene first.")
    if max_triples < num_objects:
        raise ValueError(
            f"max_triples is {max_triples}; it must be at least the number of object slots, {num_objects}."
        )
    uniform = tf.stack(
        [
            tf.random.stateless_uniform([2], tf.random.experimental.stateless_fold_in(seed, slot))
            for slot in range(num_objects)
        ]
    )
    partner = _other_object(uniform[:, 0], object_mask)
    own = tf.range(num_objects)
    forward = uniform[:, 1] < 0.5
    subject, other = tf.where(forward, own, partner), tf.where(forward, partner, own)
    predicate = predicate_ids(
        tf.gather(boxes, subject), tf.gather(boxes, other), tf.gather(centroids, subject), tf.gather(centroids, other)
    )
    mask = object_mask & (tf.reduce_sum(tf.cast(object_mask, tf.int32)) > 1)
    triples = tf.where(mask[:, None], tf.stack([subject, predicate, other], axis=1), 0)
    padding = max_triples - num_objects
    return tf.pad(triples, [[0, padding], [0, 0]]), tf.pad(mask, [[0, padding]])


def _other_object(uniform: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """Index of the other valid object that each object's number in [0, 1) stands for, [N]; 0 where there is none."""
    valid = tf.cast(object_mask, tf.int32)
    rank = tf.cumsum(valid, exclusive=True)
    others = tf.reduce_sum(valid) - 1
    drawn = tf.minimum(tf.cast(uniform * tf.cast(others, tf.float32), tf.int32), others - 1)
    drawn += tf.cast(drawn >= rank, tf.int32)
    is_drawn = (rank[None, :] == drawn[:, None]) & object_mask[None, :]
    return tf.argmax(tf.cast(is_drawn, tf.int32), axis=1, output_type=tf.int32)
