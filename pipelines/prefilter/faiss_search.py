"""FAISS behind the prefilter's interface."""

import math
import os

from pipelines.prefilter.planned_search import PlannedSearch
from rgan_tf.errors import UserError

# FAISS warns of k-means with fewer points a centre, and trains with no more than the latter.
_LEAST_A_CENTRE, _MOST_A_CENTRE = 39, 256
# Centres of a 4-bit code.
_CENTRES = 16


class FaissSearch(PlannedSearch):
    """FAISS: inverted lists, 4-bit codes with fast scan of the points in a few of them, exact refinement.

    Its k-means starts from a fixed seed, so that builds agree.
    """

    library = "FAISS"
    least_points = _LEAST_A_CENTRE * _CENTRES

    def _build(self):
        faiss = _faiss()
        number, dim = self._points.shape
        lists = min(round(math.sqrt(number)), number // _LEAST_A_CENTRE)
        # Codes of two dimensions each, or of one where they are odd.
        codes = dim // 2 if dim % 2 == 0 else dim
        self._index = faiss.index_factory(dim, f"IVF{lists},PQ{codes}x4fs,RFlat")
        self._inverted = faiss.extract_index_ivf(self._index)
        self._index.train(self._points[:: max(1, number // (_MOST_A_CENTRE * lists))])
        self._index.add(self._points)
        return lists

    def _found(self, queries, k, searched, rescored):
        # FAISS counts what it refines in multiples of what was asked for.
        self._inverted.nprobe, self._index.k_factor = searched, max(rescored / k, 1.0)
        distances, found = self._index.search(queries, k)
        return found, distances


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            f"candidates.backend is 'faiss', and the package faiss-cpu cannot be imported ({error}); install "
            "rgan-tf[search], or set candidates.backend to 'scann'."
        ) from error
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    return faiss
