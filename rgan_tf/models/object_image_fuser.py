"""The object-image fuser: a scene's objects on one canvas, by attention over each pixel's objects (section 3.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from rgan_tf.config import GeneratorConfig
from rgan_tf.models.layers import ConvBlock, fold, unfold
from rgan_tf.ops.box_sampling import box_area, log_centrality, paste
from rgan_tf.ops.matte_fill import fill_holes
from rgan_tf.ops.pixel_shares import share_boxes, share_mattes

_KEY_DIM = 16
_MATTE_WIDTH = 8
# Smallest box area, and smallest centrality on an axis, whose logarithm is taken.
_MIN_AREA = 1e-3
_MIN_CENTRALITY = 0.1
# Least share of a pixel in a box by which is divided.
_MIN_COVERAGE = 1e-3
# Where the layout prior starts: weights of smallness and centrality, and the background's logit.
_INITIAL_LAYOUT_WEIGHTS = [3.0, 1.0]
_INITIAL_BACKGROUND_LOGIT = -2.0
# The same where patches have mattes.
_INITIAL_LAYOUT_WEIGHTS_OF_MATTES = [3.0, 0.0]
_INITIAL_BACKGROUND_LOGIT_OF_MATTES = -16.0
# Most by which keys and queries then change a logit. Twice that, the most between two objects, is what an object of e
# times another's size is behind it.
_MOST = 1.5


class _Pasted(NamedTuple):
    """Objects pasted at their boxes, multiplied by the share that the box covers.

    maps [B, N, c, c, C] and keys [B, N, c, c, K] on the canvas, cells [B, N, c, c] those shares; patches [B, N, H, W,
    C] on the image, within [B, N, H, W] those shares.
    """

    maps: tf.Tensor
    keys: tf.Tensor
    cells: tf.Tensor
    patches: tf.Tensor
    within: tf.Tensor


class ObjectImageFuser(tf.keras.layers.Layer):
    """Fuses the objects into one canvas: every pixel attends to the objects whose boxes cover it.

    An object's logit at a pixel is the sum of
      - its matte, a map in the patch's own frame made from the patch and its refined features, which says where in the
        patch the object is;
      - the product of its key and of the pixel's query, made from all that is pasted there;
      - a prior on layout with learned weights that starts as "the smaller box lies in front, and fades at its border".
    A learned background competes as an object that covers everything, so pixels that no box covers stay well defined.

    Patches that have mattes cover what those say instead of their boxes: no matte is made of them, and they need no
    fading, whose weight starts at 0. Keys and queries decide between objects of about one size and no more: who covers
    whom at an edge must not depend on how large maps have grown. In the collage the colours around go on where nobody
    stands (`ops.matte_fill`), most of all those of large objects: a sky has no hole where a tree stood before it.
    """

    def __init__(
        self, config: GeneratorConfig, image_size: int, mattes: bool = False, name: str = "object_image_fuser"
    ):
        """Takes the generator's configuration, the side of the image in pixels, and whether patches have mattes."""
        super().__init__(name=name)
        self._mattes = mattes
        self._image_size = image_size
        self._canvas_size = config.canvas_size
        self.keys = tf.keras.layers.Conv2D(_KEY_DIM, 1, name="keys")
        self.query = tf.keras.layers.Conv2D(_KEY_DIM, 1, name="query")
        if not mattes:
            self.coarse_matte = tf.keras.layers.Conv2D(1, 1, name="coarse_matte")
            self.fine_matte = tf.keras.Sequential(
                [ConvBlock(_MATTE_WIDTH, name="hidden"), tf.keras.layers.Conv2D(1, 3, padding="same", name="matte")],
                name="fine_matte",
            )

    def build(self, input_shape):
        """Makes the background, and the weights of the layout prior."""
        self.background = self.add_weight(name="background", shape=[input_shape[-1]], initializer="zeros")
        mattes = self._mattes
        background_logit = _INITIAL_BACKGROUND_LOGIT_OF_MATTES if mattes else _INITIAL_BACKGROUND_LOGIT
        self.background_logit = self._float32_weight("background_logit", [], background_logit)
        layout_weights = _INITIAL_LAYOUT_WEIGHTS_OF_MATTES if mattes else _INITIAL_LAYOUT_WEIGHTS
        self.layout_weights = self._float32_weight("layout_weights", [2], layout_weights)
        super().build(input_shape)

    def _float32_weight(self, name: str, shape: list[int], value) -> tf.Variable:
        """A weight of the attention's softmax, which is float32 under any precision policy."""
        initializer = tf.keras.initializers.Constant(value)
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, dtype=tf.float32, experimental_autocast=False
        )

    def call(
        self, maps: tf.Tensor, patches: tf.Tensor, boxes: tf.Tensor, object_mask: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Fuses feature maps on the canvas, and patches at image resolution.

        Args:
          maps: [B, N, c, c, C] refined feature maps.
          patches: [B, N, h, w, C], with mattes as `continue_colours` gives them.
          boxes: [B, N, 4].
          object_mask: bool [B, N].

        Returns:
          canvas: [B, canvas_size, canvas_size, C].
          collage: [B, H, W, 4], the fused patches and the share that is no object's.
        """
        boxes = tf.where(object_mask[..., None], boxes, 0.0)
        pasted = self._paste(maps, patches, boxes)
        logits = self._layout_prior(boxes)
        if self._mattes:
            pasted, shares, nobody = self._share_mattes(pasted, logits)
            colours = tf.cast(fill_holes(pasted.patches[..., :3], shares, nobody), patches.dtype)
        else:
            matte, _ = paste(self._matte(maps, patches), boxes, [self._image_size] * 2)
            shares, nobody = self._share_boxes(pasted, logits + tf.cast(matte[..., 0], tf.float32))
            colours = tf.reduce_sum(tf.cast(shares, patches.dtype)[..., None] * pasted.patches, axis=1)
        collage = tf.concat([colours, tf.cast(nobody, patches.dtype)[..., None]], axis=-1)
        shares = tf.cast(self._pool(shares), maps.dtype)[..., None]
        nobody = tf.cast(self._pool(nobody[:, None]), maps.dtype)[:, 0, :, :, None]
        canvas = tf.reduce_sum(shares * pasted.maps, axis=1) + nobody * tf.cast(self.background, maps.dtype)
        return canvas, collage

    def _paste(self, maps: tf.Tensor, patches: tf.Tensor, boxes: tf.Tensor) -> _Pasted:
        keyed = tf.concat([maps, unfold(self.keys(fold(maps, 3)), maps.shape[1:2])], axis=-1)
        keyed, cells = paste(keyed, boxes, [self._canvas_size] * 2)
        patches, within = paste(patches, boxes, [self._image_size] * 2)
        return _Pasted(keyed[..., :-_KEY_DIM], keyed[..., -_KEY_DIM:], cells, patches, within)

    def _share_boxes(self, pasted: _Pasted, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Shares without the factor `within`, which pasted patches have, and the background's."""
        logits += self._affinity(pasted.keys, tf.reduce_sum(pasted.maps, axis=1))
        return share_boxes(logits, pasted.within, self.background_logit)

    def _share_mattes(self, pasted: _Pasted, logits: tf.Tensor) -> tuple[_Pasted, tf.Tensor, tf.Tensor]:
        """What is pasted without factors, whose shares are then whole; the shares, and nobody's."""
        maps, patches = _undivided(pasted.maps, pasted.cells), _undivided(pasted.patches, pasted.within)
        opacity = (tf.cast(patches[..., 3], tf.float32) + 1.0) / 2.0
        seen = tf.cast(self._pool(opacity * pasted.within), maps.dtype)[..., None] * maps
        logits += _MOST * tf.tanh(self._affinity(pasted.keys, tf.reduce_sum(seen, axis=1)) / _MOST)
        shares = share_mattes(logits, opacity, pasted.within, self.background_logit)
        return pasted._replace(maps=maps, patches=patches), *shares

    def _matte(self, maps: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
        coarse = _enlarge(unfold(self.coarse_matte(fold(maps, 3)), maps.shape[1:2]), patches.shape[2:4])
        return coarse + unfold(self.fine_matte(fold(patches, 3)), patches.shape[1:2])

    def _layout_prior(self, boxes: tf.Tensor) -> tf.Tensor:
        # Gradients stop here: a box must not be paid for being in front by shrinking.
        boxes = tf.stop_gradient(boxes)
        smallness = -tf.math.log(tf.maximum(box_area(boxes), _MIN_AREA))
        centrality = log_centrality(boxes, [self._image_size] * 2, _MIN_CENTRALITY)
        return self.layout_weights[0] * smallness[..., None, None] + self.layout_weights[1] * centrality

    def _affinity(self, keys: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        query = self.query(context)[:, None]
        affinity = tf.reduce_sum(tf.cast(query * keys, tf.float32), axis=-1, keepdims=True) / _KEY_DIM**0.5
        return _enlarge(affinity, [self._image_size] * 2)[..., 0]

    def _pool(self, weights: tf.Tensor) -> tf.Tensor:
        """Means over the image pixels of each canvas cell: [B, N, H, W] -> [B, N, canvas_size, canvas_size]."""
        cells, side = self._canvas_size, self._image_size // self._canvas_size
        return tf.reduce_mean(tf.reshape(weights, [-1, weights.shape[1], cells, side, cells, side]), axis=[3, 5])


def _undivided(pasted: tf.Tensor, coverage: tf.Tensor) -> tf.Tensor:
    """What is pasted [B, N, H, W, C], without the factor of the share [B, N, H, W] of a pixel that it covers."""
    return pasted / tf.cast(tf.maximum(coverage, _MIN_COVERAGE), pasted.dtype)[..., None]


def _enlarge(maps: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Bilinear resize of [B, N, h, w, C]; by pasting, since XLA mixes up types in the half-precision gradient of
    `tf.image.resize`.
    """
    return paste(maps, tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), size)[0]
