"""PasteGAN's network (Li et al. 2019, section 3): crops chosen by graph features, pasted by RetrieveGAN's generator,
which has its arrangement from there."""

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf.models.generator import Generator
from rgan_tf.models.graph_encoder import GraphEncoder, GraphEncoding
from rgan_tf.models.retrievegan import select_patches
from rgan_tf.ops.matte_fill import continue_colours


class PasteGAN(tf.keras.Model):
    """All that is trained but for the discriminators."""

    def __init__(self, config: config_lib.ExperimentConfig, num_objects: int, num_predicates: int):
        """Takes the experiment's configuration and the vocabulary's sizes, reserved ids included."""
        super().__init__(name="pastegan", dtype=tf.float32)
        self.graph_encoder = GraphEncoder(config.graph_encoder, num_objects, num_predicates)
        self.generator = Generator(config.generator, config.data.image_size, config.patch_bank.mattes)

    def call(self, patches: tf.Tensor, boxes: tf.Tensor, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The picture [B, H, W, 3] in [-1, 1] of patches [B, N, h, w, C] on a layout [B, N, 4]."""
        return self.generator.paint(patches, boxes, batch, self.graph_encoder.encode(batch))

    def crop_features(self, patches: tf.Tensor, encoding: GraphEncoding) -> tf.Tensor:
        """The crop encoder's maps [B, N, c, c, C] of patches [B, N, h, w, C]."""
        count = patches.shape[1]
        flat = continue_colours(tf.reshape(patches, [-1, *patches.shape[2:]]))
        features = tf.reshape(encoding.object_features, [-1, encoding.object_features.shape[-1]])
        maps = self.generator.crop_encoder(flat, features)
        return tf.reshape(maps, [-1, count, *maps.shape[1:]])


def nearest_choice(candidate_mask: tf.Tensor, pinned=None) -> tf.Tensor:
    """The crop selector: candidates come in order of the distance of their graph features, so the first is chosen.

    Args:
      candidate_mask: bool [B, N, k].
      pinned: float [B, N, k], one-hot where a patch is fixed; or None.

    Returns:
      int32 [B, N], -1 where an object has no candidate.
    """
    nearest = tf.where(tf.reduce_any(candidate_mask, axis=-1), 0, -1)
    if pinned is None:
        return nearest
    return tf.where(tf.reduce_any(pinned > 0, axis=-1), tf.argmax(pinned, axis=-1, output_type=tf.int32), nearest)


def chosen_patches(choice: tf.Tensor, candidate_patches: tf.Tensor) -> tf.Tensor:
    """The patches [B, N, h, w, C] of a choice; zeros where there is none."""
    return select_patches(tf.one_hot(choice, candidate_patches.shape[2]), candidate_patches)
