"""The whole chain on patches with mattes: trained, drawn, scored, exported and taken down."""

import shutil

import numpy as np
import pytest
from conftest import MATTES, tiny_config

from export.saved_model import export
from pipelines.patch_bank import removal, verification
from rgan_tf import evaluate
from rgan_tf.errors import UserError
from rgan_tf.evaluation.measurements import Setting
from rgan_tf.fingerprints import stages_of
from rgan_tf.scene_generator import load
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace

SCENE = {"objects": ["sky", "sea"], "relationships": [[0, "above", 1]]}


@pytest.fixture(scope="module")
def workspace(matte_workspace, tmp_path_factory):
    """A workspace with mattes that the tests of this file may write to."""
    return Workspace(shutil.copytree(matte_workspace.root, tmp_path_factory.mktemp("mattes") / "w"))


def test_it_is_made_of_what_covers_enough(workspace):
    bank = artifacts.open_bank(workspace)
    alpha = bank.gather_patches(np.arange(len(bank)))[..., 3]
    covers = alpha.mean(axis=(1, 2)) / 255
    np.testing.assert_array_equal(bank.offered > 0, covers >= 0.5)
    assert 0 < (covers < 0.5).sum() < len(bank) and (alpha > 0).any(axis=(1, 2)).all()
    for split in ("train", "test"):
        rows = np.load(workspace.root / "candidates" / f"{split}.npy")
        assert (bank.offered[rows[rows >= 0]] > 0).all() and (rows >= 0).any()
    assert "every patch is what was written" in verification.verify(workspace)[0]


def test_an_export_draws_the_same(workspace, tmp_path):
    drawn = load(workspace.root).generate(SCENE, seed=4)
    assert drawn.patches.shape == (2, 16, 16, 4) and drawn.patches[..., 3].min() < 255
    served = load(export(workspace, tmp_path)).generate(SCENE, seed=4)
    np.testing.assert_array_equal(served.patches, drawn.patches)
    assert np.abs(served.image.astype(int) - drawn.image).max() <= 1
    with pytest.raises(UserError, match="--bank_encoding=jpeg keeps no mattes"):
        export(workspace, tmp_path, encoding="jpeg")


def test_it_is_scored(workspace):
    lines = evaluate.evaluate(
        workspace, Setting("validation", samples=1), overrides="evaluation.network=in_domain,evaluation.splits=2"
    )
    found = {line["metric"]: line["value"] for line in lines}
    assert {"fid", "object_accuracy", "object_accuracy_real", "ground_truth_accuracy"} <= found.keys()
    assert "Where the patches are from" in (workspace.root / "evaluation" / "report.html").read_text()


@pytest.mark.parametrize(
    "more, remade",
    [
        ("patch_bank.min_coverage=0.4", "patch_bank"),
        ("patch_bank.mattes=false,patch_bank.min_coverage=0", "patch_bank"),
        ("patch_bank.mattes=false,patch_bank.min_coverage=0,data.mattes=false", "dataset"),
    ],
)
def test_what_mattes_change_is_made_again(workspace, more, remade):
    config = tiny_config(f"{MATTES},{more}")
    assert next(stage for stage in stages_of("retrievegan") if not workspace.is_current(stage, config)) == remade


def test_a_removed_patch_leaves_neither_pixels_nor_coverage(workspace, tmp_path):
    bank = artifacts.open_bank(workspace)
    ids = tmp_path / "ids.txt"
    ids.write_text(str(bank.patch_id[0]))
    removal.remove(workspace, ids)
    assert not np.load(bank.directory / "coverage.npy")[0] and not bank.gather_patches([0]).any()
    assert artifacts.open_bank(workspace).offered[0] == 0
