"""The weights of LPIPS: AlexNet's five convolutions and the five linear heads, from a .npz or .h5 file.

Arrays have the names of a Keras `.weights.h5` file, with "|" for "/" in a .npz:
`slice_1_base|layers|sequential|layers|conv2d|vars|0` and `…|1` are kernel and bias of the first convolution,
`lin0|conv_layer|layers|conv2d|vars|0` is the head of its map. Kernels are HWIO, a head's [1, 1, C, 1].
`rgan_tf.evaluation.convert_lpips` makes such a file from PyTorch's.
"""

import pathlib
import zipfile
from typing import NamedTuple

import h5py
import numpy as np

from rgan_tf.errors import UserError

# Kernels of torchvision's AlexNet (Krizhevsky 2014, one tower), HWIO.
KERNEL_SHAPES = ((11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256))


class LpipsError(UserError):
    """Weights or images of which LPIPS cannot be had; the message says what and where."""


class LpipsWeights(NamedTuple):
    """One entry a layer: kernels float32 HWIO, biases float32 [C], heads float32 [C]."""

    kernels: list[np.ndarray]
    biases: list[np.ndarray]
    heads: list[np.ndarray]


def kernel_name(layer: int) -> str:
    """The name of the kernel of a layer, from 0."""
    return f"slice_{layer + 1}_base|layers|sequential|layers|conv2d|vars|0"


def bias_name(layer: int) -> str:
    """The name of the bias of a layer, from 0."""
    return f"slice_{layer + 1}_base|layers|sequential|layers|conv2d|vars|1"


def head_name(layer: int) -> str:
    """The name of the head of a layer, from 0."""
    return f"lin{layer}|conv_layer|layers|conv2d|vars|0"


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every array by its name."""
    shapes = {}
    for layer, kernel in enumerate(KERNEL_SHAPES):
        shapes[kernel_name(layer)] = kernel
        shapes[bias_name(layer)] = kernel[3:]
        shapes[head_name(layer)] = (1, 1, kernel[3], 1)
    return shapes


def check(arrays: dict[str, np.ndarray], where: str) -> None:
    """Checks that arrays are complete, of the right shapes, and finite.

    Raises:
      LpipsError: they are not; the sentence starts with `where`.
    """
    for name, shape in expected_shapes().items():
        if name not in arrays:
            raise LpipsError(f"{where} lacks the array {name}; make the file with rgan_tf.evaluation.convert_lpips.")
        found = arrays[name]
        if found.shape != shape or not np.issubdtype(found.dtype, np.floating):
            raise LpipsError(f"{where}: {name} is {found.dtype} {found.shape}; it must be a float array {shape}.")
        if not np.isfinite(found).all():
            raise LpipsError(f"{where}: {name} has values that are not finite; get the file anew.")


def load_weights(path) -> LpipsWeights:
    """Reads and checks a file of weights.

    Args:
      path: a .npz, or an .h5 whose data sets have the same names with "/" for "|".

    Raises:
      LpipsError: it cannot be read, lacks an array, or has one of another shape or with values that are not finite.
    """
    path = pathlib.Path(path)
    readers = {".npz": _from_npz, ".h5": _from_h5}
    if path.suffix.lower() not in readers:
        raise LpipsError(f"The LPIPS weights {path} must be a .npz or .h5 file.")
    if not path.is_file():
        raise LpipsError(f"There is no file {path} with LPIPS weights; make one with rgan_tf.evaluation.convert_lpips.")
    try:
        arrays = readers[path.suffix.lower()](path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise LpipsError(f"The LPIPS weights {path} cannot be read: {error}.") from error
    check(arrays, f"The LPIPS weights {path}")
    layers = range(len(KERNEL_SHAPES))
    return LpipsWeights(
        kernels=[np.float32(arrays[kernel_name(i)]) for i in layers],
        biases=[np.float32(arrays[bias_name(i)]) for i in layers],
        heads=[np.float32(arrays[head_name(i)]).reshape(-1) for i in layers],
    )


def _from_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in expected_shapes() if name in arrays.files}


def _from_h5(path: pathlib.Path) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        found = {name: file.get(name.replace("|", "/")) for name in expected_shapes()}
        return {name: data[()] for name, data in found.items() if isinstance(data, h5py.Dataset)}
