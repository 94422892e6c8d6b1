"""Writes the patch bank: crops every training object and appends it to the bank's arrays.

One pass over the scenes, one scene in memory at a time; `bank.json` comes last, so a bank that was not finished cannot
be opened. The package describes the arrays.
"""

import json
import pathlib
import zlib

import numpy as np
from PIL import Image

from pipelines.patch_bank.bank import FORMAT_VERSION, MANIFEST, PatchBank, PatchBankError
from rgan_tf.progress import progress_bar

# Scenes whose text is written at once.
_TEXT_SCENES = 65536


def crop_patch(image, box, size):
    """Cuts one box out of a picture at whole pixels and resizes it with antialiasing.

    Args:
      image: uint8 [H, W, 3].
      box: (x0, y0, x1, y1) as fractions of the picture, x0 < x1 and y0 < y1. Borders are rounded to the nearest pixel;
        a box thinner than that keeps one pixel.
      size: side of the patch in pixels.

    Returns:
      uint8 [size, size, 3].
    """
    height, width = image.shape[:2]
    x0, x1 = _pixel_span(box[0], box[2], width)
    y0, y1 = _pixel_span(box[1], box[3], height)
    crop = Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    # Pillow widens the bicubic kernel along an axis that shrinks; the other axis may grow at the same time.
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))


def _pixel_span(low, high, length):
    start = min(int(np.floor(low * length + 0.5)), length - 1)
    return start, max(int(np.floor(high * length + 0.5)), start + 1)


class PatchBankWriter:
    """Writes a bank scene by scene, in the order of the training split.

    Used as a context manager, it completes the bank at a normal exit and leaves it without `bank.json`, and so
    unreadable, after an exception.
    """

    def __init__(self, directory, count, patch_size, graph_feature_dim):
        """Starts the arrays.

        Args:
          directory: an existing or new folder for the arrays.
          count: number of patches (objects of all scenes) that will be added.
          patch_size: side of a patch in pixels.
          graph_feature_dim: D_g.
        """
        if count < 1 or patch_size < 1 or graph_feature_dim < 1:
            raise PatchBankError(
                f"A patch bank of {count} patches of side {patch_size} with {graph_feature_dim} graph features cannot "
                "be made; each number must be at least 1."
            )
        self._directory = pathlib.Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / MANIFEST).unlink(missing_ok=True)
        self._count, self._patch_size, self._graph_feature_dim = count, patch_size, graph_feature_dim
        self._rows = 0
        self._sources = []
        # Files are appended to, not mapped: a full disk is then an OSError where a written map would kill the process.
        self._files = {
            "patches": self._start("patches", np.uint8, (count, patch_size, patch_size, 3)),
            "patch_crc32": self._start("patch_crc32", np.uint32, (count,)),
            "category": self._start("category", np.int32, (count,)),
            "graph_feature": self._start("graph_feature", np.float32, (count, graph_feature_dim)),
            "patch_id": self._start("patch_id", np.int64, (count,)),
            "scene_index": self._start("scene_index", np.int32, (count,)),
            "object_index": self._start("object_index", np.int32, (count,)),
            "box": self._start("box", np.float32, (count, 4)),
        }

    def _start(self, name, dtype, shape):
        file = open(self._directory / f"{name}.npy", "wb")
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        return file

    def add_scene(self, scene, graph_features):
        """Adds the patches of the next scene.

        Args:
          scene: dict with "image" uint8 [H, W, 3], "image_id" and "license" (str or bytes), and "objects", a dict with
            "category" int [n] and "box" float [n, 4]. A scene without objects counts as a scene.
          graph_features: float [N, D_g] with N >= n; rows past n are padding.

        Raises:
          PatchBankError: on a value that cannot be a patch, naming scene and object, or on more patches than announced.
        """
        category = np.asarray(scene["objects"]["category"])
        boxes = np.asarray(scene["objects"]["box"], np.float32).reshape(-1, 4)
        image, image_id, number = np.asarray(scene["image"]), _text(scene["image_id"]), len(category)
        self._check(image, image_id, category, boxes, graph_features)
        patches = [crop_patch(image, box, self._patch_size) for box in boxes]
        if number:
            self._append("patches", np.stack(patches))
            self._append("patch_crc32", np.array([zlib.crc32(patch.tobytes()) for patch in patches], np.uint32))
            self._append("category", category.astype(np.int32))
            self._append("graph_feature", np.asarray(graph_features[:number], np.float32))
            self._append("patch_id", np.arange(self._rows, self._rows + number, dtype=np.int64))
            self._append("scene_index", np.full(number, len(self._sources), np.int32))
            self._append("object_index", np.arange(number, dtype=np.int32))
            self._append("box", boxes)
        self._rows += number
        self._sources.append((image_id, _text(scene["license"]), number))

    def _append(self, name, values):
        self._files[name].write(np.ascontiguousarray(values).data)

    def _check(self, image, image_id, category, boxes, graph_features):
        place = f"Scene {len(self._sources)} (picture {image_id!r})"
        if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
            raise PatchBankError(
                f"{place} has an image of {image.dtype}{list(image.shape)}; it must be uint8 [H, W, 3]."
            )
        if len(boxes) != len(category):
            raise PatchBankError(
                f"{place} has {len(category)} categories but {len(boxes)} boxes; give one box an object."
            )
        shape = np.shape(graph_features)
        if len(shape) != 2 or shape[0] < len(category) or shape[1] != self._graph_feature_dim:
            raise PatchBankError(
                f"{place} has graph features of shape {list(shape)}; they must be [{len(category)} or more, "
                f"{self._graph_feature_dim}]."
            )
        for index, (identity, box) in enumerate(zip(category, boxes)):
            if identity < 1:
                raise PatchBankError(f"{place}, object {index} has category {identity}; categories start at 1.")
            # Written so that a NaN fails it.
            if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise PatchBankError(
                    f"{place}, object {index} has the box {box.tolist()}; it must be x0 < x1 and y0 < y1 within [0, 1]."
                )
        if self._rows + len(category) > self._count:
            raise PatchBankError(
                f"{place} exceeds the {self._count} patches announced; count the objects of every scene."
            )

    def close(self):
        """Completes the bank; raises PatchBankError, leaving it unreadable, when patches are missing."""
        self._close_files()
        if self._rows != self._count:
            raise PatchBankError(
                f"The bank in {self._directory} got {self._rows} of {self._count} announced patches; add every scene."
            )
        self._write_text("image_id", 0)
        self._write_text("license", 1)
        manifest = {
            "format": FORMAT_VERSION,
            "patches": self._count,
            "scenes": len(self._sources),
            "patch_size": self._patch_size,
            "graph_feature_dim": self._graph_feature_dim,
            "next_patch_id": self._count,
        }
        (self._directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    def _write_text(self, name, field):
        # The width of a unicode array is known only now; one string a scene was kept until here.
        dtype = np.dtype(f"<U{max(1, max(len(source[field]) for source in self._sources))}")
        with self._start(name, dtype, (self._count,)) as file:
            for start in range(0, len(self._sources), _TEXT_SCENES):
                chunk = self._sources[start : start + _TEXT_SCENES]
                values = np.array([source[field] for source in chunk], dtype)
                file.write(np.repeat(values, [source[2] for source in chunk]).tobytes())

    def _close_files(self):
        for file in self._files.values():
            file.close()

    def __enter__(self):
        """Returns the writer."""
        return self

    def __exit__(self, kind, error, trace):
        """Completes the bank, or after an exception only closes its files."""
        if kind is None:
            self.close()
        else:
            self._close_files()


def _text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def build(scenes, directory, count, patch_size, graph_feature_dim, progress=True):
    """Writes a whole bank from pairs (scene, graph features), as `add_scene` takes them, and opens it."""
    with PatchBankWriter(directory, count, patch_size, graph_feature_dim) as writer:
        with progress_bar(total=count, unit="patch", desc="patch bank", disable=not progress) as bar:
            for scene, graph_features in scenes:
                writer.add_scene(scene, graph_features)
                bar.update(len(scene["objects"]["category"]))
    return PatchBank.open(directory)
