"""Statistics of real pictures and of the objects in them, computed once for a data set, split and network."""

import hashlib
from collections.abc import Iterator
from typing import Optional

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import SceneSource
from rgan_tf import config as config_lib
from rgan_tf import locks
from rgan_tf.evaluation.feature_networks.image_features import FeatureExtractor
from rgan_tf.evaluation.metrics.image_statistics import ImageStatistics, collect
from rgan_tf.evaluation.pictures.split_drawing import real_images, real_scenes
from rgan_tf.ops import pixels
from rgan_tf.ops.box_sampling import crop
from rgan_tf.workspace import Workspace, fingerprint


class RealStatistics:
    """Kept in a workspace's `evaluation/real_statistics/`."""

    def __init__(self, workspace: Workspace, config: config_lib.ExperimentConfig, extract: FeatureExtractor):
        """Takes the network and where its statistics are kept."""
        self._workspace, self._config, self._extract = workspace, config, extract

    def of_pictures(self, source: SceneSource, most: Optional[int] = None) -> ImageStatistics:
        """Of a split's own pictures, or the first `most`."""
        count = source.size if most is None else min(most, source.size)
        splits = self._config.evaluation.splits
        return self._kept(source, f"pictures {count}", real_images(source, count), splits)

    def of_objects(self, source: SceneSource, most: Optional[int] = None) -> ImageStatistics:
        """Of the objects in a split's own pictures, or the first `most`."""
        return self._kept(source, f"objects {most}", _first(_objects(source), most), 1)

    def _kept(self, source: SceneSource, what: str, images: Iterator[np.ndarray], splits: int) -> ImageStatistics:
        made_from = f"{fingerprint('dataset', self._config)} {source.split} {self._extract.fingerprint} {what} {splits}"
        key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
        path = self._workspace.root / "evaluation" / "real_statistics" / f"{key}.npz"
        found = ImageStatistics.load(path, key)
        if found is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # An ablation's workspaces share the folder.
            shared = path.parent.resolve()
            with locks.writing(shared.parents[1], shared.name):
                found = collect(self._extract, images, splits, f"real {source.split} {what.split()[0]}")
                found.save(path, key)
        return found


def object_pictures(images: np.ndarray, boxes: np.ndarray, object_mask: np.ndarray) -> np.ndarray:
    """The valid objects of pictures uint8 [B, S, S, 3], each cut out and brought to the size of a picture: uint8
    [M, S, S, 3]."""
    crops = crop(pixels.to_float(tf.constant(images)), tf.constant(boxes, tf.float32), images.shape[1:3])
    return pixels.to_uint8(crops).numpy()[object_mask]


def _objects(source: SceneSource) -> Iterator[np.ndarray]:
    for images, boxes, mask in real_scenes(source):
        yield object_pictures(images, boxes, mask)


def _first(batches: Iterator[np.ndarray], most: Optional[int]) -> Iterator[np.ndarray]:
    for images in batches:
        if most is not None:
            images, most = images[:most], most - len(images[:most])
        if len(images):
            yield images
        if most == 0:
            return
