"""The large and far things: sky, sun, moon, clouds, mountains, hills, sea, grass, snow."""

import cv2
import numpy as np

from pipelines.synthetic_scenes.canvas import Brush, Canvas, mix

_SNOW = (0.97, 0.98, 1.00)
_SNOW_FIELD = ((0.82, 0.88, 0.96), (0.95, 0.97, 1.00))
_ROCKS = ((0.46, 0.42, 0.42), (0.42, 0.44, 0.50), (0.50, 0.42, 0.36))


def sky(canvas: Canvas, owner: int, horizon: float, rng: np.random.Generator) -> None:
    """Fills everything with the sky: a gradient down to the horizon, stars at night."""
    canvas.owner[:] = owner
    height = np.linspace(0.0, 1.0 / max(horizon, 0.1), canvas.size)
    for channel in range(3):
        stops = [colour[channel] for colour in canvas.style.sky]
        canvas.colour[:, :, channel] = np.interp(height, (0.0, 0.55, 1.0), stops)[:, None]
    if canvas.style.stars:
        for x, y, size in rng.uniform(size=(60, 3)):
            glint = mix(canvas.style.sky[0], (1.0, 1.0, 0.95), 0.35 + 0.65 * size)
            canvas.ellipse((x, y * horizon), (0.0015 + 0.004 * size**2,) * 2, glint, owner)


def glow(canvas: Canvas, centre, radius: float, colour, strength: float) -> None:
    """Brightens the air around a light; owners stay."""
    axis = np.arange(canvas.size, dtype=np.float32) / canvas.size
    across, down = (np.exp(-((axis - middle) ** 2) / (2.0 * (2.2 * radius) ** 2)) for middle in centre)
    share = (0.8 * strength * down[:, None] * across[None, :])[..., None]
    canvas.colour *= 1.0 - share
    canvas.colour += share * np.float32(colour)


def sun(canvas: Canvas, owner: int, box, rng: np.random.Generator) -> None:
    """A disc, brighter in the middle, with a wide glow."""
    centre, radius = _disc(box)
    colour = canvas.style.sun
    glow(canvas, centre, radius, colour, canvas.style.glow)
    canvas.ellipse(centre, (radius, radius), mix(colour, canvas.style.haze, 0.25 * canvas.haze_at(0.6)), owner)
    canvas.ellipse(centre, (radius * 0.72,) * 2, mix(colour, (1.0, 1.0, 0.9), 0.30), owner)


def moon(canvas: Canvas, owner: int, box, rng: np.random.Generator) -> None:
    """A pale disc with craters."""
    centre, radius = _disc(box)
    pale = mix(canvas.style.moon, canvas.style.sky[1], 0.0 if canvas.style.stars else 0.22)
    glow(canvas, centre, radius, pale, 0.7 * canvas.style.glow)
    canvas.ellipse(centre, (radius, radius), pale, owner)
    dark = mix(pale, canvas.style.sky[0], 0.30)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    for angle, distance, size in ((0.0, 0.45, 0.28), (2.0, 0.5, 0.20), (3.6, 0.35, 0.24), (5.0, 0.62, 0.14)):
        offset = (np.cos(angle + turn) * distance * radius, np.sin(angle + turn) * distance * radius)
        canvas.ellipse((centre[0] + offset[0], centre[1] + offset[1]), (size * radius,) * 2, dark, owner)


def _disc(box):
    return ((box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0), (box[2] - box[0]) / 2.0


def cloud(canvas: Canvas, owner: int, box, rng: np.random.Generator) -> None:
    """Puffs on a flat base, lit from above."""
    bright, dark = canvas.style.cloud
    brush = Brush(canvas, owner, box, 0.5, mirrored=rng.random() < 0.5)
    puffs = [(-0.62, 0.72, 0.36, 0.27), (-0.22, 0.48, 0.40, 0.46), (0.26, 0.56, 0.36, 0.40), (0.66, 0.74, 0.32, 0.25)]
    puffs = [(u + rng.uniform(-0.05, 0.05), v, ru, rv * rng.uniform(0.9, 1.05)) for u, v, ru, rv in puffs]
    for colour, lift, shrink in ((dark, 0.0, 1.0), (mix(dark, bright, 0.6), -0.06, 0.88), (bright, -0.13, 0.70)):
        for u, v, ru, rv in puffs:
            brush.ellipse(u + 0.05 * canvas.light_from * (lift < 0), v + lift, ru * shrink, rv * shrink, colour)
        if lift == 0.0:
            brush.ellipse(0.0, 0.86, 0.92, 0.13, colour)


def mountain(canvas: Canvas, owner: int, box, rng: np.random.Generator) -> None:
    """Two or three rocky peaks with snow on top, one flank in shade."""
    brush = Brush(canvas, owner, box, 0.75, mirrored=rng.random() < 0.5)
    rock = _ROCKS[rng.integers(len(_ROCKS))]
    white = _SNOW
    peaks = [(-0.52, 0.34, 0.50), (0.50, 0.46, 0.50), (rng.uniform(-0.12, 0.12), 0.0, 0.66)]
    for u, top, half in peaks:
        top += rng.uniform(0.0, 0.06) * (top > 0)
        left, right = max(u - half, -1.0), min(u + half, 1.0)
        brush.polygon([(left, 1.0), (u, top), (right, 1.0)], rock)
        lit_left = canvas.light_from < 0
        edge = u + rng.uniform(-0.08, 0.08)
        shaded = [(u, top), (right, 1.0), (edge, 1.0)] if lit_left else [(u, top), (left, 1.0), (edge, 1.0)]
        brush.polygon(shaded, mix(rock, (0.1, 0.1, 0.2), 0.35))
        reach = 0.62 if canvas.style.snow_cover else 0.34
        base = top + (1.0 - top) * reach
        l_edge, r_edge = u + (left - u) * reach, u + (right - u) * reach
        teeth = np.linspace(l_edge, r_edge, 6)
        jags = base + (1.0 - top) * np.array([0.0, -0.10, 0.05, -0.09, 0.04, 0.0])
        brush.polygon([(u, top), *zip(teeth[::-1], jags[::-1])], white)
    brush.finish(relief=0.3)


def hill(canvas: Canvas, owner: int, box, rng: np.random.Generator) -> None:
    """A rounded hill with a bushy back."""
    style = canvas.style
    brush = Brush(canvas, owner, box, 0.6, mirrored=rng.random() < 0.5)
    base = mix(style.grass[1], style.foliage[rng.integers(len(style.foliage))], 0.45)
    u = np.linspace(-1.0, 1.0, 40)
    lean = rng.uniform(-0.25, 0.25)
    back = 1.0 - np.cos(np.clip(u + lean * (1.0 - u**2), -1.0, 1.0) * np.pi / 2.0) ** 0.9
    brush.polygon([(-1.0, 1.0), *zip(u, back), (1.0, 1.0)], base)
    for _ in range(14):
        at = rng.uniform(-0.8, 0.8)
        height = np.interp(at, u, back)
        v = height + (1.0 - height) * rng.uniform(0.15, 0.9)
        tone = mix(base, (0.05, 0.15, 0.08), rng.uniform(0.1, 0.35))
        brush.ellipse(at, v, 0.05, 0.07, tone)
    if style.snow_cover:
        cap = 0.35 * (1.0 - back) * (1.0 + 0.35 * np.sin(u * 17.0 + lean * 30.0))
        brush.polygon([*zip(u, back), *zip(u[::-1], (back + cap)[::-1])], _SNOW)
    brush.finish(relief=0.5)


def ground(canvas: Canvas, owner: int, kind: str, top: float, rng: np.random.Generator, wavy: bool) -> None:
    """Fills from `top` down with "grass", "snow" or "sea", the far edge `wavy` or straight."""
    size, style = canvas.size, canvas.style
    x = np.arange(size) / size
    edge = np.full(size, top)
    # Texture is finer on a finer canvas; numbers of its own keep the rest of the scene the same.
    grain = np.random.default_rng(rng.integers(2**63))
    if wavy:
        turns, phase = rng.uniform(3.0, 7.0), rng.uniform(0.0, 6.3)
        edge += 0.010 * np.sin(turns * x + phase) + 0.004 * np.sin(2.7 * turns * x + phase)
    first = max(int((top - 0.02) * size), 0)
    rows = np.arange(first, size) / size
    near = np.clip((rows - top) / (1.0 - top), 0.0, 1.0).astype(np.float32)
    far_colour, near_colour = {"grass": style.grass, "sea": style.sea, "snow": _SNOW_FIELD}[kind]
    base = np.float32(far_colour) + (np.float32(near_colour) - np.float32(far_colour)) * near[:, None] ** 0.7
    texture = (
        _ripples(grain, near, size) if kind == "sea" else _tufts(grain, near, size, 0.10 if kind == "grass" else 0.06)
    )
    veil = (style.haze_near + (style.haze_far - style.haze_near) * (1.0 - near) ** 1.5)[:, None]
    lit = base * (np.float32(style.ambient) + np.float32(0.65) * np.float32(style.key)) * (1.0 - veil)
    surface = lit[:, None, :] * (1.0 + texture)[..., None]
    surface += (veil * np.float32(style.haze))[:, None, :]
    covered = rows[:, None] >= edge[None, :]
    np.copyto(canvas.colour[first:], surface, where=covered[..., None])
    canvas.owner[first:][covered] = owner


def _ripples(rng: np.random.Generator, near: np.ndarray, size: int) -> np.ndarray:
    """Wave crests [rows, size]: long flat streaks that grow towards the viewer."""
    coarse = rng.standard_normal((max(len(near) // 5, 2), 12)).astype(np.float32)
    streaks = cv2.resize(coarse, (size, len(near)), interpolation=cv2.INTER_LINEAR)
    crests = np.where(streaks > 0.9, 0.30, 0.0) + 0.05 * streaks
    return (crests * (0.5 + 0.5 * near[:, None])).astype(np.float32)


def _tufts(rng: np.random.Generator, near: np.ndarray, size: int, strength: float) -> np.ndarray:
    """Mottling [rows, size]: broad patches and fine upright strokes."""
    broad = cv2.resize(rng.standard_normal((8, 8)).astype(np.float32), (size, len(near)), interpolation=cv2.INTER_CUBIC)
    fine_shape = (max(len(near) // 6, 2), size // 3)
    fine = cv2.resize(rng.standard_normal(fine_shape).astype(np.float32), (size, len(near)))
    return strength * (0.6 * np.clip(broad, -1.5, 1.5) + 0.8 * fine * near[:, None])


def specks(canvas: Canvas, rng: np.random.Generator) -> None:
    """Snowflakes or leaves in the air, before everything; owners stay."""
    if not canvas.style.specks:
        return
    for x, y, size in rng.uniform(size=(46 if canvas.style.snow_cover else 16, 3)):
        colour = canvas.style.specks[int(size * 1e6) % len(canvas.style.specks)]
        centre, radius = tuple(canvas.pixels((x, y)).tolist()), max(int((0.004 + 0.005 * size) * canvas.size), 1)
        cv2.circle(canvas.colour, centre, radius, colour, -1)
