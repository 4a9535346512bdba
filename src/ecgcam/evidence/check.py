"""Does what a map marks matter to the model? It is removed, and so are random parts of equal size and energy. NumPy.

Most right maps pass, most wrong ones fail: docs/evidence.md has the figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.evidence.edits import Score, TilePerturbation, order_of
from ecgcam.records import Window
from ecgcam.records.record import BoolArray
from ecgcam.results.explanation import Explanation

# A tenth is too little: the rest contains the same evidence. docs/evidence.md has both.
SHARE = 0.25
DRAWS = 16
DEVIATIONS = 3.0
# By how many places in the order of energy a tile and its partner may differ.
MAX_SHIFT = 12


@dataclass(frozen=True)
class Check:
    """What removing the marked part changes, against random parts of the same size.

    Attributes
    ----------
    removed : float
        Share of the real samples in the marked part.
    drop : float
        Score lost without the marked part.
    random, random_sd : float
        Mean and standard deviation of the score lost without random parts.
    draws : int
        Random parts.
    passed : bool
        Whether `drop` exceeds `random` by more than three standard deviations.
    """

    removed: float
    drop: float
    random: float
    random_sd: float
    draws: int
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as ``summary.json`` holds it."""
        return asdict(self)


def check_explanation(window: Window, explanation: Explanation, score: Score, draws: int = DRAWS) -> Check:
    """Check an explanation of a window.

    Parameters
    ----------
    window : Window
        The window that was explained.
    explanation : Explanation
        Its map, score and seed are used.
    score : callable
        Signals (B, L, T) in mV to the score that the explanation is of (B,): `ecgcam.evidence.scores.score_along`.
    draws : int
        As in `check_map`.
    """
    seed = int(explanation.meta["seed"])
    case = TilePerturbation(
        window.signal, window.signal, window.valid, window.leads, window.fs, score, removal="line", seed=seed
    )
    return check_map(case, explanation.scaled_map("evidence"), explanation.score, draws)


def check_map(case: TilePerturbation, values: npt.NDArray[np.floating], score: float, draws: int = DRAWS) -> Check:
    """Remove the quarter of the tiles with the largest mass of a map, and as often random tiles, in one batch without gradient.

    The batch holds ``draws + 1`` signals: 17, where the maps of twelve leads take a batch of 14 with gradient.

    Parameters
    ----------
    case : TilePerturbation
        The window in tiles. With ``removal="line"`` what is removed becomes a line between what is left, plus noise at the lead's
        own level: it stays like a recording.
    values : (L, T)
        The map on the scale ``evidence``.
    score : float
        The score of the window.
    draws : int
        Random parts, at least 16: half of them in random leads, half in the marked leads.
    """
    if draws < DRAWS:
        raise EcgcamError(
            f"`draws` {draws}: at least {DRAWS} random parts are needed for a standard deviation; give more"
        )
    importance = case.importance(values)
    marked = np.zeros(len(importance), bool)
    marked[order_of(importance, case.seed)[: max(1, round(SHARE * len(importance)))]] = True
    parts = np.stack([marked, *random_parts(case, marked, draws)])
    drop, *others = score - case.scores_without(parts, batch=len(parts))
    mean, deviation = float(np.mean(others)), float(np.std(others, ddof=1))
    samples = case.importance(case.valid.astype(np.float64))  # the real ones of each tile
    return Check(
        removed=float(samples[marked].sum() / samples.sum()),
        drop=float(drop),
        random=mean,
        random_sd=deviation,
        draws=draws,
        passed=bool(importance.max(initial=0.0) > 0 and drop > mean + DEVIATIONS * deviation),
    )


def random_parts(case: TilePerturbation, marked: BoolArray, draws: int) -> BoolArray:
    """Return random sets of tiles like a marked one (draws, N): as many tiles in as many leads, with about the same energy.

    In every other draw random leads take the place of the marked leads: that tests the leads. In the others the leads stay:
    that tests the times. Each marked tile is replaced by a random one of those leads among the nearest in energy, a tile that is
    not marked itself as long as the leads have enough of those.
    """
    rng = np.random.default_rng([case.seed, 9])
    groups = case.tiles[:, 0]
    energy = case.energy_of_tiles()
    chosen, own, present = np.flatnonzero(marked), np.unique(groups[marked]), np.unique(groups)
    parts = np.zeros((draws, len(groups)), bool)
    for number, part in enumerate(parts):
        leads = own if number % 2 else rng.choice(present, len(own), replace=False)
        pool = np.flatnonzero(np.isin(groups, leads))
        inside = marked[pool]
        short = max(0, len(chosen) - int((~inside).sum()))
        pool = np.concatenate([pool[~inside], rng.permutation(pool[inside])[:short]])
        pool = pool[np.argsort(energy[pool], kind="stable")]
        part[pool[_partners(energy[pool], rng.permutation(energy[chosen])[: len(pool)], rng)]] = True
    return parts


def _partners(
    energy: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return distinct indices into `energy` (ascending), one near each wanted energy: within `MAX_SHIFT` places where free."""
    order = np.arange(len(wanted))
    places = np.searchsorted(energy, wanted) + rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, len(wanted))
    places = np.sort(np.clip(places, 0, len(energy) - 1))
    # Each index lies above the one before it, and leaves room for those that follow.
    places = np.maximum.accumulate(places - order) + order
    found: npt.NDArray[np.int64] = np.minimum(places, len(energy) - len(wanted) + order)
    return found
