"""All scores of a split in one pass over its drawn scenes; docs/evaluation.md states each protocol."""

from typing import NamedTuple, Optional

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
from rgan_tf.evaluation.pictures.picture_folder import PictureFolder
from rgan_tf.evaluation.pictures.split_drawing import SplitDrawing
from rgan_tf.evaluation.report.scenes import ReportScenes
from rgan_tf.evaluation.retrieval_figures import RetrievalFigures
from rgan_tf.progress import progress_bar
from rgan_tf.training import artifacts
from rgan_tf.workspace import Workspace


class Findings(NamedTuple):
    """What an evaluation found.

    measurements: all figures. left_out: why others are missing. categories: retrieval by category, where it was
    learned. scenes: to be looked at. bank: the patch bank of a model that retrieves. training: the training scenes.
    """

    measurements: list[Measurement]
    left_out: list[str]
    categories: Optional[list[CategoryRow]]
    scenes: ReportScenes
    bank: Optional[PatchBank]
    training: SceneSource


def score_split(
    workspace: Workspace, config: config_lib.ExperimentConfig, setting: Setting, lpips_weights: str = ""
) -> Findings:
    """Draws the split once and measures all that is defined for the model.

    Args:
      workspace: trained.
      config: of its training, with the feature network to measure by.
      setting: what to draw.
      lpips_weights: file for the Diversity Score, which is left out without one or with a single sample a scene.
    """
    drawing = SplitDrawing(workspace, config, *setting)
    training = artifacts.scene_source(workspace, config, "train")
    _check_splits(config.evaluation.splits, drawing.source, training)
    names, reader = drawing.vocabulary, drawing.reader
    bank = reader.bank if reader else None
    pictures = PictureScores(workspace, config, names, setting.samples, lpips_weights)
    retrieval = RetrievalFigures(workspace, config, reader, training, names) if reader else None
    model = _ModelScores(workspace, config, drawing)
    style_names = training.builder.info.metadata[STYLE_NAMES]
    shown = ReportScenes(bank, names, retrieval.styles if retrieval else None, style_names)
    with progress_bar(total=drawing.size, desc=f"drawing {setting.split}", unit="scene") as bar:
        for batch in drawing:
            for scores in filter(None, (pictures, model, retrieval)):
                scores.update(batch)
            shown.add(batch)
            bar.update(len(batch.real))
    namer = Namer(setting, drawing.size)
    measured = [*pictures.results(namer, drawing.source, training), *model.results(namer)]
    left_out, categories = pictures.left_out, None
    if retrieval:
        measured += retrieval.results(namer, setting.split)
        left_out, categories = left_out + retrieval.left_out, retrieval.by_category()
    return Findings(measured, left_out, categories, shown, bank, training)


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
        self._sees_mattes = drawing.reader is not None and drawing.reader.bank.has_mattes

    def update(self, batch):
        scenes, mask = batch.scenes, batch.scenes["object_mask"]
        self._layout.update(batch.predicted_boxes, scenes["boxes"], mask)
        own = batch.own_patches if self._sees_mattes else None
        self._real_objects.update(batch.real, scenes["boxes"], scenes["objects"], mask, own)
        for sample in batch.samples:
            patches = sample.patches if self._sees_mattes else None
            self._objects.update(sample.images, sample.boxes, scenes["objects"], mask, patches)

    def results(self, namer: Namer):
        for name, score in self._layout.result().items():
            yield namer.averaged(f"box_{name}", "", score, drawn=False)
        yield namer.averaged("object_accuracy", "d_obj", self._objects.result()["accuracy"])
        yield namer.averaged("object_accuracy_real", "d_obj", self._real_objects.result()["accuracy"], drawn=False)
