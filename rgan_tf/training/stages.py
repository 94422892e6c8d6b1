"""The stages in order: each makes its artifact of the workspace from those before it."""

import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable, Optional

import numpy as np
import tensorflow as tf

from pipelines import datasets, input_pipeline
from pipelines.bank_reader import BankReader
from pipelines.input_pipeline import SceneSource
from pipelines.own_patches import ground_truth_batches
from pipelines.patch_bank import crops, removal, writer
from pipelines.patch_bank.bank import EMBEDDINGS, PatchBank
from pipelines.patch_bank.cropping import cut_in_threads
from pipelines.prefilter.candidates import CategorySearch, SearchSettings, find_candidates
from rgan_tf import config as config_lib
from rgan_tf import locks
from rgan_tf.fingerprints import STAGES, stages_of
from rgan_tf.models.patch_encoder import PatchEncoder
from rgan_tf.training import artifacts, loop, profiling, runtime
from rgan_tf.training.bank_embeddings import embed_bank
from rgan_tf.training.cooccurrence import CooccurrenceTrainer
from rgan_tf.training.graph_encoder import GraphEncoderTrainer
from rgan_tf.training.panels import PanelWriter
from rgan_tf.training.scene_features import SceneFeatures, kept_apart
from rgan_tf.training.systems import System, system_of
from rgan_tf.workspace import Workspace, WorkspaceError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

SPLITS = ("train", "validation", "test")
# About as many scenes go into the bank between two of its saved states.
_SAVED_SCENES = 1024
# Folder within the bank's of crops that were made on Beam, while it is being made.
_CROPS = "crops"


class StageRunner:
    """Runs stages of one workspace under one configuration and strategy."""

    def __init__(
        self,
        workspace: Workspace,
        config: config_lib.ExperimentConfig,
        strategy: tf.distribute.Strategy,
        profile_steps: str = "",
        beam_options: Optional["PipelineOptions"] = None,
    ):
        """`profile_steps` is the flag of the main training: "first,last" or empty; `beam_options` are of the pipelines
        that make records and crops, which None makes in this process."""
        self.workspace = workspace
        self.config = config
        self.strategy = strategy
        self.profile_steps = profile_steps
        self.beam_options = beam_options
        self._stages: dict[str, Callable[[], None]] = {
            "dataset": self.make_dataset,
            "graph_encoder": self.train_graph_encoder,
            "patch_bank": self.build_patch_bank,
            "candidates": self.find_candidates,
            "cooccurrence": self.train_cooccurrence,
            **{model: self.train_model for model in config_lib.MODELS},
        }

    def run(self, stage: str = "") -> None:
        """Runs one stage, or all that are missing or stale, in order.

        Raises:
          ConfigError: a main training was named that is not the configuration's.
          WorkspaceError: the one stage's inputs are missing or stale, or several workers were asked to make a stage
            that one has to make, or another process writes to the workspace.
        """
        if stage in config_lib.MODELS and stage != self.config.model:
            raise config_lib.ConfigError(
                f"--stage={stage} is the main training of another model than the configuration's, {self.config.model}; "
                f"set model: {stage} in it, or train {self.config.model}."
            )
        # Of several workers the chief alone writes what they share; the others have a folder of their own.
        own = locks.writing(self.workspace.root, runtime.own_part(self.strategy))
        with own, locks.all_of(locks.reading, self.workspace.lenders()):
            for name in [stage] if stage else stages_of(self.config.model):
                self._run_one(name)

    def _run_one(self, name: str) -> None:
        if self.workspace.is_current(name, self.config):
            print(f"{name}: current", flush=True)
            return
        self._check_inputs(name)
        print(f"{name}: running", flush=True)
        # Initial weights depend on the seed alone, not on which stages ran before in this process.
        tf.keras.utils.set_random_seed(self.config.training_seed if name in config_lib.MODELS else self.config.seed)
        with artifacts.reading(self.workspace):
            self._stages[name]()

    def _check_inputs(self, stage: str) -> None:
        stale = [name for name in STAGES[stage] if not self.workspace.is_current(name, self.config)]
        if stale:
            raise WorkspaceError(
                f"{stage} needs {stale[0]}, which is missing or was made from another configuration; "
                f"run --stage={stale[0]} first, or leave --stage out to run all that is needed."
            )
        if stage not in config_lib.MODELS and runtime.worker_count(self.strategy) > 1:
            raise WorkspaceError(
                f"Make {stage} in a single process first, with --stage={stage}; then start the workers."
            )

    def make_dataset(self) -> None:
        """Records of all splits and the vocabulary."""
        with self.workspace.making("dataset", self.config) as directory:
            builder = datasets.make_builder(self.config.data, str(directory))
            datasets.prepare(builder, self.beam_options)
            for line in datasets.source_report(builder):
                print(f"dataset: {line}", flush=True)
            datasets.vocabulary(builder).save(directory / "vocabulary.json")

    def train_graph_encoder(self) -> None:
        """The graph encoder that predicts boxes and by which the bank is filtered."""
        training = self.config.graph_encoder.training
        source = artifacts.scene_source(self.workspace, self.config, "train")
        with self.workspace.making("graph_encoder", self.config) as directory, self.strategy.scope():
            encoder = artifacts.graph_encoder(self.config, artifacts.vocabulary(self.workspace))
            trainer = GraphEncoderTrainer(encoder, self.config)
            run = loop.Run(
                directory,
                training,
                lambda step: input_pipeline.training_batches(source, training.batch_size, step),
                "graph encoder",
            )
            loop.train(trainer, run)

    def build_patch_bank(self) -> None:
        """Crops, graph features and provenance of every training object; what was removed once stays removed."""
        source = artifacts.scene_source(self.workspace, self.config, "train")
        counts = source.records().map(lambda index, record: tf.shape(record["objects"]["category"])[0])
        batch_size, settings = self.config.graph_encoder.training.batch_size, self.config.patch_bank
        with self.workspace.making("patch_bank", self.config) as directory:
            writer.build(
                self._cuts(source, directory / _CROPS),
                directory,
                int(counts.reduce(tf.constant(0, tf.int64), lambda total, n: total + tf.cast(n, tf.int64))),
                settings.patch_size,
                self.config.graph_encoder.embedding_dim,
                # Whole batches, so that a run that goes on computes what an undisturbed one does, rounding included.
                save_every=batch_size * -(-_SAVED_SCENES // batch_size),
                mattes=settings.mattes,
                min_coverage=settings.min_coverage,
            )
            shutil.rmtree(directory / _CROPS, ignore_errors=True)
            self._remove_again(directory)

    def _remove_again(self, bank_directory: pathlib.Path) -> None:
        """Takes out of a new bank, and out of what an earlier one of its kind left behind, what was removed before."""
        report = removal.erase_from_bank(bank_directory, self.workspace.root)
        report += removal.erase_from_derived(
            self.workspace, bank_directory, lambda stage: self.workspace.is_current(stage, self.config)
        )
        for line in report:
            print(f"patch_bank: {line}", flush=True)

    def find_candidates(self) -> None:
        """For the objects of every split, the bank rows nearest to them by graph features, their own group left out."""
        bank = PatchBank.open(self.workspace.directory("patch_bank"))
        settings, names = self.config.candidates, artifacts.vocabulary(self.workspace).objects
        how = SearchSettings(settings.backend, settings.query_batch, settings.brute_force_below, settings.min_recall)
        about: dict[str, list] = {}
        features = SceneFeatures(self.workspace, self.config)
        with self.workspace.making("candidates", self.config, about) as directory:
            for split in SPLITS:
                queries = features.queries(split)
                size = artifacts.scene_source(self.workspace, self.config, split).size
                rows = np.full((size, self.config.data.recorded_objects, settings.k_max), -1, np.int32)
                apart = kept_apart(self.workspace, self.config, bank, split)
                found = find_candidates(
                    bank,
                    queries.features,
                    queries.objects,
                    apart.scenes[queries.scene],
                    settings.k_max,
                    how,
                    names,
                    bank_groups=apart.bank,
                )
                rows[queries.scene, queries.places] = found.rows
                about[split] = [_told(search, names) for search in found.searches]
                np.save(directory / f"{split}.npy", rows)

    def train_cooccurrence(self) -> None:
        """F_occur, and its embedding of every patch of the bank."""
        training = self.config.cooccurrence.training
        bank = PatchBank.open(self.workspace.directory("patch_bank"))
        source = artifacts.scene_source(self.workspace, self.config, "train")
        reader = BankReader(bank, ground_truth=bank.scene_rows(self.config.data.recorded_objects))
        with self.workspace.making("cooccurrence", self.config) as directory:
            with self.strategy.scope():
                encoder = PatchEncoder(self.config.cooccurrence.encoder, normalize=True, name="cooccurrence")
                encoder(tf.zeros([1, *bank.patch_shape]))
                run = loop.Run(
                    directory,
                    training,
                    lambda step: input_pipeline.training_batches(source, training.batch_size, step, reader),
                    "co-occurrence",
                )
                loop.train(CooccurrenceTrainer(encoder, self.config), run)
            embed_bank(encoder, bank, "co-occurrence embeddings", directory / EMBEDDINGS)

    def train_model(self) -> None:
        """The main training: of the model that the configuration names."""
        names, training = artifacts.vocabulary(self.workspace), self.config.training
        system = system_of(self.config.model)
        source = artifacts.scene_source(self.workspace, self.config, "train", self.config.training_seed)
        reader = system.reader(self.workspace, self.config, "train")

        def batches(step: int, reader: Optional[BankReader]) -> tf.data.Dataset:
            return input_pipeline.training_batches(source, training.batch_size, step, reader)

        chief = runtime.is_chief(self.strategy)
        with self.workspace.training(self.config, chief) as directory, self.strategy.scope():
            trainer = system.make_trainer(self.workspace, self.config, names, next(iter(batches(0, reader))))
            profile = profiling.StepProfile.parse(self.profile_steps, directory)
            drawer = system.drawer(trainer.model, self.workspace, self.config)
            panels = PanelWriter(drawer, trainer, self._panel_batch(system), names, training.panel_interval)
            actions = (panels,) if training.panel_interval and chief else ()
            run = loop.Run(
                directory, training, lambda step: batches(step, trainer.reader(reader)), system.title, profile, actions
            )
            loop.train(trainer, run)

    def _panel_batch(self, system: System) -> dict[str, tf.Tensor]:
        """A few validation scenes with their candidates, the same in every run."""
        source = artifacts.scene_source(self.workspace, self.config, "validation")
        reader = system.reader(self.workspace, self.config, "validation")
        batch = next(iter(input_pipeline.evaluation_batches(source, PanelWriter.SCENES, reader)))
        if reader is None:
            return batch
        own = next(iter(ground_truth_batches(source, reader.bank.patch_shape, PanelWriter.SCENES)))
        return {**batch, "own_patches": own["ground_truth_patches"]}

    def _cuts(self, source: SceneSource, directory: pathlib.Path) -> Callable[[int], Iterator[tuple]]:
        """Gives, from a scene on, the training split's cut scenes and their objects' graph features [n, D]."""
        features, settings = SceneFeatures(self.workspace, self.config), self.config.patch_bank
        if self.beam_options is None:

            def scenes_from(start):
                scenes = input_pipeline.whole_scenes(source, start).as_numpy_iterator()
                return zip(scenes, features.of_bank(start))

            return cut_in_threads(scenes_from, settings.patch_size, settings.mattes)
        what = crops.PatchCropsConfig(source=source, patch_size=settings.patch_size, mattes=settings.mattes)
        made = crops.PatchCrops(data_dir=str(directory), config=what)
        datasets.prepare(made, self.beam_options)
        return lambda start: zip(crops.read(made, start), features.of_bank(start))


def _told(search: CategorySearch, names: tuple[str, ...]) -> dict:
    """A category's search as the manifest keeps it."""
    plan = search.plan._asdict()
    plan["sample_recall"] = plan.pop("recall")
    return {**search._asdict(), "category": names[search.category], "plan": plan}
