"""The critics: D_img judges the image patch by patch, D_obj single objects, which it also names (section 3.4)."""

from typing import Optional

import tensorflow as tf

from rgan_tf.config import DiscriminatorsConfig, sizes
from rgan_tf.models.layers import ConvBlock, SpectralConv2D, SpectralDense, fold, unfold
from rgan_tf.ops.box_sampling import crop
from rgan_tf.ops.valid_rows import map_valid

_KERNEL_SIZE = 4
# Widths double from layer to layer up to this multiple of the first.
_MAX_WIDENING = 8


def make_trunk(width: int, layers: int, config: DiscriminatorsConfig) -> tf.keras.Sequential:
    """Convolutions that halve the size each and double their channels from `width` on; the first is not normalized, so
    that colour and contrast are seen."""
    return tf.keras.Sequential(
        [
            ConvBlock(
                width * min(2**i, _MAX_WIDENING),
                _KERNEL_SIZE,
                strides=2,
                normalization_kind=config.normalization if i > 0 else "none",
                activation="leaky_relu",
                spectral=config.spectral,
                name=f"downsampling_{i}",
            )
            for i in range(layers)
        ],
        name="trunk",
    )


class ImageDiscriminator(tf.keras.Model):
    """D_img: one logit for each overlapping patch of the image."""

    def __init__(self, config: DiscriminatorsConfig, name: str = "image_discriminator"):
        """Takes the discriminators' configuration."""
        super().__init__(name=name)
        self._layers_count = config.image_layers
        self.trunk = make_trunk(config.image_width, config.image_layers, config)
        convolution = SpectralConv2D if config.spectral else tf.keras.layers.Conv2D
        self.to_logits = convolution(1, _KERNEL_SIZE, padding="same", name="to_logits")

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Scores images.

        Args:
          image: [B, H, W, 3] in [-1, 1].

        Returns:
          float32 logits [B, H / 2^image_layers, W / 2^image_layers, 1].

        Raises:
          ConfigError: the image is too small for `image_layers`.
        """
        sizes.check_depth(min(image.shape[1:3]), self._layers_count, "discriminators.image_layers")
        return tf.cast(self.to_logits(self.trunk(image)), tf.float32)


class ObjectDiscriminator(tf.keras.Model):
    """D_obj: a logit and an auxiliary classification for each object, cut out of the image by its box."""

    def __init__(self, config: DiscriminatorsConfig, num_objects: int, name: str = "object_discriminator"):
        """Makes D_obj.

        Args:
          config: widths and sizes.
          num_objects: number of category ids, the reserved one included.
          name: the model's name.

        Raises:
          ConfigError: `object_crop_size` is too small for `object_layers`.
        """
        super().__init__(name=name)
        sizes.check_depth(config.object_crop_size, config.object_layers, "discriminators.object_layers")
        self._crop_size = (config.object_crop_size, config.object_crop_size)
        self.trunk = make_trunk(config.object_width, config.object_layers, config)
        dense = SpectralDense if config.spectral else tf.keras.layers.Dense
        self.to_features = dense(4 * config.object_width, kernel_initializer="he_normal", name="to_features")
        self.to_logit = dense(1, name="to_logit")
        self.to_class_logits = tf.keras.layers.Dense(num_objects, name="to_class_logits")

    def call(
        self,
        image: tf.Tensor,
        boxes: tf.Tensor,
        object_mask: Optional[tf.Tensor] = None,
        patches: Optional[tf.Tensor] = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and classifies objects.

        Args:
          image: [B, H, W, 3] in [-1, 1].
          boxes: [B, N, 4]; padded ones give finite logits without meaning.
          object_mask: bool [B, N]; where it is given, padded objects are not looked at, and their logits are zero.
          patches: [B, N, h, w, C], what the objects were drawn from; of four channels, their mattes are seen too.

        Returns:
          logits: float32 [B, N].
          class_logits: float32 [B, N, num_objects].
        """
        return self.look(self.crops(image, boxes, patches), object_mask)

    def crops(self, image: tf.Tensor, boxes: tf.Tensor, patches: Optional[tf.Tensor] = None) -> tf.Tensor:
        """The objects [B, N, h, w, 3] as they are looked at; with the mattes of `patches`, where those have some, 4."""
        colours = crop(image, boxes, self._crop_size)
        if patches is None or patches.shape[-1] == 3:
            return colours
        mattes = fold(patches[..., 3:], 3)
        whole = tf.tile(tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), [tf.shape(mattes)[0], 1, 1])
        mattes = unfold(crop(mattes, whole, self._crop_size)[:, 0], patches.shape[1:2])
        return tf.concat([colours, tf.cast(mattes, colours.dtype)], axis=-1)

    def look(self, crops: tf.Tensor, object_mask: Optional[tf.Tensor] = None) -> tuple[tf.Tensor, tf.Tensor]:
        """As the call, of objects that were cut out; built by then."""
        if object_mask is None:
            outputs = unfold(self._judge(fold(crops, 3)), crops.shape[1:2])
        else:
            outputs = map_valid(self._judge, object_mask, crops, skip_padding=True)
        return outputs[..., 0], outputs[..., 1:]

    def _judge(self, crops: tf.Tensor) -> tf.Tensor:
        """[M, h, w, C] -> float32 [M, 1 + num_objects]: the logit, then those of the classes."""
        features = tf.reduce_mean(self.trunk(crops), axis=[1, 2])
        features = tf.nn.leaky_relu(self.to_features(features), 0.2)
        outputs = tf.concat([self.to_logit(features), self.to_class_logits(features)], axis=-1)
        return tf.cast(outputs, tf.float32)
