"""The COCO builder: a fixture worked out by hand, and the real sample against a second reading of the protocol."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from coco_files import CAT, DOG, SKY, Fixture, fill_val, hand_made, thing, whole_image

from pipelines import datasets, photographs, records
from pipelines.coco_stuff import builder as coco_builder
from pipelines.coco_stuff import protocol
from pipelines.records import SourceError
from rgan_tf.config import DataConfig


@pytest.fixture(name="hand_made")
def hand_made_files(tmp_path):
    """Every rule and every kind of fault, in ten training images and three of val."""
    return hand_made(tmp_path / "coco")


def configured(root, **settings):
    return DataConfig(builder="coco_stuff", source_dir=str(root), **{"validation_images": 2, **settings})


def prepared(config, data_dir):
    builder = datasets.make_builder(config, data_dir)
    datasets.prepare(builder)
    return datasets.make_builder(config, data_dir)


def read(builder, split):
    decoders = {"image": tfds.decode.SkipDecoding()}
    return list(builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator())


def names_of(record, vocabulary):
    return [vocabulary.objects[index] for index in record["objects"]["category"]]


def test_scenes_worked_out_by_hand(hand_made, tmp_path):
    builder = prepared(configured(hand_made.write()), tmp_path / "data")
    vocabulary = datasets.vocabulary(builder)
    assert vocabulary.objects == ("__image__", "cat", "zebra", "dog", "grass", "sky")
    crowd, park, faulty = read(builder, "train")
    assert [record["image_id"] for record in (crowd, park, faulty)] == [b"15", b"11", b"16"]
    assert [record["license"] for record in (crowd, park, faulty)] == [
        b"Unnamed terms",
        b"Attribution (http://example.org/by)",
        b"",
    ]
    assert park["image"] == hand_made.path("train", 11).read_bytes() and park["style"] == -1

    assert names_of(crowd, vocabulary) == ["cat"] * 8
    np.testing.assert_allclose(crowd["objects"]["box"][7], [0.7, 0.1, 0.8, 0.5])
    np.testing.assert_allclose(crowd["objects"]["centroid"][7], [0.75, 0.3])

    assert names_of(park, vocabulary) == ["cat", "dog", "grass", "sky"]
    np.testing.assert_allclose(
        park["objects"]["box"], [[0.1, 0.2, 0.3, 0.6], [0.5, 0, 0.6, 0.21], [0, 0.5, 1, 1], [0, 0, 1, 0.2]], rtol=1e-6
    )
    np.testing.assert_allclose(
        park["objects"]["centroid"], [[0.2, 0.4], [0.55, 0.105], [0.5, 0.75], [0.5, 0.1]], rtol=1e-6
    )

    assert names_of(faulty, vocabulary) == ["cat", "dog", "grass", "sky"]
    np.testing.assert_allclose(
        faulty["objects"]["box"], [[0, 0.2, 0.3, 1], [0.2, 0.2, 0.6, 0.6], [0, 0.6, 1, 1], [0, 0, 1, 0.5]], rtol=1e-6
    )
    np.testing.assert_allclose(
        faulty["objects"]["centroid"], [[0.15, 0.6], [0.4, 0.4], [0.5, 0.8], [0.5, 0.25]], rtol=1e-6
    )


def test_problems_are_counted_by_kind(hand_made, tmp_path):
    builder = prepared(configured(hand_made.write()), tmp_path / "data")
    assert builder.info.metadata[records.SELECTION]["train2017"] == {
        "kept": 6,
        "without stuff": 1,
        "too few objects": 1,
        "too many objects": 1,
    }
    assert builder.info.metadata[records.PROBLEMS]["train2017"] == {
        protocol.MALFORMED_IMAGE: 1,
        protocol.MALFORMED_ANNOTATION: 1,
        protocol.UNKNOWN_IMAGE: 1,
        protocol.UNKNOWN_CATEGORY: 1,
        protocol.MALFORMED_BOX: 2,
        protocol.ZERO_AREA_BOX: 1,
        protocol.OUTSIDE_BOX: 1,
        # The first cat of 16, and the sky of 19, whose image is said to be a pixel narrower.
        protocol.CLIPPED_BOX: 2,
        photographs.MISSING_IMAGE: 1,
        photographs.CORRUPT_IMAGE: 1,
        photographs.OTHER_SIZE: 1,
        # Eight cats of 15, the dog of 11, the clipped cat of 16.
        coco_builder.NO_SEGMENTATION: 10,
        # Two points, run lengths that do not add up, an empty mask.
        coco_builder.MALFORMED_SEGMENTATION: 3,
    }
    assert builder.info.metadata[records.PROBLEMS]["val2017"] == {coco_builder.NO_SEGMENTATION: 9}
    report = datasets.source_report(builder)
    assert "train2017: 9 images: 6 kept, 1 too few objects, 1 too many objects, 1 without stuff" in report
    assert f"train2017: 1 x {photographs.CORRUPT_IMAGE}" in report


def test_val_is_split_in_file_order(hand_made, tmp_path):
    builder = prepared(configured(hand_made.write()), tmp_path / "data")
    assert [record["image_id"] for record in read(builder, "validation")] == [b"31", b"32"]
    assert [record["image_id"] for record in read(builder, "test")] == [b"33"]


def test_settings_change_what_is_kept(hand_made, tmp_path):
    hand_made.write()
    without_stuff = prepared(configured(hand_made.root, require_stuff=False), tmp_path / "data")
    assert [record["image_id"] for record in read(without_stuff, "train")] == [b"15", b"11", b"12", b"16"]
    few = prepared(configured(hand_made.root, min_objects=2, max_objects=4), tmp_path / "data")
    assert [record["image_id"] for record in read(few, "train")] == [b"11", b"13", b"16"]
    # At 15 % the park keeps grass and sky; the dog and the cat of 11 are smaller.
    large = prepared(configured(hand_made.root, min_objects=2, min_object_area=0.15), tmp_path / "data")
    park = next(record for record in read(large, "train") if record["image_id"] == b"11")
    assert names_of(park, datasets.vocabulary(large)) == ["grass", "sky"]
    assert len({str(builder.data_dir) for builder in (without_stuff, few, large)}) == 3


def test_groups_are_the_beginnings_of_names(hand_made, tmp_path):
    hand_made.write()
    plain = prepared(configured(hand_made.root), tmp_path / "data")
    grouped = prepared(configured(hand_made.root, group_separator="5"), tmp_path / "data")
    assert plain.data_dir != grouped.data_dir
    first, second = (read(builder, "train") for builder in (plain, grouped))
    assert [record["image_id"] for record in second] == [b"15", b"11", b"16"]
    assert [record["group"] for record in second] == [b"00000000001", b"000000000011.jpg", b"000000000016.jpg"]
    for one, other in zip(first, second):
        assert "group" not in one and one["image"] == other["image"]


def test_missing_layout_is_one_error(hand_made, tmp_path):
    (hand_made.write() / "annotations" / "stuff_val2017.json").unlink()
    with pytest.raises(SourceError, match=r"annotations/stuff_val2017.json not found. Expected there are"):
        prepared(configured(hand_made.root), tmp_path / "data")
    with pytest.raises(SourceError, match=r"images/train2017/, images/val2017/, annotations/instances_train2017"):
        prepared(configured(tmp_path / "nowhere"), tmp_path / "data")
    with pytest.raises(SourceError, match="source_dir is empty"):
        prepared(configured(""), tmp_path / "data")


def test_unusable_files_are_clear_errors(hand_made, tmp_path):
    root = hand_made.write()
    with pytest.raises(SourceError, match="validation_images is 3, but 3 scenes of val2017"):
        prepared(configured(root, validation_images=3), tmp_path / "data")
    path = root / "annotations" / "stuff_train2017.json"
    path.write_text('{"images": [')
    with pytest.raises(SourceError, match="stuff_train2017.json is not readable as JSON"):
        prepared(configured(root), tmp_path / "data")
    path.write_text('{"images": [], "annotations": [{"bbox": [NaN, 0, 1, 1]}], "categories": []}')
    with pytest.raises(SourceError, match="stuff_train2017.json is not readable as JSON"):
        prepared(configured(root), tmp_path / "data")
    path.write_text('{"images": [], "annotations": [], "categories": [{"id": 7}]}')
    with pytest.raises(SourceError, match="a category has no id or no name: {'id': 7}"):
        prepared(configured(root), tmp_path / "data")
    path.write_text('{"images": [], "annotations": []}')
    with pytest.raises(SourceError, match="has no list 'categories'"):
        prepared(configured(root), tmp_path / "data")
    hand_made.files["stuff", "train"]["categories"].append({"id": DOG, "name": "hot dog"})
    hand_made.write()
    with pytest.raises(SourceError, match="Category id 7 has two names, 'dog' and 'hot dog'"):
        prepared(configured(root), tmp_path / "data")


def test_a_split_without_a_readable_picture_is_an_error(tmp_path):
    fixture = Fixture(tmp_path / "coco")
    fill_val(fixture)
    fixture.image("train", 1, picture=False)
    fixture.annotate("train", *[thing(CAT, 1, 0, 0, 50, 50)] * 3, whole_image(SKY, 1))
    with pytest.raises(SourceError, match="train split has no usable scene of 1"):
        prepared(configured(fixture.write()), tmp_path / "data")


def test_records_too_many_for_memory_keep_their_order(hand_made, tmp_path, monkeypatch):
    """Past a limit tensorflow-datasets sorts records on disk, by buckets of keys."""
    monkeypatch.setattr("tensorflow_datasets.core.shuffle.MAX_MEM_BUFFER_SIZE", 1)
    builder = prepared(configured(hand_made.write(), require_stuff=False), tmp_path / "data")
    assert [record["image_id"] for record in read(builder, "train")] == [b"15", b"11", b"12", b"16"]
