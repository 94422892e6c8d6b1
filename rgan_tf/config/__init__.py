"""The typed configuration of one experiment, validated as a whole.

fields.py   every section and field, with its default
bounds.py   what a value may be, and the sentence where it is not
checks.py   the whole: names, bounds, fields that must go together
files.py    from YAML and overrides, and back to YAML
"""

from rgan_tf.config.bounds import ConfigError
from rgan_tf.config.checks import validate
from rgan_tf.config.fields import (
    LOSS_TERMS,
    CandidatesConfig,
    CooccurrenceConfig,
    DataConfig,
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

__all__ = [
    "ConfigError",
    "LOSS_TERMS",
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
    "OptimizerConfig",
    "PatchBankConfig",
    "PatchEncoderConfig",
    "RetrievalConfig",
    "RuntimeConfig",
    "TrainingConfig",
    "load_config",
    "save_config",
    "validate",
]
