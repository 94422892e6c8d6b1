"""PasteGAN's section of the configuration: the weights of its losses; its network is that of `generator`."""

import dataclasses

from official.modeling import hyperparams

from rgan_tf.config import kinds


@dataclasses.dataclass
class Settings(hyperparams.Config):
    """Weights of the authors' configuration; the perceptual ones are brought to the scale of Keras' VGG19."""

    adversarial: kinds.Adversarial = "modified"
    bbx: kinds.LossWeight = 10.0
    pixel: kinds.LossWeight = 1.0
    p_img: kinds.LossWeight = 0.01
    p_obj: kinds.LossWeight = 0.005
    crop_matching: kinds.LossWeight = 10.0
    adv_img: kinds.LossWeight = 0.01
    adv_obj: kinds.LossWeight = 0.01
    ac_obj: kinds.LossWeight = 0.1
