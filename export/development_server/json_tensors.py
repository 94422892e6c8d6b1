"""Predictions as JSON, in tensorflow/serving's row format ("instances") and column format ("inputs").

Bytes travel as {"b64": …}: text outputs whose name ends in _bytes, and inputs where the caller likes. NaN and Infinity
are written as such, as the real server does.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from export.development_server.status import StatusError, shown
from export.development_server.tensor_checks import TensorLimits, TensorSpec, check_names

_BYTES_SUFFIX = "_bytes"


class PredictBody(NamedTuple):
    """A request's body: the signature's name, "" for the default; whether it has rows; what it has of "instances" or
    "inputs".
    """

    signature: str
    by_row: bool
    content: Any


def parse_body(body: bytes) -> PredictBody:
    """Reads the frame of a request.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise StatusError.invalid(f"The body is not JSON: {shown(str(error))}.") from error
    if not isinstance(content, dict):
        raise StatusError.invalid(f"The body is {_kind(content)}; it must be an object.")
    signature = content.get("signature_name", "")
    if not isinstance(signature, str):
        raise StatusError.invalid(f'"signature_name" is {_kind(signature)}; it must be a string.')
    formats = [key for key in ("instances", "inputs") if key in content]
    if len(formats) != 1:
        raise StatusError.invalid('The body must have either "instances" or "inputs".')
    by_row = formats == ["instances"]
    if by_row and not (isinstance(content["instances"], list) and content["instances"]):
        raise StatusError.invalid('"instances" must be a list of at least one.')
    return PredictBody(signature, by_row, content[formats[0]])


def read_inputs(body: PredictBody, specs: Mapping[str, TensorSpec], limits: TensorLimits) -> dict[str, np.ndarray]:
    """The arrays of a request, of the signature's types and shapes.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    if not body.by_row:
        columns = body.content if _is_object(body.content) else _only(specs, body.content, '"inputs"')
    elif _is_object(body.content[0]):
        for row, instance in enumerate(body.content):
            if not _is_object(instance):
                raise StatusError.invalid(f'"instances" has {_kind(instance)} at {row}, but an object at 0.')
            check_names(specs, instance)
        columns = {name: [instance[name] for instance in body.content] for name in specs}
    else:
        columns = _only(specs, body.content, '"instances"')
    check_names(specs, columns)
    return {name: _array(spec, columns[name], limits) for name, spec in specs.items()}


def write_outputs(outputs: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """The body of an answer; an only output goes without its name.

    Raises:
      StatusError: INVALID_ARGUMENT; rows are wanted, and the outputs are not of one batch.
    """
    columns = {name: _plain(name, value) for name, value in outputs.items()}
    if not by_row:
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    if len({value.shape[:1] for value in outputs.values()}) != 1 or any(not value.shape for value in outputs.values()):
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
        raise StatusError.invalid(f'The outputs are not of one batch ({shapes}); ask with "inputs" for columns.')
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}


def _is_object(value) -> bool:
    """Whether it is an object of named values rather than one that stands for bytes."""
    return isinstance(value, dict) and not (set(value) == {"b64"} and isinstance(value["b64"], str))


def _only(specs: Mapping[str, TensorSpec], value, where: str) -> dict[str, Any]:
    if len(specs) != 1:
        raise StatusError.invalid(f"{where} must hold named values; the signature takes {', '.join(sorted(specs))}.")
    return {next(iter(specs)): value}


def _array(spec: TensorSpec, value, limits: TensorLimits) -> np.ndarray:
    """Nested lists as an array; the shape is read from the first of each level, and then holds for all."""
    sizes, first = [], value
    while isinstance(first, list):
        sizes.append(len(first))
        first = first[0] if first else None
    spec.check_shape(tuple(sizes), limits)
    leaves: list = []
    _flatten(spec, value, sizes, 0, leaves)
    return np.array(list(map(_reader(spec), leaves)), spec.dtype.as_numpy_dtype).reshape(sizes)


def _flatten(spec: TensorSpec, value, sizes: list[int], level: int, leaves: list) -> None:
    if level == len(sizes):
        leaves.append(value)
        return
    if not isinstance(value, list) or len(value) != sizes[level]:
        found = f"a list of {len(value)}" if isinstance(value, list) else _kind(value)
        raise StatusError.invalid(f'The input "{spec.name}" has {found} beside lists of {sizes[level]}.')
    for part in value:
        _flatten(spec, part, sizes, level + 1, leaves)


def _reader(spec: TensorSpec) -> Callable[[Any], Any]:
    """What takes a JSON value to the signature's type."""

    def refuse(value):
        raise StatusError.invalid(
            f'The input "{spec.name}" holds {shown(json.dumps(value))}, {_kind(value)}; it must be {spec.dtype.name}.'
        )

    def boolean(value):
        return value if isinstance(value, bool) else refuse(value)

    def integer(value):
        fits = isinstance(value, int) and not isinstance(value, bool) and spec.dtype.min <= value <= spec.dtype.max
        return value if fits else refuse(value)

    def floating(value):
        try:
            return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else refuse(value)
        except OverflowError:
            return refuse(value)

    def text(value):
        try:
            if isinstance(value, dict) and not _is_object(value):
                return base64.b64decode(value["b64"], validate=True)
            return value.encode() if isinstance(value, str) else refuse(value)
        except (binascii.Error, ValueError):
            return refuse(value)

    if spec.dtype.is_bool:
        return boolean
    if spec.dtype.is_integer:
        return integer
    if spec.dtype.is_floating:
        return floating
    return text if spec.dtype == tf.string else refuse


def _plain(name: str, value: np.ndarray):
    """An array as nested lists of what JSON knows."""
    if value.dtype == object:
        if name.endswith(_BYTES_SUFFIX):
            return _map(lambda item: {"b64": base64.b64encode(item).decode()}, value.tolist())
        return _map(lambda item: item.decode("utf-8", "replace"), value.tolist())
    if value.dtype.kind == "f" and value.dtype.itemsize < 8:
        # By way of its own digits: 0.2 as a float32 is 0.2 and not 0.20000000298.
        value = value.astype(str).astype(np.float64)
    return value.tolist()


def _map(function: Callable, value):
    return [_map(function, item) for item in value] if isinstance(value, list) else function(value)


def _kind(value) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
