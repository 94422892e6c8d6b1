"""Takedowns: removed patches are gone from every file, for every reader, through kills and rebuilds."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from removal_workspaces import copy_of, ids_file, state_of

import rgan_tf
from pipelines.input_pipeline import evaluation_batches
from pipelines.patch_bank import ledger, removal
from pipelines.patch_bank.bank import PatchBank, PatchBankError
from pipelines.prefilter.candidates import BACKENDS, SearchSettings, find_candidates
from rgan_tf.errors import UserError
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.training import artifacts, stages
from rgan_tf.training.bank_embeddings import embed_bank
from rgan_tf.training.cooccurrence import CooccurrenceTrainer
from rgan_tf.training.retrievegan.trainer import Models, RetrieveGANTrainer, build_models

COLUMNS = ("category", "graph_feature", "box", "image_id", "license")
# Their patches are all removed: the scenes of a first batch, and of most others.
EMPTY_SCENES = range(0, 48, 2)


def run_stage(workspace, stage):
    stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy()).run(stage)


@pytest.fixture
def bare(tiny_workspace, tmp_path):
    """A copy that a test may change: bank, candidates and embeddings alone."""
    return copy_of(tiny_workspace, tmp_path / "bare", "dataset", "graph_encoder")


@pytest.fixture(scope="module")
def original(tiny_workspace):
    """The bank before anything was removed."""
    return artifacts.open_bank(tiny_workspace)


@pytest.fixture(scope="module")
def removed_ids(original):
    """All patches of some scenes, all of one category, and one each of a few more scenes."""
    rarest = np.bincount(original.category)[1:].argmin() + 1
    chosen = np.isin(original.scene_index, EMPTY_SCENES) | (original.category == rarest)
    chosen |= (original.object_index == 1) & np.isin(original.scene_index, (1, 3, 5))
    assert 0.3 < chosen.mean() < 0.8
    return original.patch_id[chosen].tolist()


@pytest.fixture(scope="module")
def taken_down(tiny_workspace, removed_ids, tmp_path_factory):
    """A workspace whose bank lost `removed_ids`; tests must not write to it."""
    workspace = copy_of(tiny_workspace, tmp_path_factory.mktemp("taken") / "down")
    shutil.copytree(tiny_workspace.directory("retrievegan"), workspace.root / "retrievegan")
    removal.remove(workspace, ids_file(workspace, removed_ids))
    return workspace


def test_removed_rows_are_zero_and_all_else_is_as_it_was(taken_down, original, removed_ids):
    bank = artifacts.open_bank(taken_down)
    np.testing.assert_array_equal(bank.removed, np.isin(original.patch_id, removed_ids))
    for name in ("patch_id", "scene_index", "object_index"):
        np.testing.assert_array_equal(getattr(bank, name), getattr(original, name))
    rows = np.arange(len(bank))
    before, after = ([getattr(b, name) for name in COLUMNS] for b in (original, bank))
    for read in ("gather_patches", "gather_cooccurrence"):
        before.append(getattr(original, read)(rows))
        after.append(getattr(bank, read)(rows))
    for old, new in zip(before, after):
        assert old.dtype == new.dtype
        np.testing.assert_array_equal(new[~bank.removed], old[~bank.removed])
        assert not np.any(new[bank.removed] != np.zeros((), new.dtype))


def test_bytes_are_gone_from_every_file_of_bank_and_embeddings(tiny_workspace, taken_down, original, removed_ids):
    bank = artifacts.open_bank(taken_down)
    rows, kept = np.flatnonzero(bank.removed), np.flatnonzero(~bank.removed)
    for read in (original.gather_patches, original.gather_cooccurrence, lambda r: original.graph_feature[r]):
        others = {value.tobytes() for value in read(kept)}
        secrets = [value.tobytes() for value in read(rows) if value.tobytes() not in others]
        assert len(secrets) > len(rows) / 2
        for workspace, expected in ((tiny_workspace, True), (taken_down, False)):
            folders = [workspace.root / "patch_bank", workspace.root / "cooccurrence"]
            content = b"".join(path.read_bytes() for folder in folders for path in folder.glob("*.npy"))
            assert all((secret in content) == expected for secret in secrets)


def test_lists_of_candidates_close_up(tiny_workspace, taken_down):
    gone = set(np.flatnonzero(artifacts.open_bank(taken_down).removed).tolist())
    for split in stages.SPLITS:
        before, after = (np.load(w.root / "candidates" / f"{split}.npy") for w in (tiny_workspace, taken_down))
        assert before.shape == after.shape and before.dtype == after.dtype and (before != after).any()
        for old, new in zip(before.reshape(-1, before.shape[-1]).tolist(), after.reshape(-1, after.shape[-1]).tolist()):
            expected = [row for row in old if row >= 0 and row not in gone]
            assert new == expected + [-1] * (len(old) - len(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_search_never_finds_a_tombstone(taken_down, original, backend):
    bank = artifacts.open_bank(taken_down)
    # A feature of zeros is a tombstone's own: it would be the nearest.
    queries, categories = np.zeros_like(original.graph_feature), np.asarray(original.category)
    none = np.full(len(queries), -1)
    found = find_candidates(bank, queries, categories, none, 6, SearchSettings(backend), progress=False).rows
    assert (found >= 0).any() and not bank.removed[found[found >= 0]].any()
    for category in np.unique(categories):
        left = np.sum(bank.category == category)
        assert (np.sum(found[categories == category] >= 0, axis=-1) == min(left, 6)).all()


def test_an_open_bank_sees_the_removal(bare):
    bank, reopened = (PatchBank.open(bare.directory("patch_bank")) for _ in range(2))
    assert bank.gather_patches([3]).any() and not bank.removed.any()
    removal.remove(bare, ids_file(bare, [3]))
    assert not bank.gather_patches([3]).any() and np.flatnonzero(bank.removed).tolist() == [3]
    with pytest.raises(PatchBankError, match="Patch 3 was removed"):
        reopened.row_of(3)


def test_batches_mask_what_was_removed(taken_down, removed_ids):
    config = tiny_config()
    bank = artifacts.open_bank(taken_down)
    source, reader = (f(taken_down, config, "train") for f in (artifacts.scene_source, artifacts.bank_reader))
    truths = 0
    for batch in evaluation_batches(source, 16, reader):
        mask, candidates = batch["ground_truth_mask"].numpy(), batch["candidates"].numpy()
        scenes = batch["scene_index"].numpy()
        assert not mask[np.isin(scenes, EMPTY_SCENES)].any()
        assert not batch["ground_truth_patches"].numpy()[~mask].any()
        assert not bank.removed[candidates[candidates >= 0]].any()
        np.testing.assert_array_equal(batch["candidate_mask"].numpy(), candidates >= 0)
        # Objects themselves stay: pictures and scene graphs are the data set's.
        assert batch["object_mask"].numpy()[:, 0].all()
        truths += mask.sum()
    assert truths == len(bank) - len(removed_ids)


@pytest.fixture
def batches(taken_down):
    """Three batches: two of a bank that lost patches, and one of nothing but removed patches."""
    config = tiny_config()
    source, reader = (f(taken_down, config, "train") for f in (artifacts.scene_source, artifacts.bank_reader))
    some = evaluation_batches(source, 4, reader, drop_remainder=True)
    lost = {"mask": tf.zeros_like, "patches": tf.zeros_like, "cooccurrence": tf.zeros_like}

    def without_patches(batch):
        emptied = {name: lost.get(name.rsplit("_", 1)[-1], tf.identity)(value) for name, value in batch.items()}
        return {**emptied, "object_mask": batch["object_mask"], "triple_mask": batch["triple_mask"]}

    return some.take(2).concatenate(some.skip(2).take(1).map(without_patches))


def train_on(trainer, batches):
    """Trains uncompiled, which is quicker for so few steps; a term or a gradient that is not finite is an error."""
    trainer.train_dataset = trainer.strategy.experimental_distribute_dataset(batches)
    tf.config.run_functions_eagerly(True)
    try:
        trainer.train(tf.constant(3))
    finally:
        tf.config.run_functions_eagerly(False)
    variables = [variable for group in trainer.optimized.values() for variable in group.variables]
    assert variables and all(np.isfinite(variable).all() for variable in variables)


def test_main_training_on_a_bank_with_tombstones_stays_finite(taken_down, batches):
    names, config = artifacts.vocabulary(taken_down), tiny_config()
    models = Models.create(config, names.num_objects, names.num_predicates)
    build_models(models, next(iter(batches)))
    train_on(RetrieveGANTrainer(models, config), batches)


def test_cooccurrence_training_copes_and_leaves_zeros_for_tombstones(taken_down, batches, tmp_path):
    config, bank = tiny_config(), artifacts.open_bank(taken_down)
    encoder = PatchEncoder(config.cooccurrence.encoder, normalize=True)
    encoder(tf.zeros([1, bank.patch_size, bank.patch_size, 3]))
    train_on(CooccurrenceTrainer(encoder, config), batches)
    embed_bank(encoder, bank, "embeddings", tmp_path / "embeddings.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy").any(axis=-1), ~bank.removed)


def test_generator_refuses_removed_patches_and_never_chooses_them(taken_down, original, removed_ids):
    generator = rgan_tf.load(taken_down.root)
    names, found = generator.vocabulary.objects, artifacts.open_bank(taken_down).category
    left, lost = np.unique(found[found > 0]), np.setdiff1d(original.category, found)
    for seed in range(3):
        answer = generator.generate({"objects": [names[category] for category in left[:4]]}, seed)
        assert not np.isin(answer.patch_ids, removed_ids).any()
    with pytest.raises(UserError, match=rf"\b{removed_ids[-1]}\b.*removed"):
        generator.generate({"objects": [names[left[0]]]}, pinned=[removed_ids[-1]])
    with pytest.raises(UserError, match=f"{names[lost[0]]!r}"):
        generator.generate({"objects": [names[lost[0]]]})


def test_a_bank_built_anew_keeps_them_removed(tiny_workspace, taken_down, tmp_path, capsys):
    workspace = copy_of(taken_down, tmp_path / "copy")
    shutil.rmtree(workspace.root / "patch_bank")
    # As another configuration may have left them: of this bank by all signs, and from before the removal.
    for stage in ("candidates", "cooccurrence"):
        shutil.rmtree(workspace.root / stage)
        shutil.copytree(tiny_workspace.root / stage, workspace.root / stage)
    run_stage(workspace, "patch_bank")
    expected = {name: digest for name, digest in state_of(taken_down).items() if not name.startswith("retrievegan")}
    assert state_of(workspace) == expected
    said = capsys.readouterr().out
    assert f"patch_bank: {artifacts.open_bank(workspace).removed.sum()} patches of the bank stay removed" in said


def test_a_new_bank_without_a_removed_picture_is_told(bare):
    line = {"format": 1, "patches": [{"patch_id": 77, "image_id": "elsewhere", "box": [0, 0, 1, 1]}]}
    (bare.root / ledger.LEDGER).write_text(json.dumps(line))
    report = removal.erase_from_bank(bare.directory("patch_bank"), bare.root)
    assert len(report) == 2 and "picture and box of 77" in report[1]


WRITES = 2 + len(removal._ERASED) + len(stages.SPLITS)


@pytest.mark.parametrize("killed_at", range(WRITES))
def test_killed_at_any_write_and_run_again_equals_uninterrupted(taken_down, removed_ids, bare, monkeypatch, killed_at):
    writes = iter(range(WRITES))
    zero_rows, replace = removal._zero_rows, ledger.replace_file

    def dying_zero_rows(path, chosen):
        if next(writes) == killed_at:
            # Half of it reaches the disk.
            zero_rows(path, chosen & (np.cumsum(chosen) < chosen.sum() / 2))
            raise KeyboardInterrupt
        zero_rows(path, chosen)

    def dying_replace(path, write):
        if next(writes) == killed_at:
            raise KeyboardInterrupt
        replace(path, write)

    path, untouched = ids_file(bare, removed_ids), state_of(bare)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(removal, "_zero_rows", dying_zero_rows)
        patch.setattr(ledger, "replace_file", dying_replace)
        removal.remove(bare, path)
    assert (state_of(bare) == untouched) == (killed_at == 0), "the ledger comes first"
    # Whatever it is asked next; the ledger knows the rest.
    removal.remove(bare, path if killed_at == 0 else ids_file(bare, removed_ids[:1]))
    expected = {name: value for name, value in state_of(taken_down).items() if name in untouched or "/" not in name}
    assert state_of(bare) == expected
