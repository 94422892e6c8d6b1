"""Weights of VGG19's convolutions: from Keras, a .npz or .h5 file, or drawn at random; checked before they are used."""

import logging
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Callable

import h5py
import numpy as np
import tensorflow as tf

from rgan_tf.errors import UserError

# Seed of the random weights: the same on every machine and in every run.
_RANDOM_SEED = 19

LayerWeights = tuple[np.ndarray, np.ndarray]


class FeatureWeightsError(UserError):
    """Weights that cannot be had or do not fit; the message says what and where."""


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


_READERS: dict[str, Callable] = {".npz": _from_npz, ".h5": _from_h5}


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


def check_source(source: str) -> None:
    """Raises `FeatureWeightsError` unless weights are named that can be looked for: a known kind, or a file."""
    if source in ("imagenet", "random"):
        return
    if pathlib.Path(source).suffix.lower() not in _READERS:
        raise FeatureWeightsError(
            f"losses.feature_network.weights is {source!r}; it must be 'imagenet', 'random', or a .npz or .h5 file."
        )
    if not pathlib.Path(source).is_file():
        raise FeatureWeightsError(f"losses.feature_network.weights: there is no file {source}.")


def load_weights(source: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, LayerWeights]:
    """Reads and checks the weights of some layers.

    Args:
      source: "imagenet", "random", or the path of a .npz (arrays "block1_conv1/kernel" in HWIO, "block1_conv1/bias") or
        of a Keras .h5 file.
      shapes: the kernels' shapes (HWIO) by layer name.

    Returns:
      Kernel and bias, float, by layer name.

    Raises:
      FeatureWeightsError: the weights cannot be downloaded or read, lack a layer, or have another shape.
    """
    check_source(source)
    if source == "random":
        return _random(shapes)
    if source == "imagenet":
        weights = _from_keras(list(shapes))
    else:
        weights = _READERS[pathlib.Path(source).suffix.lower()](source, list(shapes))
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
