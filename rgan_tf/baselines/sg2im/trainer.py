"""sg2im's adversarial training (Johnson et al. 2018, sections 3.4 and 3.5)."""

from typing import NamedTuple

import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.baselines.sg2im.model import Sg2im
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.ops.box_sampling import box_iou
from rgan_tf.training.loop import OptimizedModel, StageTrainer, Terms

_TERMS = ("bbx", "pixel", "adv_img", "adv_obj", "ac_obj")


class Models(NamedTuple):
    """What is trained."""

    sg2im: Sg2im
    image_discriminator: ImageDiscriminator
    object_discriminator: ObjectDiscriminator

    @classmethod
    def create(cls, config: config_lib.ExperimentConfig, num_objects: int, num_predicates: int) -> "Models":
        """Makes the models."""
        return cls(
            Sg2im(config, num_objects, num_predicates),
            ImageDiscriminator(config.discriminators),
            ObjectDiscriminator(config.discriminators, num_objects),
        )

    def build(self, batch: dict[str, tf.Tensor]) -> None:
        """Creates all variables by one pass over a batch; call it in the strategy's scope."""
        drawn = self.sg2im(batch, batch["boxes"], batch["object_mask"])
        self.image_discriminator(drawn.image)
        self.object_discriminator(drawn.image, batch["boxes"])


class Sg2imTrainer(StageTrainer):
    """One simultaneous update of the network, D_img and D_obj a step; layouts are of ground-truth boxes."""

    headline = ("loss/total", "loss/pixel", "boxes/iou")

    def __init__(self, models: Models, config: config_lib.ExperimentConfig):
        """Takes built models; call it in the strategy's scope."""
        self.models, self._settings = models, config.baseline
        critics = config.discriminators
        optimized = {
            "generator": OptimizedModel.create((models.sg2im,), config.training.optimizer),
            "image_discriminator": OptimizedModel.create((models.image_discriminator,), critics.image_optimizer),
            "object_discriminator": OptimizedModel.create((models.object_discriminator,), critics.object_optimizer),
        }
        super().__init__(optimized, config.runtime, config.training.batch_size)

    def gradients(self, batch, step):
        """See `StageTrainer`."""
        batch = to_device(batch)
        kind, mask = self._settings.adversarial, batch["object_mask"]
        with tf.GradientTape(persistent=True) as tape:
            drawn = self.models.sg2im(batch, batch["boxes"], mask)
            made = self._judge(batch, drawn.image)
            real = self._judge(batch, batch["image"])
            raw: Terms = {
                "bbx": losses.box_loss(drawn.encoding.boxes, batch["boxes"], mask),
                "pixel": losses.reconstruction_loss(drawn.image, batch["image"]),
                "adv_img": losses.adversarial_generator_loss(kind, made[0]),
                "adv_obj": losses.adversarial_generator_loss(kind, made[1], mask),
                "ac_obj": losses.auxiliary_classifier_loss(made[2], batch["objects"], mask),
            }
            total = tf.add_n([getattr(self._settings, name) * raw[name] for name in _TERMS])
            image_loss = losses.adversarial_discriminator_loss(kind, real[0], made[0])
            object_loss = losses.adversarial_discriminator_loss(kind, real[1], made[1], mask)
            # Categories are learned from real objects alone.
            real_classes = losses.auxiliary_classifier_loss(real[2], batch["objects"], mask)
            object_total = object_loss + real_classes
        sides = {"generator": total, "image_discriminator": image_loss, "object_discriminator": object_total}
        gradients = {
            name: tape.gradient(loss, self.optimized[name].variables, unconnected_gradients="zero")
            for name, loss in sides.items()
        }
        terms = {f"loss/{name}": value for name, value in raw.items()}
        terms.update({"loss/total": total, "loss/d_img": image_loss, "loss/d_obj": object_loss})
        terms["loss/d_ac_obj"] = real_classes
        terms["boxes/iou"] = losses.scene_mean(box_iou(drawn.encoding.boxes, batch["boxes"]), mask)
        return terms, gradients

    def _judge(self, batch, image):
        """D_img's logits, D_obj's, and its class logits."""
        return (
            self.models.image_discriminator(image),
            *self.models.object_discriminator(image, batch["boxes"]),
        )
