"""Masks of COCO segmentations, and their centroids."""

import math
from typing import Any, Optional

import numpy as np
from pycocotools import mask as mask_tools


class SegmentationError(ValueError):
    """A segmentation that is none of COCO's three forms, or that does not fit its image."""


def mask_of(segmentation: Any, height: int, width: int) -> Optional[np.ndarray]:
    """The pixels that an object covers.

    Args:
      segmentation: a list of polygons [x0, y0, x1, y1, ...] in pixels, or a run-length encoding
        {"size": [height, width], "counts": list or compressed string}.
      height: of the image, in pixels.
      width: of the image, in pixels.

    Returns:
      [height, width] of 0 and 1, or None where there is no segmentation.

    Raises:
      SegmentationError: the segmentation is malformed, or covers no pixel of the image.
    """
    if not segmentation:
        return None
    rasterize = _polygon_mask if isinstance(segmentation, list) else _run_length_mask
    mask = rasterize(segmentation, height, width)
    if not mask.any():
        raise SegmentationError("covers no pixel")
    return mask


def centroid(mask: np.ndarray) -> tuple[float, float]:
    """Mean position (x, y) of a mask's pixels, of which there are some, in fractions of the image."""
    height, width = mask.shape
    columns, rows = mask.sum(axis=0, dtype=np.float64), mask.sum(axis=1, dtype=np.float64)
    area = columns.sum()
    x = (columns * (np.arange(width) + 0.5)).sum() / (area * width)
    y = (rows * (np.arange(height) + 0.5)).sum() / (area * height)
    return float(x), float(y)


def _polygon_mask(polygons: list, height: int, width: int) -> np.ndarray:
    """Union of polygons as COCO rasterizes them, [height, width] of 0 and 1."""
    for polygon in polygons:
        # pycocotools would take a list of four numbers for a box.
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise SegmentationError("polygon of fewer than three points")
        if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in polygon):
            raise SegmentationError("polygon with a coordinate that is no finite number")
    return mask_tools.decode(mask_tools.merge(mask_tools.frPyObjects(polygons, height, width)))


def _run_length_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Run lengths, of 0 and 1 in turn down the columns, as a mask [height, width].

    They are expanded here and not by pycocotools, which leaves the pixels of missing runs at whatever was in memory.
    """
    if not isinstance(segmentation, dict) or segmentation.get("size") != [height, width]:
        raise SegmentationError("neither polygons nor run lengths of the image's size")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = _unpack_counts(counts)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise SegmentationError("run lengths that are not whole numbers")
    if sum(counts) != height * width:
        raise SegmentationError("run lengths that do not add up to the image")
    return np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T


def _unpack_counts(text: str) -> list[int]:
    """Run lengths of COCO's compressed form.

    Each character, less 48, holds five bits of a number, lowest first, and a sixth that says whether more follow; a set
    fifth bit in the last one makes it negative. From the fourth number on, it is a difference to the one before last.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise SegmentationError("compressed run lengths with a character that has no meaning")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise SegmentationError("compressed run lengths that break off")
    return counts
