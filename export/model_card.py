"""The model card that travels with an exported model: its data, the licences of its patches, its figures."""

import collections

import numpy as np
import yaml

from export import refusals
from pipelines.patch_bank.bank import PatchBank
from rgan_tf import __version__, scene_requests
from rgan_tf import config as config_lib
from rgan_tf.evaluation import records
from rgan_tf.scene_graph import Vocabulary
from rgan_tf.workspace import Workspace, fingerprint

_REFUSALS = {
    refusals.CALL: "A scene that makes no sense fails the whole call, with one sentence that names the scene.",
    refusals.SCENE: "A scene that makes no sense answers for itself: one more output of every signature, "
    f"`{scene_requests.ERROR}`, string [B], has one sentence about it, and is empty for the scenes that were drawn. "
    "All other outputs are zero or empty in the row of a refused scene: look at this one first. The other scenes are "
    "drawn as if they were alone.",
}


def write_card(
    workspace: Workspace,
    config: config_lib.ExperimentConfig,
    names: Vocabulary,
    bank: PatchBank,
    rows: np.ndarray,
    encoding: str,
    mode: str,
) -> str:
    """The card as Markdown.

    Args:
      workspace: which was exported; its newest figures are quoted where it was evaluated.
      config: of its training.
      names: its vocabulary.
      bank: its patch bank.
      rows: int [M], the bank's rows that are exported.
      encoding: of the exported patches.
      mode: one of `refusals.MODES`.

    Raises:
      UserError: the workspace's figures are damaged.
    """
    side, size = bank.patch_size, config.data.image_size
    sections = [
        "# RetrieveGAN: pictures from scene graphs",
        f"Draws {size} x {size} pictures of scenes of up to {config.data.max_objects} objects and "
        f"{config.data.max_triples} relations: for each object a real patch is retrieved from a bank, the patches "
        "chosen so that they fit each other, and the picture is synthesized from them (Tseng et al., ECCV 2020, "
        f"arXiv:2007.08513). Made by rgan_tf {__version__} from the training {fingerprint('retrievegan', config)}.",
        "## Data",
        f"Data set `{config.data.builder}`. The bank holds {len(rows):,} of its training objects as patches of "
        f"{side} x {side} pixels, stored {'as they are' if encoding == 'raw' else 'as JPEG'}. Every picture drawn "
        "contains material of the patches that are named in the answer, with their source pictures and licences.",
        "## Licences of the patches",
        _table(("licence", "patches"), _license_counts(bank, rows)),
        "## Names",
        f"Objects: {', '.join(names.objects[1:])}.\n\nPredicates: {', '.join(names.predicates[1:])}.",
        "## Refusals",
        _REFUSALS[mode],
        "## Figures",
        _figures(workspace),
        "## Limits",
        "It draws what its data set shows, with that data set's biases. Patches are shown almost as they are: what "
        "people or things the source pictures show, the drawn ones show.",
        "## Configuration",
        f"```yaml\n{yaml.safe_dump(_public(config), sort_keys=False)}```",
    ]
    return "\n\n".join(sections) + "\n"


def _public(config: config_lib.ExperimentConfig) -> dict:
    """The configuration without where things lie on the machine that trained."""
    tree = config.as_dict()
    del tree["data"]["source_dir"]
    del tree["runtime"]
    return tree


def _license_counts(bank: PatchBank, rows: np.ndarray) -> list[tuple[str, str]]:
    counts = collections.Counter(np.asarray(bank.license)[rows].tolist())
    return [(name or "not recorded", f"{count:,}") for name, count in sorted(counts.items(), key=lambda c: -c[1])]


def _figures(workspace: Workspace) -> str:
    """The newest value of every metric."""
    if not (workspace.root / records.FILE).is_file():
        return "The model was not evaluated before it was exported."
    newest = records.newest(records.read(workspace))
    return _table(("metric", "value"), sorted((name, f"{line['value']:.4g}") for name, line in newest.items()))


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ("---",) * len(header), *rows])
