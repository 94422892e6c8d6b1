"""A split's scenes for other systems to draw: python -m rgan_tf.evaluation.scenes --workspace=… --write_scenes=DIR.

Writes `scenes.json`, a list of scenes in sg2im's form (objects, relationships of [subject, predicate, object]) with the
scene's name and its true boxes, and `sentences.txt`, a line a scene, for systems that take text. Pictures that are
named after the scenes are scored by `python -m rgan_tf.evaluate --pictures=DIR`.
"""

import json
import os
import pathlib

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.input_pipeline import SceneSource, evaluation_batches
from rgan_tf.evaluation.pictures.picture_folder import scene_name
from rgan_tf.evaluation.pictures.split_drawing import SPLITS, scenes_of
from rgan_tf.progress import progress_bar
from rgan_tf.scene_graph import SceneGraph, Vocabulary, unpad_scene
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

_BATCH = 64


def sentence(scene: SceneGraph) -> str:
    """A scene graph as text: "sheep standing on grass. sky above grass. boat."

    Every relation is a sentence of subject, predicate and object, in the graph's order; every object that no relation
    names follows as a sentence of its own. Objects of one name cannot be told apart, which is so for every system that
    takes text.
    """
    return " ".join(f"{phrase}." for phrase in scene.phrases())


def write_scenes(source: SceneSource, names: Vocabulary, directory) -> int:
    """Writes both files, each whole or not at all, and returns the number of scenes.

    Args:
      source: the split; its scene graphs are those of the evaluation.
      names: the vocabulary.
      directory: made where it is not there.
    """
    directory, scenes, lines = pathlib.Path(directory), [], []
    with progress_bar(total=source.size, desc=f"{source.split} scenes", unit="scene") as bar:
        for batch in evaluation_batches(source, _BATCH):
            arrays = scenes_of(batch)
            for row, index in enumerate(arrays["scene_index"]):
                mask = arrays["object_mask"][row]
                graph = unpad_scene(
                    arrays["objects"][row], mask, arrays["triples"][row], arrays["triple_mask"][row], names
                )
                boxes = [[round(float(value), 6) for value in box] for box in arrays["boxes"][row][mask]]
                scenes.append({"name": scene_name(source.split, int(index)), **graph.to_dict(), "boxes": boxes})
                lines.append(sentence(graph))
                bar.update(1)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (("scenes.json", json.dumps(scenes, indent=1)), ("sentences.txt", "\n".join(lines))):
        beside = directory / f"{name}.tmp"
        beside.write_text(text + "\n", encoding="utf-8")
        os.replace(beside, directory / name)
    return len(scenes)


def main() -> None:
    """Writes the scenes."""
    given = flags.FLAGS
    workspace = Workspace(given.workspace)
    config = workspace.trained_config()
    with artifacts.reading(workspace):
        source = artifacts.scene_source(workspace, config, given.split)
        count = write_scenes(source, artifacts.vocabulary(workspace), given.write_scenes)
    side = config.data.image_size
    print(
        f"{given.write_scenes}: {count} scenes. Draw each at {side} x {side} pixels to NAME_0.png, NAME_1.png, …; then "
        f"python -m rgan_tf.evaluate --workspace={given.workspace} --split={given.split} --pictures=FOLDER"
    )


if __name__ == "__main__":
    flags.DEFINE_string("workspace", None, "A trained workspace, whose data set it is.", required=True)
    flags.DEFINE_enum("split", "test", ("train", *SPLITS), "Which scenes; of the training split for other trainings.")
    flags.DEFINE_string("write_scenes", None, "Folder for scenes.json and sentences.txt.", required=True)
    commands.run(main)
