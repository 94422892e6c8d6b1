"""The Visual Genome builder: a fixture worked out by hand, with the oddities of the published files."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from visual_genome_files import FOLDERS, Files, named, related, split_file

from pipelines import datasets, photographs, records
from pipelines.records import SourceError
from pipelines.visual_genome import annotations, protocol
from pipelines.visual_genome.splits import hash_splits
from rgan_tf.config import DataConfig, VisualGenomeConfig

# x, y, width, height in pixels, in pictures of 320 x 240.
LEFT, RIGHT, MIDDLE = (0, 0, 160, 240), (160, 0, 160, 240), (80, 60, 160, 120)


def configured(files, **rules):
    rules = {"min_category_count": 2, "min_predicate_count": 2, **rules}
    own = VisualGenomeConfig(splits_file=str(files.root / "splits.json"), **rules)
    return DataConfig(builder="visual_genome", source_dir=str(files.root), visual_genome=own)


def prepared(config, data_dir):
    datasets.prepare(datasets.make_builder(config, data_dir))
    return datasets.make_builder(config, data_dir)


def read(builder, split):
    decoders = {"image": tfds.decode.SkipDecoding()}
    return list(builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator())


def graph_of(record, vocabulary):
    """A record's objects and relations by name."""
    objects = [vocabulary.objects[category] for category in record["objects"]["category"]]
    return objects, [(int(s), vocabulary.predicates[p], int(o)) for s, p, o in record["relations"]]


def plain(files, image_id, **more):
    """Three objects and a relation that every protocol here keeps."""
    first = 1000 * image_id
    objects = [named(first, "man", *LEFT), named(first + 1, "tree", *RIGHT), named(first + 2, "sky", *MIDDLE)]
    files.image(image_id, objects, [related(first, "on", first + 1)], **more)


@pytest.fixture
def hand_made(tmp_path):
    """Every rule and every oddity, in eleven training images and two each for validation and test."""
    files = Files(tmp_path / "vg")
    files.object_aliases = ["man,guy,gentleman", "tree, trees ,pine", "person,guy"]
    files.relationship_aliases = ["on,on top of,is on", "in front of,before"]
    for image_id in (31, 32):
        plain(files, image_id, folder=FOLDERS[image_id % 2])
    for image_id in (41, 42):
        plain(files, image_id)
    # Listed first, and not the smallest id. Several names: the first that is frequent counts. A relation to an object
    # that is not there, one to an object that is too small, one with a rare predicate.
    files.image(
        15,
        [
            named(1, ["hat", "trees", "man"], *LEFT),
            named(2, ["Tree"], *RIGHT),
            named(3, "gentleman", *RIGHT),
            named(4, "sky", 0, 0, 31, 240),
            named(5, "sky", 0, 0, 32, 32),
        ],
        [
            related(1, " On Top Of ", 3),
            related(3, "on", 99),
            related(3, "on", 4),
            related(5, "admires", 3),
            related(5, "Before", 3),
            related(3, "is on", 3),
        ],
    )
    # Boxes over the edge, outside, with no or a negative width; an object listed twice, the later entry counts.
    files.image(
        11,
        [
            named(11, "man", -40, 180, 80, 120),
            named(12, "tree", 320, 0, 100, 100),
            named(13, "tree", 10, 10, 0, 50),
            named(14, "tree", 10, 10, -50, 50),
            named(15, "sky", 0, 0, 40, 40),
            named(15, "sky", 0, 0, 320, 60),
            named(16, "tree", 240, 60, 160.5, 180),
        ],
        [related(16, "in front of", 15), related(11, "on", 12)],
        folder=FOLDERS[1],
    )
    plain(files, 12, size=(320, 199))
    plain(files, 13, size=(200, 240))
    files.image(14)
    files.image(16, [named(61, "man", *LEFT), named(62, "tree", *RIGHT)], [related(61, "on", 62)])
    files.image(17, [named(71, "man", *LEFT), named(72, "tree", *RIGHT), named(73, "sky", *LEFT)], [])
    # Malformed entries.
    files.image(
        18,
        [
            named(81, "man", *LEFT),
            named(82, "tree", *RIGHT),
            named(83, "sky", *LEFT),
            {"names": ["man"], "x": 0, "y": 0, "w": 50, "h": 50},
            named(85, "man", 0, 0, 50),
            named(86, "man", 0, 0, "50", 50),
            named(87, "man", 0, 0, 1e300, 50),
            named(88, [7], *LEFT),
            "man",
        ],
        [related(81, "on", 82), {"predicate": "on"}, related(81, None, 82), related(None, "on", 82), 5],
    )
    plain(files, 19, picture=False)
    plain(files, 20)
    broken = files.path(20).read_bytes()
    files.path(20).write_bytes(broken[: len(broken) // 2])
    plain(files, 21, picture=np.zeros((240, 319, 3), np.uint8))
    # Listed again: the later entry stands. Without use: an entry without size, one with an address of another folder.
    files.images.append({**files.images[-1], "width": 319})
    files.images.append({"image_id": 22, "url": "https://example.org/VG_100K/22.jpg", "width": 320})
    files.images.append({"image_id": 23, "url": "https://example.org/../23.jpg", "width": 320, "height": 240})
    files.objects.append({"image_id": "15", "objects": []})
    files.relationships.append({"image_id": 11})
    split_file(
        tmp_path / "vg" / "splits.json", [15, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 77], [31, 32], [41, 42]
    )
    return files


def test_scenes_worked_out_by_hand(hand_made, tmp_path):
    hand_made.write()
    builder = prepared(configured(hand_made), tmp_path / "data")
    vocabulary = datasets.vocabulary(builder)
    # Of the training images that are large enough, objects of any size: 12 trees, four of them in 11; 10 men, two of
    # them in 15, where one is a "gentleman", and first in 15; 10 skies, two each in 15 and 11. A hat and a "Tree" are
    # there once.
    assert vocabulary.objects == ("__image__", "tree", "man", "sky")
    # In order of appearance: "on" of 15, then "in front of"; "admires" appears once.
    assert vocabulary.predicates == ("__in_image__", "on", "in front of")
    train = read(builder, "train")
    assert [record["image_id"] for record in train] == [b"15", b"11", b"13", b"18", b"21"]
    crowd, edges = train[:2]
    assert crowd["image"] == hand_made.path(15).read_bytes() and crowd["style"] == -1 and crowd["license"] == b""
    assert graph_of(crowd, vocabulary) == (
        ["tree", "man", "sky"],
        [(0, "on", 1), (2, "in front of", 1), (1, "on", 1)],
    )
    np.testing.assert_allclose(
        crowd["objects"]["box"], [[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 0.1, 32 / 240]], rtol=1e-6
    )
    np.testing.assert_allclose(crowd["objects"]["centroid"][:2], [[0.25, 0.5], [0.75, 0.5]], rtol=1e-6)
    assert edges["image"] == hand_made.path(11, FOLDERS[1]).read_bytes()
    assert graph_of(edges, vocabulary) == (["man", "sky", "tree"], [(2, "in front of", 1)])
    np.testing.assert_allclose(
        edges["objects"]["box"], [[0, 0.75, 0.125, 1], [0, 0, 1, 0.25], [0.75, 0.25, 1, 1]], rtol=1e-6
    )
    for split, ids in (("validation", [b"31", b"32"]), ("test", [b"41", b"42"])):
        assert [record["image_id"] for record in read(builder, split)] == ids


def test_what_was_left_out_is_counted(hand_made, tmp_path):
    hand_made.write()
    builder = prepared(configured(hand_made), tmp_path / "data")
    metadata = builder.info.metadata
    assert metadata[records.SELECTION] == {
        "train": {
            protocol.KEPT: 7,
            protocol.SMALL_IMAGE: 1,
            protocol.NOT_LISTED: 2,
            protocol.FEW_OBJECTS: 2,
            protocol.FEW_RELATIONSHIPS: 1,
        },
        "validation": {protocol.KEPT: 2},
        "test": {protocol.KEPT: 2},
    }
    assert metadata[records.PROBLEMS] == {
        "annotations": {
            annotations.MALFORMED_IMAGE: 2,
            annotations.REPEATED_IMAGE: 1,
            annotations.MALFORMED_ENTRY: 2,
            annotations.MALFORMED_OBJECT: 6,
            annotations.MALFORMED_RELATIONSHIP: 4,
            protocol.REPEATED_OBJECT: 1,
            protocol.OUTSIDE_BOX: 1,
            # The man and the tree of 11, and of 13 and 21, which are narrower, the tree and in 13 the sky too.
            protocol.CLIPPED_BOX: 5,
        },
        "train": {photographs.MISSING_IMAGE: 1, photographs.CORRUPT_IMAGE: 1},
        "validation": {},
        "test": {},
    }


def test_the_report_holds_the_counts_beside_the_published_ones(hand_made, tmp_path):
    hand_made.write()
    counts, warning, *_ = datasets.source_report(prepared(configured(hand_made), tmp_path / "data"))
    assert counts.startswith("5 train scenes (published: 62,565), 2 validation scenes (published: 5,506)")
    assert counts.endswith("3 categories (published: 178), 2 predicates (published: 45)")
    assert warning.startswith("warning: train scenes, validation scenes, test scenes, categories, predicates differ")


def test_predicates_outside_training_count_as_they_were_written(hand_made, tmp_path):
    """As in sg2im's code, which normalizes those of training images alone; they come first in no vocabulary."""
    others = [related(31000, predicate, 31001) for predicate in ("in front of", "On", "is on")]
    hand_made.relationships[0]["relationships"][:0] = others
    hand_made.write()
    builder = prepared(configured(hand_made), tmp_path / "data")
    vocabulary = datasets.vocabulary(builder)
    assert vocabulary.predicates[1:] == ("on", "in front of")
    assert graph_of(read(builder, "validation")[0], vocabulary)[1] == [(0, "in front of", 1), (0, "on", 1)]


@pytest.mark.parametrize(
    "rules, train",
    [
        ({"min_image_side": 100}, [15, 11, 12, 13, 18, 21]),
        # Without its small sky 15 has too few objects, and "in front of" is left once, in 11.
        ({"min_object_side": 33}, [13, 18, 21]),
        ({"min_relationships": 2}, [15]),
        ({"max_relationships": 2, "max_objects": 3}, [11, 13, 18, 21]),
        ({"min_relationships": 0}, [15, 11, 13, 17, 18, 21]),
        ({"min_predicate_count": 4}, [15, 13, 18, 21]),
    ],
)
def test_rules_change_what_is_kept(hand_made, tmp_path, rules, train):
    hand_made.write()
    # One with two relations, so that no split is empty.
    for entry in hand_made.relationships[:4]:
        first = 1000 * entry["image_id"]
        entry["relationships"] += [related(first, "on", first + 2)]
    hand_made.write()
    builder = prepared(configured(hand_made, **rules), tmp_path / "data")
    assert [int(record["image_id"]) for record in read(builder, "train")] == train


def test_without_a_split_file_ids_are_split_by_hash():
    ids = list(range(1, 5001))
    splits = hash_splits(ids)
    assert sorted(sum(splits.values(), [])) == ids
    np.testing.assert_allclose([len(part) / 5000 for part in splits.values()], [0.8, 0.1, 0.1], atol=0.02)
    # Whatever other images there are.
    some = hash_splits(ids[::3])
    assert all(set(some[name]) <= set(splits[name]) for name in splits)
    config = DataConfig(builder="visual_genome", source_dir="somewhere")
    assert "split_by_hash" in str(datasets.make_builder(config, "data").data_dir)


def test_missing_files_are_one_error(hand_made, tmp_path):
    root = hand_made.write()
    (root / "objects.json").unlink()
    (root / "VG_100K_2" / "11.jpg").unlink()
    (root / "VG_100K_2" / "31.jpg").unlink()
    (root / "VG_100K_2").rmdir()
    with pytest.raises(SourceError, match="objects.json, VG_100K_2/ not found. Expected there are image_data.json"):
        prepared(configured(hand_made), tmp_path / "data")
    with pytest.raises(SourceError, match="source_dir is empty"):
        prepared(configured(hand_made).replace(source_dir=""), tmp_path / "data")


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("objects.json", '[{"image_id": 15, "objects"', "objects.json is not readable as JSON"),
        ("objects.json", '{"objects": []}', "objects.json is no list; is it the file as it was published"),
        ("relationships.json", "", "relationships.json is not readable as JSON"),
        ("object_alias.txt", b"\xff\xfe", "object_alias.txt cannot be read as text"),
        ("splits.json", "{", "splits_file: .*splits.json cannot be read"),
        ("splits.json", '{"train": []}', "must hold the lists train, val, test"),
        ("splits.json", '{"train": ["1"], "val": [], "test": []}', "'train' must be a list of image ids"),
        ("splits.json", '{"train": [15, 1], "val": [1], "test": [15]}', "names image 1 more than once"),
        ("splits.json", '{"train": [15], "val": [], "test": [41]}', "no image of the validation split passes"),
    ],
)
def test_unusable_files_are_clear_errors(hand_made, tmp_path, name, content, sentence):
    path = hand_made.write() / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError, match=sentence):
        prepared(configured(hand_made), tmp_path / "data")


def test_a_killed_run_is_taken_up_without_examining_again(hand_made, tmp_path, monkeypatch):
    hand_made.write()
    undisturbed = read(prepared(configured(hand_made), tmp_path / "whole"), "train")
    examined, fault_of = [], photographs.fault_of

    def until_killed(path, height, width):
        examined.append(path.stem)
        if path.stem == "31":
            raise KeyboardInterrupt
        return fault_of(path, height, width)

    monkeypatch.setattr(photographs, "fault_of", until_killed)
    config = configured(hand_made)
    with pytest.raises(KeyboardInterrupt):
        prepared(config, tmp_path / "data")
    monkeypatch.setattr(photographs, "fault_of", lambda *of: examined.append(of[0].stem) or fault_of(*of))
    # The picture that was missing is there now.
    hand_made.path(19).write_bytes(hand_made.path(13).read_bytes())
    examined.clear()
    builder = prepared(config, tmp_path / "data")
    # Usable ones are known; what was wrong is looked at again.
    assert set(examined) == {"19", "20", "31", "32", "41", "42"}
    np.testing.assert_equal(read(builder, "train"), undisturbed)
    assert builder.info.metadata[records.PROBLEMS]["train"] == {
        photographs.OTHER_SIZE: 1,
        photographs.CORRUPT_IMAGE: 1,
    }
    assert not [path for path in (tmp_path / "data").rglob("*") if "findings" in path.name or "incomplete" in path.name]


def test_other_sources_are_examined_again(hand_made, tmp_path):
    root = hand_made.write()
    files = [root / name for name in annotations.FILES]
    before = photographs.state_of(files)
    assert photographs.state_of(files) == before
    (root / "objects.json").write_text(json.dumps(hand_made.objects[:-1]))
    assert photographs.state_of(files) != before
