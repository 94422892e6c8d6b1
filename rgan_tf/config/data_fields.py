"""Fields of the data set, each with its bound."""

import dataclasses
from typing import Annotated

from official.modeling import hyperparams

from rgan_tf.config import kinds
from rgan_tf.config.bounds import Integer, Number, OneOf, Text


@dataclasses.dataclass
class VisualGenomeConfig(hyperparams.Config):
    """sg2im's protocol for Visual Genome (Johnson et al. 2018, section 4); read by its builder alone."""

    # JSON of image ids, {"train": [...], "val": [...], "test": [...]}, as sg2im publishes it; empty: 80, 10 and 10
    # percent by a hash of the id.
    splits_file: kinds.Path = ""
    # Pixels on an image's shorter side, and of an object in width and in height.
    min_image_side: Annotated[int, Integer(1, 10**5)] = 200
    min_object_side: Annotated[int, Integer(1, 10**5)] = 32
    # A category or predicate needs so many instances in the training split.
    min_category_count: kinds.Count = 2000
    min_predicate_count: kinds.Count = 500
    # An image has data.min_objects to so many objects, of which a scene draws data.max_objects anew in each epoch.
    max_objects: Annotated[int, Integer(1, 1024)] = 30
    min_relationships: Annotated[int, Integer(0, 8192)] = 1
    max_relationships: Annotated[int, Integer(1, 8192)] = 30


@dataclasses.dataclass
class DataConfig(hyperparams.Config):
    """Which scenes to learn from, and how they are padded (DESIGN section "Tensors")."""

    builder: Annotated[str, OneOf(("synthetic_scenes", "coco_stuff", "visual_genome"))] = "synthetic_scenes"
    # Folder of the source files as they are published, unpacked. synthetic_scenes draws its own and needs none.
    source_dir: kinds.Path = ""
    # synthetic_scenes: number of scenes drawn for each split.
    train_scenes: kinds.Count = 2000
    validation_scenes: kinds.Count = 128
    test_scenes: kinds.Count = 128
    # synthetic_scenes: a hue of the air and a region are hidden beside the style; a harder test of retrieval.
    hidden_factors: kinds.Switch = False
    # coco_stuff: the first so many of val2017 become validation, the rest test (sg2im: 1024).
    validation_images: kinds.Count = 1024
    require_stuff: kinds.Switch = True
    # What ends the part of a picture's name that pictures share which look alike, as the frames of one drive: "_" makes
    # a group of 0001TP_006690.jpg and 0001TP_006720.jpg. No object is given a candidate of its own group then, whatever
    # its split. "": a picture is a group of its own.
    group_separator: Annotated[str, Text("what ends the part of a picture's name that its group shares")] = ""
    # synthetic_scenes and coco_stuff: records keep which pixels of its box are an object's, for patch_bank.mattes.
    mattes: kinds.Switch = False
    # An object's box must cover more than this share of the image (sg2im: 0.02); visual_genome has bounds of its own.
    min_object_area: Annotated[float, Number(0.0, 0.99)] = 0.02
    # synthetic_scenes: of the numbers between these two it draws 3 to 14.
    min_objects: Annotated[int, Integer(1, 256)] = 3
    max_objects: Annotated[int, Integer(1, 256)] = 8
    # One drawn relation an object in training, or all that are annotated; scene graphs given by users may hold up to
    # this many.
    max_triples: Annotated[int, Integer(1, 8192)] = 16
    image_size: Annotated[int, Integer(8, 4096)] = 64
    # Scenes held for shuffling; records stay encoded in the buffer.
    shuffle_buffer: Annotated[int, Integer(1, 10**7)] = 2048
    visual_genome: VisualGenomeConfig = dataclasses.field(default_factory=VisualGenomeConfig)

    @property
    def recorded_objects(self) -> int:
        """Most objects of a recorded scene; of more than `max_objects`, a draw is used at a time."""
        return self.visual_genome.max_objects if self.builder == "visual_genome" else self.max_objects
