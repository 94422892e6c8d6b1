"""The loss terms of equations (5), (6) and (7), as pure functions in float32.

Terms over objects average within each scene first and over scenes then: a scene weighs the same whatever its number of
objects, padding changes nothing, and the mean over replicas with equal shares of a batch is the mean over the batch.

This is the one module that imports tensorflow-addons, so that leaving it is one edit; gan_library.py is the one that
imports tensorflow-gan.
"""

from collections.abc import Sequence
from typing import Optional, Union

import tensorflow as tf
from tensorflow_addons.losses import metric_learning, triplet

from rgan_tf import gan_library

_SUM = tf.compat.v1.losses.Reduction.SUM
# Label smoothing is off, where TF-GAN would smooth by 0.25: the formulas are then those of the papers.
_GENERATOR_LOSSES = {
    "modified": gan_library.modified_generator_loss,
    "minimax": gan_library.minimax_generator_loss,
    "hinge": gan_library.hinge_generator_loss,
    "least_squares": gan_library.least_squares_generator_loss,
}
_DISCRIMINATOR_LOSSES = {
    "modified": (gan_library.modified_discriminator_loss, {"label_smoothing": 0.0}),
    "minimax": (gan_library.minimax_discriminator_loss, {"label_smoothing": 0.0}),
    "hinge": (gan_library.hinge_discriminator_loss, {}),
    "least_squares": (gan_library.least_squares_discriminator_loss, {}),
}
# TF-GAN does not have it: both sides look at the difference of the logits of a real and of a made picture.
_RELATIVISTIC = "relativistic"
KINDS = (*_GENERATOR_LOSSES, _RELATIVISTIC)


def scene_mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean over scenes of each scene's mean over valid entries.

    Args:
      values: `[B, ...]` float, finite also where masked.
      mask: bool or float weights, of the shape of `values`.

    Returns:
      Scalar float32. A scene without valid entries counts as 0.
    """
    values = tf.cast(values, tf.float32)
    return tf.reduce_sum(values * _scene_weights(values, mask))


def adversarial_generator_loss(
    kind: str,
    fake_logits: tf.Tensor,
    mask: Union[tf.Tensor, float] = 1.0,
    real_logits: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """What a generator minimizes.

    Args:
      kind: "modified", -log sigmoid(f); "minimax", log(1 - sigmoid(f)) plus TF-GAN's constant log sigmoid(1); "hinge",
        -f; "least_squares", (f - 1)^2 / 2; "relativistic" (Huang et al. 2024, R3GAN), -log sigmoid(f - r); f and r the
        logits.
      fake_logits: `[B, ...]` float, of generated images or objects.
      mask: broadcastable to the logits; 0 where they do not count.
      real_logits: of the same shape, for the relativistic kind: of what each generated one stands for.

    Returns:
      Scalar float32, averaged as `scene_mean` does.

    Raises:
      ValueError: `kind` is not known, or lacks the real logits.
    """
    _check_kind(kind)
    logits = tf.cast(fake_logits, tf.float32)
    weights = _scene_weights(logits, mask)
    if kind == _RELATIVISTIC:
        if real_logits is None:
            raise ValueError("The relativistic loss compares with real logits; give them.")
        return tf.reduce_sum(weights * tf.nn.softplus(tf.cast(real_logits, tf.float32) - logits))
    return _GENERATOR_LOSSES[kind](logits, weights=weights, loss_collection=None, reduction=_SUM)


def adversarial_discriminator_loss(
    kind: str, real_logits: tf.Tensor, fake_logits: tf.Tensor, mask: Union[tf.Tensor, float] = 1.0
) -> tf.Tensor:
    """What a discriminator minimizes: the sum of its losses on real and on generated input.

    Args:
      kind: "modified" or "minimax", -log sigmoid(r) - log(1 - sigmoid(f)); "hinge", max(0, 1 - r) + max(0, 1 + f);
        "least_squares", ((r - 1)^2 + f^2) / 2; "relativistic", -log sigmoid(r - f); r and f the logits.
      real_logits: `[B, ...]` float.
      fake_logits: of the same shape.
      mask: broadcastable to the logits; 0 where they do not count.

    Returns:
      Scalar float32, averaged as `scene_mean` does.

    Raises:
      ValueError: `kind` is not known.
    """
    _check_kind(kind)
    real, fake = tf.cast(real_logits, tf.float32), tf.cast(fake_logits, tf.float32)
    if kind == _RELATIVISTIC:
        return tf.reduce_sum(_scene_weights(real, mask) * tf.nn.softplus(fake - real))
    loss, options = _DISCRIMINATOR_LOSSES[kind]
    return loss(
        real,
        fake,
        real_weights=_scene_weights(real, mask),
        generated_weights=_scene_weights(fake, mask),
        loss_collection=None,
        reduction=_SUM,
        **options,
    )


def cooccurrence_triplet_loss(
    embeddings: tf.Tensor, image_ids: tf.Tensor, object_mask: tf.Tensor, margin: float
) -> tf.Tensor:
    """F_occur's triplet loss with semi-hard negatives: patches of one image are positives (paper section 3.3).

    It is tensorflow-addons' loss over all objects of the batch, mean over anchor-positive pairs. A padded object has a
    label of its own, so it has no positives, and distance 0 to everything, so it is never a semi-hard negative (not
    farther than a positive) nor the farthest one.

    Args:
      embeddings: `[B, N, D]` float, of unit length.
      image_ids: `[B]` int, not negative.
      object_mask: `[B, N]` bool.
      margin: by how much a negative is to be farther than a positive.

    Returns:
      Scalar float32; 0 where no image has two valid objects.
    """
    num_objects, depth = embeddings.shape[1:]
    flat = tf.reshape(tf.cast(embeddings, tf.float32), [-1, depth])
    valid = tf.reshape(object_mask, [-1])
    labels = tf.repeat(tf.cast(image_ids, tf.int32), num_objects)
    labels = tf.where(valid, labels, -1 - tf.range(tf.size(labels)))
    # Validity travels as one more column, so that the metric needs no closure and the library no new trace.
    flat = tf.concat([flat, tf.cast(valid, tf.float32)[:, tf.newaxis]], axis=-1)
    same = tf.reduce_sum(tf.cast(labels[:, tf.newaxis] == labels, tf.int32))
    return tf.cond(
        same > tf.size(labels),
        lambda: triplet.triplet_semihard_loss(labels, flat, margin=margin, distance_metric=_valid_distances),
        lambda: 0.0 * tf.reduce_sum(flat),
    )


def selection_ground_truth_loss(logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """L_sel_gt: cross-entropy of the ground-truth patch within its group.

    Args:
      logits: `[B, N, 1 + k]` float32, the ground-truth patch first (`RetrievalLayer.ground_truth_logits`).
      weights: `[B, N]` float, 1 for the objects that count.

    Returns:
      Scalar float32, mean over scenes of the mean over counted objects.
    """
    return scene_mean(-tf.nn.log_softmax(tf.cast(logits, tf.float32))[..., 0], weights)


def selection_cooccurrence_loss(
    selection: tf.Tensor, candidate_embeddings: tf.Tensor, object_mask: tf.Tensor
) -> tf.Tensor:
    """L_sel_occur, eq. (5): squared distance between the F_occur embeddings of retrieved patches, mean over pairs.

    Args:
      selection: `[B, N, k]` float32, by which the candidates' embeddings are mixed.
      candidate_embeddings: `[B, N, k, D]` float, under the frozen F_occur.
      object_mask: `[B, N]` bool.

    Returns:
      Scalar float32, mean over scenes of the mean over pairs of valid objects; a scene with one object counts as 0.
    """
    mixed = tf.reduce_sum(selection[..., tf.newaxis] * tf.cast(candidate_embeddings, tf.float32), axis=2)
    squared = tf.reduce_sum(tf.math.squared_difference(mixed[:, :, tf.newaxis], mixed[:, tf.newaxis]), axis=-1)
    valid = tf.cast(object_mask, tf.float32)
    pairs = valid[:, :, tf.newaxis] * valid[:, tf.newaxis] * (1.0 - tf.eye(object_mask.shape[1]))
    return scene_mean(squared, pairs)


def reconstruction_loss(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """L_recon_img: mean absolute difference of images `[B, H, W, 3]`; scalar float32."""
    return tf.reduce_mean(tf.abs(tf.cast(images, tf.float32) - tf.cast(targets, tf.float32)))


def perceptual_loss(features: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """L_p_img: mean absolute difference of feature maps, mean over layers and pictures; scalar float32.

    Args and errors are those of `perceptual_distances`.
    """
    return tf.reduce_mean(perceptual_distances(features, targets))


def perceptual_distances(features: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Mean absolute difference of feature maps for each picture; L_p_obj is its `scene_mean` over objects.

    Args:
      features: one map a layer, `[M, h, w, C]`, in whatever float type.
      targets: the same of the targets; no gradient is stopped.

    Returns:
      `[M]` float32, mean over layers.

    Raises:
      ValueError: the two lists differ in length, or are empty.
    """
    if not features or len(features) != len(targets):
        counts = f"{len(features)} and {len(targets)}"
        raise ValueError(f"Perceptual losses got {counts} feature maps; give equally many of both, at least one.")
    terms = []
    for feature, target in zip(features, targets):
        difference = tf.abs(tf.cast(feature, tf.float32) - tf.cast(target, tf.float32))
        terms.append(tf.reduce_mean(difference, axis=list(range(1, difference.shape.rank))))
    return tf.add_n(terms) / len(terms)


def auxiliary_classifier_loss(class_logits: tf.Tensor, objects: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """L_ac_obj: cross-entropy of each object's category.

    Args:
      class_logits: `[B, N, C]` float.
      objects: `[B, N]` int, category ids.
      mask: `[B, N]` bool.

    Returns:
      Scalar float32, averaged as `scene_mean` does.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(objects, tf.cast(class_logits, tf.float32))
    return scene_mean(losses, mask)


def box_loss(predicted: tf.Tensor, target: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """L_bbx: mean absolute difference of boxes `[B, N, 4]` in [0, 1], over objects by `scene_mean`; scalar float32."""
    difference = tf.abs(tf.cast(predicted, tf.float32) - tf.cast(target, tf.float32))
    return scene_mean(tf.reduce_mean(difference, axis=-1), mask)


def _scene_weights(values, mask):
    """Weights that turn a sum over `values` into `scene_mean`."""
    mask = tf.broadcast_to(tf.cast(mask, tf.float32), tf.shape(values))
    flat = tf.reshape(mask, [tf.shape(values)[0], -1])
    count = tf.reduce_sum(flat, axis=-1, keepdims=True)
    weights = tf.math.divide_no_nan(flat, count) / tf.cast(tf.shape(values)[0], tf.float32)
    return tf.reshape(weights, tf.shape(values))


def _valid_distances(embeddings):
    """Pairwise distances of all but the last column; zero wherever the last one, validity, is zero on either side."""
    valid = embeddings[:, -1]
    distances = metric_learning.pairwise_distance(embeddings[:, :-1], squared=False)
    return distances * valid[:, tf.newaxis] * valid


def _check_kind(kind):
    if kind not in KINDS:
        raise ValueError(f"adversarial loss is {kind!r}; it must be one of {', '.join(KINDS)}.")
