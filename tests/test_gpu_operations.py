"""Nothing in a training step would fall back to the CPU on a GPU, or be refused there for want of determinism.

The main training's step is held against the same list in test_step.py, for every configuration.
"""

import importlib.metadata

import pytest
import tensorflow as tf
from conftest import REPOSITORY, tiny_config
from gpu_operations import complaints
from packaging.requirements import Requirement

from pipelines.bank_reader import BankReader
from pipelines.input_pipeline import training_batches
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.training import artifacts
from rgan_tf.training.cooccurrence import CooccurrenceTrainer
from rgan_tf.training.graph_encoder import GraphEncoderTrainer


def step_function(trainer, batch):
    return trainer._compiled_step.get_concrete_function(batch)


def test_graph_encoder_step(tiny_workspace):
    config = tiny_config()
    source = artifacts.scene_source(tiny_workspace, config, "train")
    batch = next(iter(training_batches(source, 4, 0)))
    trainer = GraphEncoderTrainer(artifacts.graph_encoder(config, artifacts.vocabulary(tiny_workspace)), config)
    assert complaints(step_function(trainer, batch)) == set()


def test_cooccurrence_step(tiny_workspace):
    config = tiny_config()
    bank = artifacts.open_bank(tiny_workspace)
    source = artifacts.scene_source(tiny_workspace, config, "train")
    reader = BankReader(bank, ground_truth=bank.scene_rows(config.data.max_objects))
    encoder = PatchEncoder(config.cooccurrence.encoder, normalize=True, name="cooccurrence")
    encoder(tf.zeros([1, bank.patch_size, bank.patch_size, 3]))
    batch = next(iter(training_batches(source, 4, 0, reader)))
    assert complaints(step_function(CooccurrenceTrainer(encoder, config), batch)) == set()


def enlarge_nearest(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.image.resize(x, [8, 8], "nearest")
    return tape.gradient(y, x)


@pytest.mark.parametrize(
    "function, words",
    [
        (enlarge_nearest, "ResizeNearestNeighborGrad has no deterministic"),
        (lambda x: tf.scatter_nd([[0]], [x[0, 0, 0, 0]], [3]), "ScatterNd runs on the CPU"),
        (lambda x: tf.numpy_function(lambda a: a, [x], tf.float32), "PyFunc"),
        (lambda x: tf.strings.as_string(x), "AsString"),
        (
            lambda x: tf.map_fn(
                lambda a: tf.raw_ops.Dilation2DBackpropInput(
                    input=a[None],
                    filter=a[:2, :2],
                    out_backprop=a[None],
                    strides=[1] * 4,
                    rates=[1] * 4,
                    padding="SAME",
                )[0],
                x,
            ),
            "Dilation2DBackpropInput",
        ),
    ],
)
def test_what_a_gpu_lacks_is_seen(function, words):
    found = complaints(tf.function(function).get_concrete_function(tf.TensorSpec([2, 4, 4, 3])))
    assert any(words in complaint for complaint in found), found


def test_the_gpu_extra_is_what_this_tensorflow_was_built_with():
    asked = [Requirement(text) for text in importlib.metadata.requires("tensorflow")]
    cuda = [r for r in asked if r.marker and "and-cuda" in str(r.marker)]
    assert cuda and any("cudnn" in r.name for r in cuda)
    pinned = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert {f"{r.name}{r.specifier}" for r in cuda} <= set(pinned)
    ours = [Requirement(text) for text in importlib.metadata.requires("rgan_tf")]
    (extra,) = [r for r in ours if r.marker and "gpu" in str(r.marker)]
    assert extra.name == "tensorflow" and extra.extras == {"and-cuda"}
    assert extra.specifier.contains(importlib.metadata.version("tensorflow"))
