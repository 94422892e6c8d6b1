"""The record every builder writes, and what it says of itself beside its records."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import tensorflow as tf
import tensorflow_datasets as tfds

from rgan_tf.errors import UserError

OBJECT_NAMES = "object_names"
STYLE_NAMES = "style_names"
PREDICATES = "predicates"
PROBLEMS = "problems"
SELECTION = "selection"
NO_STYLE = -1
GROUP = "group"
MATTE = "matte"
FACTORS = "factors"


class SourceError(UserError):
    """The source of a data set lacks what is needed; the message says what was expected where."""


class Factor(NamedTuple):
    """A hidden factor of scenes beside their style, of which records hold the value.

    kind: "kind", whole numbers that are equal or not; "circle", a part of a full turn in [0, 1). objects: names of
    those that show it; () for all.
    """

    name: str
    kind: str
    objects: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Published:
    """What a published data set comes to, and why ours may differ; `predicates` is None where relations are drawn."""

    scenes: Mapping[str, int]
    object_names: int
    predicates: Optional[int]
    reasons: str


def source_folder(source_dir: str, what: str, expected: Sequence[str], layout: str) -> pathlib.Path:
    """A data set's source folder, if all that is read is there.

    Args:
      source_dir: data.source_dir.
      what: whose files, for the message.
      expected: names of files and folders within it.
      layout: what is expected there, in words.

    Raises:
      SourceError: naming everything that is not there.
    """
    if not source_dir:
        raise SourceError(f"data.source_dir is empty; it must name the folder with {what} files.")
    root = pathlib.Path(source_dir).expanduser()
    missing = [name for name in expected if not (root / name).exists()]
    if missing:
        raise SourceError(
            f"{root} does not have {what} files: {', '.join(missing)} not found. Expected there are {layout}."
        )
    return root


def features(
    with_relations: bool = False,
    with_group: bool = False,
    with_mattes: bool = False,
    factors: Sequence[Factor] = (),
) -> tfds.features.FeaturesDict:
    """Features of one scene.

    `image` is the encoded picture as it is at the source. An object's `category` is its id in the vocabulary (1 or
    more), its `box` (x0, y0, x1, y1) and its `centroid` (x, y) are fractions of the picture's width and height.
    `license` is empty where it is not known, `style` is -1 where there is none.

    Args:
      with_relations: whether relations are annotated. Then `relations` are triples: the subject's place among the
        objects, the predicate's id in the vocabulary (1 or more), the object's place.
      with_group: whether pictures that look alike are known. Then `group` is a text that they share.
      with_mattes: whether what an object covers of its box is known of some. Then an object's `matte` is as
        `pipelines.mattes` encodes it.
      factors: where there are any, `factors` is a value of each.
    """
    objects = {
        "category": tf.int64,
        "box": tfds.features.Tensor(shape=(4,), dtype=tf.float32),
        "centroid": tfds.features.Tensor(shape=(2,), dtype=tf.float32),
    }
    if with_mattes:
        objects[MATTE] = tfds.features.Tensor(shape=(), dtype=tf.string)
    content = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "image_id": tfds.features.Text(),
        "license": tfds.features.Text(),
        "style": tf.int64,
        "objects": tfds.features.Sequence(objects),
    }
    if with_relations:
        content["relations"] = tfds.features.Sequence(tfds.features.Tensor(shape=(3,), dtype=tf.int64))
    if with_group:
        content[GROUP] = tfds.features.Text()
    if factors:
        content[FACTORS] = tfds.features.Tensor(shape=(len(factors),), dtype=tf.float32)
    return tfds.features.FeaturesDict(content)


def metadata(
    object_names: Sequence[str] = (), style_names: Sequence[str] = (), factors: Sequence[Factor] = ()
) -> tfds.core.MetadataDict:
    """What tensorflow-datasets stores beside the records as `metadata.json`.

    Args:
      object_names: categories in id order; the first has id 1.
      style_names: styles in id order, where the data set has any.
      factors: further hidden factors, in the order of their values.

    Returns:
      A dictionary with these names; no `PREDICATES`, which a data set with annotated relations names in id order; and
      two empty reports, each part of the source -> what -> number: `PROBLEMS` found in it, and the `SELECTION` that a
      protocol made of its images.
    """
    names = {OBJECT_NAMES: list(object_names), STYLE_NAMES: list(style_names), PREDICATES: []}
    told = {FACTORS: [factor._asdict() for factor in factors]}
    return tfds.core.MetadataDict({**names, **told, PROBLEMS: {}, SELECTION: {}})


def factors_of(builder: tfds.core.DatasetBuilder) -> list[Factor]:
    """The hidden factors of a prepared data set beside its styles; those of before there were any have none."""
    told = builder.info.metadata.get(FACTORS, [])
    return [Factor(each["name"], each["kind"], tuple(each["objects"])) for each in told]
