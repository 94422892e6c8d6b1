"""The COCO builder on real annotations, against a second reading of the same files."""

import json
import os
import pathlib

import numpy as np
import pytest
from test_coco_stuff import configured, names_of, prepared, read

from pipelines import datasets, photographs, records
from pipelines.coco_stuff import builder as coco_builder


def real_coco():
    here = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "coco"
    folder = pathlib.Path(os.environ.get("RGAN_TF_COCO_DIR", here))
    if not (folder / "annotations").is_dir():
        pytest.skip(f"no COCO sample at {folder}; RGAN_TF_COCO_DIR may name one")
    return folder


def second_reading(folder, part):
    """The protocol once more, over plain dictionaries: image id -> (names, boxes), and who has no segmentation."""
    things, stuff = (
        json.loads((folder / "annotations" / f"{kind}_{part}2017.json").read_text()) for kind in ("instances", "stuff")
    )
    names = {c["id"]: c["name"] for c in things["categories"] + stuff["categories"]}
    has_stuff = {a["image_id"] for a in stuff["annotations"]}
    scenes = {}
    for image in things["images"]:
        size = np.array([image["width"], image["height"]] * 2)
        found = []
        for annotation in things["annotations"] + stuff["annotations"]:
            if annotation["image_id"] != image["id"] or names[annotation["category_id"]] == "other":
                continue
            x, y, w, h = annotation["bbox"]
            box = np.clip(np.array([x, y, x + w, y + h]) / size, 0, 1)
            if (box[2] - box[0]) * (box[3] - box[1]) > 0.02:
                found.append((names[annotation["category_id"]], box, bool(annotation.get("segmentation"))))
        if image["id"] in has_stuff and 3 <= len(found) <= 8:
            scenes[image["id"]] = found
    return scenes


def test_real_sample(tmp_path):
    folder = real_coco()
    builder = prepared(configured(folder, validation_images=12), tmp_path / "data")
    vocabulary = datasets.vocabulary(builder)
    assert vocabulary.num_objects == 1 + 80 + 53
    val = second_reading(folder, "val")
    expected = {
        "train": second_reading(folder, "train"),
        "validation": dict(list(val.items())[:12]),
        "test": dict(list(val.items())[12:]),
    }
    without_mask = 0
    for split, scenes in expected.items():
        found = read(builder, split)
        assert [int(record["image_id"]) for record in found] == list(scenes)
        part = "train" if split == "train" else "val"
        for record in found:
            names, boxes, segmented = zip(*scenes[int(record["image_id"])])
            assert names_of(record, vocabulary) == list(names)
            np.testing.assert_allclose(record["objects"]["box"], boxes, atol=1e-6)
            assert (
                record["image"]
                == (folder / "images" / f"{part}2017" / f"{int(record['image_id']):012d}.jpg").read_bytes()
            )
            assert b"creativecommons" in record["license"] or b"flickr" in record["license"]
            boxes, centroids = np.array(boxes), record["objects"]["centroid"]
            # A polygon's mask may overshoot its box by part of a pixel.
            assert (centroids > boxes[:, :2] - 0.01).all() and (centroids < boxes[:, 2:] + 0.01).all()
            bare = ~np.array(segmented)
            without_mask += bare.sum()
            np.testing.assert_allclose(centroids[bare], (boxes[bare, :2] + boxes[bare, 2:]) / 2, atol=1e-6)
            assert (np.abs(centroids[~bare] - (boxes[~bare, :2] + boxes[~bare, 2:]) / 2) > 1e-4).any()
    problems = builder.info.metadata[records.PROBLEMS]
    assert sum(part.get(coco_builder.NO_SEGMENTATION, 0) for part in problems.values()) == without_mask
    assert not any(photographs.CORRUPT_IMAGE in part for part in problems.values())
