"""The patch bank as a served model holds it: variables, sorted by category, with embeddings under the final E_p."""

import io
import math
from typing import Callable, Optional

import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines.patch_bank.bank import REMOVED_CATEGORY, PatchBank
from rgan_tf.errors import UserError
from rgan_tf.ops import candidate_search, pixels
from rgan_tf.progress import progress_bar

ENCODINGS = ("raw", "jpeg")
_JPEG_QUALITY = 95
_CHUNK = 1024
# Eigen's, for the widest vector instructions.
_ALIGNMENT = 64


class ServedBank(tf.Module):
    """Patches with what is needed to find and to name them, one row a patch, in the order of `exported_rows`."""

    def __init__(
        self,
        bank: PatchBank,
        rows: np.ndarray,
        num_categories: int,
        embed: Callable[[tf.Tensor], tf.Tensor],
        encoding: str = "raw",
    ):
        """Reads the bank chunk by chunk, so that its patches are in memory once.

        Args:
          bank: the workspace's bank.
          rows: int [M], the bank's rows to hold, sorted by category.
          num_categories: of the vocabulary, the reserved one included.
          embed: from uint8 [n, h, w, C] to float32 [n, D], E_p with its final weights.
          encoding: "raw", pixels as they are; or "jpeg", a fraction of the memory, decoded when a patch is drawn.
            Embeddings are those of the raw pixels in either case, so that both retrieve the same patches.

        Raises:
          UserError: the patches have mattes, which JPEG does not keep.
        """
        super().__init__(name="bank")
        if encoding == "jpeg" and bank.has_mattes:
            raise UserError(
                "--bank_encoding=jpeg keeps no mattes, which this bank has; export with --bank_encoding=raw."
            )
        self._shape, self._encoding = bank.patch_shape, encoding
        category, ids = bank.offered[rows], np.asarray(bank.patch_id)[rows]
        starts = np.searchsorted(category, np.arange(num_categories + 1)).astype(np.int32)
        features = np.asarray(bank.graph_feature)[rows]
        order = np.argsort(ids, kind="stable")
        self.category_starts = _fixed(starts, "category_starts")
        self.graph_feature = _fixed(features, "graph_feature")
        self.square_norm = _fixed(np.sum(np.square(features, dtype=np.float64), axis=1).astype(np.float32), "norms")
        self.patch_id = _fixed(ids, "patch_id")
        self.sorted_ids, self.sorted_rows = (
            _fixed(ids[order], "sorted_ids"),
            _fixed(order.astype(np.int32), "sorted_rows"),
        )
        self.source = _fixed(np.asarray(bank.image_id)[rows].astype(object), "source")
        self.license = _fixed(np.asarray(bank.license)[rows].astype(object), "license")
        self._fill_patches(bank, rows, embed)

    def _fill_patches(self, bank: PatchBank, rows: np.ndarray, embed: Callable) -> None:
        """Patches and their embeddings, read once."""
        raw = self._encoding == "raw"
        patches = _aligned_bytes((len(rows), *self._shape)) if raw else np.empty(len(rows), object)
        dimension = embed(np.zeros((1, *self._shape), np.uint8)).shape[-1]
        embedding = np.empty((len(rows), dimension), np.float32)
        for start in progress_bar(range(0, len(rows), _CHUNK), desc="embedding the bank", unit="batch"):
            part = slice(start, start + _CHUNK)
            read = bank.gather_patches(rows[part])
            embedding[part] = embed(read)
            patches[part] = read if raw else [_jpeg(patch) for patch in read]
        self.embedding = _fixed(embedding, "embedding")
        # Handed over, not copied: the variable keeps the array's memory.
        self.patches = _fixed(tf.experimental.dlpack.from_dlpack(patches.__dlpack__()) if raw else patches, "patches")

    def candidates(self, queries: tf.Tensor, categories: tf.Tensor, k: int) -> tf.Tensor:
        """Rows int32 [N, k] of the patches nearest to queries [N, D_g] in their categories [N]; see `nearest_rows`."""
        return tf.map_fn(
            lambda pair: candidate_search.nearest_rows(
                *pair, self.graph_feature, self.square_norm, self.category_starts, k
            ),
            (queries, categories),
            fn_output_signature=tf.TensorSpec([k], tf.int32),
        )

    def category_counts(self) -> tf.Tensor:
        """int32 [C], number of patches by category."""
        return self.category_starts[1:] - self.category_starts[:-1]

    def rows_of(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows int32 of patch ids int64, any shape; -1 where the bank holds no patch of that id."""
        flat = tf.reshape(ids, [-1])
        place = tf.minimum(
            tf.searchsorted(tf.convert_to_tensor(self.sorted_ids), flat), tf.shape(self.sorted_ids)[0] - 1
        )
        found = tf.equal(_gather(self.sorted_ids, place), flat)
        return tf.reshape(tf.where(found, _gather(self.sorted_rows, place), -1), tf.shape(ids))

    def draw(self, rows: tf.Tensor) -> tf.Tensor:
        """Patches uint8 [..., h, w, C] of rows int32 [...], black where a row is -1."""
        mask = rows >= 0
        if self._encoding == "raw":
            patches = _gather(self.patches, tf.maximum(rows, 0))
        else:
            flat = tf.map_fn(
                lambda bytes: tf.ensure_shape(tf.io.decode_jpeg(bytes, channels=3), self._shape),
                _gather(self.patches, tf.reshape(tf.maximum(rows, 0), [-1])),
                fn_output_signature=tf.uint8,
            )
            patches = tf.reshape(flat, tf.concat([tf.shape(rows), self._shape], axis=0))
            patches = tf.ensure_shape(patches, rows.shape + self._shape)
        return tf.where(mask[..., None, None, None], patches, tf.zeros([], tf.uint8))

    def embeddings(self, rows: tf.Tensor) -> tf.Tensor:
        """E_p float32 [..., D] of rows int32 [...]; of some patch where a row is -1."""
        return _gather(self.embedding, tf.maximum(rows, 0))

    def describe(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """patch_ids, patch_source, patch_license and png_bytes of rows int32 [...]; -1 and "" where a row is -1."""
        mask, held = rows >= 0, tf.maximum(rows, 0)
        return {
            "patch_ids": tf.where(mask, _gather(self.patch_id, held), -1),
            "patch_source": tf.where(mask, _gather(self.source, held), ""),
            "patch_license": tf.where(mask, _gather(self.license, held), ""),
            "png_bytes": tf.where(mask, tf.io.encode_png(self.draw(rows)), ""),
        }


def exported_rows(bank: PatchBank, max_patches: Optional[int], seed: int) -> np.ndarray:
    """The bank's rows to export, sorted by category and then by row: all that are anybody's candidates.

    Args:
      bank: the workspace's bank.
      max_patches: most rows; large categories then give up patches, at random, before small ones lose any. None: all.
      seed: of the patches that stay.

    Raises:
      UserError: the bank is empty, or fewer are allowed than it has categories.
    """
    category = bank.offered
    rows = np.flatnonzero(category != REMOVED_CATEGORY)
    if not len(rows):
        raise UserError(f"The bank in {bank.directory} holds no patch for any object; there is nothing to export.")
    if max_patches is not None and max_patches < len(rows):
        least = len(np.unique(category[rows]))
        if max_patches < least:
            raise UserError(
                f"--max_bank_patches={max_patches} is less than the bank's {least} categories; allow one each."
            )
        shuffled = np.random.default_rng(seed).permutation(rows)
        shuffled = shuffled[np.argsort(category[shuffled], kind="stable")]
        starts = np.searchsorted(category[shuffled], category[shuffled])
        rank_in_category = np.arange(len(shuffled)) - starts
        rows = np.sort(shuffled[np.argsort(rank_in_category, kind="stable")[:max_patches]])
    return rows[np.argsort(category[rows], kind="stable")]


def embedder(model) -> Callable[[tf.Tensor], tf.Tensor]:
    """E_p of a trained `RetrieveGAN`, over bytes."""
    return tf.function(lambda patches: model.retrieval.embed(pixels.to_float(patches)), reduce_retracing=True)


def _gather(variable: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a variable, read densely: a sparse read makes TensorFlow copy it at each dense one, as in saving."""
    return tf.gather(tf.convert_to_tensor(variable), rows)


def _aligned_bytes(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised uint8 array that starts where TensorFlow wants its memory to start."""
    size = math.prod(shape)
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].reshape(shape)


def _fixed(values, name: str) -> tf.Variable:
    return tf.Variable(values, trainable=False, name=name)


def _jpeg(patch: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(patch).save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
