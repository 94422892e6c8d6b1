"""One way to search, measured: each is built in a process of its own, and all use all processors.

It is searched with settings of rising recall; what is told is the fastest that reaches the wanted recall.
"""

import pathlib
import resource
import time

import numpy as np
import psutil

from pipelines.prefilter.benchmark.peers import PEERS, version_of
from pipelines.prefilter.benchmark.vectors import save_whole, write_vectors
from pipelines.prefilter.search import nearest_of_sample, recall_of

# A setting is searched again for a better time: so often at least, unless one search takes longer than `_LONG` seconds,
# and for `_TOGETHER` seconds in all, since short searches scatter most.
_REPEATS, _LONG, _TOGETHER = 3, 5.0, 1.0


def measure(peer: str, size: int, directory: str, k: int, wanted: float) -> dict:
    """One row; runs in a process of its own, so that the memory is its own."""
    points, queries = (np.load(path, mmap_mode="r") for path in write_vectors(pathlib.Path(directory), size))
    # Read once, so that nobody's build pays for the disk; mapped, so that they are no process's memory.
    points.sum(), queries.sum()
    queries, truth = np.asarray(queries), np.load(truth_file(directory, size, k))
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    settings = iter(PEERS[peer][0](points, k, wanted))
    setting = next(settings)
    build = time.perf_counter() - started
    print(f"built in {build:.1f} s; searching", flush=True)
    rows = []
    while setting is not None:
        seconds, found = _timed(setting, queries)
        recall = recall_of(points, queries, found, truth)
        rows.append({"setting": setting.name, "recall": recall, "rate": len(queries) / seconds})
        setting = next(settings, None)
    enough = [row for row in rows if row["recall"] >= wanted]
    best = max(enough, key=lambda row: row["rate"]) if enough else max(rows, key=lambda row: row["recall"])
    memory = (_memory() - before) / 2**20
    asked = {"size": size, "peer": peer, "k": k, "wanted": wanted}
    return {**asked, **best, "build": build, "memory": memory, "version": version_of(peer)}


def _timed(setting, queries):
    """The best of a few searches, after one that warms up."""
    found, times = setting.search(queries[:100]), []
    while len(times) < _REPEATS or sum(times) < _TOGETHER:
        started = time.perf_counter()
        found = setting.search(queries)
        times.append(time.perf_counter() - started)
        if times[-1] > _LONG:
            break
    return min(times), found


def _memory() -> int:
    """Most bytes that this process held at any time; of pages that files are mapped to, those in memory count too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def truth_file(directory: str, size: int, k: int) -> pathlib.Path:
    """The exact neighbours of the queries, int64 [Q, k], computed where they are not there."""
    path = pathlib.Path(directory) / f"nearest_{size}_{k}.npy"
    if not path.exists():
        points, queries = (np.load(name, mmap_mode="r") for name in write_vectors(path.parent, size))
        save_whole(path, nearest_of_sample(points, np.asarray(queries), k))
    return path
