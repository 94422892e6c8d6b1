"""The paper's Table 2: python -m rgan_tf.ablation --config_dir=configs/ablations --workspace=… --seeds=3.

Every configuration of the folder is trained from several seeds and evaluated; the data set, graph encoder, patch bank,
candidates and co-occurrence embedding are made once for all rows that agree in them. What is finished is not done
again, so a command that was stopped goes on. Writes table2.md, .csv and .tex, and sheet.png, the same scenes drawn by
every row.
"""

import pathlib

from absl import flags

from rgan_tf import commands  # isort: split

from rgan_tf import experiment, locks
from rgan_tf.evaluation.paper_tables import rows as paper_tables
from rgan_tf.evaluation.paper_tables import tables
from rgan_tf.evaluation.pictures.split_drawing import BOXES, SPLITS
from rgan_tf.experiment import Run
from rgan_tf.scene_requests import save_picture

# In the order in which a table shows them; other configurations follow by name.
ROWS = ("neither", "sel_gt", "sel_occur", "both")
# Rows that the paper does not have; they draw with the last row's models.
BASELINES = ("random", "graph_feature", "cooccurrence")


def evaluate(runs: list[Run], split: str, samples: int, baselines: bool = True, whole_category: bool = False) -> None:
    """Measures what is not measured; with `baselines` runs of the last row also with the other ways of retrieval, with
    `whole_category` all runs also where they choose among all patches of a category."""
    asked = [(run, "learned", BOXES[0]) for run in runs]
    if baselines:
        asked += [(run, policy, BOXES[0]) for run in runs if run.row == runs[-1].row for policy in BASELINES]
    if whole_category:
        asked += [(run, "whole_category", BOXES[0]) for run in runs]
    experiment.measure(asked, split, samples)


def table(runs: list[Run], split: str, samples: int) -> tables.Table:
    """Mean and deviation over seeds of every row, the retrievals of other kinds first."""
    last = [run for run in runs if run.row == runs[-1].row]
    trainings = [
        paper_tables.Training(f"{run.row}, {policy} retrieval", run.workspace, run.config(), policy)
        for policy in BASELINES
        for run in last
    ]
    trainings += [paper_tables.Training(run.row, run.workspace, run.config()) for run in runs]
    trainings += [
        paper_tables.Training(f"{run.row}, whole category", run.workspace, run.config(), "whole_category")
        for run in runs
    ]
    return paper_tables.table_2(paper_tables.find(trainings, split, samples, BOXES[:1]))


def main() -> None:
    """Trains, evaluates, prints and writes the table."""
    given = flags.FLAGS
    root = pathlib.Path(given.workspace)
    runs = experiment.plan(given.config_dir, root, given.seeds, given.params_override, ROWS)
    # The workspaces below have locks of their own, which the commands hold that it starts.
    with locks.writing(root):
        experiment.make_shared(runs, root)
        experiment.train(runs, given.at_once)
        evaluate(runs, given.split, given.samples_per_scene, given.baselines, given.whole_category)
        made = table(runs, given.split, given.samples_per_scene)
        made.write(root / "table2")
        save_picture(experiment.sheet(runs, given.split), root / "sheet.png")
    print(made.markdown(), f"{root / 'sheet.png'} shows the same scenes drawn by all.", sep="\n")


if __name__ == "__main__":
    flags.DEFINE_string("config_dir", "configs/ablations", "Folder with a configuration for each row.")
    flags.DEFINE_string(
        "workspace", None, "Folder of the ablation: shared stages, and every row's trainings.", required=True
    )
    flags.DEFINE_integer("seeds", 3, "Trainings of each row.", lower_bound=1)
    flags.DEFINE_integer("at_once", 1, "Trainings side by side, each with its share of the processors.", lower_bound=1)
    flags.DEFINE_bool("baselines", True, "Draw with the last row's models in other ways of retrieval, too.")
    flags.DEFINE_bool("whole_category", False, "Draw with every row's models also from all patches of a category.")
    flags.DEFINE_string("params_override", "", "Of every row's configuration: key=value,key.subkey=value.")
    flags.DEFINE_enum("split", "test", SPLITS, "Scenes to evaluate on.")
    flags.DEFINE_integer("samples_per_scene", 4, "Pictures of a scene.", lower_bound=1)
    commands.run(main)
