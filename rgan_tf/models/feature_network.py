"""The perceptual network: VGG19 up to the deepest layer asked for, frozen, its weights from where the user says."""

import logging
import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import Callable

import h5py
import numpy as np
import tensorflow as tf

from rgan_tf.config import ConfigError, FeatureNetworkConfig
from rgan_tf.errors import UserError
from rgan_tf.models.layers import fold, unfold

# Convolutions and filters of each block (Simonyan and Zisserman 2015, configuration E).
_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
_LAYER_NAME = re.compile(r"block(\d+)_conv(\d+)")
# Seed of the random weights: the same on every machine and in every run.
_RANDOM_SEED = 19

LayerWeights = tuple[np.ndarray, np.ndarray]


class FeatureWeightsError(UserError):
    """Weights that cannot be had or do not fit; the message says what and where."""


def _position(layer: str) -> tuple[int, int]:
    """(block, convolution) of a layer's name, from 1."""
    match = _LAYER_NAME.fullmatch(layer)
    block, conv = map(int, match.groups()) if match else (0, 0)
    if not (1 <= block <= len(_BLOCKS) and 1 <= conv <= _BLOCKS[block - 1][0]):
        raise ConfigError(
            f"losses.feature_network.layers: VGG19 has no layer {layer!r}; convolutions are named block1_conv1 to "
            f"block{len(_BLOCKS)}_conv{_BLOCKS[-1][0]}."
        )
    return block, conv


def _shapes_up_to(deepest: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Kernel shapes (HWIO) by layer name, in order, up to the (block, convolution) `deepest`."""
    shapes, channels = {}, 3
    for block, (count, filters) in enumerate(_BLOCKS, start=1):
        for conv in range(1, count + 1):
            if (block, conv) <= deepest:
                shapes[f"block{block}_conv{conv}"] = (3, 3, channels, filters)
            channels = filters
    return shapes


def _from_npz(path: str, names: Sequence[str]) -> dict[str, LayerWeights]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            keys = set(arrays.files)
            found = [name for name in names if {f"{name}/kernel", f"{name}/bias"} <= keys]
            return {name: (arrays[f"{name}/kernel"], arrays[f"{name}/bias"]) for name in found}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FeatureWeightsError(f"Feature network weights {path} cannot be read as .npz: {error}") from error


def _from_h5(path: str, names: Sequence[str]) -> dict[str, LayerWeights]:
    """Reads Keras' HDF5 layout: a group for each layer, its arrays' names in the attribute `weight_names`."""
    try:
        with h5py.File(path, "r") as file:
            layers = file["model_weights"] if "model_weights" in file else file
            found = {}
            for name in names:
                if name in layers:
                    arrays = [np.asarray(layers[name][key]) for key in layers[name].attrs["weight_names"]]
                    found[name] = tuple(sorted(arrays, key=lambda array: -array.ndim))
            return found
    except (OSError, KeyError) as error:
        raise FeatureWeightsError(f"Feature network weights {path} cannot be read as Keras .h5: {error}") from error


def _from_keras(names: Sequence[str]) -> dict[str, LayerWeights]:
    try:
        network = tf.keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:
        raise FeatureWeightsError(
            f"Keras could not download the ImageNet weights of VGG19 ({error}). Connect to the network, or set "
            "losses.feature_network.weights to the path of a .npz or .h5 file, or to 'random'."
        ) from error
    return {name: tuple(network.get_layer(name).get_weights()) for name in names}


def _random(shapes: dict[str, tuple[int, ...]]) -> dict[str, LayerWeights]:
    """He-normal kernels, which keep the scale of what passes, and zero biases."""
    logging.getLogger(__name__).warning(
        "The feature network has random weights: its losses compare textures, but know nothing of ImageNet. Set "
        "losses.feature_network.weights to 'imagenet' or to a file for pretrained ones."
    )
    weights = {}
    for index, (name, shape) in enumerate(shapes.items()):
        kernel = tf.random.stateless_normal(shape, seed=[_RANDOM_SEED, index]) * np.sqrt(2.0 / np.prod(shape[:3]))
        weights[name] = (kernel.numpy(), np.zeros(shape[3], np.float32))
    return weights


def _load(source: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, LayerWeights]:
    """Reads and checks the weights of the layers in `shapes`."""
    readers: dict[str, Callable] = {".npz": _from_npz, ".h5": _from_h5}
    suffix = pathlib.Path(source).suffix.lower()
    if source == "random":
        return _random(shapes)
    if source == "imagenet":
        weights = _from_keras(list(shapes))
    elif suffix not in readers:
        raise FeatureWeightsError(
            f"losses.feature_network.weights is {source!r}; it must be 'imagenet', 'random', or a .npz or .h5 file."
        )
    elif not pathlib.Path(source).is_file():
        raise FeatureWeightsError(f"losses.feature_network.weights: there is no file {source}.")
    else:
        weights = readers[suffix](source, list(shapes))
    missing = [name for name in shapes if name not in weights]
    if missing:
        raise FeatureWeightsError(
            f"Feature network weights {source} lack {', '.join(missing)}; give a file that has them, or leave out "
            "these and deeper layers of losses.feature_network.layers."
        )
    for name, shape in shapes.items():
        found = tuple(array.shape for array in weights[name])
        if found != (shape, shape[3:]):
            raise FeatureWeightsError(
                f"Feature network weights {source}: {name} has shapes {found}, not {(shape, shape[3:])}."
            )
    return weights


class FeatureNetwork(tf.keras.Model):
    """Feature maps of VGG19 for perceptual losses.

    It is frozen, gradients flow to the image, and it computes in float32 under any precision policy.
    """

    def __init__(self, config: FeatureNetworkConfig, name: str = "feature_network"):
        """Makes the network and loads its weights.

        Args:
          config: the layers, convolutions by Keras' names ("block3_conv2"), whose maps after ReLU are given; and the
            source of the weights: "imagenet", "random", or the path of a .npz (arrays "block1_conv1/kernel" in HWIO,
            "block1_conv1/bias") or of a Keras .h5 file.
          name: the model's name.

        Raises:
          ConfigError: a layer that VGG19 has not, or none at all.
          FeatureWeightsError: the weights cannot be downloaded or read, lack a layer, or have another shape.
        """
        super().__init__(name=name, dtype="float32", trainable=False)
        if not config.layers:
            raise ConfigError("losses.feature_network.layers is empty; name at least one layer, as block1_conv2.")
        self._outputs = list(config.layers)
        deepest = max(_position(layer) for layer in self._outputs)
        self._min_size = 2 ** (deepest[0] - 1)
        shapes = _shapes_up_to(deepest)
        self.convolutions = [
            tf.keras.layers.Conv2D(
                shape[3], 3, padding="same", activation="relu", dtype="float32", trainable=False, name=layer
            )
            for layer, shape in shapes.items()
        ]
        weights = _load(config.weights, shapes)
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
            if _position(conv.name)[0] != block:
                block = _position(conv.name)[0]
                maps = tf.nn.max_pool2d(maps, 2, 2, "VALID")
            maps = conv(maps)
            outputs[conv.name] = maps
        return [unfold(outputs[layer], images.shape[1:-3]) for layer in self._outputs]
