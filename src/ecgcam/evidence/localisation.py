"""Is the map where the truth is? For a known truth of lead x time: simulated, annotated, or a user's own. NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError

Map = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

TOP = 0.05


@dataclass(frozen=True, eq=False)
class MarkedValues:
    """The values of a map at samples, times or leads, and which of them the truth marks.

    Attributes
    ----------
    values : float64, (N,)
        The map where it is real.
    marked : bool, (N,)
        Where the finding is.
    """

    values: npt.NDArray[np.float64]
    marked: BoolArray

    @classmethod
    def of(cls, values: Map, truth: BoolArray, valid: BoolArray) -> MarkedValues:
        """Take the real samples of a map and a truth.

        Parameters
        ----------
        values, truth, valid : (L, T)
            The map; where the finding is, already widened; which samples are real.

        Raises
        ------
        EcgcamError
            If the truth holds no real sample, or all of them.
        """
        marked = truth[valid]
        inside = int(marked.sum())
        if not 0 < inside < len(marked):
            which = "no sample" if not inside else "every sample"
            raise EcgcamError(f"truth: marks {which}, so a map cannot be compared with it; choose another")
        return cls(values[valid].astype(np.float64), marked)

    @property
    def share(self) -> float:
        """The share that the truth marks: the value of a map without information in most metrics."""
        return float(self.marked.mean())


def truth_share(subject: MarkedValues) -> float:
    """Return the value of a map without information: the truth's share of the window."""
    return subject.share


def pointing(subject: MarkedValues) -> float:
    """1 if the largest value lies in the truth; with ties, the share of the largest that do; 0 for a blank map.

    Zhang et al.: Top-down neural attention by excitation backprop, ECCV 2016, section 4.2.
    """
    values, marked = subject.values, subject.marked
    return float(marked[values == values.max()].mean()) if values.max() > 0 else 0.0


def mass(subject: MarkedValues) -> float:
    """Share of the map's positive mass in the truth; 0 for a blank map.

    Arras, Osman, Samek: CLEVR-XAI, Information Fusion 81, 2022, section 3.4, relevance mass accuracy.
    """
    shown = np.maximum(subject.values, 0.0)
    total = float(shown.sum())
    return float(shown[subject.marked].sum()) / total if total > 0 else 0.0


def rank(subject: MarkedValues) -> float:
    """Share of the largest values, as many as the truth has samples, that lie in it. CLEVR-XAI, relevance rank accuracy."""
    return _share_of_largest(subject, int(subject.marked.sum()))


def top_5(subject: MarkedValues) -> float:
    """Share of the largest 5 % of the values that lie in the truth."""
    return _share_of_largest(subject, max(1, round(TOP * len(subject.values))))


def auc(subject: MarkedValues) -> float:
    """Area under the ROC curve, samples as cases."""
    from scipy.stats import rankdata

    ranks = rankdata(subject.values)
    positive = int(subject.marked.sum())
    above = float(ranks[subject.marked].sum()) - positive * (positive + 1) / 2
    return above / (positive * (len(ranks) - positive))


def localisation_parts(
    values: Map, truth: BoolArray, valid: BoolArray, tolerance: float
) -> Iterator[tuple[str, MarkedValues]]:
    """Yield lead x time, time alone and leads alone, each with the prefix of its rows, as far as the truth leaves a choice.

    `tolerance`: samples by which the truth is widened on each side; leads alone are compared with the unwidened truth.
    """
    wide = widen(truth, tolerance) & valid
    parts = [("", (values, wide, valid)), ("time: ", over_time(values, wide, valid))]
    if (alone := over_leads(values, truth, valid)) is not None:
        parts.append(("leads: ", alone))
    for prefix, (part, marked, real) in parts:
        inside = marked[real]
        if inside.any() and not inside.all():
            yield prefix, MarkedValues.of(part, marked, real)


def widen(truth: BoolArray, samples: float) -> BoolArray:
    """Return the truth (L, T) wider by `samples` on each side, a fraction of a sample rounded up."""
    reach = int(np.ceil(samples))
    if reach <= 0:
        return truth.copy()
    before = np.pad(truth.astype(np.int64), ((0, 0), (reach + 1, reach))).cumsum(axis=1)
    wide: BoolArray = before[:, 2 * reach + 1 :] > before[:, : -2 * reach - 1]
    return wide


def over_time(values: Map, truth: BoolArray, valid: BoolArray) -> tuple[Map, BoolArray, BoolArray]:
    """Return map, truth and valid summed over the leads, each (1, T): time alone."""
    summed = np.where(valid, np.maximum(values, 0.0), 0.0).sum(axis=0)
    return summed[None], np.any(truth & valid, axis=0, keepdims=True), np.any(valid, axis=0, keepdims=True)


def over_leads(values: Map, truth: BoolArray, valid: BoolArray) -> tuple[Map, BoolArray, BoolArray] | None:
    """Return map, truth and valid summed over time, each (1, L): leads alone.

    None if the finding is in every lead, or in none: then no lead is correct.
    """
    has, real = np.any(truth & valid, axis=1), np.any(valid, axis=1)
    if has[real].all() or not has.any():
        return None
    return np.where(valid, np.maximum(values, 0.0), 0.0).sum(axis=1)[None], has[None], real[None]


def _share_of_largest(subject: MarkedValues, count: int) -> float:
    """Return the share of the `count` largest values that are marked; those that tie for the last places share them."""
    values, marked = subject.values, subject.marked
    last = np.sort(values)[-count]
    above, level = values > last, values == last
    places = count - int(above.sum())
    return float((marked[above].sum() + places * marked[level].mean()) / count)
