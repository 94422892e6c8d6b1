"""Records made on Apache Beam: what every machine does, and what comes back.

Every machine must see the same folders by the same names. Beam is an extra, and imported only where it is at work.
"""

import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

if TYPE_CHECKING:
    import apache_beam as beam

_PROBLEM = "problem"
# Counted among the problems: a scene that gave no record.
LEFT_OUT = ""
# Scenes that a machine takes at once.
_PART = 64


class Made(NamedTuple):
    """Of one scene: the key and record, None where it is left out; and what was wrong with it."""

    example: Optional[tuple[int, dict]]
    problems: tuple[str, ...] = ()


def ranges(scenes: int) -> list[tuple[int, int]]:
    """Parts of so many scenes: from one, to one."""
    return [(start, min(start + _PART, scenes)) for start in range(0, scenes, _PART)]


def write_parts(lines: Iterable[str], scenes: int, prefix: pathlib.Path) -> list[tuple[str, int]]:
    """Writes scenes as lines of files, and returns each file with the number of its first scene.

    A pipeline's own description, which some runners bound at ten megabytes, holds no scene then.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    lines, parts = iter(lines), []
    for start, stop in ranges(scenes):
        path = prefix.with_name(f"{prefix.name}-{start:09d}.jsonl")
        path.write_text("".join(f"{next(lines)}\n" for _ in range(start, stop)), encoding="utf-8")
        parts.append((str(path), start))
    return parts


def read_part(part: tuple[str, int]) -> Iterator[tuple[int, str]]:
    """The numbers and lines of a file of `write_parts`."""
    path, start = part
    return enumerate(pathlib.Path(path).read_text(encoding="utf-8").splitlines(), start)


def records_of(
    parts: Sequence[Any], make: Callable[[Any], Iterable[Made]], problems_file: Optional[pathlib.Path] = None
) -> "beam.PTransform":
    """Records of all parts, each made by whichever machine is free.

    Args:
      parts: what `make` takes; small, for they travel in the pipeline's description.
      make: of a module that the machines can import.
      problems_file: where kinds of problems and their numbers are written, `LEFT_OUT` among them; None where there are
        none.

    Returns:
      A transform that gives pairs (key, record), as a tensorflow-datasets builder takes it for a split.
    """
    import apache_beam as beam

    def expand(pcoll):
        made = (
            pcoll
            | "Parts" >> beam.Create(list(parts))
            # Else one machine would be given all that follows.
            | "Spread" >> beam.Reshuffle()
            | "Make" >> beam.FlatMap(_outputs, make).with_outputs(_PROBLEM, main="examples")
        )
        if problems_file is not None:
            _ = (
                made[_PROBLEM]
                | "CountProblems" >> beam.combiners.Count.PerElement()
                | "CollectProblems" >> beam.combiners.ToList()
                | "WriteProblems" >> beam.Map(_write_problems, str(problems_file))
            )
        return made.examples

    return beam.ptransform_fn(expand)()


def _outputs(part, make):
    from apache_beam.pvalue import TaggedOutput

    for made in make(part):
        for problem in made.problems:
            yield TaggedOutput(_PROBLEM, problem)
        yield TaggedOutput(_PROBLEM, LEFT_OUT) if made.example is None else made.example


def _write_problems(counts, path):
    pathlib.Path(path).write_text(json.dumps(dict(counts)), encoding="utf-8")
