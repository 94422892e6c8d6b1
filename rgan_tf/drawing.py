"""Pictures for people: a row a scene, with its graph in words, boxes, patches and images side by side."""

import base64
import colorsys
import dataclasses
import html
import io
import textwrap
from collections.abc import Sequence
from typing import Optional

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rgan_tf.scene_graph import SceneGraph

CELL = 224
_MARGIN = 10
_HEADER = 26
_PAPER, _INK, _FAINT = (255, 255, 255), (32, 32, 36), (120, 120, 128)
# What shows through patches: the colours of its squares, and their side in pixels.
_CHECKERBOARD, _SQUARE = ((255, 255, 255), (214, 214, 220)), 6


@dataclasses.dataclass(frozen=True)
class SceneView:
    """What is shown of one scene.

    boxes: float [n, 4], (x0, y0, x1, y1) in [0, 1]; patches: uint8 [n, h, w, C], None in every view of a sheet without
    any; pictures: titles with uint8 [H, W, 3] images, the same titles in every view of a sheet.
    """

    scene: SceneGraph
    boxes: np.ndarray
    patches: Optional[np.ndarray]
    pictures: tuple[tuple[str, np.ndarray], ...]


def draw_sheet(views: Sequence[SceneView]) -> Image.Image:
    """Draws one row a view under a line of column titles."""
    with_patches = views[0].patches is not None
    titles = [
        "scene graph",
        "boxes",
        *(["patches"] if with_patches else []),
        *(title for title, _ in views[0].pictures),
    ]
    width = _MARGIN + len(titles) * (CELL + _MARGIN)
    sheet = Image.new("RGB", (width, _HEADER + len(views) * (CELL + _MARGIN) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((_left(column), 6), title, fill=_FAINT, font=_font(14))
    for row, view in enumerate(views):
        cells = [_words(view.scene), _layout(view), *([_patches(view)] if with_patches else [])]
        cells += [_scaled(image) for _, image in view.pictures]
        for column, cell in enumerate(cells):
            sheet.paste(cell, (_left(column), _HEADER + row * (CELL + _MARGIN)))
    return sheet


def _left(column: int) -> int:
    return _MARGIN + column * (CELL + _MARGIN)


def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def object_colours(count: int) -> list[tuple[int, int, int]]:
    """Well separated colours, one an object."""
    hues = [(0.61 + i * 0.618034) % 1.0 for i in range(count)]
    return [tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, 0.8)) for hue in hues]


def _words(scene: SceneGraph) -> Image.Image:
    """The graph's relations as lines of text, then the objects that no relation names."""
    lines = [line for part in scene.in_words().split(", ") for line in textwrap.wrap(part, 30)]
    size = 14 if len(lines) * 18 <= CELL else max(8, int(CELL / len(lines) / 1.3))
    cell = Image.new("RGB", (CELL, CELL), (246, 246, 248))
    ImageDraw.Draw(cell).multiline_text((8, 8), "\n".join(lines), fill=_INK, font=_font(size), spacing=4)
    return cell


def _layout(view: SceneView) -> Image.Image:
    """Boxes with names, large ones first so that small ones stay visible."""
    cell = Image.new("RGB", (CELL, CELL), (246, 246, 248))
    pen = ImageDraw.Draw(cell)
    colours = object_colours(len(view.boxes))
    areas = (view.boxes[:, 2] - view.boxes[:, 0]) * (view.boxes[:, 3] - view.boxes[:, 1])
    for i in np.argsort(-areas):
        x0, y0, x1, y1 = (float(v) * (CELL - 1) for v in view.boxes[i])
        pen.rectangle((x0, y0, x1, y1), outline=colours[i], width=3)
        label = view.scene.objects[i]
        left, top, right, bottom = pen.textbbox((0, 0), label, font=_font(12))
        x, y = min(x0 + 4, CELL - right - 4), min(y0 + 3, CELL - bottom - 4)
        pen.rectangle((x - 2, y + top - 1, x + right + 2, y + bottom + 1), fill=(246, 246, 248))
        pen.text((x, y), label, fill=colours[i], font=_font(12))
    return cell


def _patches(view: SceneView) -> Image.Image:
    """The patches in a square grid, framed in their boxes' colours, with their names below."""
    columns = max(2, int(np.ceil(np.sqrt(len(view.patches)))))
    side = CELL // columns
    inner = side - 18
    cell = Image.new("RGB", (CELL, CELL), _PAPER)
    pen = ImageDraw.Draw(cell)
    colours = object_colours(len(view.patches))
    for i, patch in enumerate(view.patches):
        x, y = (i % columns) * side + 2, (i // columns) * side + 2
        cell.paste(patch_picture(patch, inner), (x + 1, y + 1))
        pen.rectangle((x, y, x + inner + 1, y + inner + 1), outline=colours[i], width=2)
        pen.text((x, y + inner + 1), view.scene.objects[i][: side // 6], fill=_INK, font=_font(11))
    return cell


def patch_picture(patch: np.ndarray, side: int) -> Image.Image:
    """A patch uint8 [h, w, C] as large as it is shown, on a checkerboard where its matte lets one through."""
    picture = Image.fromarray(patch).resize((side, side), Image.Resampling.BICUBIC)
    if picture.mode == "RGB":
        return picture
    squares = np.add.outer(np.arange(side) // _SQUARE, np.arange(side) // _SQUARE) % 2
    board = Image.fromarray(np.where(squares[..., None], *np.uint8(_CHECKERBOARD)).astype(np.uint8))
    board.paste(picture, mask=picture)
    return board


def _scaled(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((CELL, CELL), Image.Resampling.BICUBIC)


def page_picture(picture: Image.Image, words: str) -> str:
    """A picture inside a page of HTML, with `words` for those who cannot see it."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'
