"""Turns a trained workspace into a SavedModel: python -m export.saved_model --workspace=… --output=DIR.

`DIR/N/` holds everything that is served, and stands for itself: the signatures of `export.signatures`, names as assets,
the patch bank as variables, a model card and warm-up requests. It is written under a hidden name and renamed.
"""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Optional

import numpy as np
from absl import flags

from rgan_tf import commands  # isort: split

import tensorflow as tf

from export import model_card, refusals, signatures, warm_up
from export.request_checks import SceneReader
from export.scene_service import SceneService
from export.served_bank import ENCODINGS, ServedBank, embedder, exported_rows
from rgan_tf import export_files, locks
from rgan_tf.errors import UserError
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace


def export(
    workspace: Workspace,
    output,
    version: Optional[int] = None,
    encoding: str = "raw",
    max_patches: Optional[int] = None,
    mode: str = refusals.CALL,
) -> pathlib.Path:
    """Writes the next, or the given, version under `output` and returns its folder.

    Args:
      workspace: a trained workspace.
      output: the folder of all versions; made where it is missing.
      version: a positive integer; by default one more than the highest there.
      encoding: of the bank's patches, "raw" or "jpeg".
      max_patches: most patches to take along; None takes all.
      mode: one of `refusals.MODES`: "call", a bad scene fails its call; "scene", it answers for itself.

    Raises:
      UserError: the version exists, or fewer patches are allowed than there are categories.
      WorkspaceError: the workspace is not trained, or another process writes to it or to `output`.
    """
    # The workspace is read for minutes, file by file, and must be of one piece: nobody may write to it meanwhile, while
    # others may read. `output` is written: two exports would choose the same version, and clear each other's away.
    versions = pathlib.Path(output).resolve()
    held = locks.all_of(locks.reading, [workspace.root, *workspace.lenders()])
    with held, locks.writing(versions.parent, versions.name):
        return _export(workspace, output, version, encoding, max_patches, mode)


def _export(
    workspace: Workspace, output, version: Optional[int], encoding: str, max_patches: Optional[int], mode: str
) -> pathlib.Path:
    folder = _free_version(pathlib.Path(output), version)
    config, names = workspace.trained_config(), artifacts.vocabulary(workspace)
    bank = artifacts.open_bank(workspace)
    rows = exported_rows(bank, max_patches, config.seed)
    model = artifacts.trained_model(workspace, config, names)
    prefilter = artifacts.pretrained_graph_encoder(workspace, config)
    # What a killed export left there goes.
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    files = [_write_names(partial / f"{kind}.txt", getattr(names, kind)) for kind in ("objects", "predicates")]
    reader = SceneReader(*map(str, files), config.data.max_objects, config.data.max_triples)
    held = ServedBank(bank, rows, names.num_objects, embedder(model), encoding)
    service = SceneService(model, prefilter, held, reader, config, mode)
    module, functions = signatures.build(service, [*model.variables, *prefilter.variables, held, *reader.tables])
    saved = partial / "model"
    tf.saved_model.save(module, str(saved), signatures=functions)
    extra = saved / "assets.extra"
    extra.mkdir()
    scene = warm_up.real_scene(workspace, config, names, np.unique(bank.offered[rows]))
    warm_up.write(extra / "tf_serving_warmup_requests", functions, scene)
    card = model_card.write_card(workspace, config, names, bank, rows, encoding, mode)
    (extra / "model_card.md").write_text(card, encoding="utf-8")
    export_files.record(saved)
    try:
        saved.rename(folder)
    except OSError as error:
        raise UserError(f"Version {folder.name} appeared in {output} meanwhile; give another --version.") from error
    shutil.rmtree(partial)
    return folder


def _free_version(output: pathlib.Path, version: Optional[int]) -> pathlib.Path:
    """The folder of a version that is not there yet."""
    taken = [int(folder.name) for folder in output.glob("[0-9]*") if folder.name.isdigit()]
    if version in taken:
        raise UserError(f"{output} has a version {version} already; give another --version, or none for the next one.")
    return output / str(version or max(taken, default=0) + 1)


def _write_names(path: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
    """Names a line, from which the served graph's tables are made."""
    broken = [name for name in names if len(name.splitlines()) != 1]
    if broken:
        raise UserError(f"The vocabulary has the name {broken[0]!r}; a name to be served is one line.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return path


def main() -> None:
    """Exports, and says what came out."""
    given = flags.FLAGS
    folder = export(
        Workspace(given.workspace),
        given.output,
        given.version,
        given.bank_encoding,
        given.max_bank_patches,
        given.refusals,
    )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 2**20:.0f} MiB. Its model card is {folder / 'assets.extra' / 'model_card.md'}")


if __name__ == "__main__":
    flags.DEFINE_string("workspace", None, "A trained workspace.", required=True)
    flags.DEFINE_string("output", None, "Folder of all versions of the model.", required=True)
    flags.DEFINE_integer("version", None, "By default one more than the highest there.", lower_bound=1)
    flags.DEFINE_enum("bank_encoding", "raw", ENCODINGS, "raw: patches as they are; jpeg: smaller, with some loss.")
    flags.DEFINE_integer(
        "max_bank_patches", None, "Most patches to export; large categories give up patches first.", lower_bound=1
    )
    flags.DEFINE_enum(
        "refusals",
        refusals.CALL,
        refusals.MODES,
        "call: a bad scene fails its call; scene: it answers for itself, and its neighbours are drawn.",
    )
    commands.run(main)
