"""How layout2im is trained and how it draws."""

import tensorflow as tf

from rgan_tf.baselines.batch_norm import check_replicas
from rgan_tf.baselines.layout2im.model import Layout2Im
from rgan_tf.baselines.layout2im.trainer import Layout2ImTrainer
from rgan_tf.models.graph_encoder import GraphEncoder
from rgan_tf.training import artifacts
from rgan_tf.training.systems import Drawer, Drawing, System, example_batch


class Layout2ImDrawer(Drawer):
    """A layout2im model, and the graph encoder that predicts the layouts that it is not given."""

    def __init__(self, model: Layout2Im, encoder: GraphEncoder):
        """Takes both, built."""
        self._model, self._encoder = model, encoder

    def draw(self, batch, pinned=None) -> Drawing:
        """See `Drawer`."""
        boxes = tf.where(batch["box_given"][..., None], batch["boxes"], self.predicted_boxes(batch))
        latents = self._model.prior(batch["scene_seed"], boxes.shape[1])
        return Drawing(self._model(batch, latents, boxes), boxes)

    def predicted_boxes(self, batch) -> tf.Tensor:
        """See `Drawer`; the pretrained graph encoder's."""
        return self._encoder.encode(batch).boxes

    def reconstruct(self, batch) -> tf.Tensor:
        """See `Drawer`; of the codes that are estimated from the scenes' own objects."""
        return self._model(batch, self._model.estimate(batch["image"], batch).mean)


class Layout2ImSystem(System):
    """See `System`."""

    title = "layout2im"
    retrieves = False

    def make_trainer(self, workspace, config, names, batch) -> Layout2ImTrainer:
        """See `System`."""
        check_replicas(config)
        trainer = Layout2ImTrainer(self.build(config, names), config, names.num_objects)
        trainer.build(batch)
        return trainer

    def build(self, config, names) -> Layout2Im:
        """See `System`."""
        model, side = Layout2Im(config, names.num_objects), config.data.image_size
        batch = example_batch(config, names)
        model(batch, model.estimate(tf.zeros([1, side, side, 3]), batch).mean)
        return model

    def drawer(self, model, workspace, config) -> Layout2ImDrawer:
        """See `System`."""
        return Layout2ImDrawer(model, artifacts.pretrained_graph_encoder(workspace, config))


SYSTEM = Layout2ImSystem()
