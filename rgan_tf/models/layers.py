"""Convolutional building blocks shared by the generator, the discriminators and the patch encoders.

All normalization here is per sample. Batch statistics would tie a scene's picture to the rest of its batch and differ
between training and inference. Inputs are [B, H, W, C]; callers fold further leading dimensions into B.
"""

from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

NORMALIZATIONS = ("instance", "group", "none")
_CHANNELS_OF_A_GROUP = 8


def normalization(kind: str, filters: int, name: str) -> Optional[tf.keras.layers.Layer]:
    """Makes a per-sample normalization layer.

    Args:
      kind: "instance" (each channel by itself), "group" (groups of 8 channels, or one group where 8 does not divide
        `filters`) or "none".
      filters: number of channels.
      name: the layer's name.

    Returns:
      The layer, or None for "none".

    Raises:
      ValueError: `kind` is none of these.
    """
    if kind == "none":
        return None
    if kind not in NORMALIZATIONS:
        raise ValueError(f"normalization is {kind!r}; it must be one of {', '.join(NORMALIZATIONS)}.")
    if kind == "instance":
        groups = filters
    else:
        groups = filters // _CHANNELS_OF_A_GROUP if filters % _CHANNELS_OF_A_GROUP == 0 else 1
    return tf.keras.layers.GroupNormalization(groups=groups, epsilon=1e-5, name=name)


class ConvBlock(tf.keras.layers.Layer):
    """Convolution with "same" padding, normalization, activation."""

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        normalization_kind: str = "none",
        activation: Optional[str] = "relu",
        name: Optional[str] = None,
    ):
        """Makes the block.

        Args:
          filters: number of output channels.
          kernel_size: side of the kernel.
          strides: step of the convolution.
          normalization_kind: see `normalization`.
          activation: None, "relu" or "leaky_relu" (slope 0.2).
          name: the layer's name.
        """
        super().__init__(name=name)
        self.conv = tf.keras.layers.Conv2D(
            filters, kernel_size, strides, padding="same", kernel_initializer="he_normal", name="conv"
        )
        self.norm = normalization(normalization_kind, filters, "norm")
        self._slope = {None: 1.0, "relu": 0.0, "leaky_relu": 0.2}[activation]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H / strides, W / strides, filters], rounded up."""
        outputs = self.conv(inputs)
        if self.norm is not None:
            outputs = self.norm(outputs)
        if self._slope == 0.0:
            return tf.nn.relu(outputs)
        return outputs if self._slope == 1.0 else tf.nn.leaky_relu(outputs, self._slope)


class ResidualBlock(tf.keras.layers.Layer):
    """Two 3 x 3 convolutions beside the identity; the number of channels stays."""

    def __init__(self, filters: int, normalization_kind: str = "none", name: Optional[str] = None):
        """Takes the number of channels and the kind of `normalization`."""
        super().__init__(name=name)
        self.first = ConvBlock(filters, normalization_kind=normalization_kind, name="first")
        self.second = ConvBlock(filters, normalization_kind=normalization_kind, activation=None, name="second")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[B, H, W, filters] -> the same shape."""
        return inputs + self.second(self.first(inputs))


def fold(tensor: tf.Tensor, kept: int) -> tf.Tensor:
    """Folds all but the last `kept` dimensions into one: [B, ..., kept dimensions] -> [M, kept dimensions]."""
    return tf.reshape(tensor, [-1, *tensor.shape[tensor.shape.rank - kept :]])


def unfold(tensor: tf.Tensor, inner: Sequence[int]) -> tf.Tensor:
    """Undoes `fold`: [M, ...] -> [B, *inner, ...], `inner` the folded dimensions after the batch, all static."""
    return tf.reshape(tensor, [-1, *inner, *tensor.shape[1:]])
