"""What the baselines' trainings share: a model against D_img and D_obj, one update of all three a step."""

import abc
from typing import NamedTuple

import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf import config as config_lib
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.models.projected_discriminator import make_image_discriminator
from rgan_tf.training.critics import Critics, Made, adversarial_gradients
from rgan_tf.training.stage_trainer import OptimizedModel, StageTrainer, Terms


class Losses(NamedTuple):
    """Of a batch.

    terms: of the generator beside the critics', raw, by the names of their weights in `baseline`. made: what it drew,
    of which the critics' losses are averaged. monitors: what is watched but not optimized.
    """

    terms: Terms
    made: list[Made]
    monitors: Terms


class AdversarialTrainer(StageTrainer):
    """Trains a model against D_img and D_obj, which RetrieveGAN's are as well."""

    def __init__(self, model: tf.keras.Model, config: config_lib.ExperimentConfig, num_objects: int):
        """Takes the model, built, and makes the critics; call it in the strategy's scope, then `build`."""
        self.model, self.settings = model, config.baseline
        self._config = config
        self._critics = Critics(
            make_image_discriminator(config),
            ObjectDiscriminator(config.discriminators, num_objects),
            config.discriminators,
            self.settings.adversarial,
        )

    def build(self, batch: dict[str, tf.Tensor]) -> None:
        """Creates the critics' variables by one pass over a batch, and the optimizers."""
        self._critics.build(to_device(batch))
        generator = OptimizedModel.create((self.model,), self._config.training.optimizer)
        optimized = {"generator": generator, **self._critics.optimized()}
        super().__init__(optimized, self._config.runtime, self._config.training.batch_size)

    @abc.abstractmethod
    def losses(self, batch: dict[str, tf.Tensor]) -> Losses:
        """The generator's side of a batch, as `to_device` gives it."""

    def gradients(self, batch, step):
        """See `StageTrainer`."""
        batch = to_device(batch)
        with tf.GradientTape(persistent=True) as tape:
            found = self.losses(batch)
            real, made = self._critics.judge_real(batch), self._critics.judge_made(batch, *found.made)
            raw = {**found.terms, **self._critics.generator_terms(batch, real, made)}
            total = tf.add_n([getattr(self.settings, name) * value for name, value in raw.items()])
            own = self._critics.own_terms(batch, real, made)
        terms = {f"loss/{name}": value for name, value in {**raw, "total": total, **own}.items()}
        return {**terms, **found.monitors}, adversarial_gradients(tape, self.optimized, total, own)
