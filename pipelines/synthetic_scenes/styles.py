"""The six hidden styles: one light, palette and air for all objects of a scene; and two more hidden factors.

Neither adds or removes a kind of object; they change how each one looks, down to the smallest. The factors are drawn
for scenes that ask for them: a hue of the air, anywhere on a circle, which tints everything, and a region, in which
trees, houses and boats are built in a way of their own.
"""

import dataclasses
from typing import Optional

import numpy as np

Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Style:
    """Light, palette and air of a scene; colours are RGB in [0, 1].

    A surface shows its own colour times (`ambient` + `key` where it faces the light), mixed with `haze` by its
    distance: by `haze_near` in the foreground, by `haze_far` at the horizon. `sun_chance` is the share of suns among
    suns and moons.
    """

    name: str
    sky: tuple[Colour, Colour, Colour]
    key: Colour
    ambient: Colour
    haze: Colour
    haze_near: float
    haze_far: float
    foliage: tuple[Colour, ...]
    grass: tuple[Colour, Colour]
    sea: tuple[Colour, Colour]
    cloud: tuple[Colour, Colour]
    sun: Colour
    moon: Colour
    glow: float
    saturation: float
    contrast: float
    sun_chance: float
    shadow: float = 0.3
    shadow_length: float = 0.5
    snow_cover: bool = False
    lamps: bool = False
    stars: bool = False
    specks: tuple[Colour, ...] = ()
    # One of `REGIONS`; None where trees are of either kind, whatever else stands there.
    region: Optional[str] = None


REGIONS = ("valley", "north", "coast")
# How far the hue of the air moves light and sky from grey.
_TINT = 0.13
_GREENS = ((0.20, 0.48, 0.16), (0.28, 0.56, 0.18), (0.14, 0.42, 0.22))
_MEADOW = ((0.46, 0.70, 0.28), (0.30, 0.58, 0.18))
_WATER = ((0.44, 0.72, 0.86), (0.08, 0.36, 0.62))

STYLES = (
    Style(
        name="noon",
        sky=((0.13, 0.45, 0.90), (0.40, 0.70, 0.97), (0.80, 0.93, 1.00)),
        key=(0.52, 0.49, 0.40),
        ambient=(0.62, 0.65, 0.70),
        haze=(0.78, 0.90, 1.00),
        haze_near=0.0,
        haze_far=0.42,
        foliage=_GREENS,
        grass=_MEADOW,
        sea=_WATER,
        cloud=((1.00, 1.00, 1.00), (0.80, 0.87, 0.95)),
        sun=(1.00, 0.90, 0.30),
        moon=(0.90, 0.95, 1.00),
        glow=0.35,
        saturation=1.12,
        contrast=1.06,
        sun_chance=0.75,
        shadow=0.32,
        shadow_length=0.25,
    ),
    Style(
        name="dusk",
        sky=((0.26, 0.17, 0.46), (0.84, 0.36, 0.42), (1.00, 0.72, 0.36)),
        key=(0.88, 0.48, 0.18),
        ambient=(0.42, 0.31, 0.47),
        haze=(0.95, 0.50, 0.38),
        haze_near=0.06,
        haze_far=0.55,
        foliage=_GREENS,
        grass=_MEADOW,
        sea=((1.00, 0.66, 0.48), (0.36, 0.30, 0.56)),
        cloud=((1.00, 0.66, 0.48), (0.60, 0.32, 0.48)),
        sun=(1.00, 0.62, 0.20),
        moon=(1.00, 0.86, 0.74),
        glow=0.70,
        saturation=1.08,
        contrast=1.06,
        sun_chance=0.6,
        shadow=0.42,
        shadow_length=1.2,
    ),
    Style(
        name="night",
        sky=((0.02, 0.03, 0.13), (0.06, 0.10, 0.28), (0.16, 0.23, 0.46)),
        key=(0.33, 0.41, 0.54),
        ambient=(0.21, 0.26, 0.39),
        haze=(0.13, 0.19, 0.40),
        haze_near=0.05,
        haze_far=0.50,
        foliage=_GREENS,
        grass=_MEADOW,
        sea=((0.52, 0.66, 0.76), (0.22, 0.38, 0.52)),
        cloud=((0.30, 0.36, 0.56), (0.16, 0.20, 0.38)),
        sun=(0.86, 0.26, 0.14),
        moon=(0.98, 0.96, 0.84),
        glow=0.50,
        saturation=1.0,
        contrast=1.04,
        sun_chance=0.25,
        shadow=0.40,
        shadow_length=0.6,
        lamps=True,
        stars=True,
    ),
    Style(
        name="winter",
        sky=((0.56, 0.70, 0.84), (0.74, 0.84, 0.93), (0.93, 0.96, 0.99)),
        key=(0.24, 0.25, 0.28),
        ambient=(0.72, 0.80, 0.95),
        haze=(0.88, 0.94, 1.00),
        haze_near=0.04,
        haze_far=0.50,
        foliage=((0.30, 0.42, 0.40), (0.36, 0.46, 0.46), (0.26, 0.38, 0.40)),
        grass=((0.78, 0.85, 0.82), (0.56, 0.68, 0.62)),
        sea=((0.74, 0.86, 0.92), (0.36, 0.54, 0.66)),
        cloud=((0.99, 1.00, 1.00), (0.74, 0.81, 0.90)),
        sun=(1.00, 0.96, 0.76),
        moon=(0.96, 0.98, 1.00),
        glow=0.45,
        saturation=0.72,
        contrast=1.05,
        sun_chance=0.55,
        shadow=0.24,
        shadow_length=0.7,
        snow_cover=True,
        specks=((1.0, 1.0, 1.0),),
    ),
    Style(
        name="autumn",
        sky=((0.44, 0.66, 0.76), (0.80, 0.84, 0.72), (0.99, 0.90, 0.62)),
        key=(0.66, 0.47, 0.22),
        ambient=(0.60, 0.52, 0.44),
        haze=(0.98, 0.85, 0.58),
        haze_near=0.05,
        haze_far=0.48,
        foliage=((0.86, 0.36, 0.08), (0.92, 0.58, 0.10), (0.72, 0.20, 0.10)),
        grass=((0.82, 0.72, 0.34), (0.64, 0.52, 0.20)),
        sea=((0.72, 0.82, 0.70), (0.22, 0.44, 0.46)),
        cloud=((1.00, 0.95, 0.82), (0.86, 0.76, 0.62)),
        sun=(1.00, 0.80, 0.28),
        moon=(1.00, 0.95, 0.80),
        glow=0.50,
        saturation=1.06,
        contrast=1.03,
        sun_chance=0.6,
        shadow=0.34,
        shadow_length=0.8,
        specks=((0.86, 0.34, 0.06), (0.95, 0.62, 0.10)),
    ),
    Style(
        name="fog",
        sky=((0.66, 0.68, 0.66), (0.76, 0.77, 0.74), (0.84, 0.84, 0.80)),
        key=(0.10, 0.10, 0.09),
        ambient=(0.70, 0.71, 0.68),
        haze=(0.81, 0.81, 0.77),
        haze_near=0.32,
        haze_far=0.80,
        foliage=_GREENS,
        grass=_MEADOW,
        sea=((0.70, 0.78, 0.76), (0.40, 0.54, 0.56)),
        cloud=((0.90, 0.90, 0.86), (0.72, 0.73, 0.70)),
        sun=(0.97, 0.95, 0.82),
        moon=(0.92, 0.92, 0.86),
        glow=0.40,
        saturation=0.70,
        contrast=1.0,
        sun_chance=0.55,
        shadow=0.10,
        shadow_length=0.3,
    ),
)
STYLE_NAMES = tuple(style.name for style in STYLES)


def _shifted(colour: Colour, amount: Colour, gain: float = 1.0) -> Colour:
    return tuple(float(np.clip(value * gain + delta, 0.0, 1.0)) for value, delta in zip(colour, amount))


def vary(style: Style, rng: np.random.Generator) -> Style:
    """One scene's variant of a style: its light, sky and air a little warmer or colder, stronger or weaker."""
    warmth = rng.uniform(-0.035, 0.035)
    tint = (warmth, rng.uniform(-0.015, 0.015), -warmth)
    gain, air = rng.uniform(0.92, 1.08), rng.uniform(0.85, 1.15)
    return dataclasses.replace(
        style,
        sky=tuple(_shifted(colour, tint, rng.uniform(0.94, 1.05)) for colour in style.sky),
        key=_shifted(style.key, tint, gain),
        ambient=_shifted(style.ambient, tint, 2.0 - gain),
        haze=_shifted(style.haze, tint),
        haze_near=style.haze_near * air,
        haze_far=min(style.haze_far * air, 0.9),
        saturation=style.saturation * rng.uniform(0.94, 1.06),
    )


def in_region(style: Style, hue: float, region: str) -> Style:
    """A style under air of a hue, in turns of the circle from red over green to blue, and in a region."""
    turns = hue - np.arange(3) / 3.0
    tint = tuple(float(_TINT * np.cos(2.0 * np.pi * turn)) for turn in turns)
    half = tuple(value / 2.0 for value in tint)
    return dataclasses.replace(
        style,
        sky=tuple(_shifted(colour, tint) for colour in style.sky),
        cloud=tuple(_shifted(colour, half) for colour in style.cloud),
        key=_shifted(style.key, half),
        ambient=_shifted(style.ambient, tint),
        haze=_shifted(style.haze, tint),
        region=region,
    )
