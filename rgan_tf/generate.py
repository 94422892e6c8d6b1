"""Turns scene graphs into a picture: python -m rgan_tf.generate --workspace=… --scene=FILE.json --output=FILE.png."""

import numpy as np
from absl import flags

from rgan_tf import commands  # isort: split

from PIL import Image

from rgan_tf.config import MODELS
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.scene_generator import load
from rgan_tf.scene_graph import load_scenes
from rgan_tf.scene_requests import save_picture

_WORKSPACE = flags.DEFINE_string("workspace", None, "A trained workspace, or an exported model.", required=True)
_MODEL = flags.DEFINE_enum("model", "", ["", *MODELS], "Of several that were trained in a workspace, which one draws.")
_SCENE = flags.DEFINE_string("scene", None, "JSON file with a scene graph or a list of them.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The PNG to write.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same picture.", lower_bound=0)
_SAMPLES = flags.DEFINE_integer(
    "num_samples", 1, "Pictures of each scene, with seeds that follow each other.", lower_bound=1
)
_SHEET = flags.DEFINE_bool(
    "sheet", True, "Draw graph, boxes and patches beside each picture; --nosheet: pictures alone."
)


def main() -> None:
    """Reads scenes, draws them, writes the PNG."""
    generator = load(_WORKSPACE.value, _MODEL.value)
    scenes = load_scenes(_SCENE.value, generator.vocabulary, generator.max_objects, generator.max_triples)
    drawn = [
        (scene, answer)
        for sample in range(_SAMPLES.value)
        for scene, answer in zip(scenes, generator.draw(scenes, _SEED.value + sample))
    ]
    if _SHEET.value:
        picture = draw_sheet([SceneView(s, g.boxes, g.patches, (("image", g.image),)) for s, g in drawn])
    else:
        rows = [np.concatenate([g.image for _, g in drawn[i :: len(scenes)]], axis=1) for i in range(len(scenes))]
        picture = Image.fromarray(np.concatenate(rows))
    save_picture(picture, _OUTPUT.value)
    print(f"{_OUTPUT.value}: {len(scenes)} scenes, {_SAMPLES.value} pictures each.")


if __name__ == "__main__":
    commands.run(main)
