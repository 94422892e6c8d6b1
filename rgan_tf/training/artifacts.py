"""Finished stages, opened: what later stages and the commands read."""

import contextlib
import re
from collections.abc import Iterator
from typing import Optional

import tensorflow as tf
from google.protobuf import json_format

from pipelines import datasets
from pipelines.bank_reader import BankReader
from pipelines.input_pipeline import SceneSource
from pipelines.patch_bank.bank import EMBEDDINGS, PatchBank, PatchBankError, candidate_lists
from pipelines.records import STYLE_NAMES
from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.models.discriminators import ObjectDiscriminator
from rgan_tf.models.graph_encoder import GraphEncoder
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.runtime_messages import sentence_of
from rgan_tf.scene_graph import SceneGraph, Vocabulary, pad_scenes
from rgan_tf.training import loop
from rgan_tf.workspace import Workspace, WorkspaceError


def vocabulary(workspace: Workspace) -> Vocabulary:
    """The workspace's vocabulary.

    Raises:
      WorkspaceError: there is none, or its file is damaged.
    """
    path = workspace.directory("dataset") / "vocabulary.json"
    try:
        return Vocabulary.load(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{path} cannot be read ({error}); {workspace.make_again('dataset')}.") from error


def scene_source(
    workspace: Workspace,
    config: config_lib.ExperimentConfig,
    split: str,
    seed: Optional[int] = None,
    whole: bool = False,
) -> SceneSource:
    """The scenes of a split; their order and draws come from `seed`, by default the configuration's.

    With `whole`, N is the number of objects that a record may have, and all of them are given.

    Raises:
      WorkspaceError: there is no data set, or what it says of itself is damaged.
    """
    directory = workspace.directory("dataset")
    try:
        builder = datasets.make_builder(config.data, str(directory))
        data = config.data.replace(max_objects=config.data.recorded_objects) if whole else config.data
        source = SceneSource(builder, split, data, config.seed if seed is None else seed)
        # Read when they are asked for.
        if not source.size or STYLE_NAMES not in builder.info.metadata:
            raise ValueError(f"it has no scene for {split}, or no names")
    except UserError:
        raise
    except (OSError, ValueError, KeyError, AttributeError, AssertionError, json_format.ParseError) as error:
        raise WorkspaceError(
            f"The data set in {directory} cannot be read ({error}); {workspace.make_again('dataset')}."
        ) from error
    return source


@contextlib.contextmanager
def reading(workspace: Workspace) -> Iterator[None]:
    """Makes a sentence of what TensorFlow raises where a block reads records, or patches, that are damaged.

    Raises:
      WorkspaceError: names the file of records.
      PatchBankError: names the bank's file.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # The pipeline reads patches in a function of Python, of whose error TensorFlow keeps the text.
        said = re.search(rf"\b{PatchBankError.__name__}: (.+)", error.message)
        if said:
            raise PatchBankError(said[1]) from error
        if not isinstance(error, (tf.errors.DataLossError, tf.errors.FailedPreconditionError)):
            raise
        for path in sorted((workspace.root / "dataset").rglob("*.tfrecord*")):
            try:
                for _ in tf.data.TFRecordDataset(str(path)):
                    pass
            except tf.errors.OpError as damage:
                raise WorkspaceError(
                    f"The records {path} are damaged ({sentence_of(damage.message)}); "
                    f"{workspace.make_again('dataset')}."
                ) from error
        # Whole records, but fewer than there were.
        if isinstance(error, tf.errors.FailedPreconditionError) and "expected to contain" in error.message:
            raise WorkspaceError(
                f"The records in {workspace.root / 'dataset'} are damaged ({sentence_of(error.message)}); "
                f"{workspace.make_again('dataset')}."
            ) from error
        raise


def open_bank(workspace: Workspace) -> PatchBank:
    """The patch bank with its co-occurrence embeddings."""
    return PatchBank.open(workspace.directory("patch_bank"), workspace.directory("cooccurrence") / EMBEDDINGS)


def bank_reader(workspace: Workspace, config: config_lib.ExperimentConfig, split: str) -> BankReader:
    """Reads a split's candidates: for training the ground truth and k_train drawn from the k_max; else all k_max."""
    bank, training = open_bank(workspace), split == "train"
    return BankReader(
        bank,
        ground_truth=bank.scene_rows(config.data.recorded_objects) if training else None,
        candidates=candidate_lists(workspace.directory("candidates") / f"{split}.npy", "r"),
        k=config.candidates.k_train if training else config.candidates.k_max,
        draw=training,
    )


def graph_encoder(config: config_lib.ExperimentConfig, names: Vocabulary) -> GraphEncoder:
    """A built graph encoder."""
    encoder = GraphEncoder(config.graph_encoder, names.num_objects, names.num_predicates)
    n, t = config.data.max_objects, config.data.max_triples
    encoder(tf.zeros([1, n], tf.int32), tf.ones([1, n], bool), tf.zeros([1, t, 3], tf.int32), tf.ones([1, t], bool))
    return encoder


def pretrained_graph_encoder(workspace: Workspace, config: config_lib.ExperimentConfig) -> GraphEncoder:
    """The graph encoder by whose features the bank is filtered."""
    encoder = graph_encoder(config, vocabulary(workspace))
    load_pretrained(encoder, workspace, config)
    return encoder


def untrained_model(config: config_lib.ExperimentConfig, names: Vocabulary) -> RetrieveGAN:
    """A built model, with its variables as they were drawn."""
    n, k = config.data.max_objects, config.candidates.k_max
    scene = SceneGraph((names.objects[1],))
    padded = pad_scenes([scene], names, n, config.data.max_triples)
    batch = {name: tf.constant(value) for name, value in padded.items()}
    batch["candidate_patches"] = tf.zeros([1, n, k, *config.patch_bank.patch_shape])
    batch["candidate_mask"] = tf.ones([1, n, k], bool)
    batch["scene_seed"] = tf.zeros([1, 2], tf.int32)
    model = RetrieveGAN(config, names.num_objects, names.num_predicates)
    model.generate(batch)
    return model


def trained_model(workspace: Workspace, config: config_lib.ExperimentConfig, names: Vocabulary) -> RetrieveGAN:
    """The model of the newest checkpoint, with averaged weights where training kept them.

    Raises:
      WorkspaceError: the workspace has not been trained.
    """
    model = untrained_model(config, names)
    loop.restore_model(workspace.directory("retrievegan"), "generator", model, config.training.optimizer)
    return model


def trained_object_discriminator(
    workspace: Workspace, config: config_lib.ExperimentConfig, names: Vocabulary
) -> ObjectDiscriminator:
    """D_obj of the newest checkpoint, with averaged weights where training kept them.

    Raises:
      WorkspaceError: the workspace has not been trained.
    """
    settings, side = config.discriminators, config.data.image_size
    discriminator = ObjectDiscriminator(settings, names.num_objects)
    most, drawn_from = config.data.max_objects, None
    if "candidates" in config_lib.MODELS[config.model].inputs:
        drawn_from = tf.zeros([1, most, *config.patch_bank.patch_shape])
    discriminator(tf.zeros([1, side, side, 3]), tf.zeros([1, most, 4]), patches=drawn_from)
    directory = workspace.directory(config.model)
    loop.restore_model(directory, "object_discriminator", discriminator, settings.object_optimizer)
    return discriminator


def load_pretrained(encoder: GraphEncoder, workspace: Workspace, config: config_lib.ExperimentConfig) -> None:
    """Gives a built graph encoder the weights of its pretraining."""
    settings = config.graph_encoder.training.optimizer
    loop.restore_model(workspace.directory("graph_encoder"), "graph_encoder", encoder, settings)
