"""One training step of a stage: a `tf.function` under a distribution strategy.

A stage says what its losses and gradients are; the trainer sums gradients over replicas, clips, applies, averages the
reported terms, and stops at the first that is not finite.
"""

import abc
import dataclasses
import time
from typing import Optional

import orbit
import tensorflow as tf

from pipelines.bank_reader import BankReader
from rgan_tf import config as config_lib
from rgan_tf.errors import UserError
from rgan_tf.progress import progress_bar
from rgan_tf.training import profiling

Terms = dict[str, tf.Tensor]


class TrainingDiverged(UserError):
    """A reported term became NaN or infinite; the message names the step and the term."""


@dataclasses.dataclass(frozen=True)
class OptimizedModel:
    """Models that one optimizer trains, and how."""

    models: tuple[tf.keras.Model, ...]
    config: config_lib.OptimizerConfig
    optimizer: tf.keras.optimizers.Optimizer

    @classmethod
    def create(cls, models: tuple[tf.keras.Model, ...], config: config_lib.OptimizerConfig) -> "OptimizedModel":
        """Makes Adam with its slots for the (built) models' variables; call it in the strategy's scope."""
        optimizer = tf.keras.optimizers.Adam(
            config.learning_rate,
            beta_1=config.beta_1,
            beta_2=config.beta_2,
            use_ema=config.ema_momentum > 0,
            ema_momentum=config.ema_momentum or 0.99,
            jit_compile=False,
        )
        made = cls(models, config, optimizer)
        optimizer.build(made.variables)
        return made

    @property
    def variables(self) -> list[tf.Variable]:
        """The trainable variables of all models."""
        return [variable for model in self.models for variable in model.trainable_variables]


class StageTrainer(orbit.StandardTrainer, abc.ABC):
    """Trains the models of one stage.

    `optimized` names what is trained; `gradients` gives, for one replica's batch, the terms to report and the gradients
    of each named group. Losses must be means over the replica's scenes: the loop averages over replicas.

    Attributes:
      refresh_interval: steps after which `refresh` is called and the batches begin anew; 0 for never.
    """

    refresh_interval = 0

    def __init__(self, optimized: dict[str, OptimizedModel], settings: config_lib.RuntimeConfig, images_per_step: int):
        """Call it in the strategy's scope, after the models are built."""
        options = orbit.StandardTrainerOptions(use_tf_function=False, use_tf_while_loop=False)
        super().__init__(train_dataset=None, options=options)
        self.strategy = tf.distribute.get_strategy()
        self.optimized = optimized
        self.step = orbit.utils.create_global_step()
        self.images_per_step = images_per_step
        self.progress = progress_bar(disable=True)
        self.profile = profiling.StepProfile.none()
        self.summaries = tf.summary.create_noop_writer()
        # No step has control flow that AutoGraph would have to see; converting it would double the time of tracing.
        # Not a function of its own without need: within one replicas could not sum, as batch normalization does.
        compiled = settings.xla
        self._gradients = tf.function(self.gradients, autograph=False, jit_compile=True) if compiled else self.gradients
        self._compiled_step = tf.function(self._step, autograph=False)
        self._sums: dict[str, tf.Variable] = {}
        self._first_bad: dict[str, tf.Variable] = {}

    @abc.abstractmethod
    def gradients(self, batch: dict[str, tf.Tensor], step: tf.Tensor) -> tuple[Terms, dict[str, list[tf.Tensor]]]:
        """Scalars to report and, by name in `optimized`, gradients, for one replica's batch at a step."""

    @property
    @abc.abstractmethod
    def headline(self) -> tuple[str, ...]:
        """The terms of the one-line summary."""

    def refresh(self) -> None:
        """Makes anew what batches are made from, by the weights that the models have; by default nothing is."""

    def reader(self, reader: Optional[BankReader]) -> Optional[BankReader]:
        """What attaches patches to the batches until the next refresh, given the reader of the first ones."""
        return reader

    def checkpoint_items(self) -> dict[str, object]:
        """All that a resumed run needs: models, optimizers with their averages, and the step."""
        items: dict[str, object] = {"step": self.step}
        for name, group in self.optimized.items():
            items[f"{name}_optimizer"] = group.optimizer
            items.update({f"{name}_{model.name}": model for model in group.models})
        return items

    def train_loop_begin(self) -> None:
        """Starts an interval."""
        for total in self._sums.values():
            total.assign(0.0)
        self._steps, self.seconds_waited, self._started = 0, 0.0, time.perf_counter()
        self._first_step = int(self.step.numpy())  # Read once: reading it every step would wait for the device.

    def train_step(self, iterator) -> None:
        """One step: waits for the batch, then runs the compiled step."""
        with self.profile.at(self._first_step + self._steps):
            asked = time.perf_counter()
            batch = next(iterator)
            self.seconds_waited += time.perf_counter() - asked
            terms = self._compiled_step(batch)
            self._record(terms)
        self._steps += 1
        self.progress.update(1)

    def train_loop_end(self) -> dict[str, float]:
        """Ends an interval: writes the means of all terms as summaries and returns the headline.

        Raises:
          TrainingDiverged: a term was not finite; nothing has been saved since.
        """
        steps = {name: int(step.numpy()) for name, step in self._first_bad.items()}
        bad = {name: step for name, step in steps.items() if step >= 0}
        if bad:
            first = min(bad.values())
            names = ", ".join(sorted(name for name, step in bad.items() if step == first))
            raise TrainingDiverged(
                f"At step {first} these terms were not finite: {names}. The last checkpoint holds the state before; "
                f"lower the learning rate or the term's weight and run again."
            )
        seconds = time.perf_counter() - self._started
        means = {name: total.numpy() / self._steps for name, total in self._sums.items()}
        means["speed/images_per_second"] = self._steps * self.images_per_step / seconds
        means["speed/waiting_for_input"] = self.seconds_waited / seconds
        # orbit records nothing by itself; what is written, and when, is decided here.
        with self.summaries.as_default(), tf.summary.record_if(True):
            for name, value in means.items():
                tf.summary.scalar(name, value, step=self.step)
        self.summaries.flush()
        return {name: round(float(means[name]), 4) for name in self.headline}

    def _step(self, batch) -> Terms:
        per_replica = self.strategy.run(self._replica_step, args=(batch,))
        terms = {name: self.strategy.reduce("MEAN", value, axis=None) for name, value in per_replica.items()}
        self.step.assign_add(1)
        return terms

    def _replica_step(self, batch) -> Terms:
        terms, gradients = self._gradients(batch, self.step)
        context = tf.distribute.get_replica_context()
        for name, group in self.optimized.items():
            # The vocabularies are small: embeddings' sparse gradients are as well dense.
            summed = [tf.convert_to_tensor(g) / context.num_replicas_in_sync for g in gradients[name]]
            if context.num_replicas_in_sync > 1:  # For one, TensorFlow would keep the step's graph for good.
                summed = context.all_reduce(tf.distribute.ReduceOp.SUM, summed)
            norm = tf.linalg.global_norm(summed)
            if group.config.clip_norm > 0:
                summed, _ = tf.clip_by_global_norm(summed, group.config.clip_norm, use_norm=norm)
            group.optimizer.apply_gradients(zip(summed, group.variables), skip_gradients_aggregation=True)
            terms[f"gradient_norm/{name}"] = norm
        return terms

    def _record(self, terms: Terms) -> None:
        if not self._sums:
            self._sums = {name: tf.Variable(0.0, trainable=False) for name in terms}
            self._first_bad = {name: tf.Variable(-1, trainable=False, dtype=tf.int64) for name in terms}
        self._add(terms)

    @tf.function
    def _add(self, terms: Terms) -> None:
        """Adds a step's terms up on the device, so that the host need not wait for it."""
        for name, value in terms.items():
            self._sums[name].assign_add(tf.cast(value, tf.float32))
            bad = self._first_bad[name]
            bad.assign(tf.where((bad < 0) & ~tf.math.is_finite(value), self.step - 1, bad))
