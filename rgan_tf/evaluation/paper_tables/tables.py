"""Tables of figures as Markdown, CSV and LaTeX."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np

_LATEX = str.maketrans({**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "±": r"$\pm$"})


class Cell(NamedTuple):
    """A mean over seeds and its (population) deviation, None for a single seed."""

    mean: float
    deviation: Optional[float]

    def __str__(self):
        """As people write it."""
        return f"{self.mean:.3g}" if self.deviation is None else f"{self.mean:.3g} ± {self.deviation:.2g}"


def over_seeds(values: Sequence[Optional[float]]) -> Optional[Cell]:
    """Mean and deviation of the figures that there are; None where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Cell(float(np.mean(known)), float(np.std(known)) if len(known) > 1 else None)


class Table(NamedTuple):
    """A table of figures.

    columns: titles, the rows' own first. rows: a title and a cell a column, None where there is no figure. notes: how
    the figures were measured; the CSV, which programs read, goes without them.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Optional[Cell]]]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """A pipe table, and the notes as a list."""
        lines = [self.columns, ["---"] * len(self.columns), *self._texts("")]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
        return table + "".join(f"\n- {note}" for note in self.notes) + ("\n" if self.notes else "")

    def latex(self) -> str:
        """A tabular of booktabs, the notes as comments above it."""
        texts = [[text.translate(_LATEX) for text in line] for line in [self.columns, *self._texts("--")]]
        lines = [" & ".join(line) + r" \\" for line in texts]
        begin = rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}"
        notes = [f"% {note}" for note in self.notes]
        table = [begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*notes, *table]) + "\n"

    def csv(self) -> str:
        """Mean and deviation in columns of their own, at full precision."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(
            [self.columns[0], *(f"{name}{part}" for name in self.columns[1:] for part in ("", " deviation"))]
        )
        for title, cells in self.rows:
            pairs = [(cell.mean, cell.deviation) if cell else (None, None) for cell in cells]
            writer.writerow([title, *("" if value is None else repr(value) for pair in pairs for value in pair)])
        return buffer.getvalue()

    def write(self, stem: pathlib.Path) -> None:
        """Writes all three beside each other: STEM.md, STEM.tex, STEM.csv."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        for ending, text in ((".md", self.markdown()), (".tex", self.latex()), (".csv", self.csv())):
            stem.with_suffix(ending).write_text(text, encoding="utf-8")

    def _texts(self, missing: str) -> list[list[str]]:
        return [[title, *(missing if cell is None else str(cell) for cell in cells)] for title, cells in self.rows]
