"""Panels for TensorBoard: scene graph, predicted boxes, retrieved patches, image, reconstruction, ground truth."""

import numpy as np
import tensorflow as tf

from pipelines.input_pipeline import to_device
from rgan_tf.drawing import SceneView, draw_sheet
from rgan_tf.ops import pixels
from rgan_tf.scene_graph import Vocabulary, unpad_scene
from rgan_tf.training.systems import Drawer


class PanelWriter:
    """An orbit action that draws the same few scenes every `interval` steps."""

    SCENES = 6

    def __init__(self, drawer: Drawer, trainer, batch: dict[str, tf.Tensor], names: Vocabulary, interval: int):
        """Takes what draws with the trainer's model, and a batch of `SCENES` scenes; own_patches is in it where the
        model retrieves."""
        self._trainer, self._drawer = trainer, drawer
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
            pictures = [("generated", generated.image[i]), ("ground truth", batch["image"][i])]
            if reconstruction is not None:
                pictures.insert(1, ("reconstruction", reconstruction[i]))
            pictures = tuple((title, pixels.to_uint8(image).numpy()) for title, image in pictures)
            patches = generated.patches
            patches = None if patches is None else pixels.to_uint8(patches[i]).numpy()[mask]
            views.append(SceneView(scene, generated.boxes[i].numpy()[mask], patches, pictures))
        return np.asarray(draw_sheet(views))

    def _pictures(self):
        """Pictures by predicted boxes, and reconstructed ones."""
        batch = self._batch
        generated = self._drawer.draw({**batch, "box_given": tf.zeros_like(batch["object_mask"])})
        return generated, self._drawer.reconstruct(batch)
