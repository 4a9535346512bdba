"""Means over recordings and what chance does to them. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
_BLOCK = 4_000_000  # recordings times draws that are held at once


@dataclass(frozen=True, eq=False)
class Estimate:
    """Means over recordings.

    Attributes
    ----------
    mean, low, high : float64, any shape
        Mean, and the ends of its interval; NaN where nothing is known, the ends also where one recording is.
    n : int64, the same shape
        Recordings where the value is known.
    """

    mean: Floats
    low: Floats
    high: Floats
    n: npt.NDArray[np.int64]


def bootstrap_means(values: npt.NDArray[np.floating[Any]], draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return the means of `values` (N, ...) over N recordings with their 95 % percentile bootstrap intervals.

    Recordings are drawn with replacement, all values of a recording together (Efron 1979; percentile interval, Efron and
    Tibshirani 1993, section 13.3). NaN is a value that is not known: each draw's mean is over what is known in it.
    """
    count, shape = len(values), values.shape[1:]
    flat = np.asarray(values, np.float64).reshape(count, -1)
    known = np.isfinite(flat)
    filled, there = np.where(known, flat, 0.0), known.astype(np.float64)
    n = known.sum(axis=0)
    mean = _over(filled.sum(axis=0), n)
    rng = np.random.default_rng(seed)
    means = np.empty((draws, flat.shape[1]))
    step = max(1, _BLOCK // max(count, 1))
    for first in range(0, draws, step):
        some = min(step, draws - first)
        drawn = rng.integers(count, size=(some, count)) + count * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * count).reshape(some, count).astype(np.float64)
        means[first : first + some] = _over(times @ filled, times @ there)
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    several = n > 1
    if draws and several.any():
        ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low[several], high[several] = np.nanquantile(means[:, several], ends, axis=0)
    return Estimate(mean.reshape(shape), low.reshape(shape), high.reshape(shape), n.astype(np.int64).reshape(shape))


def _over(total: Floats, count: npt.NDArray[Any]) -> Floats:
    quotient: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return quotient
