"""The objects' own patches of any split, cut as the bank's are: what retrieval would have to find.

The bank holds patches of training scenes alone; those of validation and test scenes are cropped here from the original
pictures, by the bank's own function, so that both kinds have gone through the same resampling.
"""

import numpy as np
import tensorflow as tf

from pipelines import mattes
from pipelines.input_pipeline import FIXED_EPOCH, SceneSource
from pipelines.patch_bank.cropping import crop_patch
from pipelines.records import MATTE


def ground_truth_batches(source: SceneSource, patch_shape: tuple[int, int, int], batch_size: int) -> tf.data.Dataset:
    """The own patches of a split's objects, scene by scene in record order.

    It runs beside `evaluation_batches` of the same source and batch size, batch for batch:
    `tf.data.Dataset.zip((evaluation_batches(…), ground_truth_batches(…)))`.

    Args:
      source: the scenes.
      patch_shape: (h, h, C), `PatchBank.patch_shape`.
      batch_size: scenes in a batch; the last one may be smaller.

    Returns:
      A data set of dictionaries: scene_index [B] int32, ground_truth_patches [B, N, h, w, C] uint8, zeros for padding,
      and ground_truth_mask [B, N] bool.
    """
    most = source.data.max_objects
    shape, with_mattes = (most, *patch_shape), patch_shape[-1] == 4

    def crop_all(image, boxes, cut_out):
        patches = np.zeros(shape, np.uint8)
        for slot, (box, matte) in enumerate(zip(boxes, cut_out)):
            patches[slot] = crop_patch(image, box, patch_shape[0], matte if with_mattes else None)
        return patches

    def cut(index, record):
        image = tf.io.decode_image(record["image"], channels=3, expand_animations=False)
        # The objects that `evaluation_batches` draws.
        places, *_ = source.draw(tf.constant(FIXED_EPOCH, tf.int64), index, record)
        boxes = tf.gather(record["objects"]["box"], places)
        cut_out = record["objects"].get(MATTE, tf.fill(tf.shape(record["objects"]["category"]), mattes.NONE))
        patches = tf.numpy_function(crop_all, [image, boxes, tf.gather(cut_out, places)], tf.uint8)
        return {
            "scene_index": tf.cast(index, tf.int32),
            "ground_truth_patches": tf.ensure_shape(patches, shape),
            "ground_truth_mask": tf.range(most) < tf.shape(boxes)[0],
        }

    scenes = source.records().map(cut, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return scenes.batch(batch_size).prefetch(tf.data.AUTOTUNE)
