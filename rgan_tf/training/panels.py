"""Panels for TensorBoard: scene graph, predicted boxes, retrieved patches, image, reconstruction, ground truth."""

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.ops import pixels
from rgan_tf.ops.box_sampling import crop
from rgan_tf.scene_graph import Vocabulary, unpad_scene


class PanelWriter:
    """An orbit action that draws the same few scenes every `interval` steps."""

    SCENES = 6

    def __init__(self, trainer, batch: dict[str, tf.Tensor], names: Vocabulary, interval: int):
        """Takes the trainer whose models draw, and a batch of `SCENES` scenes with their candidates."""
        self._trainer = trainer
        self._batch = to_device(batch)
        self._names = names
        self._interval = interval
        self._draw = tf.function(self._pictures)

    def __call__(self, unused_output) -> None:
        """Draws if the step is a multiple of the interval."""
        step = self._trainer.step
        if int(step.numpy()) % self._interval:
            return
        with self._trainer.summaries.as_default():
            tf.summary.image("panel", self.sheet()[None], step=step)

    def sheet(self) -> np.ndarray:
        """The panel as uint8 [h, w, 3]."""
        batch = self._batch
        generated, reconstruction = self._draw()
        views = []
        for i, mask in enumerate(batch["object_mask"].numpy()):
            scene = unpad_scene(
                batch["objects"][i].numpy(), mask, batch["triples"][i].numpy(), batch["triple_mask"][i], self._names
            )
            pictures = (
                ("generated", pixels.to_uint8(generated.image[i]).numpy()),
                ("reconstruction", pixels.to_uint8(reconstruction[i]).numpy()),
                ("ground truth", pixels.to_uint8(batch["image"][i]).numpy()),
            )
            patches = pixels.to_uint8(generated.patches[i]).numpy()
            views.append(SceneView(scene, generated.boxes[i].numpy()[mask], patches[mask], pictures))
        return np.asarray(draw_sheet(views))

    def _pictures(self):
        """Pictures by predicted boxes and retrieved patches, and by ground-truth boxes and patches."""
        model, batch = self._trainer.models.retrievegan, self._batch
        generated = model.generate({**batch, "box_given": tf.zeros_like(batch["object_mask"])})
        size = batch["candidate_patches"].shape[3:5]
        return generated, model.synthesize(crop(batch["image"], batch["boxes"], size), batch["boxes"], batch)
