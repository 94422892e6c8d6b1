"""The generator: from patches on a layout to an image (paper section 3.4, in PasteGAN's arrangement).

    CropEncoder          each patch to a small feature map, told what object it shows
    ObjectRefiner        a graph convolution over these maps along the relations
    ObjectImageFuser     maps and patches pasted at their boxes; each pixel attends to the objects that cover it
    residual blocks      on the canvas
    CascadedDecoder      canvas to image by upsampling, shown the fused patches again at every size

The fuser's attention works at image resolution and weighs the patches' own colours too, so detail that a patch holds
reaches the last layers without passing the coarse canvas. There is no batch normalization; see `layers`.
"""

import tensorflow as tf

from rgan_tf.config import GeneratorConfig, sizes
from rgan_tf.models.graph_encoder import GraphEncoding
from rgan_tf.models.layers import ConvBlock, ResidualBlock, UpsamplingBlock, fold, unfold
from rgan_tf.models.object_image_fuser import ObjectImageFuser
from rgan_tf.ops.graph import average_messages, gather_nodes
from rgan_tf.ops.matte_fill import continue_colours
from rgan_tf.ops.valid_rows import map_valid

# Colours are pulled inside (-1, 1) by this factor before atanh.
_COLOUR_LIMIT = 0.98


class CropEncoder(tf.keras.layers.Layer):
    """Encodes each patch, with the features of the object it stands for, into a map of `crop_size` squared."""

    def __init__(self, config: GeneratorConfig, name: str = "crop_encoder"):
        """Takes the generator's configuration; the patch size is known when it is first called."""
        super().__init__(name=name)
        self._config = config

    def build(self, input_shape):
        """Makes as many strided convolutions as lead from the patch size to `crop_size`.

        Raises:
          ConfigError: the patch size is not `crop_size` times a power of two.
        """
        width, count = self._config.crop_width, sizes.crop_halvings(input_shape[2], self._config.crop_size)
        self.stem = ConvBlock(width if count == 0 else width // 2, name="stem")
        # Colour and light are what patches are fitted by, so nothing is normalized over a patch's own pixels.
        self.downsampling = [ConvBlock(width, strides=2, name=f"downsampling_{i}") for i in range(count)]
        self.to_object = tf.keras.layers.Dense(width, name="to_object")
        self.block = ResidualBlock(width, name="block")
        super().build(input_shape)

    def call(self, patches: tf.Tensor, object_features: tf.Tensor) -> tf.Tensor:
        """[M, h, w, C], [M, D] -> [M, crop_size, crop_size, crop_width]."""
        maps = self.stem(patches)
        for layer in self.downsampling:
            maps = layer(maps)
        # A convolution over the map beside the tiled object features, written as the sum that it is.
        return self.block(maps + self.to_object(object_features)[:, None, None, :])


class ObjectRefiner(tf.keras.layers.Layer):
    """One graph convolution over the objects' feature maps along the relations.

    The message of a triple is a network of (subject map, predicate, object map) for either end; an object's map is
    changed by the average of its messages. The first convolution over the concatenation is written as a sum of
    convolutions, applied to each object once rather than to each triple.
    """

    def __init__(self, width: int, name: str):
        """Takes the number of channels of the maps."""
        super().__init__(name=name)
        self.as_subject = tf.keras.layers.Conv2D(width, 3, padding="same", name="as_subject")
        self.as_object = tf.keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name="as_object")
        self.from_predicate = tf.keras.layers.Dense(width, use_bias=False, name="from_predicate")
        self.to_subject = ConvBlock(width, 1, name="to_subject")
        self.to_object = ConvBlock(width, 1, name="to_object")
        self.update = ResidualUpdate(width, name="update")

    def call(
        self,
        maps: tf.Tensor,
        object_mask: tf.Tensor,
        triples: tf.Tensor,
        triple_mask: tf.Tensor,
        predicate_features: tf.Tensor,
        skip_padding: bool,
    ) -> tf.Tensor:
        """[B, N, c, c, C], [B, N], [B, T, 3], [B, T], [B, T, D] -> [B, N, c, c, C]."""
        num_objects, num_triples = maps.shape[1], triples.shape[1]
        subjects, objects = triples[..., 0], triples[..., 2]
        hidden = gather_nodes(map_valid(self.as_subject, object_mask, maps, skip_padding=skip_padding), subjects)
        hidden += gather_nodes(map_valid(self.as_object, object_mask, maps, skip_padding=skip_padding), objects)
        hidden = tf.nn.relu(hidden + self.from_predicate(predicate_features)[:, :, None, None, :])
        hidden = fold(hidden, 3)
        messages = average_messages(
            unfold(self.to_subject(hidden), [num_triples]),
            unfold(self.to_object(hidden), [num_triples]),
            subjects,
            objects,
            triple_mask,
            num_objects,
        )
        return map_valid(self.update, object_mask, maps, messages, skip_padding=skip_padding)


class ResidualUpdate(tf.keras.layers.Layer):
    """Adds to a map what a convolution makes of it and of its messages."""

    def __init__(self, width: int, name: str):
        """Takes the number of channels of the maps."""
        super().__init__(name=name)
        self.conv = ConvBlock(width, name="conv")
        self.out = tf.keras.layers.Conv2D(width, 1, name="out")

    def call(self, maps: tf.Tensor, messages: tf.Tensor) -> tf.Tensor:
        """[M, c, c, C] twice -> [M, c, c, C]."""
        return maps + self.out(self.conv(tf.concat([maps, messages], axis=-1)))


class CascadedDecoder(tf.keras.layers.Layer):
    """Upsamples the canvas to the image by factors of two, refining each time beside the collage at that size."""

    def __init__(self, config: GeneratorConfig, name: str = "decoder"):
        """Takes the generator's configuration."""
        super().__init__(name=name)
        # The channels are brought down before each upsampling, where they cost a quarter.
        self.narrowing = [ConvBlock(width, 1, name=f"narrowing_{i}") for i, width in enumerate(config.decoder_widths)]
        self.refining = [
            UpsamplingBlock(width, normalization_kind=config.normalization, name=f"refining_{i}")
            for i, width in enumerate(config.decoder_widths)
        ]
        # Where nothing is normalized, what deep layers add at first would drive all colours into saturation: there the
        # picture begins as the collage.
        start = "zeros" if config.normalization == "none" else "glorot_uniform"
        self.to_colours = tf.keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=start, name="to_colours")

    def call(self, canvas: tf.Tensor, collage: tf.Tensor) -> tf.Tensor:
        """[B, S, S, C], [B, H, W, 4] -> float32 image [B, H, W, 3] in [-1, 1]."""
        for narrow, refine in zip(self.narrowing, self.refining):
            canvas = refine((narrow(canvas), _shrink(collage, 2 * canvas.shape[1])))
        change = self.to_colours(tf.concat([canvas, collage], axis=-1))
        colours = tf.cast(collage[..., :3], tf.float32)
        return tf.tanh(tf.cast(change, tf.float32) + tf.atanh(_COLOUR_LIMIT * tf.clip_by_value(colours, -1.0, 1.0)))


def _shrink(images: tf.Tensor, size: int) -> tf.Tensor:
    factor = images.shape[1] // size
    return images if factor == 1 else tf.nn.avg_pool2d(images, factor, factor, "VALID")


class Generator(tf.keras.Model):
    """Synthesizes an image from one patch an object, laid out by boxes."""

    def __init__(self, config: GeneratorConfig, image_size: int, mattes: bool = False, name: str = "generator"):
        """Makes the generator.

        Args:
          config: widths and sizes.
          image_size: side of the image in pixels.
          mattes: whether patches say what of them is the object's.
          name: the model's name.

        Raises:
          ConfigError: `decoder_widths` does not lead from `canvas_size` to `image_size` by doublings.
        """
        super().__init__(name=name)
        sizes.check_canvas(config.canvas_size, len(config.decoder_widths), image_size)
        self.crop_encoder = CropEncoder(config)
        self.refiner = [ObjectRefiner(config.crop_width, name=f"refiner_{i}") for i in range(config.refiner_layers)]
        self.fuser = ObjectImageFuser(config, image_size, mattes)
        self.widening = ConvBlock(config.canvas_width, name="widening")
        self.residual = [
            ResidualBlock(config.canvas_width, config.normalization, name=f"residual_{i}")
            for i in range(config.residual_blocks)
        ]
        self.decoder = CascadedDecoder(config)

    def call(
        self,
        patches: tf.Tensor,
        boxes: tf.Tensor,
        object_mask: tf.Tensor,
        object_features: tf.Tensor,
        triples: tf.Tensor,
        triple_mask: tf.Tensor,
        predicate_features: tf.Tensor,
        skip_padding: bool = False,
    ) -> tf.Tensor:
        """Draws the scenes; each depends on its own valid objects and triples alone.

        Args:
          patches: [B, N, h, w, C] in [-1, 1]; C 3, or 4 with mattes. What lies beyond a matte is not seen.
          boxes: [B, N, 4].
          object_mask: bool [B, N].
          object_features: [B, N, D], the graph encoder's.
          triples: int [B, T, 3].
          triple_mask: bool [B, T].
          predicate_features: [B, T, D], the graph encoder's.
          skip_padding: leave padded objects out; the shapes worked on then depend on how many there are, and with them
            rounding.

        Returns:
          float32 [B, H, W, 3] in [-1, 1].
        """
        patches = continue_colours(patches)
        maps = map_valid(self.crop_encoder, object_mask, patches, object_features, skip_padding=skip_padding)
        for layer in self.refiner:
            maps = layer(maps, object_mask, triples, triple_mask, predicate_features, skip_padding)
        canvas, collage = self.fuser(maps, patches, boxes, object_mask)
        canvas = self.widening(tf.concat([canvas, _shrink(collage, canvas.shape[1])], axis=-1))
        for layer in self.residual:
            canvas = layer(canvas)
        return self.decoder(canvas, collage)

    def paint(
        self, patches: tf.Tensor, boxes: tf.Tensor, graph: dict, encoding: GraphEncoding, skip_padding: bool = False
    ) -> tf.Tensor:
        """As the call, of the scene graphs of a batch and what the graph encoder made of them."""
        return self(
            patches,
            boxes,
            graph["object_mask"],
            encoding.object_features,
            graph["triples"],
            graph["triple_mask"],
            encoding.predicate_features,
            skip_padding,
        )
