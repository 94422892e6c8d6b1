"""All scores of a split in one pass over its drawn scenes; docs/evaluation.md states each protocol."""

from typing import NamedTuple

from pipelines.input_pipeline import SceneSource
from pipelines.patch_bank.bank import PatchBank
from pipelines.records import STYLE_NAMES
from rgan_tf import config as config_lib
from rgan_tf.evaluation.measurements import Measurement, Namer, Setting
from rgan_tf.evaluation.metrics.averages import EvaluationError
from rgan_tf.evaluation.metrics.category_retrieval import CategoryRow
from rgan_tf.evaluation.metrics.layout_scores import LayoutScores
from rgan_tf.evaluation.metrics.object_scores import ObjectAccuracy, discriminator_logits
from rgan_tf.evaluation.picture_scores import PictureScores
from rgan_tf.evaluation.pictures.model_drawing import ModelDrawing
from rgan_tf.evaluation.pictures.picture_folder import PictureFolder
from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing
from rgan_tf.evaluation.report.scenes import ReportScenes
from rgan_tf.evaluation.retrieval_figures import RetrievalFigures
from rgan_tf.progress import progress_bar
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace


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
    names, bank = drawing.vocabulary, drawing.bank
    pictures = PictureScores(workspace, config, names, setting.samples, lpips_weights)
    retrieval = RetrievalFigures(workspace, config, bank, training, names)
    model = _ModelScores(workspace, config, drawing)
    style_names = training.builder.info.metadata[STYLE_NAMES]
    shown = ReportScenes(bank, names, retrieval.styles, style_names)
    with progress_bar(total=drawing.size, desc=f"drawing {setting.split}", unit="scene") as bar:
        for batch in drawing:
            for scores in (pictures, model, retrieval):
                scores.update(batch)
            shown.add(batch)
            bar.update(len(batch.real))
    namer = Namer(setting, drawing.size)
    measured = [
        *pictures.results(namer, drawing.source, training),
        *model.results(namer),
        *retrieval.results(namer, setting.split),
    ]
    left_out = pictures.left_out + retrieval.left_out
    return Findings(measured, left_out, retrieval.categories.table(), shown, bank, training)


def score_model(
    workspace: Workspace, config: config_lib.ExperimentConfig, setting: Setting, lpips_weights: str = ""
) -> tuple[list[Measurement], list[str]]:
    """As `score_split`, of a model without patches of a bank: figures of pictures and boxes, and why others are
    missing."""
    drawing = ModelDrawing(workspace, config, *setting)
    training = artifacts.scene_source(workspace, config, "train")
    _check_splits(config.evaluation.splits, drawing.source, training)
    pictures = PictureScores(workspace, config, drawing.vocabulary, setting.samples, lpips_weights)
    layout = LayoutScores()
    with progress_bar(total=drawing.size, desc=f"drawing {setting.split}", unit="scene") as bar:
        for batch in drawing:
            pictures.update(batch)
            layout.update(batch.predicted_boxes, batch.scenes["boxes"], batch.scenes["object_mask"])
            bar.update(len(batch.real))
    namer = Namer(setting, drawing.size)
    measured = [*pictures.results(namer, drawing.source, training), *_of_layout(namer, layout)]
    return measured, pictures.left_out


def score_pictures(
    workspace: Workspace,
    config: config_lib.ExperimentConfig,
    setting: Setting,
    directory,
    lpips_weights: str = "",
) -> tuple[list[Measurement], list[str]]:
    """Measures pictures that somebody drew of a split, under the protocol of `score_split`.

    Args:
      workspace: whose data set and networks they are measured by.
      config: of its training, with the feature network to measure by.
      setting: split, boxes and samples of the pictures; its policy names them, as "pictures".
      directory: of `PictureFolder`.
      lpips_weights: file for the Diversity Score.

    Returns:
      All figures, and why others are missing.

    Raises:
      PictureFolderError: the folder does not hold what it should.
    """
    training = artifacts.scene_source(workspace, config, "train")
    source = artifacts.scene_source(workspace, config, setting.split)
    _check_splits(config.evaluation.splits, source, training)
    folder = PictureFolder(directory, source, setting.samples, setting.boxes)
    names = artifacts.vocabulary(workspace)
    scores = PictureScores(workspace, config, names, setting.samples, lpips_weights, folder.has_boxes)
    with progress_bar(total=folder.size, desc=f"pictures of {setting.split}", unit="scene") as bar:
        for batch in folder:
            scores.update(batch)
            bar.update(len(batch.real))
    return list(scores.results(Namer(setting, folder.size), source, training)), scores.left_out


def _check_splits(splits: int, *sources: SceneSource) -> None:
    """Raises `EvaluationError`, before anything is drawn, where there are fewer pictures than parts of the score."""
    for source in sources:
        if source.size < splits:
            raise EvaluationError(
                f"evaluation.splits is {splits}; the {source.split} split has {source.size} pictures, one at least for "
                "each part of the Inception Score, so lower it by --params_override=evaluation.splits=…."
            )


class _ModelScores:
    """What is asked of the trained model itself: its boxes, and its critic's view of objects."""

    def __init__(self, workspace: Workspace, config: config_lib.ExperimentConfig, drawing: SplitDrawing):
        self._layout = LayoutScores()
        logits = discriminator_logits(artifacts.trained_object_discriminator(workspace, config, drawing.vocabulary))
        self._objects, self._real_objects = ObjectAccuracy(logits), ObjectAccuracy(logits)

    def update(self, batch):
        scenes, mask = batch.scenes, batch.scenes["object_mask"]
        self._layout.update(batch.predicted_boxes, scenes["boxes"], mask)
        self._real_objects.update(batch.real, scenes["boxes"], scenes["objects"], mask)
        for sample in batch.samples:
            self._objects.update(sample.images, sample.boxes, scenes["objects"], mask)

    def results(self, namer: Namer):
        yield from _of_layout(namer, self._layout)
        yield namer.averaged("object_accuracy", "d_obj", self._objects.result()["accuracy"])
        yield namer.averaged("object_accuracy_real", "d_obj", self._real_objects.result()["accuracy"], drawn=False)


def _of_layout(namer: Namer, layout: LayoutScores):
    for name, score in layout.result().items():
        yield namer.averaged(f"box_{name}", "", score, drawn=False)
