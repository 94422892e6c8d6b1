"""Photographs at a source: checked in parallel, in order, and not again by a run that goes on after a kill.

What takes time about a photograph, decoding it in full and finding centroids, is done once and kept as a line of a
journal beside the records. A builder says how a scene is examined and how its record is made.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional

import tensorflow as tf
import tensorflow_datasets as tfds

from pipelines.ordered_threads import in_order
from pipelines.records import SourceError
from rgan_tf.progress import progress_bar

MISSING_IMAGE = "image file missing (scene skipped)"
CORRUPT_IMAGE = "image that cannot be decoded (scene skipped)"
OTHER_SIZE = "image of another size than its annotations say (scene skipped)"
# tensorflow-datasets sorts records by 128-bit keys, in buckets that each hold an equal range of them.
_KEY_RANGE = 2**128


def state_of(files: Iterable[pathlib.Path]) -> str:
    """A digest of the files' sizes and times of change: findings from files of another state are worth nothing."""
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:12]


def journal(builder: tfds.core.DatasetBuilder, split: str, sources: str) -> pathlib.Path:
    """Where the findings of a split are kept while a builder works: beside the folder of its records.

    Args:
      builder: of the records.
      split: whose scenes are examined.
      sources: the `state_of` the files that the scenes come from.
    """
    return pathlib.Path(builder.data_dir).parent / f"{split}.{sources}.findings.jsonl"


def clean_up(builder: tfds.core.DatasetBuilder) -> None:
    """Removes the journals, of records that are whole."""
    for path in pathlib.Path(builder.data_dir).parent.glob("*.findings.jsonl"):
        path.unlink()


def key_stride(scenes: int) -> int:
    """How far apart the keys of so many scenes lie, so that tensorflow-datasets' buckets are filled alike."""
    return _KEY_RANGE // max(scenes, 1)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What an examination found: whether the scene is of use, what was wrong, and each object's centroid (x, y)."""

    usable: bool
    problems: tuple[str, ...] = ()
    centroids: tuple[tuple[float, float], ...] = ()


def fault_of(path: pathlib.Path, height: int, width: int) -> Optional[str]:
    """What keeps a picture from being used; None where it is whole and as large as was said."""
    try:
        size = decoded_size(path.read_bytes())
    except FileNotFoundError:
        return MISSING_IMAGE
    if size != (height, width):
        return CORRUPT_IMAGE if size is None else OTHER_SIZE
    return None


def decoded_size(encoded: bytes) -> Optional[tuple[int, int]]:
    """(height, width) of an encoded picture, decoded in full as the input pipeline will; None where that fails."""
    try:
        return tuple(tf.io.decode_image(encoded, channels=3, expand_animations=False).shape[:2])
    except tf.errors.InvalidArgumentError:
        return None


def examples(
    split: str,
    scenes: Sequence[Any],
    examine: Callable[[Any], Finding],
    to_record: Callable[[Any, Finding], dict],
    problems: Counter,
    journal: pathlib.Path,
) -> Iterator[tuple[int, dict]]:
    """Yields the key and record of every usable scene, in order; what was wrong is added to `problems`.

    Args:
      split: for the bar and for errors.
      scenes: each with an `image_id` of its own.
      examine: called in threads.
      to_record: of a usable scene and what was found.
      problems: by kind; complete when the last record was yielded.
      journal: file of the findings. Usable scenes that an earlier run left there are taken over; what was wrong may
        have been mended since.

    Raises:
      SourceError: no scene is usable.
    """
    stride = key_stride(len(scenes))
    yielded = 0
    with open(journal, "a+", encoding="utf-8") as file:
        known = _known(file)
        findings = in_order(lambda scene: known.get(scene.image_id) or examine(scene), scenes)
        bar = progress_bar(zip(scenes, findings), total=len(scenes), desc=f"{split} scenes", unit="scene")
        for index, (scene, finding) in enumerate(bar):
            if finding.usable and scene.image_id not in known:
                entry = {"image_id": scene.image_id, "problems": finding.problems, "centroids": finding.centroids}
                file.write(json.dumps(entry) + "\n")
            problems.update(finding.problems)
            if finding.usable:
                yielded += 1
                yield index * stride, to_record(scene, finding)
    if not yielded:
        raise SourceError(f"The {split} split has no usable scene of {len(scenes)}; problems: {dict(problems)}.")


def _known(file) -> dict[str, Finding]:
    """The findings of a journal, by image; the line that a killed run was writing is cut off."""
    file.seek(0)
    known, whole = {}, 0
    for line in iter(file.readline, ""):
        if not line.endswith("\n"):
            break
        entry = json.loads(line)
        centroids = tuple(map(tuple, entry["centroids"]))
        known[entry["image_id"]] = Finding(True, tuple(entry["problems"]), centroids)
        whole = file.tell()
    file.truncate(whole)
    file.seek(0, os.SEEK_END)
    return known
