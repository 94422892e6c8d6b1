"""The ways to search that are compared, each with the settings that trade its recall for speed."""

import math
import os
from collections.abc import Iterator
from importlib import metadata
from typing import Callable, NamedTuple

import numpy as np

from pipelines.prefilter.faiss_search import FaissSearch
from pipelines.prefilter.planned_search import PlannedSearch
from pipelines.prefilter.scann_search import ScannSearch
from rgan_tf.errors import UserError

THREADS = os.cpu_count() or 1
_NEIGHBOURS_IN_GRAPH, _BUILD_BREADTH = 32, 100
_BREADTHS = (32, 48, 64, 96, 128, 192, 256, 512)

Search = Callable[[np.ndarray], np.ndarray]


class Setting(NamedTuple):
    """A name for the table, and a function from queries float32 [Q, D] to rows [Q, k]."""

    name: str
    search: Search


def exact(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """NumPy: matrix products of a batch of queries, by BLAS on all threads; at most a GiB of distances at a time."""
    batch = max(1, min(64, 2**28 // len(points)))
    squares = np.einsum("md,md->m", points, points)

    def search(queries):
        found = []
        for start in range(0, len(queries), batch):
            distances = squares - 2.0 * (queries[start : start + batch] @ points.T)
            # A copy, or the whole order of all points would be kept.
            found.append(np.argpartition(distances, k - 1, axis=1)[:, :k].copy())
        return np.concatenate(found)

    yield Setting(f"batches of {batch}", search)


def ours_scann(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """The prefilter with ScaNN, its default."""
    yield _planned(ScannSearch(points, k=k, wanted_recall=wanted), "leaves", k)


def ours_faiss(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """The prefilter with FAISS."""
    yield _planned(FaissSearch(points, k=k, wanted_recall=wanted), "lists", k)


def _planned(search: PlannedSearch, cells: str, k: int) -> Setting:
    """The prefilter with the parameters that it chose."""
    plan = search.plan
    name = f"{plan.searched} of {plan.cells} {cells}, {plan.rescored} rescored"
    return Setting(name, lambda queries: search.search(queries, k))


def faiss_ivf_pq(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """FAISS: inverted lists, 4-bit product quantization with fast scan, exact refinement."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    lists = round(math.sqrt(len(points)))
    index = faiss.index_factory(points.shape[1], f"IVF{lists},PQ{points.shape[1] // 2}x4fs,RFlat")
    index.train(points[:: max(1, len(points) // (256 * lists))])
    index.add(points)
    inverted = faiss.extract_index_ivf(index)
    for probes in (1, 2, 3, 5, 8, 16, 32, 64):
        for factor in (2, 4, 8):

            def search(queries, probes=probes, factor=factor):
                inverted.nprobe, index.k_factor = probes, factor
                return index.search(queries, k)[1]

            yield Setting(f"{probes} of {lists} lists, {factor * k} refined", search)


def faiss_hnsw(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """FAISS: a graph of neighbours over the vectors themselves."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexHNSWFlat(points.shape[1], _NEIGHBOURS_IN_GRAPH)
    index.hnsw.efConstruction = _BUILD_BREADTH
    index.add(points)
    for breadth in _BREADTHS:

        def search(queries, breadth=breadth):
            index.hnsw.efSearch = breadth
            return index.search(queries, k)[1]

        yield Setting(f"breadth {breadth}", search)


def hnswlib(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """hnswlib: the same kind of graph."""
    import hnswlib as library

    index = library.Index("l2", points.shape[1])
    index.init_index(len(points), M=_NEIGHBOURS_IN_GRAPH, ef_construction=_BUILD_BREADTH)
    index.set_num_threads(THREADS)
    index.add_items(points)
    for breadth in _BREADTHS:

        def search(queries, breadth=breadth):
            index.set_ef(max(breadth, k))
            return index.knn_query(queries, k)[0]

        yield Setting(f"breadth {breadth}", search)


def usearch(points: np.ndarray, k: int, wanted: float) -> Iterator[Setting]:
    """USearch: the same kind of graph."""
    from usearch.index import Index

    index = Index(
        ndim=points.shape[1],
        metric="l2sq",
        dtype="f32",
        connectivity=_NEIGHBOURS_IN_GRAPH,
        expansion_add=_BUILD_BREADTH,
    )
    index.add(np.arange(len(points)), points, threads=THREADS)
    for breadth in _BREADTHS:

        def search(queries, breadth=breadth):
            index.expansion_search = max(breadth, k)
            return index.search(queries, k, threads=THREADS).keys.astype(np.int64)

        yield Setting(f"breadth {breadth}", search)


# The name in tables -> how to build it, and the package that it needs.
PEERS = {
    "ours_scann": (ours_scann, "scann"),
    "ours_faiss": (ours_faiss, "faiss-cpu"),
    "exact": (exact, "numpy"),
    "faiss_ivf_pq": (faiss_ivf_pq, "faiss-cpu"),
    "faiss_hnsw": (faiss_hnsw, "faiss-cpu"),
    "hnswlib": (hnswlib, "hnswlib"),
    "usearch": (usearch, "usearch"),
}


def version_of(peer: str) -> str:
    """The package and version behind a peer.

    Raises:
      UserError: it is not installed.
    """
    package = PEERS[peer][1]
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f"{peer} needs the package {package}: install rgan-tf[search], or leave it out of --peers."
        ) from error
