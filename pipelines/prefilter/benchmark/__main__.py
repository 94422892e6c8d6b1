"""Build time, memory, queries a second and recall of the prefilter and its peers, side by side.

python -m pipelines.prefilter.benchmark --directory=DIR [--sizes=10000,100000] [--peers=ours_scann,exact,…]

Rows that are finished are kept in DIR/results.json, so that a run can go on; the table is DIR/results.md.
"""

import json
import multiprocessing
import pathlib

from absl import flags

from rgan_tf import commands  # isort: split

from pipelines.prefilter.benchmark.measurement import measure, truth_file
from pipelines.prefilter.benchmark.peers import PEERS, THREADS, version_of
from rgan_tf.errors import UserError

_TITLES = ("vectors", "search", "setting", "recall", "queries/s", "x exact", "build, s", "memory, MiB", "version")


def table(rows: list[dict]) -> str:
    """Markdown, by size and then by rate."""
    lines = ["| " + " | ".join(_TITLES) + " |", "|---|---|---|" + "---:|" * 5 + "---|"]
    exact = {row["size"]: row["rate"] for row in rows if row["peer"] == "exact"}
    for row in sorted(rows, key=lambda row: (row["size"], -row["rate"])):
        times = f"{row['rate'] / exact[row['size']]:.1f}" if row["size"] in exact else ""
        figures = [f"{row['recall']:.4f}", f"{row['rate']:,.0f}", times, f"{row['build']:.1f}", f"{row['memory']:,.0f}"]
        cells = [f"{row['size']:,}", row["peer"], row["setting"], *figures, row["version"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _elsewhere(function, *arguments):
    """A function's result, from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Measures what is not measured yet, and writes the table."""
    given = flags.FLAGS
    peers = given.peers or list(PEERS)
    unknown = [peer for peer in peers if peer not in PEERS]
    if unknown:
        raise UserError(f"--peers names {unknown[0]!r}; it must be of {', '.join(PEERS)}.")
    for peer in peers:
        version_of(peer)
    sizes = [int(size) if size.isdigit() else 0 for size in given.sizes]
    if min(sizes, default=0) < 1000:
        raise UserError(f"--sizes={','.join(given.sizes)}: each must be a whole number of at least 1000.")
    directory = pathlib.Path(given.directory)
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "results.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    for size in sizes:
        for peer in peers:
            asked = dict(peer=peer, size=size, k=given.k, wanted=given.recall)
            if any(asked.items() <= row.items() for row in rows):
                continue
            print(f"{peer}, {size:,} vectors, {THREADS} threads", flush=True)
            # The exact neighbours take memory that is no peer's.
            _elsewhere(truth_file, str(directory), size, given.k)
            rows.append(_elsewhere(measure, peer, size, str(directory), given.k, given.recall))
            beside = kept.with_suffix(".tmp")
            beside.write_text(json.dumps(rows, indent=1) + "\n")
            beside.replace(kept)
    rows = [row for row in rows if (row["k"], row["wanted"]) == (given.k, given.recall)]
    (directory / "results.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    flags.DEFINE_string("directory", None, "Folder for vectors and results.", required=True)
    flags.DEFINE_list("sizes", ["10000", "100000", "1000000"], "Numbers of vectors.")
    flags.DEFINE_list("peers", [], f"Of {', '.join(PEERS)}; all by default.")
    flags.DEFINE_integer("k", 32, "Neighbours.", lower_bound=1, upper_bound=1000)
    flags.DEFINE_float("recall", 0.99, "Wanted recall.", lower_bound=0.0, upper_bound=1.0)
    commands.run(main)
