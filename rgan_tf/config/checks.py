"""Checks of a whole configuration: names that are known, numbers within bounds, fields that go together."""

from rgan_tf.config.bounds import ConfigError, at_least, interval, one_of
from rgan_tf.config.fields import LOSS_TERMS, EvaluationConfig, ExperimentConfig, TrainingConfig

BUILDERS = ("synthetic_scenes", "coco_stuff")
ADVERSARIAL_KINDS = ("modified", "minimax", "hinge", "least_squares")
FEATURE_NETWORKS = ("inception_tfgan", "keras_inception", "saved_model", "in_domain")
DISTRIBUTION_STRATEGIES = ("off", "one_device", "mirrored", "multi_worker_mirrored")


def validate(config: ExperimentConfig) -> None:
    """Checks every field that has a bound or a partner.

    Raises:
      ConfigError: naming the field, its value and what it may be.
    """
    config.validate()
    _check_names(config)
    _check_sizes(config)
    at_least(0, **{f"losses.{name}": getattr(config.losses, name) for name in LOSS_TERMS})


def _check_names(config: ExperimentConfig) -> None:
    """Raises `ConfigError` where a name is not one of those known, or a needed one is missing."""
    one_of("data.builder", config.data.builder, BUILDERS)
    one_of("candidates.backend", config.candidates.backend, ("scann", "exact"))
    one_of("retrieval.distance", config.retrieval.distance, ("squared_euclidean", "euclidean"))
    one_of("retrieval.query_update", config.retrieval.query_update, ("running_average", "mean_of_selected"))
    one_of("losses.adversarial", config.losses.adversarial, ADVERSARIAL_KINDS)
    one_of("runtime.distribution_strategy", config.runtime.distribution_strategy, DISTRIBUTION_STRATEGIES)
    one_of("evaluation.network", config.evaluation.network, FEATURE_NETWORKS)
    if not config.losses.feature_network.layers:
        raise ConfigError("losses.feature_network.layers is empty; name at least one layer, or output of a handle.")
    for room in ("generator", "discriminators"):
        one_of(f"{room}.normalization", getattr(config, room).normalization, ("instance", "group", "none"))
    if config.data.builder == "coco_stuff" and not config.data.source_dir:
        raise ConfigError("data.source_dir is empty; coco_stuff needs the folder that holds images/ and annotations/.")
    if config.evaluation.network == "saved_model" and not config.evaluation.handle:
        raise ConfigError(
            "evaluation.handle is empty; evaluation.network saved_model needs the folder, archive or address of one."
        )


def _check_sizes(config: ExperimentConfig) -> None:
    """Raises `ConfigError` where a number is out of bounds or does not go with another one."""
    data, candidates, generator = config.data, config.candidates, config.generator
    feature_network = config.losses.feature_network
    at_least(0, seed=config.seed, repetition=config.repetition)
    at_least(0, losses__feature_network__input_size=feature_network.input_size)
    interval("losses.feature_network.input_range", feature_network.input_range)
    at_least(1, data__min_objects=data.min_objects, data__image_size=data.image_size)
    for split in ("train_scenes", "validation_scenes", "test_scenes"):
        at_least(1, **{f"data__{split}": getattr(data, split)})
    at_least(1, patch_bank__patch_size=config.patch_bank.patch_size, candidates__k_train=candidates.k_train)
    at_least(data.min_objects, data__max_objects=data.max_objects)
    at_least(data.max_objects, data__max_triples=data.max_triples)
    at_least(candidates.k_train, candidates__k_max=candidates.k_max)
    if config.retrieval.temperature_end <= 0 or config.retrieval.inference_temperature <= 0:
        raise ConfigError("retrieval temperatures must be above 0.")
    upsampled = generator.canvas_size * 2 ** len(generator.decoder_widths)
    if upsampled != data.image_size:
        raise ConfigError(
            f"generator.canvas_size {generator.canvas_size} doubled by {len(generator.decoder_widths)} "
            f"decoder_widths gives {upsampled}, not data.image_size {data.image_size}; change one of the three."
        )
    for stage in ("graph_encoder", "cooccurrence", ""):
        training = getattr(config, stage).training if stage else config.training
        _check_training(f"{stage}.training".lstrip("."), training)
    _check_evaluation(config.evaluation)


def _check_training(path: str, training: TrainingConfig) -> None:
    for field in ("batch_size", "steps", "summary_interval", "checkpoint_interval", "keep_checkpoints"):
        at_least(1, **{f"{path}.{field}": getattr(training, field)})
    for field in ("checkpoint_interval", "panel_interval"):
        if getattr(training, field) % training.summary_interval:
            raise ConfigError(
                f"{path}.{field} is {getattr(training, field)}; it must be a multiple of "
                f"{path}.summary_interval, {training.summary_interval}."
            )
    if not 0 <= training.optimizer.ema_momentum < 1:
        raise ConfigError(f"{path}.optimizer.ema_momentum is {training.optimizer.ema_momentum}; it must be in [0, 1).")


def _check_evaluation(evaluation: EvaluationConfig) -> None:
    at_least(1, evaluation__batch_size=evaluation.batch_size, evaluation__splits=evaluation.splits)
    at_least(0, evaluation__input_size=evaluation.input_size, evaluation__in_domain__seed=evaluation.in_domain.seed)
    interval("evaluation.input_range", evaluation.input_range)
    if len(evaluation.outputs) != 2:
        raise ConfigError(
            f"evaluation.outputs is {list(evaluation.outputs)}; it must name two outputs, that of the features and "
            "that of the class logits."
        )
    for field in ("width", "feature_dim", "max_scenes", "batch_size", "steps"):
        at_least(1, **{f"evaluation.in_domain.{field}": getattr(evaluation.in_domain, field)})
    if not evaluation.in_domain.learning_rate > 0:
        raise ConfigError(
            f"evaluation.in_domain.learning_rate is {evaluation.in_domain.learning_rate}; it must be above 0."
        )
