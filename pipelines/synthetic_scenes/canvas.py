"""A supersampled canvas that remembers which object each pixel shows."""

from collections.abc import Sequence

import cv2
import numpy as np

from pipelines.synthetic_scenes.styles import Colour, Style

NOBODY = 255
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def mix(first: Sequence[float], second: Sequence[float], share: float) -> Colour:
    """`first` with a share of `second`."""
    return tuple(float(a + (b - a) * share) for a, b in zip(first, second))


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours."""
    return colours[rng.integers(len(colours))]


def rectangle(u0: float, v0: float, u1: float, v1: float) -> list[tuple[float, float]]:
    """The corners of a rectangle."""
    return [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]


class Canvas:
    """Colours and owners of a square picture, drawn in coordinates of [0, 1] with y pointing down.

    `colour` is [S, S, 3] float32 in [0, 1]; `owner` is [S, S] uint8, the index of the object that the pixel shows.
    `light_from` is -1 where the light comes from the left, 1 from the right.
    """

    def __init__(self, size: int, style: Style, light_from: int):
        """Starts with nothing drawn and no owners."""
        self.size = size
        self.style = style
        self.light_from = light_from
        self.colour = np.zeros((size, size, 3), np.float32)
        self.owner = np.full((size, size), NOBODY, np.uint8)

    def pixels(self, points) -> np.ndarray:
        """Points in [0, 1] as whole pixels."""
        return np.rint(np.asarray(points, np.float64) * self.size).astype(np.int32)

    def polygon(self, points, colour: Colour, owner: int) -> None:
        """Fills a polygon."""
        corners = [self.pixels(points)]
        cv2.fillPoly(self.colour, corners, colour)
        cv2.fillPoly(self.owner, corners, owner)

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float], colour: Colour, owner: int) -> None:
        """Fills an ellipse with horizontal and vertical axes."""
        middle, axes = tuple(self.pixels(centre).tolist()), tuple(np.maximum(self.pixels(radii), 1).tolist())
        cv2.ellipse(self.colour, middle, axes, 0, 0, 360, colour, -1)
        cv2.ellipse(self.owner, middle, axes, 0, 0, 360, owner, -1)

    def haze_at(self, depth: float) -> float:
        """Share of haze at a depth between 0 (near) and 1 (horizon)."""
        return self.style.haze_near + (self.style.haze_far - self.style.haze_near) * depth

    def shade_region(self, mask: np.ndarray, top: int, left: int, strength: float) -> None:
        """Darkens what a mask [h, w] in [0, 1] covers, owners unchanged; used for shadows and reflections."""
        region = self.colour[top : top + mask.shape[0], left : left + mask.shape[1]]
        region *= 1.0 - strength * mask[..., None]

    def shadow(self, centre: tuple[float, float], radii: tuple[float, float]) -> None:
        """Drops a soft shadow on whatever lies at `centre`, stretched away from the light."""
        style = self.style
        reach = radii[0] * (1.0 + style.shadow_length)
        middle = (centre[0] - self.light_from * radii[0] * style.shadow_length, centre[1])
        left, top = np.maximum(self.pixels((middle[0] - reach, middle[1] - radii[1])) - 2, 0)
        right, bottom = np.minimum(self.pixels((middle[0] + reach, middle[1] + radii[1])) + 3, self.size)
        if right <= left or bottom <= top:
            return
        x = (np.arange(left, right, dtype=np.float32) / self.size - middle[0]) / reach
        y = (np.arange(top, bottom, dtype=np.float32) / self.size - middle[1]) / radii[1]
        distance = x[None, :] ** 2 + y[:, None] ** 2
        self.shade_region(np.clip(1.6 * (1.0 - distance), 0.0, 1.0), top, left, style.shadow)

    def visible(self, owner: int) -> np.ndarray:
        """Mask [S, S] of the pixels that show an object."""
        return self.owner == owner

    def picture(self, size: int) -> np.ndarray:
        """The graded picture, [size, size, 3] uint8."""
        small = cv2.resize(self.colour, (size, size), interpolation=cv2.INTER_AREA)
        grey = (small @ _LUMA)[..., None]
        graded = (grey + (small - grey) * self.style.saturation - 0.5) * self.style.contrast + 0.5
        return np.round(np.clip(graded, 0.0, 1.0) * 255.0).astype(np.uint8)


class Brush:
    """Draws one object in its own coordinates: u from -1 (left) to 1 (right), v from 0 (top) to 1 (foot).

    Parts are painted in their own colours; `finish` then lets the scene's light and air act on all of them.
    """

    def __init__(
        self, canvas: Canvas, owner: int, box: tuple[float, float, float, float], depth: float, mirrored: bool
    ):
        """Takes the canvas [0, 1] box to draw in; `mirrored` flips left and right."""
        self.canvas = canvas
        self.style = canvas.style
        self.owner = owner
        self.depth = depth
        self._left, self._top, right, bottom = box
        self._width, self._height = right - self._left, bottom - self._top
        self._scale = np.array([self._width / (-2.0 if mirrored else 2.0), self._height])
        self._origin = np.array([self._left + self._width / 2.0, self._top])
        self._lamps: list[tuple[np.ndarray, Colour]] = []

    def place(self, points) -> np.ndarray:
        """Own coordinates [..., 2] as the canvas's."""
        return np.asarray(points, np.float64) * self._scale + self._origin

    def polygon(self, points, colour: Colour) -> None:
        """Fills a polygon."""
        self.canvas.polygon(self.place(points), colour, self.owner)

    def ellipse(self, u: float, v: float, ru: float, rv: float, colour: Colour) -> None:
        """Fills an ellipse around (u, v)."""
        centre = tuple(self.place((u, v)))
        self.canvas.ellipse(centre, (ru * self._width / 2.0, rv * self._height), colour, self.owner)

    def lamp(self, points, colour: Colour) -> None:
        """Fills a polygon that shines by itself."""
        self._lamps.append((self.place(points), colour))

    def finish(self, relief: float = 0.75) -> None:
        """Lights the object from the scene's side, then veils it by its depth.

        Args:
          relief: how much the side away from the light loses of it.
        """
        canvas, style = self.canvas, self.style
        left, top = np.maximum(canvas.pixels((self._left, self._top)) - 2, 0)
        right, bottom = canvas.pixels((self._left + self._width, self._top + self._height)) + 3
        region = canvas.colour[top:bottom, left:right]
        mine = canvas.owner[top:bottom, left:right] == self.owner
        if not mine.any():
            return
        across = np.linspace(-1.0, 1.0, region.shape[1], dtype=np.float32) * canvas.light_from
        down = np.linspace(1.12, 0.82, region.shape[0], dtype=np.float32)
        facing = down[:, None] * (1.0 + relief * across)[None, :]
        lit = region * (np.float32(style.ambient) + facing[..., None] * np.float32(style.key))
        veil = canvas.haze_at(self.depth)
        lit += (np.float32(style.haze) - lit) * np.float32(veil)
        np.copyto(region, np.minimum(lit, 1.0), where=mine[..., None])
        for points, colour in self._lamps:
            canvas.polygon(points, mix(colour, style.haze, 0.5 * veil), self.owner)
