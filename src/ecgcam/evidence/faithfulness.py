"""Does the score follow the map? What is lost, and what is kept, when tiles go in the order of the map. NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcam.evidence.edits import Case, order_of, top_tiles

Map = npt.NDArray[np.floating]

# Shares of the tiles on the curves: fine at the start, where maps differ.
SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# DeYoung et al., section 4, name these.
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
SUBSETS, SUBSET_SHARE = 64, 0.2


def curves(case: Case, values: Map) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the scores with the first tiles removed, and with only the first tiles left, each (13,) for `SHARES`."""
    # The ends are the same for every map: nothing taken out, and everything.
    first = top_tiles(order_of(case.importance(values), case.seed), SHARES[1:-1])
    removed, left = np.split(case.scores_without(np.concatenate([first, ~first])), 2)
    return np.array([case.whole, *removed, case.bare]), np.array([case.bare, *left, case.whole])


def from_curves(removed: npt.NDArray[np.float64], left: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return what the two curves say, in units of the score.

    - ``deletion``, ``insertion``: area under the curve of removal (lower is better) and of what is left (higher is better).
      Petsiuk, Das, Saenko: RISE, BMVC 2018, section 4.1; here of the similarity, not of a probability.
    - ``comprehensiveness``: mean over `BINS` of score(x) - score(x without the first tiles) (higher is better), and
      ``sufficiency``: mean of score(x) - score(only the first tiles) (lower is better). DeYoung et al.: ERASER, ACL 2020,
      section 4, equations 1 and 2.
    """
    from scipy.integrate import trapezoid

    at = [SHARES.index(share) for share in BINS]
    return {
        "deletion": float(trapezoid(removed, SHARES)),
        "insertion": float(trapezoid(left, SHARES)),
        "comprehensiveness": float(removed[0] - removed[at].mean()),
        "sufficiency": float(removed[0] - left[at].mean()),
    }


def random_subsets(case: Case) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return random sets of a fifth of the tiles (64, N), and what the score loses without each (64,): the same for every map."""
    rng = np.random.default_rng([case.seed, 3])
    count = len(case.tiles)
    size = max(1, round(SUBSET_SHARE * count))
    subsets = np.zeros((SUBSETS, count), bool)
    for row in subsets:
        row[rng.choice(count, size, replace=False)] = True
    return subsets, case.whole - case.scores_without(subsets)


def from_subsets(
    importance: npt.NDArray[np.float64], subsets: npt.NDArray[np.bool_], drops: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Return how well the map's mass in random sets foretells the loss without them.

    - ``faithfulness correlation``: Pearson's r of mass and loss over the sets. Bhatt, Weller, Moura: Evaluating and aggregating
      feature-based model explanations, IJCAI 2020, definition 3. 0 for a map that is alike everywhere.
    - ``infidelity``: mean squared (mass x scale - loss) over the mean squared loss, with the scale >= 0 that makes it least,
      since a map has no unit of its own; 0 is perfect, 1 says no more than a blank map. Yeh et al.: On the (in)fidelity and
      sensitivity of explanations, NeurIPS 2019, definition 2.1. NaN where no set moves the score.
    """
    mass = subsets @ importance
    alike = np.ptp(mass) == 0 or np.ptp(drops) == 0
    correlation = 0.0 if alike else float(np.corrcoef(mass, drops)[0, 1])
    power = float(mass @ mass)
    # A scale below 0 would take an inverted map for the map.
    scale = max(0.0, float(mass @ drops) / power) if power > 0 else 0.0
    total = float(drops @ drops)
    rest = float(((scale * mass - drops) ** 2).sum())
    return {"faithfulness correlation": correlation, "infidelity": rest / total if total > 0 else float("nan")}


def confidence_change(case: Case, values: Map) -> float:
    """Score of the window seen through the map (fill + map / largest x (window - fill)) less the window's score.

    Chattopadhay et al.: Grad-CAM++, WACV 2018, section 4.1, as a difference of similarities; higher is better.
    """
    weights = np.maximum(np.where(case.valid, values, 0.0), 0.0)
    largest = weights.max(initial=0.0)
    seen = case.fill + (weights / largest if largest > 0 else weights) * (case.signal - case.fill)
    seen = np.where(case.valid, seen, case.signal).astype(np.float32)
    return float(case.score(seen[None])[0]) - case.whole


def measure_faithfulness(
    case: Case, values: Map, subsets: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]] | None = None
) -> dict[str, float]:
    """Return every metric of this module for one map (L, T); `subsets` as `random_subsets` gave them, drawn once a case."""
    chosen = random_subsets(case) if subsets is None else subsets
    return {
        **from_curves(*curves(case, values)),
        **from_subsets(case.importance(values), *chosen),
        "confidence change": confidence_change(case, values),
    }


def random_map(case: Case, seed: int) -> npt.NDArray[np.float64]:
    """Return a map that knows nothing: a draw from [0, 1) for every tile, (L, T). The row that others are held against."""
    rng = np.random.default_rng([seed, 4])
    lengths = np.diff(case.bounds)
    values = rng.random((len(case.leads), len(lengths)))
    return np.where(case.valid, np.repeat(values, lengths, axis=1), 0.0)
