"""How RetrieveGAN is trained and how it draws."""

import tensorflow as tf

from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.training import artifacts
from rgan_tf.training.retrievegan.refresh import CandidateRefresh
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
        return self._model.graph_encoder.encode(batch).boxes

    @property
    def retrieval(self) -> RetrievalLayer:
        """See `Drawer`."""
        return self._model.retrieval

    def reconstruct(self, batch) -> tf.Tensor:
        """See `Drawer`; of the objects' own patches."""
        return self._model.synthesize(batch["own_patches"], batch["boxes"], batch)


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
        refresh = CandidateRefresh(workspace, config) if config.retrieval.refresh_interval else None
        return RetrieveGANTrainer(models, config, refresh)

    def build(self, config, names) -> RetrieveGAN:
        """See `System`."""
        return artifacts.untrained_model(config, names)

    def drawer(self, model, workspace, config) -> RetrieveGANDrawer:
        """See `System`."""
        return RetrieveGANDrawer(model)


SYSTEM = RetrieveGANSystem()
