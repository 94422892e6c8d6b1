"""The perceptual network: VGG19 up to the deepest layer asked for, frozen, its weights from where the user says."""

from typing import Callable

import tensorflow as tf

from rgan_tf.config import ConfigError, FeatureNetworkConfig, sizes
from rgan_tf.errors import UserError
from rgan_tf.models.feature_weights import load_weights
from rgan_tf.models.hub_network import HubNetwork
from rgan_tf.models.layers import fold, unfold

# What the losses call: images [B, ..., H, W, 3] in [-1, 1] to float32 values [B, ..., and their own dimensions].
FeatureFunction = Callable[[tf.Tensor], list[tf.Tensor]]


def halve(maps: tf.Tensor) -> tf.Tensor:
    """VGG's two-by-two maximum, to the bit, in operations whose gradient is deterministic under XLA as well.

    As by the native kernel, the first of equal values gets the whole gradient. [B, H, W, C] -> [B, H // 2, W // 2, C].
    """
    height, width, channels = maps.shape[1] // 2, maps.shape[2] // 2, maps.shape[3]
    pairs = tf.reshape(maps[:, : 2 * height, : 2 * width], [-1, height, 2, width, 2, channels])
    rows = tf.maximum(*tf.unstack(pairs, axis=4))
    return tf.maximum(*tf.unstack(rows, axis=2))


def _shapes_up_to(deepest: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Kernel shapes (HWIO) by layer name, in order, up to the (block, convolution) `deepest`."""
    shapes, channels = {}, 3
    for block, (count, filters) in enumerate(sizes.VGG19_BLOCKS, start=1):
        for conv in range(1, count + 1):
            if (block, conv) <= deepest:
                shapes[f"block{block}_conv{conv}"] = (3, 3, channels, filters)
            channels = filters
    return shapes


class FeatureNetwork(tf.keras.Model):
    """Feature maps of VGG19 for perceptual losses.

    It is frozen, gradients flow to the image, and it computes in float32 under any precision policy.
    """

    def __init__(self, config: FeatureNetworkConfig, xla: bool = False, name: str = "feature_network"):
        """Makes the network and loads its weights.

        Args:
          config: the layers, convolutions by Keras' names ("block3_conv2"), whose maps after ReLU are given; and the
            source of the weights: "imagenet", "random", or the path of a .npz (arrays "block1_conv1/kernel" in HWIO,
            "block1_conv1/bias") or of a Keras .h5 file.
          xla: pool in operations that XLA has deterministic gradients for; the native kernel is faster elsewhere.
          name: the model's name.

        Raises:
          ConfigError: a layer that VGG19 has not, or none at all.
          FeatureWeightsError: the weights cannot be downloaded or read, lack a layer, or have another shape.
        """
        super().__init__(name=name, dtype="float32", trainable=False)
        if not config.layers:
            raise ConfigError("losses.feature_network.layers is empty; name at least one layer, as block1_conv2.")
        self._outputs, self._xla = list(config.layers), xla
        self._min_size = sizes.vgg19_least_size(self._outputs)
        shapes = _shapes_up_to(max(map(sizes.vgg19_position, self._outputs)))
        self.convolutions = [
            tf.keras.layers.Conv2D(
                shape[3], 3, padding="same", activation="relu", dtype="float32", trainable=False, name=layer
            )
            for layer, shape in shapes.items()
        ]
        weights = load_weights(config.weights, shapes)
        for conv in self.convolutions:
            conv.build([None, None, None, shapes[conv.name][2]])
            conv.set_weights(weights[conv.name])

    def call(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Gives the feature maps of images.

        Args:
          images: [B, ..., H, W, 3] in [-1, 1].

        Returns:
          float32 maps [B, ..., h, w, C], one for each configured layer, in the order of the configuration.

        Raises:
          ConfigError: the image is too small for the deepest layer.
        """
        height, width = images.shape[-3:-1]
        if min(height, width) < self._min_size:
            raise ConfigError(
                f"Images of {height} x {width} pixels are too small for the feature network's deepest layer, which "
                f"needs {self._min_size} x {self._min_size}; leave it out of losses.feature_network.layers."
            )
        maps = tf.keras.applications.vgg19.preprocess_input((fold(tf.cast(images, tf.float32), 3) + 1.0) * 127.5)
        outputs, block = {}, 1
        for conv in self.convolutions:
            if sizes.vgg19_position(conv.name)[0] != block:
                block += 1
                maps = halve(maps) if self._xla else tf.nn.max_pool2d(maps, 2, 2, "VALID")
            maps = conv(maps)
            outputs[conv.name] = maps
        return [unfold(outputs[layer], images.shape[1:-3]) for layer in self._outputs]


def make_feature_network(config: FeatureNetworkConfig, xla: bool = False) -> FeatureFunction:
    """Makes the configured network; call it in the strategy's scope.

    Args:
      config: of the network.
      xla: whether the step that calls it is compiled.

    Returns:
      A `HubNetwork` where the configuration has a handle, else a `FeatureNetwork`.

    Raises:
      ConfigError, FeatureWeightsError: as the two do.
    """
    if not config.handle:
        return FeatureNetwork(config, xla)
    try:
        return HubNetwork(config.handle, config.layers, config.signature, tuple(config.input_range), config.input_size)
    except UserError as error:
        raise type(error)(f"losses.feature_network: {error}") from error
