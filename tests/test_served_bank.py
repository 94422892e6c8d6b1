"""The bank inside a served model: what it holds, how it is asked, and that it is in memory once."""

import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY

from export.served_bank import ServedBank, exported_rows
from rgan_tf.errors import UserError

SIDE, COUNT = 16, 60
# Fills a bank of 256 MiB from a source that holds one patch, and saves it; prints by how many MiB the process grew.
MEASURED = """
import pathlib, re, sys, types, numpy as np, tensorflow as tf
from export.served_bank import ServedBank
rows, side = 21845, 64
patch = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
column = np.zeros(rows, np.int32)
bank = types.SimpleNamespace(
    patch_shape=(side, side, 3), offered=column + 1, has_mattes=False, patch_id=column,
    graph_feature=np.zeros((rows, 1), np.float32),
    image_id=column.astype(str), license=column.astype(str),
    gather_patches=lambda r: np.broadcast_to(patch, (len(r), side, side, 3)).copy(),
)
def embed(patches):
    return tf.zeros([len(patches), 1])
def grown():
    # The peak of this program alone; what getrusage gives outlives exec.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
tf.constant(1.0)
before = grown()
held = ServedBank(bank, np.arange(rows), 2, embed)
module = tf.Module()
module.bank = held
draw = tf.function(held.draw, input_signature=[tf.TensorSpec([None], tf.int32)])
draw(tf.constant([1]))
module.draw = draw
tf.saved_model.save(module, sys.argv[1])
print(grown() - before)
"""


@pytest.fixture(scope="module")
def bank():
    random = np.random.default_rng(0)
    patches = random.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    category = random.integers(1, 4, COUNT)
    category[[7, 8]] = 0, 4
    return types.SimpleNamespace(
        patch_shape=(SIDE, SIDE, 3),
        offered=category,
        has_mattes=False,
        directory="bank",
        patch_id=random.permutation(1000)[:COUNT].astype(np.int64),
        graph_feature=random.normal(size=(COUNT, 4)).astype(np.float32),
        image_id=np.array([f"picture {i // 3}" for i in range(COUNT)]),
        license=np.array(["CC BY 2.0", ""] * (COUNT // 2)),
        gather_patches=lambda rows: patches[rows],
    )


def embed(patches):
    return tf.reduce_mean(tf.cast(patches, tf.float32), axis=[1, 2])


def test_rows_are_sorted_by_category_without_removed_ones(bank):
    rows = exported_rows(bank, None, 0)
    assert 7 not in rows and len(rows) == COUNT - 1
    keys = [(bank.offered[row], row) for row in rows]
    assert keys == sorted(keys)


@pytest.mark.parametrize("most", [4, 10, 30])
def test_large_categories_give_up_patches_first(bank, most):
    rows = exported_rows(bank, most, 0)
    counts = np.bincount(bank.offered[rows], minlength=5)
    full = np.bincount(bank.offered[exported_rows(bank, None, 0)], minlength=5)
    assert len(set(rows)) == most == counts.sum() and counts[0] == 0
    assert (counts[1:] >= 1).all()
    # No category has two patches more than one that gave some up.
    gave = counts < full
    assert counts[1:].max() - counts[gave].min() <= 1
    np.testing.assert_array_equal(rows, exported_rows(bank, most, 0))
    assert (bank.offered[rows] == np.sort(bank.offered[rows])).all()


def test_an_empty_bank_is_refused():
    bank = types.SimpleNamespace(offered=np.zeros(3, int), directory="somewhere")
    with pytest.raises(UserError, match="bank in somewhere holds no patch for any object"):
        exported_rows(bank, None, 0)


def test_fewer_patches_than_categories_are_refused(bank):
    with pytest.raises(UserError, match=r"--max_bank_patches=3 .* 4 categories"):
        exported_rows(bank, 3, 0)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_it_gives_what_the_bank_has(bank, encoding):
    rows = exported_rows(bank, None, 0)
    held = ServedBank(bank, rows, 5, embed, encoding)
    asked = np.array([[3, -1], [58, 0]], np.int32)
    given = {name: value.numpy() for name, value in tf.function(held.describe)(tf.constant(asked)).items()}
    patches, valid = held.draw(tf.constant(asked)).numpy(), asked >= 0
    original = bank.gather_patches(rows[asked])
    if encoding == "raw":
        np.testing.assert_array_equal(patches[valid], original[valid])
    else:
        # Noise is what JPEG keeps worst.
        assert 0 < np.abs(patches[valid].astype(int) - original[valid]).mean() < 25
    assert (patches[~valid] == 0).all()
    np.testing.assert_array_equal(given["patch_ids"], np.where(valid, bank.patch_id[rows[asked]], -1))
    for name, column in (("patch_source", bank.image_id), ("patch_license", bank.license)):
        expected = np.where(valid, column[rows[asked]], "")
        np.testing.assert_array_equal(given[name].astype(str), expected)
    assert (given["png_bytes"] == b"")[~valid].all()
    np.testing.assert_array_equal(tf.io.decode_png(given["png_bytes"][0, 0]), patches[0, 0])
    features = held.embeddings(tf.constant(asked)).numpy()
    np.testing.assert_allclose(features[valid], original[valid].mean(axis=(1, 2)), rtol=1e-5)


def test_ids_are_found_and_unknown_ones_are_not(bank):
    rows = exported_rows(bank, None, 0)
    held = ServedBank(bank, rows, 5, embed)
    found = held.rows_of(tf.constant([bank.patch_id[rows], bank.patch_id[rows][::-1]], tf.int64)).numpy()
    np.testing.assert_array_equal(found, [np.arange(len(rows)), np.arange(len(rows))[::-1]])
    unknown = [-1, -5, 1001, bank.patch_id[7], 2**62, -(2**62)]
    assert (held.rows_of(tf.constant(unknown, tf.int64)).numpy() == -1).all()


def test_building_and_saving_holds_the_patches_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "saved")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 250 < float(done.stdout) < 1.5 * 256
