"""What the value of a field may be; fields.py declares one of these beside each field.

A bound says of any value, of whatever type, what it must be instead; "" where it may stay. Every bound is closed, and
NaN and the infinities lie in none.
"""

import dataclasses
import difflib
import re
import reprlib
from typing import Any, Optional, Protocol

from rgan_tf.errors import UserError

# Paths are no longer on Linux.
_LONGEST_TEXT = 4096
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 120
_short.maxlist = 8


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the field, its value and the mend."""


class Bound(Protocol):
    """What values a field may have."""

    def mend(self, value: Any) -> str:
        """What `value` must be instead, as "it must be …"; "" where it is within the bound."""


def check(field: str, value: Any, bound: Bound) -> None:
    """Raises `ConfigError` unless the value is within the bound of the field, named with its dots."""
    mend = bound.mend(value)
    if mend:
        raise ConfigError(f"{field} is {shown(value)}; {mend}.")


def shown(value: Any) -> str:
    """A value as a sentence shows it: on one line, and cut where it is long."""
    return "empty" if value in ("", []) else _short.repr(value)


@dataclasses.dataclass(frozen=True)
class Flag:
    """true or false."""

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        return "" if type(value) is bool else "it must be true or false, a bool"


@dataclasses.dataclass(frozen=True)
class Integer:
    """An integer from `low` to `high`; true and false are none."""

    low: int
    high: int

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        return _outside(value, self.low, self.high) if type(value) is int else "it must be an integer (int)"


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`; an integer passes for one."""

    low: float
    high: float

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        if type(value) not in (int, float) or value != value:  # NaN
            return f"it must be a number (float) from {self.low:g} to {self.high:g}"
        return _outside(value, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Interval:
    """Two numbers from `low` to `high`, the smaller first."""

    low: float
    high: float

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        within = Number(self.low, self.high)
        if type(value) is list and len(value) == 2 and not any(map(within.mend, value)) and value[0] < value[1]:
            return ""
        return f"it must be two numbers from {self.low:g} to {self.high:g}, the smaller first, as [0, 255]"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        if type(value) is str and value in self.names:
            return ""
        near = difflib.get_close_matches(value, self.names, n=1) if type(value) is str else []
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"it must be one of {', '.join(self.names)}{hint}"


@dataclasses.dataclass(frozen=True)
class Text:
    """Free text without control characters.

    what: what the text is, for people. empty: whether it may be left out. form: a regular expression for the whole.
    """

    what: str
    empty: bool = True
    form: Optional[str] = None

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        if type(value) is str and len(value) <= _LONGEST_TEXT and not _CONTROL.search(value):
            if self.empty if not value else self.form is None or re.fullmatch(self.form, value):
                return ""
        return f"it must be text (str): {self.what}"


@dataclasses.dataclass(frozen=True)
class ListOf:
    """From `least` to `most` different or, where `repeats`, any elements, each within the bound `element`.

    what: what the list is, for people.
    """

    element: Bound
    least: int
    most: int
    what: str
    repeats: bool = False

    def mend(self, value: Any) -> str:
        """See `Bound`."""
        number = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        if type(value) is not list or not self.least <= len(value) <= self.most:
            return f"it must be a list of {number}: {self.what}"
        for entry in value:
            mend = self.element.mend(entry)
            if mend:
                return f"of its entry {shown(entry)}, {mend}"
        if not self.repeats and len(set(value)) < len(value):
            return f"it must be a list of {number} that are all different: {self.what}"
        return ""


def _outside(value: float, low: float, high: float) -> str:
    """The mend of a number beyond one of two limits; "" within."""
    limit, side = (low, "at least") if value < low else (high, "at most")
    if low <= value <= high:
        return ""
    return f"it must be {side} {limit if type(limit) is int else format(limit, 'g')}"
