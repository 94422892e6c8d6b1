"""One synthetic scene from its number: layout, style, picture, boxes and centroids of what is seen."""

import dataclasses
from typing import Optional

import cv2
import numpy as np

from pipelines.synthetic_scenes import scenery, sprites
from pipelines.synthetic_scenes.canvas import Canvas
from pipelines.synthetic_scenes.layout import LAND, Layout, draw_layout
from pipelines.synthetic_scenes.styles import REGIONS, STYLES, in_region, vary
from rgan_tf.config import ConfigError, sizes

# The drawing is finer than the picture: at least this many pixels a side, and at least twice the picture's.
_DRAWN_SIZE = 192
# Share of a near thing's own drawing that must stay in sight.
_MIN_VISIBLE = 0.55
# A box spans the rows and columns of which an object covers more than this, so that no stray pixel stretches it.
_SLIVER = 0.006
_ATTEMPTS = 400
_ATTEMPTS_PER_NUMBER = 100


@dataclasses.dataclass(frozen=True)
class SyntheticScene:
    """A picture [size, size, 3] uint8 and its objects, back to front.

    `boxes` [n, 4] and `centroids` [n, 2] float32 are those of the pixels that show each object, in [0, 1]; `style` is
    the index of its hidden style; `owners` [S, S] uint8 says which object each pixel of the finer drawing shows;
    `factors` are hue in [0, 1) and the index of the region, where they were asked for.
    """

    image: np.ndarray
    style: int
    categories: tuple[str, ...]
    boxes: np.ndarray
    centroids: np.ndarray
    owners: np.ndarray
    factors: tuple[float, ...] = ()

    def mask(self, place: int) -> np.ndarray:
        """The share 0 to 255 of each pixel of the picture that shows an object, uint8 [size, size]."""
        shown = np.where(self.owners == place, np.uint8(255), np.uint8(0))
        return cv2.resize(shown, self.image.shape[:2], interpolation=cv2.INTER_AREA)


def draw_scene(
    rng: np.random.Generator,
    image_size: int,
    min_object_area: float,
    min_objects: int,
    max_objects: int,
    with_factors: bool = False,
) -> SyntheticScene:
    """Draws scenes until one shows all of its objects well enough.

    Args:
      rng: all of the scene's randomness.
      image_size: side of the picture, in pixels.
      min_object_area: share of the picture that every object's box must exceed.
      min_objects: fewest objects.
      max_objects: most objects; of the numbers between, only those of `sizes.SYNTHETIC_OBJECTS` are drawn.
      with_factors: whether hue and region are drawn beside the style.

    Raises:
      ValueError: no such scene was found, because the bounds leave no room.
    """
    least, room = sizes.SYNTHETIC_OBJECTS
    fewest, most = min(max(min_objects, least), max_objects), max(min(max_objects, room), min_objects)
    style_index = int(rng.integers(len(STYLES)))
    style, factors = vary(STYLES[style_index], rng), ()
    if with_factors:
        factors = (float(rng.random()), int(rng.integers(len(REGIONS))))
        style = in_region(style, factors[0], REGIONS[factors[1]])
    for attempt in range(_ATTEMPTS):
        # A crowded scene needs more draws than an empty one, and should not be given up for it.
        if attempt % _ATTEMPTS_PER_NUMBER == 0:
            num_objects = int(rng.integers(fewest, most + 1))
        layout = draw_layout(rng, num_objects, style.sun_chance)
        if layout is None:
            continue
        size = max(_DRAWN_SIZE, 2 * image_size)
        canvas = Canvas(size, style, light_from=int(rng.choice([-1, 1])))
        _paint(canvas, layout, rng)
        geometry = _geometry(canvas, layout, min_object_area)
        if geometry is not None:
            categories = tuple(item.category for item in layout.items)
            picture = canvas.picture(image_size)
            return SyntheticScene(picture, style_index, categories, *geometry, canvas.owner, factors)
    raise ConfigError(
        f"No scene of {min_objects} to {max_objects} objects, each box above {min_object_area} of the picture, was "
        f"found in {_ATTEMPTS} draws; lower data.min_object_area or data.min_objects."
    )


def _paint(canvas: Canvas, layout: Layout, rng: np.random.Generator) -> None:
    for owner, item in enumerate(layout.items):
        if item.category == "sky":
            scenery.sky(canvas, owner, layout.horizon, rng)
        elif item.category in ("sea", *LAND):
            scenery.ground(canvas, owner, item.category, item.box[1], rng, wavy=item.category != "sea")
        elif item.category in ("sun", "moon", "cloud", "mountain", "hill"):
            getattr(scenery, item.category)(canvas, owner, item.box, rng)
        else:
            sprites.draw(canvas, owner, item.category, item.box, item.depth, rng)
    scenery.specks(canvas, rng)


def _geometry(canvas: Canvas, layout: Layout, min_object_area: float) -> Optional[tuple[np.ndarray, np.ndarray]]:
    """Boxes and centroids of what is seen; None where an object is too small or too much hidden."""
    boxes, centroids = [], []
    sliver = _SLIVER * canvas.size
    for owner, item in enumerate(layout.items):
        mask = canvas.visible(owner)
        columns, rows = mask.sum(axis=0), mask.sum(axis=1)
        x, y = np.flatnonzero(columns > sliver), np.flatnonzero(rows > sliver)
        if not len(x) or not len(y):
            return None
        box = np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], np.float64) / canvas.size
        area = (box[2] - box[0]) * (box[3] - box[1])
        meant = np.clip(item.box, 0.0, 1.0)
        if area <= min_object_area or area < _MIN_VISIBLE * (meant[2] - meant[0]) * (meant[3] - meant[1]):
            return None
        boxes.append(box)
        centre = np.arange(canvas.size) + 0.5
        centroids.append(np.array([columns @ centre, rows @ centre]) / (columns.sum() * canvas.size))
    return np.float32(boxes), np.float32(centroids)
