"""What a report shows of a split: some scenes in full, the best and the worst fitting ones, and which styles meet."""

import heapq
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import SceneSource
from pipelines.patch_bank.bank import PatchBank
from rgan_tf.drawing import SceneView
from rgan_tf.evaluation.metrics.retrieval_scores import cooccurrence_distances
from rgan_tf.evaluation.pictures.split_drawing import DrawnBatch
from rgan_tf.scene_graph import SceneGraph, Vocabulary, unpad_scene

_SHOWN, _EXTREMES = 8, 4


class ShownScene(NamedTuple):
    """A drawn scene, without padding.

    index in the split; scene; boxes [n, 4], patches uint8 [n, h, w, 3] and rows [n] of the first sample; images, one a
    sample, uint8 [H, W, 3]; reconstructed and real likewise; distance, the co-occurrence distance of its patches, None
    for fewer than two. patches, rows and reconstructed are None of a model that has none.
    """

    index: int
    scene: SceneGraph
    boxes: np.ndarray
    patches: Optional[np.ndarray]
    rows: Optional[np.ndarray]
    images: list[np.ndarray]
    reconstructed: Optional[np.ndarray]
    real: np.ndarray
    distance: Optional[float]

    def view(self) -> SceneView:
        """As a row of a sheet."""
        pictures = (("image", self.images[0]), ("reconstruction", self.reconstructed), ("ground truth", self.real))
        shown = tuple((title, picture) for title, picture in pictures if picture is not None)
        return SceneView(self.scene, self.boxes, self.patches, shown)


class ReportScenes:
    """Collects what is shown while a split is drawn; keeps a few scenes, whatever the split's size."""

    def __init__(
        self,
        bank: Optional[PatchBank],
        names: Vocabulary,
        styles: Optional[np.ndarray],
        style_names: list[str],
    ):
        """Takes the bank of a model that retrieves, the vocabulary, and the styles [S] of training scenes, if any."""
        self._bank, self._names, self._styles = bank, names, styles
        self.style_names = style_names
        self.shown: list[ShownScene] = []
        self._best: list[tuple[float, int, ShownScene]] = []
        self._worst: list[tuple[float, int, ShownScene]] = []
        # Pairs of retrieved patches by the styles of their source scenes, symmetric.
        self.style_pairs = np.zeros((len(style_names), len(style_names)), np.int64)

    def add(self, batch: DrawnBatch) -> None:
        """Looks at a drawn batch."""
        for b in range(len(batch.real)):
            found = self._scene(batch, b)
            if len(self.shown) < _SHOWN:
                self.shown.append(found)
            if found.distance is not None:
                _keep(self._best, -found.distance, found)
                _keep(self._worst, found.distance, found)
            if self._styles is not None and found.rows is not None:
                self._count_styles(found.rows)

    @property
    def best(self) -> list[ShownScene]:
        """The scenes whose patches fit best by co-occurrence, the best first."""
        return [found for _, _, found in sorted(self._best, key=lambda kept: -kept[0])]

    @property
    def worst(self) -> list[ShownScene]:
        """The scenes whose patches fit worst, the worst first."""
        return [found for _, _, found in sorted(self._worst, key=lambda kept: -kept[0])]

    def _scene(self, batch: DrawnBatch, b: int) -> ShownScene:
        scenes, sample = batch.scenes, batch.samples[0]
        mask = scenes["object_mask"][b]
        graph = [scenes[name][b] for name in ("objects", "object_mask", "triples", "triple_mask")]
        return ShownScene(
            index=int(scenes["scene_index"][b]),
            scene=unpad_scene(*graph, self._names),
            boxes=sample.boxes[b][mask],
            patches=None if sample.patches is None else sample.patches[b][mask],
            rows=None if sample.rows is None else sample.rows[b][mask],
            images=[one.images[b] for one in batch.samples],
            reconstructed=None if batch.reconstructed is None else batch.reconstructed[b],
            real=batch.real[b],
            distance=None if sample.rows is None else self._distance(sample.rows[b][mask]),
        )

    def _distance(self, rows: np.ndarray) -> Optional[float]:
        if not self._bank.has_cooccurrence:
            return None
        squared, counted = cooccurrence_distances(self._bank, rows[np.newaxis])
        return float(squared[counted].mean()) if counted.any() else None

    def _count_styles(self, rows: np.ndarray) -> None:
        styles = self._styles[self._bank.scene_index[rows[rows >= 0]]]
        for i, first in enumerate(styles):
            for second in styles[:i]:
                self.style_pairs[first, second] += 1
                self.style_pairs[second, first] += 1


def _keep(heap: list, key: float, found: ShownScene) -> None:
    """Keeps the entries of the largest keys; of equal ones the scenes that came first."""
    heapq.heappush(heap, (key, -found.index, found))
    if len(heap) > _EXTREMES:
        heapq.heappop(heap)


def source_pictures(source: SceneSource, bank: PatchBank, scenes: list[ShownScene]) -> dict[int, np.ndarray]:
    """The training pictures uint8 from which the scenes' patches were cut, by training scene index."""
    wanted = {int(bank.scene_index[row]) for found in scenes for row in found.rows if row >= 0}
    pictures = {}
    for index, record in source.records().as_numpy_iterator():
        if int(index) in wanted:
            pictures[int(index)] = tf.io.decode_image(record["image"], channels=3, expand_animations=False).numpy()
    return pictures
