"""sg2im's adversarial training (Johnson et al. 2018, section 3)."""

from rgan_tf import losses
from rgan_tf.baselines.adversarial import AdversarialTrainer, Losses
from rgan_tf.ops.box_sampling import box_iou
from rgan_tf.training.critics import Made


class Sg2imTrainer(AdversarialTrainer):
    """The terms of `Sg2im`; layouts are of ground-truth boxes."""

    headline = ("loss/total", "loss/pixel", "boxes/iou")

    def losses(self, batch) -> Losses:
        """See `AdversarialTrainer`."""
        mask = batch["object_mask"]
        drawn = self.model(batch, batch["boxes"], mask, training=True)
        boxes = drawn.encoding.boxes
        terms = {
            "bbx": losses.box_loss(boxes, batch["boxes"], mask),
            "pixel": losses.reconstruction_loss(drawn.image, batch["image"]),
        }
        monitors = {"boxes/iou": losses.scene_mean(box_iou(boxes, batch["boxes"]), mask)}
        return Losses(terms, [Made(drawn.image)], monitors)
