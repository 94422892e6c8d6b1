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
from rgan_tf.evaluation.paper_tables.rows import Training, find, table_1, table_2
from rgan_tf.evaluation.pictures.split_drawing import BOXES, SPLITS
from rgan_tf.workspace import Workspace


def parse_trainings(texts: Sequence[str]) -> list[Training]:
    """Trainings of `NAME=PATH`.

    Raises:
      UserError: there is none, or one is of another form.
      WorkspaceError: a workspace is not trained.
    """
    if not texts:
        raise UserError("No workspace was given; name at least one, as --workspace=NAME=PATH.")
    trainings = []
    for text in texts:
        name, separator, path = text.partition("=")
        if not (name and separator and path):
            raise UserError(f"--workspace={text} is not of the form NAME=PATH, with the row's name first.")
        workspace = Workspace(pathlib.Path(path))
        trainings.append(Training(name, workspace, workspace.trained_config()))
    return trainings


def main() -> None:
    """Makes a table, writes and prints it."""
    given = flags.FLAGS
    trainings = parse_trainings(given.workspace)
    layouts = BOXES if given.table == "1" else BOXES[:1]
    evaluated = find(trainings, given.split, given.samples_per_scene, layouts)
    for training in trainings:
        if all(each.training is not training for each in evaluated):
            raise UserError(
                f"{training.workspace.root} has no figures; run python -m rgan_tf.evaluate --workspace="
                f"{training.workspace.root} --split={given.split} --samples_per_scene={given.samples_per_scene} first."
            )
    published = read_published(given.published) if given.published else None
    made = (table_1 if given.table == "1" else table_2)(evaluated, published)
    if given.output:
        made.write(pathlib.Path(given.output))
    print(made.markdown())


if __name__ == "__main__":
    flags.DEFINE_enum("table", "1", ("1", "2"), "Which of the paper's tables.")
    flags.DEFINE_multi_string("workspace", [], "A row's name and an evaluated workspace, NAME=PATH; again for each.")
    flags.DEFINE_enum("split", "test", SPLITS, "Scenes that were drawn.")
    flags.DEFINE_integer("samples_per_scene", 1, "Pictures of a scene that were drawn.", lower_bound=1)
    flags.DEFINE_string("published", "", "YAML of published figures to stand beside.")
    flags.DEFINE_string("output", "", "Where to write STEM.md, STEM.csv and STEM.tex; nowhere by default.")
    commands.run(main)
