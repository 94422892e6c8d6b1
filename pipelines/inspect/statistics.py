"""What a split is made of, counted in one pass over its records."""

import dataclasses
from collections import Counter

import numpy as np
import tensorflow as tf

from pipelines import records, relations
from rgan_tf.progress import progress_bar

# Box areas are counted by these shares of the image.
AREA_EDGES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Of ratios of width to height.
RATIO_EDGES = (0.0, 0.2, 0.33, 0.5, 0.75, 1.33, 2.0, 3.0, 5.0, np.inf)


@dataclasses.dataclass
class SplitStatistics:
    """Counts of a split.

    objects, scenes_with: by category id, objects and the scenes that have one. predicates: relations by predicate id.
    objects_a_scene, relations_a_scene: scenes by such a number. areas, ratios: objects by `AREA_EDGES` and
    `RATIO_EDGES`. licenses, styles: scenes by licence and by style.
    """

    scenes: int = 0
    objects: Counter = dataclasses.field(default_factory=Counter)
    scenes_with: Counter = dataclasses.field(default_factory=Counter)
    predicates: Counter = dataclasses.field(default_factory=Counter)
    objects_a_scene: Counter = dataclasses.field(default_factory=Counter)
    relations_a_scene: Counter = dataclasses.field(default_factory=Counter)
    areas: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(len(AREA_EDGES) - 1, np.int64))
    ratios: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(len(RATIO_EDGES) - 1, np.int64))
    licenses: Counter = dataclasses.field(default_factory=Counter)
    styles: Counter = dataclasses.field(default_factory=Counter)

    def add(self, record: dict) -> None:
        """Counts a record with relations."""
        categories, boxes = record["objects"]["category"].tolist(), record["objects"]["box"]
        predicates = record["relations"][:, 1].tolist()
        self.scenes += 1
        self.objects.update(categories)
        self.scenes_with.update(set(categories))
        self.predicates.update(predicates)
        self.objects_a_scene[len(categories)] += 1
        self.relations_a_scene[len(predicates)] += 1
        sides = boxes[:, 2:] - boxes[:, :2]
        self.areas += np.histogram(sides.prod(axis=1), AREA_EDGES)[0]
        # Boxes are fractions of the picture: the ratio is that of a square picture.
        self.ratios += np.histogram(sides[:, 0] / sides[:, 1], RATIO_EDGES)[0]
        self.licenses[record["license"].decode()] += 1
        if record["style"] != records.NO_STYLE:
            self.styles[int(record["style"])] += 1


def with_relations(scenes: tf.data.Dataset, most: int) -> tf.data.Dataset:
    """Records with `relations` int64 [R, 3], as they are annotated; where none are, drawn.

    Training draws them anew in each epoch; here they are drawn once, from the scene's index.

    Args:
      scenes: records.
      most: objects of the largest scene.
    """
    if "relations" in scenes.element_spec:
        return scenes

    def draw(index, record):
        padding = [[0, most - tf.shape(record["objects"]["box"])[0]], [0, 0]]
        boxes, centroids = (tf.pad(record["objects"][name], padding) for name in ("box", "centroid"))
        mask = tf.range(most) < tf.shape(record["objects"]["box"])[0]
        boxes, centroids = tf.ensure_shape(boxes, [most, 4]), tf.ensure_shape(centroids, [most, 2])
        seed = tf.stack([0, tf.cast(index, tf.int32)])
        triples, drawn = relations.draw_triples(boxes, centroids, mask, seed, most)
        return {**record, "relations": tf.cast(tf.boolean_mask(triples, drawn), tf.int64)}

    return scenes.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def most_objects(scenes: tf.data.Dataset) -> int:
    """Objects of the largest scene."""
    counts = scenes.map(lambda record: tf.shape(record["objects"]["category"])[0])
    return int(counts.reduce(tf.constant(1), tf.maximum))


def count_split(scenes: tf.data.Dataset, number: int, split: str) -> SplitStatistics:
    """Counts all records of a split.

    Args:
      scenes: its records, with relations, without pictures.
      number: how many there are, for the bar.
      split: its name, for the bar.
    """
    found = SplitStatistics()
    for record in progress_bar(scenes.as_numpy_iterator(), total=number, desc=f"{split} scenes", unit="scene"):
        found.add(record)
    return found
