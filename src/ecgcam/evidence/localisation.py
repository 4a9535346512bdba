"""Is the map where the truth is? For a truth of lead x time that is known: simulated, annotated, or a user's own. NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError

Map = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

TOP = 0.05


def widen(truth: BoolArray, samples: float) -> BoolArray:
    """Return the truth (L, T) made wider by so many samples on each side: a map cannot be finer than its cells.

    Half a cell is meant; a fraction of a sample is rounded up.
    """
    reach = int(np.ceil(samples))
    if reach <= 0:
        return truth.copy()
    before = np.pad(truth.astype(np.int64), ((0, 0), (reach + 1, reach))).cumsum(axis=1)
    wide: BoolArray = before[:, 2 * reach + 1 :] > before[:, : -2 * reach - 1]
    return wide


def measure_localisation(values: Map, truth: BoolArray, valid: BoolArray) -> dict[str, float]:
    """Return how far a map agrees with a truth, each 1 at best, and beside each what a map that knows nothing would get.

    - ``pointing``: 1 if the largest value lies in the truth; the share of the largest values that do, where several are.
      Zhang et al.: Top-down neural attention by excitation backprop, ECCV 2016, section 4.2.
    - ``mass``: share of the map's positive mass in the truth; ``rank``: share of the |truth| largest samples that lie in it.
      Arras, Osman, Samek: CLEVR-XAI, Information Fusion 81, 2022, section 3.4: relevance mass and rank accuracy.
    - ``top 5 %``: share of the largest 5 % of samples in the truth. ``auc``: area under the ROC curve, samples as cases.

    A map that is zero everywhere points nowhere: pointing and mass are 0. Chance is the truth's share of the real samples
    (1/2 for the AUC).

    Parameters
    ----------
    values, truth, valid : (L, T)
        The map; where the finding is, already widened; which samples are real.

    Raises
    ------
    EcgcamError
        If the truth holds no real sample, or all of them: neither can be found.
    """
    marked, real = truth[valid], values[valid].astype(np.float64)
    inside = int(marked.sum())
    if not 0 < inside < len(marked):
        which = "no sample" if not inside else "every sample"
        raise EcgcamError(f"the truth marks {which}; a map cannot be held against it")
    shown = np.maximum(real, 0.0)
    total = float(shown.sum())
    top = max(1, round(TOP * len(real)))
    return {
        "pointing": float(marked[real == real.max()].mean()) if total > 0 else 0.0,
        "mass": float(shown[marked].sum()) / total if total > 0 else 0.0,
        "rank": _share_of_largest(real, marked, inside),
        "top 5 %": _share_of_largest(real, marked, top),
        "auc": _auc(real, marked),
        "chance": inside / len(marked),
    }


def over_time(values: Map, truth: BoolArray, valid: BoolArray) -> tuple[Map, BoolArray, BoolArray]:
    """Return map, truth and valid with the leads summed up, each (1, T): time alone."""
    summed = np.where(valid, np.maximum(values, 0.0), 0.0).sum(axis=0)
    return summed[None], np.any(truth & valid, axis=0, keepdims=True), np.any(valid, axis=0, keepdims=True)


def over_leads(values: Map, truth: BoolArray, valid: BoolArray) -> tuple[Map, BoolArray, BoolArray] | None:
    """Return map, truth and valid with the time summed up, each (1, L): leads alone.

    None where the finding is in every lead, or in none: then no lead is the right one.
    """
    has, real = np.any(truth & valid, axis=1), np.any(valid, axis=1)
    if has[real].all() or not has.any():
        return None
    return np.where(valid, np.maximum(values, 0.0), 0.0).sum(axis=1)[None], has[None], real[None]


def _share_of_largest(values: npt.NDArray[np.float64], marked: BoolArray, count: int) -> float:
    """Return the share of the `count` largest values that are marked; those that tie for the last places share them."""
    last = np.sort(values)[-count]
    above, level = values > last, values == last
    places = count - int(above.sum())
    return float((marked[above].sum() + places * marked[level].mean()) / count)


def _auc(values: npt.NDArray[np.float64], marked: BoolArray) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(values)
    positive = int(marked.sum())
    above = float(ranks[marked].sum()) - positive * (positive + 1) / 2
    return above / (positive * (len(marked) - positive))
