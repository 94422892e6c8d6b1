"""Takedowns: removed patches are gone from every file, for every reader, through kills and rebuilds."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config

import rgan_tf
from pipelines import prefilter, removed_patches
from pipelines.input_pipeline import evaluation_batches
from pipelines.patch_bank import PatchBank, PatchBankError
from pipelines.patch_bank_writer import build
from rgan_tf.errors import UserError
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.training import artifacts, stages
from rgan_tf.training.cooccurrence import CooccurrenceTrainer
from rgan_tf.training.retrievegan import Models, RetrieveGANTrainer, build_models
from rgan_tf.workspace import Workspace

COLUMNS = ("category", "graph_feature", "box", "image_id", "license")
# Their patches are all removed: the scenes of a first batch, and of most others.
EMPTY_SCENES = range(0, 48, 2)


def copy_of(workspace, path, *without):
    shutil.copytree(workspace.root, path, ignore=shutil.ignore_patterns("retrievegan*", *without))
    return Workspace(path)


def ids_file(workspace, ids):
    path = workspace.root.with_suffix(".ids")
    path.write_text("".join(f"{number}\n" for number in ids))
    return path


def run_stage(workspace, stage):
    stages.StageRunner(workspace, tiny_config(), tf.distribute.get_strategy()).run(stage)


def state_of(workspace):
    """A digest of every file."""
    files = sorted(path for path in workspace.root.rglob("*") if path.is_file())
    return {str(path.relative_to(workspace.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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
    removed_patches.remove(workspace, ids_file(workspace, removed_ids))
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


@pytest.mark.parametrize("backend", prefilter.BACKENDS)
def test_search_never_finds_a_tombstone(taken_down, original, backend):
    bank = artifacts.open_bank(taken_down)
    # A feature of zeros is a tombstone's own: it would be the nearest.
    queries, categories = np.zeros_like(original.graph_feature), np.asarray(original.category)
    found = prefilter.find_candidates(bank, queries, categories, np.full(len(queries), -1), 6, backend, progress=False)
    assert (found >= 0).any() and not bank.removed[found[found >= 0]].any()
    for category in np.unique(categories):
        left = np.sum(bank.category == category)
        assert (np.sum(found[categories == category] >= 0, axis=-1) == min(left, 6)).all()


def test_an_open_bank_sees_the_removal(bare):
    bank, reopened = (PatchBank.open(bare.directory("patch_bank")) for _ in range(2))
    assert bank.gather_patches([3]).any() and not bank.removed.any()
    removed_patches.remove(bare, ids_file(bare, [3]))
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
    stages._embed_bank(encoder, bank, tmp_path / "embeddings.npy")
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
    ledger = {"format": 1, "patches": [{"patch_id": 77, "image_id": "elsewhere", "box": [0, 0, 1, 1]}]}
    (bare.root / removed_patches.LEDGER).write_text(json.dumps(ledger))
    report = removed_patches.erase_from_bank(bare.directory("patch_bank"), bare.root)
    assert len(report) == 2 and "picture and box of 77" in report[1]


WRITES = 2 + len(removed_patches._ERASED) + len(stages.SPLITS)


@pytest.mark.parametrize("killed_at", range(WRITES))
def test_killed_at_any_write_and_run_again_equals_uninterrupted(taken_down, removed_ids, bare, monkeypatch, killed_at):
    writes = iter(range(WRITES))
    zero_rows, replace = removed_patches._zero_rows, removed_patches._replace

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
        patch.setattr(removed_patches, "_zero_rows", dying_zero_rows)
        patch.setattr(removed_patches, "_replace", dying_replace)
        removed_patches.remove(bare, path)
    assert (state_of(bare) == untouched) == (killed_at == 0), "the ledger comes first"
    # Whatever it is asked next; the ledger knows the rest.
    removed_patches.remove(bare, path if killed_at == 0 else ids_file(bare, removed_ids[:1]))
    expected = {name: value for name, value in state_of(taken_down).items() if name in untouched or "/" not in name}
    assert state_of(bare) == expected


def test_removing_again_changes_nothing_and_says_so(bare):
    first = removed_patches.remove(bare, ids_file(bare, [4, 9]))
    assert first[0].startswith("2 patches removed") and first[0].endswith("; 0 were already gone.")
    once = state_of(bare)
    again = removed_patches.remove(bare, ids_file(bare, [9, 4]))
    assert again[0].startswith("0 patches removed") and again[0].endswith("; 2 were already gone.")
    assert state_of(bare) == once
    more = removed_patches.remove(bare, ids_file(bare, [4, 11]))
    assert more[0].startswith("1 patches removed") and more[0].endswith("; 1 were already gone.")
    assert [line.patch_id for line in removed_patches.read_ledger(bare.root)] == [4, 9, 11]


@pytest.mark.parametrize(
    "content, message",
    [
        ("3\nseven\n", r"line 2 is 'seven'; it must be a patch id"),
        ("3\n-1\n", "line 2 is '-1'"),
        ("3\n4.0\n", "line 2 is '4.0'"),
        ("3 4\n", "line 1 is '3 4'"),
        ("3\n1_0\n", "line 2 is '1_0'"),
        ("3\n٤\n", "line 2 is '٤'"),
        ("9" * 5000, "line 1 is '9{40}'"),
        ("3\n\n# three again\n03\n", "line 4 repeats the patch 3 of line 1"),
        ("3\n100000\n", r"line 2 names the patch 100000.*go from 0 to \d+"),
        ("# nothing\n\n", "names no patch"),
        (b"\xff\xfe3\n", "not text in UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_list_that_is_not_wholly_valid_changes_nothing(bare, tmp_path, content, message):
    path, before = tmp_path / "ids.txt", state_of(bare)
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PatchBankError, match=message) as error:
        removed_patches.remove(bare, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert state_of(bare) == before


def test_lists_may_hold_comments_and_windows_line_ends(tmp_path):
    (tmp_path / "ids.txt").write_bytes("\ufeff# asked for on paper\r\n\r\n 12 # the sheep\r\n7".encode())
    assert removed_patches.read_ids(tmp_path / "ids.txt") == {12: 3, 7: 4}


@pytest.mark.parametrize(
    "content", ["{", '{"format": 2, "patches": []}', '{"format": 1, "patches": [{"patch_id": 1}]}']
)
def test_a_ledger_that_cannot_be_read_stops_everything(bare, content):
    path = ids_file(bare, [1])
    (bare.root / removed_patches.LEDGER).write_text(content)
    before = state_of(bare)
    with pytest.raises(PatchBankError, match="removed_patches.json cannot be read"):
        removed_patches.remove(bare, path)
    assert state_of(bare) == before


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_lost(bare):
    obstacle = bare.root / "candidates" / ".train.npy.partial"
    obstacle.mkdir()
    with pytest.raises(PatchBankError, match=r"\.train\.npy\.partial cannot be written.*run the same again"):
        removed_patches.remove(bare, ids_file(bare, range(30)))
    obstacle.rmdir()
    removed_patches.remove(bare, ids_file(bare, range(30)))
    assert np.load(bare.root / "candidates" / "train.npy").max() >= 30
    assert not np.isin(np.load(bare.root / "candidates" / "train.npy"), range(30)).any()


@pytest.mark.parametrize("stage, file", [("candidates", "train.npy"), ("cooccurrence", "embeddings.npy")])
def test_stages_that_are_not_of_this_bank_are_left_alone(bare, stage, file):
    manifest = bare.root / stage / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "fingerprint": "another"}))
    before = state_of(bare)[f"{stage}/{file}"]
    report = removed_patches.remove(bare, ids_file(bare, range(30)))
    assert f"{stage}: made from another bank and left as it is." in report
    assert state_of(bare)[f"{stage}/{file}"] == before


def test_later_stages_may_be_missing_and_leavings_of_a_killed_build_go(bare):
    for stage in ("candidates", "cooccurrence"):
        shutil.rmtree(bare.root / stage)
    shutil.copytree(bare.root / "patch_bank", bare.partial("patch_bank"))
    report = removed_patches.remove(bare, ids_file(bare, [0]))
    assert not bare.partial("patch_bank").exists() and len(report) == 3
    assert np.flatnonzero(PatchBank.open(bare.directory("patch_bank")).removed).tolist() == [0]


def test_the_same_crop_goes_under_every_id(tmp_path):
    workspace, rng = Workspace(tmp_path / "w"), np.random.default_rng(0)
    whole, part = [0, 0, 1, 1], [0, 0, 0.5, 1]
    scenes = []
    for image_id in ("a", "b"):
        objects = {"category": np.array([1, 2, 3]), "box": np.array([whole, part, whole], np.float32)}
        image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        scenes.append(({"image": image, "image_id": image_id, "license": "x", "objects": objects}, np.ones((3, 2))))
    bank = build(scenes, workspace.root / "patch_bank", 6, 8, 2, progress=False)
    (workspace.root / "patch_bank" / "manifest.json").write_text("{}")
    report = removed_patches.remove(workspace, ids_file(workspace, [5]))
    assert bank.category.tolist() == [1, 2, 3, 0, 2, 0]
    assert bank.license.tolist() == ["x", "x", "x", "", "x", ""]
    assert report[0].startswith("2 patches removed") and "1 that" in report[1] and report[1].endswith(": 3.")
    np.testing.assert_array_equal(bank.scene_rows(), [[0, 1, 2], [-1, 4, -1]])
    assert [bank.row_of(number) for number in (0, 4)] == [0, 4]
    for number, message in (
        (3, "Patch 3 was removed"),
        (6, "no patch 6; its ids go from 0 to 5"),
        (10**30, "no patch"),
    ):
        with pytest.raises(PatchBankError, match=message):
            bank.row_of(number)


def test_command_says_what_it_did_and_what_it_did_not(bare):
    command = [sys.executable, "-m", "pipelines.patch_bank", f"--workspace={bare.root}"]
    command.append(f"--remove={ids_file(bare, [5])}")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert PatchBank.open(bare.directory("patch_bank")).removed[5]
    for part in ("1 patches removed", "dropped from train.npy", "trained weights", "TensorBoard", "TF Serving"):
        assert part in done.stdout
