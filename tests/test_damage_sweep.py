"""Every command on every kind of damage to every file of a workspace and of an export.

Long, and so left out unless it is asked for: pytest -m damage_sweep. Commands run here as functions. Each must give
what it gives of the whole workspace, or refuse with one line that names what is damaged.
"""

import gc
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from damages import KINDS, Refusal, answer_of, damaged, files_of
from removal_workspaces import ids_file

import rgan_tf
from export import hub, saved_model
from export.development_server.loaded_model import ServedModel
from pipelines.patch_bank import removal
from rgan_tf import evaluate
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.fingerprints import stages_of
from rgan_tf.training import stage_trainer, stages
from rgan_tf.workspace import Workspace

pytestmark = [pytest.mark.damage_sweep, pytest.mark.timeout(0)]

SCENE = {"objects": ["sky", "grass"], "relationships": [[0, "above", 1]]}
MEASURES = "evaluation.network=in_domain,evaluation.splits=2"


@pytest.fixture(scope="module")
def finished(tiny_workspace, tmp_path_factory):
    """A workspace with all that one can have: a removal, an evaluation, a stage that was killed."""
    workspace = Workspace(shutil.copytree(tiny_workspace.root, tmp_path_factory.mktemp("sweep") / "whole"))
    removal.remove(workspace, ids_file(workspace, [5, 9]))
    evaluate.evaluate(workspace, Setting(), overrides=MEASURES)
    with pytest.raises(KeyboardInterrupt), workspace.making("candidates", tiny_config("candidates.k_max=5")):
        raise KeyboardInterrupt
    return workspace


def picture_of(path):
    drawn = rgan_tf.load(path).generate(SCENE, seed=3)
    return drawn.image.tobytes(), drawn.patch_ids.tolist(), drawn.boxes.tobytes()


def train_on(workspace, monkeypatch):
    """Two steps more; of a step all but the computing."""

    def step(self, iterator):
        next(iterator)
        self.step.assign_add(1)
        self._steps += 1

    with monkeypatch.context() as patch:
        patch.setattr(stage_trainer.StageTrainer, "train_step", step)
        patch.setattr(stage_trainer.StageTrainer, "train_loop_end", lambda self: {})
        stages.StageRunner(workspace, tiny_config("training.steps=6"), tf.distribute.get_strategy()).run()
    return "trained"


def figures_of(workspace):
    lines = evaluate.evaluate(workspace, Setting(), overrides=MEASURES)
    return json.dumps([[line[key] for key in ("name", "value", "notes", "step")] for line in lines])


def export_of(workspace, output):
    folder = saved_model.export(workspace, output)
    card = (folder / "assets.extra" / "model_card.md").read_text()
    values = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = [name for name in values.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    # Of text the bytes would be addresses.
    tensors = [np.asarray(values.get_tensor(name)) for name in sorted(names)]
    held = [tensor.tolist() if tensor.dtype == object else tensor.tobytes() for tensor in tensors]
    shutil.rmtree(folder)
    return card, held


def bank_after_removal(workspace):
    removal.remove(workspace, ids_file(workspace, [7]))
    return [
        path.read_bytes()
        for stage in ("patch_bank", "candidates")
        for path in sorted((workspace.root / stage).glob("*.npy"))
    ]


COMMANDS = {
    "generate": lambda w, _: picture_of(w.root),
    "train": train_on,
    "evaluate": lambda w, _: figures_of(w),
    "export": lambda w, _: export_of(w, w.root / "export"),
    "remove": lambda w, _: bank_after_removal(w),
}
# Figures that are gone are missing on the card. A removal reads no patch, and leaves the lists of a stage without a
# manifest alone, which no command reads and the next training makes again.
OTHERWISE = {("export", "metrics.jsonl"), ("remove", "patches.npy"), ("remove", "manifest.json")}


# TensorFlow keeps what it has traced, some 50 MB a case that draws: a process may be given a part of the files.
PARTS = (*stages_of("retrievegan"), "evaluation", "rest")


@pytest.fixture(scope="module")
def whole_results():
    """What each command gives of the whole workspace."""
    return {}


def part_of(path):
    return path.parts[0] if path.parts[0] in PARTS else "rest"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_workspace(finished, tmp_path, monkeypatch, whole_results, command, part):
    def run():
        copy = Workspace(shutil.copytree(finished.root, tmp_path / "copy"))
        with damaged(copy.root / where, kind) if where else monkeypatch.context():
            found = answer_of(lambda: COMMANDS[command](copy, monkeypatch))
        shutil.rmtree(copy.root)
        tf.keras.backend.clear_session()
        gc.collect()
        return found

    where = kind = None
    if command not in whole_results:
        whole_results[command] = run()
    whole, counts, wrong = whole_results[command], {"refused": 0, "right": 0}, []
    assert not isinstance(whole, Refusal), whole.text
    files = [path for path in files_of(finished.root) if part_of(path.relative_to(finished.root)) == part]
    assert files
    for path in files:
        where = path.relative_to(finished.root)
        for kind in KINDS:
            try:
                found = run()
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{where} {kind}: {type(error).__name__}: {str(error)[:300]}")
                shutil.rmtree(tmp_path / "copy", ignore_errors=True)
                continue
            refused = isinstance(found, Refusal)
            counts["refused" if refused else "right"] += 1
            if refused and not (found.names(tmp_path / "copy" / where) or path.name in found.text):
                wrong.append(f"{where} {kind} is not named: {found.text}")
            if not refused and found != whole and (command, path.name) not in OTHERWISE:
                wrong.append(f"{where} {kind}: another result")
            print(f"{command:9} {where} {kind}: {found.text if refused else 'right'}", flush=True)
    print(f"{command} on {part}: {counts}, {len(wrong)} wrong", flush=True)
    assert not wrong, "\n".join(wrong)


def served(folder):
    model = ServedModel(folder.parent, "m")
    return sorted(model.signature_map().signature_def)


EXPORT_COMMANDS = {
    "load": picture_of,
    "serve": served,
    "hub": lambda folder: hub.pack(folder, folder.parent / "m.tar.gz").read_bytes(),
}


@pytest.mark.parametrize("command", EXPORT_COMMANDS)
def test_export(tiny_export, tmp_path, command):
    folder = shutil.copytree(tiny_export / "1", tmp_path / "1")
    whole, counts, wrong = EXPORT_COMMANDS[command](folder), {"refused": 0, "right": 0}, []
    for path in files_of(folder):
        for kind in KINDS:
            with damaged(path, kind):
                try:
                    found = answer_of(lambda: EXPORT_COMMANDS[command](folder))
                except Exception as error:  # noqa: BLE001
                    wrong.append(f"{path.name} {kind}: {type(error).__name__}: {str(error)[:300]}")
                    continue
            refused = isinstance(found, Refusal)
            counts["refused" if refused else "right"] += 1
            if refused and not (found.names(path) or str(folder) in found.text):
                wrong.append(f"{path.name} {kind} is not named: {found.text}")
            if not refused and found != whole:
                wrong.append(f"{path.name} {kind}: another result")
            print(f"{command:9} {path.name} {kind}: {found.text if refused else 'right'}", flush=True)
    print(f"{command}: {counts}, {len(wrong)} wrong", flush=True)
    assert not wrong, "\n".join(wrong)
