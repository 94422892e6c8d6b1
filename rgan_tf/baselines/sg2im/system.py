"""How sg2im is trained and how it draws."""

import tensorflow as tf

from rgan_tf.baselines.batch_norm import check_replicas
from rgan_tf.baselines.sg2im.model import Sg2im
from rgan_tf.baselines.sg2im.trainer import Sg2imTrainer
from rgan_tf.training.systems import Drawer, Drawing, System, example_batch


class Sg2imDrawer(Drawer):
    """An sg2im model."""

    def __init__(self, model: Sg2im):
        """Takes the model, built."""
        self._model = model

    def draw(self, batch, pinned=None) -> Drawing:
        """See `Drawer`; boxes that are not given are predicted."""
        drawn = self._model(batch, batch["boxes"], batch["box_given"])
        return Drawing(drawn.image, tf.where(batch["box_given"][..., None], batch["boxes"], drawn.encoding.boxes))

    def predicted_boxes(self, batch) -> tf.Tensor:
        """See `Drawer`."""
        return self._model.graph_encoder.encode(batch).boxes


class Sg2imSystem(System):
    """See `System`."""

    title = "sg2im"
    retrieves = False

    def make_trainer(self, workspace, config, names, batch) -> Sg2imTrainer:
        """See `System`."""
        check_replicas(config)
        trainer = Sg2imTrainer(self.build(config, names), config, names.num_objects)
        trainer.build(batch)
        return trainer

    def build(self, config, names) -> Sg2im:
        """See `System`."""
        model, batch = Sg2im(config, names.num_objects, names.num_predicates), example_batch(config, names)
        model(batch, batch["boxes"], batch["object_mask"])
        return model

    def drawer(self, model, workspace, config) -> Sg2imDrawer:
        """See `System`."""
        return Sg2imDrawer(model)


SYSTEM = Sg2imSystem()
