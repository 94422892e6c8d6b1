"""All scores of a split in one pass over its drawn scenes; docs/evaluation.md states each protocol."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np

from pipelines.input_pipeline import SceneSource
from pipelines.patch_bank.bank import PatchBank
from pipelines.records import STYLE_NAMES
from rgan_tf import config as config_lib
from rgan_tf import locks
from rgan_tf.evaluation.feature_networks import image_features
from rgan_tf.evaluation.metrics import candidate_recall, image_scores, retrieval_scores
from rgan_tf.evaluation.metrics.averages import EvaluationError, Score, UndefinedScore
from rgan_tf.evaluation.metrics.category_retrieval import CategoryRetrieval, CategoryRow
from rgan_tf.evaluation.metrics.image_statistics import ImageStatistics, collect
from rgan_tf.evaluation.metrics.layout_scores import LayoutScores
from rgan_tf.evaluation.metrics.lpips import DiversityScore, Lpips
from rgan_tf.evaluation.metrics.object_scores import ObjectAccuracy
from rgan_tf.evaluation.pictures.split_drawing import DrawnBatch, SplitDrawing, real_images
from rgan_tf.evaluation.report.scenes import ReportScenes
from rgan_tf.progress import progress_bar
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace, fingerprint


class Setting(NamedTuple):
    """How a split is drawn: see `SplitDrawing`."""

    split: str = "test"
    boxes: str = "predicted"
    samples: int = 1
    policy: str = "learned"
    seed: int = 0


class Measurement(NamedTuple):
    """One figure.

    metric: short, such as "fid". name: with its protocol, such as "fid.test128.predicted_boxes.in_domain.none64".
    value, deviation: None where it has none. notes: cautions and what else belongs beside it.
    """

    metric: str
    name: str
    value: float
    deviation: Optional[float]
    notes: dict


class Findings(NamedTuple):
    """What an evaluation found.

    measurements: all figures. left_out: why others are missing. categories: retrieval by category. scenes: to be looked
    at. bank, training: the patch bank, and the training scenes that its patches were cut from.
    """

    measurements: list[Measurement]
    left_out: list[str]
    categories: list[CategoryRow]
    scenes: ReportScenes
    bank: PatchBank
    training: SceneSource


def score_split(
    workspace: Workspace, config: config_lib.ExperimentConfig, setting: Setting, lpips_weights: str = ""
) -> Findings:
    """Draws the split once and measures all that is defined for it.

    Args:
      workspace: trained.
      config: of its training, with the feature network to measure by.
      setting: what to draw.
      lpips_weights: file for the Diversity Score, which is left out without one or with a single sample a scene.
    """
    drawing = SplitDrawing(workspace, config, *setting)
    training = artifacts.scene_source(workspace, config, "train")
    _check_splits(config.evaluation.splits, drawing.source, training)
    scores = SplitScores(workspace, setting, drawing, training, lpips_weights)
    style_names = training.builder.info.metadata[STYLE_NAMES]
    shown = ReportScenes(drawing.bank, drawing.vocabulary, scores.styles, style_names)
    with progress_bar(total=drawing.size, desc=f"drawing {setting.split}", unit="scene") as bar:
        for batch in drawing:
            scores.update(batch)
            shown.add(batch)
            bar.update(len(batch.real))
    return Findings(scores.results(), scores.left_out, scores.categories.table(), shown, drawing.bank, training)


def _check_splits(splits: int, *sources: SceneSource) -> None:
    """Raises `EvaluationError`, before anything is drawn, where there are fewer pictures than parts of the score."""
    for source in sources:
        if source.size < splits:
            raise EvaluationError(
                f"evaluation.splits is {splits}; the {source.split} split has {source.size} pictures, one at least for "
                "each part of the Inception Score, so lower it by --params_override=evaluation.splits=…."
            )


class SplitScores:
    """Every score, fed batch by batch."""

    def __init__(
        self,
        workspace: Workspace,
        setting: Setting,
        drawing: SplitDrawing,
        training: SceneSource,
        lpips_weights: str = "",
    ):
        """Makes the networks; scores that the data set does not define are left out, and said."""
        self._workspace, self._setting, self._drawing, self._training = workspace, setting, drawing, training
        config = self._config = drawing.config
        self._extract = image_features.make_feature_extractor(config, workspace)
        self._generated = ImageStatistics(config.evaluation.splits)
        self._layout, self._rank = LayoutScores(), retrieval_scores.GroundTruthRank()
        self._cooccurrence = retrieval_scores.CooccurrenceDistance(drawing.bank)
        discriminator = artifacts.trained_object_discriminator(workspace, config, drawing.vocabulary)
        self._objects, self._real_objects = ObjectAccuracy(discriminator), ObjectAccuracy(discriminator)
        self.categories = CategoryRetrieval(drawing.vocabulary.objects)
        self._style, self._diversity = None, None
        self.styles, self.left_out = None, []
        try:
            self.styles = retrieval_scores.training_styles(training)
            self._style = retrieval_scores.StyleAgreement(drawing.bank, self.styles)
        except UndefinedScore as reason:
            self.left_out.append(str(reason))
        if lpips_weights and setting.samples > 1:
            self._diversity = DiversityScore(Lpips(lpips_weights))
        else:
            self.left_out.append(
                "The Diversity Score needs --lpips_weights and at least two --samples_per_scene; it is left out."
            )

    def update(self, batch: DrawnBatch) -> None:
        """Adds a drawn batch."""
        scenes, mask = batch.scenes, batch.scenes["object_mask"]
        self._layout.update(batch.predicted_boxes, scenes["boxes"], mask)
        truth, candidates = (
            (batch.truth_features, batch.truth_mask),
            (batch.candidate_features, scenes["candidate_mask"]),
        )
        self.categories.add_ranks(scenes["objects"], self._rank.update(*truth, *candidates))
        self._real_objects.update(batch.real, scenes["boxes"], scenes["objects"], mask)
        for sample in batch.samples:
            self._generated.add(self._extract(sample.images))
            self._objects.update(sample.images, sample.boxes, scenes["objects"], mask)
            self._cooccurrence.update(sample.rows)
            self.categories.add_rows(scenes["objects"], sample.rows)
            if self._style:
                self._style.update(sample.rows)
        if self._diversity:
            for images in np.stack([sample.images for sample in batch.samples], axis=1):
                self._diversity.add(images)

    def results(self) -> list[Measurement]:
        """All figures."""
        found = [*self._image_scores(), *self._layout_scores(), *self._retrieval_scores()]
        if self._diversity:
            result = self._diversity.result()
            found.append(self._measured("diversity", "lpips_alex_v0.1", result.mean, result.deviation))
        return found

    def _image_scores(self) -> Iterator[Measurement]:
        protocol = f"{self._extract.name}.{self._extract.resize}"
        network = {**self._extract.notes, "network_fingerprint": self._extract.fingerprint}
        real = self._real_statistics(self._drawing.source)
        distance = image_scores.frechet_distance(self._generated, real)
        notes = {"real_images": distance.real_images, "caution": self._cautions(distance.caution), **network}
        yield self._measured("fid", protocol, distance.value, None, notes)
        # As many as were drawn, where there are so many: the distance depends on the number of pictures.
        training = self._real_statistics(self._training, self._generated.count)
        floor = image_scores.frechet_distance(training, real)
        notes = {"real_images": floor.real_images, "caution": self._cautions(floor.caution), **network}
        yield self._measured("fid_real", f"train{training.count}.{protocol}", floor.value, None, notes, drawn=False)
        sides = (("is", self._generated, True), ("is_real", real, False))
        for metric, statistics, drawn in sides:
            try:
                score = image_scores.inception_score(statistics)
            except UndefinedScore as reason:
                self.left_out.append(str(reason))
                continue
            notes = {"caution": self._cautions(score.caution), **network}
            name = f"{protocol}.splits{score.splits}"
            yield self._measured(metric, name, score.mean, score.deviation, notes, drawn)

    def _cautions(self, of_score: str) -> str:
        """What belongs beside a score, because of the images and because of the network."""
        return " ".join(filter(None, (of_score, self._extract.caution)))

    def _layout_scores(self) -> Iterator[Measurement]:
        for name, score in self._layout.result().items():
            yield self._averaged(f"box_{name}", "", score, drawn=False)
        yield self._averaged("object_accuracy", "d_obj", self._objects.result()["accuracy"])
        yield self._averaged("object_accuracy_real", "d_obj", self._real_objects.result()["accuracy"], drawn=False)

    def _retrieval_scores(self) -> Iterator[Measurement]:
        k = f"k{self._config.candidates.k_max}"
        for name, score in self._rank.result().items():
            yield self._averaged(f"ground_truth_{name}", k, score, drawn=False)
        # The field's mean over a scene's pairs, then over scenes: eq. (5).
        distance = self._cooccurrence.result()["cooccurrence_distance"]
        yield self._measured("cooccurrence_distance", k, distance.scene_mean, None, {"pairs": distance.count})
        if self._style:
            yield self._averaged("style_agreement", k, self._style.result()["style_agreement"])
        recall = candidate_recall.candidate_recall(self._workspace, self._config, self._setting.split)
        for name, score in recall.items():
            yield self._averaged(f"candidate_recall_{name}", k, score, drawn=False)

    def _averaged(self, metric: str, protocol: str, score: Score, drawn: bool = True) -> Measurement:
        notes = {"scene_mean": score.scene_mean, "count": score.count, "scenes": score.scenes}
        return self._measured(metric, protocol, score.mean, None, notes, drawn)

    def _measured(
        self, metric: str, protocol: str, value: float, deviation: Optional[float], notes=None, drawn: bool = True
    ) -> Measurement:
        """Names a figure; `drawn` tells whether it depends on how scenes were drawn."""
        setting, count = self._setting, f"{self._setting.split}{self._drawing.size}"
        parts = [metric, count]
        if drawn:
            parts[1] += f"x{setting.samples}" if setting.samples > 1 else ""
            parts += [f"{setting.boxes}_boxes"] + (
                [f"{setting.policy}_retrieval"] if setting.policy != "learned" else []
            )
        name = ".".join(part for part in [*parts, protocol] if part)
        notes = {key: note for key, note in (notes or {}).items() if note != ""}
        return Measurement(metric, name, float(value), None if deviation is None else float(deviation), notes)

    def _real_statistics(self, source: SceneSource, most: Optional[int] = None) -> ImageStatistics:
        """Of a split's own pictures, or the first `most`; computed once for a data set, split and network."""
        count = source.size if most is None else min(most, source.size)
        made_from = f"{fingerprint('dataset', self._config)} {source.split} {self._extract.fingerprint}"
        made_from += f" {self._config.evaluation.splits}" + (f" {count}" if count < source.size else "")
        key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
        path = self._workspace.root / "evaluation" / "real_statistics" / f"{key}.npz"
        found = ImageStatistics.load(path, key)
        if found is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # An ablation's workspaces share the folder.
            shared = path.parent.resolve()
            with locks.writing(shared.parents[1], shared.name):
                images = real_images(source, count)
                found = collect(self._extract, images, self._config.evaluation.splits, f"real {source.split}")
                found.save(path, key)
        return found
