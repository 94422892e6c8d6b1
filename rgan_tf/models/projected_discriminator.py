"""D_img on the maps of a frozen network instead of on pixels (Sauer et al., NeurIPS 2021, "Projected GANs")."""

import numpy as np
import tensorflow as tf

from rgan_tf.config import ConfigError, DiscriminatorsConfig, ExperimentConfig
from rgan_tf.models.discriminators import ImageDiscriminator, make_trunk
from rgan_tf.models.feature_network import FeatureFunction, make_feature_network
from rgan_tf.models.layers import SpectralConv2D

# Side at which every scale has its logits.
_SIDE = 4


class ProjectedDiscriminator(tf.keras.Model):
    """Judges the maps of a network at several scales, each by a few layers of its own.

    Maps are mixed before, first over channels and then from coarse to fine over scales, by convolutions that stay what
    they were drawn as, so that no scale can be overlooked for another. Only what judges is trained; gradients reach the
    picture through the network.
    """

    def __init__(self, config: DiscriminatorsConfig, features: FeatureFunction, name: str = "image_discriminator"):
        """Takes the configuration, of which `image_width` is the channels after mixing, and the network."""
        super().__init__(name=name)
        self._config = config
        # In a function, so that Keras does not save the network with the critic.
        self._features = lambda images: features(images)

    def build(self, input_shape):
        """Makes the layers for the network's maps of such pictures.

        Raises:
          ConfigError: its outputs are no maps, or maps whose sides do not double from one to the next.
        """
        # As large as they are on a picture of noise; VGG19's are a hundred times as large as pixels.
        noise = np.random.default_rng(0).uniform(-1, 1, (1, *input_shape[1:])).astype(np.float32)
        with tf.init_scope():
            maps = self._features(tf.constant(noise))
        maps = sorted(maps, key=lambda each: -each.shape[1] if each.shape.rank == 4 else 0)
        sides = [each.shape[1] if each.shape.rank == 4 else 0 for each in maps]
        if not all(
            side and side % sides[-1] == 0 and side // sides[-1] & (side // sides[-1] - 1) == 0 for side in sides
        ):
            raise ConfigError(
                f"losses.feature_network gives outputs of the sides {sides} for pictures of {input_shape[1]} pixels; a "
                "projected discriminator needs maps each of which is a power of two times as large as the smallest."
            )
        self._scale = [1.0 / max(float(tf.sqrt(tf.reduce_mean(tf.square(each)))), 1e-6) for each in maps]
        width = self._config.image_width
        fixed = {"use_bias": False, "trainable": False, "padding": "same", "kernel_initializer": "he_normal"}
        self.over_channels = [
            tf.keras.layers.Conv2D(width, 1, name=f"over_channels_{i}", **fixed) for i in range(len(maps))
        ]
        self.over_scales = [
            tf.keras.layers.Conv2D(width, 3, name=f"over_scales_{i}", **fixed) for i in range(len(maps))
        ]
        end = min(_SIDE, sides[-1])
        self.trunks = [make_trunk(width, (side // end).bit_length() - 1, self._config) for side in sides]
        convolution = SpectralConv2D if self._config.spectral else tf.keras.layers.Conv2D
        self.to_logits = [convolution(1, 3, padding="same", name=f"to_logits_{i}") for i in range(len(maps))]
        super().build(input_shape)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Scores images.

        Args:
          image: [B, H, W, 3] in [-1, 1].

        Returns:
          float32 logits [B, h, w, S], a channel for each scale, the finest first.
        """
        maps = sorted(self._features(image), key=lambda each: -each.shape[1])
        maps = [mix(each * scale) for mix, each, scale in zip(self.over_channels, maps, self._scale)]
        coarser, logits = None, []
        for each, mix, trunk, judge in reversed(list(zip(maps, self.over_scales, self.trunks, self.to_logits))):
            if coarser is not None:
                times = each.shape[1] // coarser.shape[1]
                each += tf.repeat(tf.repeat(coarser, times, axis=1), times, axis=2)
            coarser = mix(each)
            logits.insert(0, tf.cast(judge(trunk(coarser)), tf.float32))
        return tf.concat(logits, axis=-1)


def make_image_discriminator(config: ExperimentConfig) -> tf.keras.Model:
    """The D_img that a configuration asks for; a projected one with a perceptual network of its own."""
    if not config.discriminators.projected:
        return ImageDiscriminator(config.discriminators)
    features = make_feature_network(config.losses.feature_network, config.runtime.xla)
    return ProjectedDiscriminator(config.discriminators, features)
