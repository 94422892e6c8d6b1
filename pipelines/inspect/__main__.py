"""Writes WORKSPACE/dataset.html: python -m pipelines.inspect --workspace=….

It needs the data set stage alone: python -m rgan_tf.train --stage=dataset … makes it.
"""

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.inspect.page import write_page
from rgan_tf.workspace import Workspace


def main() -> None:
    """Writes the page and says where it is."""
    print(f"The page is {write_page(Workspace(flags.FLAGS.workspace), flags.FLAGS.scenes, flags.FLAGS.seed)}")


if __name__ == "__main__":
    flags.DEFINE_string("workspace", None, "A workspace with a data set.", required=True)
    flags.DEFINE_integer("scenes", 8, "Sample scenes of each split.", lower_bound=0, upper_bound=100)
    flags.DEFINE_integer("seed", 0, "Decides which scenes are shown.", lower_bound=0)
    commands.run(main)
