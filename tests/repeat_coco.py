"""A COCO of any size out of a small one: its images and annotations again and again, under ids of their own.

To measure what a data set costs, not to learn from. Photos are enlarged once to the usual 640 pixels, and repetitions
are links to them. python tests/repeat_coco.py SOURCE OUTPUT TRAIN_IMAGES VAL_IMAGES
"""

import json
import os
import pathlib
import sys

import cv2
import numpy as np
from pycocotools import mask as mask_tools

SCALE = 2


def enlarged(annotation):
    """An annotation at SCALE times the size."""
    scaled = {**annotation, "bbox": [SCALE * side for side in annotation["bbox"]]}
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        scaled["segmentation"] = [[SCALE * number for number in polygon] for polygon in segmentation]
    elif segmentation:
        height, width = segmentation["size"]
        if isinstance(segmentation["counts"], list):
            segmentation = mask_tools.frPyObjects(segmentation, height, width)
        mask = np.kron(mask_tools.decode(segmentation), np.ones((SCALE, SCALE), np.uint8))
        found = mask_tools.encode(np.asfortranarray(mask))
        scaled["segmentation"] = {"size": found["size"], "counts": found["counts"].decode()}
    return scaled


def enlarge_photos(source, output):
    """Photos at SCALE times the size, in a folder of their own."""
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        photo = cv2.imread(str(path))
        photo = cv2.resize(photo, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(output / path.name), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])


def repeat(kind, part, source, output, count, first_ids):
    """One annotation file for `count` images; returns the entries of those images."""
    content = json.loads((source / "annotations" / f"{kind}_{part}2017.json").read_text())
    ids = list(first_ids)
    by_image = {image_id: [] for image_id in ids}
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(enlarged(annotation))
    listed = {image["id"]: image for image in content["images"]}
    images, annotations = [], 0
    with open(output / "annotations" / f"{kind}_{part}2017.json", "w", encoding="utf-8") as file:
        rest = {key: value for key, value in content.items() if key not in ("images", "annotations")}
        file.write(json.dumps(rest)[:-1] + ', "annotations": [')
        for number in range(count):
            original = ids[number % len(ids)]
            if original not in listed:
                continue
            new_id = number + 1
            sides = {side: SCALE * listed[original][side] for side in ("width", "height")}
            images.append({**listed[original], **sides, "id": new_id, "file_name": f"{new_id:012d}.jpg"})
            for annotation in by_image[original]:
                annotations += 1
                file.write(", " * (annotations > 1))
                file.write(json.dumps({**annotation, "id": annotations, "image_id": new_id}))
        file.write(f'], "images": {json.dumps(images)}}}')
    return images


def main(source, output, train, val):
    source, output = pathlib.Path(source), pathlib.Path(output)
    (output / "annotations").mkdir(parents=True)
    for part, count in (("train", int(train)), ("val", int(val))):
        listed = json.loads((source / "annotations" / f"instances_{part}2017.json").read_text())["images"]
        enlarge_photos(source / "images" / f"{part}2017", output / "photos" / part)
        folder = output / "images" / f"{part}2017"
        folder.mkdir(parents=True)
        for kind in ("stuff", "instances"):
            images = repeat(kind, part, source, output, count, [image["id"] for image in listed])
        names = [image["file_name"] for image in listed]
        for number, image in enumerate(images):
            os.link(output / "photos" / part / names[number % len(names)], folder / image["file_name"])
    sizes = {path.name: path.stat().st_size for path in sorted((output / "annotations").iterdir())}
    print(", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in sizes.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
