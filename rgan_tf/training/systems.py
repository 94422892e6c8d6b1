"""What every model of the table offers: how it is trained, and how it draws. Stages and commands know no more of it."""

import abc
import importlib
from typing import NamedTuple, Optional

import tensorflow as tf

from pipelines.bank_reader import BankReader
from rgan_tf import config as config_lib
from rgan_tf.models.retrieval import RetrievalLayer
from rgan_tf.scene_graph import SceneGraph, Vocabulary, pad_scenes
from rgan_tf.training import artifacts, loop
from rgan_tf.training.stage_trainer import StageTrainer
from rgan_tf.workspace import Workspace

Batch = dict[str, tf.Tensor]


class Drawing(NamedTuple):
    """Pictures of a batch of scene graphs.

    image [B, H, W, 3] in [-1, 1]; boxes [B, N, 4], by which it is laid out. choice int32 [B, N], index of each object's
    candidate, and patches [B, N, h, w, C]; both None of a model that retrieves nothing.
    """

    image: tf.Tensor
    boxes: tf.Tensor
    choice: Optional[tf.Tensor] = None
    patches: Optional[tf.Tensor] = None


class Drawer(abc.ABC):
    """A trained model that draws; its methods may be called in a graph."""

    @abc.abstractmethod
    def draw(self, batch: Batch, pinned: Optional[tf.Tensor] = None) -> Drawing:
        """Draws scene graphs.

        Args:
          batch: objects, object_mask, triples, triple_mask, scene_seed; boxes with box_given [B, N], which say where
            objects are laid out that are not predicted; of a model with a reader also candidate_patches, as floats, and
            candidate_mask.
          pinned: of such a model, float [B, N, k], one-hot where an object's patch is fixed; or None.

        Returns:
          A Drawing; a scene's answer depends on its own row and seed alone.
        """

    @abc.abstractmethod
    def predicted_boxes(self, batch: Batch) -> tf.Tensor:
        """The layout [B, N, 4] that the model predicts from the scene graphs."""

    @property
    def retrieval(self) -> Optional[RetrievalLayer]:
        """What was trained to choose among candidates; None of a model that retrieves nothing, or by a fixed rule."""
        return None

    def reconstruct(self, batch: Batch) -> Optional[tf.Tensor]:
        """Pictures [B, H, W, 3] made of what training is given of real ones; None where there is nothing of the kind.

        Args:
          batch: as of `draw`, with image and boxes of the real pictures, and of a model that retrieves own_patches
            [B, N, h, w, 3], the objects' own.
        """
        return None


class System(abc.ABC):
    """A model of the table.

    Attributes:
      title: for the bar of its training.
      retrieves: whether it draws from patches of the bank.
    """

    title: str
    retrieves: bool

    def reader(self, workspace: Workspace, config: config_lib.ExperimentConfig, split: str) -> Optional[BankReader]:
        """What attaches patches to a split's batches; None for a model that takes none."""
        return None

    @abc.abstractmethod
    def make_trainer(
        self, workspace: Workspace, config: config_lib.ExperimentConfig, names: Vocabulary, batch: Batch
    ) -> StageTrainer:
        """Makes a trainer whose models are built, `model` the one that learns to draw; called in the strategy's scope.

        Args:
          workspace: with the finished stages that the training reads.
          config: of the experiment.
          names: the vocabulary.
          batch: a training batch, as the pipeline gives it.
        """

    @abc.abstractmethod
    def build(self, config: config_lib.ExperimentConfig, names: Vocabulary) -> tf.keras.Model:
        """What is trained to draw, the critics left out, with its variables as they were drawn."""

    @abc.abstractmethod
    def drawer(self, model: tf.keras.Model, workspace: Workspace, config: config_lib.ExperimentConfig) -> Drawer:
        """Draws with a built model, by the weights it has at the time, and with what else of the workspace it needs."""

    def load(self, workspace: Workspace, config: config_lib.ExperimentConfig) -> Drawer:
        """Draws with the weights of the newest checkpoint, the averaged ones where training kept them.

        Raises:
          WorkspaceError: the workspace has not been trained.
        """
        model = self.build(config, artifacts.vocabulary(workspace))
        loop.restore_model(workspace.directory(config.model), "generator", model, config.training.optimizer)
        return self.drawer(model, workspace, config)


def system_of(model: str) -> System:
    """The system of a row of `config.MODELS`."""
    return importlib.import_module(f"{config_lib.MODELS[model].room}.system").SYSTEM


def example_batch(config: config_lib.ExperimentConfig, names: Vocabulary) -> Batch:
    """A scene of one object, by which a model is built that is going to draw."""
    padded = pad_scenes([SceneGraph((names.objects[1],))], names, config.data.max_objects, config.data.max_triples)
    return {**{name: tf.constant(value) for name, value in padded.items()}, "scene_seed": tf.zeros([1, 2], tf.int32)}
