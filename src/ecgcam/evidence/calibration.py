"""Which map of one model follows its score and lies where a finding is: what is measured of a candidate, and the choice. NumPy.

Four measures. On simulated recordings, whose twin without the finding is known: does the map lie on the truth (`truth`), and
does the score fall when the marked tiles become the twin's (`exchange`)? On any recording: does the score fall without the
marked tiles (`deletion`), and stay with them alone (`insertion`)?
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ecgcam.evidence.edits import Score, TilePerturbation, order_of, top_tiles
from ecgcam.evidence.faithfulness import BINS, random_map, slope_map
from ecgcam.evidence.localisation import MarkedValues, auc, over_time, widen
from ecgcam.records import Window
from ecgcam.records.record import BoolArray, FloatArray

Map = npt.NDArray[np.floating]

# What stays an ordinary ECG while it is measured decides, where it is known: removal makes signals that no network has seen.
DECIDING, REMOVAL = ("truth", "exchange"), ("deletion", "insertion")
MEASURES = (*DECIDING, *REMOVAL)
RANDOM, SLOPE = "random map", "slope of the ECG"
# Maps that depend on nothing, whose mean stands for chance.
RANDOM_MAPS = 4
# Candidates this close to the best are taken for equal: then the model's default, and the cheapest, comes first.
CLOSE = 0.03


@dataclass(frozen=True, eq=False)
class CalibrationCase:
    """A window and a prompt on which candidates are measured.

    Attributes
    ----------
    window : Window
        The window.
    score : callable
        Signals (B, L, T) in mV to the prompt's score (B,).
    twin : float32, (L, T), optional
        The window without the finding, where it is a simulated one whose beats are where the twin's are.
    truth : bool, (L, T), optional
        Where the finding is.
    time_only : bool
        Whether the truth is a matter of time alone, the same in every lead.
    tolerance : float
        Samples by which the truth is widened on each side.
    seed : int
        Of ties, noise and random maps.
    """

    window: Window
    score: Score
    twin: FloatArray | None = None
    truth: BoolArray | None = None
    time_only: bool = False
    tolerance: float = 0.0
    seed: int = 0

    @cached_property
    def line(self) -> TilePerturbation:
        """The window in tiles; what is removed becomes a line."""
        return self._tiles(self.window.signal, "line")

    @cached_property
    def exchange(self) -> TilePerturbation | None:
        """The same; what is removed becomes the twin's, which no model can take for an artefact."""
        return None if self.twin is None else self._tiles(self.twin, "mask")

    def _tiles(self, fill: FloatArray, removal: str) -> TilePerturbation:
        window = self.window
        return TilePerturbation(
            window.signal, fill, window.valid, window.leads, window.fs, self.score, removal=removal, seed=self.seed
        )

    def measure(self, values: Map) -> dict[str, float]:
        """Return the measures of a map (L, T) that this case has."""
        found = {}
        if self.truth is not None:
            known = (values, widen(self.truth, self.tolerance) & self.window.valid, self.window.valid)
            shown, marked, valid = over_time(*known) if self.time_only else known
            if 0 < marked[valid].sum() < valid.sum():
                found["truth"] = auc(MarkedValues.of(shown, marked, valid))
        first = top_tiles(order_of(self.line.importance(values), self.seed), BINS)
        whole = self.line.score_whole
        scores = self.line.scores_without(np.concatenate([first, ~first]))
        found["deletion"] = float(whole - scores[: len(BINS)].mean())
        found["insertion"] = float(scores[len(BINS) :].mean() - whole)
        if self.exchange is not None:
            found["exchange"] = float(whole - self.exchange.scores_without(first).mean())
        return found

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return the measures of random maps, their mean, and of the slope of the ECG: what a map without a model gets."""
        window = self.window
        several = [self.measure(random_map(self.line, self.seed, number)) for number in range(RANDOM_MAPS)]
        chance = {name: float(np.mean([one[name] for one in several])) for name in several[0]}
        return {RANDOM: chance, SLOPE: self.measure(slope_map(window.signal, window.valid, window.fs))}


@dataclass(frozen=True)
class Standing:
    """How a candidate stands among the others.

    Attributes
    ----------
    name : str
        The candidate, or `RANDOM` or `SLOPE`.
    score : float
        Mean of `DECIDING`, or of `REMOVAL` where no twin is known; 1 is the best map of each case, 0 a random map.
    parts : dict
        The mean of each measure over the cases.
    n : int
        Cases.
    """

    name: str
    score: float
    parts: Mapping[str, float]
    n: int


def rank_candidates(measured: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Standing]:
    """Return how candidates stand, best first.

    Parameters
    ----------
    measured : dict
        By case and candidate the measures; each case has `RANDOM`. Of each case and measure a candidate gets the share
        (value - random) / (best - random), at least -1: cases and units count alike. A case in which no map is better than the
        random ones decides nothing.
    """
    shares: dict[str, dict[str, list[float]]] = {}
    counts: dict[str, int] = {}
    for of_case in measured.values():
        for name in of_case:
            counts[name] = counts.get(name, 0) + 1
        for measure in MEASURES:
            known = {name: values[measure] for name, values in of_case.items() if measure in values}
            chance = known.get(RANDOM, math.nan)
            best = max(known.values(), default=math.nan)
            if not best - chance > 1e-9 * max(1.0, abs(best)):
                continue
            for name, value in known.items():
                share = max(-1.0, (value - chance) / (best - chance))
                shares.setdefault(name, {}).setdefault(measure, []).append(share)
    found = []
    for name, by_measure in shares.items():
        parts = {measure: float(np.mean(by_measure[measure])) for measure in MEASURES if measure in by_measure}
        decides = [parts[measure] for measure in DECIDING if measure in parts] or list(parts.values())
        found.append(Standing(name, float(np.mean(decides)), parts, counts[name]))
    return sorted(found, key=lambda one: -one.score)


def choose(standings: Iterable[Standing], order: Sequence[str]) -> Standing | None:
    """Return the choice: of the candidates within `CLOSE` of the best, the first in `order`; None without any.

    A candidate whose marked tiles matter less to the score than random ones (`deletion` of 0 or less) is skipped, unless
    all are.

    Parameters
    ----------
    standings : iterable of Standing
        Candidates, and maps without a model, which cannot be chosen.
    order : sequence of str
        All candidates, the model's default first, then cheap before expensive.
    """
    known = {one.name: one for one in standings if one.name in order}
    if not known:
        return None
    known = {name: one for name, one in known.items() if one.parts.get("deletion", 1.0) > 0} or known
    best = max(one.score for one in known.values())
    return next(known[name] for name in order if name in known and known[name].score >= best - CLOSE)
