"""layout2im's network: a layout and a latent code for each object to a picture (Zhao et al. 2019, section 3)."""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf.baselines.batch_norm import (
    BatchNormBlock,
    ConditionalBatchNorm,
    ConditionalBlock,
    ResidualBlock,
    convolution,
    doubling,
)
from rgan_tf.config.bounds import ConfigError
from rgan_tf.models.layers import fold, unfold
from rgan_tf.ops import scene_random
from rgan_tf.ops.box_sampling import crop, paste

_KERNEL = 4
# Purposes of draws of latent codes.
_PRIOR, _POSTERIOR = range(2)


class Posterior(NamedTuple):
    """Q(z | object): mean and log_variance, float32 [B, N, Z]."""

    mean: tf.Tensor
    log_variance: tf.Tensor


class CropEstimator(tf.keras.layers.Layer):
    """Estimates an object's latent code from its crop and category."""

    def __init__(self, settings, num_objects: int, name: str = "crop_estimator"):
        """Takes the model's settings and the number of category ids."""
        super().__init__(name=name)
        width, halvings = settings.width, max(1, settings.crop_size.bit_length() - 2)
        self.stem = ConditionalBlock(convolution(width, 7), num_objects, name="stem")
        self.downsampling = [
            ConditionalBlock(convolution(width << min(i + 1, 4), _KERNEL, 2), num_objects, name=f"downsampling_{i}")
            for i in range(halvings)
        ]
        self.to_mean = tf.keras.layers.Dense(settings.latent_dim, dtype=tf.float32, name="to_mean")
        self.to_log_variance = tf.keras.layers.Dense(settings.latent_dim, dtype=tf.float32, name="to_log_variance")

    def call(
        self, crops: tf.Tensor, categories: tf.Tensor, object_mask: tf.Tensor, training: bool = False
    ) -> Posterior:
        """[B, N, h, w, 3], int [B, N], bool [B, N] -> Posterior."""
        maps, flat = fold(crops, 3), [tf.reshape(each, [-1]) for each in (categories, object_mask)]
        for block in (self.stem, *self.downsampling):
            maps = block(maps, *flat, training=training)
        features = tf.reduce_mean(maps, axis=[1, 2])
        inner = categories.shape[1:2]
        return Posterior(unfold(self.to_mean(features), inner), unfold(self.to_log_variance(features), inner))


class ObjectMaps(tf.keras.layers.Layer):
    """Composes each object's feature map: its category's embedding and latent code within its box, brought down."""

    def __init__(self, settings, side: int, num_objects: int, name: str = "object_maps"):
        """Takes the model's settings, the side of the picture, and the number of category ids."""
        super().__init__(name=name)
        self._side = side
        # As large as a code, which would drown a smaller one.
        self.embedding = tf.keras.layers.Embedding(
            num_objects, settings.embedding_dim, tf.keras.initializers.RandomNormal(stddev=1.0), name="categories"
        )
        width, count = settings.width, halvings(side, settings.fused_size)
        # A 1 x 1 convolution of vectors that fill a box is a product of vectors, laid over it.
        self.stem = tf.keras.layers.Dense(width, use_bias=False, kernel_initializer="he_normal", name="stem")
        self.stem_norm = ConditionalBatchNorm(width, num_objects, "stem_norm")
        self.downsampling = [
            ConditionalBlock(
                convolution(width << min(i + 1, 3), _KERNEL, 2),
                num_objects,
                # The recurrent fuser has an activation of its own.
                activation="relu" if i < count - 1 else None,
                name=f"downsampling_{i}",
            )
            for i in range(count)
        ]

    def call(
        self,
        categories: tf.Tensor,
        object_mask: tf.Tensor,
        latents: tf.Tensor,
        boxes: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """int [B, N], bool [B, N], [B, N, Z], [B, N, 4] -> [B, N, fused_size, fused_size, C]."""
        vectors = self.stem(tf.concat([self.embedding(categories), latents], axis=-1))
        _, coverage = paste(tf.ones([*vectors.shape[:1], vectors.shape[1], 1, 1, 1]), boxes, (self._side,) * 2)
        maps = fold(vectors[:, :, None, None, :] * tf.cast(coverage, vectors.dtype)[..., None], 3)
        flat = [tf.reshape(each, [-1]) for each in (categories, object_mask)]
        maps = tf.nn.relu(self.stem_norm(maps, *flat, training=training))
        for block in self.downsampling:
            maps = block(maps, *flat, training=training)
        return unfold(maps, categories.shape[1:2])


class Fuser(tf.keras.layers.Layer):
    """Fuses objects, one after the other, by a convolutional LSTM of several layers; its last state is the layout."""

    def __init__(self, widths: Sequence[int], name: str = "fuser"):
        """Takes the hidden channels of each layer."""
        super().__init__(name=name)
        self.recurrent = [
            tf.keras.layers.ConvLSTM2D(
                width,
                5,
                padding="same",
                recurrent_activation="sigmoid",
                return_sequences=place < len(widths) - 1,
                name=f"lstm_{place}",
            )
            for place, width in enumerate(widths)
        ]

    def call(self, maps: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
        """[B, N, H, W, C], bool [B, N] -> [B, H, W, widths[-1]]; padded objects leave the state as it is."""
        for layer in self.recurrent:
            maps = layer(maps, mask=object_mask)
        return maps


class Decoder(tf.keras.layers.Layer):
    """The fused layout to a picture: transposed convolutions that double the side."""

    def __init__(self, settings, side: int, name: str = "decoder"):
        """Takes the model's settings and the side of the picture."""
        super().__init__(name=name)
        count, width = halvings(side, settings.fused_size), settings.width
        self.residual = [
            ResidualBlock(settings.lstm_widths[-1], f"residual_{i}") for i in range(settings.residual_blocks)
        ]
        self.widening = BatchNormBlock(convolution(4 * width), name="widening")
        widths = [width << max(0, min(2, count - 1 - i)) for i in range(count)]
        self.doublings = [
            BatchNormBlock(doubling(filters, _KERNEL), name=f"doubling_{i}") for i, filters in enumerate(widths)
        ]
        self.to_colours = tf.keras.layers.Conv2D(3, 7, padding="same", dtype=tf.float32, name="to_colours")

    def call(self, layout: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, h, h, C] -> float32 [B, H, H, 3] in (-1, 1)."""
        maps = layout
        for block in (*self.residual, self.widening, *self.doublings):
            maps = block(maps, training=training)
        return tf.tanh(self.to_colours(maps))


class Layout2Im(tf.keras.Model):
    """All that is trained but for the discriminators."""

    def __init__(self, config: config_lib.ExperimentConfig, num_objects: int):
        """Takes the experiment's configuration and the number of category ids.

        Raises:
          ConfigError: the picture cannot be halved down to `baseline.fused_size`.
        """
        super().__init__(name="layout2im", dtype=tf.float32)
        settings, side = config.baseline, config.data.image_size
        self._latent_dim, self._crop_size = settings.latent_dim, settings.crop_size
        self.crop_estimator = CropEstimator(settings, num_objects)
        self.object_maps = ObjectMaps(settings, side, num_objects)
        self.fuser = Fuser(settings.lstm_widths)
        self.decoder = Decoder(settings, side)

    def call(
        self,
        batch: dict[str, tf.Tensor],
        latents: tf.Tensor,
        boxes: Optional[tf.Tensor] = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Draws scenes.

        Args:
          batch: objects, object_mask, and the boxes [B, N, 4] where `boxes` gives none.
          latents: [B, N, Z].
          boxes: [B, N, 4].
          training: whether normalization is by the batch's own statistics, which are remembered, or by those.

        Returns:
          float32 [B, H, W, 3] in (-1, 1).
        """
        boxes, mask = batch["boxes"] if boxes is None else boxes, batch["object_mask"]
        maps = self.object_maps(batch["objects"], mask, latents, boxes, training=training)
        return self.decoder(self.fuser(maps, mask), training=training)

    def estimate(self, image: tf.Tensor, batch: dict[str, tf.Tensor], training: bool = False) -> Posterior:
        """The latent codes of the objects in pictures [B, H, W, 3], cut out by the batch's boxes."""
        crops = crop(image, batch["boxes"], (self._crop_size,) * 2)
        return self.crop_estimator(crops, batch["objects"], batch["object_mask"], training=training)

    def prior(self, scene_seed: tf.Tensor, objects: int) -> tf.Tensor:
        """Latent codes [B, N, Z] from the standard normal distribution; an object's depends on its scene's seed and its
        place alone."""
        return _normal(scene_seed, objects, self._latent_dim, _PRIOR)

    def sample(self, posterior: Posterior, scene_seed: tf.Tensor) -> tf.Tensor:
        """Latent codes [B, N, Z] from a posterior."""
        noise = _normal(scene_seed, posterior.mean.shape[1], self._latent_dim, _POSTERIOR)
        return posterior.mean + tf.exp(0.5 * posterior.log_variance) * noise


def _normal(scene_seed: tf.Tensor, objects: int, size: int, purpose: int) -> tf.Tensor:
    return tf.math.ndtri(scene_random.scene_uniform(scene_seed, (1, objects, size), purpose)[:, 0])


def halvings(side: int, fused_size: int) -> int:
    """How often a picture is halved on its way to the map on which objects are fused.

    Raises:
      ConfigError: it is not `fused_size` times a power of two.
    """
    count = max(side // fused_size, 1).bit_length() - 1
    if fused_size << count != side or not count:
        raise ConfigError(
            f"baseline.fused_size is {fused_size}; pictures of data.image_size {side} cannot be halved down to it, so "
            "make one 2, 4, 8, … times as large as the other."
        )
    return count
