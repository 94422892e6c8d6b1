"""Pictures and figures of the page: as data of the page itself, so that it asks for no file."""

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from export.studio.sessions import Drawn
from rgan_tf.drawing import SceneView, draw_sheet, object_colours, patch_picture
from rgan_tf.scene_requests import SourcePicture

_PATCH_SIDE = 56
# Pictures are small; the browser's own enlarging would blur them.
_LEAST_SIDE = 384
_OUTLINE = (214, 40, 40)


def png_of(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def address_of(picture: Image.Image) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png_of(picture)).decode()}"


def plain(image: np.ndarray) -> Image.Image:
    """An image uint8 [H, W, 3] at its own size."""
    return Image.fromarray(image)


def enlarged(image: np.ndarray) -> Image.Image:
    """An image uint8 [H, W, 3], as large as it is shown."""
    picture = Image.fromarray(image)
    times = max(1, -(-_LEAST_SIDE // picture.width))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC)


def patch_address(patch: np.ndarray) -> str:
    """A patch uint8 [h, w, C] as it is shown."""
    return address_of(patch_picture(patch, _PATCH_SIDE))


def outlined(source: SourcePicture) -> Image.Image:
    """A source picture with the box outlined that was cut from it."""
    picture = enlarged(source.image)
    width, height = picture.size
    x0, y0, x1, y1 = (float(v) * side for v, side in zip(source.box, (width, height) * 2))
    ImageDraw.Draw(picture).rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=_OUTLINE, width=4)
    return picture


def difference(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, float]:
    """What of a picture changed: the change of each pixel, white where it is largest, as uint8 [H, W, 3], and the share
    of pixels that differ in any colour by more than a sixteenth."""
    change = np.abs(after.astype(int) - before.astype(int)).max(axis=-1)
    shown = (255 * change / max(1, change.max())).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=-1), float((change > 16).mean())


def sheet_of(drawn: Drawn) -> Image.Image:
    """Graph, boxes, patches and picture side by side."""
    answer = drawn.answer
    return draw_sheet([SceneView(drawn.scene.graph, answer.boxes, answer.patches, (("image", answer.image),))])


def shown_order(boxes: np.ndarray) -> list[int]:
    """Objects in the order in which their boxes lie on each other: small ones on top, so that all can be reached."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [int(i) for i in np.argsort(-areas, kind="stable")]


def layout_figure(drawn: Drawn, with_boxes: bool) -> dict:
    """The picture with its boxes over it, to be dragged and resized, as a figure of Plotly.

    Shape n is the box of object `shown_order(boxes)[n]`; a given box has a full line, a predicted one dashes.
    """
    colours = object_colours(len(drawn.scene.graph.objects))
    shapes, names = [], []
    for i in shown_order(drawn.answer.boxes) if with_boxes else ():
        x0, y0, x1, y1 = map(float, drawn.answer.boxes[i])
        colour = "rgb({}, {}, {})".format(*colours[i])
        given = drawn.scene.boxes[i] is not None
        shapes.append(
            {
                "type": "rect",
                "editable": True,
                **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
                "line": {"color": colour, "width": 3, "dash": "solid" if given else "dash"},
                # Some fill, by which the box can be taken hold of.
                "fillcolor": "rgba(255, 255, 255, 0.01)",
            }
        )
        names.append(
            {
                "text": drawn.scene.graph.objects[i],
                **{"x": x0, "y": y0, "xref": "x", "yref": "y", "xanchor": "left", "yanchor": "top"},
                "showarrow": False,
                "bgcolor": "rgba(255, 255, 255, 0.85)",
                "font": {"size": 12, "color": "#202024"},
                "bordercolor": colour,
            }
        )
    axis = {"range": [0, 1], "visible": False, "fixedrange": True}
    image = {"source": address_of(enlarged(drawn.answer.image)), "xref": "x", "yref": "y", "x": 0, "y": 0}
    return {
        "data": [],
        "layout": {
            "images": [{**image, "sizex": 1, "sizey": 1, "sizing": "stretch", "layer": "below"}],
            "shapes": shapes,
            "annotations": names,
            "xaxis": axis,
            "yaxis": {**axis, "range": [1, 0], "scaleanchor": "x"},
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "dragmode": False,
            "uirevision": drawn.revision,
        },
    }
