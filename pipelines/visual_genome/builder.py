"""tensorflow-datasets builder over a local copy of Visual Genome."""

import dataclasses
import hashlib
from collections import Counter
from typing import Any

import tensorflow_datasets as tfds

from pipelines import photographs, records
from pipelines.records import SourceError
from pipelines.scene_builder import PhotographBuilder
from pipelines.visual_genome import annotations, protocol
from pipelines.visual_genome.scene import Scene
from pipelines.visual_genome.splits import SPLITS, hash_splits, read_splits

# What the published files give by the published split (Johnson et al. 2018, section 4).
PUBLISHED = records.Published(
    scenes={"train": 62565, "validation": 5506, "test": 5088},
    object_names=178,
    predicates=45,
    reasons="another version of the files, another split, or other bounds of data.visual_genome",
)


@dataclasses.dataclass(eq=False)
class VisualGenomeConfig(tfds.core.BuilderConfig):
    """Source folder, split file (empty: a split by hash) and protocol; `name` follows from them."""

    name: str = ""
    source_dir: str = ""
    splits_file: str = ""
    rules: protocol.Protocol = protocol.Protocol()

    def __post_init__(self):
        """Derives the name."""
        settings = (self.source_dir, self.splits_file, *dataclasses.astuple(self.rules))
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        split = "split_by_file" if self.splits_file else "split_by_hash"
        self.name = f"{self.rules.min_objects}to{self.rules.max_objects}_objects_{split}_{digest}"


class VisualGenome(PhotographBuilder):
    """Photographs with annotated relations, by sg2im's protocol; each record holds the JPEG file as it is."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Visual Genome: photographs, objects and annotated relations, 3 to 30 objects an image.",
            features=records.features(with_relations=True),
            metadata=records.metadata(),
            homepage="https://homes.cs.washington.edu/~ranjay/visualgenome",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Any]:
        config = self.builder_config
        root = annotations.check_layout(config.source_dir)
        problems: Counter = Counter()
        images = annotations.read_images(root, problems)
        splits = read_splits(config.splits_file) if config.splits_file else hash_splits(images)
        kept = protocol.read(root, images, splits, config.rules)
        metadata = self.info.metadata
        metadata[records.OBJECT_NAMES], metadata[records.PREDICATES] = kept.object_names, kept.predicates
        metadata[records.SELECTION] = {split: dict(counts) for split, counts in kept.selection.items()}
        metadata[records.PROBLEMS]["annotations"] = dict(+(problems + kept.problems))
        for split in SPLITS:
            if not kept.scenes[split]:
                raise SourceError(
                    f"{config.source_dir}: no image of the {split} split passes the protocol "
                    f"({dict(kept.selection[split])}); lower the bounds of data.visual_genome, or split otherwise."
                )
        sources = photographs.state_of(root / name for name in annotations.FILES)
        return {split: self._photographs(split, kept.scenes[split], _examine, _to_record, sources) for split in SPLITS}

    def _note_problems(self, split: str, problems: Counter) -> None:
        self.info.metadata[records.PROBLEMS][split] = dict(problems)


def _examine(scene: Scene) -> photographs.Finding:
    fault = photographs.fault_of(scene.path, scene.height, scene.width)
    return photographs.Finding(fault is None, () if fault is None else (fault,))


def _to_record(scene: Scene, finding: photographs.Finding) -> dict:
    """Nothing is known of a picture's licence; of objects nothing but the box, whose centre stands for the centroid."""
    objects = [
        {"category": category, "box": box, "centroid": (box[:2] + box[2:]) / 2}
        for category, box in zip(scene.categories, scene.boxes)
    ]
    return {
        "image": scene.path.read_bytes(),
        "image_id": scene.image_id,
        "license": "",
        "style": records.NO_STYLE,
        "objects": objects,
        "relations": scene.triples.astype("int64"),
    }
