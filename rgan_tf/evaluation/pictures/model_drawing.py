"""A trained model of any kind run over a split: every scene drawn under several seeds, as `SplitDrawing` does for one
that retrieves."""

from collections.abc import Iterator

import tensorflow as tf

from pipelines.input_pipeline import evaluation_batches, to_device
from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.evaluation.pictures.split_drawing import DrawnBatch, Sample, scenes_of
from rgan_tf.ops import pixels, scene_random
from rgan_tf.training import artifacts
from rgan_tf.training.systems import system_of
from rgan_tf.workspace import Workspace

_BATCH = 16


class ModelDrawing:
    """Iterates over a split's scenes in record order, drawn; the same every time."""

    def __init__(
        self,
        workspace: Workspace,
        config: config_lib.ExperimentConfig,
        split: str = "test",
        boxes: str = "predicted",
        samples: int = 1,
        policy: str = "learned",
        seed: int = 0,
    ):
        """Loads the trained model; the arguments are those of `SplitDrawing`.

        Raises:
          UserError: another retrieval than the model's own was asked for.
          WorkspaceError: the workspace is not trained.
        """
        if policy != "learned":
            raise UserError(f"--retrieval={policy} is RetrieveGAN's; {config.model} draws in its own way alone.")
        self.config, self.vocabulary = config, artifacts.vocabulary(workspace)
        self.source = artifacts.scene_source(workspace, config, split)
        system = system_of(config.model)
        self._reader = system.reader(workspace, config, split)
        self._drawer = system.load(workspace, config)
        self._true_boxes, self._samples, self._seed = boxes == "ground_truth", samples, seed
        self._draw = tf.function(self._draw_batch)
        self._predict = tf.function(self._drawer.predicted_boxes)

    @property
    def size(self) -> int:
        """Scenes in the split."""
        return self.source.size

    def __iter__(self) -> Iterator[DrawnBatch]:
        """Batch by batch."""
        for batch in evaluation_batches(self.source, _BATCH, self._reader):
            samples = []
            for number in range(self._samples):
                seeds = scene_random.scene_seeds(tf.constant([self._seed, number]), batch["scene_index"])
                image, boxes = self._draw({**batch, "scene_seed": seeds})
                samples.append(Sample(image.numpy(), boxes.numpy()))
            real = pixels.to_uint8(batch["image"]).numpy()
            yield DrawnBatch(scenes_of(batch), real, samples, self._predict(batch).numpy())

    def _draw_batch(self, batch):
        batch = to_device(batch)
        mask = batch["object_mask"]
        drawn = self._drawer.draw({**batch, "box_given": mask if self._true_boxes else tf.zeros_like(mask)})
        return pixels.to_uint8(drawn.image), drawn.boxes
