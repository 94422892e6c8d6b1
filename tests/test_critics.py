"""What the critics say in a training step: slopes against finite differences, changed pictures, both sides' terms."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import baseline_config, tiny_config

from rgan_tf.config import ConfigError, DiscriminatorsConfig
from rgan_tf.fingerprints import fingerprint
from rgan_tf.models.discriminators import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.training.critics import Critics, Made

AUGMENTED = {"augmentation": ["colour", "translation", "cutout"]}


def make_critics(kind="modified", skip_padding=False, **changes):
    sizes = {"image_width": 4, "image_layers": 2, "object_width": 4, "object_layers": 2, "object_crop_size": 8}
    settings = DiscriminatorsConfig(**{**sizes, **changes})
    tf.keras.utils.set_random_seed(0)
    critics = Critics(ImageDiscriminator(settings), ObjectDiscriminator(settings, 5), settings, kind, skip_padding)
    batch = make_batch()
    critics.image(batch["image"]), critics.objects(batch["image"], batch["boxes"])
    return critics


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.4, (3, 4, 2))
    return {
        "image": tf.constant(rng.uniform(-1, 1, (3, 16, 16, 3)), tf.float32),
        "boxes": tf.constant(np.concatenate([low, low + rng.uniform(0.3, 0.6, (3, 4, 2))], axis=-1), tf.float32),
        "objects": tf.constant(rng.integers(1, 5, (3, 4)), tf.int32),
        "object_mask": tf.constant(np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)),
        "scene_seed": tf.constant(rng.integers(0, 1000, (3, 2)), tf.int32),
    }


def squared_slopes(function, inputs, count):
    """Of each of `count` leading entries, the square norm of a score's gradient, by central differences."""
    step, flat = 3e-3, np.asarray(inputs, np.float64).reshape(count, -1)
    total = np.zeros(count)
    for place in range(flat.shape[1]):
        up, down = flat.copy(), flat.copy()
        up[:, place] += step
        down[:, place] -= step
        difference = (function(up) - function(down)) / (2 * step)
        total += difference**2
    return total


def test_slopes_are_those_of_finite_differences():
    # Of a seed by which no activation is at its kink.
    critics, batch = make_critics(r1=1.0, object_crop_size=4, object_layers=1, normalization="none"), make_batch(1)
    image = batch["image"][:, :8, :8]
    critics.image(image)
    small = {**batch, "image": image}
    found = critics.judge_real(small)

    def image_scores(flat):
        return tf.reduce_mean(critics.image(tf.constant(flat.reshape(image.shape), tf.float32)), [1, 2, 3]).numpy()

    np.testing.assert_allclose(found.image_slope, squared_slopes(image_scores, image, 3).mean(), rtol=2e-2)
    crops = critics.objects.crops(image, batch["boxes"])

    def object_scores(flat):
        return critics.objects.look(tf.constant(flat.reshape(crops.shape), tf.float32))[0].numpy().reshape(-1)

    slopes, mask = squared_slopes(object_scores, crops, 12).reshape(3, 4), batch["object_mask"].numpy()
    expected = np.mean([row[valid].mean() for row, valid in zip(slopes, mask)])
    np.testing.assert_allclose(found.object_slope, expected, rtol=2e-2)


def test_penalties_are_in_what_the_critics_minimize_and_move_their_weights():
    batch = make_batch()
    made = tf.constant(-batch["image"])
    plain, critics = make_critics(), make_critics(r1=3.0, r2=5.0)
    terms = {}
    for name, each in (("plain", plain), ("penalized", critics)):
        terms[name] = each.own_terms(batch, each.judge_real(batch), each.judge_made(batch, Made(made)))
    assert set(terms["penalized"]) - set(terms["plain"]) == {"r1_img", "r1_obj", "r2_img", "r2_obj"}
    for critic in ("img", "obj"):
        expected = 1.5 * terms["penalized"][f"r1_{critic}"] + 2.5 * terms["penalized"][f"r2_{critic}"]
        assert expected > 1e-6
        found = terms["penalized"][f"d_{critic}"] - terms["plain"][f"d_{critic}"]
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    np.testing.assert_array_equal(terms["plain"]["d_ac_obj"], terms["penalized"]["d_ac_obj"])
    with tf.GradientTape(persistent=True) as tape:
        verdict = critics.judge_real(batch)
    for slope, model in ((verdict.image_slope, critics.image), (verdict.object_slope, critics.objects.trunk)):
        kernels = [weight for weight in model.trainable_variables if "kernel" in weight.name]
        for gradient in tape.gradient(slope, kernels):
            assert np.abs(gradient).max() > 0


def test_leaving_padding_out_changes_no_slope():
    batch = make_batch()
    whole, valid = (make_critics(skip_padding=skip, r1=1.0).judge_real(batch) for skip in (False, True))
    np.testing.assert_allclose(whole.object_slope, valid.object_slope, rtol=1e-4)
    np.testing.assert_allclose(whole.image_slope, valid.image_slope, rtol=1e-4)


def test_real_and_made_pictures_are_changed_each_in_their_own_way():
    batch = make_batch()
    plain, critics = make_critics(), make_critics(**AUGMENTED)
    real, (first, second) = critics.judge_real(batch), critics.judge_made(batch, *[Made(batch["image"])] * 2)
    unchanged = plain.judge_real(batch)
    looks = [verdict.image.numpy() for verdict in (unchanged, real, first, second)]
    looks += [verdict.objects.numpy()[:, :3] for verdict in (unchanged, real, first, second)]
    for group in (looks[:4], looks[4:]):
        for i, one in enumerate(group):
            for other in group[:i]:
                assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(critics.judge_real(batch).image, real.image)
    # A scene's changes are its own.
    alone = {name: value[1:2] for name, value in batch.items()}
    np.testing.assert_allclose(critics.judge_real(alone).image[0], real.image[1], atol=1e-5)
    np.testing.assert_allclose(critics.judge_real(alone).objects[0], real.objects[1], atol=1e-5)
    elsewhere = critics.judge_real({**batch, "scene_seed": batch["scene_seed"] + 1})
    assert np.abs(elsewhere.image - real.image).max() > 1e-3


@pytest.mark.parametrize("kind", ["hinge", "relativistic"])
def test_gradients_reach_what_was_made_through_the_change(kind):
    batch, critics = make_batch(), make_critics(kind, **AUGMENTED)
    made = tf.Variable(batch["image"] * 0.5)
    with tf.GradientTape(persistent=True) as tape:
        real, verdicts = critics.judge_real(batch), critics.judge_made(batch, Made(made))
        terms = critics.generator_terms(batch, real, verdicts)
    assert list(terms) == ["adv_img", "adv_obj", "ac_obj"]
    for name, term in terms.items():
        gradient = tape.gradient(term, made)
        assert np.all(np.isfinite(gradient)) and np.abs(gradient).max() > 0, name
    # What lies in the hole reaches nobody.
    critics = make_critics(kind, augmentation=["cutout"])
    with tf.GradientTape() as tape:
        adversarial = critics.generator_terms(batch, real, critics.judge_made(batch, Made(made)))["adv_img"]
    assert 0.03 < (np.abs(tape.gradient(adversarial, made)) == 0).mean() < 0.3


def test_what_is_off_leaves_trainings_as_they_were():
    for name in ("augmentation=[colour]", "spectral=true", "projected=true", "r1=1.0", "r2=0.5"):
        changed = tiny_config(f"discriminators.{name}")
        assert fingerprint("retrievegan", changed) != fingerprint("retrievegan", tiny_config())
        assert fingerprint("candidates", changed) == fingerprint("candidates", tiny_config())
    # As it was before there was anything to be off.
    assert fingerprint("retrievegan", tiny_config()) == "8f86cdd801345f86"
    with pytest.raises(ConfigError, match="discriminators.augmentation"):
        tiny_config("discriminators.augmentation=[blur]")
    assert baseline_config("sg2im", "baseline.adversarial=relativistic").baseline.adversarial == "relativistic"
