"""layout2im's training (Zhao et al. 2019, section 3.6): of a picture by estimated codes, and of one by random codes."""

import tensorflow as tf

from rgan_tf import losses
from rgan_tf.baselines.adversarial import AdversarialTrainer, Losses
from rgan_tf.baselines.layout2im.model import Posterior
from rgan_tf.training.critics import Made


class Layout2ImTrainer(AdversarialTrainer):
    """The terms of `Layout2Im`; layouts are of ground-truth boxes."""

    headline = ("loss/total", "loss/recon_img", "loss/recon_latent")

    def losses(self, batch) -> Losses:
        """See `AdversarialTrainer`."""
        model, mask, seeds = self.model, batch["object_mask"], batch["scene_seed"]
        posterior = model.estimate(batch["image"], batch, training=True)
        random = model.prior(seeds, mask.shape[1])
        reconstructed, generated = self._draw_both(batch, model.sample(posterior, seeds), random)
        found_again = model.estimate(generated, batch, training=True).mean
        terms = {
            "kl": losses.scene_mean(divergence(posterior), mask),
            "recon_img": losses.reconstruction_loss(reconstructed, batch["image"]),
            "recon_latent": losses.scene_mean(tf.reduce_mean(tf.abs(found_again - random), axis=-1), mask),
        }
        return Losses(terms, [Made(reconstructed), Made(generated)], {})

    def _draw_both(self, batch, estimated, random):
        """Both pictures share weights, so one pass over a batch of twice the size serves them."""
        twice = {name: tf.concat([batch[name]] * 2, axis=0) for name in ("objects", "object_mask", "boxes")}
        latents = tf.concat([estimated, random], axis=0)
        return tf.split(self.model(twice, latents, training=True), 2, axis=0)


def divergence(posterior: Posterior) -> tf.Tensor:
    """KL(Q(z | object) || N(0, 1)) [B, N] in nats."""
    mean, log_variance = posterior
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, axis=-1)
