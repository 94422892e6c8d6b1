"""The loop every stage trains on: orbit around its trainer's step, from the newest checkpoint to the last step."""

import contextlib
import dataclasses
import sys
from typing import Callable

import orbit
import tensorflow as tf
from tqdm.contrib import DummyTqdmFile

from rgan_tf import config as config_lib
from rgan_tf.progress import progress_bar
from rgan_tf.training import checkpoints, profiling, runtime
from rgan_tf.training.stage_trainer import OptimizedModel, StageTrainer
from rgan_tf.workspace import WorkspaceError


@dataclasses.dataclass(frozen=True)
class Run:
    """Where and how long a trainer runs.

    make_dataset: the batches from a step on; called after a checkpoint was restored, and after each refresh.
    actions: called as orbit actions after every summary interval, with the headline.
    """

    directory: str
    training: config_lib.TrainingConfig
    make_dataset: Callable[[int], tf.data.Dataset]
    title: str
    profile: profiling.StepProfile = dataclasses.field(default_factory=profiling.StepProfile.none)
    actions: tuple[Callable, ...] = ()


def train(trainer: StageTrainer, run: Run) -> None:
    """Trains to the configured step, from the newest checkpoint in the run's directory if there is one.

    Raises:
      TrainingDiverged: a reported term was not finite.
      WorkerLostError: another worker is gone.
      WorkspaceError: the newest checkpoint is damaged, or several workers have checkpoints, but none in common.
    """
    training = run.training
    directory = _own_directory(run.directory, trainer.strategy)
    checkpoints.settle(directory)
    if runtime.worker_count(trainer.strategy) > 1:
        # One may have been killed after it wrote a checkpoint and another one before.
        shared = runtime.common_step(trainer.strategy, checkpoints.steps_of(directory))
        if shared is None:
            raise WorkspaceError(
                f"The workers share no checkpoint from which they could go on: copy the checkpoint files of "
                f"{run.directory}, its file {checkpoints.NAME} among them, to the folders .worker-N in it, or delete "
                "all of them to train from the start."
            )
        checkpoints.go_back(directory, shared)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(**trainer.checkpoint_items()),
        directory,
        max_to_keep=training.keep_checkpoints,
        step_counter=trainer.step,
        checkpoint_interval=training.checkpoint_interval,
        checkpoint_name=checkpoints.NAME,
    )
    interval = training.summary_interval
    # The controller restores the newest one.
    with checkpoints.reading(checkpoints.newest(directory)):
        controller = orbit.Controller(
            global_step=trainer.step,
            trainer=trainer,
            strategy=trainer.strategy,
            # Intervals end at round steps, also after a resumption from elsewhere.
            steps_per_loop=lambda step: interval - step % interval,
            checkpoint_manager=manager,
            train_actions=run.actions,
        )
    start = int(trainer.step.numpy())
    if start >= training.steps:
        return
    trainer.profile = run.profile
    trainer.summaries = tf.summary.create_file_writer(directory)
    bar = progress_bar(total=training.steps, initial=start, desc=run.title, unit="step")
    # orbit prints a line an interval; it must not land in the middle of the bar.
    lines = contextlib.redirect_stdout(DummyTqdmFile(sys.stdout))
    with bar as trainer.progress, lines, run.profile, runtime.together(trainer.strategy):
        _train_between_refreshes(trainer, controller, run, start)


def _train_between_refreshes(trainer: StageTrainer, controller: orbit.Controller, run: Run, start: int) -> None:
    """Trains from a step on. A run that resumes where a refresh was due makes it again, by the same weights."""
    interval, steps = trainer.refresh_interval or run.training.steps, run.training.steps
    while start < steps:
        if start and start % interval == 0:
            trainer.refresh()
        trainer.train_dataset = trainer.strategy.experimental_distribute_dataset(run.make_dataset(start))
        start = min(steps, start - start % interval + interval)
        controller.train(start)


def restore_model(directory, group: str, model: tf.keras.Model, config: config_lib.OptimizerConfig) -> None:
    """Gives a built model its weights of the newest checkpoint, the averaged ones where training kept them.

    Args:
      directory: of the finished or running stage.
      group: the name in `StageTrainer.optimized` under which the model was trained.
      model: the model, built.
      config: with which it was trained.

    Raises:
      WorkspaceError: there is no checkpoint yet, it is damaged, or it holds another model.
    """
    path = checkpoints.newest(directory)
    if path is None:
        raise WorkspaceError(f"{directory} holds no checkpoint yet; let training reach its first one.")
    trained = OptimizedModel.create((model,), config)
    items = {f"{group}_{model.name}": model, f"{group}_optimizer": trained.optimizer}
    with checkpoints.reading(path):
        try:
            tf.train.Checkpoint(**items).restore(str(path)).assert_existing_objects_matched().expect_partial()
        except (AssertionError, ValueError) as error:
            raise WorkspaceError(
                f"The checkpoint {path} was written by another version of the model; train again."
            ) from error
    if config.ema_momentum > 0:
        trained.optimizer.finalize_variable_values(trained.variables)


def _own_directory(directory, strategy: tf.distribute.Strategy) -> str:
    """The run's own folder for the chief; other workers, who must take part in saving, write to one of their own."""
    part = runtime.own_part(strategy)
    return f"{directory}/.{part}" if part else str(directory)
