"""The two critics in a training step: what they say of pictures, and what either side minimizes by it."""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.ops import scene_random
from rgan_tf.ops.augmentation import DRAWS, augment
from rgan_tf.training.stage_trainer import OptimizedModel, Terms

Batch = dict[str, tf.Tensor]
# Folded into the scene's seed with what is looked at; the models' own purposes are below it.
_AUGMENTATION = 16
# Which pictures of a step are judged: the real ones, then those that were made.
_REAL = 0


class Made(NamedTuple):
    """Pictures [B, H, W, 3] that were made on a batch's boxes, and the patches [B, N, h, w, C] that they were made of;
    None of a model without."""

    pictures: tf.Tensor
    patches: Optional[tf.Tensor] = None


class Verdict(NamedTuple):
    """Of a batch of pictures.

    image: D_img's logits [B, h, w, 1]; objects, classes: D_obj's [B, N] and its class logits [B, N, C].
    image_slope, object_slope: scalars, the mean square norm of the gradient of either critic's score by what it looked
    at; 0 where nobody asked.
    """

    image: tf.Tensor
    objects: tf.Tensor
    classes: tf.Tensor
    image_slope: tf.Tensor
    object_slope: tf.Tensor


class Critics:
    """D_img and D_obj, against which every model of the table is trained; categories are learned of real objects alone.

    Both look at pictures that were changed at random where `discriminators.augmentation` says so (Zhao et al. 2020),
    real and made ones alike, so that few pictures are not learned by heart; gradients reach the generator through the
    change. `discriminators.r1` and `r2` weigh the gradient penalties on real and on made pictures (Mescheder et al.
    2018).
    """

    def __init__(
        self,
        image: tf.keras.Model,
        objects: ObjectDiscriminator,
        settings: config_lib.DiscriminatorsConfig,
        kind: str,
        skip_padding: bool = False,
    ):
        """Takes the critics, their configuration, the kind of loss, and whether D_obj leaves padding out."""
        self.image, self.objects = image, objects
        self._settings, self._kind, self._skip_padding = settings, kind, skip_padding

    def optimized(self) -> dict[str, OptimizedModel]:
        """The critics, once they are built, with their optimizers."""
        return {
            "image_discriminator": OptimizedModel.create((self.image,), self._settings.image_optimizer),
            "object_discriminator": OptimizedModel.create((self.objects,), self._settings.object_optimizer),
        }

    def judge_real(self, batch: Batch) -> Verdict:
        """What they say of the batch's own pictures."""
        return self._judge(batch, _own(batch), _REAL, self._settings.r1 > 0)

    def judge_made(self, batch: Batch, *made: Made) -> list[Verdict]:
        """What they say of each."""
        sloped = self._settings.r2 > 0
        return [self._judge(batch, each, place, sloped) for place, each in enumerate(made, start=_REAL + 1)]

    def build(self, batch: Batch) -> None:
        """Creates the critics' variables by a pass over the batch's own pictures."""
        own = _own(batch)
        self.image(own.pictures), self.objects(own.pictures, batch["boxes"], patches=own.patches)

    def _judge(self, batch: Batch, made: Made, which: int, sloped: bool) -> Verdict:
        image = self._changed(batch, made.pictures[:, None], (which, 0))[:, 0]
        crops = self._changed(batch, self.objects.crops(made.pictures, batch["boxes"], made.patches), (which, 1))
        mask = batch["object_mask"]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            if sloped:
                tape.watch([image, crops])
            logits = self.image(image)
            objects, classes = self.objects.look(crops, mask if self._skip_padding else None)
            # Each crop has its own logit, each picture the mean of its own.
            score = tf.reduce_sum(tf.reduce_mean(logits, axis=[1, 2, 3])) + tf.reduce_sum(objects)
        if not sloped:
            return Verdict(logits, objects, classes, tf.constant(0.0), tf.constant(0.0))
        of_image, of_crops = tape.gradient(score, [image, crops])
        image_slope = tf.reduce_mean(tf.reduce_sum(tf.square(of_image), axis=[1, 2, 3]))
        object_slope = losses.scene_mean(tf.reduce_sum(tf.square(of_crops), axis=[2, 3, 4]), mask)
        return Verdict(logits, objects, classes, image_slope, object_slope)

    def _changed(self, batch: Batch, pictures: tf.Tensor, purpose: tuple[int, int]) -> tf.Tensor:
        """Pictures [B, M, h, w, C], each changed by draws of its scene's seed and its place."""
        kinds, count = self._settings.augmentation, pictures.shape[1]
        if not kinds:
            return pictures
        draws = scene_random.scene_uniform(batch["scene_seed"], (1, count, DRAWS), [_AUGMENTATION, *purpose])[:, 0]
        flat = augment(tf.reshape(pictures, [-1, *pictures.shape[2:]]), tf.reshape(draws, [-1, DRAWS]), kinds)
        return tf.reshape(flat, [-1, count, *pictures.shape[2:]])

    def generator_terms(self, batch: Batch, real: Verdict, made: Sequence[Verdict]) -> Terms:
        """adv_img, adv_obj and ac_obj, averaged over the kinds of pictures that were made."""
        kind, mask = self._kind, batch["object_mask"]
        return {
            "adv_img": _mean(
                [losses.adversarial_generator_loss(kind, each.image, real_logits=real.image) for each in made]
            ),
            "adv_obj": _mean(
                [losses.adversarial_generator_loss(kind, each.objects, mask, real.objects) for each in made]
            ),
            "ac_obj": _mean([losses.auxiliary_classifier_loss(each.classes, batch["objects"], mask) for each in made]),
        }

    def own_terms(self, batch: Batch, real: Verdict, made: Sequence[Verdict]) -> Terms:
        """d_img, d_obj and d_ac_obj, which the critics minimize, penalties included; and the slopes of those."""
        kind, mask = self._kind, batch["object_mask"]
        terms = {
            "d_img": _mean([losses.adversarial_discriminator_loss(kind, real.image, each.image) for each in made]),
            "d_obj": _mean(
                [losses.adversarial_discriminator_loss(kind, real.objects, each.objects, mask) for each in made]
            ),
            "d_ac_obj": losses.auxiliary_classifier_loss(real.classes, batch["objects"], mask),
        }
        for name, weight, verdicts in (("r1", self._settings.r1, [real]), ("r2", self._settings.r2, made)):
            if weight > 0:
                terms[f"{name}_img"] = _mean([each.image_slope for each in verdicts])
                terms[f"{name}_obj"] = _mean([each.object_slope for each in verdicts])
                terms["d_img"] += weight / 2 * terms[f"{name}_img"]
                terms["d_obj"] += weight / 2 * terms[f"{name}_obj"]
        return terms


def adversarial_gradients(
    tape: tf.GradientTape, optimized: dict[str, OptimizedModel], total: tf.Tensor, critics: Terms
) -> dict[str, list[tf.Tensor]]:
    """Gradients of the generator's total and of what the critics minimize (`Critics.own_terms`), each by its side's
    variables; the tape is persistent."""
    sides = {
        "generator": [total],
        "image_discriminator": [critics["d_img"]],
        "object_discriminator": [critics["d_obj"], critics["d_ac_obj"]],
    }
    return {
        name: tape.gradient(loss, optimized[name].variables, unconnected_gradients="zero")
        for name, loss in sides.items()
    }


def _own(batch: Batch) -> Made:
    """The batch's pictures as if they were made, of the objects' own patches where it has some."""
    return Made(batch["image"], batch.get("ground_truth_patches"))


def _mean(values: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(values) / len(values)
