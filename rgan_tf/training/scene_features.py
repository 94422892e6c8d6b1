"""Graph features of a split's objects: what the bank is filled with, and what is asked for candidates."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines import input_pipeline
from rgan_tf import config as config_lib
from rgan_tf.models.graph_encoder import GraphEncoder
from rgan_tf.progress import progress_bar
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace


class GraphFeatures(NamedTuple):
    """Of a scene's objects: features float32 [N, D], category ids int32 [N], mask bool [N], and places int32 [N] in the
    record."""

    features: np.ndarray
    objects: np.ndarray
    mask: np.ndarray
    places: np.ndarray


class Queries(NamedTuple):
    """Objects that candidates are found for: scene int [M], features float32 [M, D], category ids int32 [M], and places
    int32 [M] in their records."""

    scene: np.ndarray
    features: np.ndarray
    objects: np.ndarray
    places: np.ndarray


class SceneFeatures:
    """Features by the pretrained graph encoder of a workspace."""

    def __init__(self, workspace: Workspace, config: config_lib.ExperimentConfig):
        """Loads the encoder."""
        self._workspace, self._config = workspace, config
        self._encoder: GraphEncoder = artifacts.pretrained_graph_encoder(workspace, config)

    def of_bank(self, start: int) -> Iterator[np.ndarray]:
        """Of every training scene from one on, the features [n, D] of its recorded objects."""
        graphs = itertools.chain.from_iterable(self._batches("train", start))
        return (graph.features[graph.mask] for graph in graphs)

    def queries(self, split: str) -> Queries:
        """The objects of a split that candidates are found for."""
        batches = progress_bar(self._batches(split), desc=f"graph features of {split}", unit="batch")
        kept = []
        for scene, graph in enumerate(itertools.chain.from_iterable(batches)):
            columns = (graph.features, graph.objects, graph.places)
            kept.append((np.full(graph.mask.sum(), scene), *(column[graph.mask] for column in columns)))
        return Queries(*(np.concatenate(column) for column in zip(*kept)))

    def _batches(self, split: str, start: int = 0) -> Iterator[list[GraphFeatures]]:
        """Batches of scenes, from one on: of all recorded objects of the training split; of the others', of the scene
        graphs that are drawn of them."""
        source = artifacts.scene_source(self._workspace, self._config, split, whole=split == "train")
        batches = input_pipeline.graph_batches(source, self._config.graph_encoder.training.batch_size, start)

        # One trace for all batches, the smaller last one included.
        @tf.function(input_signature=[batches.element_spec])
        def encode(batch):
            return self._encoder.encode(batch).object_features

        for batch in batches:
            columns = (encode(batch), batch["objects"], batch["object_mask"], batch["object_index"])
            yield [GraphFeatures(*row) for row in zip(*(column.numpy() for column in columns))]
