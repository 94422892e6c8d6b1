"""Scenes cut into patches: checked, cropped and resized."""

from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple

import numpy as np
from PIL import Image

from pipelines import mattes
from pipelines.ordered_threads import in_order
from pipelines.patch_bank.bank import PatchBankError
from pipelines.records import MATTE


class CutScene(NamedTuple):
    """A scene as it goes into a bank.

    image_id, license: text. category int [n]; boxes float32 [n, 4]; patches uint8 [n, h, w, C], C 3, or 4 with mattes.
    """

    image_id: str
    license: str
    category: np.ndarray
    boxes: np.ndarray
    patches: np.ndarray


def crop_patch(image, box, size, matte=None):
    """Cuts one box out of a picture at whole pixels and resizes it with antialiasing.

    Args:
      image: uint8 [H, W, 3].
      box: (x0, y0, x1, y1) as fractions of the picture, x0 < x1 and y0 < y1. Borders are rounded to the nearest pixel;
        a box thinner than that keeps one pixel.
      size: side of the patch in pixels.
      matte: of the object, as `pipelines.mattes` encodes it; None for a patch that is its box.

    Returns:
      uint8 [size, size, 3]; with a matte [size, size, 4], the last channel what is the object's, 255 for all of a
      pixel. The colours are the object's wherever any of a pixel is, and else those of its surroundings.

    Raises:
      ValueError: the matte is none of that box.
    """
    crop = np.ascontiguousarray(image[mattes.pixel_spans(box, *image.shape[:2])])
    plain = _resize(crop, size)
    if matte is None:
        return plain
    opacity = mattes.decode(matte, *crop.shape[:2])
    if opacity.min() == 255:
        return np.dstack([plain, np.full((size, size), 255, np.uint8)])
    # Weighed by what is the object's, so that no neighbour's colour bleeds in.
    share = opacity / np.float32(255)
    shares = _resize(share, size)
    weighed = np.dstack([_resize(share * crop[..., channel], size) for channel in range(3)])
    shown = np.round(255 * np.clip(shares, 0, 1))[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = np.where(shown > 0, np.clip(np.round(weighed / shares[..., None]), 0, 255), plain)
    return np.dstack([colours, shown]).astype(np.uint8)


def _resize(pixels, size):
    # Pillow widens the bicubic kernel along an axis that shrinks; the other axis may grow at the same time.
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


def cut_scene(number, scene, patch_size, with_mattes=False):
    """Checks a scene and crops its patches.

    Args:
      number: of the scene, for errors.
      scene: dict with "image" uint8 [H, W, 3], "image_id" and "license" (str or bytes), and "objects", a dict with
        "category" int [n] and "box" float [n, 4]; "matte", bytes [n], is read where it is there. A scene without
        objects counts as a scene.
      patch_size: side of a patch in pixels.
      with_mattes: whether patches get a channel for what is the object's.

    Raises:
      PatchBankError: on a value that cannot be a patch, naming scene and object.
    """
    category = np.asarray(scene["objects"]["category"])
    boxes = np.asarray(scene["objects"]["box"], np.float32).reshape(-1, 4)
    image, image_id = np.asarray(scene["image"]), _text(scene["image_id"])
    place = f"Scene {number} (picture {image_id!r})"
    _check(place, image, category, boxes)
    cut_out = scene["objects"].get(MATTE, [mattes.NONE] * len(boxes)) if with_mattes else [None] * len(boxes)
    patches = np.empty((len(category), patch_size, patch_size, 4 if with_mattes else 3), np.uint8)
    for index, (box, matte) in enumerate(zip(boxes, cut_out)):
        try:
            patches[index] = crop_patch(image, box, patch_size, matte)
        except ValueError as error:
            raise PatchBankError(f"{place}, object {index} cannot be cut out: {error}.") from error
    return CutScene(image_id, _text(scene["license"]), category, boxes, patches)


def cut_in_threads(
    scenes_from: Callable[[int], Iterable[tuple[dict, np.ndarray]]], patch_size: int, with_mattes: bool = False
) -> Callable[[int], Iterator[tuple[CutScene, np.ndarray]]]:
    """What `writer.build` takes, of scenes that are cut here.

    Args:
      scenes_from: called with a number of scenes; gives the pairs (scene, graph features) that come after so many, as
        `cut_scene` takes scenes.
      patch_size: side of a patch in pixels.
      with_mattes: as of `cut_scene`.
    """

    def cut(numbered):
        number, (scene, graph_features) = numbered
        return cut_scene(number, scene, patch_size, with_mattes), graph_features

    return lambda start: in_order(cut, enumerate(scenes_from(start), start))


def _check(place, image, category, boxes):
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise PatchBankError(f"{place} has an image of {image.dtype}{list(image.shape)}; it must be uint8 [H, W, 3].")
    if len(boxes) != len(category):
        raise PatchBankError(f"{place} has {len(category)} categories but {len(boxes)} boxes; give one box an object.")
    for index, (identity, box) in enumerate(zip(category, boxes)):
        if identity < 1:
            raise PatchBankError(f"{place}, object {index} has category {identity}; categories start at 1.")
        # Written so that a NaN fails it.
        if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise PatchBankError(
                f"{place}, object {index} has the box {box.tolist()}; it must be x0 < x1 and y0 < y1 within [0, 1]."
            )


def _text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
