"""What raters answered in a compatibility study, turned into percentages with confidence intervals.

Two intervals, both at 95 %. Wilson's score interval (1927) of the pooled answers takes every answer as independent,
which answers of one rater are not. The bootstrap over raters draws whole raters with replacement, so that it is as wide
as raters differ (Davison and Hinkley 1997, section 3.8); it takes the scenes as given, and means little below some ten
raters.
"""

import json
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np

from rgan_tf.errors import UserError
from rgan_tf.evaluation.study.pages import SIDES

# The normal distribution's 97.5th percentile.
_Z = 1.959963984540054
_PERCENTILES = (2.5, 97.5)
_RESAMPLES = 10_000

Interval = tuple[float, float]


class StudyError(UserError):
    """A key or answers that cannot be scored; the message names the file, the value and the mend."""


class Key(NamedTuple):
    """study: its id; workspaces: their names; left: int [Q], which of the two stood left in each question."""

    study: str
    workspaces: tuple[str, str]
    left: np.ndarray


class Answers(NamedTuple):
    """rater: a random name; sides: int [Q], 0 where the left set was chosen, 1 where the right."""

    rater: str
    sides: np.ndarray


class StudyScore(NamedTuple):
    """Shares in [0, 1].

    workspaces: their names; raters, answers: how many; share: of the answers that prefer the first workspace; wilson,
    bootstrap: its intervals, the second None with one rater; by_rater: float [raters], the share of each; left_share:
    of the answers that chose the left side, near a half where sides do not matter.
    """

    workspaces: tuple[str, str]
    raters: int
    answers: int
    share: float
    wilson: Interval
    bootstrap: Optional[Interval]
    by_rater: np.ndarray
    left_share: float

    def lines(self) -> list[str]:
        """The result for people."""
        said = [f"raters: {self.raters}, answers: {self.answers}; share preferred, with 95 % intervals:"]
        width = max(map(len, self.workspaces))
        for which, name in enumerate(self.workspaces):
            line = f"{name:{width}}  {_percent(self.share, which)}  Wilson {_range(self.wilson, which)}"
            if self.bootstrap is not None:
                line += f"  bootstrap over raters {_range(self.bootstrap, which)}"
            said.append(line)
        said.append(f"The left side was chosen in {_percent(self.left_share).strip()} of the answers.")
        return said


def _percent(share: float, which: int = 0) -> str:
    return f"{100 * (share if which == 0 else 1 - share):5.1f} %"


def _range(interval: Interval, which: int) -> str:
    low, high = interval if which == 0 else (1 - interval[1], 1 - interval[0])
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def read_key(path) -> Key:
    """Reads `key.json`.

    Raises:
      StudyError: it is no key of a study.
    """
    content = _read_json(path)
    try:
        study, names, questions = content["study"], content["workspaces"], content["questions"]
        first, second = names
        left = np.array([names.index(question["left"]["workspace"]) for question in questions])
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{path} is no key of a study; give the key.json that was written beside its page.") from error
    return Key(study, (first, second), left)


def read_answers(path, key: Key) -> Answers:
    """Reads the file that a rater downloaded, and checks that it answers each question of the study once.

    Raises:
      StudyError: it does not.
    """
    content = _read_json(path)
    try:
        study, rater = content["study"], content["rater"]
        given = [(answer["question"], answer["choice"]) for answer in content["answers"]]
    except (KeyError, TypeError) as error:
        raise StudyError(f"{path} holds no answers to a study; give the files that the page downloads.") from error
    if study != key.study:
        raise StudyError(f"{path} answers the study {study}, not {key.study}, of which this is the key; leave it out.")
    if not isinstance(rater, str) or not rater:
        raise StudyError(f"{path} has {rater!r} as its rater; it must be the name that the page gave.")
    sides = np.full(len(key.left), -1)
    for question, choice in given:
        if not isinstance(question, int) or not 1 <= question <= len(sides):
            raise StudyError(f"{path} answers question {question!r}; the study has 1 to {len(sides)}.")
        if choice not in SIDES:
            raise StudyError(f"{path} answers question {question} with {choice!r}; it must be left or right.")
        if sides[question - 1] >= 0:
            raise StudyError(f"{path} answers question {question} twice; ask its rater for the file as downloaded.")
        sides[question - 1] = SIDES.index(choice)
    missing = int((sides < 0).sum())
    if missing:
        raise StudyError(
            f"{path} is incomplete: {missing} of {len(sides)} questions have no answer, the first is "
            f"{int(np.argmin(sides)) + 1}; leave it out or ask its rater to finish."
        )
    return Answers(rater, sides)


def read_all(paths: Sequence, key: Key) -> list[Answers]:
    """Reads the files of all raters.

    Raises:
      StudyError: one cannot be used, or two are of the same rater.
    """
    answers, origin = [], {}
    for path in paths:
        found = read_answers(path, key)
        if found.rater in origin:
            raise StudyError(f"{path} is of the same rater as {origin[found.rater]}; give one file a rater.")
        origin[found.rater] = path
        answers.append(found)
    return answers


def score(key: Key, answers: Sequence[Answers]) -> StudyScore:
    """Counts what was preferred.

    Args:
      key: of the study.
      answers: at least one rater's.
    """
    chose_left = np.stack([item.sides == 0 for item in answers])
    preferred = chose_left == (key.left == 0)
    by_rater = preferred.mean(axis=1)
    return StudyScore(
        workspaces=key.workspaces,
        raters=len(answers),
        answers=preferred.size,
        share=float(preferred.mean()),
        wilson=wilson(int(preferred.sum()), preferred.size),
        bootstrap=bootstrap(by_rater) if len(answers) > 1 else None,
        by_rater=by_rater,
        left_share=float(chose_left.mean()),
    )


def wilson(successes: int, count: int) -> Interval:
    """Wilson's score interval at 95 % of a share; count at least 1."""
    share, spread = successes / count, _Z**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(by_rater: np.ndarray, seed: int = 0) -> Interval:
    """Percentile interval at 95 % of the mean share over raters drawn with replacement.

    Args:
      by_rater: float [R], each rater's share; all answered equally many questions.
      seed: of the draws; the same gives the same interval.
    """
    rows = np.random.default_rng(seed).integers(len(by_rater), size=(_RESAMPLES, len(by_rater)))
    low, high = np.percentile(np.asarray(by_rater)[rows].mean(axis=1), _PERCENTILES)
    return float(low), float(high)


def _read_json(path) -> dict:
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StudyError(f"{path} is not valid JSON: {error}.") from error
    return content
