"""Which images of Visual Genome are for training, validation and test."""

import hashlib
import itertools
import json
import pathlib
from collections import Counter
from collections.abc import Iterable

from pipelines.records import SourceError

SPLITS = ("train", "validation", "test")
# As the published file of sg2im names them.
_NAMES = {"train": "train", "val": "validation", "test": "test"}
_TENTHS = ("train",) * 8 + ("validation", "test")


def read_splits(path: str) -> dict[str, list[int]]:
    """The image ids of each split from a file {"train": [...], "val": [...], "test": [...]}.

    Raises:
      SourceError: the file cannot be read, is of another form, or names an image twice.
    """
    try:
        content = json.loads(pathlib.Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"data.visual_genome.splits_file: {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.keys() != _NAMES.keys():
        raise SourceError(
            f"data.visual_genome.splits_file: {path} must hold the lists {', '.join(_NAMES)}, and no others."
        )
    for name, ids in content.items():
        if not isinstance(ids, list) or not all(type(image_id) is int for image_id in ids):
            raise SourceError(f"data.visual_genome.splits_file: {path}: {name!r} must be a list of image ids.")
    twice = [image_id for image_id, n in Counter(itertools.chain(*content.values())).items() if n > 1]
    if twice:
        raise SourceError(f"data.visual_genome.splits_file: {path} names image {min(twice)} more than once.")
    return {_NAMES[name]: ids for name, ids in content.items()}


def hash_splits(image_ids: Iterable[int]) -> dict[str, list[int]]:
    """80, 10 and 10 percent of the images by a hash of their ids, whatever others there are."""
    splits: dict[str, list[int]] = {split: [] for split in SPLITS}
    for image_id in image_ids:
        digest = hashlib.sha256(str(image_id).encode()).digest()
        splits[_TENTHS[int.from_bytes(digest[:8], "big") % len(_TENTHS)]].append(image_id)
    return splits
