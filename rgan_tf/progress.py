"""Progress of long work: a bar on a terminal, elsewhere a line now and then."""

import sys

from tqdm import tqdm

# Between two lines of a log; work that is done sooner writes none.
SECONDS_BETWEEN_LINES = 10.0


class _Lines:
    """A stream for which each state of a bar is a line of its own, where a terminal would overwrite the one before."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            self._stream.write(f"{line}\n")

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def progress_bar(iterable=None, **options) -> tqdm:
    """A `tqdm` on the standard error stream, which also tells rate and time left.

    Args:
      iterable: as tqdm's; None where `update` is called by hand.
      **options: tqdm's, as `desc`, `total` and `unit`.
    """
    if sys.stderr.isatty():
        return tqdm(iterable, dynamic_ncols=True, **options)
    pause = SECONDS_BETWEEN_LINES
    # A fixed place: one below another would be reached by moving a cursor that a file has not.
    return tqdm(iterable, file=_Lines(sys.stderr), mininterval=pause, delay=pause, position=0, **options)
