"""How PasteGAN is trained and how it draws."""

import tensorflow as tf

from pipelines.bank_reader import BankReader
from pipelines.patch_bank.bank import PatchBank, candidate_lists
from rgan_tf.baselines.pastegan.model import PasteGAN, chosen_patches, nearest_choice
from rgan_tf.baselines.pastegan.trainer import PasteGANTrainer
from rgan_tf.training import artifacts
from rgan_tf.training.systems import Drawer, Drawing, System, example_batch


class PasteGANDrawer(Drawer):
    """A PasteGAN model."""

    def __init__(self, model: PasteGAN):
        """Takes the model, built."""
        self._model = model

    def draw(self, batch, pinned=None) -> Drawing:
        """See `Drawer`."""
        encoding = self._model.graph_encoder.encode(batch)
        boxes = tf.where(batch["box_given"][..., None], batch["boxes"], encoding.boxes)
        choice = nearest_choice(batch["candidate_mask"], pinned)
        patches = chosen_patches(choice, batch["candidate_patches"])
        return Drawing(self._model.generator.paint(patches, boxes, batch, encoding), boxes, choice, patches)

    def predicted_boxes(self, batch) -> tf.Tensor:
        """See `Drawer`."""
        return self._model.graph_encoder.encode(batch).boxes

    def reconstruct(self, batch) -> tf.Tensor:
        """See `Drawer`; of the objects' own patches."""
        return self._model(batch["own_patches"], batch["boxes"], batch)


class PasteGANSystem(System):
    """See `System`."""

    title = "PasteGAN"
    retrieves = True

    def reader(self, workspace, config, split) -> BankReader:
        """Each object's nearest candidate, which the crop selector chooses; and for training its own patch."""
        bank = PatchBank.open(workspace.directory("patch_bank"))
        return BankReader(
            bank,
            ground_truth=bank.scene_rows(config.data.recorded_objects) if split == "train" else None,
            candidates=candidate_lists(workspace.directory("candidates") / f"{split}.npy", "r"),
            k=1,
        )

    def make_trainer(self, workspace, config, names, batch) -> PasteGANTrainer:
        """See `System`; the graph encoder begins where its pretraining ended."""
        model = self.build(config, names)
        trainer = PasteGANTrainer(model, config, names.num_objects)
        trainer.build(batch)
        artifacts.load_pretrained(model.graph_encoder, workspace, config)
        return trainer

    def build(self, config, names) -> PasteGAN:
        """See `System`."""
        model, batch = PasteGAN(config, names.num_objects, names.num_predicates), example_batch(config, names)
        patches = tf.zeros([1, batch["objects"].shape[1], *config.patch_bank.patch_shape])
        model(patches, batch["boxes"], batch)
        return model

    def drawer(self, model, workspace, config) -> PasteGANDrawer:
        """See `System`."""
        return PasteGANDrawer(model)


SYSTEM = PasteGANSystem()
