"""The adversarial training of the full model with the nine terms of equation (7)."""

from typing import NamedTuple, Optional

import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.models.feature_network import FeatureFunction, make_feature_network
from rgan_tf.models.projected_discriminator import make_image_discriminator
from rgan_tf.models.retrievegan import RetrieveGAN, TrainingPass
from rgan_tf.ops.box_sampling import box_iou, crop
from rgan_tf.ops.relaxed_subset import RetrievalResult
from rgan_tf.ops.valid_rows import map_valid
from rgan_tf.training.critics import Critics, Made, adversarial_gradients
from rgan_tf.training.retrievegan.refresh import CandidateRefresh
from rgan_tf.training.stage_trainer import OptimizedModel, StageTrainer, Terms


class Models(NamedTuple):
    """What is trained, and the frozen network that judges perceptual distance."""

    retrievegan: RetrieveGAN
    image_discriminator: tf.keras.Model
    object_discriminator: ObjectDiscriminator
    feature_network: FeatureFunction

    @classmethod
    def create(cls, config: config_lib.ExperimentConfig, num_objects: int, num_predicates: int) -> "Models":
        """Makes the models; `RetrieveGANTrainer` builds them on their first batch."""
        return cls(
            RetrieveGAN(config, num_objects, num_predicates),
            make_image_discriminator(config),
            ObjectDiscriminator(config.discriminators, num_objects),
            make_feature_network(config.losses.feature_network, config.runtime.xla),
        )


class RetrieveGANTrainer(StageTrainer):
    """One simultaneous update of generator side, D_img and D_obj a step, each by its own optimizer."""

    headline = ("loss/total", "loss/recon_img", "boxes/iou")

    def __init__(
        self, models: Models, config: config_lib.ExperimentConfig, candidate_refresh: Optional[CandidateRefresh] = None
    ):
        """Takes models built by `build_models`, and what finds candidates anew where the configuration asks for it;
        call it in the strategy's scope."""
        self.models, self.model = models, models.retrievegan
        self._losses = config.losses
        self.crop_size = config.discriminators.object_crop_size
        self._skip_padding = config.runtime.skips_padding
        self._critics = Critics(
            models.image_discriminator,
            models.object_discriminator,
            config.discriminators,
            config.losses.adversarial,
            self._skip_padding,
        )
        generator = OptimizedModel.create((models.retrievegan,), config.training.optimizer)
        optimized = {"generator": generator, **self._critics.optimized()}
        super().__init__(optimized, config.runtime, config.training.batch_size)
        self._candidate_refresh = candidate_refresh
        if candidate_refresh is not None:
            self.refresh_interval = config.retrieval.refresh_interval

    def refresh(self):
        """See `StageTrainer`."""
        self._candidate_refresh.refresh(self.model.retrieval, int(self.step.numpy()))

    def reader(self, reader):
        """See `StageTrainer`."""
        return reader if self._candidate_refresh is None else self._candidate_refresh.reader(reader)

    def checkpoint_items(self):
        """See `StageTrainer`."""
        more = {} if self._candidate_refresh is None else {"candidate_refresh": self._candidate_refresh}
        return {**super().checkpoint_items(), **more}

    def gradients(self, batch, step):
        """See `StageTrainer`."""
        batch = to_device(batch)
        # Persistent: the critics' passes over the generated picture serve both sides.
        with tf.GradientTape(persistent=True) as tape:
            result = self.models.retrievegan(batch, step)
            real = self._critics.judge_real(batch)
            made = self._critics.judge_made(batch, Made(result.generated, result.selected))
            raw = {**self._generator_terms(batch, result), **self._critics.generator_terms(batch, real, made)}
            weighted = {name: getattr(self._losses, name) * raw[name] for name in config_lib.LOSS_TERMS}
            total = tf.add_n(list(weighted.values()))
            own = self._critics.own_terms(batch, real, made)
        gradients = adversarial_gradients(tape, self.optimized, total, own)
        terms = {f"loss/{name}": value for name, value in {**raw, "total": total, **own}.items()}
        terms.update({f"weighted/{name}": value for name, value in weighted.items()})
        terms.update(_monitors(batch, result, self.models.retrievegan.retrieval.temperature(step)))
        return terms, gradients

    def _generator_terms(self, batch, result: TrainingPass) -> Terms:
        """The six terms that need no critic."""
        mask, features = batch["object_mask"], self.models.feature_network
        real_crops = crop(batch["image"], batch["boxes"], (self.crop_size,) * 2)
        made_crops = crop(result.reconstructed, batch["boxes"], (self.crop_size,) * 2)

        def distances(made, real):
            return losses.perceptual_distances(features(made), features(real))

        object_distances = map_valid(distances, mask, made_crops, real_crops, skip_padding=self._skip_padding)
        terms = {
            "sel_gt": losses.selection_ground_truth_loss(result.ground_truth_logits, result.ground_truth_weights),
            "sel_occur": losses.selection_cooccurrence_loss(
                result.retrieval.selection, batch["candidate_cooccurrence"], mask
            ),
            "recon_img": losses.reconstruction_loss(result.reconstructed, batch["image"]),
            "p_img": losses.perceptual_loss(features(result.reconstructed), features(batch["image"])),
            "p_obj": losses.scene_mean(object_distances, mask),
            "bbx": losses.box_loss(result.encoding.boxes, batch["boxes"], mask),
        }
        return terms


def build_models(models: Models, batch: dict[str, tf.Tensor]) -> None:
    """Creates all variables by one pass over a batch; call it in the strategy's scope."""
    batch = to_device(batch)
    result = models.retrievegan(batch, tf.constant(0, tf.int64))
    models.image_discriminator(result.generated)
    models.object_discriminator(result.generated, batch["boxes"], patches=result.selected)


def _monitors(batch, result: TrainingPass, temperature: tf.Tensor) -> Terms:
    """What is watched but not optimized."""
    entropy, agreement = _selection_sharpness(result.retrieval)
    valid = tf.reduce_any(batch["candidate_mask"], axis=-1)
    return {
        "boxes/iou": losses.scene_mean(box_iou(result.encoding.boxes, batch["boxes"]), batch["object_mask"]),
        "selection/entropy": losses.scene_mean(entropy, valid),
        "selection/hard_agreement": losses.scene_mean(agreement, valid),
        "selection/temperature": temperature,
    }


def _selection_sharpness(retrieval: RetrievalResult) -> tuple[tf.Tensor, tf.Tensor]:
    """Each object's entropy (nats) over its candidates in the relaxed selection, and its share on the hard choice."""
    mass = tf.reduce_sum(retrieval.soft_selection, axis=-1, keepdims=True)
    shares = tf.math.divide_no_nan(retrieval.soft_selection, mass)
    entropy = -tf.reduce_sum(shares * tf.math.log(tf.maximum(shares, 1e-12)), axis=-1)
    chosen = tf.one_hot(retrieval.hard_index, shares.shape[-1])
    return entropy, tf.reduce_sum(shares * chosen, axis=-1)
