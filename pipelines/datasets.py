"""The data set of a configuration: its builder, its preparation, its vocabulary."""

import tensorflow_datasets as tfds

from pipelines import records, relations
from pipelines.coco_stuff.builder import CocoStuff, CocoStuffConfig
from pipelines.synthetic_scenes.builder import SyntheticScenes, SyntheticScenesConfig
from rgan_tf.config import DataConfig
from rgan_tf.scene_graph import Vocabulary


def make_builder(config: DataConfig, data_dir) -> tfds.core.GeneratorBasedBuilder:
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
        settings = SyntheticScenesConfig(scenes=scenes, image_size=config.image_size, **protocol)
        return SyntheticScenes(data_dir=data_dir, config=settings)
    if config.builder == "coco_stuff":
        settings = CocoStuffConfig(
            source_dir=config.source_dir,
            validation_images=config.validation_images,
            require_stuff=config.require_stuff,
            **protocol,
        )
        return CocoStuff(data_dir=data_dir, config=settings)
    raise ValueError(f"data.builder is {config.builder!r}; it must be 'synthetic_scenes' or 'coco_stuff'.")


def prepare(builder: tfds.core.GeneratorBasedBuilder) -> None:
    """Writes the builder's records where they are not written yet.

    Raises:
      SourceError: the source folder lacks what the builder reads, or no usable scene is left for a split.
    """
    if builder.is_prepared():
        return
    # The builders show their own progress.
    tfds.disable_progress_bar()
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))


def vocabulary(builder: tfds.core.GeneratorBasedBuilder) -> Vocabulary:
    """Object names of a prepared data set, and the predicates drawn for it.

    Raises:
      ValueError: the data set is not prepared.
    """
    names = builder.info.metadata[records.OBJECT_NAMES]
    if not names:
        raise ValueError(f"The data set under {builder.data_dir} has no vocabulary yet; prepare it first.")
    return Vocabulary.from_names(names, relations.PREDICATES)


def source_report(builder: tfds.core.GeneratorBasedBuilder) -> list[str]:
    """What a prepared data set made of its source: one line a part for the images, one for each kind of problem."""
    lines = []
    metadata = builder.info.metadata
    for part, verdicts in metadata[records.SELECTION].items():
        told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
        lines.append(f"{part}: {sum(verdicts.values())} images: {told}")
    for part, problems in metadata[records.PROBLEMS].items():
        lines += [f"{part}: {number} x {kind}" for kind, number in sorted(problems.items())]
    return lines
