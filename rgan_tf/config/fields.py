"""The fields of one experiment's configuration.

A configuration is a tree of `official.modeling.hyperparams` dataclasses: unknown keys are errors, and every field has
the type of its default. One tree describes every stage, from the data set to adversarial training, so that a workspace
can tell from it which of its artifacts are current.
"""

import dataclasses

from official.modeling import hyperparams


@dataclasses.dataclass
class DataConfig(hyperparams.Config):
    """Which scenes to learn from, and how they are padded (DESIGN section "Tensors")."""

    builder: str = "synthetic_scenes"
    # Folder of the source files (coco_stuff: COCO's own layout). synthetic_scenes draws its own and needs none.
    source_dir: str = ""
    # synthetic_scenes: number of scenes drawn for each split.
    train_scenes: int = 2000
    validation_scenes: int = 128
    test_scenes: int = 128
    # coco_stuff: the first so many of val2017 become validation, the rest test (sg2im: 1024).
    validation_images: int = 1024
    require_stuff: bool = True
    # An object's box must cover more than this share of the image (sg2im: 0.02).
    min_object_area: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    # One drawn relation an object in training; scene graphs given by users may hold up to this many.
    max_triples: int = 16
    image_size: int = 64
    # Scenes held for shuffling; records stay encoded in the buffer.
    shuffle_buffer: int = 2048


@dataclasses.dataclass
class OptimizerConfig(hyperparams.Config):
    """Adam."""

    learning_rate: float = 1e-4
    beta_1: float = 0.5
    beta_2: float = 0.999
    # Global norm at which gradients are clipped; 0 leaves them alone.
    clip_norm: float = 0.0
    # Momentum of the exponential moving average of the weights; 0 keeps none.
    ema_momentum: float = 0.0


@dataclasses.dataclass
class TrainingConfig(hyperparams.Config):
    """Length and reporting of one training stage. `batch_size` is global, over all replicas."""

    batch_size: int = 16
    steps: int = 1000
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    # Steps between two lines of the log and two points of the curves; non-finite losses are found then, too.
    summary_interval: int = 100
    # Panels of scene graph, boxes, patches and images; 0 writes none.
    panel_interval: int = 500
    checkpoint_interval: int = 500
    keep_checkpoints: int = 3


@dataclasses.dataclass
class GraphEncoderConfig(hyperparams.Config):
    """sg2im's graph network and box regressor (paper section 3.2), and their pretraining."""

    embedding_dim: int = 128
    hidden_dim: int = 512
    layers: int = 5
    training: TrainingConfig = dataclasses.field(default_factory=lambda: TrainingConfig(batch_size=32))


@dataclasses.dataclass
class PatchBankConfig(hyperparams.Config):
    """The bank of training patches."""

    patch_size: int = 64


@dataclasses.dataclass
class CandidatesConfig(hyperparams.Config):
    """Prefiltering of the bank by graph features (paper section 3.2)."""

    backend: str = "scann"
    # Candidates kept on disk for an object, and how many of them, drawn afresh each step, training looks at.
    k_max: int = 32
    k_train: int = 8
    # Queries searched at once: bounds the memory of both back ends.
    query_batch: int = 1024
    # Categories with fewer patches than this are searched exhaustively by the ScaNN back end too.
    brute_force_below: int = 2000


@dataclasses.dataclass
class PatchEncoderConfig(hyperparams.Config):
    """A convolutional patch embedding: E_p, or F_occur (paper section 3.3)."""

    width: int = 32
    feature_dim: int = 128


@dataclasses.dataclass
class CooccurrenceConfig(hyperparams.Config):
    """F_occur and its triplet pretraining (paper section 3.3)."""

    encoder: PatchEncoderConfig = dataclasses.field(default_factory=PatchEncoderConfig)
    margin: float = 0.5
    training: TrainingConfig = dataclasses.field(default_factory=lambda: TrainingConfig(batch_size=32))


@dataclasses.dataclass
class RetrievalConfig(hyperparams.Config):
    """The retrieval layer, Algorithm 1 (paper section 3.3)."""

    encoder: PatchEncoderConfig = dataclasses.field(default_factory=PatchEncoderConfig)
    distance: str = "squared_euclidean"
    query_update: str = "running_average"
    straight_through: bool = True
    # The temperature goes from the first value to the second, geometrically, over `temperature_steps` steps. Falling
    # to 0.3 retrieved worse (docs/results.md).
    temperature_start: float = 1.0
    temperature_end: float = 1.0
    temperature_steps: int = 1000
    # Scale of the Gumbel noise when a picture is generated; training always uses 1.
    inference_noise: float = 0.1
    inference_temperature: float = 0.1


@dataclasses.dataclass
class GeneratorConfig(hyperparams.Config):
    """Crop encoder, object refiner, object-image fuser and cascaded decoder (paper section 3.4)."""

    crop_width: int = 64
    # Spatial size of an encoded crop.
    crop_size: int = 16
    refiner_layers: int = 2
    canvas_size: int = 32
    canvas_width: int = 128
    residual_blocks: int = 3
    # Output widths of the decoder, one an upsampling by two from the canvas to the image.
    decoder_widths: list[int] = dataclasses.field(default_factory=lambda: [64])
    normalization: str = "instance"


@dataclasses.dataclass
class DiscriminatorsConfig(hyperparams.Config):
    """D_img and D_obj with its auxiliary classifier (paper section 3.4)."""

    image_width: int = 64
    image_layers: int = 3
    object_width: int = 64
    object_layers: int = 3
    object_crop_size: int = 32
    normalization: str = "instance"
    image_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    object_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)


@dataclasses.dataclass
class FeatureNetworkConfig(hyperparams.Config):
    """The perceptual network: VGG19 up to the given layers, or any network that was exported as a SavedModel."""

    # VGG19's: "imagenet" (downloaded by Keras), "random", or the path of a .npz or .h5 file.
    weights: str = "imagenet"
    layers: list[str] = dataclasses.field(
        default_factory=lambda: ["block1_conv2", "block2_conv2", "block3_conv2", "block4_conv2", "block5_conv2"]
    )
    # A SavedModel instead of VGG19: a folder, an archive, or an address that tensorflow_hub resolves. A SavedModel is a
    # program: name one that you trust. Then `weights` is not read, and `layers` are the names of its outputs.
    handle: str = ""
    # Of the SavedModel; "" is its own call rather than one of its signatures.
    signature: str = "serving_default"
    # Lowest and highest pixel value that it takes.
    input_range: list[float] = dataclasses.field(default_factory=lambda: [0.0, 1.0])
    # Side to which pictures are resized for it; 0 leaves them alone unless it has a fixed size.
    input_size: int = 0


@dataclasses.dataclass
class LossesConfig(hyperparams.Config):
    """Weights of the nine terms of eq. (7), and the kind of adversarial loss.

    The perceptual terms compare VGG19's own activations, which are about a hundred times as large as pixel values in
    [-1, 1]; their weights make up for it.
    """

    adversarial: str = "hinge"
    sel_gt: float = 1.0
    sel_occur: float = 0.3
    adv_img: float = 0.1
    recon_img: float = 1.0
    p_img: float = 0.01
    adv_obj: float = 0.1
    ac_obj: float = 0.1
    p_obj: float = 0.005
    bbx: float = 10.0
    feature_network: FeatureNetworkConfig = dataclasses.field(default_factory=FeatureNetworkConfig)


@dataclasses.dataclass
class InDomainConfig(hyperparams.Config):
    """The classifier that the evaluation trains on the data set's pictures itself.

    Besides it, `data` alone shapes it: workspaces that differ in anything else, as their seed, are measured alike.
    """

    seed: int = 0
    # Filters of the first convolution; each further one doubles them, and the last one gives the features.
    width: int = 16
    feature_dim: int = 64
    # It learns from the first so many scenes of the training split, which are held in memory.
    max_scenes: int = 8192
    batch_size: int = 32
    steps: int = 2000
    learning_rate: float = 3e-3


@dataclasses.dataclass
class EvaluationConfig(hyperparams.Config):
    """The network whose features give the Fréchet distance and the Inception Score."""

    # inception_tfgan, tensorflow-gan's; keras_inception, Keras' InceptionV3; saved_model, any exported network;
    # in_domain, a classifier trained on the workspace's own pictures.
    network: str = "inception_tfgan"
    # A SavedModel's folder, archive or address. A SavedModel is a program: name one that you trust.
    # inception_tfgan: "" fetches the network from TF Hub. saved_model needs one, and reads the four fields after it.
    handle: str = ""
    signature: str = "serving_default"
    # The one vector of features and the class logits, in this order.
    outputs: list[str] = dataclasses.field(default_factory=lambda: ["pool_3", "logits"])
    input_range: list[float] = dataclasses.field(default_factory=lambda: [-1.0, 1.0])
    # Side to which pictures are resized for it; 0 leaves them alone unless it has a fixed size.
    input_size: int = 0
    # keras_inception's: "imagenet" (downloaded by Keras) or the path of a Keras .h5 file with the classes' layer.
    weights: str = "imagenet"
    in_domain: InDomainConfig = dataclasses.field(default_factory=InDomainConfig)
    # Pictures that go through the network at once.
    batch_size: int = 64
    # Parts of the pictures over which the Inception Score's mean and deviation are taken.
    splits: int = 10


@dataclasses.dataclass
class RuntimeConfig(hyperparams.Config):
    """Where and how to run. None of it changes what is learned, up to rounding; but XLA draws other random numbers."""

    distribution_strategy: str = "mirrored"
    # GPUs to use: -1 takes all there are; with 0, or where there is none, the CPU works.
    num_gpus: int = -1
    worker_hosts: str = ""
    task_index: int = -1
    # bfloat16 arithmetic with float32 variables; needs no loss scaling.
    mixed_precision: bool = False
    # Training leaves padded objects and candidates out of the networks that look at single ones, so that shapes change
    # from step to step. XLA needs shapes that stay, and works on all of them whatever is said here.
    skip_padding: bool = True
    xla: bool = False
    # Deterministic kernels: a resumed run gives the same numbers, at some cost in speed on GPUs.
    deterministic: bool = True

    @property
    def skips_padding(self) -> bool:
        """Whether the training step leaves padding out."""
        return self.skip_padding and not self.xla


@dataclasses.dataclass
class ExperimentConfig(hyperparams.Config):
    """Everything one workspace is made from."""

    seed: int = 0
    # Repeats the main training with other random numbers, on what the stages before it made from `seed`.
    repetition: int = 0
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    graph_encoder: GraphEncoderConfig = dataclasses.field(default_factory=GraphEncoderConfig)
    patch_bank: PatchBankConfig = dataclasses.field(default_factory=PatchBankConfig)
    candidates: CandidatesConfig = dataclasses.field(default_factory=CandidatesConfig)
    cooccurrence: CooccurrenceConfig = dataclasses.field(default_factory=CooccurrenceConfig)
    retrieval: RetrievalConfig = dataclasses.field(default_factory=RetrievalConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminators: DiscriminatorsConfig = dataclasses.field(default_factory=DiscriminatorsConfig)
    losses: LossesConfig = dataclasses.field(default_factory=LossesConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = dataclasses.field(default_factory=RuntimeConfig)

    @property
    def training_seed(self) -> int:
        """The seed of the main training."""
        return self.seed + 1_000_003 * self.repetition


LOSS_TERMS = ("sel_gt", "sel_occur", "adv_img", "recon_img", "p_img", "adv_obj", "ac_obj", "p_obj", "bbx")
