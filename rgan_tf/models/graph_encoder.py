"""Scene graph encoder and box predictor (paper section 3.2), after sg2im's triple convolutions."""

from typing import NamedTuple, Optional

import tensorflow as tf

from rgan_tf.config import GraphEncoderConfig
from rgan_tf.ops import graph

# Smallest side of a predicted box, as a share of the image: keeps x1 > x0 and y1 > y0 in float32.
MIN_BOX_SIDE = 1.0 / 128.0


class GraphEncoding(NamedTuple):
    """A batch of encoded scene graphs; zeros in padded slots.

    Attributes:
      object_features: `[B, N, D]`.
      image_feature: `[B, D]`, of the `__image__` node.
      predicate_features: `[B, T, D]`.
      boxes: `[B, N, 4]` float32, (x0, y0, x1, y1) inside [0, 1], x1 > x0 and y1 > y0.
    """

    object_features: tf.Tensor
    image_feature: tf.Tensor
    predicate_features: tf.Tensor
    boxes: tf.Tensor


class _Perceptron(tf.keras.layers.Layer):
    """sg2im's multilayer perceptron: a ReLU after every layer, the last included."""

    def __init__(self, sizes, name):
        super().__init__(name=name)
        self._dense_layers = [
            tf.keras.layers.Dense(size, activation="relu", kernel_initializer="he_normal", name=f"dense_{number}")
            for number, size in enumerate(sizes)
        ]

    def call(self, values):
        for layer in self._dense_layers:
            values = layer(values)
        return values


class TripleConvolution(tf.keras.layers.Layer):
    """One layer of graph convolution over (subject, predicate, object) triples, as sg2im's `GraphTripleConv`.

    A perceptron turns each triple's three vectors into a message to its subject, a new predicate vector and a message
    to its object; each node averages its messages, over both roles, and a second perceptron makes its new vector.

    Args:
      hidden_dim: length of a message.
      output_dim: length of the new node and predicate vectors.
      name: the layer's name.
    """

    def __init__(self, hidden_dim: int, output_dim: int, name: Optional[str] = None):
        """Takes the sizes given above."""
        super().__init__(name=name)
        self._hidden_dim = hidden_dim
        self._output_dim = output_dim
        self._triple_net = _Perceptron([hidden_dim, 2 * hidden_dim + output_dim], name="triple_net")
        self._node_net = _Perceptron([hidden_dim, output_dim], name="node_net")

    def call(self, nodes, predicates, subject_index, object_index, triple_mask):
        """Convolves once.

        Args:
          nodes: `[B, N, D]`.
          predicates: `[B, T, D_p]`.
          subject_index: `[B, T]` int in [0, N).
          object_index: `[B, T]` int in [0, N).
          triple_mask: `[B, T]` bool; a padded triple sends no message.

        Returns:
          New nodes `[B, N, output_dim]` and new predicates `[B, T, output_dim]`.
        """
        subjects = graph.gather_nodes(nodes, subject_index)
        objects = graph.gather_nodes(nodes, object_index)
        out = self._triple_net(tf.concat([subjects, predicates, objects], axis=-1))
        to_subject, new_predicates, to_object = tf.split(
            out, [self._hidden_dim, self._output_dim, self._hidden_dim], axis=-1
        )
        pooled = graph.average_messages(to_subject, to_object, subject_index, object_index, triple_mask, nodes.shape[1])
        return self._node_net(pooled), new_predicates


class GraphEncoder(tf.keras.Model):
    """Encodes scene graphs and predicts a box for every object.

    Args:
      config: sizes, see `GraphEncoderConfig`.
      num_objects: object categories, the reserved `__image__` (0) included.
      num_predicates: predicates, the reserved `__in_image__` (0) included.
      name: the model's name.
    """

    def __init__(self, config: GraphEncoderConfig, num_objects: int, num_predicates: int, name: str = "graph_encoder"):
        """Takes the configuration and the vocabulary's sizes."""
        super().__init__(name=name)
        self._object_embedding = tf.keras.layers.Embedding(num_objects, config.embedding_dim, name="objects")
        self._predicate_embedding = tf.keras.layers.Embedding(num_predicates, config.embedding_dim, name="predicates")
        self._convolutions = [
            TripleConvolution(config.hidden_dim, config.embedding_dim, name=f"convolution_{layer}")
            for layer in range(config.layers)
        ]
        self._box_hidden = tf.keras.layers.Dense(
            config.hidden_dim, activation="relu", kernel_initializer="he_normal", name="box_hidden"
        )
        self._box_output = tf.keras.layers.Dense(4, dtype=tf.float32, name="box_output")

    def call(self, objects, object_mask, triples, triple_mask) -> GraphEncoding:
        """Encodes a batch of graphs.

        An `__image__` node is added behind the last slot, and every valid object is tied to it by `__in_image__`.

        Args:
          objects: `[B, N]` int, category ids.
          object_mask: `[B, N]` bool.
          triples: `[B, T, 3]` int, (subject index, predicate id, object index).
          triple_mask: `[B, T]` bool.

        Returns:
          A `GraphEncoding`.
        """
        num_nodes = objects.shape[1]
        subject_index, predicate, object_index = tf.unstack(tf.cast(triples, tf.int32), axis=-1)
        slots = tf.zeros_like(objects, tf.int32) + tf.range(num_nodes)
        nodes = self._object_embedding(tf.pad(objects, [[0, 0], [0, 1]]))
        predicates = self._predicate_embedding(tf.pad(predicate, [[0, 0], [0, num_nodes]]))
        subject_index = tf.concat([subject_index, slots], axis=1)
        object_index = tf.concat([object_index, tf.fill(tf.shape(slots), num_nodes)], axis=1)
        message_mask = tf.concat([triple_mask, object_mask], axis=1)

        for convolution in self._convolutions:
            nodes, predicates = convolution(nodes, predicates, subject_index, object_index, message_mask)

        object_features = nodes[:, :num_nodes] * tf.cast(object_mask, nodes.dtype)[..., tf.newaxis]
        predicate_features = predicates[:, : triples.shape[1]] * tf.cast(triple_mask, predicates.dtype)[..., tf.newaxis]
        boxes = boxes_from_logits(self._box_output(self._box_hidden(object_features)))
        boxes *= tf.cast(object_mask, tf.float32)[..., tf.newaxis]
        return GraphEncoding(object_features, nodes[:, num_nodes], predicate_features, boxes)

    def encode(self, batch) -> GraphEncoding:
        """The encoding of a batch's scene graphs: objects, object_mask, triples, triple_mask."""
        return self(batch["objects"], batch["object_mask"], batch["triples"], batch["triple_mask"])


def boxes_from_logits(logits: tf.Tensor) -> tf.Tensor:
    """Turns any four numbers into a box inside the image.

    Args:
      logits: `[..., 4]` float32: of width, height, and of the shares of the free space left and above the box.

    Returns:
      `[..., 4]` float32, (x0, y0, x1, y1), 0 <= x0 < x1 <= 1, likewise y; sides at least `MIN_BOX_SIDE`.
    """
    fractions = tf.sigmoid(logits)
    size = MIN_BOX_SIDE + (1.0 - MIN_BOX_SIDE) * fractions[..., :2]
    corner = (1.0 - size) * fractions[..., 2:]
    return tf.concat([corner, tf.minimum(corner + size, 1.0)], axis=-1)
