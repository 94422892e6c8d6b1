"""A folder of Visual Genome's files, in the schemas as they are published, written from a few lines."""

import json

import cv2
import numpy as np

# Enough for pictures of which sg2im's protocol keeps all.
SIDES = 320, 240
FOLDERS = ("VG_100K", "VG_100K_2")


def named(object_id, name, *box, **more):
    """An object; `name` is one name or a list of names, `box` x, y, width and height in pixels."""
    names = name if isinstance(name, list) else [name]
    sides = dict(zip("xywh", box))
    return {
        "object_id": object_id,
        "names": names,
        "synsets": [f"{names[0]}.n.01"],
        "merged_object_ids": [],
        **sides,
    } | more


def related(subject, predicate, other, relationship_id=0):
    """A relationship between two object ids; the file repeats either object, of which the id alone counts."""
    ends = [{"object_id": end, "name": "?", "synsets": [], "x": 0, "y": 0, "w": 1, "h": 1} for end in (subject, other)]
    return {
        "predicate": predicate,
        "subject": ends[0],
        "object": ends[1],
        "relationship_id": relationship_id,
        "synsets": [],
    }


class Files:
    """Images, objects and relationships, to be changed at will and then written."""

    def __init__(self, root):
        self.root = root
        self.images, self.objects, self.relationships = [], [], []
        self.object_aliases, self.relationship_aliases = [], []
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True)

    def image(self, image_id, objects=(), relationships=(), folder=FOLDERS[0], size=SIDES, picture=None):
        """An image and its annotations; `picture` is uint8 [h, w, 3], or False for none."""
        width, height = size
        url = f"https://example.org/images/{folder}/{image_id}.jpg"
        more = {"coco_id": None, "flickr_id": None}
        self.images.append({"image_id": image_id, "url": url, "width": width, "height": height, **more})
        self.objects.append({"image_id": image_id, "objects": list(objects), "image_url": url})
        self.relationships.append({"image_id": image_id, "relationships": list(relationships)})
        if picture is None:
            coarse = np.random.default_rng(image_id).integers(0, 255, (6, 8, 3), dtype=np.uint8)
            picture = cv2.resize(coarse, (width, height))
        if picture is not False:
            cv2.imwrite(str(self.path(image_id, folder)), picture)

    def path(self, image_id, folder=FOLDERS[0]):
        return self.root / folder / f"{image_id}.jpg"

    def write(self):
        lists = dict(image_data=self.images, objects=self.objects, relationships=self.relationships)
        for name, content in lists.items():
            (self.root / f"{name}.json").write_text(json.dumps(content))
        (self.root / "object_alias.txt").write_text("\n".join(self.object_aliases) + "\n")
        (self.root / "relationship_alias.txt").write_text("\n".join(self.relationship_aliases) + "\n")
        return self.root


def split_file(path, train=(), val=(), test=()):
    path.write_text(json.dumps({"train": list(train), "val": list(val), "test": list(test)}))
    return path


def random_files(root, scenes=(24, 8, 8), seed=0):
    """Scenes of 3 to 9 objects of four categories, some without relations, with a split file beside the annotations."""
    files, rng = Files(root), np.random.default_rng(seed)
    parts, image_id = [], 0
    for count in scenes:
        parts.append(list(range(image_id + 1, image_id + 1 + count)))
        for image_id in parts[-1]:
            ids = 100 * image_id + np.arange(rng.integers(3, 10))
            corners = rng.integers(0, 160, (len(ids), 2))
            boxes = np.concatenate([corners, rng.integers(32, 80, (len(ids), 2))], axis=1).tolist()
            nouns = rng.choice(["man", "tree", "sky", "boat"], len(ids)).tolist()
            pairs = rng.choice(ids, (rng.integers(1, 5), 2)).tolist()
            files.image(
                image_id,
                [named(int(object_id), noun, *box) for object_id, noun, box in zip(ids, nouns, boxes)],
                [related(subject, str(rng.choice(["on", "near"])), other) for subject, other in pairs],
            )
    files.write()
    split_file(root / "splits.json", *parts)
    return files
