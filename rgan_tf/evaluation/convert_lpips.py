"""Turns PyTorch's files of LPIPS into ours.

    python -m rgan_tf.evaluation.convert_lpips --alexnet=FILE.pth --heads=FILE.pth --output=FILE.npz

--alexnet is torchvision's checkpoint of AlexNet (`alexnet-owt-….pth`), --heads the file `weights/v0.1/alex.pth` of the
package `lpips`. Needs torch, which is no dependency of rgan_tf.
"""

import os
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import flags

from rgan_tf import commands
from rgan_tf.errors import UserError
from rgan_tf.evaluation.metrics import lpips_weights
from rgan_tf.evaluation.metrics.lpips_weights import LpipsError

# Positions of the convolutions in torchvision's `AlexNet.features`.
_CONVOLUTIONS = (0, 3, 6, 8, 10)


def to_our_format(alexnet: Mapping[str, np.ndarray], heads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames and transposes: the arrays of `rgan_tf.evaluation.lpips_weights` by name, float32.

    Args:
      alexnet: torchvision's state dictionary as arrays; `features.N.weight` [O, I, H, W], `features.N.bias` [O].
      heads: that of the package `lpips`; `linN.model.1.weight` [1, C, 1, 1].

    Raises:
      LpipsError: an entry is missing or has the shape of another network.
    """
    arrays = {}
    for layer, position in enumerate(_CONVOLUTIONS):
        arrays[lpips_weights.kernel_name(layer)] = _kernel(alexnet, "--alexnet", f"features.{position}.weight")
        arrays[lpips_weights.bias_name(layer)] = _entry(alexnet, "--alexnet", f"features.{position}.bias")
        arrays[lpips_weights.head_name(layer)] = _kernel(heads, "--heads", f"lin{layer}.model.1.weight")
    lpips_weights.check(arrays, "What the two files give")
    return arrays


def _entry(state: Mapping[str, np.ndarray], flag: str, name: str) -> np.ndarray:
    if name not in state:
        raise LpipsError(
            f"The file of {flag} has no entry {name}; give torchvision's AlexNet and the heads of LPIPS 0.1."
        )
    return np.float32(state[name])


def _kernel(state: Mapping[str, np.ndarray], flag: str, name: str) -> np.ndarray:
    """OIHW to HWIO."""
    weight = _entry(state, flag, name)
    if weight.ndim != 4:
        raise LpipsError(
            f"The entry {name} of the file of {flag} has the shape {weight.shape}; it must have four axes."
        )
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def read_state(path) -> dict[str, np.ndarray]:
    """A PyTorch file of tensors by name, as arrays.

    Raises:
      UserError: torch is not installed.
      LpipsError: the file is none of that kind.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError("The conversion needs torch, which is not installed here; run pip install torch.") from error
    if not pathlib.Path(path).is_file():
        raise LpipsError(f"There is no file {path}.")
    try:
        # Tensors alone: a checkpoint may not run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.detach().numpy() for name, tensor in state.items()}
    # What torch raises depends on what it finds in place of a state dictionary.
    except Exception as error:
        raise LpipsError(
            f"{path} is no PyTorch file of tensors by name ({type(error).__name__}); give a state dictionary."
        ) from error


def save(arrays: Mapping[str, np.ndarray], output) -> None:
    """Writes a .npz beside and renames it.

    Raises:
      LpipsError: the name does not end in .npz, or the file cannot be written.
    """
    output = pathlib.Path(output)
    if output.suffix != ".npz":
        raise LpipsError(f"--output={output} must end in .npz.")
    beside = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            np.savez(file, **arrays)
        os.replace(beside, output)
    except OSError as error:
        raise LpipsError(f"The weights cannot be written to {output}: {error.strerror}.") from error


def main() -> None:
    """Reads both files, writes ours."""
    given = flags.FLAGS
    save(to_our_format(read_state(given.alexnet), read_state(given.heads)), given.output)
    print(f"{given.output}: LPIPS weights; use them as Lpips({given.output!r}).")


if __name__ == "__main__":
    flags.DEFINE_string("alexnet", None, "torchvision's checkpoint of AlexNet.", required=True)
    flags.DEFINE_string("heads", None, "The heads of LPIPS 0.1 for AlexNet, weights/v0.1/alex.pth.", required=True)
    flags.DEFINE_string("output", None, "The .npz to write.", required=True)
    commands.run(main)
