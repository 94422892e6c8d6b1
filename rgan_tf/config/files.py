"""Configurations from YAML and the command line, and back to YAML."""

import difflib
import pathlib
import re

import yaml
from official.modeling import hyperparams

from rgan_tf.config import checks
from rgan_tf.config.bounds import ConfigError
from rgan_tf.config.fields import ExperimentConfig


class _YamlLoader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number; YAML 1.1 asks for a point, which nobody expects."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_config(path, overrides: str = "") -> ExperimentConfig:
    """Reads a YAML configuration, applies overrides, and validates the whole.

    A file may name another one to start from, relative to itself, under the key `base`.

    Args:
      path: the YAML file.
      overrides: comma-separated `key=value` pairs with dotted keys, e.g. `training.steps=10,seed=1`.

    Raises:
      ConfigError: the file cannot be read, or a key or value cannot be used.
    """
    config = ExperimentConfig()
    for layer in _read_layers(pathlib.Path(path)):
        _apply(config, layer, where=str(path))
    if overrides:
        try:
            layer = yaml.load(hyperparams.nested_csv_str_to_json_str(overrides), Loader=_YamlLoader)
        except (ValueError, yaml.YAMLError) as error:
            raise ConfigError(
                f"--params_override {overrides!r} is not of the form key=value,key.subkey=value."
            ) from error
        _apply(config, layer, where="--params_override")
    checks.validate(config)
    return config


def save_config(config: ExperimentConfig, path) -> None:
    """Writes the resolved configuration as YAML that `load_config` reads back."""
    pathlib.Path(path).write_text(yaml.safe_dump(config.as_dict(), sort_keys=False), encoding="utf-8")


def _read_layers(path: pathlib.Path) -> list[dict]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader) or {}
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The configuration {path} must hold keys and values, not a {type(content).__name__}.")
    base = content.pop("base", None)
    return (_read_layers(path.parent / base) if base else []) + [content]


def _apply(config: hyperparams.Config, layer: dict, where: str, prefix: str = "") -> None:
    """Overrides fields in place; a value must have the type of the field's default (an integer passes for a float)."""
    known = config.as_dict()
    for key, value in layer.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known are {', '.join(known)}."
            raise ConfigError(f"{where}: there is no field {prefix}{key}{hint}")
        current = getattr(config, key)
        if isinstance(current, hyperparams.Config):
            if not isinstance(value, dict):
                raise ConfigError(f"{where}: {prefix}{key} is {value!r}; it must be a section of keys and values.")
            _apply(current, value, where, f"{prefix}{key}.")
            continue
        if isinstance(current, float) and type(value) is int:
            value = float(value)
        if isinstance(current, str) and value is False:
            value = "off"  # YAML 1.1 reads a bare off as false.
        if type(value) is not type(current):
            raise ConfigError(f"{where}: {prefix}{key} is {value!r}; it must be of type {type(current).__name__}.")
        setattr(config, key, value)
