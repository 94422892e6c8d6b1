"""sg2im's section of the configuration; the defaults are its paper's at 64 x 64."""

import dataclasses
from typing import Annotated

from official.modeling import hyperparams

from rgan_tf.config import kinds
from rgan_tf.config.bounds import Integer, ListOf


@dataclasses.dataclass
class Settings(hyperparams.Config):
    """Mask network, cascaded refinement network, and the weights of its losses (sections 3 and 4.1)."""

    # Side of an object's mask: a power of two.
    mask_size: Annotated[int, Integer(1, 256)] = 16
    # Channels of the refinement modules, from the coarsest; each doubles the side, the last one reaches the image's.
    refinement_widths: Annotated[
        list[int], ListOf(Integer(1, kinds.WIDEST), 1, 12, "integers, a width each", repeats=True)
    ] = dataclasses.field(default_factory=lambda: [1024, 512, 256, 128, 64])
    adversarial: kinds.Adversarial = "modified"
    # Weights of box, pixel, image and object adversarial, and auxiliary classification losses.
    bbx: kinds.LossWeight = 10.0
    pixel: kinds.LossWeight = 1.0
    adv_img: kinds.LossWeight = 0.01
    adv_obj: kinds.LossWeight = 0.01
    ac_obj: kinds.LossWeight = 0.1
