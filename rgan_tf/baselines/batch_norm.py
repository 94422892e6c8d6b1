"""What the baselines normalize over the batch (Ioffe and Szegedy 2015), as their publications do.

Statistics are of all replicas' valid samples in training, and what was remembered of them in use: there a picture does
not depend on what shares its batch. RetrieveGAN normalizes each sample by itself. Where all is painted from nothing,
this takes away what tells one scene from another as a whole: layout2im drew one picture for all (docs/results.md).
"""

from typing import Optional

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf.config.bounds import ConfigError

# Of what is remembered at a step.
_MOMENTUM = 0.9
_ACTIVATIONS = {None: tf.identity, "relu": tf.nn.relu, "leaky_relu": tf.nn.leaky_relu}


def check_replicas(config: config_lib.ExperimentConfig) -> None:
    """Call it in the strategy's scope.

    Raises:
      ConfigError: `runtime.xla` and several replicas: a step that is compiled cannot ask others for their statistics.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if config.runtime.xla and replicas > 1:
        raise ConfigError(
            f"runtime.xla is on and there are {replicas} replicas, over all of which {config.model} normalizes; a "
            "compiled step cannot. Set runtime.xla to false, or runtime.distribution_strategy to one_device."
        )


class BatchNorm(tf.keras.layers.Layer):
    """Normalizes each channel over the batch."""

    def __init__(self, affine: bool = True, name: str = "norm"):
        """Takes whether channels are scaled and shifted afterwards by what is learned."""
        super().__init__(name=name)
        self.norm = tf.keras.layers.BatchNormalization(
            momentum=_MOMENTUM, center=affine, scale=affine, synchronized=True, name="batch_norm"
        )

    def call(self, maps: tf.Tensor, valid: Optional[tf.Tensor] = None, training: bool = False) -> tf.Tensor:
        """[B, H, W, C], bool [B] -> [B, H, W, C]; what is not valid has no part in the statistics."""
        mask = tf.ones(tf.shape(maps)[:1], tf.bool) if valid is None else valid
        return self.norm(maps, training=training, mask=mask[:, None, None])


class BatchNormBlock(tf.keras.layers.Layer):
    """Convolution, `BatchNorm`, activation."""

    def __init__(self, conv: tf.keras.layers.Layer, activation: Optional[str] = "relu", name: str = "block"):
        """Takes the convolution, and None, "relu" or "leaky_relu" (slope 0.2)."""
        super().__init__(name=name)
        self.conv, self.norm, self._activation = conv, BatchNorm(), _ACTIVATIONS[activation]

    def call(self, maps: tf.Tensor, valid: Optional[tf.Tensor] = None, training: bool = False) -> tf.Tensor:
        """[B, H, W, C], bool [B] -> [B, h, w, filters] of the convolution's size."""
        return self._activation(self.norm(self.conv(maps), valid, training=training))


class ResidualBlock(tf.keras.layers.Layer):
    """Two 3 x 3 `BatchNormBlock`s beside the identity."""

    def __init__(self, filters: int, name: str):
        """Takes the number of channels, which stays."""
        super().__init__(name=name)
        self.first = BatchNormBlock(convolution(filters), name="first")
        self.second = BatchNormBlock(convolution(filters), activation=None, name="second")

    def call(self, maps: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, H, W, filters] -> the same shape."""
        return maps + self.second(self.first(maps, training=training), training=training)


class ConditionalBatchNorm(tf.keras.layers.Layer):
    """`BatchNorm` over valid objects, then scale and shift by category."""

    def __init__(self, filters: int, num_objects: int, name: str = "norm"):
        """Takes the number of channels and of category ids."""
        super().__init__(name=name)
        embedding = tf.keras.layers.Embedding
        self.norm = BatchNorm(affine=False)
        self.scale = embedding(num_objects, filters, embeddings_initializer="ones", name="scale")
        self.shift = embedding(num_objects, filters, embeddings_initializer="zeros", name="shift")

    def call(self, maps: tf.Tensor, categories: tf.Tensor, valid: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[M, H, W, C], int [M], bool [M] -> [M, H, W, C]."""
        maps = self.norm(maps, valid, training=training)
        scale, shift = (table(categories)[:, None, None, :] for table in (self.scale, self.shift))
        return maps * scale + shift


class ConditionalBlock(tf.keras.layers.Layer):
    """Convolution, `ConditionalBatchNorm`, activation."""

    def __init__(
        self, conv: tf.keras.layers.Conv2D, num_objects: int, activation: Optional[str] = "relu", name: str = "block"
    ):
        """Takes the convolution, the number of category ids, and the activation as `BatchNormBlock` does."""
        super().__init__(name=name)
        self.conv, self._activation = conv, _ACTIVATIONS[activation]
        self.norm = ConditionalBatchNorm(conv.filters, num_objects)

    def call(self, maps: tf.Tensor, categories: tf.Tensor, valid: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[M, H, W, C], int [M], bool [M] -> [M, h, w, filters] of the convolution's size."""
        return self._activation(self.norm(self.conv(maps), categories, valid, training=training))


def convolution(filters: int, kernel_size: int = 3, strides: int = 1, bias: bool = False) -> tf.keras.layers.Conv2D:
    """A convolution with "same" padding; a normalization behind it makes up for a bias."""
    return tf.keras.layers.Conv2D(
        filters, kernel_size, strides, "same", use_bias=bias, kernel_initializer="he_normal", name="conv"
    )


def doubling(filters: int, kernel_size: int = 4) -> tf.keras.layers.Conv2DTranspose:
    """A transposed convolution without bias that doubles the side."""
    return tf.keras.layers.Conv2DTranspose(
        filters, kernel_size, 2, "same", use_bias=False, kernel_initializer="he_normal", name="conv"
    )
