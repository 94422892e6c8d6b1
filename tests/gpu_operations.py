"""What TensorFlow 2.15 says of its own operations on GPUs: which have no kernel there, and which no deterministic one.

Its packages hold the GPU kernels also where there is no GPU, so their registrations can be asked anywhere.
"""

import functools
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.framework import kernels

# Those for which the library libtensorflow_cc of 2.15.1 holds a sentence as "A deterministic GPU implementation of … is
# not currently available" or "Determinism is not yet supported …". They raise at run time.
NOT_DETERMINISTIC = {
    "AdjustContrast",
    "AdjustContrastv2",
    "Bincount",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DebugNumericSummaryV2",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "FakeQuantWithMinMaxVarsGradient",
    "FakeQuantWithMinMaxVarsPerChannelGradient",
    "FusedBatchNormGrad",
    "FusedBatchNormGradV2",
    "FusedBatchNormGradV3",
    "MaxPoolGradWithArgmax",
    "ResizeNearestNeighborGrad",
    "SoftmaxCrossEntropyWithLogits",
    "SparseSoftmaxCrossEntropyWithLogits",
    "SparseTensorDenseMatMul",
    "Svd",
    "Timestamp",
}
# Those that run on the CPU where operations must be deterministic (release notes of TensorFlow 2.8).
ON_CPU_IF_DETERMINISTIC = ("ScatterNd", "TensorScatter", "ResourceScatter", "StatefulScatter")


def nodes_of(function) -> Iterator:
    """All operations of a concrete function and of those that it calls, as `NodeDef`s."""
    graph = function.graph.as_graph_def()
    yield from graph.node
    for called in graph.library.function:
        yield from called.node_def


def has_gpu_kernel(node) -> bool:
    """Whether TensorFlow has a kernel for the operation with these types on GPUs, or one for every device."""
    return any(
        kernel.device_type in ("GPU", "DEFAULT") and all(_fits(node, constraint) for constraint in kernel.constraint)
        for kernel in _kernels(node.op)
    )


@functools.cache
def _kernels(operation: str) -> list:
    return list(kernels.get_registered_kernels_for_op(operation).kernel)


def _fits(node, constraint) -> bool:
    value = node.attr[constraint.name]
    types = list(value.list.type) or [value.type]
    return set(types) <= set(constraint.allowed_values.list.type)


def complaints(function) -> set[str]:
    """What would be slow, refused or not deterministic on a GPU in a concrete function; empty where all is well."""
    found = set()
    for node in nodes_of(function):
        if node.op in NOT_DETERMINISTIC:
            found.add(f"{node.op} has no deterministic GPU kernel")
        if node.op.startswith(ON_CPU_IF_DETERMINISTIC):
            found.add(f"{node.op} runs on the CPU where it must be deterministic")
        if node.op not in ("Placeholder", "NoOp") and not has_gpu_kernel(node):
            types = {name: tf.as_dtype(value.type).name for name, value in node.attr.items() if value.type}
            found.add(f"{node.op} {types} has no GPU kernel")
    return found
