"""Pretraining of F_occur: patches of one picture lie closer together than patches of two (paper section 3.3)."""

import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.training.stage_trainer import OptimizedModel, StageTrainer


class CooccurrenceTrainer(StageTrainer):
    """Fits F_occur with the triplet loss. Negatives are mined within a replica's share of the batch."""

    headline = ("loss/triplet",)

    def __init__(self, encoder: PatchEncoder, config: config_lib.ExperimentConfig):
        """Takes a built encoder; call it in the strategy's scope."""
        training = config.cooccurrence.training
        self._encoder = encoder
        self._margin = config.cooccurrence.margin
        optimized = {"cooccurrence": OptimizedModel.create((encoder,), training.optimizer)}
        super().__init__(optimized, config.runtime, training.batch_size)

    def gradients(self, batch, step):
        """See `StageTrainer`."""
        batch = to_device(batch)
        with tf.GradientTape() as tape:
            embeddings = self._encoder(batch["ground_truth_patches"])
            loss = losses.cooccurrence_triplet_loss(
                embeddings, batch["scene_index"], batch["ground_truth_mask"], self._margin
            )
        gradients = tape.gradient(loss, self.optimized["cooccurrence"].variables)
        return {"loss/triplet": loss}, {"cooccurrence": gradients}
