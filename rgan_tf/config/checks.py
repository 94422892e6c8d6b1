"""Checks of a whole configuration: every field against its bound, then the fields that must go together."""

import dataclasses
import functools
import typing
from collections.abc import Iterator
from typing import Any

from official.modeling import hyperparams

from rgan_tf.config import bounds, kinds, sizes
from rgan_tf.config.bounds import ConfigError
from rgan_tf.config.data_fields import DataConfig
from rgan_tf.config.fields import (
    LOSS_TERMS,
    ExperimentConfig,
    InDomainConfig,
    RuntimeConfig,
    TrainingConfig,
)

# What the builders of photographs read.
_SOURCES = {
    "coco_stuff": "the folder that holds images/ and annotations/",
    "visual_genome": "the folder that holds image_data.json, objects.json and the other published files",
}
# The in-domain classifier draws the order of all its examples at once.
_MOST_EXAMPLES = 10**9


def validate(config: ExperimentConfig) -> None:
    """Checks every field, and those that go together.

    Raises:
      ConfigError: naming the field, its value and what it may be.
    """
    for field, value, bound in walk(config):
        bounds.check(field, value, bound)
    _check_seeds(config)
    _check_data(config.data)
    _check_patch_bank(config)
    if config.retrieval.marginal_gradient and not config.retrieval.straight_through:
        raise ConfigError(
            "retrieval.marginal_gradient is true; it is a gradient of one-hot choices, so set "
            "retrieval.straight_through to true as well."
        )
    _check_generator(config)
    _check_discriminators(config)
    _check_losses(config)
    _at_least("candidates.k_max", config.candidates.k_max, "candidates.k_train", config.candidates.k_train)
    for stage in ("graph_encoder.", "cooccurrence.", ""):
        training = getattr(config, stage[:-1]).training if stage else config.training
        _check_training(f"{stage}training", training)
    if config.evaluation.network == "saved_model" and not config.evaluation.handle:
        raise ConfigError(
            "evaluation.handle is empty; evaluation.network saved_model needs the folder, archive or address of one."
        )
    _check_in_domain(config.evaluation.in_domain)
    _check_workers(config.runtime)


def bound_of(section: hyperparams.Config, name: str) -> bounds.Bound:
    """The bound that a section declares for one of its fields."""
    (bound,) = _annotations(type(section))[name].__metadata__
    return bound


@functools.cache
def _annotations(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def walk(section: hyperparams.Config, prefix: str = "") -> Iterator[tuple[str, Any, bounds.Bound]]:
    """Every field of a section and of those within it: its dotted name, its value and its bound."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if isinstance(value, hyperparams.Config):
            yield from walk(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value, bound_of(section, field.name)


def _at_least(field: str, value: int, other: str, low: int) -> None:
    """Raises `ConfigError` unless a value reaches that of another field."""
    if value < low:
        raise ConfigError(f"{field} is {value}; it must be at least {other}, {low}.")


def _check_seeds(config: ExperimentConfig) -> None:
    if config.training_seed > kinds.INT32:
        raise ConfigError(
            f"seed is {config.seed} and repetition {config.repetition}; together they give the training the seed "
            f"{config.training_seed}, which must be at most {kinds.INT32}, so lower either."
        )


def _check_data(data: DataConfig) -> None:
    _at_least("data.max_objects", data.max_objects, "data.min_objects", data.min_objects)
    if data.group_separator and data.builder != "coco_stuff":
        raise ConfigError(
            f"data.group_separator is {data.group_separator!r}; it parts names of pictures that coco_stuff reads, so "
            f"leave it empty for {data.builder}."
        )
    if data.hidden_factors and data.builder != "synthetic_scenes":
        raise ConfigError(
            f"data.hidden_factors is true; synthetic_scenes alone draws them, so set it to false for {data.builder}."
        )
    if data.builder == "visual_genome":
        _check_visual_genome(data)
    else:
        _at_least("data.max_triples", data.max_triples, "data.max_objects", data.max_objects)
    if data.builder in _SOURCES:
        if not data.source_dir:
            raise ConfigError(f"data.source_dir is empty; {data.builder} needs {_SOURCES[data.builder]}.")
        return
    fewest, most = sizes.SYNTHETIC_OBJECTS
    if data.max_objects < fewest or data.min_objects > most:
        raise ConfigError(
            f"data.min_objects is {data.min_objects} and data.max_objects {data.max_objects}; synthetic_scenes draws "
            f"{fewest} to {most} objects, so let the two admit one of these numbers."
        )


def _check_patch_bank(config: ExperimentConfig) -> None:
    bank, data = config.patch_bank, config.data
    if bank.mattes and not data.mattes:
        raise ConfigError("patch_bank.mattes is true, and records keep no mattes; set data.mattes to true as well.")
    if bank.min_coverage > 0 and not bank.mattes:
        raise ConfigError(
            f"patch_bank.min_coverage is {bank.min_coverage}; it asks for mattes, so set patch_bank.mattes to true."
        )
    if data.mattes and data.builder == "visual_genome":
        raise ConfigError("data.mattes is true, and visual_genome says of no object what it covers; set it to false.")


def _check_visual_genome(data: DataConfig) -> None:
    """Scenes and triples that are kept must fit."""
    own = data.visual_genome
    _at_least("data.visual_genome.max_objects", own.max_objects, "data.min_objects", data.min_objects)
    _at_least(
        "data.visual_genome.max_relationships",
        own.max_relationships,
        "data.visual_genome.min_relationships",
        own.min_relationships,
    )
    _at_least("data.max_triples", data.max_triples, "data.visual_genome.max_relationships", own.max_relationships)


def _check_generator(config: ExperimentConfig) -> None:
    generator = config.generator
    sizes.crop_halvings(config.patch_bank.patch_size, generator.crop_size)
    sizes.check_canvas(generator.canvas_size, len(generator.decoder_widths), config.data.image_size)
    _check_map(generator.canvas_size, generator.normalization, f"generator.canvas_size {generator.canvas_size}")


def _check_discriminators(config: ExperimentConfig) -> None:
    settings = config.discriminators
    for kind, size in (("image", config.data.image_size), ("object", settings.object_crop_size)):
        field, layers = f"discriminators.{kind}_layers", getattr(settings, f"{kind}_layers")
        sizes.check_depth(size, layers, field)
        if layers > 1:  # The first is not normalized.
            _check_map(size >> layers, settings.normalization, f"{field} {layers}")


def _check_map(side: int, normalization: str, what: str) -> None:
    """Raises `ConfigError` where a map of one pixel would be normalized by itself."""
    if side == 1 and normalization == "instance":
        raise ConfigError(
            f"{what} leaves maps of one pixel, which normalization instance makes 0 whatever they show; keep at least "
            "2 x 2 pixels, or normalize otherwise."
        )


def _check_losses(config: ExperimentConfig) -> None:
    network = config.losses.feature_network
    if not network.handle:
        needed = sizes.vgg19_least_size(network.layers)
        for field, size in (
            ("data.image_size", config.data.image_size),
            ("discriminators.object_crop_size", config.discriminators.object_crop_size),
        ):
            if size < needed:
                raise ConfigError(
                    f"{field} is {size}; the deepest of losses.feature_network.layers, {max(network.layers)}, needs "
                    f"at least {needed} pixels, so take a larger size or shallower layers."
                )
    if not any(getattr(config.losses, name) for name in LOSS_TERMS):
        raise ConfigError(
            f"losses: {', '.join(LOSS_TERMS)} are all 0; nothing would be learned, so weigh at least one."
        )


def _check_training(path: str, training: TrainingConfig) -> None:
    for field in ("checkpoint_interval", "panel_interval"):
        if getattr(training, field) % training.summary_interval:
            raise ConfigError(
                f"{path}.{field} is {getattr(training, field)}; it must be a multiple of "
                f"{path}.summary_interval, {training.summary_interval}."
            )


def _check_in_domain(settings: InDomainConfig) -> None:
    if settings.steps * settings.batch_size > _MOST_EXAMPLES:
        raise ConfigError(
            f"evaluation.in_domain.steps is {settings.steps} and evaluation.in_domain.batch_size "
            f"{settings.batch_size}; their product must be at most {_MOST_EXAMPLES}."
        )


def _check_workers(runtime: RuntimeConfig) -> None:
    hosts = runtime.worker_hosts.split(",") if runtime.worker_hosts else []
    if len(set(hosts)) < len(hosts):
        raise ConfigError(f"runtime.worker_hosts is {runtime.worker_hosts!r}; it must name every worker once.")
    for host in hosts:
        if not 1 <= int(host.rpartition(":")[2]) <= 65535:
            raise ConfigError(f"runtime.worker_hosts names {host!r}; its port must be from 1 to 65535.")
    if len(hosts) > 1 and not 0 <= runtime.task_index < len(hosts):
        raise ConfigError(
            f"runtime.task_index is {runtime.task_index}; it must be this process's place among the {len(hosts)} of "
            f"runtime.worker_hosts, from 0 to {len(hosts) - 1}."
        )
    if len(hosts) <= 1 and runtime.task_index > 0:
        raise ConfigError(
            f"runtime.task_index is {runtime.task_index}, and runtime.worker_hosts names no other workers; name all of "
            "them, or leave it -1."
        )
