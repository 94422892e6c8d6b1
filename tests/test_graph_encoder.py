"""The graph encoder against sg2im's triple convolution in NumPy with the same weights."""

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import GraphEncoderConfig
from rgan_tf.models import graph_encoder

NUM_OBJECTS, NUM_PREDICATES = 6, 4


def make_encoder(layers=3):
    tf.keras.utils.set_random_seed(0)
    config = GraphEncoderConfig(embedding_dim=8, hidden_dim=12, layers=layers)
    encoder = graph_encoder.GraphEncoder(config, NUM_OBJECTS, NUM_PREDICATES)
    encode(encoder, *draw())
    rng = np.random.default_rng(1)  # biases away from zero, so that they are tested
    for weight in encoder.weights:
        weight.assign_add(0.1 * rng.normal(size=weight.shape).astype(np.float32))
    return encoder


def draw(batch=3, objects=4, triples=5):
    rng = np.random.default_rng(2)
    object_mask = np.arange(objects) < np.array([[objects], [2], [3]])[:batch]
    counts = object_mask.sum(axis=1)
    triple_mask = np.arange(triples) < np.array([[triples], [1], [0]])[:batch]
    ids = np.where(object_mask, rng.integers(1, NUM_OBJECTS, size=object_mask.shape), 0).astype(np.int32)
    table = np.zeros((batch, triples, 3), np.int32)
    for b, t in np.argwhere(triple_mask):
        table[b, t] = rng.integers(counts[b]), rng.integers(1, NUM_PREDICATES), rng.integers(counts[b])
    return ids, object_mask, table, triple_mask


def encode(encoder, *inputs):
    return encoder(*(tf.constant(x) for x in inputs))


def numpy_scene(encoder, ids, triples):
    """sg2im over one scene's own objects and triples, nothing padded."""
    weights = {weight.name: weight.numpy() for weight in encoder.weights}

    def find(*parts):
        (name,) = [n for n in weights if all(part in n for part in parts)]
        return weights[name]

    def dense(x, *parts):
        return x @ find(*parts, "kernel") + find(*parts, "bias")

    def perceptron(x, *parts):
        for layer in ("dense_0", "dense_1"):
            x = np.maximum(dense(x, *parts, layer), 0)
        return x

    count = len(ids)
    nodes = find("objects/embeddings")[np.append(ids, 0)]
    triples = np.array([*triples, *[(i, 0, count) for i in range(count)]])
    predicates = find("predicates/embeddings")[triples[:, 1]]
    for layer in range(3):
        name = f"convolution_{layer}/"
        joined = np.concatenate([nodes[triples[:, 0]], predicates, nodes[triples[:, 2]]], axis=1)
        out = perceptron(joined, name, "triple_net")
        to_subject, predicates, to_object = np.split(out, [12, 20], axis=1)
        received = [[] for _ in nodes]
        for row, (subject, _, obj) in enumerate(triples):
            received[subject].append(to_subject[row])
            received[obj].append(to_object[row])
        nodes = perceptron(np.stack([np.mean(r, axis=0) for r in received]), name, "node_net")
    hidden = np.maximum(dense(nodes[:count], "box_hidden"), 0)
    return nodes[:count], nodes[count], predicates[: len(triples) - count], dense(hidden, "box_output")


def test_equals_sg2im():
    encoder = make_encoder()
    ids, object_mask, triples, triple_mask = draw()
    result = encode(encoder, ids, object_mask, triples, triple_mask)
    for b in range(len(ids)):
        n, t = object_mask[b].sum(), triple_mask[b].sum()
        features, image, predicates, logits = numpy_scene(encoder, ids[b, :n], triples[b, :t])
        assert abs(features).max() > 0.1
        np.testing.assert_allclose(result.object_features[b, :n], features, atol=1e-5)
        np.testing.assert_allclose(result.image_feature[b], image, atol=1e-5)
        np.testing.assert_allclose(result.predicate_features[b, :t], predicates, atol=1e-5)
        share = 1 / (1 + np.exp(-logits))
        size = 1 / 128 + (1 - 1 / 128) * share[:, :2]
        corner = (1 - size) * share[:, 2:]
        np.testing.assert_allclose(result.boxes[b, :n], np.concatenate([corner, corner + size], axis=1), atol=1e-5)
        for padded in (result.object_features[b, n:], result.boxes[b, n:], result.predicate_features[b, t:]):
            assert (padded.numpy() == 0).all()


def test_padding_further_changes_nothing():
    encoder = make_encoder()
    inputs = draw()
    small = encode(encoder, *inputs)
    ids, object_mask, triples, triple_mask = inputs
    # Junk in the padding, to show that it does not count.
    large = encode(
        encoder,
        np.pad(np.where(object_mask, ids, 3), [(0, 0), (0, 2)], constant_values=2),
        np.pad(object_mask, [(0, 0), (0, 2)]),
        np.pad(np.where(triple_mask[..., None], triples, 1), [(0, 0), (0, 3), (0, 0)], constant_values=2),
        np.pad(triple_mask, [(0, 0), (0, 3)]),
    )
    np.testing.assert_allclose(large.object_features[:, :4], small.object_features, atol=1e-5)
    np.testing.assert_allclose(large.predicate_features[:, :5], small.predicate_features, atol=1e-5)
    np.testing.assert_allclose(large.image_feature, small.image_feature, atol=1e-5)
    np.testing.assert_allclose(large.boxes[:, :4], small.boxes, atol=1e-5)


def test_objects_may_be_permuted():
    encoder = make_encoder()
    ids, object_mask, triples, triple_mask = draw()
    order = np.array([2, 0, 3, 1])
    place = np.argsort(order)
    renamed = np.stack([place[triples[..., 0]], triples[..., 1], place[triples[..., 2]]], axis=-1).astype(np.int32)
    one = encode(encoder, ids, object_mask, triples, triple_mask)
    two = encode(encoder, ids[:, order], object_mask[:, order], renamed, triple_mask)
    np.testing.assert_allclose(one.boxes.numpy()[:, order], two.boxes, atol=1e-5)
    np.testing.assert_allclose(one.object_features.numpy()[:, order], two.object_features, atol=1e-5)
    np.testing.assert_allclose(one.image_feature, two.image_feature, atol=1e-5)


def test_relations_and_their_direction_matter():
    encoder = make_encoder()
    ids, object_mask, triples, triple_mask = draw(batch=1)
    forward = encode(encoder, ids, object_mask, triples, triple_mask).boxes
    backward = encode(encoder, ids, object_mask, triples[..., ::-1].copy() * [1, 0, 1], triple_mask).boxes
    assert abs(forward - backward).numpy().max() > 1e-3


@pytest.mark.parametrize("scale", [0.0, 1.0, 20.0, 1e4])
def test_boxes_lie_inside_the_image(scale):
    logits = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32) * scale
    x0, y0, x1, y1 = graph_encoder.boxes_from_logits(tf.constant(logits)).numpy().T
    for low, high in ((x0, x1), (y0, y1)):
        assert (low >= 0).all()
        assert (high <= 1).all()
        assert (high > low).all()


def test_any_box_can_be_predicted():
    """Boxes reach the corners and any size."""
    logits = np.array(np.meshgrid(*[[-30.0, 0.0, 30.0]] * 4), np.float32).reshape(4, -1).T
    boxes = graph_encoder.boxes_from_logits(tf.constant(logits)).numpy()
    for wanted in ([0, 0, 1, 1], [0, 0, 1 / 128, 1 / 128], [127 / 128, 127 / 128, 1, 1], [0, 127 / 128, 1, 1]):
        assert abs(boxes - wanted).max(axis=1).min() < 1e-6


def test_mixed_precision_gives_float32_boxes():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        result = encode(make_encoder(), *draw())
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert result.boxes.dtype == tf.float32
    assert result.object_features.dtype == tf.bfloat16
