"""python -m pipelines.download --dataset=coco_stuff|visual_genome --output=DIR.

Fetches and unpacks the published files of a data set, so that data.source_dir=DIR finds them. What was fetched stays
when the command is stopped, and the next run goes on from there.
"""

import pathlib

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.download.catalogue import CATALOGUE
from pipelines.download.data_sets import address_of, download, plan


def main() -> None:
    """Fetches, or prints what would be fetched."""
    given = flags.FLAGS
    if given.list:
        print("\n".join(address_of(file, given.mirror) for file in CATALOGUE[given.dataset]))
    elif given.dry_run:
        print(plan(given.dataset, given.mirror))
    else:
        output = pathlib.Path(given.output).expanduser()
        download(given.dataset, output, given.mirror, given.keep_archives, given.stall_seconds)


if __name__ == "__main__":
    flags.DEFINE_enum("dataset", None, list(CATALOGUE), "Which data set.", required=True)
    flags.DEFINE_string("output", None, "Folder for its files.", required=True)
    flags.DEFINE_string("mirror", "", "Another place that has the files by their names, in place of the publishers'.")
    flags.DEFINE_bool("dry_run", False, "Print addresses, sizes and disk needed, and fetch nothing.")
    flags.DEFINE_bool("list", False, "Print the addresses alone, a line each, and fetch nothing.")
    flags.DEFINE_bool("keep_archives", False, "Keep archives when they are unpacked, in OUTPUT/.download.")
    flags.DEFINE_float("stall_seconds", 60.0, "Seconds without a byte before a transfer is tried again.", lower_bound=1)
    commands.run(main)
