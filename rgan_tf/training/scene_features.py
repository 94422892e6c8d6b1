"""Graph features of a split's objects: what the bank is filled with, and what is asked for candidates."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines import input_pipeline
from pipelines.patch_bank.bank import PatchBank
from pipelines.records import GROUP
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


class Apart(NamedTuple):
    """What keeps an object's candidates apart from what it shows itself.

    bank: int [M], the group of each patch. scenes: int [S], the group of each of a split's scenes, -1 where the bank
    holds none of it.
    """

    bank: np.ndarray
    scenes: np.ndarray


def kept_apart(workspace: Workspace, config: config_lib.ExperimentConfig, bank: PatchBank, split: str) -> Apart:
    """The groups of a bank's patches and of a split's scenes.

    They are those of `data.group_separator` where it is set; else each training scene is one, and no other is in any.
    """
    source = artifacts.scene_source(workspace, config, split)
    if not config.data.group_separator:
        return Apart(bank.scene_index, np.arange(source.size) if split == "train" else np.full(source.size, -1))
    training = _groups(artifacts.scene_source(workspace, config, "train"))
    ids = {name: number for number, name in enumerate(dict.fromkeys(training))}
    of_training = np.array([ids[name] for name in training])
    return Apart(of_training[bank.scene_index], np.array([ids.get(name, -1) for name in _groups(source)]))


def _groups(source: input_pipeline.SceneSource) -> list[bytes]:
    return [record[GROUP] for _, record in source.records().as_numpy_iterator()]


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
