"""The typed configuration of one experiment, validated as a whole.

models.py     the models that can be trained, a row each
fields.py     every section and field, with its default and its bound
kinds.py      bounds that several fields share
bounds.py     what a value may be, and the sentence where it is not
sizes.py      rules on sizes that the models hold to as well
checks.py     the whole: every bound, and the fields that must go together
files.py      from YAML and overrides, and back to YAML
blueprint.py  every model's parameters and maps, by arithmetic
estimate.py   memory and disk that an experiment takes
"""

from rgan_tf.config.bounds import ConfigError
from rgan_tf.config.checks import validate
from rgan_tf.config.data_fields import DataConfig, VisualGenomeConfig
from rgan_tf.config.estimate import COUNTED_MODELS, MemoryEstimate, estimate_memory
from rgan_tf.config.fields import (
    LOSS_TERMS,
    CandidatesConfig,
    CooccurrenceConfig,
    DiscriminatorsConfig,
    EvaluationConfig,
    ExperimentConfig,
    FeatureNetworkConfig,
    GeneratorConfig,
    GraphEncoderConfig,
    InDomainConfig,
    LossesConfig,
    OptimizerConfig,
    PatchBankConfig,
    PatchEncoderConfig,
    RetrievalConfig,
    RuntimeConfig,
    TrainingConfig,
)
from rgan_tf.config.files import load_config, save_config
from rgan_tf.config.models import MODELS

__all__ = [
    "COUNTED_MODELS",
    "ConfigError",
    "LOSS_TERMS",
    "MODELS",
    "CandidatesConfig",
    "CooccurrenceConfig",
    "DataConfig",
    "DiscriminatorsConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "FeatureNetworkConfig",
    "GeneratorConfig",
    "GraphEncoderConfig",
    "InDomainConfig",
    "LossesConfig",
    "MemoryEstimate",
    "OptimizerConfig",
    "PatchBankConfig",
    "PatchEncoderConfig",
    "RetrievalConfig",
    "RuntimeConfig",
    "TrainingConfig",
    "VisualGenomeConfig",
    "estimate_memory",
    "load_config",
    "save_config",
    "validate",
]
