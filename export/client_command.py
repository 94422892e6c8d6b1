"""The command of `export.client`: scenes of a file, drawn by a server, as a PNG."""

import pathlib
from typing import Optional

import numpy as np
from absl import flags
from PIL import Image

from export.client import GenerationClient, Version
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import load_scenes
from rgan_tf.scene_requests import save_picture

_SERVER = flags.DEFINE_string("server", None, "HOST:PORT of a server's gRPC.", required=True)
_MODEL = flags.DEFINE_string("model", "rgan_tf", "The server's name for the model.")
_VERSION = flags.DEFINE_string("version", None, "A version's number or label; the server's own choice if not given.")
_SCENE = flags.DEFINE_string("scene", None, "JSON file with a scene graph or a list of them.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The PNG to write.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same picture.", 0, 2**63 - 1)
_SIGNATURE = flags.DEFINE_string("signature", None, "One that generates; chosen by what the scenes fix if not given.")
_SHEET = flags.DEFINE_bool(
    "sheet", True, "Draw graph, boxes and patches beside each picture; --nosheet: pictures alone."
)
_TIMEOUT = flags.DEFINE_float("timeout", 60.0, "Seconds for a call, further attempts included.", lower_bound=0.001)
_ROOTS = flags.DEFINE_string("root_certificates", None, "PEM file of whom to trust; the connection is then TLS.")


def main() -> None:
    """Reads scenes, has them drawn, writes the PNG."""
    roots = None if _ROOTS.value is None else _read(_ROOTS.value)
    with GenerationClient(_SERVER.value, model=_MODEL.value, timeout=_TIMEOUT.value, root_certificates=roots) as client:
        version = _version(_VERSION.value)
        scenes = load_scenes(_SCENE.value, None, *client.sizes(version))
        drawn = client.generate(scenes, _SEED.value, _SIGNATURE.value, version)
    if _SHEET.value:
        views = [SceneView(s, g.boxes, g.patches, (("image", g.image),)) for s, g in zip(scenes, drawn)]
        picture = draw_sheet(views)
    else:
        picture = Image.fromarray(np.concatenate([g.image for g in drawn]))
    save_picture(picture, _OUTPUT.value)
    print(f"{_OUTPUT.value}: {len(scenes)} scenes.")


def _version(text: Optional[str]) -> Optional[Version]:
    return int(text) if text is not None and text.isdecimal() else text


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"The certificates {path} cannot be read: {error.strerror}.") from error
