"""Does the score follow the map? What is lost, and what is kept, when tiles are removed in the order of the map. NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ecgcam.evidence.edits import TilePerturbation, order_of, top_tiles

Map = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

# Shares of the tiles on the curves: fine at the start, where maps differ.
SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Of DeYoung et al. 2020, section 4.
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, eq=False)
class TileRemoval:
    """A map and the scores of its window without some tiles; computed when first used.

    Attributes
    ----------
    perturbation : TilePerturbation
        The window, its tiles, and the score. Shared by all maps, with the scores that no map changes.
    values : (L, T)
        The map.
    """

    perturbation: TilePerturbation
    values: Map

    @cached_property
    def importance(self) -> Floats:
        """Mass of the map in each tile, (N,)."""
        return self.perturbation.importance(self.values)

    @cached_property
    def removed(self) -> Floats:
        """Scores with the most important tiles removed, (13,) for `SHARES`."""
        # The ends of the curves are the same for every map: no tile, and every tile.
        case = self.perturbation
        return np.array([case.score_whole, *case.scores_without(self._first), case.score_all_removed])

    @cached_property
    def left(self) -> Floats:
        """Scores with only the most important tiles left, (13,) for `SHARES`."""
        case = self.perturbation
        return np.array([case.score_all_removed, *case.scores_without(~self._first), case.score_whole])

    @cached_property
    def _first(self) -> npt.NDArray[np.bool_]:
        return top_tiles(order_of(self.importance, self.perturbation.seed), SHARES[1:-1])


@dataclass(frozen=True, eq=False)
class ShownMap:
    """A map as pictures show it, on its window.

    Attributes
    ----------
    perturbation : TilePerturbation
        The window, the fill of its mask, and the score.
    values : (L, T)
        The map.
    """

    perturbation: TilePerturbation
    values: Map

    @cached_property
    def opacity(self) -> Floats:
        """The positive part of the map over its largest value, (L, T)."""
        weights = np.maximum(np.where(self.perturbation.valid, self.values, 0.0), 0.0).astype(np.float64)
        largest = weights.max(initial=0.0)
        return weights / largest if largest > 0 else weights

    def seen_through(self) -> npt.NDArray[np.float32]:
        """Return the window seen through the map: fill + opacity x (window - fill), (L, T)."""
        case = self.perturbation
        seen = case.fill + self.opacity * (case.signal - case.fill)
        return np.where(case.valid, seen, case.signal).astype(np.float32)


def deletion(subject: TileRemoval) -> float:
    """Area under the score as tiles are removed, most important first.

    Petsiuk, Das, Saenko: RISE, BMVC 2018, section 4.1; of the similarity; the paper uses a probability.
    """
    return _area(subject.removed)


def insertion(subject: TileRemoval) -> float:
    """Area under the score as only the most important tiles are left. RISE, BMVC 2018, section 4.1."""
    return _area(subject.left)


def comprehensiveness(subject: TileRemoval) -> float:
    """Score lost without the first 1, 5, 10, 20 and 50 % of the tiles, mean.

    DeYoung et al.: ERASER, ACL 2020, section 4, equation 1.
    """
    return float(subject.removed[0] - subject.removed[_AT].mean())


def sufficiency(subject: TileRemoval) -> float:
    """Score lost with only the first 1, 5, 10, 20 and 50 % of the tiles, mean. ERASER, ACL 2020, section 4, equation 2."""
    return float(subject.removed[0] - subject.left[_AT].mean())


def faithfulness_correlation(subject: TileRemoval) -> float:
    """Pearson's r of the map's mass in 64 random fifths of the tiles and the score lost without them; 0 for a constant map.

    Bhatt, Weller, Moura: Evaluating and aggregating feature-based model explanations, IJCAI 2020, definition 3.
    """
    subsets, drops = subject.perturbation.random_subsets
    mass = subsets @ subject.importance
    if np.ptp(mass) == 0 or np.ptp(drops) == 0:
        return 0.0
    return float(np.corrcoef(mass, drops)[0, 1])


def infidelity(subject: TileRemoval) -> float:
    """Fraction of the squared score loss that map mass does not explain, for the same random sets, after optimal scaling.

    The scale is not negative, and needed since a map has no unit: 0 is perfect, 1 is what a blank map gets; no value where no
    set moves the score. Yeh et al.: On the (in)fidelity and sensitivity of explanations, NeurIPS 2019, definition 2.1.
    """
    subsets, drops = subject.perturbation.random_subsets
    mass = subsets @ subject.importance
    power, total = float(mass @ mass), float(drops @ drops)
    # A negative scale would accept an inverted map.
    scale = max(0.0, float(mass @ drops) / power) if power > 0 else 0.0
    rest = float(((scale * mass - drops) ** 2).sum())
    return rest / total if total > 0 else float("nan")


def confidence_change(subject: ShownMap) -> float:
    """Score of the window multiplied by the map, less that of the whole window. A map that marks more loses less.

    Chattopadhay et al.: Grad-CAM++, WACV 2018, section 4.1, as a difference of similarities.
    """
    case = subject.perturbation
    return float(case.score(subject.seen_through()[None])[0]) - case.score_whole


def complexity(subject: ShownMap) -> float:
    """Mean of the map over its largest value: the share of the picture that is coloured.

    Poppi et al.: Revisiting the evaluation of class activation mapping, CVPR workshops 2021, section 3.2.
    """
    return float(subject.opacity[subject.perturbation.valid].mean())


def random_map(case: TilePerturbation, *seed: int) -> Floats:
    """Return a map that depends on nothing: a draw from [0, 1) for each tile, (L, T)."""
    rng = np.random.default_rng([4, *seed])
    lengths = np.diff(case.bounds)
    values = rng.random((len(case.leads), len(lengths)))
    return np.where(case.valid, np.repeat(values, lengths, axis=1), 0.0)


def slope_map(signal: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_], fs: float) -> Floats:
    """Return the absolute slope of each lead, mV/s, (L, T): a map that needs no model. 0 where a neighbour is not real."""
    steps = np.abs(np.diff(signal.astype(np.float64), axis=1)) * fs
    steps = np.where(valid[:, 1:] & valid[:, :-1], steps, 0.0)
    both = np.pad(steps, ((0, 0), (1, 1)))
    return np.where(valid, (both[:, 1:] + both[:, :-1]) / 2, 0.0)


_AT = [SHARES.index(share) for share in BINS]


def _area(scores: Floats) -> float:
    from scipy.integrate import trapezoid

    return float(trapezoid(scores, SHARES))
