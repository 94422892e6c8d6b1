"""Tensors of requests, checked against a signature before anything is allocated for them."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.development_server.status import StatusError, shown

# As many dimensions as NumPy's arrays have.
_MAX_RANK = 32
# What an empty text takes up in a tensor.
_TEXT_BYTES = 24
_VALUE_FIELDS = [name for name in tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name if name.endswith("_val")]


class TensorLimits(NamedTuple):
    """Largest batch, and most bytes that an input may take up."""

    max_batch: int
    max_bytes: int


class TensorSpec(NamedTuple):
    """An input of a signature: its name, type and shape; a size is None where it is free, a shape where its rank is."""

    name: str
    dtype: tf.DType
    shape: Optional[tuple[Optional[int], ...]]

    @classmethod
    def of(cls, name: str, info: meta_graph_pb2.TensorInfo) -> "TensorSpec":
        """Reads the SavedModel's description."""
        sizes = None
        if not info.tensor_shape.unknown_rank:
            sizes = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        return cls(name, tf.as_dtype(info.dtype), sizes)

    @property
    def batched(self) -> bool:
        """Whether the first size is free, and so the batch."""
        return bool(self.shape) and self.shape[0] is None

    def check_shape(self, sizes: tuple[int, ...], limits: TensorLimits) -> None:
        """Refuses a shape that is not of the signature, or too large.

        Raises:
          StatusError: INVALID_ARGUMENT.
        """
        if not self._fits(sizes):
            given = shown(", ".join(map(str, sizes)))
            raise StatusError.invalid(f'The input "{self.name}" has the shape [{given}]; it must be {self._wanted()}.')
        if self.batched and sizes[0] > limits.max_batch:
            raise StatusError.invalid(
                f'The input "{self.name}" has a batch of {sizes[0]}; this server takes at most {limits.max_batch}.'
            )
        element_bytes = _TEXT_BYTES if self.dtype == tf.string else self.dtype.size
        if math.prod(sizes) * element_bytes > limits.max_bytes:
            given = shown(", ".join(map(str, sizes)))
            raise StatusError.invalid(
                f'The input "{self.name}" has the shape [{given}], over the {limits.max_bytes} bytes that it may have.'
            )

    def _fits(self, sizes: tuple[int, ...]) -> bool:
        if any(size < 0 for size in sizes):
            return False
        if self.shape is None:
            return len(sizes) <= _MAX_RANK
        return len(sizes) == len(self.shape) and all(want in (None, got) for got, want in zip(sizes, self.shape))

    def _wanted(self) -> str:
        if self.shape is None:
            return f"of at most {_MAX_RANK} dimensions"
        names = [str(size) if size is not None else "any" if i else "batch" for i, size in enumerate(self.shape)]
        return f"[{', '.join(names)}]"


def check_names(specs: Mapping[str, TensorSpec], given) -> None:
    """Refuses requests whose inputs are not exactly those of the signature.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    takes = ", ".join(sorted(specs))
    for name in sorted(set(specs) - set(given)):
        raise StatusError.invalid(f'The input "{name}" is missing; this signature takes {takes}.')
    for name in sorted(set(given) - set(specs)):
        raise StatusError.invalid(f'The signature has no input "{shown(name)}"; it takes {takes}.')


def check_batches(specs: Mapping[str, TensorSpec], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses inputs that differ in their batch.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    batches = {name: len(arrays[name]) for name, spec in specs.items() if spec.batched}
    first = next(iter(batches), None)
    for name, batch in batches.items():
        if batch != batches[first]:
            raise StatusError.invalid(
                f'The input "{name}" has a batch of {batch} and "{first}" one of {batches[first]}; they must be equal.'
            )


def decode(spec: TensorSpec, proto: tensor_pb2.TensorProto, limits: TensorLimits) -> np.ndarray:
    """The array of a `TensorProto`; as in TensorFlow, fewer values than elements repeat the last, or are zero.

    Raises:
      StatusError: INVALID_ARGUMENT; the type, the shape or the content is not what the signature takes.
    """
    if proto.dtype != spec.dtype.as_datatype_enum:
        raise StatusError.invalid(
            f'The input "{spec.name}" is of type {_type_name(proto.dtype)}; it must be {spec.dtype.name}.'
        )
    if proto.tensor_shape.unknown_rank:
        raise StatusError.invalid(f'The input "{spec.name}" has no shape; give the size of every dimension.')
    sizes = tuple(dim.size for dim in proto.tensor_shape.dim)
    spec.check_shape(sizes, limits)
    _check_content(spec, proto, math.prod(sizes))
    try:
        array = tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError) as error:
        raise StatusError.invalid(
            f'The values of the input "{spec.name}" cannot be read: {shown(str(error))}'
        ) from error
    # For no values at all make_ndarray gives texts instead of bytes.
    return np.full(sizes, b"", object) if spec.dtype == tf.string and not proto.string_val else array


def _check_content(spec: TensorSpec, proto: tensor_pb2.TensorProto, elements: int) -> None:
    """Refuses more or other content than the shape has room for."""
    if proto.tensor_content:
        wanted = None if spec.dtype == tf.string else elements * spec.dtype.size
        if len(proto.tensor_content) != wanted:
            wanted = "string_val" if wanted is None else f"{wanted} bytes"
            raise StatusError.invalid(
                f'The input "{spec.name}" has {len(proto.tensor_content)} bytes of tensor_content; '
                f"its type and shape need {wanted}."
            )
        return
    values = sum(len(getattr(proto, field)) for field in _VALUE_FIELDS)
    if values > elements * (2 if spec.dtype.is_complex else 1):
        raise StatusError.invalid(
            f'The input "{spec.name}" has {values} values, more than the {elements} of its shape.'
        )


def _type_name(number: int) -> str:
    try:
        return tf.as_dtype(number).name
    except TypeError:
        return f"number {number}"
