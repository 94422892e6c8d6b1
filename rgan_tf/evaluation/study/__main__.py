"""The compatibility study: which of two workspaces retrieves patches that fit together better, asked of people.

    python -m rgan_tf.evaluation.study --workspaces=A,B --output=DIR [--scenes=40] [--seed=…]
    python -m rgan_tf.evaluation.study --score=FILE.json,FILE2.json --key=DIR/key.json

The first writes DIR/index.html, a page that opens in any browser without a server: blind pairs of patch sets for the
same test scenes, a forced choice, answers as a file to download. The second scores the files that came back, with
DIR/key.json, which raters must not see (the paper's user study, section 4).
"""

import pathlib
import secrets
from collections.abc import Sequence
from typing import Optional

from absl import flags

from rgan_tf import commands  # isort: split

from rgan_tf.errors import UserError
from rgan_tf.evaluation.study import pages as study_pages
from rgan_tf.evaluation.study import scores as study_scores


def make(workspaces: Sequence[str], output, scenes: int, seed: Optional[int] = None) -> pathlib.Path:
    """Draws the patch sets and writes the study.

    Args:
      workspaces: the paths of two.
      output: the study's directory.
      scenes: the most that are asked about.
      seed: of order, sides and retrieval; by default drawn by chance. The key keeps it.

    Returns:
      The page's path.

    Raises:
      UserError: the two cannot be compared, or the study cannot be written.
    """
    # Imported when it is asked for: TensorFlow takes seconds to start, and scoring needs none of it.
    from rgan_tf.evaluation.study.sets import draw_sets
    from rgan_tf.workspace import Workspace

    if len(workspaces) != 2:
        raise UserError(f"--workspaces names {len(workspaces)}; a study compares two, as --workspaces=A,B.")
    # A seed that raters could guess would tell them which sides belong together.
    seed = secrets.randbelow(2**31) if seed is None else seed
    sets, identical = draw_sets([Workspace(path) for path in workspaces], scenes, seed)
    return study_pages.write_study(sets, workspaces, seed, output, identical)


def main() -> None:
    """Writes a study, or scores one."""
    given = flags.FLAGS
    if given.score:
        if not given.key:
            raise UserError("--score needs --key, the key.json that was written beside the study's page.")
        key = study_scores.read_key(given.key)
        print("\n".join(study_scores.score(key, study_scores.read_all(given.score, key)).lines()))
        return
    if not given.workspaces or not given.output:
        raise UserError("Give --workspaces=A,B and --output=DIR to write a study, or --score and --key to score one.")
    page = make(given.workspaces, given.output, given.scenes, given.seed)
    asked = len(study_scores.read_key(page.with_name(study_pages.KEY)).left)
    print(f"{page}: {asked} questions. Give raters this file alone; {study_pages.KEY} beside it holds the answers.")


if __name__ == "__main__":
    flags.DEFINE_list("workspaces", [], "Two trained workspaces, A,B.")
    flags.DEFINE_string("output", None, "Directory to write the study to.")
    flags.DEFINE_integer("scenes", 40, "The most test scenes that are asked about.", lower_bound=1)
    flags.DEFINE_integer("seed", None, "Of order, sides and retrieval; by default chosen by chance.", lower_bound=0)
    flags.DEFINE_list("score", [], "Files that raters downloaded.")
    flags.DEFINE_string("key", None, "The study's key.json.")
    commands.run(main)
