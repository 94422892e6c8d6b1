"""The data set of a configuration: its builder, its preparation, its vocabulary."""

import pathlib
import shutil
from typing import TYPE_CHECKING, Optional

import tensorflow_datasets as tfds

from pipelines import photographs, records, relations
from pipelines.coco_stuff import builder as coco_stuff
from pipelines.coco_stuff.builder import CocoStuff, CocoStuffConfig
from pipelines.scene_builder import SceneBuilder
from pipelines.synthetic_scenes.builder import SyntheticScenes, SyntheticScenesConfig
from pipelines.visual_genome import builder as visual_genome
from pipelines.visual_genome.builder import VisualGenome, VisualGenomeConfig
from pipelines.visual_genome.protocol import Protocol
from rgan_tf.config import DataConfig
from rgan_tf.scene_graph import Vocabulary

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_PUBLISHED = {"coco_stuff": coco_stuff.PUBLISHED, "visual_genome": visual_genome.PUBLISHED}


def make_builder(config: DataConfig, data_dir) -> SceneBuilder:
    """Returns the builder of the configured data set, whose records live (or will live) under `data_dir`.

    The directory below `data_dir` names the settings that shape the records, so data sets of different settings never
    share one.

    Raises:
      ValueError: `config.builder` is not known, or its settings make no sense.
    """
    protocol = dict(
        min_object_area=config.min_object_area, min_objects=config.min_objects, max_objects=config.max_objects
    )
    if config.builder == "synthetic_scenes":
        scenes = dict(train=config.train_scenes, validation=config.validation_scenes, test=config.test_scenes)
        recorded = dict(mattes=config.mattes, factors=config.hidden_factors)
        settings = SyntheticScenesConfig(scenes=scenes, image_size=config.image_size, **recorded, **protocol)
        return SyntheticScenes(data_dir=data_dir, config=settings)
    if config.builder == "coco_stuff":
        settings = CocoStuffConfig(
            source_dir=config.source_dir,
            validation_images=config.validation_images,
            require_stuff=config.require_stuff,
            group_separator=config.group_separator,
            mattes=config.mattes,
            **protocol,
        )
        return CocoStuff(data_dir=data_dir, config=settings)
    if config.builder == "visual_genome":
        own = config.visual_genome.as_dict()
        splits_file = own.pop("splits_file")
        rules = Protocol(min_objects=config.min_objects, **own)
        settings = VisualGenomeConfig(source_dir=config.source_dir, splits_file=splits_file, rules=rules)
        return VisualGenome(data_dir=data_dir, config=settings)
    raise ValueError(
        f"data.builder is {config.builder!r}; it must be 'synthetic_scenes', 'coco_stuff' or 'visual_genome'."
    )


def prepare(builder: SceneBuilder, beam_options: Optional["PipelineOptions"] = None) -> None:
    """Writes the builder's records where they are not written yet.

    What an earlier run that was killed found out about photographs is taken over; on Beam its runner sees to that.

    Args:
      builder: of `make_builder`.
      beam_options: of `parse_beam_options`; None makes the records in this process. They are the same.

    Raises:
      SourceError: the source folder lacks what the builder reads, or no usable scene is left for a split.
      BeamError: the pipeline failed.
    """
    if builder.is_prepared():
        return
    for left in pathlib.Path(builder.data_dir).parent.glob("incomplete.*"):
        shutil.rmtree(left)
    # The builders show their own progress.
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(try_download_gcs=False, beam_options=beam_options)
    builder.download_and_prepare(download_config=config)
    photographs.clean_up(builder)


def vocabulary(builder: SceneBuilder) -> Vocabulary:
    """Object names of a prepared data set, and the predicates that are annotated in it or drawn for it.

    Raises:
      ValueError: the data set is not prepared.
    """
    names = builder.info.metadata[records.OBJECT_NAMES]
    if not names:
        raise ValueError(f"The data set under {builder.data_dir} has no vocabulary yet; prepare it first.")
    # Data sets of before there were annotated ones do not say that they name none.
    return Vocabulary.from_names(names, builder.info.metadata.get(records.PREDICATES) or relations.PREDICATES)


def source_report(builder: SceneBuilder) -> list[str]:
    """What a prepared data set made of its source.

    Returns:
      One line for its counts, with the published ones where there are any and a warning where they differ; one line a
      part for the images; one for each kind of problem.
    """
    lines = counts(builder)
    metadata = builder.info.metadata
    for part, verdicts in metadata[records.SELECTION].items():
        told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
        lines.append(f"{part}: {sum(verdicts.values())} images: {told}")
    for part, problems in metadata[records.PROBLEMS].items():
        lines += [f"{part}: {number} x {kind}" for kind, number in sorted(problems.items())]
    return lines


def counts(builder: tfds.core.DatasetBuilder) -> list[str]:
    """A line with the numbers of a prepared data set beside the published ones; where they differ, one that warns."""
    metadata, published = builder.info.metadata, _PUBLISHED.get(builder.name)
    found = {f"{split} scenes": info.num_examples for split, info in builder.info.splits.items()}
    found["categories"] = len(metadata[records.OBJECT_NAMES])
    if metadata.get(records.PREDICATES):
        found["predicates"] = len(metadata[records.PREDICATES])
    if published is None:
        return [", ".join(f"{number:,} {what}" for what, number in found.items())]
    expected = {f"{split} scenes": number for split, number in published.scenes.items()}
    expected.update(categories=published.object_names, predicates=published.predicates)
    told = [f"{number:,} {what} (published: {expected[what]:,})" for what, number in found.items()]
    differ = [what for what, number in found.items() if number != expected[what]]
    warning = f"warning: {', '.join(differ)} differ from what is published: {published.reasons}"
    return [", ".join(told), *([warning] if differ else [])]
