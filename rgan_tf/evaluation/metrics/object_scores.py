"""Whether objects can be recognized where they were put: the accuracy of D_obj's auxiliary classifier.

The classifier is that of the training (paper section 3.4): it learned categories from real crops alone, and the
generator was trained to be recognized by it (L_ac_obj). So the score compares pictures judged by one classifier, for
which the accuracy on the split's real pictures is the reference; across trainings, which end with different
classifiers, it says little.
"""

import numpy as np
import tensorflow as tf

from rgan_tf.evaluation.metrics.averages import SceneAverage, Score, check_finite
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.ops import pixels


class ObjectAccuracy:
    """Top-1 accuracy of D_obj's auxiliary classifier on pictures' objects, over a split."""

    def __init__(self, discriminator: ObjectDiscriminator):
        """Takes a trained D_obj (`rgan_tf.training.artifacts.trained_object_discriminator`)."""
        self._average = SceneAverage("Object accuracy", "object")
        self._class_logits = tf.function(
            lambda images, boxes: discriminator(pixels.to_float(images), boxes)[1], reduce_retracing=True
        )

    def update(self, images, boxes, objects, object_mask) -> None:
        """Adds pictures, generated or real.

        Args:
          images: uint8 `[B, H, W, 3]`.
          boxes: `[B, N, 4]` float, where the pictures show their objects: of a generated picture those by which it was
            laid out, of a real one the ground truth.
          objects: `[B, N]` int, category ids.
          object_mask: `[B, N]` bool.

        Raises:
          ValueError: the pictures are not uint8.
          EvaluationError: D_obj's logits of a valid object are not finite.
        """
        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint8:
            raise ValueError(f"Object accuracy takes uint8 pictures, not {images.dtype.name}; convert them first.")
        logits = self._class_logits(images, tf.cast(boxes, tf.float32)).numpy()
        check_finite(logits, object_mask, "D_obj's class logits")
        self._average.update(np.argmax(logits, axis=-1) == np.asarray(objects), object_mask)

    def result(self) -> dict[str, Score]:
        """The score "accuracy".

        Raises:
          UndefinedScore: no scene had a valid object.
        """
        return {"accuracy": self._average.result()}
