"""What stands where: categories and places of a scene, drawn without regard to its style.

The one tie to the style is the share of suns among suns and moons.
"""

import dataclasses
from typing import Optional

import numpy as np

Box = tuple[float, float, float, float]

CATEGORIES = (
    "sky", "cloud", "sun", "moon", "mountain", "hill", "sea", "grass",
    "snow", "tree", "house", "boat", "sheep", "cow", "dog", "person",
)  # fmt: skip
LAND = ("grass", "snow")
# Width and height of the near things at the middle of the land, as shares of the picture.
SIZES: dict[str, tuple[float, float]] = {
    "tree": (0.25, 0.38),
    "house": (0.31, 0.29),
    "boat": (0.25, 0.27),
    "sheep": (0.225, 0.165),
    "cow": (0.27, 0.19),
    "dog": (0.20, 0.165),
    "person": (0.115, 0.29),
}
# How many of a kind a scene may hold, and how readily each is chosen.
_ON_LAND = {
    "tree": (3, 1.0),
    "house": (2, 0.8),
    "sheep": (3, 0.7),
    "cow": (2, 0.6),
    "dog": (1, 0.5),
    "person": (2, 0.8),
}
_BACKDROP = {"celestial": (1, 2.6), "cloud": (2, 1.1), "mountain": (1, 1.2), "hill": (1, 0.9)}
_PLACE_ATTEMPTS = 60


@dataclasses.dataclass(frozen=True)
class Item:
    """One object of the plan. `box` is where it is meant to be seen; `depth` is 1 at the horizon, 0 in front."""

    category: str
    box: Box
    depth: float


@dataclasses.dataclass(frozen=True)
class Layout:
    """A plan, its items in the order of painting."""

    horizon: float
    items: tuple[Item, ...]


def draw_layout(rng: np.random.Generator, num_objects: int, sun_chance: float) -> Optional[Layout]:
    """Plans a scene of `num_objects` objects; None where this draw leaves no room for them all."""
    kind = rng.choice(["land", "sea", "shore"], p=[0.5, 0.2, 0.3]) if num_objects > 3 else rng.choice(["land", "sea"])
    horizon = rng.uniform(0.42, 0.56)
    shore = horizon + rng.uniform(0.15, 0.21) if kind == "shore" else horizon
    items = [Item("sky", (0.0, 0.0, 1.0, horizon), 1.0)]
    grounds = []
    if kind != "land":
        grounds.append(Item("sea", (0.0, horizon, 1.0, shore if kind == "shore" else 1.0), 1.0))
    if kind != "sea":
        grounds.append(Item(str(rng.choice(LAND, p=[0.65, 0.35])), (0.0, shore, 1.0, 1.0), 1.0))
    chosen = _choose(rng, num_objects - 1 - len(grounds), kind, sun_chance)
    if chosen is None:
        return None
    far, near = [], []
    for category in chosen:
        placed = near if category in SIZES else far
        item = _place(rng, category, horizon, shore, kind, placed)
        if item is None:
            return None
        placed.append(item)
    far.sort(key=lambda item: ("sun", "moon", "cloud", "mountain", "hill").index(item.category))
    near.sort(key=lambda item: item.box[3])
    return Layout(horizon, tuple(items + far + grounds + near))


def _choose(rng: np.random.Generator, number: int, kind: str, sun_chance: float) -> Optional[list[str]]:
    """`number` categories besides sky and ground, at least one of them near."""
    near = {"land": _ON_LAND, "sea": {"boat": (3, 1.2)}, "shore": {**_ON_LAND, "boat": (2, 1.2)}}[kind]
    pool = [name for name, (most, _) in {**near, **_BACKDROP}.items() for _ in range(most)]
    weights = np.array([{**near, **_BACKDROP}[name][1] for name in pool])
    is_near = np.array([name in near for name in pool])
    if not 1 <= number <= len(pool):
        return None
    first = rng.choice(len(pool), p=weights * is_near / (weights * is_near).sum())
    others = np.delete(np.arange(len(pool)), first)
    rest = rng.choice(others, size=number - 1, replace=False, p=weights[others] / weights[others].sum())
    celestial = "sun" if rng.random() < sun_chance else "moon"
    return [celestial if pool[index] == "celestial" else pool[index] for index in (first, *rest)]


def _place(rng, category: str, horizon: float, shore: float, kind: str, placed: list[Item]) -> Optional[Item]:
    """Finds a place that does not hide what stands there already."""
    for _ in range(_PLACE_ATTEMPTS):
        item = _draw_place(rng, category, horizon, shore, kind)
        if all(_overlap(item.box, other.box) <= _tolerance(category, other.category) for other in placed):
            return item
    return None


def _tolerance(category: str, other: str) -> float:
    """Share of the smaller box that two things may have in common."""
    return 0.75 if {category, other} == {"mountain", "hill"} else 0.22


def _draw_place(rng, category: str, horizon: float, shore: float, kind: str) -> Item:
    if category in ("sun", "moon"):
        size = rng.uniform(0.17, 0.22)
        return Item(category, _around(rng.uniform(0.12, 0.88), rng.uniform(0.13, horizon - 0.14), size, size), 1.0)
    if category == "cloud":
        width = rng.uniform(0.28, 0.42)
        x, y = rng.uniform(0.16, 0.84), rng.uniform(0.09, 0.24)
        return Item(category, _inside(_around(x, y, width, width * rng.uniform(0.42, 0.52))), 0.6)
    if category in ("mountain", "hill"):
        width, height = rng.uniform(0.55, 0.95), rng.uniform(0.20, 0.30)
        if category == "hill":
            width, height = rng.uniform(0.5, 0.9), rng.uniform(0.12, 0.17)
        x = rng.uniform(0.2, 0.8)
        return Item(category, (x - width / 2, horizon - height, x + width / 2, horizon + 0.02), 0.8)
    on_sea = category == "boat"
    top, bottom = (horizon, shore if kind == "shore" else 1.0) if on_sea else (shore, 1.0)
    foot = rng.uniform(top + 0.08 if not on_sea else top + 0.06, bottom - 0.03)
    depth = float(np.clip(1.0 - (foot - horizon) / (1.0 - horizon), 0.0, 1.0))
    scale = rng.uniform(0.96, 1.06) * (1.16 - 0.20 * depth)
    width, height = (side * scale for side in SIZES[category])
    x = rng.uniform(width / 2 + 0.01, 0.99 - width / 2)
    return Item(category, (x - width / 2, foot - height, x + width / 2, foot), depth)


def _around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _inside(box: Box) -> Box:
    """The box moved into the picture's upper edge, where it would stick out."""
    lift = max(0.01 - box[1], 0.0)
    return box[0], box[1] + lift, box[2], box[3] + lift


def _overlap(first: Box, second: Box) -> float:
    """Intersection over the smaller of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return max(width, 0.0) * max(height, 0.0) / min(areas)
