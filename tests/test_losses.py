"""The losses against formulas written out in NumPy, gradients by finite differences, padding invariance."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf import losses

KINDS = losses.KINDS


def softplus(x):
    return np.logaddexp(0, x)


GENERATOR = {
    "modified": lambda f, r: softplus(-f),
    "minimax": lambda f, r: -softplus(f) - softplus(-1.0),
    "hinge": lambda f, r: -f,
    "least_squares": lambda f, r: (f - 1) ** 2 / 2,
    "relativistic": lambda f, r: softplus(r - f),
}
DISCRIMINATOR = {
    "modified": lambda r, f: softplus(-r) + softplus(f),
    "minimax": lambda r, f: softplus(-r) + softplus(f),
    "hinge": lambda r, f: np.maximum(0, 1 - r) + np.maximum(0, 1 + f),
    "least_squares": lambda r, f: ((r - 1) ** 2 + f**2) / 2,
    "relativistic": lambda r, f: softplus(f - r),
}


def numpy_scene_mean(values, mask):
    return np.mean([v[m].mean() if m.any() else 0.0 for v, m in zip(values, mask)])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 2


MASK = np.array([[True, True, True, False], [True, False, False, False], [True, True, True, True]])


def assert_gradients(function, *inputs, rtol=2e-2, delta=1e-2):
    theory, numeric = tf.test.compute_gradient(function, [tf.constant(x) for x in inputs], delta=delta)
    for a, b in zip(theory, numeric):
        assert abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-2 * abs(b).max())


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_formulas(kind):
    real, fake = draw(3, 4, 4, 1), draw(3, 4, 4, 1, seed=1)
    np.testing.assert_allclose(
        losses.adversarial_generator_loss(kind, tf.constant(fake), real_logits=tf.constant(real)),
        GENERATOR[kind](fake, real).mean(),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        losses.adversarial_discriminator_loss(kind, tf.constant(real), tf.constant(fake)),
        DISCRIMINATOR[kind](real, fake).mean(),
        rtol=1e-5,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_losses_over_objects(kind):
    real, fake = draw(3, 4), draw(3, 4, seed=1)
    generator = losses.adversarial_generator_loss(kind, tf.constant(fake), MASK, tf.constant(real))
    np.testing.assert_allclose(generator, numpy_scene_mean(GENERATOR[kind](fake, real), MASK), rtol=1e-5)
    discriminator = losses.adversarial_discriminator_loss(kind, tf.constant(real), tf.constant(fake), MASK)
    np.testing.assert_allclose(discriminator, numpy_scene_mean(DISCRIMINATOR[kind](real, fake), MASK), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_gradients(kind):
    real, fake = draw(3, 4), draw(3, 4, seed=1)
    assert_gradients(lambda f: losses.adversarial_generator_loss(kind, f, MASK, real), fake)
    assert_gradients(lambda r, f: losses.adversarial_discriminator_loss(kind, r, f, MASK), real, fake)


def test_adversarial_losses_stay_out_of_collections_and_refuse_unknown_kinds():
    with tf.Graph().as_default() as graph:
        losses.adversarial_discriminator_loss("modified", tf.zeros([2, 3]), tf.zeros([2, 3]))
        losses.adversarial_generator_loss("hinge", tf.zeros([2, 3]))
        assert graph.get_collection(tf.compat.v1.GraphKeys.LOSSES) == []
    for call in (losses.adversarial_generator_loss, losses.adversarial_discriminator_loss):
        with pytest.raises(ValueError, match="'wasserstein'; it must be one of modified"):
            call("wasserstein", *[tf.zeros([1])] * (1 if call is losses.adversarial_generator_loss else 2))
    with pytest.raises(ValueError, match="compares with real logits"):
        losses.adversarial_generator_loss("relativistic", tf.zeros([1]))


def test_scene_mean_of_an_empty_scene_is_zero():
    mask = MASK.copy()
    mask[1] = False
    values = tf.Variable(draw(3, 4))
    with tf.GradientTape() as tape:
        mean = losses.scene_mean(values, tf.constant(mask))
    np.testing.assert_allclose(mean, numpy_scene_mean(values.numpy(), mask), rtol=1e-5)
    assert np.isfinite(tape.gradient(mean, values)).all()


def test_scene_mean_is_the_mean_over_replicas():
    values = draw(4, 5)
    mask = np.random.default_rng(0).random((4, 5)) < 0.5
    halves = [losses.scene_mean(values[i : i + 2], mask[i : i + 2]) for i in (0, 2)]
    np.testing.assert_allclose(losses.scene_mean(values, mask), np.mean(halves), rtol=1e-6)


def numpy_triplet(embeddings, labels, margin):
    """Semi-hard mining, pair by pair, over valid objects alone."""
    distances = np.sqrt(((embeddings[:, None] - embeddings) ** 2).sum(axis=-1))
    terms = []
    for anchor in range(len(labels)):
        negatives = distances[anchor][labels != labels[anchor]]
        for positive in range(len(labels)):
            if positive == anchor or labels[positive] != labels[anchor]:
                continue
            d_ap = distances[anchor, positive]
            outside = negatives[negatives > d_ap]
            d_an = outside.min() if len(outside) else negatives.max()
            terms.append(max(0.0, margin + d_ap - d_an))
    return np.mean(terms)


def embeddings_of(batch, objects, spread, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(batch, 1, 8)) + spread * rng.normal(size=(batch, objects, 8))
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("spread", [0.3, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_triplet_loss(seed, spread, margin):
    embeddings = embeddings_of(3, 4, spread, seed)
    ids = np.array([7, 0, 3])
    expected = numpy_triplet(embeddings[MASK], np.repeat(ids, 4)[MASK.ravel()], margin)
    actual = losses.cooccurrence_triplet_loss(tf.constant(embeddings), tf.constant(ids), tf.constant(MASK), margin)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_triplet_loss_with_one_scene_twice():
    """Two rows of one image are one class."""
    embeddings = embeddings_of(3, 4, 1.0, 0)
    ids = np.array([5, 2, 5])
    expected = numpy_triplet(embeddings[MASK], np.repeat(ids, 4)[MASK.ravel()], 0.5)
    actual = losses.cooccurrence_triplet_loss(tf.constant(embeddings), tf.constant(ids), tf.constant(MASK), 0.5)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_triplet_loss_ignores_padding(spread):
    embeddings, ids = embeddings_of(3, 4, spread, 1), tf.constant([7, 0, 3])
    small = losses.cooccurrence_triplet_loss(tf.constant(embeddings), ids, tf.constant(MASK), 0.5)
    junk = np.pad(embeddings, [(0, 0), (0, 3), (0, 0)], constant_values=0.6)
    padded = np.where(np.pad(MASK, [(0, 0), (0, 3)])[..., None], junk, 0.4).astype(np.float32)
    variable = tf.Variable(padded)
    mask = np.pad(MASK, [(0, 0), (0, 3)])
    with tf.GradientTape() as tape:
        large = losses.cooccurrence_triplet_loss(variable, ids, tf.constant(mask), 0.5)
    np.testing.assert_allclose(large, small, rtol=1e-5)
    gradient = tape.gradient(large, variable).numpy()
    assert (gradient[~mask] == 0).all()
    assert abs(gradient[mask]).max() > 0


def test_triplet_loss_gradient_and_no_pairs():
    embeddings = embeddings_of(3, 4, 1.0, 2).astype(np.float32)
    ids = tf.constant([1, 2, 3])
    assert_gradients(
        # A small step, that no other negative is mined within it.
        lambda e: losses.cooccurrence_triplet_loss(e, ids, tf.constant(MASK), 2.0),
        embeddings,
        rtol=5e-2,
        delta=2e-4,
    )
    variable = tf.Variable(embeddings)
    with tf.GradientTape() as tape:
        alone = losses.cooccurrence_triplet_loss(variable, ids, tf.constant(MASK & [True, False, False, False]), 0.5)
    assert alone == 0
    assert (tape.gradient(alone, variable).numpy() == 0).all()


def test_triplet_loss_compiles():
    embeddings, ids = tf.constant(embeddings_of(3, 4, 1.0, 2)), tf.constant([1, 2, 3])
    compiled = tf.function(losses.cooccurrence_triplet_loss, jit_compile=True)
    plain = losses.cooccurrence_triplet_loss(embeddings, ids, tf.constant(MASK), 0.5)
    np.testing.assert_allclose(compiled(embeddings, ids, tf.constant(MASK), 0.5), plain, rtol=1e-4)


def test_selection_ground_truth_loss():
    logits, weights = draw(3, 4, 6), MASK.astype(np.float32)
    logits[0, 1, 3:] = -1e9
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected = numpy_scene_mean(-np.log(shares[..., 0] / shares.sum(axis=-1)), MASK)
    np.testing.assert_allclose(losses.selection_ground_truth_loss(logits, weights), expected, rtol=1e-5)
    assert_gradients(lambda x: losses.selection_ground_truth_loss(x, weights), draw(3, 4, 6))


def test_selection_cooccurrence_loss():
    rng = np.random.default_rng(0)
    selection = (rng.dirichlet(np.ones(5), size=(3, 4)) * MASK[..., None]).astype(np.float32)
    embeddings = draw(3, 4, 5, 6)
    mixed = (selection[..., None] * embeddings).sum(axis=2)
    terms = []
    for scene in range(3):
        valid = np.flatnonzero(MASK[scene])
        pairs = [((mixed[scene, i] - mixed[scene, j]) ** 2).sum() for i in valid for j in valid if i < j]
        terms.append(np.mean(pairs) if pairs else 0.0)
    assert terms[1] == 0
    actual = losses.selection_cooccurrence_loss(selection, embeddings, tf.constant(MASK))
    np.testing.assert_allclose(actual, np.mean(terms), rtol=1e-5)
    assert_gradients(lambda s: losses.selection_cooccurrence_loss(s, embeddings, tf.constant(MASK)), selection)


def test_reconstruction_loss():
    a, b = draw(2, 4, 4, 3), draw(2, 4, 4, 3, seed=1)
    np.testing.assert_allclose(losses.reconstruction_loss(a, b), abs(a - b).mean(), rtol=1e-5)
    apart = np.where(abs(a - b) > 0.1, b, a + 1)  # off the kink of the absolute value
    assert_gradients(lambda x: losses.reconstruction_loss(x, apart), a)
    half = losses.reconstruction_loss(tf.constant(a, tf.float16), tf.constant(b, tf.float16))
    assert half.dtype == tf.float32


def test_perceptual_loss():
    maps = [draw(3, 4, 8, 8, 2), draw(3, 4, 4, 4, 5)]
    targets = [draw(3, 4, 8, 8, 2, seed=1), draw(3, 4, 4, 4, 5, seed=2)]
    differences = [abs(a - b) for a, b in zip(maps, targets)]
    expected = np.mean([d.mean() for d in differences])
    np.testing.assert_allclose(losses.perceptual_loss(maps, targets), expected, rtol=1e-5)
    folded = ([x.reshape(12, *x.shape[2:]) for x in values] for values in (maps, targets))
    distances = losses.perceptual_distances(*folded)
    expected = np.mean([d.mean(axis=(2, 3, 4)) for d in differences], axis=0)
    np.testing.assert_allclose(tf.reshape(distances, [3, 4]), expected, rtol=1e-5)
    vectors = losses.perceptual_distances([draw(3, 5)], [draw(3, 5, seed=1)])
    np.testing.assert_allclose(vectors, abs(draw(3, 5) - draw(3, 5, seed=1)).mean(axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="got 2 and 1 feature maps"):
        losses.perceptual_loss(maps, targets[:1])


def test_auxiliary_classifier_loss():
    logits = draw(3, 4, 6)
    objects = np.random.default_rng(0).integers(0, 6, size=(3, 4)).astype(np.int32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    cross_entropy = -np.log(np.take_along_axis(shares, objects[..., None], axis=-1)[..., 0])
    expected = numpy_scene_mean(cross_entropy, MASK)
    np.testing.assert_allclose(losses.auxiliary_classifier_loss(logits, objects, MASK), expected, rtol=1e-5)
    assert_gradients(lambda x: losses.auxiliary_classifier_loss(x, objects, MASK), logits)


def test_box_loss():
    a, b = draw(3, 4, 4), draw(3, 4, 4, seed=1)
    np.testing.assert_allclose(losses.box_loss(a, b, MASK), numpy_scene_mean(abs(a - b).mean(axis=-1), MASK), rtol=1e-5)
    assert_gradients(lambda x: losses.box_loss(x, b, MASK), a)
