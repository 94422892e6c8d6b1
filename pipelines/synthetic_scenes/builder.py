"""tensorflow-datasets builder of the synthetic scenes."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from pipelines import mattes, on_beam, records
from pipelines.scene_builder import SceneBuilder
from pipelines.synthetic_scenes.layout import CATEGORIES
from pipelines.synthetic_scenes.scene import draw_scene
from pipelines.synthetic_scenes.styles import STYLE_NAMES
from rgan_tf.progress import progress_bar

_SPLITS = ("train", "validation", "test")
_FACTORS = (records.Factor("hue", "circle"), records.Factor("region", "kind", ("tree", "house", "boat")))


def _default_scenes() -> dict[str, int]:
    return {"train": 2000, "validation": 128, "test": 128}


@dataclasses.dataclass(eq=False)
class SyntheticScenesConfig(tfds.core.BuilderConfig):
    """How many scenes each split gets, how they are drawn, and what is recorded of them; `name` follows from it.

    `factors`: hue and region are hidden factors beside the style. `mattes`: what an object covers of its box is kept.
    """

    name: str = ""
    scenes: dict[str, int] = dataclasses.field(default_factory=_default_scenes)
    image_size: int = 64
    min_object_area: float = 0.02
    min_objects: int = 3
    max_objects: int = 8
    seed: int = 0
    mattes: bool = False
    factors: bool = False

    def __post_init__(self):
        """Derives the name.

        Raises:
          ValueError: a split is missing or empty.
        """
        if set(self.scenes) != set(_SPLITS) or min(self.scenes.values()) < 1:
            raise ValueError(
                f"synthetic_scenes needs at least one scene in each of {', '.join(_SPLITS)}: {self.scenes}."
            )
        counts = [self.scenes[split] for split in _SPLITS]
        asked = [name for name in ("mattes", "factors") if getattr(self, name)]
        settings = (*counts, float(self.min_object_area), self.seed, *asked)
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        self.name = f"{self.image_size}px_{self.min_objects}to{self.max_objects}_objects_{digest}"


class SyntheticScenes(SceneBuilder):
    """Drawn landscapes whose objects share a hidden style, which the scene graph does not name."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Drawn landscapes of 3 to 8 objects that share one of six hidden styles.",
            features=records.features(with_mattes=self.builder_config.mattes, factors=self._factors),
            metadata=records.metadata(CATEGORIES, STYLE_NAMES, self._factors),
            disable_shuffling=True,
        )

    @property
    def _factors(self) -> tuple[records.Factor, ...]:
        return _FACTORS if self.builder_config.factors else ()

    def _split_generators(self, dl_manager) -> dict[str, Any]:
        """Scene `index` of a split depends on (seed, split, index) alone, wherever it is drawn."""
        if not self.uses_beam:
            return {split: self._generate_examples(split) for split in _SPLITS}
        config = self.builder_config
        return {
            split: self._on_beam(split, scenes, on_beam.ranges(scenes), functools.partial(_draw_part, config, split))
            for split, scenes in config.scenes.items()
        }

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        for index in progress_bar(range(config.scenes[split]), desc=f"{split} scenes", unit="scene"):
            yield index, _draw(config, split, index)


def _draw_part(config: SyntheticScenesConfig, split: str, part: tuple[int, int]) -> Iterator[on_beam.Made]:
    """Runs on Beam's machines."""
    return (on_beam.Made((index, _draw(config, split, index))) for index in range(*part))


def _draw(config: SyntheticScenesConfig, split: str, index: int) -> dict:
    rng = np.random.default_rng([config.seed, _SPLITS.index(split), index])
    bounds = (config.min_object_area, config.min_objects, config.max_objects)
    scene = draw_scene(rng, config.image_size, *bounds, with_factors=config.factors)
    ids = {name: index for index, name in enumerate(CATEGORIES, start=1)}
    objects = []
    for place, (name, box, at) in enumerate(zip(scene.categories, scene.boxes, scene.centroids)):
        matte = {records.MATTE: mattes.encode(scene.mask(place), box)} if config.mattes else {}
        objects.append({"category": ids[name], "box": box, "centroid": at, **matte})
    return {
        "image": _png(scene.image),
        "image_id": f"{split}_{index:06d}",
        "license": "",
        "style": scene.style,
        "objects": objects,
        **({records.FACTORS: scene.factors} if config.factors else {}),
    }


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
