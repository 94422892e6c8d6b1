"""How much memory and disk an experiment takes, estimated from its configuration before anything is made."""

import math
from typing import NamedTuple, Optional

from rgan_tf.config import blueprint
from rgan_tf.config.fields import ExperimentConfig, OptimizerConfig

# Main trainings whose memory is counted here.
COUNTED_MODELS = ("retrievegan",)
# Category ids and predicates, the reserved ones included: 16 drawn kinds of things; COCO's 80 things and 91 stuffs;
# what is frequent in Visual Genome.
VOCABULARY = {"synthetic_scenes": (17, 7), "coco_stuff": (172, 7), "visual_genome": (179, 46)}
_FLOAT = 4
# A process that has loaded TensorFlow, and traced and compiled a step.
_RUNTIME = 2**30
# Bytes of a drawn picture's PNG for each of its pixels, as measured; and of a record beside its picture.
_PNG_BYTES = 1.2
_RECORD_BYTES = 500
# Parts of a patch's row in the bank beside its pixels and graph feature: ids, box, picture's name.
_ROW_BYTES = 100
# Of tf.data's shuffling, a place of its buffer, also of one that stays empty.
_SLOT_BYTES = 24
# Semi-hard mining holds several values for every anchor, positive and negative among a batch's patches.
_TRIPLET_BYTES = 16


class MemoryEstimate(NamedTuple):
    """Bytes that an experiment takes.

    parameters_and_optimizer: of the main training: weights, gradients, Adam's two moments, averages; the feature
      network's weights.
    step_activations: what one training step holds until its gradients are taken, on one device, of the stage that
      holds most.
    input_pipeline: batches that wait, and the buffer for shuffling with its drawn scenes; photographs, whose number and
      size nobody knows here, are not counted.
    scene_tables: graph features and candidates of all scenes, held at once while candidates are searched.
    bank_disk_per_patch: of the patch bank and its co-occurrence embeddings.
    dataset_disk, bank_disk, candidates_disk: on disk.

    The last three and `scene_tables` are None where the number of scenes is not in the configuration (photographs).
    """

    parameters_and_optimizer: int
    step_activations: int
    input_pipeline: int
    scene_tables: Optional[int]
    bank_disk_per_patch: int
    dataset_disk: Optional[int]
    bank_disk: Optional[int]
    candidates_disk: Optional[int]

    @property
    def training_memory(self) -> int:
        """Bytes at the peak of training on one device whose memory is the process's own."""
        return _RUNTIME + self.parameters_and_optimizer + self.step_activations + self.input_pipeline

    @property
    def disk(self) -> int:
        """Bytes of what is known to lie in the workspace, checkpoints left out."""
        return sum(filter(None, (self.dataset_disk, self.bank_disk, self.candidates_disk)))


def estimate_memory(config: ExperimentConfig, replicas: int = 1) -> MemoryEstimate:
    """Estimates what an experiment takes.

    It assumes Adam in float32, that all scenes have `data.max_objects` objects, that layers keep what blueprint.py
    counts and nothing else (gradient penalties are not counted), and the vocabulary of the data set (of photographs,
    the whole one). A feature network by handle, whose size nobody knows, counts nothing.

    Args:
      config: valid, as `validate` leaves it.
      replicas: devices that share a batch.

    Returns:
      A MemoryEstimate. `training_memory` was 0.9 to 1.3 times the measured peak of the process on CPUs, for main
      trainings with batches of 8 to 32 of configs/demo.yaml and of 2 to 8 of configs/coco_stuff.yaml, and for
      co-occurrence batches of 32 and 64 of both. On GPUs nothing was measured.
    """
    data, depth = config.data, config.graph_encoder.embedding_dim
    scenes = _scenes(config)
    embedding = config.cooccurrence.encoder.feature_dim
    per_patch = math.prod(config.patch_bank.patch_shape) + _FLOAT * (depth + embedding) + _ROW_BYTES
    record = int(_PNG_BYTES * data.image_size**2) + _RECORD_BYTES
    slots = None if scenes is None else scenes * data.max_objects
    candidates = None if slots is None else slots * config.candidates.k_max * _FLOAT
    return MemoryEstimate(
        parameters_and_optimizer=_parameters_and_optimizer(config),
        step_activations=max(_step_activations(config, replicas)),
        input_pipeline=_input_pipeline(config, record),
        scene_tables=None if slots is None else candidates + 2 * _FLOAT * depth * slots,
        bank_disk_per_patch=per_patch,
        dataset_disk=None if scenes is None else scenes * record,
        bank_disk=None if scenes is None else data.train_scenes * data.max_objects * per_patch,
        candidates_disk=candidates,
    )


def count_parameters(config: ExperimentConfig, num_objects: int, num_predicates: int) -> dict[str, int]:
    """Parameters of every model; the two numbers are the vocabulary's, reserved ids included."""
    return {name: cost.parameters for name, cost in _costs(config, num_objects, num_predicates).items()}


def _costs(config: ExperimentConfig, num_objects: int, num_predicates: int) -> dict[str, blueprint.Cost]:
    """Of every model, for one scene in training."""
    data, bank, depth = config.data, config.patch_bank, config.graph_encoder.embedding_dim
    nodes, triples, critics = data.max_objects, data.max_triples, config.discriminators
    graph = blueprint.graph_encoder(config.graph_encoder, nodes, triples, num_objects, num_predicates)
    # Two pictures of a scene are made, from retrieved and from own patches.
    generator = blueprint.generator(config.generator, bank, data.image_size, nodes, triples, depth).times(2)
    network = config.losses.feature_network
    pictures = blueprint.feature_network(network, data.image_size)
    objects = blueprint.feature_network(network, critics.object_crop_size).times(nodes)
    object_critic = blueprint.object_discriminator(critics, num_objects, bank.patch_shape[-1])
    return {
        "retrievegan": blueprint.total([graph, blueprint.retrieval(config), generator]),
        "image_discriminator": blueprint.image_discriminator(critics, data.image_size).times(2),
        "object_discriminator": object_critic.times(2 * nodes),
        "feature_network": blueprint.Cost(pictures.parameters, pictures.values + objects.values),
        "cooccurrence": blueprint.patch_encoder(config.cooccurrence.encoder, bank).times(nodes),
        "graph_encoder": graph,
    }


def _parameters_and_optimizer(config: ExperimentConfig) -> int:
    counts = count_parameters(config, *VOCABULARY[config.data.builder])
    critics = config.discriminators
    trained = (
        ("retrievegan", config.training.optimizer),
        ("image_discriminator", critics.image_optimizer),
        ("object_discriminator", critics.object_optimizer),
    )
    return _FLOAT * (counts["feature_network"] + sum(counts[name] * _copies(optimizer) for name, optimizer in trained))


def _copies(optimizer: OptimizerConfig) -> int:
    """Weights, gradients, two moments, and the average where one is kept."""
    return 5 if optimizer.ema_momentum else 4


def _step_activations(config: ExperimentConfig, replicas: int) -> tuple[int, int, int]:
    """Of the main training, the co-occurrence stage, and the graph encoder's."""
    costs = _costs(config, *VOCABULARY[config.data.builder])
    width = 2 if config.runtime.mixed_precision else _FLOAT
    main = ("retrievegan", "image_discriminator", "object_discriminator")
    values = sum(costs[name].values for name in main) * width + costs["feature_network"].values * _FLOAT
    triplets = _share(config.cooccurrence.training.batch_size, replicas)
    return (
        _share(config.training.batch_size, replicas) * values,
        triplets * costs["cooccurrence"].values * width + _TRIPLET_BYTES * (triplets * config.data.max_objects) ** 3,
        _share(config.graph_encoder.training.batch_size, replicas) * costs["graph_encoder"].values * width,
    )


def _share(batch_size: int, replicas: int) -> int:
    return -(-batch_size // replicas)


def _input_pipeline(config: ExperimentConfig, record: int) -> int:
    data = config.data
    patches = data.max_objects * (config.candidates.k_train + 1) * math.prod(config.patch_bank.patch_shape)
    scene = patches + _FLOAT * 3 * data.image_size**2
    held = min(data.shuffle_buffer, data.train_scenes) if data.builder == "synthetic_scenes" else 0
    # A batch that is read, one that waits, one that is copied, one in use.
    return 4 * config.training.batch_size * scene + held * record + _SLOT_BYTES * data.shuffle_buffer


def _scenes(config: ExperimentConfig) -> Optional[int]:
    """Of all splits; None where the configuration does not tell."""
    data = config.data
    if data.builder != "synthetic_scenes":
        return None
    return data.train_scenes + data.validation_scenes + data.test_scenes
