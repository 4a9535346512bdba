"""Two explanations of the same window compared: how similar their maps and their lead gains are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.results.explanation import Explanation


@dataclass(frozen=True, eq=False)
class MapComparison:
    """How similar two explanations of one window are, by Spearman's rank correlation.

    Attributes
    ----------
    a, b : Explanation
        What is compared.
    maps : float
        Rank correlation of the two maps over all samples and leads with a signal; NaN where one map is constant.
    leads : dict of str to float
        The same for each lead alone.
    gains : float
        Rank correlation of the lead gains, over leads with a signal.
    """

    a: Explanation
    b: Explanation
    maps: float
    leads: dict[str, float]
    gains: float

    def __repr__(self) -> str:
        first, second = (_name(one, other) for one, other in ((self.a, self.b), (self.b, self.a)))
        return (
            f"<{first} and {second} on {self.a.meta['record']!r}: rank correlation of maps {self.maps:.2f}, "
            f"of lead gains {self.gains:.2f}>"
        )

    def plot(self, **options: Any) -> Any:
        """Return both pages side by side as a Matplotlib Figure; `options` are those of `ecgcam.render.together`."""
        return import_module("ecgcam.render").together([self.a, self.b], **options)  # drawing is above this package

    def _repr_html_(self) -> str:
        """Return the two pages and the correlations, for notebooks."""
        from ecgcam.results.notebook import comparison_html

        return comparison_html(self)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each lead: lead, map_correlation, gain_a, gain_b."""
        from ecgcam.results.notebook import pandas

        return pandas().DataFrame({
            "lead": list(self.leads),
            "map_correlation": list(self.leads.values()),
            "gain_a": self.a.gains,
            "gain_b": self.b.gains,
        })  # fmt: skip


def compare(a: Explanation, b: Explanation) -> MapComparison:
    """Compare two explanations of the same window: two methods, models, prompts or layers.

    Parameters
    ----------
    a, b : Explanation
        Both of the same leads and samples.

    Returns
    -------
    MapComparison
        Rank correlations (C. Spearman 1904; equal values share their mean rank), and a picture by ``plot()``.

    Raises
    ------
    EcgcamError
        If the two are not of the same leads and samples.

    Examples
    --------
    >>> first, second = (ecgcam.explain("rec.dat", "atrial fibrillation", method=name)[0] for name in ("grad-cam", "lrp"))
    >>> ecgcam.compare(first, second).maps
    """
    if a.leads != b.leads:
        raise EcgcamError(
            f"`b`: has the leads {', '.join(b.leads)}, `a` has {', '.join(a.leads)}; compare explanations of the same recording"
        )
    if a.map.shape != b.map.shape or not np.allclose(a.time, b.time, rtol=0, atol=0.5 / a.fs):
        raise EcgcamError(
            f"`b`: shows {_span(b)}, `a` shows {_span(a)}; explain the same window, with models of the same rate"
        )
    valid = a.valid & b.valid
    leads = {lead: rank_correlation(a.map[row][valid[row]], b.map[row][valid[row]]) for row, lead in enumerate(a.leads)}
    alive = valid.any(axis=1)
    return MapComparison(
        a, b, rank_correlation(a.map[valid], b.map[valid]), leads, rank_correlation(a.gains[alive], b.gains[alive])
    )


def rank_correlation(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two rows of values (N,); NaN where one is constant or N is below 2."""
    if len(x) < 2:
        return float("nan")
    ranks = np.stack([_mean_ranks(x), _mean_ranks(y)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float("nan") if size == 0 else float((ranks[0] * ranks[1]).sum() / size)


def _mean_ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the rank of each value; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: npt.NDArray[np.float64] = (last - (counts - 1) / 2.0)[inverse.ravel()]
    return mean


def _name(one: Explanation, other: Explanation) -> str:
    """Return the setting in which an explanation differs from the other: its method, or else prompt, model or layer."""
    for key in ("method", "text", "model", "layer", "mask", "against"):
        if one.meta.get(key) != other.meta.get(key):
            return str(one.meta.get(key))
    return str(one.meta["method"])


def _span(explanation: Explanation) -> str:
    begin, count = float(explanation.time[0]), explanation.map.shape[1]
    return f"{count} samples at {explanation.fs:g} Hz from {begin:g} s"
