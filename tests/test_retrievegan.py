"""The whole model: padding, permutation of objects, gradients, eager and compiled."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from rgan_tf.models.retrievegan import RetrieveGAN, select_patches

NUM_OBJECTS, NUM_PREDICATES, SIDE, CANDIDATES = 9, 5, 16, 3


@pytest.fixture(scope="module")
def model():
    """A model of the tiny configuration, with noticeable noise in its retrieval."""
    tf.keras.utils.set_random_seed(3)
    model = RetrieveGAN(tiny_config(), NUM_OBJECTS, NUM_PREDICATES)
    model.generate(make_batch(np.random.default_rng(0), [2]))
    return model


def make_batch(random, counts, num_objects=4, num_triples=6, candidates=CANDIDATES):
    """Scenes with the given numbers of objects, the rest padding that holds rubbish where rubbish must not matter."""
    b = len(counts)
    mask = np.arange(num_objects) < np.array(counts)[:, None]
    low = random.uniform(0, 0.5, (b, num_objects, 2))
    triples = np.zeros((b, num_triples, 3), np.int32)
    for i, n in enumerate(counts):
        for t in range(n):
            triples[i, t] = (t, random.integers(1, NUM_PREDICATES), (t + 1) % n)
    triple_mask = np.arange(num_triples) < np.array(counts)[:, None]
    candidate_mask = np.repeat(mask[..., None], candidates, axis=-1)
    batch = {
        "objects": np.where(mask, random.integers(1, NUM_OBJECTS, mask.shape), 0).astype(np.int32),
        "object_mask": mask,
        "triples": triples,
        "triple_mask": triple_mask,
        "boxes": np.concatenate([low, low + random.uniform(0.2, 0.5, low.shape)], -1).astype(np.float32)
        * mask[..., None],
        "box_given": np.zeros_like(mask),
        "candidate_mask": candidate_mask,
        "candidate_patches": random.uniform(-1, 1, (b, num_objects, candidates, SIDE, SIDE, 3)).astype(np.float32),
        "ground_truth_patches": random.uniform(-1, 1, (b, num_objects, SIDE, SIDE, 3)).astype(np.float32),
        "ground_truth_mask": mask,
        "scene_seed": random.integers(0, 1000, (b, 2)).astype(np.int32),
    }
    return {name: tf.constant(value) for name, value in batch.items()}


def pad_further(batch, objects=2, triples=3, candidates=2):
    """The same scenes with more padding."""
    grow = {
        "triples": [(0, 0), (0, triples), (0, 0)],
        "triple_mask": [(0, 0), (0, triples)],
        "scene_seed": [(0, 0)] * 2,
    }
    padded = {}
    for name, value in batch.items():
        width = grow.get(name) or [(0, 0), (0, objects)] + [(0, 0)] * (len(value.shape) - 2)
        if name.startswith("candidate"):
            width[2] = (0, candidates)
        padded[name] = tf.constant(np.pad(value.numpy(), width))
    return padded


def rows(batch, index):
    return {name: value[index : index + 1] for name, value in batch.items()}


def test_a_scene_gives_the_same_alone_and_in_a_batch_padded_further(model):
    batch = make_batch(np.random.default_rng(1), [3, 4, 1, 2])
    together = model.generate(pad_further(batch))
    for i, count in enumerate([3, 4, 1, 2]):
        alone = model.generate(rows(batch, i))
        np.testing.assert_array_equal(alone.choice[0, :count], together.choice[i, :count])
        np.testing.assert_allclose(alone.boxes[0, :count], together.boxes[i, :count], atol=1e-5)
        np.testing.assert_allclose(alone.image[0], together.image[i], atol=1e-4)
        assert (together.choice[i, count:].numpy() == -1).all()


def test_training_pass_is_padding_invariant(model):
    batch = make_batch(np.random.default_rng(2), [3, 2])
    step = tf.constant(5, tf.int64)
    plain, padded = model(batch, step), model(pad_further(batch, candidates=0), step)
    np.testing.assert_allclose(plain.generated, padded.generated, atol=1e-4)
    np.testing.assert_allclose(plain.reconstructed, padded.reconstructed, atol=1e-4)
    np.testing.assert_allclose(plain.ground_truth_logits, padded.ground_truth_logits[:, :4], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(plain.ground_truth_weights, padded.ground_truth_weights[:, :4])
    np.testing.assert_allclose(plain.retrieval.selection, padded.retrieval.selection[:, :4], atol=1e-5)


def test_eager_and_compiled_agree(model):
    batch = make_batch(np.random.default_rng(3), [4, 2])
    eager, compiled = model.generate(batch), tf.function(model.generate)(batch)
    for a, b in zip(eager, compiled):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_reloaded_saved_model_agrees(model, tmp_path):
    batch = make_batch(np.random.default_rng(4), [4, 2])
    module = tf.Module()
    # Its variables alone: Keras would save each layer's call by itself, with arguments it has to guess.
    module.kept = model.variables
    specs = {name: tf.TensorSpec([None] + value.shape[1:], value.dtype) for name, value in batch.items()}
    module.generate = tf.function(lambda batch: model.generate(batch)._asdict(), input_signature=[specs])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    reloaded = loaded.generate(batch)
    for name, value in model.generate(batch)._asdict().items():
        np.testing.assert_allclose(reloaded[name], value, atol=1e-4)


def test_image_gradients_reach_the_patch_embedding_through_the_hard_choice(model):
    batch = make_batch(np.random.default_rng(5), [4, 3])
    with tf.GradientTape() as tape:
        result = model(batch, tf.constant(0, tf.int64))
        loss = tf.reduce_mean(tf.square(result.generated))
    one_hot = np.sort(result.retrieval.selection.numpy(), axis=-1)
    np.testing.assert_array_equal(one_hot[..., :-1], 0.0)
    encoder = model.retrieval.patch_encoder.trainable_variables
    for variable, gradient in zip(encoder, tape.gradient(loss, encoder)):
        assert np.isfinite(gradient).all()
        # The embedding's bias moves all features alike and has no say.
        assert np.abs(gradient).max() > 0.0 or variable is encoder[-1], variable.name


def test_selected_patch_is_the_chosen_candidate():
    patches = tf.random.stateless_uniform([2, 3, 4, 5, 5, 3], [0, 1])
    choice = np.array([[1, 3, 0], [2, 2, 1]])
    chosen = select_patches(tf.one_hot(choice, 4), patches)
    expected = np.take_along_axis(patches.numpy(), choice[..., None, None, None, None], axis=2)[:, :, 0]
    np.testing.assert_array_equal(chosen, expected)
