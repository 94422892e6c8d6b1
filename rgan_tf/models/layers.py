"""Convolutional building blocks shared by the generator, the discriminators and the patch encoders.

All normalization here is per sample. Batch statistics would tie a scene's picture to the rest of its batch and differ
between training and inference. Inputs are [B, H, W, C]; callers fold further leading dimensions into B.
"""

from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

from rgan_tf.ops.spectral import spectral_norm

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


class SpectralConv2D(tf.keras.layers.Conv2D):
    """A convolution whose kernel is divided by its largest singular value."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """See Keras' layer."""
        # Read once: under mixed precision what is read has another type than the variable says.
        kernel = tf.convert_to_tensor(kernel)
        return super().convolution_op(inputs, kernel / tf.cast(spectral_norm(kernel), kernel.dtype))


class SpectralDense(tf.keras.layers.Dense):
    """A dense layer whose kernel is divided by its largest singular value."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., D] -> [..., units]."""
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = tf.matmul(inputs, kernel / tf.cast(spectral_norm(kernel), kernel.dtype))
        outputs = tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


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
        spectral: bool = False,
    ):
        """Makes the block.

        Args:
          filters: number of output channels.
          kernel_size: side of the kernel.
          strides: step of the convolution.
          normalization_kind: see `normalization`.
          activation: None, "relu" or "leaky_relu" (slope 0.2).
          name: the layer's name.
          spectral: whether the kernel is divided by its largest singular value.
        """
        super().__init__(name=name)
        kind = SpectralConv2D if spectral else tf.keras.layers.Conv2D
        self.conv = kind(filters, kernel_size, strides, padding="same", kernel_initializer="he_normal", name="conv")
        self.norm = normalization(normalization_kind, filters, "norm")
        self._slope = {None: 1.0, "relu": 0.0, "leaky_relu": 0.2}[activation]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H / strides, W / strides, filters], rounded up."""
        return self._finish(self.conv(inputs))

    def _finish(self, outputs: tf.Tensor) -> tf.Tensor:
        if self.norm is not None:
            outputs = self.norm(outputs)
        if self._slope == 0.0:
            return tf.nn.relu(outputs)
        return outputs if self._slope == 1.0 else tf.nn.leaky_relu(outputs, self._slope)


class UpsamplingBlock(ConvBlock):
    """A 3 x 3 `ConvBlock` over maps that are enlarged twofold by repetition, beside others that have that size already.

    A pixel that is repeated meets sums of the kernel's weights. So a transposed convolution with these sums, 4 x 4,
    gives what enlarging and convolving would, up to rounding, for 4 multiplications instead of 9.
    """

    def build(self, input_shape):
        """Makes the kernel of the convolution over both inputs, the enlarged one first."""
        small, beside = input_shape
        self.conv.build([None, None, None, small[-1] + beside[-1]])
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """[B, H, W, C] and [B, 2H, 2W, D] -> [B, 2H, 2W, filters]."""
        small, beside = inputs
        kernel, shape = tf.convert_to_tensor(self.conv.kernel), tf.shape(beside)
        enlarging, direct = tf.split(kernel, [small.shape[-1], beside.shape[-1]], axis=2)
        # A transposed convolution lays each pixel down turned around.
        padded = tf.pad(tf.reverse(enlarging, [0, 1]), [[1, 1], [1, 1], [0, 0], [0, 0]])
        sums = padded[:-1] + padded[1:]
        sums = tf.transpose(sums[:, :-1] + sums[:, 1:], [0, 1, 3, 2])
        shape = tf.concat([shape[:3], [kernel.shape[-1]]], axis=0)
        outputs = tf.nn.conv2d_transpose(small, sums, shape, strides=2, padding="SAME")
        outputs += tf.nn.conv2d(beside, direct, strides=1, padding="SAME")
        return self._finish(tf.nn.bias_add(outputs, self.conv.bias))


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
