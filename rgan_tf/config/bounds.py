"""What a configured value may be, and how it is said in one sentence that it is not."""

import difflib
import math
from collections.abc import Collection, Sequence

from rgan_tf.errors import UserError


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the field, its value and the mend."""


def one_of(field: str, value: str, allowed: Collection[str]) -> None:
    """Raises `ConfigError` unless the value is one of those allowed."""
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"{field} is {value!r}; it must be one of {', '.join(allowed)}{hint}.")


def at_least(low, **fields) -> None:
    """Raises `ConfigError` unless all values reach `low`; "__" in a name stands for a dot."""
    for field, value in fields.items():
        if value < low:
            raise ConfigError(f"{field.replace('__', '.')} is {value}; it must be at least {low}.")


def interval(field: str, value: Sequence[float]) -> None:
    """Raises `ConfigError` unless the value is two finite numbers, the smaller first."""
    numbers = all(type(bound) in (int, float) and math.isfinite(bound) for bound in value)
    if not numbers or len(value) != 2 or value[0] >= value[1]:
        raise ConfigError(f"{field} is {list(value)}; it must be two numbers, the smaller first, as [0, 255].")
