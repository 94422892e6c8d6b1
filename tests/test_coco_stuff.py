"""The COCO builder: a fixture worked out by hand, and the real sample against a second reading of the protocol."""

import json

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from pycocotools import mask as mask_tools

from pipelines import datasets, photographs, records
from pipelines.coco_stuff import builder as coco_builder
from pipelines.coco_stuff import protocol
from pipelines.records import SourceError
from rgan_tf.config import DataConfig

WIDTH, HEIGHT = 100, 50
CAT, ZEBRA, DOG, GRASS, SKY, OTHER = 5, 6, 7, 100, 101, 183
LICENSES = [{"id": 1, "name": "Attribution", "url": "http://example.org/by"}, {"id": 2, "name": "Unnamed terms"}]


def whole_image(category, image_id, **more):
    return {"image_id": image_id, "category_id": category, "bbox": [0, 0, WIDTH, HEIGHT], **more}


def thing(category, image_id, *bbox, **more):
    return {"image_id": image_id, "category_id": category, "bbox": list(bbox), "iscrowd": 0, **more}


def rows_mask(first, last):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[first:last] = 1
    return mask


def compressed(mask):
    encoded = mask_tools.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def image_entry(image_id, width=WIDTH, height=HEIGHT, **more):
    return {"id": image_id, "file_name": f"{image_id:012d}.jpg", "width": width, "height": height, **more}


class Fixture:
    """A folder in COCO's layout, written from lists."""

    def __init__(self, root):
        self.root = root
        names = {CAT: "cat", ZEBRA: "zebra", DOG: "dog", GRASS: "grass", SKY: "sky", OTHER: "other"}
        self.files = {}
        for part in ("train", "val"):
            (root / "images" / f"{part}2017").mkdir(parents=True)
            for kind, ids in (("instances", [DOG, CAT]), ("stuff", [GRASS, SKY, OTHER])):
                # The zebra is known to the val files alone.
                ids = ids + [ZEBRA] * (kind == "instances" and part == "val")
                categories = [{"id": key, "name": names[key]} for key in ids]
                self.files[kind, part] = {
                    "images": [],
                    "annotations": [],
                    "categories": categories,
                    "licenses": LICENSES,
                }

    def image(self, part, image_id, picture=True, entry=None, **more):
        entry = entry or image_entry(image_id, **more)
        self.files["instances", part]["images"].append(entry)
        if picture:
            rng = np.random.default_rng(image_id)
            pixels = cv2.resize(rng.integers(0, 255, (5, 10, 3), dtype=np.uint8), (WIDTH, HEIGHT))
            cv2.imwrite(str(self.path(part, image_id)), pixels)

    def path(self, part, image_id):
        return self.root / "images" / f"{part}2017" / f"{image_id:012d}.jpg"

    def annotate(self, part, *annotations):
        for annotation in annotations:
            kind = "instances" if annotation["category_id"] in (CAT, DOG, ZEBRA, 999) else "stuff"
            self.files[kind, part]["annotations"].append(annotation)

    def write(self):
        (self.root / "annotations").mkdir(exist_ok=True)
        for (kind, part), content in self.files.items():
            (self.root / "annotations" / f"{kind}_{part}2017.json").write_text(json.dumps(content))
        return self.root


def fill_val(fixture, ids=(31, 32, 33)):
    for image_id in ids:
        fixture.image("val", image_id)
        fixture.annotate(
            "val",
            thing(ZEBRA, image_id, 10, 10, 40, 20),
            thing(CAT, image_id, 60, 10, 20, 20),
            whole_image(GRASS, image_id),
        )


@pytest.fixture
def hand_made(tmp_path):
    """Every rule and every kind of fault, in ten training images and three of val."""
    fixture = Fixture(tmp_path / "coco")
    fill_val(fixture)
    # Listed first, although its id is not the smallest: eight objects count, a ninth is too small.
    fixture.image("train", 15, license=2)
    fixture.annotate("train", *[thing(CAT, 15, 10 * i, 5, 10, 20) for i in range(8)], thing(DOG, 15, 90, 0, 9, 11))
    fixture.annotate("train", {**whole_image(OTHER, 15)})
    fixture.image("train", 11, license=1)
    fixture.annotate(
        "train",
        thing(CAT, 11, 10, 10, 20, 20, segmentation=[[10, 10, 30, 10, 30, 30, 10, 30]]),
        # Exactly two percent do not count, a little more do.
        thing(DOG, 11, 50, 0, 10, 10, segmentation=[]),
        thing(DOG, 11, 50, 0, 10, 10.5),
        thing(GRASS, 11, 0, 25, 100, 25, segmentation={"size": [HEIGHT, WIDTH], "counts": [25] * 200}),
        whole_image(OTHER, 11, segmentation=compressed(rows_mask(0, 50))),
        thing(SKY, 11, 0, 0, 100, 10, segmentation=compressed(rows_mask(0, 10))),
    )
    fixture.image("train", 12)  # Three good things, but no stuff.
    fixture.annotate("train", *[thing(CAT, 12, 10 * i, 0, 20, 20) for i in range(3)])
    fixture.image("train", 13)  # Four objects, two of them large enough.
    fixture.annotate("train", whole_image(SKY, 13), thing(CAT, 13, 0, 0, 50, 50), *[thing(CAT, 13, 0, 0, 5, 5)] * 2)
    fixture.image("train", 14)  # Nine objects.
    fixture.annotate("train", *[thing(CAT, 14, 10 * i, 0, 20, 20) for i in range(8)], whole_image(SKY, 14))
    fixture.image("train", 16)  # Faulty boxes and a faulty segmentation.
    fixture.annotate(
        "train",
        thing(CAT, 16, -10, 10, 40, 60),
        thing(CAT, 16, 10, 10, 0, 10),
        thing(CAT, 16, 150, 0, 20, 20),
        thing(CAT, 16, 1, 2, 3),
        thing(CAT, 16, 0, 0, "wide", 3),
        thing(DOG, 16, 20, 10, 40, 20, segmentation=[[20, 10, 60, 30]]),
        thing(GRASS, 16, 0, 30, 100, 20, segmentation={"size": [HEIGHT, WIDTH], "counts": [5, 5]}),
        thing(SKY, 16, 0, 0, 100.3, 25, segmentation=compressed(rows_mask(0, 0))),
    )
    for image_id in (17, 18, 19):
        fixture.image("train", image_id, picture=image_id != 17, width=WIDTH - (image_id == 19))
        fixture.annotate("train", *[thing(CAT, image_id, 20 * i, 0, 20, 20) for i in range(3)])
        fixture.annotate("train", whole_image(SKY, image_id))
    whole = fixture.path("train", 18).read_bytes()
    fixture.path("train", 18).write_bytes(whole[: len(whole) // 2])
    fixture.image("train", 20, picture=False, entry={"id": 20, "file_name": "20.jpg", "height": 5})
    fixture.annotate("train", thing(CAT, 999, 0, 0, 50, 50), thing(999, 11, 0, 0, 50, 50))
    fixture.files["stuff", "train"]["annotations"].append("grass")
    return fixture


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
