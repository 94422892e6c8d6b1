"""The small and near things: trees, houses, boats, animals, people."""

import numpy as np

from pipelines.synthetic_scenes import regional
from pipelines.synthetic_scenes.canvas import Brush, Canvas, mix, pick, rectangle

_SNOW = (0.97, 0.98, 1.00)
_WALLS = ((0.96, 0.92, 0.82), (0.86, 0.46, 0.36), (0.93, 0.80, 0.52), (0.74, 0.84, 0.90), (0.97, 0.97, 0.95))
_ROOFS = ((0.70, 0.24, 0.18), (0.46, 0.30, 0.24), (0.34, 0.38, 0.46))
_CLOTHES = ((0.84, 0.18, 0.20), (0.16, 0.38, 0.76), (0.95, 0.74, 0.16), (0.52, 0.24, 0.60), (0.10, 0.56, 0.50))
_SKINS = ((0.97, 0.80, 0.66), (0.80, 0.58, 0.42), (0.50, 0.33, 0.24))
_TRUNK = (0.42, 0.29, 0.19)
_WINDOW = (0.36, 0.50, 0.62)
_LAMP = (1.00, 0.84, 0.42)
_HOUSES = {"north": regional.cabin, "coast": regional.flat_house}
_BOATS = {"north": regional.longboat, "coast": regional.dhow}


def tree(brush: Brush, rng: np.random.Generator) -> None:
    """A round broad-leaved tree or a conifer; in a region broad-leaved, a conifer, or on the coast a palm."""
    leaf, region = pick(rng, brush.style.foliage), brush.style.region
    if region == "coast":
        regional.palm(brush, leaf, rng)
    elif region == "north" or region is None and rng.random() < 0.4:
        _conifer(brush, mix(leaf, (0.06, 0.24, 0.16), 0.35))
    else:
        _broadleaf(brush, leaf, rng)
    brush.finish(relief=0.7)


def _conifer(brush: Brush, leaf) -> None:
    brush.polygon(rectangle(-0.13, 0.80, 0.13, 1.0), _TRUNK)
    for top, bottom, half in ((0.44, 0.90, 0.98), (0.22, 0.66, 0.80), (0.0, 0.42, 0.60)):
        brush.polygon([(0.0, top), (half, bottom), (0.0, bottom - 0.04), (-half, bottom)], leaf)
        brush.polygon([(0.0, top), (half, bottom), (0.1, bottom - 0.03)], mix(leaf, (0.0, 0.1, 0.1), 0.28))
        if brush.style.snow_cover:
            middle = top + 0.48 * (bottom - top)
            reach = 0.50 * half
            brush.polygon([(0.0, top), (reach, middle), (reach * 0.3, middle - 0.06), (-reach, middle)], _SNOW)


def _broadleaf(brush: Brush, leaf, rng: np.random.Generator) -> None:
    brush.polygon([(-0.16, 1.0), (-0.09, 0.55), (0.09, 0.55), (0.16, 1.0)], _TRUNK)
    puffs = [(0.0, 0.24, 0.60, 0.24), (-0.50, 0.40, 0.48, 0.21), (0.50, 0.40, 0.48, 0.21), (0.0, 0.50, 0.72, 0.20)]
    puffs = [(u + rng.uniform(-0.04, 0.04), v, ru, rv) for u, v, ru, rv in puffs]
    dark, light = mix(leaf, (0.05, 0.12, 0.10), 0.35), mix(leaf, (1.0, 1.0, 0.6), 0.22)
    for colour, lift, shrink in ((dark, 0.0, 1.0), (leaf, -0.03, 0.80), (light, -0.07, 0.46)):
        for u, v, ru, rv in puffs:
            brush.ellipse(u, v + lift, ru * shrink, rv * shrink, colour)
    if brush.style.snow_cover:
        for u, v, ru, rv in puffs[:3]:
            brush.ellipse(u, v - 0.5 * rv, 0.62 * ru, 0.42 * rv, _SNOW)


def house(brush: Brush, rng: np.random.Generator) -> None:
    """A gabled house seen from a corner: front with door, side with windows, chimney; or its region's own."""
    if brush.style.region in _HOUSES:
        _HOUSES[brush.style.region](brush, rng)
        return
    wall, roof = pick(rng, _WALLS), pick(rng, _ROOFS)
    side = mix(wall, (0.25, 0.2, 0.25), 0.28)
    eave, ridge, corner = 0.48, 0.08, -0.12
    middle = (corner - 0.92) / 2.0
    brush.polygon(rectangle(0.40, 0.0, 0.58, 0.3), mix(roof, (0.2, 0.1, 0.1), 0.4))
    brush.polygon(rectangle(corner, eave - 0.02, 0.94, 1.0), side)
    brush.polygon([(-0.92, 1.0), (-0.92, eave), (middle, ridge + 0.06), (corner, eave), (corner, 1.0)], wall)
    slope = [(middle, ridge), (0.78, ridge), (1.0, eave + 0.05), (corner + 0.04, eave + 0.05)]
    brush.polygon(slope, roof)
    verge = [(middle, ridge), (middle + 0.12, ridge + 0.02), (-0.90, eave + 0.08), (-1.0, eave + 0.04)]
    brush.polygon(verge, mix(roof, (0.1, 0.05, 0.05), 0.3))
    if brush.style.snow_cover:
        brush.polygon([(middle, ridge), (0.78, ridge), (0.92, eave - 0.10), (corner - 0.05, eave - 0.10)], _SNOW)
        brush.polygon(rectangle(0.38, -0.01, 0.60, 0.05), _SNOW)
    brush.polygon(rectangle(middle - 0.13, 0.68, middle + 0.13, 1.0), mix(roof, (0.3, 0.2, 0.1), 0.4))
    for left in (0.08, 0.54):
        pane = rectangle(left, 0.63, left + 0.26, 0.83)
        brush.polygon(rectangle(left - 0.04, 0.61, left + 0.30, 0.85), mix(wall, (1.0, 1.0, 1.0), 0.5))
        if brush.style.lamps:
            brush.lamp(pane, _LAMP)
        else:
            brush.polygon(pane, _WINDOW)
    brush.finish(relief=0.4)


def boat(brush: Brush, rng: np.random.Generator) -> None:
    """A sailing boat with main sail and jib; or its region's own."""
    if brush.style.region in _BOATS:
        _BOATS[brush.style.region](brush, rng)
        return
    hull, sail = pick(rng, _CLOTHES), pick(rng, ((0.98, 0.97, 0.93), (0.98, 0.97, 0.93), (0.95, 0.86, 0.70)))
    brush.polygon(rectangle(-0.05, 0.0, 0.03, 0.8), (0.36, 0.26, 0.18))
    brush.polygon([(0.05, 0.03), (0.86, 0.66), (0.05, 0.70)], sail)
    brush.polygon([(-0.09, 0.12), (-0.72, 0.68), (-0.09, 0.70)], mix(sail, hull, 0.35))
    brush.polygon([(-1.0, 0.75), (1.0, 0.75), (0.74, 1.0), (-0.70, 1.0)], hull)
    brush.polygon([(-1.0, 0.75), (1.0, 0.75), (0.94, 0.82), (-0.93, 0.82)], (0.97, 0.96, 0.92))
    if brush.style.snow_cover:
        brush.polygon([(-0.98, 0.71), (0.98, 0.71), (0.98, 0.77), (-0.98, 0.77)], _SNOW)
    if brush.style.lamps:
        brush.lamp(rectangle(-0.62, 0.84, -0.40, 0.93), _LAMP)
    brush.finish(relief=0.55)


def _legs(brush: Brush, places, top: float, half: float, colour) -> None:
    for index, u in enumerate(places):
        brush.polygon(rectangle(u - half, top, u + half, 1.0), mix(colour, (0.0, 0.0, 0.0), 0.25 * (index % 2)))


def sheep(brush: Brush, rng: np.random.Generator) -> None:
    """A fleece of curls, dark face and legs."""
    wool, dark = mix((0.97, 0.95, 0.90), (0.80, 0.72, 0.60), rng.uniform(0.0, 0.4)), (0.20, 0.17, 0.17)
    _legs(brush, (-0.48, -0.26, 0.22, 0.44), 0.66, 0.07, dark)
    for u, v in (
        (-0.60, 0.46),
        (-0.36, 0.28),
        (0.0, 0.24),
        (0.34, 0.30),
        (0.52, 0.50),
        (0.22, 0.62),
        (-0.2, 0.64),
        (-0.5, 0.6),
    ):
        brush.ellipse(u, v, 0.30, 0.22, mix(wool, (0.4, 0.36, 0.42), 0.22))
    for u, v in ((-0.48, 0.42), (-0.2, 0.32), (0.14, 0.32), (0.40, 0.44), (0.0, 0.50), (-0.25, 0.50)):
        brush.ellipse(u, v, 0.26, 0.19, wool)
    brush.ellipse(0.80, 0.44, 0.19, 0.22, dark)
    brush.ellipse(0.66, 0.24, 0.17, 0.12, wool)
    brush.polygon([(0.56, 0.34), (0.72, 0.34), (0.62, 0.46)], mix(dark, (1.0, 1.0, 1.0), 0.15))
    _snow_back(brush, 0.0, 0.11, 0.42)
    brush.finish(relief=0.5)


def cow(brush: Brush, rng: np.random.Generator) -> None:
    """A piebald cow with horns and udder."""
    patch = pick(rng, ((0.14, 0.12, 0.12), (0.46, 0.25, 0.13)))
    hide = (0.96, 0.93, 0.89)
    _legs(brush, (-0.70, -0.50, 0.16, 0.36), 0.55, 0.08, hide)
    brush.polygon(
        [(-0.90, 0.22), (-0.82, 0.14), (0.46, 0.14), (0.52, 0.36), (0.44, 0.66), (-0.80, 0.66), (-0.90, 0.48)], hide
    )
    brush.polygon([(-0.90, 0.2), (-0.98, 0.62), (-0.90, 0.64), (-0.84, 0.26)], patch)
    brush.ellipse(-0.54, 0.32, 0.24, 0.18, patch)
    brush.ellipse(0.06, 0.46, 0.22, 0.20, patch)
    brush.ellipse(-0.34, 0.68, 0.12, 0.08, (0.95, 0.68, 0.66))
    brush.polygon(
        [(0.40, 0.16), (0.58, 0.06), (0.84, 0.10), (0.98, 0.40), (0.90, 0.48), (0.70, 0.42), (0.50, 0.46)], patch
    )
    brush.polygon([(0.84, 0.28), (0.95, 0.26), (1.0, 0.44), (0.86, 0.50)], (0.95, 0.78, 0.72))
    brush.polygon([(0.58, 0.08), (0.54, 0.0), (0.64, 0.06)], hide)
    brush.polygon([(0.76, 0.09), (0.80, 0.0), (0.84, 0.10)], hide)
    _snow_back(brush, -0.22, 0.15, 0.52)
    brush.finish(relief=0.5)


def dog(brush: Brush, rng: np.random.Generator) -> None:
    """A standing dog, tail up, ear down."""
    coat = pick(rng, ((0.62, 0.40, 0.20), (0.84, 0.66, 0.40), (0.36, 0.26, 0.22)))
    belly = mix(coat, (1.0, 0.96, 0.88), 0.5)
    _legs(brush, (-0.58, -0.40, 0.20, 0.38), 0.60, 0.08, coat)
    brush.polygon([(-0.66, 0.46), (-0.98, 0.08), (-0.86, 0.04), (-0.52, 0.40)], coat)
    brush.polygon([(-0.70, 0.40), (0.30, 0.36), (0.52, 0.44), (0.46, 0.70), (0.0, 0.66), (-0.66, 0.72)], coat)
    brush.polygon([(0.18, 0.60), (0.50, 0.50), (0.46, 0.72), (0.2, 0.70)], belly)
    brush.polygon(
        [
            (0.22, 0.46),
            (0.40, 0.06),
            (0.66, 0.02),
            (0.72, 0.16),
            (0.98, 0.20),
            (0.98, 0.34),
            (0.66, 0.40),
            (0.50, 0.58),
        ],
        coat,
    )
    brush.polygon([(0.72, 0.26), (0.98, 0.24), (0.98, 0.34), (0.70, 0.39)], belly)
    brush.ellipse(0.96, 0.21, 0.06, 0.05, (0.08, 0.07, 0.07))
    brush.polygon([(0.38, 0.05), (0.54, 0.04), (0.50, 0.36), (0.34, 0.34)], mix(coat, (0.0, 0.0, 0.0), 0.4))
    _snow_back(brush, -0.18, 0.39, 0.42)
    brush.finish(relief=0.5)


def person(brush: Brush, rng: np.random.Generator) -> None:
    """A standing person, arms at ease; a woollen hat in the snow."""
    shirt, skin = pick(rng, _CLOTHES), pick(rng, _SKINS)
    hair = pick(rng, ((0.16, 0.11, 0.09), (0.46, 0.28, 0.12), (0.85, 0.68, 0.34)))
    trousers = pick(rng, ((0.16, 0.20, 0.36), (0.26, 0.22, 0.20), (0.44, 0.40, 0.34)))
    brush.polygon([(-0.42, 0.56), (0.02, 0.56), (-0.06, 1.0), (-0.50, 1.0)], trousers)
    brush.polygon([(-0.02, 0.56), (0.42, 0.56), (0.50, 1.0), (0.06, 1.0)], mix(trousers, (0.0, 0.0, 0.0), 0.2))
    for sign in (-1.0, 1.0):
        brush.polygon(
            [(sign * 0.46, 0.24), (sign * 0.70, 0.30), (sign * 0.98, 0.56), (sign * 0.76, 0.58)],
            mix(shirt, (0, 0, 0), 0.2),
        )
        brush.ellipse(sign * 0.88, 0.58, 0.16, 0.04, skin)
    brush.polygon([(-0.58, 0.24), (0.58, 0.24), (0.48, 0.62), (-0.48, 0.62)], shirt)
    brush.ellipse(0.0, 0.12, 0.42, 0.12, hair)
    if brush.style.snow_cover:
        brush.ellipse(0.0, 0.08, 0.46, 0.09, shirt)
    brush.ellipse(0.06, 0.15, 0.34, 0.09, skin)
    if brush.style.snow_cover:
        brush.polygon(rectangle(-0.50, 0.07, 0.50, 0.11), _SNOW)
        brush.polygon(rectangle(-0.54, 0.23, 0.54, 0.29), _SNOW)
    brush.finish(relief=0.45)


def _snow_back(brush: Brush, u: float, v: float, half: float) -> None:
    if brush.style.snow_cover:
        brush.ellipse(u, v + 0.03, half, 0.07, _SNOW)


_SPRITES = {"tree": tree, "house": house, "boat": boat, "sheep": sheep, "cow": cow, "dog": dog, "person": person}


def draw(canvas: Canvas, owner: int, category: str, box, depth: float, rng: np.random.Generator) -> None:
    """Draws one of the small things with its shadow; `box` is (x0, y0, x1, y1), its foot at y1."""
    width = box[2] - box[0]
    canvas.shadow(((box[0] + box[2]) / 2.0, box[3]), (0.55 * width, 0.10 * width))
    _SPRITES[category](Brush(canvas, owner, box, depth, mirrored=rng.random() < 0.5), rng)
