"""Pictures of a split that somebody drew: a folder of PNG files named by scene and sample, and optionally their boxes.

DIR/test_000000_0.png        the first sample of the split's first scene; PNG, square, at data.image_size
DIR/boxes.json               optional: {"test_000000": [[x0, y0, x1, y1], …], …}, one box an object, where the picture
                             was laid out by it; or {"test_000000_0": …} for a sample with boxes of its own
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Optional

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipelines.input_pipeline import SceneSource, evaluation_batches
from rgan_tf.errors import UserError
from rgan_tf.evaluation.pictures.split_drawing import DrawnBatch, Sample, scenes_of
from rgan_tf.ops import pixels

BOXES_FILE = "boxes.json"
_BATCH = 16
# Names that a message tells of many.
_NAMED = 3


class PictureFolderError(UserError):
    """A folder of pictures cannot be scored; the message names the file and what it should be."""


def scene_name(split: str, index: int) -> str:
    """The name of a scene of a split."""
    return f"{split}_{index:06d}"


class PictureFolder:
    """Iterates over a split's scenes in record order, with the pictures of a folder."""

    def __init__(self, directory, source: SceneSource, samples: int = 1, boxes: str = "ground_truth"):
        """Looks at every file's name and size.

        Args:
          directory: the folder.
          source: the split.
          samples: pictures of a scene.
          boxes: "ground_truth" where the pictures were laid out by the scenes' own boxes. "predicted" where they were
            not: what is looked for in them is looked for at the boxes of `boxes.json`, and nowhere without it.

        Raises:
          PictureFolderError: pictures are missing, too many, of another size or unreadable, or boxes are.
        """
        self.source, self._directory, self._samples = source, pathlib.Path(directory), samples
        if not self._directory.is_dir():
            raise PictureFolderError(f"--pictures={directory} is no folder; name the one that holds the pictures.")
        self._check_pictures()
        self._given = self._read_boxes()
        self._true_boxes = boxes == "ground_truth"

    @property
    def size(self) -> int:
        """Scenes in the split."""
        return self.source.size

    @property
    def has_boxes(self) -> bool:
        """Whether it is known where the pictures show their objects."""
        return self._true_boxes or self._given is not None

    def __iter__(self) -> Iterator[DrawnBatch]:
        """Batch by batch."""
        for batch in evaluation_batches(self.source, _BATCH):
            scenes = scenes_of(batch)
            samples = [self._sample(scenes, number) for number in range(self._samples)]
            yield DrawnBatch(scenes, pixels.to_uint8(batch["image"]).numpy(), samples)

    def _path(self, index: int, sample: int) -> pathlib.Path:
        return self._directory / f"{scene_name(self.source.split, index)}_{sample}.png"

    def _check_pictures(self) -> None:
        wanted = {self._path(index, sample) for index in range(self.size) for sample in range(self._samples)}
        there = set(self._directory.glob("*.png"))
        for kind, names in (("lacks", wanted - there), ("holds, beyond those of the split,", there - wanted)):
            if names:
                shown = ", ".join(sorted(path.name for path in names)[:_NAMED])
                more = ", …" if len(names) > _NAMED else ""
                raise PictureFolderError(
                    f"{self._directory} {kind} {len(names)} pictures ({shown}{more}); the {self.source.split} split "
                    f"has {self.size} scenes with --samples_per_scene={self._samples}, so give exactly "
                    f"{self._path(0, 0).name} to {self._path(self.size - 1, self._samples - 1).name}."
                )
        side = self.source.data.image_size
        for path in sorted(wanted):
            try:
                with Image.open(path) as picture:
                    kind, size = picture.format, picture.size
            except (OSError, UnidentifiedImageError) as error:
                raise PictureFolderError(f"{path} cannot be read as a picture ({error}); write it again.") from error
            if kind != "PNG" or size != (side, side):
                raise PictureFolderError(
                    f"{path} is a {kind} of {size[0]} x {size[1]} pixels; pictures must be PNG of {side} x {side}, as "
                    "data.image_size says."
                )

    def _read_boxes(self) -> Optional[dict[str, np.ndarray]]:
        path = self._directory / BOXES_FILE
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            boxes = {str(name): np.array(rows, np.float32).reshape(-1, 4) for name, rows in content.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise PictureFolderError(
                f"{path} cannot be read ({error}); it must hold a list of [x0, y0, x1, y1] for each scene's name."
            ) from error
        for name, rows in boxes.items():
            # Written so that a NaN fails it.
            if not ((rows >= 0) & (rows <= 1)).all() or not (rows[:, :2] < rows[:, 2:]).all():
                raise PictureFolderError(
                    f"{path}: a box of {name} is not x0 < x1, y0 < y1 within [0, 1], as fractions of the picture."
                )
        return boxes

    def _sample(self, scenes: dict[str, np.ndarray], number: int) -> Sample:
        images, boxes = [], []
        for row, index in enumerate(scenes["scene_index"]):
            with Image.open(self._path(index, number)) as picture:
                images.append(np.asarray(picture.convert("RGB")))
            boxes.append(self._boxes(scenes, row, number))
        return Sample(np.stack(images), np.stack(boxes) if self.has_boxes else None)

    def _boxes(self, scenes: dict[str, np.ndarray], row: int, number: int) -> Optional[np.ndarray]:
        if self._given is None:
            return scenes["boxes"][row]
        name, count = scene_name(self.source.split, int(scenes["scene_index"][row])), scenes["object_mask"][row].sum()
        found = self._given.get(f"{name}_{number}", self._given.get(name))
        if found is None or len(found) != count:
            told = "no boxes" if found is None else f"{len(found)} boxes"
            raise PictureFolderError(
                f"{self._directory / BOXES_FILE} has {told} for {name}, which has {count} objects; give one for each."
            )
        padded = np.zeros_like(scenes["boxes"][row])
        padded[scenes["object_mask"][row]] = found
        return padded
