"""The fields of one experiment's configuration, each with the bound of its values.

A configuration is a tree of `official.modeling.hyperparams` dataclasses: unknown keys are errors, and every field that
is no section is annotated with its type and its one bound, where several share it by a name of `kinds`. One tree
describes every stage, from the data set to adversarial training, so that a workspace can tell from it which of its
artifacts are current.
"""

import dataclasses
from typing import Annotated

from official.modeling import hyperparams

from rgan_tf.config import kinds
from rgan_tf.config.bounds import Integer, Number, OneOf, Text
from rgan_tf.config.data_fields import DataConfig
from rgan_tf.config.models import MODELS, settings_of

# A repetition trains from a seed so far from the one before it.
REPETITION_STRIDE = 1_000_003


@dataclasses.dataclass
class OptimizerConfig(hyperparams.Config):
    """Adam."""

    learning_rate: kinds.LearningRate = 1e-4
    beta_1: kinds.Decay = 0.5
    beta_2: kinds.Decay = 0.999
    # Global norm at which gradients are clipped; 0 leaves them alone.
    clip_norm: Annotated[float, Number(0.0, 1e9)] = 0.0
    # Momentum of the exponential moving average of the weights; 0 keeps none.
    ema_momentum: kinds.Decay = 0.0


@dataclasses.dataclass
class TrainingConfig(hyperparams.Config):
    """Length and reporting of one training stage. `batch_size` is global, over all replicas."""

    batch_size: kinds.BatchSize = 16
    steps: kinds.Steps = 1000
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    # Steps between two lines of the log and two points of the curves; non-finite losses are found then, too.
    summary_interval: kinds.Steps = 100
    # Panels of scene graph, boxes, patches and images; 0 writes none.
    panel_interval: kinds.StepsOrNone = 500
    checkpoint_interval: kinds.Steps = 500
    keep_checkpoints: Annotated[int, Integer(1, 10**6)] = 3


@dataclasses.dataclass
class GraphEncoderConfig(hyperparams.Config):
    """sg2im's graph network and box regressor (paper section 3.2), and their pretraining."""

    embedding_dim: kinds.Width = 128
    hidden_dim: kinds.Width = 512
    layers: kinds.Depth = 5
    training: TrainingConfig = dataclasses.field(default_factory=lambda: TrainingConfig(batch_size=32))


@dataclasses.dataclass
class PatchBankConfig(hyperparams.Config):
    """The bank of training patches."""

    patch_size: Annotated[int, Integer(8, 1024)] = 64
    # Patches have a fourth channel, which says what is the object's; the rest of the box is left out. Not in the paper.
    mattes: kinds.Switch = False
    # Objects of whose box less than this share is theirs are nobody's candidates.
    min_coverage: Annotated[float, Number(0.0, 1.0)] = 0.0

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """(h, w, C) of a patch."""
        return self.patch_size, self.patch_size, 4 if self.mattes else 3


@dataclasses.dataclass
class CandidatesConfig(hyperparams.Config):
    """Prefiltering of the bank by graph features (paper section 3.2)."""

    # "faiss" needs rgan-tf[search]; docs/prefilter.md compares the two.
    backend: Annotated[str, OneOf(("scann", "faiss", "exact"))] = "scann"
    # Candidates kept on disk for an object, and how many of them, drawn afresh each step, training looks at.
    k_max: Annotated[int, Integer(1, 4096)] = 32
    k_train: Annotated[int, Integer(1, 4096)] = 8
    # Queries searched at once: bounds the memory of every back end.
    query_batch: Annotated[int, Integer(1, 10**7)] = 1024
    # Categories with fewer patches than this, or than a library needs, are searched exhaustively by every back end.
    brute_force_below: Annotated[int, Integer(0, kinds.INT32)] = 2000
    # Share of the k_max nearest patches that a library must find in every category it searches; else the stage fails.
    min_recall: Annotated[float, Number(0.0, 1.0)] = 0.99


@dataclasses.dataclass
class PatchEncoderConfig(hyperparams.Config):
    """A convolutional patch embedding: E_p, or F_occur (paper section 3.3)."""

    width: Annotated[int, Integer(1, 2048)] = 32
    feature_dim: kinds.Width = 128


@dataclasses.dataclass
class CooccurrenceConfig(hyperparams.Config):
    """F_occur and its triplet pretraining (paper section 3.3)."""

    encoder: PatchEncoderConfig = dataclasses.field(default_factory=PatchEncoderConfig)
    margin: Annotated[float, Number(0.0, 10.0)] = 0.5
    training: TrainingConfig = dataclasses.field(default_factory=lambda: TrainingConfig(batch_size=32))


@dataclasses.dataclass
class RetrievalConfig(hyperparams.Config):
    """The retrieval layer, Algorithm 1 (paper section 3.3)."""

    encoder: PatchEncoderConfig = dataclasses.field(default_factory=PatchEncoderConfig)
    distance: Annotated[str, OneOf(("squared_euclidean", "euclidean"))] = "squared_euclidean"
    query_update: Annotated[str, OneOf(("running_average", "mean_of_selected"))] = "running_average"
    straight_through: kinds.Switch = True
    # Straight-through with the gradient of a round's exact marginals in place of its noisy relaxation's (SIMPLE).
    marginal_gradient: kinds.Switch = False
    # Training steps after which E_p embeds the whole bank anew, and each object's patches nearest to its scene's query
    # are found; 0 for never. Of the candidates that a step looks at, that share is drawn from these. Not in the paper.
    refresh_interval: kinds.StepsOrNone = 0
    refreshed_share: Annotated[float, Number(0.0, 1.0)] = 0.5
    # The temperature goes from the first value to the second, geometrically, over `temperature_steps` steps. Falling
    # to 0.3 retrieved worse (docs/results.md).
    temperature_start: kinds.Temperature = 1.0
    temperature_end: kinds.Temperature = 1.0
    temperature_steps: kinds.StepsOrNone = 1000
    # Scale of the Gumbel noise when a picture is generated; training always uses 1.
    inference_noise: Annotated[float, Number(0.0, 1e3)] = 0.1
    inference_temperature: kinds.Temperature = 0.1

    @property
    def estimator(self) -> str:
        """The name by which `rgan_tf.ops.relaxed_subset` knows how choices are differentiated."""
        if not self.straight_through:
            return "relaxed"
        return "simple" if self.marginal_gradient else "straight_through"


@dataclasses.dataclass
class GeneratorConfig(hyperparams.Config):
    """Crop encoder, object refiner, object-image fuser and cascaded decoder (paper section 3.4)."""

    crop_width: Annotated[int, Integer(2, kinds.WIDEST)] = 64
    # Spatial size of an encoded crop.
    crop_size: Annotated[int, Integer(1, 1024)] = 16
    refiner_layers: kinds.Depth = 2
    canvas_size: Annotated[int, Integer(1, 4096)] = 32
    canvas_width: kinds.Width = 128
    residual_blocks: kinds.Depth = 3
    # Output widths of the decoder, one an upsampling by two from the canvas to the image.
    decoder_widths: kinds.Widths = dataclasses.field(default_factory=lambda: [64])
    normalization: kinds.Normalization = "instance"


@dataclasses.dataclass
class DiscriminatorsConfig(hyperparams.Config):
    """D_img and D_obj with its auxiliary classifier (paper section 3.4)."""

    image_width: kinds.Width = 64
    image_layers: Annotated[int, Integer(1, 12)] = 3
    object_width: kinds.Width = 64
    object_layers: Annotated[int, Integer(1, 12)] = 3
    object_crop_size: Annotated[int, Integer(2, 1024)] = 32
    normalization: kinds.Normalization = "instance"
    # Every kernel but that of the classes is divided by its largest singular value; in place of a normalization.
    spectral: kinds.Switch = False
    # D_img judges the maps of losses.feature_network instead of pixels; image_layers is not read then.
    projected: kinds.Switch = False
    # Random changes of what both look at, real and made alike: of colour, translation, cutout.
    augmentation: kinds.Augmentation = dataclasses.field(default_factory=list)
    # Weights of the gradient penalties on real and on made pictures.
    r1: kinds.LossWeight = 0.0
    r2: kinds.LossWeight = 0.0
    image_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    object_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)


@dataclasses.dataclass
class FeatureNetworkConfig(hyperparams.Config):
    """The perceptual network: VGG19 up to the given layers, or any network that was exported as a SavedModel."""

    # VGG19's: "imagenet" (downloaded by Keras), "random", or the path of a .npz or .h5 file.
    weights: Annotated[str, Text("imagenet, random, or the path of a .npz or .h5 file", empty=False)] = "imagenet"
    layers: kinds.FeatureLayers = dataclasses.field(
        default_factory=lambda: ["block1_conv2", "block2_conv2", "block3_conv2", "block4_conv2", "block5_conv2"]
    )
    # A SavedModel instead of VGG19: a folder, an archive, or an address that tensorflow_hub resolves. A SavedModel is a
    # program: name one that you trust. Then `weights` is not read, and `layers` are the names of its outputs.
    handle: kinds.Path = ""
    # Of the SavedModel; "" is its own call rather than one of its signatures.
    signature: kinds.Signature = "serving_default"
    # Lowest and highest pixel value that it takes.
    input_range: kinds.PixelRange = dataclasses.field(default_factory=lambda: [0.0, 1.0])
    # Side to which pictures are resized for it; 0 leaves them alone unless it has a fixed size.
    input_size: kinds.InputSize = 0


@dataclasses.dataclass
class LossesConfig(hyperparams.Config):
    """Weights of the nine terms of eq. (7), and the kind of adversarial loss.

    The perceptual terms compare VGG19's own activations, which are about a hundred times as large as pixel values in
    [-1, 1]; their weights make up for it.
    """

    adversarial: kinds.Adversarial = "hinge"
    sel_gt: kinds.LossWeight = 1.0
    sel_occur: kinds.LossWeight = 0.3
    adv_img: kinds.LossWeight = 0.1
    recon_img: kinds.LossWeight = 1.0
    p_img: kinds.LossWeight = 0.01
    adv_obj: kinds.LossWeight = 0.1
    ac_obj: kinds.LossWeight = 0.1
    p_obj: kinds.LossWeight = 0.005
    bbx: kinds.LossWeight = 10.0
    feature_network: FeatureNetworkConfig = dataclasses.field(default_factory=FeatureNetworkConfig)


@dataclasses.dataclass
class InDomainConfig(hyperparams.Config):
    """The classifier that the evaluation trains on the data set's pictures itself.

    Besides it, `data` alone shapes it: workspaces that differ in anything else, as their seed, are measured alike.
    """

    seed: kinds.Seed = 0
    # Filters of the first convolution; each further one doubles them, and the last one gives the features.
    width: Annotated[int, Integer(1, 1024)] = 16
    feature_dim: kinds.Width = 64
    # It learns from the first so many scenes of the training split, which are held in memory.
    max_scenes: kinds.Count = 8192
    batch_size: kinds.BatchSize = 32
    steps: kinds.Steps = 2000
    learning_rate: kinds.LearningRate = 3e-3


@dataclasses.dataclass
class EvaluationConfig(hyperparams.Config):
    """The network whose features give the Fréchet distance and the Inception Score."""

    # inception_tfgan, tensorflow-gan's; keras_inception, Keras' InceptionV3; vgg19_block3, VGG19's features after its
    # third block; saved_model, any exported network; in_domain, a classifier trained on the workspace's own pictures.
    network: kinds.EvaluationNetwork = "inception_tfgan"
    # A SavedModel's folder, archive or address. A SavedModel is a program: name one that you trust.
    # inception_tfgan: "" fetches the network from TF Hub. saved_model needs one, and reads the four fields after it.
    handle: kinds.Path = ""
    signature: kinds.Signature = "serving_default"
    # The one vector of features and the class logits, in this order.
    outputs: kinds.FeaturesAndLogits = dataclasses.field(default_factory=lambda: ["pool_3", "logits"])
    input_range: kinds.PixelRange = dataclasses.field(default_factory=lambda: [-1.0, 1.0])
    # Side to which pictures are resized for it; 0 leaves them alone unless it has a fixed size.
    input_size: kinds.InputSize = 0
    # "imagenet" (downloaded by Keras), or the path of keras_inception's .h5 file with the classes' layer, of
    # vgg19_block3's .npz or .h5 file.
    weights: Annotated[str, Text("imagenet, or the path of a .h5 or .npz file", empty=False)] = "imagenet"
    in_domain: InDomainConfig = dataclasses.field(default_factory=InDomainConfig)
    # Pictures that go through the network at once.
    batch_size: kinds.BatchSize = 64
    # Parts of the pictures over which the Inception Score's mean and deviation are taken.
    splits: Annotated[int, Integer(1, 10**6)] = 10


@dataclasses.dataclass
class RuntimeConfig(hyperparams.Config):
    """Where and how to run. None of it changes what is learned, up to rounding; but XLA draws other random numbers."""

    distribution_strategy: kinds.Strategy = "mirrored"
    # GPUs to use: -1 takes all there are; with 0, or where there is none, the CPU works.
    num_gpus: Annotated[int, Integer(-1, 4096)] = -1
    worker_hosts: kinds.Hosts = ""
    task_index: Annotated[int, Integer(-1, 10**5)] = -1
    # bfloat16 arithmetic with float32 variables; needs no loss scaling.
    mixed_precision: kinds.Switch = False
    # Training leaves padded objects and candidates out of the networks that look at single ones, so that shapes change
    # from step to step. XLA needs shapes that stay, and works on all of them whatever is said here.
    skip_padding: kinds.Switch = True
    xla: kinds.Switch = False
    # Deterministic kernels: a resumed run gives the same numbers, at some cost in speed on GPUs.
    deterministic: kinds.Switch = True

    @property
    def skips_padding(self) -> bool:
        """Whether the training step leaves padding out."""
        return self.skip_padding and not self.xla


@dataclasses.dataclass
class ExperimentConfig(hyperparams.Config):
    """Everything one workspace is made from."""

    # The model of the main training, and its own section: a room's `Settings` (models.py).
    model: Annotated[str, OneOf(tuple(MODELS))] = "retrievegan"
    baseline: hyperparams.Config = dataclasses.field(default_factory=lambda: settings_of("retrievegan"))
    seed: kinds.Seed = 0
    # Repeats the main training with other random numbers, on what the stages before it made from `seed`.
    repetition: Annotated[int, Integer(0, kinds.INT32 // REPETITION_STRIDE)] = 0
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
        return self.seed + REPETITION_STRIDE * self.repetition


LOSS_TERMS = ("sel_gt", "sel_occur", "adv_img", "recon_img", "p_img", "adv_obj", "ac_obj", "p_obj", "bbx")
