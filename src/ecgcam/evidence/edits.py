"""What is taken out of a recording to test a map: tiles of lead x time, and what takes their place. Millivolts, NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.record import BoolArray, FloatArray, limb_leads

Score = Callable[[FloatArray], npt.NDArray[np.float64]]

REMOVALS = ("line", "mask")
MODES = ("single", "coherent")
# Shorter than 40 ms is less than a bundled cell, longer than 120 ms is more than a QRS complex.
SHORTEST_MS, LONGEST_MS = 40.0, 120.0
N_SUBSETS, SUBSET_SHARE = 64, 0.2


@dataclass(frozen=True, eq=False)
class TilePerturbation:
    """One window and one prompt, cut into tiles that can be taken out.

    Attributes
    ----------
    signal, fill : float32, (L, T)
        The window in mV, and what the call's mask would put in its place.
    valid : bool, (L, T)
        Which samples are real; the others are never edited.
    leads : tuple of str
        Row names.
    fs : float
        Samples per second.
    score : callable
        (B, L, T) in mV -> (B,): the model's similarity, the window's own normalisation held fixed.
    tile_ms : float
        Length of a tile, 40 to 120 ms.
    removal : str
        ``line``: what is taken out becomes the straight line between what is left on either side, plus noise at the lead's own
        level: the one-dimensional form of ROAD (Rong et al., A consistent and efficient evaluation strategy for attribution
        methods, ICML 2022, section 4.2). ``mask``: it becomes `fill`.
    mode : str
        ``single``: a tile is a stretch of one lead. ``coherent``: the limb leads go together, since any two of them hold all
        six: I and II are edited and III, aVR, aVL and aVF computed from them, so that no edited record breaks Einthoven's law.
    seed : int
        Of the noise.
    """

    signal: FloatArray
    fill: FloatArray
    valid: BoolArray
    leads: tuple[str, ...]
    fs: float
    score: Score
    tile_ms: float = 80.0
    removal: str = "line"
    mode: str = "single"
    seed: int = 0

    def __post_init__(self) -> None:
        check_tile(self.tile_ms)
        for what, value, known in (("removal", self.removal, REMOVALS), ("mode", self.mode, MODES)):
            if value not in known:
                raise EcgcamError(f"{what} {value}: no such choice; choose from {', '.join(known)}")
        if self.mode == "coherent" and not {"I", "II"} <= set(self.leads):
            raise EcgcamError(
                f"coherent edits: they need leads I and II, and the record has {', '.join(self.leads)}; choose other edits"
            )

    @cached_property
    def members(self) -> list[list[int]]:
        """Rows that are taken out together."""
        if self.mode == "single":
            return [[row] for row in range(len(self.leads))]
        limb = [row for row, lead in enumerate(self.leads) if lead in limb_leads()]
        return [limb, *([row] for row in range(len(self.leads)) if row not in limb)]

    @cached_property
    def bounds(self) -> npt.NDArray[np.int64]:
        """First sample of each tile, and the end of the last."""
        samples = self.signal.shape[1]
        count = max(1, round(samples / (self.tile_ms * self.fs / 1000)))
        return np.rint(np.linspace(0, samples, count + 1)).astype(np.int64)

    @cached_property
    def tiles(self) -> npt.NDArray[np.int64]:
        """The tiles that hold a real sample, (N, 2): number of the group of `members`, number of the interval of `bounds`."""
        counts = np.add.reduceat(self.valid, self.bounds[:-1], axis=1)
        real = np.array([counts[rows].sum(axis=0) for rows in self.members]) > 0
        return np.argwhere(real)

    def importance(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the mass of a map (L, T) in each tile, (N,): its sum over the tile's leads and samples."""
        sums = np.add.reduceat(np.where(self.valid, values, 0.0).astype(np.float64), self.bounds[:-1], axis=1)
        grouped = np.array([sums[rows].sum(axis=0) for rows in self.members])
        mass: npt.NDArray[np.float64] = grouped[self.tiles[:, 0], self.tiles[:, 1]]
        return mass

    def energy_of_tiles(self) -> npt.NDArray[np.float64]:
        """Return the sum of squared deviations from the lead's median in each tile, mV^2, (N,)."""
        median = [
            np.median(row[real]) if real.any() else 0.0 for row, real in zip(self.signal, self.valid, strict=True)
        ]
        # In float64: squares of a spoiled lead's values leave the range of float32.
        return self.importance((self.signal.astype(np.float64) - np.array(median)[:, None]) ** 2)

    def without(self, removed: BoolArray) -> FloatArray:
        """Return the window without some tiles, (B, L, T), for `removed` (B, N)."""
        return np.stack([self._edited(one) for one in removed])

    def scores_without(self, removed: BoolArray, batch: int = 32) -> npt.NDArray[np.float64]:
        """Return the score of the window without some tiles, (B,), for `removed` (B, N)."""
        parts = [self.score(self.without(removed[i : i + batch])) for i in range(0, len(removed), batch)]
        return np.concatenate(parts)

    @cached_property
    def score_whole(self) -> float:
        """The score of the window as it is."""
        return float(self.score(self.signal[None])[0])

    @cached_property
    def score_all_removed(self) -> float:
        """The score with every tile taken out."""
        return float(self.scores_without(np.ones((1, len(self.tiles)), bool))[0])

    @cached_property
    def random_subsets(self) -> tuple[BoolArray, npt.NDArray[np.float64]]:
        """Random sets of a fifth of the tiles (64, N), and the score lost without each (64,): the same for every map."""
        rng = np.random.default_rng([self.seed, 3])
        count = len(self.tiles)
        size = max(1, round(SUBSET_SHARE * count))
        subsets = np.zeros((N_SUBSETS, count), bool)
        for row in subsets:
            row[rng.choice(count, size, replace=False)] = True
        return subsets, self.score_whole - self.scores_without(subsets)

    @cached_property
    def _noise(self) -> FloatArray:
        """Noise at each lead's own level: the deviation of white noise whose steps are as large as the lead's median step."""
        rng = np.random.default_rng([self.seed, 1])
        steps = np.abs(np.diff(self.signal, axis=1))
        real = self.valid[:, 1:] & self.valid[:, :-1]
        level = [np.median(row[keep]) if keep.any() else 0.0 for row, keep in zip(steps, real, strict=True)]
        # The median magnitude of N(0, 2 s^2) is 0.6745 sqrt(2) s.
        deviation = np.array(level)[:, None] / (0.6745 * np.sqrt(2))
        noise: FloatArray = (deviation * rng.standard_normal(self.signal.shape)).astype(np.float32)
        return noise

    def _edited(self, removed: BoolArray) -> FloatArray:
        grid = np.zeros((len(self.members), len(self.bounds) - 1), bool)
        grid[tuple(self.tiles[removed].T)] = True
        hidden = np.zeros(self.signal.shape, bool)
        for rows_together, gone in zip(self.members, np.repeat(grid, np.diff(self.bounds), axis=1), strict=True):
            hidden[rows_together] = gone
        hidden &= self.valid
        edited = self.signal.copy()
        rows = np.flatnonzero(hidden.any(axis=1)).tolist()
        if self.removal == "mask":
            edited[hidden] = self.fill[hidden]
        else:
            for row in rows:
                edited[row, hidden[row]] = self._line(row, hidden[row])
        if self.mode == "coherent":
            self._recompute(edited, rows)
        return edited

    def _line(self, row: int, hidden: BoolArray) -> FloatArray:
        """What the hidden samples of a lead become: the line between the samples left on either side, and noise."""
        kept = np.flatnonzero(self.valid[row] & ~hidden)
        where = np.flatnonzero(hidden)
        if len(kept):
            line = np.interp(where, kept, self.signal[row, kept])
        else:  # nothing is left to draw a line from
            line = np.full(len(where), np.median(self.signal[row, self.valid[row]]))
        drawn: FloatArray = (line + self._noise[row, where]).astype(np.float32)
        return drawn

    def _recompute(self, edited: FloatArray, rows: Sequence[int]) -> None:
        """Make the edited limb leads what I and II make them, in place, each with its own measured difference from that."""
        first, second = (self.leads.index(lead) for lead in ("I", "II"))
        change = edited[[first, second]] - self.signal[[first, second]]
        for row in rows:
            weights = limb_leads().get(self.leads[row])
            if weights is not None and row not in (first, second):
                moved = self.signal[row] + weights[0] * change[0] + weights[1] * change[1]
                edited[row] = np.where(self.valid[row], moved, self.signal[row])


def check_tile(ms: float) -> None:
    """Raise `EcgcamError` unless a tile may be so long."""
    if not SHORTEST_MS <= ms <= LONGEST_MS:
        raise EcgcamError(f"`tile_ms` {ms:g}: a tile must last {SHORTEST_MS:g} to {LONGEST_MS:g} ms")


def order_of(importance: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    """Return tile numbers, most important first; ties in an order drawn from `seed`, so that a constant map is a random one."""
    shuffled = np.random.default_rng([seed, 2]).permutation(len(importance))
    return shuffled[np.argsort(-importance[shuffled], kind="stable")]


def top_tiles(order: npt.NDArray[np.int64], shares: Sequence[float]) -> BoolArray:
    """Return which tiles are among the first `share` of `order`, (B, N): none at 0, at least one above it, all at 1."""
    count = len(order)
    marked = np.zeros((len(shares), count), bool)
    for row, share in zip(marked, shares, strict=True):
        row[order[: min(count, int(np.ceil(share * count - 1e-9)))]] = True
    return marked
