import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.patch_bank.bank import MANIFEST, PatchBank, PatchBankError, StoredRows
from pipelines.patch_bank.cropping import crop_patch, cut_in_threads, cut_scene
from pipelines.patch_bank.writer import PatchBankWriter, build


def make_scene(rng, number, size=(40, 56), image_id="000000000042", license="CC BY 4.0"):
    corner = rng.uniform(0, 0.6, (number, 2))
    box = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (number, 2))], axis=1)
    return {
        "image": rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        "image_id": image_id,
        "license": license,
        "objects": {"category": rng.integers(1, 9, number), "box": box.astype(np.float32)},
    }


def make_bank(directory, counts=(3, 0, 2, 5), patch_size=8, dim=6):
    rng = np.random.default_rng(0)
    scenes = [make_scene(rng, n, image_id=f"{i:012d}".encode(), license="é" * i) for i, n in enumerate(counts)]
    # Padded to more rows than objects, as the graph encoder gives them.
    features = [rng.normal(size=(max(counts) + 1, dim)).astype(np.float32) for _ in counts]
    cuts_from = cut_in_threads(lambda start: list(zip(scenes, features))[start:], patch_size)
    bank = build(cuts_from, directory, sum(counts), patch_size, dim, progress=False)
    return bank, scenes, features


def bicubic_weights(length, size):
    """The antialiased bicubic resize as a matrix [size, length]: Keys' kernel, a = -1/2, widened when shrinking."""
    scale = max(length / size, 1.0)
    centre = (np.arange(size)[:, None] + 0.5) * length / size
    x = np.abs((np.arange(length)[None] + 0.5 - centre) / scale)
    inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [5, 16, 32])
@pytest.mark.parametrize("span", [(0, 0, 48, 36), (7, 3, 19, 33), (10, 30, 40, 34), (47, 35, 48, 36)])
def test_crop_is_the_antialiased_bicubic_resize_of_whole_pixels(span, size):
    # Away from black and white, where an overshoot would be cut off between Pillow's two passes.
    image = np.random.default_rng(1).integers(80, 176, (36, 48, 3), dtype=np.uint8)
    x0, y0, x1, y1 = span
    box = np.array([x0 / 48, y0 / 36, x1 / 48, y1 / 36], np.float32)
    crop = image[y0:y1, x0:x1].astype(np.float64)
    expected = np.einsum("ij,jlc,kl->ikc", bicubic_weights(y1 - y0, size), crop, bicubic_weights(x1 - x0, size))
    # Each of the two passes rounds by half a level, which the second may enlarge a little.
    np.testing.assert_allclose(crop_patch(image, box, size), expected, atol=1.3)


def test_shrinking_a_fine_pattern_gives_its_mean():
    checkerboard = (255 * (np.indices((96, 96)).sum(axis=0) % 2)).astype(np.uint8)
    patch = crop_patch(np.repeat(checkerboard[..., None], 3, axis=2), (0, 0, 1, 1), 8)
    assert np.abs(patch.astype(int) - 127).max() <= 2


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 30), st.integers(1, 30), st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_any_box_gives_a_patch_from_within_the_picture(height, width, numbers):
    x0, x1 = sorted(numbers[:2])
    y0, y1 = sorted(numbers[2:])
    image = np.full((height, width, 3), 200, np.uint8)
    np.testing.assert_array_equal(crop_patch(image, (x0, y0, x1, y1), 4), np.full((4, 4, 3), 200))


def test_a_built_bank_gives_back_what_was_put_in(tmp_path):
    bank, scenes, features = make_bank(tmp_path)
    assert len(bank) == 10 and bank.num_scenes == 4 and bank.patch_size == 8 and bank.next_patch_id == 10
    np.testing.assert_array_equal(bank.patch_id, np.arange(10))
    row = 0
    for index, scene in enumerate(scenes):
        for position, (category, box) in enumerate(zip(scene["objects"]["category"], scene["objects"]["box"])):
            np.testing.assert_array_equal(bank.gather_patches(row), crop_patch(scene["image"], box, 8))
            np.testing.assert_array_equal(bank.graph_feature[row], features[index][position])
            np.testing.assert_array_equal(bank.box[row], box)
            assert bank.category[row] == category
            assert (bank.scene_index[row], bank.object_index[row]) == (index, position)
            assert (bank.image_id[row], bank.license[row]) == (f"{index:012d}", "é" * index)
            row += 1
    assert bank.image_id.dtype.kind == bank.license.dtype.kind == "U"


def test_reopened_bank_is_the_same(tmp_path):
    bank, _, _ = make_bank(tmp_path)
    again = PatchBank.open(str(tmp_path))
    rows = np.arange(10)
    np.testing.assert_array_equal(again.gather_patches(rows), bank.gather_patches(rows))


def test_scene_rows(tmp_path):
    bank, _, _ = make_bank(tmp_path, counts=(3, 0, 2))
    np.testing.assert_array_equal(bank.scene_rows(), [[0, 1, 2], [-1, -1, -1], [3, 4, -1]])
    np.testing.assert_array_equal(bank.scene_rows(4)[:, :3], bank.scene_rows())
    assert (bank.scene_rows(4)[:, 3] == -1).all() and bank.scene_rows().dtype == np.int32
    with pytest.raises(PatchBankError, match="3 objects; max_objects is 2"):
        bank.scene_rows(2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize("row_shape", [(), (7,), (4, 5, 3)])
@pytest.mark.parametrize("shape", [(), (0,), (6,), (2, 3, 4)])
def test_gather_equals_indexing(tmp_path, dtype, row_shape, shape):
    rng = np.random.default_rng(2)
    array = rng.integers(1, 200, (11, *row_shape)).astype(dtype)
    np.save(tmp_path / "array.npy", array)
    rows = rng.integers(-1, 11, shape)
    expected = np.where((rows >= 0).reshape(shape + (1,) * len(row_shape)), array[rows], 0)
    result = StoredRows(tmp_path / "array.npy").gather(rows)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("row", [-2, 10])
def test_rows_outside_the_bank_are_errors(tmp_path, row):
    bank, _, _ = make_bank(tmp_path)
    with pytest.raises(IndexError, match="rows start at 0"):
        bank.gather_patches([[0, row]])


def test_a_file_cut_short_is_an_error(tmp_path):
    np.save(tmp_path / "array.npy", np.ones((100, 50)))
    rows = StoredRows(tmp_path / "array.npy")
    with open(tmp_path / "array.npy", "r+b") as file:
        file.truncate(20000)
    assert rows.gather([3]).all()
    with pytest.raises(PatchBankError, match="ends before its row 99"):
        rows.gather([99])
    with pytest.raises(PatchBankError, match="20000 bytes"):
        StoredRows(tmp_path / "array.npy")


def test_cooccurrence_embeddings_live_elsewhere(tmp_path):
    bank, _, _ = make_bank(tmp_path / "bank")
    with pytest.raises(PatchBankError, match="without co-occurrence"):
        bank.gather_cooccurrence([0])
    embeddings = np.random.default_rng(3).normal(size=(10, 5)).astype(np.float32)
    np.save(tmp_path / "cooccurrence.npy", embeddings)
    bank = PatchBank.open(tmp_path / "bank", cooccurrence_path=tmp_path / "cooccurrence.npy")
    np.testing.assert_array_equal(bank.gather_cooccurrence([[4, -1]]), [[embeddings[4], np.zeros(5)]])
    np.save(tmp_path / "cooccurrence.npy", embeddings[:9])
    with pytest.raises(PatchBankError, match="needs .10, features."):
        PatchBank.open(tmp_path / "bank", cooccurrence_path=tmp_path / "cooccurrence.npy")


def test_unfinished_banks_cannot_be_opened(tmp_path):
    scene = make_scene(np.random.default_rng(4), 2)
    with pytest.raises(RuntimeError, match="stop"):
        with PatchBankWriter(tmp_path, 2, 8, 6) as writer:
            writer.add(cut_scene(writer.scenes, scene, 8), np.zeros((2, 6)))
            raise RuntimeError("stop")
    with pytest.raises(PatchBankError, match="no whole patch bank"):
        PatchBank.open(tmp_path)
    with pytest.raises(PatchBankError, match="2 of 5"):
        build(cut_in_threads(lambda start: [(scene, np.zeros((2, 6)))], 8), tmp_path, 5, 8, 6, progress=False)
    with pytest.raises(PatchBankError, match="no whole patch bank"):
        PatchBank.open(tmp_path)


class Killed(BaseException):
    """As a kill, that nothing cleans up after."""


def killed_build(directory, scenes, features, stop, **sizes):
    """A build that ends before a scene, its files as a kill leaves them."""

    def until(start):
        for index in range(start, len(scenes)):
            if index == stop:
                raise Killed
            yield scenes[index], features[index]

    with pytest.raises(Killed):
        build(cut_in_threads(until, sizes["patch_size"]), directory, save_every=2, progress=False, **sizes)


@pytest.mark.parametrize("stop", [0, 1, 2, 5, 29])
def test_a_killed_build_goes_on_to_the_same_bytes(tmp_path, stop):
    counts = np.random.default_rng(1).integers(0, 5, 30).tolist()
    whole, scenes, features = make_bank(tmp_path / "whole", counts)
    sizes = dict(count=sum(counts), patch_size=8, graph_feature_dim=6)
    killed_build(tmp_path / "bank", scenes, features, stop, **sizes)
    asked = []

    def rest(start):
        asked.append(start)
        return list(zip(scenes, features))[start:]

    bank = build(cut_in_threads(rest, 8), tmp_path / "bank", save_every=2, progress=False, **sizes)
    # Threads work ahead of what is added, so that a scene before the kill may be lost, but not many.
    assert asked[0] % 2 == 0 and stop - 40 <= asked[0] <= stop
    names = sorted(path.name for path in whole.directory.iterdir())
    assert sorted(path.name for path in bank.directory.iterdir()) == names
    for name in names:
        assert (bank.directory / name).read_bytes() == (whole.directory / name).read_bytes()


def test_a_killed_build_of_another_bank_is_not_gone_on_with(tmp_path):
    counts = [2] * 40
    _, scenes, features = make_bank(tmp_path / "whole", counts)
    killed_build(tmp_path / "bank", scenes, features, 39, count=80, patch_size=8, graph_feature_dim=6)
    assert PatchBankWriter(tmp_path / "bank", 80, 8, 6).scenes > 0
    assert PatchBankWriter(tmp_path / "bank", 81, 8, 6).scenes == 0
    # Nor is one whose files are shorter than they were.
    killed_build(tmp_path / "short", scenes, features, 39, count=80, patch_size=8, graph_feature_dim=6)
    (tmp_path / "short" / "box.npy").write_bytes(b"")
    assert PatchBankWriter(tmp_path / "short", 80, 8, 6).scenes == 0


def test_rebuilding_in_place_first_takes_the_old_manifest_away(tmp_path):
    make_bank(tmp_path)
    PatchBankWriter(tmp_path, 2, 8, 6)
    assert not (tmp_path / MANIFEST).exists()


def test_unknown_format_is_an_error(tmp_path):
    make_bank(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(PatchBankError, match="format 99"):
        PatchBank.open(tmp_path)


def broken(change):
    scene = make_scene(np.random.default_rng(5), 2)
    change(scene)
    return scene


@pytest.mark.parametrize(
    "change, features, message",
    [
        (lambda s: s.update(image=s["image"][..., 0]), (2, 6), r"image of uint8\[40, 56\]"),
        (lambda s: s.update(image=s["image"].astype(np.float32)), (2, 6), "image of float32"),
        (lambda s: s["objects"]["box"].__setitem__((1, 2), np.nan), (2, 6), "object 1 has the box"),
        (lambda s: s["objects"]["box"].__setitem__((1, 0), 1.5), (2, 6), "object 1 has the box"),
        (lambda s: s["objects"]["box"].__setitem__((0, 3), s["objects"]["box"][0, 1]), (2, 6), "object 0 has the box"),
        (lambda s: s["objects"]["category"].__setitem__(1, 0), (2, 6), "object 1 has category 0"),
        (lambda s: s["objects"].update(category=np.array([1])), (2, 6), "1 categories but 2 boxes"),
        (lambda s: None, (1, 6), r"shape \[1, 6\]"),
        (lambda s: None, (2, 5), r"shape \[2, 5\]"),
    ],
)
def test_values_that_cannot_be_a_patch_are_named(tmp_path, change, features, message):
    writer = PatchBankWriter(tmp_path, 2, 8, 6)
    with pytest.raises(PatchBankError, match=message) as error:
        writer.add(cut_scene(writer.scenes, broken(change), 8), np.zeros(features))
    assert "Scene 0 (picture '000000000042')" in str(error.value)


def test_more_patches_than_announced_is_an_error(tmp_path):
    writer = PatchBankWriter(tmp_path, 3, 8, 6)
    scene = make_scene(np.random.default_rng(6), 2)
    writer.add(cut_scene(writer.scenes, scene, 8), np.zeros((2, 6)))
    with pytest.raises(PatchBankError, match="exceeds the 3 patches announced"):
        writer.add(cut_scene(writer.scenes, scene, 8), np.zeros((2, 6)))


@pytest.mark.parametrize("sizes", [(0, 8, 6), (2, 0, 6), (2, 8, 0)])
def test_sizes_below_one_are_errors(tmp_path, sizes):
    with pytest.raises(PatchBankError, match="must be at least 1"):
        PatchBankWriter(tmp_path, *sizes)


def test_reading_a_large_bank_at_random_keeps_little_of_it_in_memory(tmp_path):
    # In a process of its own: resident memory is the process's. Reading through a memory map fails this by far.
    count, side = 20000, 64
    with open(tmp_path / "patches.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(20):
            file.write(bytes(count // 20 * side * side * 3))
    script = textwrap.dedent(
        f"""
        import resource
        import numpy as np
        from pipelines.patch_bank.bank import StoredRows
        rows = StoredRows({str(tmp_path / "patches.npy")!r})
        rng = np.random.default_rng(0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(60):
            rows.gather(rng.integers(0, {count}, 400))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
        """
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(output) < 40, "MiB gained; a batch is 5 MiB, the file 234 MiB"


def test_patches_show_the_object(tmp_path):
    image = Image.new("RGB", (60, 40), "blue")
    image.paste("red", (15, 10, 30, 30))
    scene = make_scene(np.random.default_rng(7), 1)
    scene["image"] = np.asarray(image)
    scene["objects"]["box"] = np.array([[0.25, 0.25, 0.5, 0.75]], np.float32)
    bank = build(cut_in_threads(lambda start: [(scene, np.zeros((1, 6)))], 16), tmp_path, 1, 16, 6, progress=False)
    np.testing.assert_array_equal(bank.gather_patches([0]), np.broadcast_to([255, 0, 0], (1, 16, 16, 3)))
