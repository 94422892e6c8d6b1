"""Folders in COCO's layout: a writer, and one of them with every rule and fault."""

import json

import cv2
import numpy as np
from pycocotools import mask as mask_tools

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


def hand_made(root):
    """Every rule and every kind of fault, in ten training images and three of val."""
    fixture = Fixture(root)
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
