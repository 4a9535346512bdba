"""A map beside the waves of the heartbeat: which part of the beat holds it, and its mean over beats. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.explanation import Explanation
from ecgcam.records.waves import SEGMENTS, Waves, find_waves

Floats = npt.NDArray[np.float64]

BEFORE, AFTER = 0.35, 0.55  # s around the QRS that an average beat covers


@dataclass(frozen=True, eq=False)
class WaveTable:
    """How the map of each lead lies on the segments of the beat; L leads, columns as in `SEGMENTS`.

    Attributes
    ----------
    leads : tuple of str
        Row names.
    waves : Waves
        The beats.
    share : float64, (L, 6)
        Share of the lead's map (of its magnitude) within the segment. What is missing to 1 lies where the segment is unknown.
    density : float64, (L, 6)
        Mean of the map within the segment over its mean over the whole lead: 1 is chance.
    spread : float64, (L, 6)
        Standard deviation of the density from beat to beat.

    All are NaN where no sample of the lead lies in the segment, or its map is zero; the spread also where there is one beat only.
    """

    leads: tuple[str, ...]
    waves: Waves
    share: Floats
    density: Floats
    spread: Floats

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds under ``waves``; None stands for unknown."""

        def number(value: float) -> float | None:
            return round(float(value), 4) if np.isfinite(value) else None

        columns = {"share": self.share, "density": self.density, "spread": self.spread}
        return {
            "beats": len(self.waves.beats),
            "unknown_time": round(float((self.waves.segments() < 0).mean()), 4),
            "leads": [
                {"name": lead}
                | {
                    segment: {key: number(values[row, place]) for key, values in columns.items()}
                    for place, segment in enumerate(SEGMENTS)
                }
                for row, lead in enumerate(self.leads)
            ],
        }


def wave_table(explanation: Explanation) -> WaveTable:
    """Return how the maps of an explanation lie on P, PR, QRS, ST, T and TP."""
    waves = find_waves(explanation.signal, explanation.fs, explanation.valid)
    labels = waves.segments()
    strength = np.where(explanation.valid, np.abs(explanation.map), 0.0).astype(np.float64)
    shape = (len(explanation.leads), len(SEGMENTS))
    share, density, spread = (np.full(shape, np.nan) for _ in range(3))
    for row, valid in enumerate(explanation.valid):
        whole, known = strength[row].sum(), int(valid.sum())
        if whole == 0:
            continue
        for place in range(len(SEGMENTS)):
            here = (labels == place) & valid
            if not here.any():
                continue
            share[row, place] = strength[row, here].sum() / whole
            density[row, place] = share[row, place] * known / here.sum()
            by_beat = [strength[row, first:stop].mean() * known / whole for first, stop in _runs(here)]
            if len(by_beat) > 1:
                spread[row, place] = np.std(by_beat, ddof=1)
    return WaveTable(explanation.leads, waves, share, density, spread)


def _runs(here: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first sample, and one past the last, of each run of True: one run a beat."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], here, [False]]).astype(np.int8)))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]


@dataclass(frozen=True, eq=False)
class AverageBeat:
    """Beats laid on one another at the steepest sample of their QRS.

    Attributes
    ----------
    time : float64, (W,)
        Seconds from that sample, as far as half of the beats reach.
    signal : float64, (L, W)
        Median beat, mV.
    mean, spread : float64, (L, W)
        Mean and standard deviation of the values over beats; NaN where half of the beats or fewer are valid.
    bounds : float64, (3, 2)
        Medians of onset and offset of P, QRS and T, s; NaN where unknown.
    beats : int
        How many were laid on one another.
    """

    time: Floats
    signal: Floats
    mean: Floats
    spread: Floats
    bounds: Floats
    beats: int


def average_beat(explanation: Explanation, values: Floats, waves: Waves) -> AverageBeat:
    """Return the mean over beats of `values` (L, T), such as a scaled map.

    A beat begins 40 ms before its P, or 0.35 s before its QRS where none is called, and ends where the next one begins: no
    sample is counted as part of two beats.
    """
    fs, samples = explanation.fs, len(explanation.time)
    offsets = np.arange(-round(BEFORE * fs), round(AFTER * fs) + 1)
    places = waves.beats[:, None] + offsets
    begins = np.where(np.isfinite(waves.onset[:, 0]), waves.onset[:, 0] - 0.04 * fs, waves.beats - BEFORE * fs)
    own = (places >= np.maximum(begins, 0)[:, None]) & (places < samples)
    own[:-1] &= places[:-1] < begins[1:, None]
    own[1:] &= places[1:] > waves.beats[:-1, None] + 0.1 * fs
    inside = np.clip(places, 0, max(samples - 1, 0))
    signal, mean, spread = (np.full((len(values), len(offsets)), np.nan) for _ in range(3))
    for row, valid in enumerate(explanation.valid):
        use = own & valid[inside]
        count = use.sum(axis=0)
        enough = count > max(1, len(places) / 2)
        beats = np.where(use, values[row][inside], 0.0)
        mean[row, enough] = beats.sum(axis=0)[enough] / count[enough]
        squares = np.where(use, (values[row][inside] - mean[row]) ** 2, 0.0).sum(axis=0)
        spread[row, enough] = np.sqrt(squares[enough] / (count[enough] - 1))
        voltage = np.where(use, explanation.signal[row].astype(np.float64)[inside], np.nan)
        signal[row, enough] = np.nanmedian(voltage[:, enough], axis=0)
    bounds = np.full((3, 2), np.nan)
    for wave in range(3):
        for side, marks in enumerate((waves.onset, waves.offset)):
            relative = (marks[:, wave] - waves.beats) / fs
            if np.isfinite(relative).mean() >= 0.5 if len(relative) else False:
                bounds[wave, side] = np.nanmedian(relative)
    known = np.flatnonzero(np.isfinite(mean).any(axis=0))
    part = slice(known[0], known[-1] + 1) if len(known) else slice(None)
    return AverageBeat(offsets[part] / fs, signal[:, part], mean[:, part], spread[:, part], bounds, len(waves.beats))
