"""layout2im's section of the configuration; the defaults are its paper's at 64 x 64."""

import dataclasses
from typing import Annotated

from official.modeling import hyperparams

from rgan_tf.config import kinds
from rgan_tf.config.bounds import Integer, ListOf


@dataclasses.dataclass
class Settings(hyperparams.Config):
    """Object latents, fuser, decoder, and the weights of its losses (sections 3 and 4)."""

    latent_dim: kinds.Width = 64
    embedding_dim: kinds.Width = 64
    # Of the first convolutions; they double as sides halve.
    width: Annotated[int, Integer(2, 1024)] = 64
    # Side of an object's crop, and of the map on which objects are fused.
    crop_size: Annotated[int, Integer(8, 1024)] = 32
    fused_size: Annotated[int, Integer(2, 1024)] = 8
    # Hidden channels of the convolutional LSTM's layers.
    lstm_widths: Annotated[
        list[int], ListOf(Integer(1, kinds.WIDEST), 1, 8, "integers, a width each", repeats=True)
    ] = dataclasses.field(default_factory=lambda: [128, 64, 64])
    residual_blocks: kinds.Depth = 6
    adversarial: kinds.Adversarial = "modified"
    # Weights of the latents' divergence, image and latent reconstruction, both adversarial losses and classification.
    kl: kinds.LossWeight = 0.01
    recon_img: kinds.LossWeight = 1.0
    recon_latent: kinds.LossWeight = 10.0
    adv_img: kinds.LossWeight = 1.0
    adv_obj: kinds.LossWeight = 1.0
    ac_obj: kinds.LossWeight = 1.0
