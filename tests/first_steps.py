"""The first training step of a configuration on the tiny workspace; as a command, in a process of its own.

XLA's compiler does not give back the gigabytes that it takes. python tests/first_steps.py WORKSPACE CONFIG OVERRIDES …
prints, for each of the overrides, the terms and what a GPU would lack, as a line of JSON.
"""

import json
import os
import pathlib
import subprocess
import sys
import weakref

import tensorflow as tf
from conftest import MATTES, REPOSITORY, tiny_config
from gpu_operations import complaints
from shrunk_configs import shrunk

from pipelines.input_pipeline import training_batches
from rgan_tf.training import artifacts
from rgan_tf.training.retrievegan.trainer import Models, RetrieveGANTrainer, build_models
from rgan_tf.workspace import Workspace


def make_trainer(workspace, config, strategy, batch):
    """A trainer of the full model with weights that depend on the seed alone."""
    names = artifacts.vocabulary(workspace)
    with strategy.scope():
        tf.keras.utils.set_random_seed(config.seed)
        models = Models.create(config, names.num_objects, names.num_predicates)
        build_models(models, batch)
        return RetrieveGANTrainer(models, config)


def batches_of(workspace, config):
    source, reader = (f(workspace, config, "train") for f in (artifacts.scene_source, artifacts.bank_reader))
    return training_batches(source, config.training.batch_size, 0, reader)


def train_steps(trainer, dataset, steps):
    trainer.train_dataset = trainer.strategy.experimental_distribute_dataset(dataset)
    return trainer.train(tf.constant(steps))


def first_step(workspace, config):
    """The terms of a first step on a tiny workspace's batches, and the step as one function."""
    dataset = batches_of(workspace, tiny_config(MATTES if config.patch_bank.mattes else ""))
    batch = next(iter(dataset))
    trainer = make_trainer(workspace, config, tf.distribute.get_strategy(), batch)
    train_steps(trainer, dataset, 1)
    terms = {name: float(total) for name, total in trainer._sums.items()}
    return terms, trainer._compiled_step.get_concrete_function(batch)


def step_under(workspace, path, overrides=""):
    """Of a shipped configuration made tiny, the first step's terms, what a GPU would lack for it, and a weak reference
    to its graph."""
    config = shrunk(path, overrides)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if config.runtime.mixed_precision else "float32")
    try:
        terms, step = first_step(workspace, config)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    return terms, complaints(step), weakref.ref(step.graph)


def steps_elsewhere(workspace, path, *overrides):
    """`step_under` each of the overrides, in another process."""
    command = [sys.executable, __file__, str(workspace.root), str(path), *overrides]
    # What is compiled runs once: its optimization takes longer than it saves, and changes no more than rounding.
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {given: json.loads(line) for given, line in zip(overrides, done.stdout.splitlines()[-len(overrides) :])}


if __name__ == "__main__":
    for given in sys.argv[3:]:
        found, lacks, _ = step_under(Workspace(sys.argv[1]), pathlib.Path(sys.argv[2]), given)
        print(json.dumps([found, sorted(lacks)]), flush=True)
