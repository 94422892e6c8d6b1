"""One training step of the full model: two replicas, XLA, bfloat16, and what it reports."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from pipelines.input_pipeline import training_batches
from rgan_tf.training import artifacts
from rgan_tf.training.retrievegan import Models, RetrieveGANTrainer, build_models


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


def test_two_replicas_give_the_one_replica_update(tiny_workspace):
    config = tiny_config()
    dataset = batches_of(tiny_workspace, config)
    batch = next(iter(dataset))
    trainers = []
    for strategy in (tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
        trainer = make_trainer(tiny_workspace, config, strategy, batch)
        train_steps(trainer, dataset, 1)
        trainers.append(trainer)
    assert trainers[1].strategy.num_replicas_in_sync == 2
    for name, one in trainers[0].optimized.items():
        two = trainers[1].optimized[name]
        largest = max(np.abs(moment.numpy()).max() for moment in one.optimizer._momentums)
        for moment, other, a, b in zip(
            one.optimizer._momentums, two.optimizer._momentums, one.variables, two.variables
        ):
            gradient = moment.numpy() / (1.0 - one.config.beta_1)
            # Some gradients vanish but for rounding (E_p's last bias moves all features alike).
            scale = np.abs(gradient).max() + 1e-3 * largest
            np.testing.assert_allclose(
                other.numpy() / (1.0 - one.config.beta_1), gradient, atol=2e-4 * scale + 1e-7, err_msg=a.name
            )
            # Adam's first step has the size of the rate whatever the gradient's: only clear gradients can be compared.
            clear = np.abs(gradient) > 1e-2 * scale
            rate = one.config.learning_rate
            np.testing.assert_allclose(b.numpy()[clear], a.numpy()[clear], atol=0.02 * rate, err_msg=a.name)


def first_terms(workspace, config):
    """The terms of a first step."""
    dataset = batches_of(workspace, config)
    trainer = make_trainer(workspace, config, tf.distribute.get_strategy(), next(iter(dataset)))
    train_steps(trainer, dataset, 1)
    return {name: float(total) for name, total in trainer._sums.items()}


@pytest.fixture(scope="module")
def terms(tiny_workspace):
    """The first step's terms in plain float32."""
    return first_terms(tiny_workspace, tiny_config())


@pytest.mark.parametrize("override, tolerance", [("runtime.xla=true", 1e-3), ("runtime.mixed_precision=true", 3e-2)])
def test_compiled_and_mixed_precision_steps_give_the_plain_losses(tiny_workspace, terms, override, tolerance):
    config = tiny_config(override)
    if config.runtime.mixed_precision:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        other = first_terms(tiny_workspace, config)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(np.isfinite(value) for value in other.values())
    # Terms without a random draw; XLA draws other numbers.
    for name in ("recon_img", "p_img", "p_obj", "bbx", "d_ac_obj"):
        assert other[f"loss/{name}"] == pytest.approx(terms[f"loss/{name}"], rel=tolerance), name


def test_terms_have_every_loss_raw_and_weighted(terms):
    from rgan_tf.config import LOSS_TERMS

    config = tiny_config()
    assert {f"loss/{name}" for name in LOSS_TERMS} <= set(terms)
    for name in LOSS_TERMS:
        assert terms[f"weighted/{name}"] == pytest.approx(
            getattr(config.losses, name) * terms[f"loss/{name}"], rel=1e-5
        )
    total = sum(terms[f"weighted/{name}"] for name in LOSS_TERMS)
    assert terms["loss/total"] == pytest.approx(total, rel=1e-5)
    assert 0.0 <= terms["selection/entropy"] <= np.log(config.candidates.k_train) + 1e-5
    assert 0.0 <= terms["selection/hard_agreement"] <= 1.0 + 1e-5
