"""Work in threads, its results in order."""

import collections
import concurrent.futures
import os
from collections.abc import Iterable, Iterator
from typing import Callable, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Items that wait for each thread, so that none is ever idle and memory stays bounded.
_AHEAD = 8


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """As map(), in as many threads as there are CPUs; a few items and results are held at any time.

    What the function does should leave the interpreter's lock, as decoding and resizing pictures do. An error of it is
    raised where its result is due.
    """
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
