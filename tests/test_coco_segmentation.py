"""Segmentations of COCO: polygons and both kinds of run lengths, and what is broken in them."""

import math

import cv2
import numpy as np
import pytest
from coco_files import HEIGHT, WIDTH, compressed

from pipelines.coco_stuff import segmentation


def test_masks_and_centroids_of_all_three_forms_agree():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (30, 20), (18, 9), 0, 0, 360, 1, -1)
    mask[40:45, 80:90] = 1
    rows, columns = np.nonzero(mask)
    expected = ((columns + 0.5).mean() / WIDTH, (rows + 0.5).mean() / HEIGHT)
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    uncompressed = {"size": [HEIGHT, WIDTH], "counts": counts}
    for form in (compressed(mask), uncompressed):
        found = segmentation.mask_of(form, HEIGHT, WIDTH)
        np.testing.assert_array_equal(found, mask)
        np.testing.assert_allclose(segmentation.centroid(found), expected)
    # Two overlapping rectangles count once: columns 10 to 50, rows 0 to 10.
    polygons = [[10, 0, 40, 0, 40, 10, 10, 10], [20, 0, 50, 0, 50, 10, 20, 10]]
    union = segmentation.mask_of(polygons, HEIGHT, WIDTH)
    np.testing.assert_allclose(segmentation.centroid(union), (0.3, 0.1))
    assert segmentation.mask_of(None, HEIGHT, WIDTH) is None
    assert segmentation.mask_of([], HEIGHT, WIDTH) is None


@pytest.mark.parametrize(
    "broken",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, math.inf]],
        [[1, 2, 3, 4, 5, "6"]],
        [7],
        "outline",
        {"size": [HEIGHT, WIDTH + 1], "counts": [HEIGHT * (WIDTH + 1)]},
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH + 5, -5]},
        {"size": [HEIGHT, WIDTH], "counts": ["5000"]},
        {"size": [HEIGHT, WIDTH], "counts": None},
        {"size": [HEIGHT, WIDTH], "counts": "~~~~~~~~"},
        {"size": [HEIGHT, WIDTH], "counts": "5"},
        {"size": [HEIGHT, WIDTH], "counts": "5P"},
        {"size": [HEIGHT, WIDTH], "counts": "ö"},
    ],
)
def test_broken_segmentations_are_told(broken):
    with pytest.raises(segmentation.SegmentationError):
        segmentation.mask_of(broken, HEIGHT, WIDTH)
