"""How well boxes predicted from the scene graph fit the ground truth: mean IoU, and recall at IoU thresholds.

Recall is that of sg2im (Johnson, Gupta, Fei-Fei: Image Generation from Scene Graphs, CVPR 2018), "R@t": the share of
objects whose predicted box has at least the IoU t with their own ground-truth box. Nothing is matched: a scene graph's
object has one box of each kind. The node `__image__` is no object here; sg2im's training script counts it, with its
trivial box, in the mean IoU that it prints, which raises that number.
"""

import tensorflow as tf

from rgan_tf.evaluation.metrics.averages import SceneAverage, Score, check_finite
from rgan_tf.ops.box_sampling import box_iou

THRESHOLDS = (0.3, 0.5)


class LayoutScores:
    """IoU and recall of predicted boxes over a split."""

    def __init__(self):
        """Starts with no scene."""
        self._iou = SceneAverage("Box IoU", "object")
        self._recalls = {threshold: SceneAverage(f"Box recall at {threshold}", "object") for threshold in THRESHOLDS}

    def update(self, predicted, target, object_mask) -> None:
        """Adds scenes.

        Args:
          predicted: `[B, N, 4]` float, (x0, y0, x1, y1) in fractions of the image.
          target: `[B, N, 4]` float, the ground truth.
          object_mask: `[B, N]` bool.

        Raises:
          EvaluationError: the box of a valid object is not finite.
        """
        check_finite(predicted, object_mask, "Predicted box")
        check_finite(target, object_mask, "Ground-truth box")
        # Double precision, so that rounding does not decide at a threshold.
        iou = box_iou(tf.cast(predicted, tf.float64), tf.cast(target, tf.float64)).numpy()
        self._iou.update(iou, object_mask)
        for threshold, average in self._recalls.items():
            average.update(iou >= threshold, object_mask)

    def result(self) -> dict[str, Score]:
        """The scores "iou", "recall@0.3" and "recall@0.5"; the field reports the mean over objects, `Score.mean`.

        Raises:
          UndefinedScore: no scene had a valid object.
        """
        recalls = {f"recall@{threshold}": average.result() for threshold, average in self._recalls.items()}
        return {"iou": self._iou.result(), **recalls}
