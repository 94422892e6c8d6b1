"""Short trainings that must learn: patches that fit each other, and pictures that resemble the ground truth."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from pipelines.input_pipeline import evaluation_batches, to_device
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.ops.box_sampling import crop
from rgan_tf.training import artifacts, loop, stages
from rgan_tf.workspace import Workspace


def run_all(directory, overrides):
    config = tiny_config(overrides)
    workspace = Workspace(directory)
    stages.StageRunner(workspace, config, tf.distribute.get_strategy()).run()
    return workspace, config


def model_of(workspace, config, batch, trained=True):
    names = artifacts.vocabulary(workspace)
    tf.keras.utils.set_random_seed(config.seed)
    model = RetrieveGAN(config, names.num_objects, names.num_predicates)
    model.generate({**batch, "box_given": batch["object_mask"]})
    if trained:
        directory = workspace.directory("retrievegan")
        loop.restore_model(directory, "generator", model, config.training.optimizer)
    return model


def style_agreement(styles, choice, mask):
    """Share of pairs of a scene's objects whose chosen patches have one style; [B, N, k], [B, N], [B, N]."""
    chosen = np.take_along_axis(styles, np.maximum(choice, 0)[..., None], axis=-1)[..., 0]
    pairs = mask[:, :, None] & mask[:, None] & ~np.eye(mask.shape[1], dtype=bool)
    return (chosen[:, :, None] == chosen[:, None])[pairs].mean()


def test_learned_retrieval_beats_random_in_style_agreement(tmp_path):
    workspace, config = run_all(
        tmp_path,
        "data.train_scenes=240,data.validation_scenes=48,candidates.k_max=12,candidates.k_train=6,"
        "retrieval.encoder.width=8,cooccurrence.encoder.width=8,cooccurrence.training.steps=40,"
        "training.steps=120,training.batch_size=8,training.summary_interval=60,training.checkpoint_interval=60,"
        "training.panel_interval=0,retrieval.temperature_steps=120,retrieval.inference_noise=0.1",
    )
    styles = np.array([record["style"] for _, record in _records(workspace, config, "train")])
    reader = artifacts.bank_reader(workspace, config, "validation")
    batches = evaluation_batches(
        artifacts.scene_source(workspace, config, "validation"), 16, reader, drop_remainder=True
    )
    random, agreement = np.random.default_rng(0), {"learned": [], "random": []}
    model = None
    for batch in batches:
        batch = to_device(batch)
        model = model or model_of(workspace, config, batch)
        rows, valid = batch["candidates"].numpy(), batch["candidate_mask"].numpy()
        of_candidates = styles[reader.bank.scene_index[np.maximum(rows, 0)]]
        mask = valid.any(axis=-1)
        learned = model.generate({**batch, "box_given": batch["object_mask"]}).choice.numpy()
        drawn = np.where(valid, random.random(valid.shape), -1.0).argmax(axis=-1)
        agreement["learned"].append(style_agreement(of_candidates, learned, mask))
        agreement["random"].append(style_agreement(of_candidates, drawn, mask))
    learned, at_random = (np.mean(agreement[name]) for name in ("learned", "random"))
    print(f"style agreement: learned {learned:.3f}, random {at_random:.3f}")
    assert at_random < 0.35, "six styles: random pairs seldom agree"
    assert learned > at_random + 0.15


def _records(workspace, config, split):
    return artifacts.scene_source(workspace, config, split).records().as_numpy_iterator()


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory):
    """A workspace of eight scenes, trained on them again and again."""
    return run_all(
        tmp_path_factory.mktemp("overfit"),
        "data.train_scenes=8,training.steps=250,training.batch_size=8,training.summary_interval=50,"
        "training.checkpoint_interval=250,training.panel_interval=0,generator.crop_width=16,generator.canvas_width=16",
    )


def test_a_handful_of_scenes_is_reconstructed(overfitted):
    workspace, config = overfitted
    reader = artifacts.bank_reader(workspace, config, "train")
    batch = to_device(next(iter(evaluation_batches(artifacts.scene_source(workspace, config, "train"), 8, reader))))
    patches = batch["ground_truth_patches"]
    error = {}
    for trained in (False, True):
        made = model_of(workspace, config, batch, trained).synthesize(patches, batch["boxes"], batch)
        error[trained] = float(tf.reduce_mean(tf.abs(made - batch["image"])))
    print(f"reconstruction L1: untrained {error[False]:.3f}, trained {error[True]:.3f}")
    assert error[True] < 0.09
    assert error[False] > 3 * 0.09


def test_reconstruction_follows_the_patches(overfitted):
    """The picture is made of the patches it is given, not of the scenes learned by heart."""
    workspace, config = overfitted
    source = artifacts.scene_source(workspace, config, "train")
    batch = to_device(next(iter(evaluation_batches(source, 8, artifacts.bank_reader(workspace, config, "train")))))
    model = model_of(workspace, config, batch)
    dark = model.synthesize(batch["ground_truth_patches"] - 0.5, batch["boxes"], batch)
    plain = model.synthesize(batch["ground_truth_patches"], batch["boxes"], batch)
    seen = crop(plain, batch["boxes"], (8, 8)) - crop(dark, batch["boxes"], (8, 8))
    assert float(tf.reduce_mean(tf.boolean_mask(seen, batch["object_mask"]))) > 0.2
