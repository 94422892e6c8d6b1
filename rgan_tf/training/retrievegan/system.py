"""How RetrieveGAN is trained and how it draws."""

import tensorflow as tf

from rgan_tf.ops.box_sampling import crop
from rgan_tf.training import artifacts
from rgan_tf.training.graph_encoder import encode_graph
from rgan_tf.training.retrievegan.trainer import Models, RetrieveGANTrainer, build_models
from rgan_tf.training.systems import Drawer, Drawing, System


class RetrieveGANDrawer(Drawer):
    """A RetrieveGAN model."""

    def __init__(self, model):
        """Takes the model, built."""
        self._model = model

    def draw(self, batch, pinned=None) -> Drawing:
        """See `Drawer`."""
        return Drawing(*self._model.generate(batch, pinned))

    def predicted_boxes(self, batch) -> tf.Tensor:
        """See `Drawer`."""
        return encode_graph(self._model.graph_encoder, batch).boxes


class RetrieveGANSystem(System):
    """See `System`."""

    title = "RetrieveGAN"
    retrieves = True

    def reader(self, workspace, config, split):
        """See `System`."""
        return artifacts.bank_reader(workspace, config, split)

    def make_trainer(self, workspace, config, names, batch) -> RetrieveGANTrainer:
        """See `System`; the graph encoder begins where its pretraining ended."""
        models = Models.create(config, names.num_objects, names.num_predicates)
        build_models(models, batch)
        artifacts.load_pretrained(models.retrievegan.graph_encoder, workspace, config)
        return RetrieveGANTrainer(models, config)

    def drawer(self, trainer) -> RetrieveGANDrawer:
        """See `System`."""
        return RetrieveGANDrawer(trainer.models.retrievegan)

    def load(self, workspace, config) -> RetrieveGANDrawer:
        """See `System`."""
        bank = artifacts.open_bank(workspace)
        names = artifacts.vocabulary(workspace)
        return RetrieveGANDrawer(artifacts.trained_model(workspace, config, names, bank.patch_size))

    def reconstruct(self, trainer, batch) -> tf.Tensor:
        """By ground-truth boxes and the scenes' own patches."""
        size = batch["candidate_patches"].shape[3:5]
        patches = crop(batch["image"], batch["boxes"], size)
        return trainer.models.retrievegan.synthesize(patches, batch["boxes"], batch)


SYSTEM = RetrieveGANSystem()
