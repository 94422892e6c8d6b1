"""PasteGAN's training (Li et al. 2019, section 3.5): a picture of chosen crops and one of the scene's own."""

import tensorflow as tf

from rgan_tf import losses
from rgan_tf.baselines.adversarial import AdversarialTrainer, Losses
from rgan_tf.baselines.pastegan.model import chosen_patches, nearest_choice
from rgan_tf.models.feature_network import make_feature_network
from rgan_tf.ops.box_sampling import box_iou, crop
from rgan_tf.training.critics import Made


class PasteGANTrainer(AdversarialTrainer):
    """The terms of `PasteGAN`; layouts are of ground-truth boxes."""

    headline = ("loss/total", "loss/pixel", "boxes/iou")

    def __init__(self, model, config, num_objects):
        """See `AdversarialTrainer`; makes the perceptual network."""
        super().__init__(model, config, num_objects)
        self._features = make_feature_network(config.losses.feature_network, config.runtime.xla)
        self._crop_size = (config.discriminators.object_crop_size,) * 2

    def losses(self, batch) -> Losses:
        """See `AdversarialTrainer`."""
        model, mask, boxes = self.model, batch["object_mask"], batch["boxes"]
        encoding = model.graph_encoder.encode(batch)
        chosen = chosen_patches(nearest_choice(batch["candidate_mask"]), batch["candidate_patches"])
        own = batch["ground_truth_patches"]
        generated, reconstructed = (model.generator.paint(patches, boxes, batch, encoding) for patches in (chosen, own))
        # A picture has no mattes; what is shown of an object has the matte of its patch.
        shown = tf.concat([crop(generated, boxes, chosen.shape[2:4]), chosen[..., 3:]], axis=-1)
        # Objects without a candidate have nothing to be matched with.
        matched = mask & tf.reduce_any(batch["candidate_mask"], axis=-1)
        unlike = tf.abs(model.crop_features(shown, encoding) - model.crop_features(chosen, encoding))
        terms = {
            "bbx": losses.box_loss(encoding.boxes, boxes, mask),
            "pixel": losses.reconstruction_loss(reconstructed, batch["image"]),
            "p_img": losses.perceptual_loss(self._features(reconstructed), self._features(batch["image"])),
            "p_obj": losses.scene_mean(self._object_distances(batch, reconstructed), mask),
            "crop_matching": losses.scene_mean(tf.reduce_mean(unlike, axis=[2, 3, 4]), matched),
        }
        return Losses(
            terms, [Made(generated, chosen)], {"boxes/iou": losses.scene_mean(box_iou(encoding.boxes, boxes), mask)}
        )

    def _object_distances(self, batch, image):
        """Perceptual distances [B, N] of the objects in pictures from the real ones."""
        made, real = (crop(picture, batch["boxes"], self._crop_size) for picture in (image, batch["image"]))
        made, real = (self._features(tf.reshape(crops, [-1, *crops.shape[2:]])) for crops in (made, real))
        return tf.reshape(losses.perceptual_distances(made, real), [-1, batch["boxes"].shape[1]])
