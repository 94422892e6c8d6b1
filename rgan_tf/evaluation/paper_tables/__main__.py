"""The paper's tables of workspaces that were evaluated.

    python -m rgan_tf.evaluation.paper_tables --table=1 --workspace=NAME=PATH --workspace=NAME=PATH … --output=STEM
    python -m rgan_tf.evaluation.paper_tables --table=2 --workspace=NAME=PATH … [--published=FILE.yaml]

Table 1: both settings of the boxes, a data set beside the other. Table 2: a row a training, predicted boxes. Workspaces
of one name and data set are trainings of one row: mean and deviation over them. Writes STEM.md, STEM.csv and STEM.tex.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from rgan_tf import commands  # isort: split

from rgan_tf.errors import UserError
from rgan_tf.evaluation.paper_tables.published import read_published
from rgan_tf.evaluation.paper_tables.rows import Evaluated, Training, find, find_pictures, table_1, table_2
from rgan_tf.evaluation.pictures.split_drawing import BOXES, SPLITS
from rgan_tf.workspace import Workspace


def parse_trainings(texts: Sequence[str]) -> list[Training]:
    """Trainings of `NAME=PATH`.

    Raises:
      UserError: one is of another form.
      WorkspaceError: a workspace is not trained.
    """
    trainings = []
    for name, path in _named_paths("workspace", texts):
        workspace = Workspace(path)
        trainings.append(Training(name, workspace, workspace.trained_config()))
    return trainings


def _named_paths(flag: str, texts: Sequence[str]) -> list[tuple[str, pathlib.Path]]:
    pairs = []
    for text in texts:
        name, separator, path = text.partition("=")
        if not (name and separator and path):
            raise UserError(f"--{flag}={text} is not of the form NAME=PATH, with the row's name first.")
        pairs.append((name, pathlib.Path(path)))
    return pairs


def gather(
    workspaces: Sequence[str], pictures: Sequence[str], how: tuple[str, int], layouts: Sequence[str]
) -> list[Evaluated]:
    """The figures of all that was named.

    Args:
      workspaces: `NAME=PATH` of evaluated workspaces.
      pictures: `NAME=DIR` of evaluated folders of pictures.
      how: split and samples a scene.
      layouts: of the boxes.

    Raises:
      UserError: nothing was named, or one has no figures.
    """
    trainings, folders = parse_trainings(workspaces), _named_paths("pictures", pictures)
    if not trainings and not folders:
        raise UserError("No workspace was given; name at least one, as --workspace=NAME=PATH.")
    evaluated = []
    for training in trainings:
        evaluated += _some(find([training], *how, layouts), f"--workspace={training.workspace.root}", how)
    for name, path in folders:
        evaluated += _some(find_pictures(name, path, *how, layouts), f"--workspace=… --pictures={path}", how)
    return evaluated


def _some(found: list[Evaluated], of: str, how: tuple[str, int]) -> list[Evaluated]:
    if not found:
        raise UserError(
            f"{of.rpartition('=')[2]} has no figures; run python -m rgan_tf.evaluate {of} --split={how[0]} "
            f"--samples_per_scene={how[1]} first."
        )
    return found


def main() -> None:
    """Makes a table, writes and prints it."""
    given = flags.FLAGS
    layouts, how = (BOXES if given.table == "1" else BOXES[:1]), (given.split, given.samples_per_scene)
    evaluated = gather(given.workspace, given.pictures, how, layouts)
    published = read_published(given.published) if given.published else None
    made = (table_1 if given.table == "1" else table_2)(evaluated, published)
    if given.output:
        made.write(pathlib.Path(given.output))
    print(made.markdown())


if __name__ == "__main__":
    flags.DEFINE_enum("table", "1", ("1", "2"), "Which of the paper's tables.")
    flags.DEFINE_multi_string("workspace", [], "A row's name and an evaluated workspace, NAME=PATH; again for each.")
    flags.DEFINE_multi_string("pictures", [], "A row's name and an evaluated folder of pictures, NAME=DIR; again.")
    flags.DEFINE_enum("split", "test", SPLITS, "Scenes that were drawn.")
    flags.DEFINE_integer("samples_per_scene", 1, "Pictures of a scene that were drawn.", lower_bound=1)
    flags.DEFINE_string("published", "", "YAML of published figures to stand beside.")
    flags.DEFINE_string("output", "", "Where to write STEM.md, STEM.csv and STEM.tex; nowhere by default.")
    commands.run(main)
