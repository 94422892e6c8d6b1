"""What the baselines' trainings share: a model against D_img and D_obj, one update of all three a step."""

import abc
from typing import NamedTuple

import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.training.loop import OptimizedModel, StageTrainer, Terms


class Verdict(NamedTuple):
    """Of a batch of pictures: D_img's logits [B, h, w, 1], D_obj's [B, N], and its class logits [B, N, C]."""

    image: tf.Tensor
    objects: tf.Tensor
    classes: tf.Tensor


class Losses(NamedTuple):
    """Of a batch.

    terms: of the generator, raw, by the names of their weights in `baseline`. made: verdicts on the pictures that it
    drew, whose critics' losses are averaged. monitors: what is watched but not optimized.
    """

    terms: Terms
    made: list[Verdict]
    monitors: Terms


class AdversarialTrainer(StageTrainer):
    """Trains a model against D_img and D_obj, which RetrieveGAN's are as well; categories are learned from real objects
    alone."""

    def __init__(self, model: tf.keras.Model, config: config_lib.ExperimentConfig, num_objects: int):
        """Takes the model, not yet built, and makes the critics; call it in the strategy's scope, then `build`."""
        self.model, self.settings = model, config.baseline
        self._config = config
        self.image_discriminator = ImageDiscriminator(config.discriminators)
        self.object_discriminator = ObjectDiscriminator(config.discriminators, num_objects)

    def build(self, batch: dict[str, tf.Tensor]) -> None:
        """Creates all variables by one pass over a batch, and the optimizers."""
        self.losses(to_device(batch))
        critics = self._config.discriminators
        optimized = {
            "generator": OptimizedModel.create((self.model,), self._config.training.optimizer),
            "image_discriminator": OptimizedModel.create((self.image_discriminator,), critics.image_optimizer),
            "object_discriminator": OptimizedModel.create((self.object_discriminator,), critics.object_optimizer),
        }
        super().__init__(optimized, self._config.runtime, self._config.training.batch_size)

    @abc.abstractmethod
    def losses(self, batch: dict[str, tf.Tensor]) -> Losses:
        """The generator's side of a batch, as `to_device` gives it."""

    def judge(self, batch: dict[str, tf.Tensor], image: tf.Tensor) -> Verdict:
        """What the critics say of pictures [B, H, W, 3] with the batch's boxes."""
        return Verdict(self.image_discriminator(image), *self.object_discriminator(image, batch["boxes"]))

    def adversarial_terms(self, batch: dict[str, tf.Tensor], made: list[Verdict]) -> Terms:
        """adv_img, adv_obj and ac_obj of the pictures that were drawn, averaged over their kinds."""
        kind, mask = self.settings.adversarial, batch["object_mask"]
        return {
            "adv_img": _mean([losses.adversarial_generator_loss(kind, each.image) for each in made]),
            "adv_obj": _mean([losses.adversarial_generator_loss(kind, each.objects, mask) for each in made]),
            "ac_obj": _mean([losses.auxiliary_classifier_loss(each.classes, batch["objects"], mask) for each in made]),
        }

    def gradients(self, batch, step):
        """See `StageTrainer`."""
        batch = to_device(batch)
        kind, mask = self.settings.adversarial, batch["object_mask"]
        with tf.GradientTape(persistent=True) as tape:
            found = self.losses(batch)
            real = self.judge(batch, batch["image"])
            total = tf.add_n([getattr(self.settings, name) * value for name, value in found.terms.items()])
            image_loss = _mean(
                [losses.adversarial_discriminator_loss(kind, real.image, each.image) for each in found.made]
            )
            object_loss = _mean(
                [losses.adversarial_discriminator_loss(kind, real.objects, each.objects, mask) for each in found.made]
            )
            real_classes = losses.auxiliary_classifier_loss(real.classes, batch["objects"], mask)
            object_total = object_loss + real_classes
        sides = {"generator": total, "image_discriminator": image_loss, "object_discriminator": object_total}
        gradients = {
            name: tape.gradient(loss, self.optimized[name].variables, unconnected_gradients="zero")
            for name, loss in sides.items()
        }
        terms = {f"loss/{name}": value for name, value in found.terms.items()}
        terms.update({"loss/total": total, "loss/d_img": image_loss, "loss/d_obj": object_loss})
        return {**terms, "loss/d_ac_obj": real_classes, **found.monitors}, gradients


def _mean(values: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(values) / len(values)
