"""Algorithm 1: the differentiable choice of one patch an object, such that the patches fit each other.

Paper section 3.3. A query starts at some patch; in each round every candidate of every object competes for being the
next patch, by its distance to the query; the chosen one moves the query, and its object drops out. How a choice is
differentiated is the estimator's:

* "relaxed": it is a softmax of noisy scores at a temperature.
* "straight_through" (footnote 1): one-hot forward, with that softmax's derivative backward.
* "simple" (Ahmed et al.: SIMPLE, ICLR 2023, for subsets of one): the same one-hot draw forward, backward the derivative
  of its exact marginals, the softmax of the scores without noise or temperature. Where a loss is linear in one round's
  choice, each draw gives the exact gradient of the expected loss.

Three points of numerics, each proved in tests/test_relaxed_subset.py or test_estimators.py:

* The penalty log(1 - max s). 1 - max s is added up from the other candidates' shares instead of subtracted from one,
  so that it keeps its relative precision. Below `TAKEN_BELOW` the group counts as *taken* and is masked out, which is
  the limit that the penalty tends to. A clamped penalty would not do: where features lie at squared distances of 1e4
  from each other it loses against the distances, and a group is chosen twice.
* One-hot estimators. The one-hot sample takes the place of s everywhere: in the query, in the result and in the
  penalty, where it means that a chosen group is taken (minus infinity) and any other has log(1 - 0) = 0. So the forward
  pass is the exact discrete algorithm at any temperature, and training sees what a picture is made from. Backward, each
  round's sample, and each group's largest share in the penalty, has the derivative of that round's softmax.
* Distances are taken by direct difference. The expansion |f|^2 - 2 f.q + |q|^2 cancels: at norms of 100 it is off by
  1e-2, ten times the lowest temperature in use; and the difference costs next to nothing beside the patch encoder.
"""

from typing import NamedTuple

import tensorflow as tf

DISTANCES = ("squared_euclidean", "euclidean")
QUERY_UPDATES = ("running_average", "mean_of_selected")
ESTIMATORS = ("straight_through", "relaxed", "simple")

# A group whose largest share leaves less than this to all other candidates is taken (see above).
TAKEN_BELOW = 1e-6
# Squared distances below this have unsquared distance and gradient zero, where the derivative of the root is unbounded.
_ZERO_DISTANCE = 1e-24
# Stands for minus infinity, after division by any temperature in use; its exponential is exactly zero.
_MINUS_INFINITY = -1e30
# A round multiplies a gradient by up to (feature spread)^2 / temperature; eight of them can leave float32. An element
# that exceeds this on its way back through query or penalty is cut to it; others are left alone.
_GRADIENT_BOUND = 1e6


class RetrievalResult(NamedTuple):
    """What the rounds chose.

    Attributes:
      selection: `[B, N, k]` float32, the sum of all rounds' samples. Unless relaxed: exactly one-hot for a valid
        object, zeros for a padded one.
      soft_selection: `[B, N, k]` float32, the sum of all rounds' softmaxes; `selection` itself if relaxed.
      hard_index: `[B, N]` int32, each valid object's chosen candidate, largest in `selection`; -1 for a padded one.
      query: `[B, D]` float32, the query after the last round.
    """

    selection: tf.Tensor
    soft_selection: tf.Tensor
    hard_index: tf.Tensor
    query: tf.Tensor


def candidate_distances(features: tf.Tensor, query: tf.Tensor, distance: str) -> tf.Tensor:
    """Distances of candidates to a query, with finite gradients also where they are zero.

    Args:
      features: `[..., D]` float32.
      query: broadcastable to `features`.
      distance: "squared_euclidean" (text of section 3.3) or "euclidean" (Algorithm 1 as printed).

    Returns:
      `[...]` float32, not negative.
    """
    squared = tf.reduce_sum(tf.math.squared_difference(features, query), axis=-1)
    if distance == "squared_euclidean":
        return squared
    apart = squared > _ZERO_DISTANCE
    return tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)


def retrieve(
    features: tf.Tensor,
    candidate_mask: tf.Tensor,
    query: tf.Tensor,
    noise: tf.Tensor,
    temperature: tf.Tensor,
    distance: str = "squared_euclidean",
    query_update: str = "running_average",
    estimator: str = "straight_through",
    differentiable: bool = True,
) -> RetrievalResult:
    """Runs Algorithm 1 on a batch of scenes.

    A valid object has at least one valid candidate. A scene takes part in as many rounds as it has valid objects.

    Args:
      features: `[B, N, k, D]` float, finite also where masked; N, k and D static.
      candidate_mask: `[B, N, k]` bool.
      query: `[B, D]` float, the first query.
      noise: `[B, N, N, k]` float, Gumbel noise of each round (axis 1) for each candidate; zeros for none.
      temperature: scalar float, positive; "simple" has no use for it.
      distance: one of `DISTANCES`.
      query_update: "running_average", q = (q + chosen) / 2 (line 13), or "mean_of_selected", the mean of all patches
        chosen so far, without the first query.
      estimator: one of `ESTIMATORS`, see the module.
      differentiable: whether a gradient will be taken; if not, what bounds it is left out.

    Returns:
      A `RetrievalResult`.

    Raises:
      ValueError: `distance`, `query_update` or `estimator` is none of the known ones.
    """
    _check_choice("distance", distance, DISTANCES)
    _check_choice("query_update", query_update, QUERY_UPDATES)
    _check_choice("estimator", estimator, ESTIMATORS)
    one_hot = estimator != "relaxed"
    bound_gradient = _bound_gradient if differentiable else tf.identity
    num_objects, num_candidates, depth = features.shape[1:]
    slots = num_objects * num_candidates
    features = tf.reshape(tf.cast(features, tf.float32), [-1, slots, depth])
    noise = tf.cast(noise, tf.float32)
    query = tf.cast(query, tf.float32)
    temperature = tf.cast(temperature, tf.float32)
    valid_object = tf.reduce_any(candidate_mask, axis=-1)
    object_count = tf.reduce_sum(tf.cast(valid_object, tf.float32), axis=-1, keepdims=True)
    open_object = valid_object
    penalty = tf.zeros_like(valid_object, tf.float32)
    selection = soft_selection = tf.zeros_like(candidate_mask, tf.float32)
    chosen_sum = tf.zeros_like(query)

    for number in range(num_objects):
        active = tf.cast(number < object_count, tf.float32)
        distances = candidate_distances(features, query[:, tf.newaxis], distance)
        logits = tf.reshape(-distances, [-1, num_objects, num_candidates]) + penalty[..., tf.newaxis]
        open_candidate = tf.logical_and(candidate_mask, open_object[..., tf.newaxis])
        noisy = _over_open((logits + noise[:, number]) / temperature, open_candidate)
        soft = tf.nn.softmax(_over_open(logits, open_candidate) if estimator == "simple" else noisy) * active
        hard = tf.one_hot(tf.argmax(noisy, axis=-1), slots) * active
        sample = _straight_through(hard, soft) if one_hot else soft
        chosen = tf.reduce_sum(sample[..., tf.newaxis] * features, axis=1)

        soft, hard, sample = (tf.reshape(x, [-1, num_objects, num_candidates]) for x in (soft, hard, sample))
        step, taken = _penalty(soft, hard, one_hot)
        open_object = tf.logical_and(open_object, tf.logical_not(taken))
        penalty = bound_gradient(penalty + step)
        selection += sample
        soft_selection += soft
        chosen_sum += chosen
        moved = (query + chosen) / 2.0 if query_update == "running_average" else chosen_sum / (number + 1.0)
        query = bound_gradient(tf.where(active > 0.0, moved, query))

    best = tf.argmax(tf.where(candidate_mask, selection, -1.0), axis=-1, output_type=tf.int32)
    return RetrievalResult(selection, soft_selection, tf.where(valid_object, best, -1), query)


def _over_open(scores, open_candidate):
    """Scores `[B, N * k]`, minus infinity where a candidate cannot be chosen."""
    return tf.reshape(tf.where(open_candidate, scores, _MINUS_INFINITY), [-1, scores.shape[1] * scores.shape[2]])


def _penalty(soft, hard, one_hot):
    """One round's log(1 - max s) of every group `[B, N]`, and which groups it takes out for good."""
    largest = tf.reduce_max(soft, axis=-1)
    holds_top = tf.reduce_max(hard, axis=-1) > 0.5
    if one_hot:
        # Value 1 or 0, derivative that of the softmax's largest share. A taken group is masked from here on.
        share = _straight_through(tf.zeros_like(largest), largest)
        return tf.where(holds_top, 0.0, tf.math.log1p(-share)), holds_top
    # Only the group of the largest share overall can come near one; for it, add up what the others leave.
    rest = tf.reduce_sum(soft * (1.0 - hard), axis=[1, 2], keepdims=True)[..., 0]
    taken = tf.logical_and(holds_top, rest < TAKEN_BELOW)
    left = tf.where(taken, 1.0, tf.where(holds_top, rest, 1.0 - largest))
    return tf.math.log(left), taken


def _straight_through(hard, soft):
    """`hard` forward, the derivative of `soft` backward."""
    return tf.stop_gradient(hard) + (soft - tf.stop_gradient(soft))


def _bound_gradient(values):
    """The identity, whose gradient is cut elementwise at `_GRADIENT_BOUND`."""
    bounded = _bounded(values)
    bounded.set_shape(values.shape)
    return bounded


# A function of its own: TensorFlow keeps the graph that a custom gradient is traced in as long as the process lives.
@tf.function(input_signature=[tf.TensorSpec(None, tf.float32)], autograph=False)
@tf.custom_gradient
def _bounded(values):
    return tf.identity(values), lambda upstream: tf.clip_by_value(upstream, -_GRADIENT_BOUND, _GRADIENT_BOUND)


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")
