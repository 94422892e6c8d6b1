"""Scenes cut into patches: checked, cropped and resized."""

from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple

import numpy as np
from PIL import Image

from pipelines.ordered_threads import in_order
from pipelines.patch_bank.bank import PatchBankError


class CutScene(NamedTuple):
    """A scene as it goes into a bank.

    image_id, license: text. category int [n]; boxes float32 [n, 4]; patches uint8 [n, h, w, 3].
    """

    image_id: str
    license: str
    category: np.ndarray
    boxes: np.ndarray
    patches: np.ndarray


def crop_patch(image, box, size):
    """Cuts one box out of a picture at whole pixels and resizes it with antialiasing.

    Args:
      image: uint8 [H, W, 3].
      box: (x0, y0, x1, y1) as fractions of the picture, x0 < x1 and y0 < y1. Borders are rounded to the nearest pixel;
        a box thinner than that keeps one pixel.
      size: side of the patch in pixels.

    Returns:
      uint8 [size, size, 3].
    """
    height, width = image.shape[:2]
    x0, x1 = _pixel_span(box[0], box[2], width)
    y0, y1 = _pixel_span(box[1], box[3], height)
    crop = Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    # Pillow widens the bicubic kernel along an axis that shrinks; the other axis may grow at the same time.
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))


def _pixel_span(low, high, length):
    start = min(int(np.floor(low * length + 0.5)), length - 1)
    return start, max(int(np.floor(high * length + 0.5)), start + 1)


def cut_scene(number, scene, patch_size):
    """Checks a scene and crops its patches.

    Args:
      number: of the scene, for errors.
      scene: dict with "image" uint8 [H, W, 3], "image_id" and "license" (str or bytes), and "objects", a dict with
        "category" int [n] and "box" float [n, 4]. A scene without objects counts as a scene.
      patch_size: side of a patch in pixels.

    Raises:
      PatchBankError: on a value that cannot be a patch, naming scene and object.
    """
    category = np.asarray(scene["objects"]["category"])
    boxes = np.asarray(scene["objects"]["box"], np.float32).reshape(-1, 4)
    image, image_id = np.asarray(scene["image"]), _text(scene["image_id"])
    _check(f"Scene {number} (picture {image_id!r})", image, category, boxes)
    patches = np.empty((len(category), patch_size, patch_size, 3), np.uint8)
    for index, box in enumerate(boxes):
        patches[index] = crop_patch(image, box, patch_size)
    return CutScene(image_id, _text(scene["license"]), category, boxes, patches)


def cut_in_threads(
    scenes_from: Callable[[int], Iterable[tuple[dict, np.ndarray]]], patch_size: int
) -> Callable[[int], Iterator[tuple[CutScene, np.ndarray]]]:
    """What `writer.build` takes, of scenes that are cut here.

    Args:
      scenes_from: called with a number of scenes; gives the pairs (scene, graph features) that come after so many, as
        `cut_scene` takes scenes.
      patch_size: side of a patch in pixels.
    """

    def cut(numbered):
        number, (scene, graph_features) = numbered
        return cut_scene(number, scene, patch_size), graph_features

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
