"""Whether objects can be recognized where they were put: the accuracy of a classifier.

It may be the evaluation's own, which learned from real objects and is the same for all systems; or D_obj's auxiliary
classifier of the training (paper section 3.4): that learned categories from real crops alone, too, but the generator
was trained to be recognized by it (L_ac_obj). Under the latter pictures compare that are judged by one training's
classifier; across trainings it says little. Either way the accuracy on the split's real pictures is the reference.
"""

from typing import Callable

import numpy as np
import tensorflow as tf

from rgan_tf.evaluation.metrics.averages import SceneAverage, Score, check_finite
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.ops import pixels

# Pictures float32 [B, H, W, 3] in [-1, 1] and boxes [B, N, 4] to logits [B, N, C] by category id; D_obj's also take the
# patches float32 [B, N, h, w, 4] whose mattes it is used to see.
ClassLogits = Callable[..., tf.Tensor]


def discriminator_logits(discriminator: ObjectDiscriminator) -> ClassLogits:
    """Those of a trained D_obj (`rgan_tf.training.artifacts.trained_object_discriminator`)."""
    return tf.function(
        lambda images, boxes, patches=None: discriminator(images, boxes, patches=patches)[1], reduce_retracing=True
    )


class ObjectAccuracy:
    """Top-1 accuracy of a classifier on pictures' objects, over a split."""

    def __init__(self, class_logits: ClassLogits):
        """Takes the classifier."""
        self._average = SceneAverage("Object accuracy", "object")
        self._class_logits = class_logits

    def update(self, images, boxes, objects, object_mask, patches=None) -> None:
        """Adds pictures, generated or real.

        Args:
          images: uint8 `[B, H, W, 3]`.
          boxes: `[B, N, 4]` float, where the pictures show their objects: of a generated picture those by which it was
            laid out, of a real one the ground truth.
          objects: `[B, N]` int, category ids.
          object_mask: `[B, N]` bool.
          patches: uint8 `[B, N, h, w, 4]`, for a classifier that sees mattes.

        Raises:
          ValueError: the pictures are not uint8.
          EvaluationError: the logits of a valid object are not finite.
        """
        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint8:
            raise ValueError(f"Object accuracy takes uint8 pictures, not {images.dtype.name}; convert them first.")
        more = [] if patches is None else [pixels.to_float(patches)]
        logits = self._class_logits(pixels.to_float(images), tf.cast(boxes, tf.float32), *more).numpy()
        check_finite(logits, object_mask, "The classifier's logits")
        self._average.update(np.argmax(logits, axis=-1) == np.asarray(objects), object_mask)

    def result(self) -> dict[str, Score]:
        """The score "accuracy".

        Raises:
          UndefinedScore: no scene had a valid object.
        """
        return {"accuracy": self._average.result()}
