"""sg2im's network: scene graph to boxes and masks, to a layout, to a picture (Johnson et al. 2018, section 3)."""

from typing import NamedTuple

import tensorflow as tf

from rgan_tf import config as config_lib
from rgan_tf.baselines.batch_norm import BatchNormBlock, convolution
from rgan_tf.config.bounds import ConfigError
from rgan_tf.models.graph_encoder import GraphEncoder, GraphEncoding
from rgan_tf.models.layers import ConvBlock, fold, unfold
from rgan_tf.ops.box_sampling import paste

# Of the normal noise that the coarsest module begins with.
_NOISE_CHANNELS = 1


class Drawn(NamedTuple):
    """image [B, H, W, 3] in [-1, 1]; encoding: the scene graphs', with the predicted boxes; masks [B, N, M, M] in
    (0, 1)."""

    image: tf.Tensor
    encoding: GraphEncoding
    masks: tf.Tensor


class MaskNetwork(tf.keras.layers.Layer):
    """Object features to soft binary masks: a convolution after each doubling of the side, then a logit a pixel."""

    def __init__(self, size: int, width: int, name: str = "mask_network"):
        """Takes the side of a mask and the channels on the way.

        Raises:
          ConfigError: the side is no power of two.
        """
        super().__init__(name=name)
        doublings = size.bit_length() - 1
        if size != 1 << doublings:
            raise ConfigError(f"baseline.mask_size is {size}; it must be a power of two.")
        self.blocks = [
            BatchNormBlock(convolution(width, bias=True), name=f"doubling_{place}") for place in range(doublings)
        ]
        self.to_logits = tf.keras.layers.Conv2D(1, 1, dtype=tf.float32, name="to_logits")

    def call(self, features: tf.Tensor, valid: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[M, D], bool [M] -> float32 [M, size, size] in (0, 1)."""
        maps = features[:, None, None, :]
        for block in self.blocks:
            maps = block(_doubled(maps), valid, training=training)
        return tf.sigmoid(self.to_logits(maps))[..., 0]


class CascadedRefinement(tf.keras.layers.Layer):
    """The cascaded refinement network (Chen and Koltun 2017): coarse to fine, shown the layout at every size.

    A module is a pair of 3 x 3 convolutions over the layout, averaged down to its size, beside what the module before
    it gave, enlarged twofold by repetition; the coarsest one begins with noise.
    """

    def __init__(self, widths, name: str = "refinement"):
        """Takes a width a module, from the coarsest."""
        super().__init__(name=name)
        self.levels = [
            [
                BatchNormBlock(convolution(width, bias=True), "leaky_relu", name=f"module_{level}_{place}")
                for place in ("first", "second")
            ]
            for level, width in enumerate(widths)
        ]
        self.hidden = ConvBlock(widths[-1], activation="leaky_relu", name="hidden")
        self.to_colours = tf.keras.layers.Conv2D(3, 1, dtype=tf.float32, name="to_colours")

    def call(self, layout: tf.Tensor, noise: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, H, H, D], [B, H / 2^n, H / 2^n, 1] -> float32 [B, H, H, 3]; n is the number of modules."""
        maps = noise
        for level, (first, second) in enumerate(self.levels):
            maps = _doubled(maps)
            factor = 1 << (len(self.levels) - 1 - level)
            maps = first(tf.concat([_shrunk(layout, factor), maps], axis=-1), training=training)
            maps = second(maps, training=training)
        return self.to_colours(self.hidden(maps))


class Sg2im(tf.keras.Model):
    """All that is trained but for the discriminators."""

    def __init__(self, config: config_lib.ExperimentConfig, num_objects: int, num_predicates: int):
        """Takes the experiment's configuration and the vocabulary's sizes, reserved ids included.

        Raises:
          ConfigError: the image cannot be halved as often as there are refinement modules, or the mask's side is no
            power of two.
        """
        super().__init__(name="sg2im", dtype=tf.float32)
        settings, side = config.baseline, config.data.image_size
        self._coarsest, rest = divmod(side, 1 << len(settings.refinement_widths))
        if rest or not self._coarsest:
            raise ConfigError(
                f"data.image_size is {side}; it cannot be halved for each of the {len(settings.refinement_widths)} "
                "widths in baseline.refinement_widths, so change either."
            )
        self._side = side
        self.graph_encoder = GraphEncoder(config.graph_encoder, num_objects, num_predicates)
        self.masks = MaskNetwork(settings.mask_size, config.graph_encoder.embedding_dim)
        self.refinement = CascadedRefinement(settings.refinement_widths)

    def call(
        self, batch: dict[str, tf.Tensor], boxes: tf.Tensor, box_given: tf.Tensor, training: bool = False
    ) -> Drawn:
        """Draws scenes.

        Args:
          batch: objects, object_mask, triples, triple_mask, scene_seed.
          boxes: [B, N, 4].
          box_given: bool [B, N]: objects that are laid out by `boxes`, as all are in training; the others by what is
            predicted.
          training: whether normalization is by the batch's own statistics, which are remembered, or by those.
        """
        encoding = self.graph_encoder.encode(batch)
        features = encoding.object_features
        valid = tf.reshape(batch["object_mask"], [-1])
        masks = unfold(self.masks(fold(features, 1), valid, training=training), features.shape[1:2])
        placed = tf.where(box_given[..., None], boxes, encoding.boxes)
        layout = scene_layout(features, masks, placed, batch["object_mask"], self._side)
        shape = [self._coarsest, self._coarsest, _NOISE_CHANNELS]
        noise = tf.map_fn(
            lambda seed: tf.random.stateless_normal(shape, seed), batch["scene_seed"], fn_output_signature=tf.float32
        )
        image = tf.tanh(self.refinement(layout, tf.cast(noise, layout.dtype), training=training))
        return Drawn(image, encoding, masks)


def scene_layout(
    features: tf.Tensor, masks: tf.Tensor, boxes: tf.Tensor, object_mask: tf.Tensor, side: int
) -> tf.Tensor:
    """The scene layout [B, side, side, D]: the sum over objects of their features, weighed by their masks, which are
    laid over the boxes by bilinear interpolation (section 3.3).

    Args:
      features: [B, N, D].
      masks: [B, N, M, M].
      boxes: [B, N, 4].
      object_mask: bool [B, N].
      side: of the layout.
    """
    # A mask is warped, and then multiplied by its vector: the product is the same, and the maps stay small.
    placed, _ = paste(masks[..., None], boxes, (side, side))
    placed *= tf.cast(object_mask, placed.dtype)[..., None, None, None]
    return tf.einsum("bnhw,bnd->bhwd", placed[..., 0], tf.cast(features, placed.dtype))


def _doubled(maps: tf.Tensor) -> tf.Tensor:
    return tf.repeat(tf.repeat(maps, 2, axis=1), 2, axis=2)


def _shrunk(maps: tf.Tensor, factor: int) -> tf.Tensor:
    return tf.nn.avg_pool2d(maps, factor, factor, "VALID") if factor > 1 else maps
