"""Bootstrap intervals of scores that are means over scenes or pictures."""

from typing import Optional

import numpy as np
import scipy.stats

_RESAMPLES, _LEVEL, _SEED = 1000, 0.95, 0
# Numbers drawn at once.
_DRAWN = 2**22


def bootstrap_interval(sums: np.ndarray, counts: np.ndarray) -> Optional[tuple[float, float]]:
    """The 95 percent percentile interval of sum(sums) / sum(counts), units resampled with replacement (SciPy's).

    It tells how much the score would move with other scenes of the same kind, not with another training.

    Args:
      sums: [S] float, of each unit's values: a scene's, or a picture's.
      counts: [S], how many values; a unit without any may be left in.

    Returns:
      Its two ends, the same in every call; None for fewer than two units with a value.
    """
    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(sums) < 2:
        return None
    found = scipy.stats.bootstrap(
        (sums, counts),
        lambda s, c, axis=-1: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, _DRAWN // len(sums)),
        confidence_level=_LEVEL,
        method="percentile",
        random_state=_SEED,
    ).confidence_interval
    return float(found.low), float(found.high)
