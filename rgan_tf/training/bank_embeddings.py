"""What a patch encoder makes of a whole bank."""

from typing import Callable, Optional

import numpy as np
import tensorflow as tf

from pipelines.patch_bank.bank import PatchBank
from rgan_tf.ops import pixels
from rgan_tf.progress import progress_bar

_BATCH = 1024


def embed_bank(
    embed: Callable[[tf.Tensor], tf.Tensor], bank: PatchBank, title: str, path: Optional[str] = None
) -> np.ndarray:
    """Embeds all patches, batch by batch.

    Args:
      embed: patches [n, h, w, C] in [-1, 1] to features float32 [n, D].
      bank: of M patches.
      title: of the bar.
      path: of a .npy file into which the embeddings are written; None keeps them in memory.

    Returns:
      float32 [M, D], zeros for removed patches.
    """
    embed_bytes = tf.function(lambda patches: embed(pixels.to_float(patches)))
    shape = (len(bank), embed(tf.zeros([1, *bank.patch_shape])).shape[-1])
    if path is None:
        embeddings = np.empty(shape, np.float32)
    else:
        embeddings = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    removed = bank.removed
    for start in progress_bar(range(0, len(bank), _BATCH), desc=title, unit="batch", leave=False):
        rows = np.arange(start, min(start + _BATCH, len(bank)))
        embeddings[rows] = np.where(removed[rows, None], 0.0, embed_bytes(bank.gather_patches(rows)))
    if path is not None:
        embeddings.flush()
    return embeddings
