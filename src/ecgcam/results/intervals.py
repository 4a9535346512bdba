"""Means over recordings, with bootstrap confidence intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
_MAX_COUNTS = 4_000_000  # counts (draws x recordings) in memory at once: 32 MB


@dataclass(frozen=True, eq=False)
class Estimate:
    """Means over recordings, of any shape.

    Attributes
    ----------
    mean, low, high : float64
        Mean and confidence interval. NaN where no recording has a value; the interval is NaN for a single recording too.
    n : int64
        Recordings that have a value.
    """

    mean: Floats
    low: Floats
    high: Floats
    n: npt.NDArray[np.int64]


def bootstrap_means(
    values: npt.NDArray[np.floating[Any]], draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """Return the means of `values` (N, ...) over N recordings, with percentile bootstrap intervals.

    Whole recordings are drawn with replacement by `scipy.stats.bootstrap` (Efron and Tibshirani 1993, section 13.3). NaN marks a
    missing value: each mean is over the values that are present. Memory does not grow with `draws`.
    """
    count, shape = len(values), values.shape[1:]
    columns = np.asarray(values, np.float64).reshape(count, math.prod(shape))
    present = np.isfinite(columns)
    filled, weights = np.where(present, columns, 0.0), present.astype(np.float64)
    n = present.sum(axis=0)
    low, high = np.full(n.shape, np.nan), np.full(n.shape, np.nan)
    several = n > 1
    if several.any():
        tail = (1 - level) / 2
        means = _resampled_means(filled[:, several], weights[:, several], draws, seed)
        low[several], high[several] = np.nanquantile(means, [tail, 1 - tail], axis=-1)
    mean = _divide(filled.sum(axis=0), n)
    n = n.astype(np.int64).reshape(shape)
    return Estimate(mean.reshape(shape), low.reshape(shape), high.reshape(shape), n)


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n recordings (Wilson 1927, without a continuity correction).

    Drawing recordings again would give no width at all where every one has, or none has, what is counted.
    """
    z = 1.959964
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def mean_interval(
    values: npt.NDArray[np.floating[Any]] | Sequence[float], draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> tuple[float, float, float]:
    """Return mean, low and high of one value per recording. NaN values are left out before recordings are drawn."""
    present = np.asarray(values, np.float64)
    found = bootstrap_means(present[~np.isnan(present)], draws, seed, level)
    return float(found.mean), float(found.low), float(found.high)


def cluster_means(values: npt.NDArray[np.floating[Any]], clusters: Sequence[Hashable]) -> tuple[float, float, float]:
    """Return the mean of `values` (N,), and its interval when whole clusters are drawn: all values of one patient together."""
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    members = np.array([numbers[cluster] for cluster in clusters])
    sums = np.bincount(members, np.asarray(values, np.float64)).astype(np.float64)[:, None]
    sizes = np.bincount(members).astype(np.float64)[:, None]
    mean = float(sums.sum() / sizes.sum())
    if len(numbers) == 1:
        return mean, float("nan"), float("nan")
    low, high = np.quantile(_resampled_means(sums, sizes, DRAWS, 0)[0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return mean, float(low), float(high)


def _resampled_means(sums: Floats, weights: Floats, draws: int, seed: int) -> Floats:
    """Return ``sum(sums) / sum(weights)`` of each column (N, K) over N rows drawn with replacement, (K, draws)."""
    # Imported late: it takes half a second, and reading and drawing do not need it.
    from scipy.stats import DegenerateDataWarning, bootstrap

    count = len(sums)

    def means(rows: npt.NDArray[Any], axis: int) -> Floats:  # noqa: ARG001  (always the last)
        """Rows (..., N) drawn -> (K, ...). Counts times values need no copy of the values for each draw."""
        drawn = rows.reshape(-1, count).astype(np.int64) + count * np.arange(rows.size // count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        return _divide(counts @ sums, counts @ weights).T.reshape(-1, *rows.shape[:-1])

    with warnings.catch_warnings():
        # Draws without any value are NaN: SciPy warns of them, and the quantiles here leave them out.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            (np.arange(count),), means, n_resamples=draws, batch=max(1, _MAX_COUNTS // count), vectorized=True, axis=-1,
            method="percentile", random_state=np.random.default_rng(seed),
        )  # fmt: skip
    distribution: Floats = result.bootstrap_distribution
    return distribution


def _divide(total: Floats, count: npt.NDArray[Any]) -> Floats:
    quotient: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return quotient
