"""One training step of the full model: two replicas, XLA, bfloat16, and what it reports."""

import gc

import numpy as np
import pytest
import tensorflow as tf
from conftest import mirrored, tiny_config
from first_steps import batches_of, make_trainer, step_under, steps_elsewhere, train_steps
from shrunk_configs import distinct, distinct_recipes, shrunk

from rgan_tf.config import LOSS_TERMS


def test_two_replicas_give_the_one_replica_update(tiny_workspace):
    config = tiny_config()
    dataset = batches_of(tiny_workspace, config)
    batch = next(iter(dataset))
    trainers = []
    for strategy in (tf.distribute.OneDeviceStrategy("CPU:0"), mirrored()):
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


@pytest.fixture(scope="module", params=distinct().items(), ids=lambda item: item[0])
def shipped(request):
    """A shipped configuration made tiny: a workspace with its kind of patches, its file; of its first step in float32
    the terms, what a GPU lacks, and a weak reference to the graph."""
    _, path = request.param
    has_mattes = shrunk(path).patch_bank.mattes
    workspace = request.getfixturevalue("matte_workspace" if has_mattes else "tiny_workspace")
    return workspace, path, *step_under(workspace, path)


def test_every_configuration_runs_plainly_and_on_gpus(shipped):
    *_, terms, lacks, graph = shipped
    assert all(np.isfinite(value) for value in terms.values())
    assert lacks == set()
    gc.collect()
    assert graph() is None, "it goes with its trainer"


@pytest.mark.slow
@pytest.mark.parametrize("path", distinct_recipes(), ids=lambda path: path.stem)
def test_every_recipe_runs_plainly_and_on_gpus(tiny_workspace, path):
    terms, lacks, _ = step_under(tiny_workspace, path)
    assert all(np.isfinite(value) for value in terms.values())
    assert lacks == set()


MIXED, COMPILED = "runtime.mixed_precision=true", "runtime.xla=true"


@pytest.mark.parametrize(
    "tolerances",
    [{MIXED: 3e-2, COMPILED: 1e-3}, pytest.param({f"{COMPILED},{MIXED}": 3e-2}, marks=pytest.mark.slow)],
    ids=["either", "both"],
)
def test_every_configuration_runs_compiled_and_in_mixed_precision(shipped, tolerances):
    workspace, path, plain, *_ = shipped
    for overrides, (terms, lacks) in steps_elsewhere(workspace, path, *tolerances).items():
        assert all(np.isfinite(value) for value in terms.values())
        assert lacks == []
        # Terms without a random draw; XLA draws other numbers.
        for name in ("recon_img", "p_img", "p_obj", "bbx", "d_ac_obj"):
            expected = pytest.approx(plain[f"loss/{name}"], rel=tolerances[overrides])
            assert terms[f"loss/{name}"] == expected, (overrides, name)


def gradients_of(workspace, config):
    """A first step's terms and gradients, by group and variable."""
    batch = next(iter(batches_of(workspace, config)))
    trainer = make_trainer(workspace, config, tf.distribute.get_strategy(), batch)
    terms, gradients = tf.function(trainer.gradients, autograph=False)(batch, tf.constant(0, tf.int64))
    named = {
        f"{group}/{variable.name}/{i}": tf.convert_to_tensor(gradient).numpy()
        for group, found in gradients.items()
        for i, (variable, gradient) in enumerate(zip(trainer.optimized[group].variables, found))
    }
    return {name: float(term) for name, term in terms.items()}, named


def test_leaving_padding_out_changes_no_term_and_no_gradient(tiny_workspace):
    batch = next(iter(batches_of(tiny_workspace, tiny_config())))
    assert not batch["object_mask"].numpy().all(), "a batch without padding would show nothing"
    padded_terms, padded = gradients_of(tiny_workspace, tiny_config("runtime.skip_padding=false"))
    terms, skipped = gradients_of(tiny_workspace, tiny_config())
    assert terms == pytest.approx(padded_terms, rel=1e-4, abs=1e-6)
    assert skipped.keys() == padded.keys() and len(padded) > 50
    for group in ("generator", "image_discriminator", "object_discriminator"):
        # Some gradients vanish but for rounding (E_p's last bias moves all features alike).
        largest = max(np.abs(value).max() for name, value in padded.items() if name.startswith(group))
        for name in (name for name in padded if name.startswith(group)):
            scale = np.abs(padded[name]).max() + 1e-2 * largest
            np.testing.assert_allclose(skipped[name], padded[name], atol=1e-4 * scale, err_msg=name)


def test_terms_have_every_loss_raw_and_weighted(shipped):
    _, path, terms, *_ = shipped
    config = shrunk(path)
    assert {f"loss/{name}" for name in LOSS_TERMS} <= set(terms)
    for name in LOSS_TERMS:
        assert terms[f"weighted/{name}"] == pytest.approx(
            getattr(config.losses, name) * terms[f"loss/{name}"], rel=1e-5
        )
    total = sum(terms[f"weighted/{name}"] for name in LOSS_TERMS)
    assert terms["loss/total"] == pytest.approx(total, rel=1e-5)
    assert 0.0 <= terms["selection/entropy"] <= np.log(config.candidates.k_train) + 1e-5
    assert 0.0 <= terms["selection/hard_agreement"] <= 1.0 + 1e-5
