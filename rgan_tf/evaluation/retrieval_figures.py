"""Figures of a split that are about the patches retrieved for it; pictures made without patches have none."""

from collections.abc import Iterator
from typing import Optional

import numpy as np

from pipelines.bank_reader import BankReader
from pipelines.input_pipeline import SceneSource
from rgan_tf import config as config_lib
from rgan_tf.evaluation.measurements import Measurement, Namer
from rgan_tf.evaluation.metrics import candidate_recall, retrieval_scores
from rgan_tf.evaluation.metrics.averages import UndefinedScore
from rgan_tf.evaluation.metrics.category_retrieval import CategoryRetrieval, CategoryRow
from rgan_tf.evaluation.pictures.split_drawing import DrawnBatch
from rgan_tf.scene_graph import Vocabulary
from rgan_tf.workspace import Workspace


class RetrievalFigures:
    """Fed batch by batch.

    Attributes:
      styles: of the training scenes [S], None where the data set has none.
      left_out: why a figure is missing.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: config_lib.ExperimentConfig,
        reader: BankReader,
        training: SceneSource,
        names: Vocabulary,
    ):
        """Takes the workspace, the reader of candidates, and the scenes that the bank was cut from."""
        self._workspace, self._config, self._read = workspace, config, reader.k
        bank = reader.bank
        self._rank = retrieval_scores.GroundTruthRank()
        self._learned = False
        self._cooccurrence = retrieval_scores.CooccurrenceDistance(bank) if bank.has_cooccurrence else None
        self._categories = CategoryRetrieval(names.objects)
        self.styles: Optional[np.ndarray] = None
        self.left_out: list[str] = []
        self._style = None
        try:
            self.styles = retrieval_scores.training_styles(training)
            self._style = retrieval_scores.StyleAgreement(bank, self.styles)
        except UndefinedScore as reason:
            self.left_out.append(str(reason))
        self._factors = retrieval_scores.factor_agreements(bank, training, names.objects)

    def update(self, batch: DrawnBatch) -> None:
        """Adds a drawn batch."""
        scenes, found = batch.scenes, batch.retrieval
        if found:
            self._learned = True
            ranks = self._rank.update(
                found.truth_features, found.truth_mask, found.candidate_features, scenes["candidate_mask"]
            )
            self._categories.add_ranks(scenes["objects"], ranks)
        for sample in batch.samples:
            if self._cooccurrence:
                self._cooccurrence.update(sample.rows)
            self._categories.add_rows(scenes["objects"], sample.rows)
            if self._style:
                self._style.update(sample.rows)
            for agreement in self._factors:
                agreement.update(sample.rows)

    def by_category(self) -> Optional[list[CategoryRow]]:
        """Retrieval by category; None where the model did not learn it."""
        return self._categories.table() if self._learned else None

    def results(self, namer: Namer, split: str) -> Iterator[Measurement]:
        """All figures."""
        k = f"k{self._read}"
        if self._learned:
            for name, score in self._rank.result().items():
                yield namer.averaged(f"ground_truth_{name}", k, score, drawn=False)
        if self._cooccurrence:
            # The field's mean over a scene's pairs, then over scenes: eq. (5).
            distance = self._cooccurrence.result()["cooccurrence_distance"]
            yield namer.measured("cooccurrence_distance", k, distance.scene_mean, None, {"pairs": distance.count})
        if self._style:
            yield namer.averaged("style_agreement", k, self._style.result()["style_agreement"])
        for agreement in self._factors:
            try:
                for name, score in agreement.result().items():
                    yield namer.averaged(name, k, score)
            except UndefinedScore as reason:
                self.left_out.append(str(reason))
        recall = candidate_recall.candidate_recall(self._workspace, self._config, split)
        for name, score in recall.items():
            yield namer.averaged(f"candidate_recall_{name}", f"k{self._config.candidates.k_max}", score, drawn=False)
