"""Where a training step's time goes: python -m rgan_tf.benchmark --config_file=… [--against=…] [--output=FILE.json].

Draws synthetic scenes and a bank of random bytes at the configuration's sizes, trains on them through the real input
pipeline, and times the step and its parts. Absolute times say more about the machine than about the code; the shares
are what to look at; and with `--against`, the ratio of two ways to run, whose steps take turns.
"""

import json
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Callable, Optional

import numpy as np
from absl import flags

from rgan_tf import commands  # isort: split

import psutil
import tensorflow as tf

from pipelines import datasets, input_pipeline
from pipelines.bank_reader import BankReader
from pipelines.input_pipeline import SceneSource
from pipelines.patch_bank import writer
from pipelines.patch_bank.bank import EMBEDDINGS, PatchBank
from pipelines.patch_bank.cropping import cut_in_threads
from rgan_tf import config as config_lib
from rgan_tf.models.retrievegan import RetrieveGAN
from rgan_tf.ops.box_sampling import crop
from rgan_tf.ops.candidate_search import nearest_rows
from rgan_tf.progress import progress_bar
from rgan_tf.training import runtime, stage_trainer
from rgan_tf.training.retrievegan.trainer import Models, RetrieveGANTrainer, build_models

_CONFIG_FILE = flags.DEFINE_string("config_file", None, "YAML configuration.", required=True)
_OVERRIDE = flags.DEFINE_string("params_override", "", "Fields to override: key=value,key.subkey=value.")
_OUTPUT = flags.DEFINE_string("output", "", "JSON file to write; empty writes none.")
_STEPS = flags.DEFINE_integer("steps", 20, "Measured steps, after one that compiles.", lower_bound=1)
_AGAINST = flags.DEFINE_string("against", "", "Fields of runtime by which a second way differs, to be compared.")
_BANK = flags.DEFINE_integer("bank_patches", 20000, "Patches of the random bank.", lower_bound=1000)

_SCENES = 64
_READS = 300
_MIB = 2**20


def main() -> None:
    """Measures, prints a table, writes JSON."""
    config = config_lib.load_config(_CONFIG_FILE.value, _OVERRIDE.value)
    other = _other_way(config) if _AGAINST.value else None
    strategy = runtime.prepare(config.runtime)
    tf.keras.utils.set_random_seed(config.seed)
    with tempfile.TemporaryDirectory() as directory, strategy.scope():
        figures = _measure(config, other, pathlib.Path(directory))
    for name, value in figures.items():
        print(f"{name:32} {value:12.4g}" if isinstance(value, float) else f"{name:32} {value:>12}")
    if _OUTPUT.value:
        pathlib.Path(_OUTPUT.value).write_text(json.dumps(figures, indent=1) + "\n")


def _measure(
    config: config_lib.ExperimentConfig, other: Optional[config_lib.ExperimentConfig], directory: pathlib.Path
) -> dict[str, object]:
    source, names = _scenes(config, directory / "dataset")
    _write_random_bank(config, directory / "bank", _BANK.value)
    bank, bank_resident = _open_and_read(directory / "bank", config)
    reader = _random_reader(config, bank)

    def batches(step: int) -> tf.data.Dataset:
        return input_pipeline.training_batches(source, config.training.batch_size, step, reader)

    batch = next(iter(batches(0)))
    trainer = _ready_trainer(config, names, batches)
    models = trainer.models
    step_seconds, waiting = _train(trainer)
    parts = _parts(trainer, input_pipeline.to_device(batch))
    search, forward = _serving(models.retrievegan, config, input_pipeline.to_device(batch))
    figures: dict[str, object] = {
        "configuration": _CONFIG_FILE.value,
        "device": tf.config.list_logical_devices()[-1].name,
        "batch_size": config.training.batch_size,
        "objects_per_scene": float(
            np.mean([len(r["objects"]["category"]) for _, r in source.records().as_numpy_iterator()])
        ),
        "step_seconds": step_seconds,
        "images_per_second": config.training.batch_size / step_seconds,
        "input_wait_share": waiting / step_seconds,
        "bank_patches": len(bank),
        "bank_mib": sum(file.stat().st_size for file in (directory / "bank").iterdir()) / _MIB,
        "bank_resident_mib": bank_resident / _MIB,
    }
    figures.update(search_seconds=search, generator_forward_seconds=forward, search_to_generator=search / forward)
    for name, seconds in parts.items():
        figures[f"{name}_seconds"] = seconds
        figures[f"{name}_share"] = seconds / step_seconds
    if other is not None:
        runtime.prepare(other.runtime)
        figures.update(_take_turns(trainer, _ready_trainer(other, names, batches)))
    return figures


def _scenes(config: config_lib.ExperimentConfig, directory: pathlib.Path):
    """A few synthetic scenes, whatever the configuration's data set."""
    data = config.data.replace(builder="synthetic_scenes", train_scenes=_SCENES, validation_scenes=1, test_scenes=1)
    builder = datasets.make_builder(data, str(directory))
    datasets.prepare(builder)
    return SceneSource(builder, "train", data, config.seed), datasets.vocabulary(builder)


def _write_random_bank(config: config_lib.ExperimentConfig, directory: pathlib.Path, count: int) -> None:
    """A bank of random bytes with random co-occurrence embeddings."""
    n, settings, features = config.data.max_objects, config.patch_bank, config.graph_encoder.embedding_dim
    side, mattes = settings.patch_size, settings.mattes
    random = np.random.default_rng(0)
    edges = np.arange(n + 1) / n
    boxes = np.stack([np.zeros(n), edges[:-1], np.ones(n), edges[1:]], axis=1)

    def scenes() -> Iterator:
        for index in range(count // n):
            image = random.integers(0, 256, (n * side, side, 3), dtype=np.uint8)
            objects = {"category": np.ones(n, np.int32), "box": boxes}
            scene = {"image": image, "image_id": str(index), "license": "", "objects": objects}
            yield scene, np.zeros((n, features), np.float32)

    cuts_from = cut_in_threads(lambda start: scenes(), side, mattes)
    bank = writer.build(cuts_from, directory, count // n * n, side, features, mattes=mattes)
    embeddings = random.normal(size=(len(bank), config.cooccurrence.encoder.feature_dim)).astype(np.float32)
    np.save(directory / EMBEDDINGS, embeddings)


def _open_and_read(directory: pathlib.Path, config: config_lib.ExperimentConfig) -> tuple[PatchBank, int]:
    """The bank, and by how many bytes the process grew while it was opened and batches were read all over it."""
    process, random = psutil.Process(), np.random.default_rng(2)
    shape = (config.training.batch_size, config.data.max_objects, config.candidates.k_train + 1)
    before = process.memory_info().rss
    bank = PatchBank.open(directory, directory / EMBEDDINGS)
    bank.scene_rows(config.data.max_objects)
    peak = 0
    for _ in progress_bar(range(_READS), desc="reading the bank", unit="batch"):
        bank.gather_patches(random.integers(0, len(bank), shape))
        peak = max(peak, process.memory_info().rss)
    return bank, max(peak - before, 0)


def _random_reader(config: config_lib.ExperimentConfig, bank: PatchBank) -> BankReader:
    random, shape = np.random.default_rng(1), (_SCENES, config.data.max_objects)
    return BankReader(
        bank,
        ground_truth=random.integers(0, len(bank), shape, dtype=np.int32),
        candidates=random.integers(0, len(bank), shape + (config.candidates.k_max,), dtype=np.int32),
        k=config.candidates.k_train,
        draw=True,
    )


def _other_way(config: config_lib.ExperimentConfig) -> config_lib.ExperimentConfig:
    """The configuration of the second way.

    Raises:
      ConfigError: it differs in more than how it runs, or in what a process can have one way alone.
    """
    other = config_lib.load_config(_CONFIG_FILE.value, ",".join(filter(None, [_OVERRIDE.value, _AGAINST.value])))
    same = {"runtime": {}}
    kept = ("distribution_strategy", "num_gpus", "worker_hosts", "task_index", "deterministic")
    if {**other.as_dict(), **same} != {**config.as_dict(), **same} or any(
        getattr(other.runtime, name) != getattr(config.runtime, name) for name in kept
    ):
        raise config_lib.ConfigError(
            f"--against is {_AGAINST.value!r}; it may set runtime.mixed_precision, runtime.skip_padding and "
            "runtime.xla alone, as both ways run in one process on the same scenes."
        )
    return other


def _ready_trainer(config: config_lib.ExperimentConfig, names, batches: Callable) -> RetrieveGANTrainer:
    """A trainer that has made one step, which compiles."""
    models = Models.create(config, names.num_objects, names.num_predicates)
    build_models(models, next(iter(batches(0))))
    trainer = RetrieveGANTrainer(models, config)
    trainer.train_dataset = trainer.strategy.experimental_distribute_dataset(batches(0))
    trainer.train(tf.constant(1))
    return trainer


def _take_turns(one: RetrieveGANTrainer, other: RetrieveGANTrainer) -> dict[str, float]:
    """Steps of two trainers in turns, so that whatever else the machine does weighs on both alike."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in progress_bar(range(_STEPS.value), desc="turns", unit="turn"):
        for place in (0, 1) if turn % 2 == 0 else (1, 0):
            started = time.perf_counter()
            (one, other)[place].train(tf.constant(1))
            seconds[place].append(time.perf_counter() - started)
    ratios = np.array(seconds[1]) / np.array(seconds[0])
    return {
        "against_step_seconds": float(np.mean(seconds[1])),
        "against_ratio_of_sums": float(np.sum(seconds[1]) / np.sum(seconds[0])),
        "against_ratio_median": float(np.median(ratios)),
    }


def _train(trainer: stage_trainer.StageTrainer) -> tuple[float, float]:
    """Seconds of a step, and of waiting in it."""
    with progress_bar(total=_STEPS.value, desc="steps", unit="step") as trainer.progress:
        started = time.perf_counter()
        trainer.train(tf.constant(_STEPS.value))
        return (time.perf_counter() - started) / _STEPS.value, trainer.seconds_waited / _STEPS.value


def _parts(trainer: RetrieveGANTrainer, batch: dict[str, tf.Tensor]) -> dict[str, float]:
    """Seconds of forward and backward pass of each part, alone, on one batch."""
    models, model = trainer.models, trainer.models.retrievegan
    step = tf.constant(0, tf.int64)
    patches = tf.concat([batch["ground_truth_patches"][:, :, None], batch["candidate_patches"]], axis=2)
    features = model.retrieval.embed(batch["candidate_patches"])
    two_paths = {name: tf.concat([value] * 2, axis=0) for name, value in batch.items() if "candidate" not in name}
    size = (trainer.crop_size,) * 2

    def critics(image):
        patches = two_paths["ground_truth_patches"]
        logits, classes = models.object_discriminator(image, two_paths["boxes"], patches=patches)
        return tf.reduce_sum(models.image_discriminator(image)) + tf.reduce_sum(logits) + tf.reduce_sum(classes)

    def perceptual(image):
        crops = crop(image, two_paths["boxes"], size)
        return tf.add_n([tf.reduce_sum(f) for f in models.feature_network(image) + models.feature_network(crops)])

    mask, seed = batch["candidate_mask"], batch["scene_seed"]
    timed = {
        "retrieval_loop": (lambda x: tf.reduce_sum(model.retrieval(x, mask, seed, step).selection), features),
        "patch_encoder": (lambda x: tf.reduce_sum(model.retrieval.embed(x)), patches),
        "generator": (
            lambda x: tf.reduce_sum(model.synthesize(x, two_paths["boxes"], two_paths)),
            two_paths["ground_truth_patches"],
        ),
        "discriminators": (critics, two_paths["image"]),
        "feature_network": (perceptual, two_paths["image"]),
    }
    return {name: _seconds(function, value) for name, (function, value) in timed.items()}


def _serving(model: RetrieveGAN, config: config_lib.ExperimentConfig, batch: dict[str, tf.Tensor]):
    """Seconds of the served search for one scene's objects, all of one category that is the whole bank, and of the
    generator's forward pass for the same scene.
    """
    random, n = np.random.default_rng(3), config.data.max_objects
    features = random.normal(size=(_BANK.value + n, config.graph_encoder.embedding_dim)).astype(np.float32)
    points, queries = tf.Variable(features[n:]), tf.constant(features[:n])
    norms = tf.Variable(np.sum(features[n:] ** 2, axis=1))
    starts = tf.Variable(np.array([0, 0, len(features) - n], np.int32))
    scene = {name: value[:1] for name, value in batch.items()}

    @tf.function
    def search():
        one = tf.constant(1)
        spec = tf.TensorSpec([config.candidates.k_max], tf.int32)
        return tf.map_fn(
            lambda query: nearest_rows(query, one, points, norms, starts, config.candidates.k_max),
            queries,
            fn_output_signature=spec,
        )

    forward = tf.function(lambda: model.synthesize(scene["ground_truth_patches"], scene["boxes"], scene))
    return _median_seconds(search), _median_seconds(forward)


def _seconds(function: Callable, value: tf.Tensor) -> float:
    """Median seconds of a function's value with the gradients of its argument and of all variables it reads."""

    @tf.function
    def both(value):
        with tf.GradientTape() as tape:
            tape.watch(value)
            result = function(value)
        gradients = tape.gradient(result, [value, *tape.watched_variables()], unconnected_gradients="zero")
        return result, [tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients]

    return _median_seconds(lambda: both(value)[0])


def _median_seconds(function: Callable[[], tf.Tensor]) -> float:
    """Median seconds of five calls, after one that compiles."""
    function()
    times = []
    for _ in range(5):
        started = time.perf_counter()
        function().numpy()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


if __name__ == "__main__":
    commands.run(main)
