"""Pretraining of the scene graph encoder: boxes from the graph alone (paper section 3.2)."""

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf import losses
from rgan_tf.models.graph_encoder import GraphEncoder
from rgan_tf.ops.box_sampling import box_iou
from rgan_tf.training.stage_trainer import OptimizedModel, StageTrainer


class GraphEncoderTrainer(StageTrainer):
    """Fits the graph network and the box regressor with L_bbx."""

    headline = ("loss/bbx", "boxes/iou")

    def __init__(self, encoder: GraphEncoder, config: config_lib.ExperimentConfig):
        """Takes a built encoder; call it in the strategy's scope."""
        training = config.graph_encoder.training
        self._encoder = encoder
        optimized = {"graph_encoder": OptimizedModel.create((encoder,), training.optimizer)}
        super().__init__(optimized, config.runtime, training.batch_size)

    def gradients(self, batch, step):
        """See `StageTrainer`."""
        with tf.GradientTape() as tape:
            predicted = self._encoder.encode(batch).boxes
            loss = losses.box_loss(predicted, batch["boxes"], batch["object_mask"])
        terms = {
            "loss/bbx": loss,
            "boxes/iou": losses.scene_mean(box_iou(predicted, batch["boxes"]), batch["object_mask"]),
        }
        gradients = tape.gradient(loss, self.optimized["graph_encoder"].variables, unconnected_gradients="zero")
        return terms, {"graph_encoder": gradients}
