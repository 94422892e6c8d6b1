"""Configurations from YAML and the command line, and back to YAML."""

import dataclasses
import difflib
import pathlib
import re

import yaml
from official.modeling import hyperparams

from rgan_tf.config import bounds, checks
from rgan_tf.config.bounds import ConfigError
from rgan_tf.config.fields import ExperimentConfig
from rgan_tf.config.models import settings_of


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
    layers = [(layer, str(path)) for layer in _read_layers(pathlib.Path(path))]
    if overrides:
        try:
            layer = yaml.load(hyperparams.nested_csv_str_to_json_str(overrides), Loader=_YamlLoader)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise ConfigError(
                f"--params_override {bounds.shown(overrides)} is not of the form key=value,key.subkey=value."
            ) from error
        layers.append((layer, "--params_override"))
    config = ExperimentConfig()
    # Which section `baseline` is depends on the model.
    for layer, where in layers:
        if "model" in layer:
            bounds.check(f"{where}: model", layer["model"], checks.bound_of(config, "model"))
            config.model, config.baseline = layer["model"], settings_of(layer["model"])
    for layer, where in layers:
        _apply(config, layer, where)
    checks.validate(config)
    return config


def save_config(config: ExperimentConfig, path) -> None:
    """Writes the resolved configuration as YAML that `load_config` reads back."""
    pathlib.Path(path).write_text(yaml.safe_dump(config.as_dict(), sort_keys=False), encoding="utf-8")


def _read_layers(path: pathlib.Path, above: tuple[pathlib.Path, ...] = ()) -> list[dict]:
    """The content of a file behind those that it starts from; `above` are the files that start from it."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader) or {}
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    # ValueError: bytes that are no text, numbers too long to be one.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"The configuration {path} is not valid YAML: {_on_one_line(error)}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The configuration {path} must hold keys and values, not a {type(content).__name__}.")
    base = content.pop("base", None)
    if base is None:
        return [content]
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{path}: base is {bounds.shown(base)}; it must be the path of a configuration.")
    start, above = path.parent / base, (*above, path.resolve())
    if start.resolve() in above:
        raise ConfigError(f"{path}: base is {base!r}, which starts from this file itself; name another one.")
    return [*_read_layers(start, above), content]


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _apply(config: hyperparams.Config, layer: dict, where: str, prefix: str = "") -> None:
    """Overrides fields in place; a value must have the type of the field's default (an integer passes for a float)."""
    known = [field.name for field in dataclasses.fields(config)]
    for key, value in layer.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known are {', '.join(known)}."
            raise ConfigError(f"{where}: there is no field {prefix}{key}{hint}")
        current = getattr(config, key)
        if isinstance(current, hyperparams.Config):
            if not isinstance(value, dict):
                raise ConfigError(
                    f"{where}: {prefix}{key} is {bounds.shown(value)}; it must be a section of keys and values."
                )
            _apply(current, value, where, f"{prefix}{key}.")
            continue
        if isinstance(current, str) and value is False:
            value = "off"  # YAML 1.1 reads a bare off as false.
        # Before it is set: what is no value at all would make the section fall over.
        bounds.check(f"{where}: {prefix}{key}", value, checks.bound_of(config, key))
        setattr(config, key, float(value) if isinstance(current, float) else value)
