"""RetrieveGAN: scene graph to boxes, patches and picture, the composition of its parts (paper section 3, figure 2)."""

from typing import NamedTuple, Optional

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf.models.generator import Generator
from rgan_tf.models.graph_encoder import GraphEncoder, GraphEncoding
from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.ops.relaxed_subset import RetrievalResult
from rgan_tf.ops.valid_rows import map_valid

Batch = dict[str, tf.Tensor]


class TrainingPass(NamedTuple):
    """What one training batch gives.

    encoding: the scene graph's features and predicted boxes.
    retrieval: the selection among the candidates.
    ground_truth_logits [B, N, 1 + k], ground_truth_weights [B, N]: for L_sel_gt.
    selected [B, N, h, w, C]: the patches of the selection.
    generated [B, H, W, 3]: the picture from selected patches, in [-1, 1].
    reconstructed [B, H, W, 3]: the picture from ground-truth patches.
    """

    encoding: GraphEncoding
    retrieval: RetrievalResult
    ground_truth_logits: tf.Tensor
    ground_truth_weights: tf.Tensor
    selected: tf.Tensor
    generated: tf.Tensor
    reconstructed: tf.Tensor


class Generation(NamedTuple):
    """A picture and how it came about.

    image [B, H, W, 3] in [-1, 1]; boxes [B, N, 4]; choice int32 [B, N], index of the chosen candidate, -1 where an
    object is padding; patches [B, N, h, w, C], the chosen ones.
    """

    image: tf.Tensor
    boxes: tf.Tensor
    choice: tf.Tensor
    patches: tf.Tensor


class RetrieveGAN(tf.keras.Model):
    """All that is trained but for the discriminators; batches are as `pipelines.input_pipeline` makes them."""

    def __init__(self, config: config_lib.ExperimentConfig, num_objects: int, num_predicates: int):
        """Takes the experiment's configuration and the vocabulary's sizes, reserved ids included."""
        # float32: under a mixed policy Keras would round boxes on their way in; the parts follow the policy.
        super().__init__(name="retrievegan", dtype=tf.float32)
        self.graph_encoder = GraphEncoder(config.graph_encoder, num_objects, num_predicates)
        self.retrieval = RetrievalLayer(config.retrieval)
        self.generator = Generator(config.generator, config.data.image_size, config.patch_bank.mattes)
        self._skip_padding = config.runtime.skips_padding

    def call(self, batch: Batch, step: tf.Tensor) -> TrainingPass:
        """Both paths of training: patches retrieved for the adversarial terms, ground truth for reconstruction.

        Args:
          batch: a training batch with float patches in [-1, 1].
          step: the training step, which sets the temperature.

        Returns:
          A TrainingPass; pictures are laid out by the ground-truth boxes.
        """
        encoding = self.graph_encoder.encode(batch)
        truth = batch["ground_truth_patches"]
        patches = tf.concat([truth[:, :, None], batch["candidate_patches"]], axis=2)
        valid = tf.concat([batch["ground_truth_mask"][:, :, None], batch["candidate_mask"]], axis=2)
        features = map_valid(self.retrieval.embed, valid, patches, skip_padding=self._skip_padding)
        truth_features, candidate_features = features[:, :, 0], features[:, :, 1:]
        result = self.retrieval(candidate_features, batch["candidate_mask"], batch["scene_seed"], step)
        logits, weights = self.retrieval.ground_truth_logits(
            truth_features,
            batch["ground_truth_mask"],
            candidate_features,
            batch["candidate_mask"],
            batch["scene_seed"],
            step,
        )
        selected = select_patches(result.selection, batch["candidate_patches"])
        generated, reconstructed = self._synthesize_both(batch, encoding, selected, truth)
        return TrainingPass(encoding, result, logits, weights, selected, generated, reconstructed)

    def generate(self, batch: Batch, pinned: Optional[tf.Tensor] = None) -> Generation:
        """Pictures for scene graphs, from the candidates in the batch.

        Args:
          batch: objects, object_mask, triples, triple_mask, candidate_patches, candidate_mask, scene_seed; and
            boxes with box_given [B, N], which say where the user laid objects out.
          pinned: float [B, N, k], one-hot where the user fixed an object's patch, zero elsewhere; or None.

        Returns:
          A Generation; a scene's answer depends on its own row and seed alone.
        """
        encoding = self.graph_encoder.encode(batch)
        boxes = tf.where(batch["box_given"][..., None], batch["boxes"], encoding.boxes)
        features = self.retrieval.embed(batch["candidate_patches"])
        result = self.retrieval.choose(features, batch["candidate_mask"], batch["scene_seed"], pinned)
        candidates = batch["candidate_patches"].shape[2]
        chosen = select_patches(tf.one_hot(result.hard_index, candidates), batch["candidate_patches"])
        image = self.generator.paint(chosen, boxes, batch, encoding)
        return Generation(image, boxes, result.hard_index, chosen)

    def synthesize(self, patches: tf.Tensor, boxes: tf.Tensor, batch: Batch) -> tf.Tensor:
        """The picture [B, H, W, 3] in [-1, 1] of given patches [B, N, h, w, C] on a given layout [B, N, 4]."""
        return self.generator.paint(patches, boxes, batch, self.graph_encoder.encode(batch))

    def _synthesize_both(self, batch: Batch, encoding: GraphEncoding, selected: tf.Tensor, truth: tf.Tensor):
        """Both paths share weights, so one pass over a batch of twice the size serves them."""
        graph = {name: batch[name] for name in ("boxes", "object_mask", "triples", "triple_mask")}
        graph, encoding = tf.nest.map_structure(lambda tensor: tf.concat([tensor, tensor], axis=0), (graph, encoding))
        patches = tf.concat([selected, truth], axis=0)
        pictures = self.generator.paint(patches, graph["boxes"], graph, encoding, self._skip_padding)
        return tf.split(pictures, 2, axis=0)


def select_patches(selection: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """Each object's patch under a selection: [B, N, k] and [B, N, k, h, w, C] to [B, N, h, w, C] (paper section 3.3).

    A hard selection gives the chosen patch itself, and gradients reach the selection through every candidate.
    """
    return tf.einsum("bnk,bnkhwc->bnhwc", selection, patches)
