"""Traces of chosen steps for TensorBoard's profile plug-in."""

import contextlib
import dataclasses
from typing import Optional

import tensorflow as tf

from rgan_tf.config import ConfigError


@dataclasses.dataclass
class StepProfile:
    """Profiles the steps from `first` to `last`, both included, into `log_dir`; a context that closes an open trace."""

    steps: Optional[tuple[int, int]]
    log_dir: str
    _running: bool = False

    @classmethod
    def none(cls) -> "StepProfile":
        """Profiles nothing."""
        return cls(None, "")

    @classmethod
    def parse(cls, text: str, log_dir) -> "StepProfile":
        """Reads the flag's form `first,last`; an empty text profiles nothing.

        Raises:
          ConfigError: the text is not two numbers in order.
        """
        if not text:
            return cls.none()
        try:
            first, last = (int(number) for number in text.split(","))
        except ValueError:
            first, last = 1, 0
        if not 0 <= first <= last:
            raise ConfigError(f"--profile_steps is {text!r}; it must be two steps in order, e.g. 10,15.")
        return cls((first, last), str(log_dir))

    @contextlib.contextmanager
    def at(self, step: int):
        """Marks one training step, and starts or ends the trace at its borders."""
        if self.steps is None:
            yield
            return
        if step == self.steps[0]:
            tf.profiler.experimental.start(self.log_dir)
            self._running = True
        with tf.profiler.experimental.Trace("train", step_num=step, _r=1):
            yield
        if step == self.steps[1]:
            self._stop()

    def __enter__(self) -> "StepProfile":
        return self

    def __exit__(self, *unused) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()
