"""What trees, houses and boats are like in each region: the third hidden factor."""

import numpy as np

from pipelines.synthetic_scenes.canvas import Brush, mix, pick, rectangle

_TRUNK = (0.42, 0.29, 0.19)
_LOGS = ((0.52, 0.33, 0.19), (0.45, 0.27, 0.17), (0.60, 0.42, 0.26))
_LIMEWASH = ((0.98, 0.97, 0.93), (0.96, 0.90, 0.80), (0.90, 0.94, 0.97))
_DOORS = ((0.16, 0.42, 0.72), (0.14, 0.54, 0.50), (0.72, 0.26, 0.22))
_HULLS = ((0.40, 0.24, 0.14), (0.30, 0.22, 0.18), (0.48, 0.32, 0.16))
_STRIPES = ((0.78, 0.20, 0.18), (0.20, 0.36, 0.60))
_SNOW = (0.97, 0.98, 1.00)
_WINDOW, _LAMP = (0.36, 0.50, 0.62), (1.00, 0.84, 0.42)


def palm(brush: Brush, leaf, rng: np.random.Generator) -> None:
    """A bare leaning trunk under a crown of fronds."""
    brush.polygon([(-0.16, 1.0), (0.02, 0.28), (0.14, 0.28), (0.06, 1.0)], mix(_TRUNK, (0.80, 0.70, 0.55), 0.35))
    dark = mix(leaf, (0.04, 0.16, 0.10), 0.35)
    for index, (u, v) in enumerate(((-1.0, 0.34), (1.0, 0.32), (-0.86, 0.58), (0.88, 0.56), (-0.42, 0.0), (0.52, 0.0))):
        bend = (0.08 + 0.55 * u, 0.5 * (0.24 + v) - 0.13)
        frond = [(0.08, 0.24), bend, (u, v + rng.uniform(-0.02, 0.02)), (bend[0], bend[1] + 0.12), (0.08, 0.32)]
        brush.polygon(frond, dark if index % 2 else leaf)
    if brush.style.snow_cover:
        brush.ellipse(0.08, 0.20, 0.34, 0.05, _SNOW)
    brush.ellipse(0.08, 0.29, 0.13, 0.05, (0.45, 0.30, 0.14))


def cabin(brush: Brush, rng: np.random.Generator) -> None:
    """A log house under a roof that nearly reaches the ground."""
    logs, roof = pick(rng, _LOGS), mix(pick(rng, _LOGS), (0.12, 0.10, 0.10), 0.55)
    brush.polygon(rectangle(-0.72, 0.44, 0.72, 1.0), logs)
    for v in (0.56, 0.70, 0.84):
        brush.polygon(rectangle(-0.72, v, 0.72, v + 0.03), mix(logs, (0.1, 0.05, 0.0), 0.5))
    brush.polygon([(0.0, 0.0), (1.0, 0.70), (0.86, 0.78), (0.0, 0.16), (-0.86, 0.78), (-1.0, 0.70)], roof)
    brush.polygon([(0.0, 0.14), (0.66, 0.62), (-0.66, 0.62)], mix(logs, (0.0, 0.0, 0.0), 0.2))
    if brush.style.snow_cover:
        brush.polygon([(0.0, 0.0), (0.72, 0.50), (0.60, 0.50), (0.0, 0.08), (-0.60, 0.50), (-0.72, 0.50)], _SNOW)
    brush.polygon(rectangle(-0.16, 0.66, 0.16, 1.0), mix(logs, (0.0, 0.0, 0.0), 0.55))
    pane = rectangle(-0.13, 0.36, 0.13, 0.52)
    if brush.style.lamps:
        brush.lamp(pane, _LAMP)
    else:
        brush.polygon(pane, _WINDOW)
    brush.finish(relief=0.4)


def flat_house(brush: Brush, rng: np.random.Generator) -> None:
    """Two whitewashed cubes with flat roofs and arched openings."""
    wall, door = pick(rng, _LIMEWASH), pick(rng, _DOORS)
    shade = mix(wall, (0.35, 0.35, 0.50), 0.22)
    brush.polygon(rectangle(-0.98, 0.36, 0.40, 1.0), wall)
    brush.polygon(rectangle(-0.30, 0.04, 0.72, 0.40), mix(wall, shade, 0.5))
    brush.polygon(rectangle(0.40, 0.36, 0.98, 1.0), shade)
    for u0, v, u1 in ((-1.0, 0.33, 1.0), (-0.34, 0.01, 0.76)):
        brush.polygon(rectangle(u0, v, u1, v + 0.05), _SNOW if brush.style.snow_cover else mix(wall, door, 0.12))
    brush.polygon(rectangle(-0.36, 0.66, -0.06, 1.0), door)
    brush.ellipse(-0.21, 0.66, 0.15, 0.07, door)
    for left, top in ((-0.80, 0.52), (0.06, 0.16), (0.56, 0.56)):
        pane = rectangle(left, top, left + 0.22, top + 0.16)
        if brush.style.lamps:
            brush.lamp(pane, _LAMP)
        else:
            brush.polygon(pane, mix(_WINDOW, door, 0.4))
    brush.finish(relief=0.4)


def longboat(brush: Brush, rng: np.random.Generator) -> None:
    """A low hull with high ends under a square striped sail."""
    hull, stripe, cloth = pick(rng, _HULLS), pick(rng, _STRIPES), (0.95, 0.92, 0.84)
    brush.polygon(rectangle(-0.04, 0.0, 0.04, 0.82), _TRUNK)
    brush.polygon(rectangle(-0.62, 0.06, 0.62, 0.58), cloth)
    for u in (-0.62, -0.12, 0.38):
        brush.polygon(rectangle(u, 0.06, u + 0.24, 0.58), stripe)
    brush.polygon([(-1.0, 0.40), (-0.84, 0.72), (0.84, 0.72), (1.0, 0.40), (0.80, 0.98), (-0.80, 0.98)], hull)
    brush.polygon([(-0.84, 0.72), (0.84, 0.72), (0.83, 0.79), (-0.83, 0.79)], mix(hull, (1.0, 0.9, 0.7), 0.35))
    if brush.style.snow_cover:
        brush.polygon(rectangle(-0.80, 0.68, 0.80, 0.73), _SNOW)
    if brush.style.lamps:
        brush.lamp(rectangle(-0.60, 0.84, -0.42, 0.92), _LAMP)
    brush.finish(relief=0.55)


def dhow(brush: Brush, rng: np.random.Generator) -> None:
    """A curved hull under one slanting three-cornered sail."""
    hull, sail = pick(rng, _HULLS), mix((0.97, 0.93, 0.82), pick(rng, _DOORS), rng.uniform(0.0, 0.25))
    brush.polygon([(-0.30, 0.80), (-0.24, 0.80), (-0.02, 0.18), (-0.08, 0.18)], _TRUNK)
    brush.polygon([(0.78, 0.0), (-0.72, 0.66), (0.34, 0.72)], sail)
    brush.polygon([(0.78, 0.0), (-0.72, 0.66), (-0.66, 0.68), (0.76, 0.05)], mix(_TRUNK, sail, 0.2))
    brush.polygon([(-1.0, 0.66), (-0.70, 0.78), (0.60, 0.78), (1.0, 0.62), (0.70, 1.0), (-0.62, 1.0)], hull)
    brush.polygon([(-1.0, 0.66), (-0.70, 0.78), (0.60, 0.78), (1.0, 0.62), (0.94, 0.72), (-0.88, 0.76)], sail)
    if brush.style.snow_cover:
        brush.polygon(rectangle(-0.66, 0.74, 0.58, 0.79), _SNOW)
    if brush.style.lamps:
        brush.lamp(rectangle(-0.40, 0.85, -0.20, 0.93), _LAMP)
    brush.finish(relief=0.55)
