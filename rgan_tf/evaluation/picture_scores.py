"""Figures of a split's pictures, wherever they come from: images, the objects in them, and the relations of boxes."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import SceneSource
from rgan_tf import config as config_lib
from rgan_tf.evaluation.feature_networks import image_features, object_classifier
from rgan_tf.evaluation.measurements import Measurement, Namer, interval_note
from rgan_tf.evaluation.metrics import image_scores
from rgan_tf.evaluation.metrics.averages import UndefinedScore
from rgan_tf.evaluation.metrics.image_statistics import ImageStatistics
from rgan_tf.evaluation.metrics.lpips import DiversityScore, Lpips
from rgan_tf.evaluation.metrics.manifold_scores import manifold_scores
from rgan_tf.evaluation.metrics.object_scores import ObjectAccuracy
from rgan_tf.evaluation.metrics.relation_scores import RelationAccuracy
from rgan_tf.evaluation.pictures.split_drawing import DrawnBatch
from rgan_tf.evaluation.real_statistics import RealStatistics, object_pictures
from rgan_tf.scene_graph import Vocabulary
from rgan_tf.workspace import Workspace


class PictureScores:
    """Fed batch by batch; `left_out` says why a figure is missing."""

    def __init__(
        self,
        workspace: Workspace,
        config: config_lib.ExperimentConfig,
        names: Vocabulary,
        samples: int,
        lpips_weights: str = "",
        has_boxes: bool = True,
    ):
        """Makes the networks.

        Args:
          workspace: with the data set; keeps networks and statistics.
          config: of the training, with the feature network to measure by.
          names: the vocabulary.
          samples: pictures of a scene.
          lpips_weights: file for the Diversity Score.
          has_boxes: whether it is known where the pictures show their objects.
        """
        self._has_boxes = has_boxes
        self.left_out: list[str] = []
        self._extract = image_features.make_feature_extractor(config, workspace)
        self._real = RealStatistics(workspace, config, self._extract)
        self._pictures, self._objects = ImageStatistics(config.evaluation.splits), ImageStatistics(1)
        self._classifier = object_classifier.trained(config, workspace)
        logits = tf.function(self._classifier.class_logits, reduce_retracing=True)
        self._accuracy, self._real_accuracy = ObjectAccuracy(logits), ObjectAccuracy(logits)
        self._relations = self._real_relations = None
        if not has_boxes:
            self.left_out.append(
                "Where these pictures show their objects is not known (boxes.json): scores of objects and relations "
                "are left out."
            )
        else:
            try:
                self._relations = RelationAccuracy(names.predicates)
                self._real_relations = RelationAccuracy(names.predicates)
            except UndefinedScore as reason:
                self.left_out.append(str(reason))
        self._diversity = DiversityScore(Lpips(lpips_weights)) if lpips_weights and samples > 1 else None
        if self._diversity is None:
            self.left_out.append(
                "The Diversity Score needs --lpips_weights and at least two --samples_per_scene; it is left out."
            )

    def update(self, batch: DrawnBatch) -> None:
        """Adds a drawn batch."""
        scenes, mask = batch.scenes, batch.scenes["object_mask"]
        triples = scenes["triples"], scenes["triple_mask"]
        self._real_accuracy.update(batch.real, scenes["boxes"], scenes["objects"], mask)
        if self._relations:
            self._real_relations.update(scenes["boxes"], *triples)
        for sample in batch.samples:
            self._pictures.add(self._extract(sample.images))
            if sample.boxes is None:
                continue
            self._objects.add(self._extract(object_pictures(sample.images, sample.boxes, mask)))
            self._accuracy.update(sample.images, sample.boxes, scenes["objects"], mask)
            if self._relations:
                self._relations.update(sample.boxes, *triples)
        if self._diversity:
            for images in np.stack([sample.images for sample in batch.samples], axis=1):
                self._diversity.add(images)

    def results(self, namer: Namer, source: SceneSource, training: SceneSource) -> Iterator[Measurement]:
        """All figures.

        Args:
          namer: of the drawn split.
          source: that split.
          training: the training split, for the floors.
        """
        real = self._real.of_pictures(source)
        # As many as were drawn, where there are so many: distances depend on the number of pictures.
        floor = self._real.of_pictures(training, self._pictures.count)
        yield from self._distances(namer, "", self._pictures, real, floor)
        yield from self._inception_scores(namer, real)
        if self._has_boxes:
            yield from self._object_scores(namer, source, training)
        if self._diversity:
            result = self._diversity.result()
            yield namer.measured("diversity", "lpips_alex_v0.1", result.mean, result.deviation)

    def _object_scores(self, namer: Namer, source: SceneSource, training: SceneSource) -> Iterator[Measurement]:
        objects, object_floor = self._real.of_objects(source), self._real.of_objects(training, self._objects.count)
        yield from self._distances(namer, "scene_", self._objects, objects, object_floor)
        caution = self._classifier.caution
        for metric, accuracy, drawn in (
            ("classifier_accuracy", self._accuracy, True),
            ("classifier_accuracy_real", self._real_accuracy, False),
        ):
            yield namer.averaged(metric, "own", accuracy.result()["accuracy"], drawn, caution)
        if self._relations:
            yield namer.averaged("relation_accuracy", "", self._relations.result())
            yield namer.averaged("relation_accuracy_real", "", self._real_relations.result(), drawn=False)

    def _distances(
        self, namer: Namer, prefix: str, drawn: ImageStatistics, real: ImageStatistics, floor: ImageStatistics
    ) -> Iterator[Measurement]:
        """Of drawn against real ones, and of as many training ones against the same: the Fréchet distance, and of whole
        pictures also the scores that need all features."""
        protocol = f"{self._extract.name}.{self._extract.resize}"
        for suffix, statistics, is_drawn, place in (
            ("", drawn, True, protocol),
            ("_real", floor, False, f"train{floor.count}.{protocol}"),
        ):
            distance = image_scores.frechet_distance(statistics, real)
            notes = {"real_images": distance.real_images, **self._network(distance.caution)}
            yield namer.measured(f"{prefix}fid{suffix}", place, distance.value, None, notes, is_drawn)
            if prefix:
                continue
            try:
                kernel = image_scores.kernel_distance(statistics.features, real.features)
                notes = {"real_images": kernel.real_images, "blocks": kernel.blocks, **self._network("")}
                yield namer.measured(f"kid{suffix}", place, kernel.value, kernel.deviation, notes, is_drawn)
                for name, score in manifold_scores(statistics.features, real.features).items():
                    notes = {**interval_note(score.interval), **self._network("")}
                    where = f"k{score.neighbours}.{place}"
                    yield namer.measured(f"{name}{suffix}", where, score.value, None, notes, is_drawn)
            except UndefinedScore as reason:
                self.left_out.append(str(reason))

    def _inception_scores(self, namer: Namer, real: ImageStatistics) -> Iterator[Measurement]:
        for metric, statistics, drawn in (("is", self._pictures, True), ("is_real", real, False)):
            try:
                score = image_scores.inception_score(statistics)
            except UndefinedScore as reason:
                if str(reason) not in self.left_out:
                    self.left_out.append(str(reason))
                continue
            protocol = f"{self._extract.name}.{self._extract.resize}.splits{score.splits}"
            yield namer.measured(metric, protocol, score.mean, score.deviation, self._network(score.caution), drawn)

    def _network(self, caution: str) -> dict:
        """Notes on the network, and what belongs beside a score because of the images and because of it."""
        cautions = " ".join(filter(None, (caution, self._extract.caution)))
        return {**self._extract.notes, "network_fingerprint": self._extract.fingerprint, "caution": cautions}
