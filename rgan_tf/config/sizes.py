"""Rules on sizes that must fit each other, stated once: the check of a configuration and the models both call them."""

import re
from collections.abc import Sequence

from rgan_tf.config.bounds import ConfigError

# Fewest and most objects of a drawn scene: it has a sky, a ground and a thing on it, and room for so many.
SYNTHETIC_OBJECTS = (3, 14)
# VGG19's blocks: how many convolutions, with how many filters (Simonyan and Zisserman 2015, configuration E).
VGG19_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


def crop_halvings(patch_size: int, crop_size: int) -> int:
    """How often patches are halved on their way to `generator.crop_size`.

    Raises:
      ConfigError: `patch_size` is not `crop_size` times a power of two.
    """
    count = max(patch_size // crop_size, 1).bit_length() - 1
    if crop_size << count != patch_size:
        raise ConfigError(
            f"generator.crop_size is {crop_size}; patches of {patch_size} pixels cannot be halved down to it, so make "
            "patch_bank.patch_size the same or 2, 4, 8, … times as large."
        )
    return count


def check_canvas(canvas_size: int, doublings: int, image_size: int) -> None:
    """Raises `ConfigError` unless the decoder leads from the canvas to the image by so many doublings."""
    reached = canvas_size << doublings
    if reached != image_size:
        raise ConfigError(
            f"generator.canvas_size {canvas_size}, doubled once for each of {doublings} decoder_widths, gives "
            f"{reached}, not the {image_size} pixels of data.image_size; change one of the three."
        )


def check_depth(size: int, layers: int, field: str) -> None:
    """Raises `ConfigError`, naming the field of a critic's layers, if its input cannot be halved so often."""
    if size < 2**layers:
        raise ConfigError(
            f"{field}: {size} pixels cannot be halved {layers} times; take fewer layers or a larger size."
        )


def vgg19_position(layer: str) -> tuple[int, int]:
    """(block, convolution) of a VGG19 layer by Keras' name, from 1.

    Raises:
      ConfigError: VGG19 has no such convolution.
    """
    match = re.fullmatch(r"block([1-9])_conv([1-9])", layer)
    block, conv = map(int, match.groups()) if match else (0, 0)
    if not (1 <= block <= len(VGG19_BLOCKS) and 1 <= conv <= VGG19_BLOCKS[block - 1][0]):
        raise ConfigError(
            f"losses.feature_network.layers: VGG19 has no layer {layer!r}; convolutions are named block1_conv1 to "
            f"block{len(VGG19_BLOCKS)}_conv{VGG19_BLOCKS[-1][0]}."
        )
    return block, conv


def vgg19_least_size(layers: Sequence[str]) -> int:
    """Fewest pixels a side from which VGG19's pooling reaches the deepest of some layers.

    Raises:
      ConfigError: as `vgg19_position`.
    """
    return 2 ** (max(vgg19_position(layer)[0] for layer in layers) - 1)
