"""What each model costs, by arithmetic on the configuration alone: its parameters, and the values it computes.

Every function mirrors one model of `rgan_tf.models`, layer by layer. Parameters are exact (tests/test_estimate.py holds
them against models that were built). Values are the elements of the maps that the layers give, as a gradient tape keeps
them; what is as small as a vector, and what the tape lets go again, is left out.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rgan_tf.config import sizes
from rgan_tf.config.fields import (
    DiscriminatorsConfig,
    ExperimentConfig,
    FeatureNetworkConfig,
    GeneratorConfig,
    GraphEncoderConfig,
    PatchBankConfig,
    PatchEncoderConfig,
)

# Of object_image_fuser.py: channels of keys and queries, and of the fine matte.
_KEY_DIM, _MATTE_WIDTH = 16, 8
# Maps at image size that the fuser makes of each object: colours, mattes, logits, prior, odds, weights.
_FUSER_MAPS = 16
# And of mattes: gaps, shares of the first and the second, what they weigh in holes.
_MATTE_MAPS = 16


class Cost(NamedTuple):
    """Parameters of a model, and elements of the values that it computes for one input."""

    parameters: int = 0
    values: int = 0

    def times(self, inputs: int) -> "Cost":
        """The same parameters, for so many inputs."""
        return Cost(self.parameters, self.values * inputs)


def total(costs: Sequence[Cost]) -> Cost:
    """All of a model's parts."""
    return Cost(sum(cost.parameters for cost in costs), sum(cost.values for cost in costs))


def _dense(inputs: int, outputs: int, bias: bool = True, places: int = 1) -> Cost:
    return Cost((inputs + bias) * outputs, outputs * places)


def _conv(kernel: int, inputs: int, filters: int, side: int, bias: bool = True) -> Cost:
    return _dense(kernel * kernel * inputs, filters, bias, side * side)


def _block(kernel: int, inputs: int, filters: int, side: int, normalization: str = "none") -> Cost:
    """layers.ConvBlock: convolution, normalization, activation."""
    maps, normalized = filters * side * side, normalization != "none"
    return total([_conv(kernel, inputs, filters, side), Cost(2 * filters * normalized, maps * (1 + normalized))])


def _residual(filters: int, side: int, normalization: str = "none") -> Cost:
    """layers.ResidualBlock."""
    return total([*[_block(3, filters, filters, side, normalization)] * 2, Cost(0, filters * side * side)])


def patch_encoder(config: PatchEncoderConfig, bank: PatchBankConfig) -> Cost:
    """PatchEncoder, for one patch."""
    side, _, inputs = bank.patch_shape
    parts, width = [Cost(0, inputs * side**2)], config.width
    for level in range(3):
        side = -(-side // 2)
        parts.append(_block(3, inputs, width * 2**level, side))
        inputs = width * 2**level
    return total([*parts, _dense(inputs, inputs), _dense(inputs, config.feature_dim)])


def graph_encoder(config: GraphEncoderConfig, nodes: int, triples: int, num_objects: int, num_predicates: int) -> Cost:
    """GraphEncoder, for one scene; the two numbers are the vocabulary's, reserved ids included."""
    width, hidden, edges = config.embedding_dim, config.hidden_dim, nodes + triples
    convolution = total(
        [
            _dense(3 * width, hidden, places=edges),
            _dense(hidden, 2 * hidden + width, places=edges),
            _dense(hidden, hidden, places=nodes + 1),
            _dense(hidden, width, places=nodes + 1),
            # Gathered ends, and messages joined and averaged.
            Cost(0, edges * (3 * width + 4 * hidden)),
        ]
    )
    embeddings = Cost((num_objects + num_predicates) * width, (edges + nodes) * width)
    boxes = [_dense(width, hidden, places=nodes), _dense(hidden, 4, places=nodes)]
    return total([embeddings, *[convolution] * config.layers, *boxes])


def retrieval(config: ExperimentConfig) -> Cost:
    """RetrievalLayer in training, for one scene: E_p on candidates and own patches, then the rounds of Algorithm 1."""
    objects, candidates = config.data.max_objects, config.candidates.k_train
    encoder = patch_encoder(config.retrieval.encoder, config.patch_bank)
    slots, depth = objects * candidates, config.retrieval.encoder.feature_dim
    rounds = Cost(0, objects * slots * (2 * depth + 10))
    chosen = Cost(0, objects * math.prod(config.patch_bank.patch_shape))
    return total([encoder.times(slots + objects), rounds, chosen])


def generator(
    config: GeneratorConfig, bank: PatchBankConfig, image_size: int, nodes: int, triples: int, depth: int
) -> Cost:
    """Generator, for one scene; `depth` is the length of a graph feature."""
    patch_size, _, inputs = bank.patch_shape
    width, side, canvas, channels = config.crop_width, config.crop_size, config.canvas_size, config.canvas_width
    count = sizes.crop_halvings(patch_size, side)
    stem = width if count == 0 else width // 2
    maps = _FUSER_MAPS + (_MATTE_MAPS if bank.mattes else 0)
    crops = [
        _block(3, inputs, stem, patch_size),
        _dense(depth, width),
        _residual(width, side),
        Cost(0, width * side**2),
    ]
    crops += [_block(3, stem if i == 0 else width, width, patch_size >> (i + 1)) for i in range(count)]
    refiner = [
        total([_conv(3, width, width, side), _conv(3, width, width, side, bias=False)]).times(nodes),
        _dense(depth, width, bias=False),
        # Of each triple: both ends, their sum, its ReLU and two messages.
        Cost(0, triples * 6 * width * side**2),
        total([_block(1, width, width, side)] * 2).times(triples),
        total([_block(3, 2 * width, width, side), _conv(1, width, width, side), Cost(0, width * side**2)]).times(nodes),
    ]
    fuser = [
        _conv(1, width, _KEY_DIM, side).times(nodes),
        _conv(1, width, _KEY_DIM, canvas),
        # Background, its logit, two weights of the layout.
        Cost(width + 3, nodes * (2 * (width + _KEY_DIM) * canvas**2 + maps * image_size**2)),
    ]
    if not bank.mattes:
        fine = [_block(3, inputs, _MATTE_WIDTH, patch_size), _conv(3, _MATTE_WIDTH, 1, patch_size)]
        fuser.append(total([_conv(1, width, 1, side), *fine]).times(nodes))
    residual = [_residual(channels, canvas, config.normalization)] * config.residual_blocks
    trunk = [_block(3, width + 4, channels, canvas), *residual, _decoder(config, image_size)]
    return total([total(crops).times(nodes), *refiner * config.refiner_layers, *fuser, *trunk])


def _decoder(config: GeneratorConfig, image_size: int) -> Cost:
    inputs, side, parts = config.canvas_width, config.canvas_size, []
    for width in config.decoder_widths:
        parts.append(_block(1, inputs, width, side))
        side *= 2
        # Two convolutions are added up, over the maps and over the collage at this size.
        parts += [_block(3, width + 4, width, side, config.normalization), Cost(0, side**2 * (width + 4))]
        inputs = width
    return total([*parts, _conv(3, inputs + 4, 3, image_size), Cost(0, image_size**2 * (inputs + 4 + 12))])


def _trunk(width: int, layers: int, size: int, normalization: str) -> tuple[list[Cost], int, int]:
    """The trunk of a critic; with the channels and the side that it ends in."""
    parts, inputs = [], 3
    for layer in range(layers):
        filters, size = width * min(2**layer, 8), -(-size // 2)
        parts.append(_block(4, inputs, filters, size, normalization if layer else "none"))
        inputs = filters
    return parts, inputs, size


def image_discriminator(config: DiscriminatorsConfig, image_size: int) -> Cost:
    """ImageDiscriminator, for one image."""
    parts, channels, side = _trunk(config.image_width, config.image_layers, image_size, config.normalization)
    return total([*parts, _conv(4, channels, 1, side)])


def object_discriminator(config: DiscriminatorsConfig, num_objects: int, inputs: int = 3) -> Cost:
    """ObjectDiscriminator, for one object; `num_objects` are the category ids, the reserved one included, and `inputs`
    the channels of a crop."""
    size = config.object_crop_size
    parts, channels, _ = _trunk(config.object_width, config.object_layers, size, config.normalization)
    heads = [_dense(channels, 4 * config.object_width), _dense(4 * config.object_width, 1 + num_objects)]
    return total([Cost(0, inputs * size**2), *parts, *heads])


def feature_network(config: FeatureNetworkConfig, size: int) -> Cost:
    """FeatureNetwork (VGG19), for one picture of a size; nothing for another network by handle, which is not known."""
    if config.handle:
        return Cost()
    deepest, parts, inputs = max(map(sizes.vgg19_position, config.layers)), [], 3
    for block, (count, filters) in enumerate(sizes.VGG19_BLOCKS, start=1):
        for conv in range(1, count + 1):
            if (block, conv) <= deepest:
                parts.append(_block(3, inputs, filters, max(size >> (block - 1), 1)))
                inputs = filters
    return total(parts)
