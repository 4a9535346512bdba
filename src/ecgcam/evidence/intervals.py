"""Means over recordings with their intervals. NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mean_interval(
    values: npt.NDArray[np.floating], draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of one value a recording, and the percentile bootstrap interval of it; NaN values are left out.

    Recordings are drawn with replacement. One recording has no interval: NaN.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    if len(known) == 1:
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = known[rng.integers(len(known), size=(draws, len(known)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)
