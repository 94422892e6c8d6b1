"""Mattes: which pixels of an object's box show the object, as records keep them beside the box.

A matte is the share 0 to 255 of each pixel that is the object's, cut to the whole pixels of its box as the object's
patch is, and encoded as a PNG of one channel. Empty bytes stand for an object of which nobody said what it covers; it
is taken to fill its box.
"""

import cv2
import numpy as np

NONE = b""


def pixel_spans(box, height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of a picture that a box covers, its borders rounded to the nearest pixel.

    Args:
      box: (x0, y0, x1, y1) as fractions of the picture; one that is thinner than a pixel keeps one.
      height: of the picture, in pixels.
      width: of the picture, in pixels.
    """
    return _span(box[1], box[3], height), _span(box[0], box[2], width)


def _span(low, high, length: int) -> slice:
    start = min(int(np.floor(low * length + 0.5)), length - 1)
    return slice(start, max(int(np.floor(high * length + 0.5)), start + 1))


def encode(mask: np.ndarray, box) -> bytes:
    """The matte of an object.

    Args:
      mask: uint8 [H, W] over the whole picture, 255 where a pixel is all the object's.
      box: the object's, in fractions.

    Returns:
      A PNG of the box's part; `NONE` where the mask has nothing within it.
    """
    # In float32, as records hold it: a border at half a pixel would else be rounded otherwise when the patch is cut.
    part = np.ascontiguousarray(mask[pixel_spans(np.asarray(box, np.float32), *mask.shape)])
    return cv2.imencode(".png", part)[1].tobytes() if part.any() else NONE


def decode(matte: bytes, height: int, width: int) -> np.ndarray:
    """A matte uint8 [height, width], full where there is none.

    Raises:
      ValueError: it is no PNG of that size and one channel.
    """
    if matte == NONE:
        return np.full((height, width), 255, np.uint8)
    decoded = cv2.imdecode(np.frombuffer(matte, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.shape != (height, width) or decoded.dtype != np.uint8:
        found = "no picture" if decoded is None else f"{decoded.dtype}{list(decoded.shape)}"
        raise ValueError(f"its matte is {found}, not uint8[{height}, {width}]")
    return decoded
