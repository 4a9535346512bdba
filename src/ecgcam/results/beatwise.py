"""A map and the waves of the heartbeat: which part of the beat holds it, and its mean over beats. Arrays in, arrays out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ecgcam.records.waves import SEGMENTS, Waves, find_waves
from ecgcam.results.explanation import Explanation

Floats: TypeAlias = npt.NDArray[np.float64]

BEFORE, AFTER = 0.35, 0.55  # s around the QRS that an average beat covers
ALIKE = 0.85  # correlation from which beats have one shape
_SHAPE = 0.1, 0.25  # s around the QRS in which shapes are compared: QRS and ST, and T of fast rhythms


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
    found : int64, (6,)
        In how many beats each segment was found.
    unknown_time : float
        Share of the recording (padding left out) that lies in no segment.

    Share, density and spread are NaN where the segment was found in fewer than half of the beats, or the lead's map is zero;
    the spread also where there is one beat only.
    """

    leads: tuple[str, ...]
    waves: Waves
    share: Floats
    density: Floats
    spread: Floats
    found: npt.NDArray[np.int64]
    unknown_time: float

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds under ``waves``; None stands for unknown."""

        def number(value: float) -> float | None:
            return round(float(value), 4) if np.isfinite(value) else None

        columns = {"share": self.share, "density": self.density, "spread": self.spread}
        return {
            "beats": len(self.waves.beats),
            "unknown_time": round(self.unknown_time, 4),
            "found": {segment: int(count) for segment, count in zip(SEGMENTS, self.found, strict=True)},
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
    found = np.array([len(_runs(labels == place)) for place in range(len(SEGMENTS))], np.int64)
    for row, valid in enumerate(explanation.valid):
        whole, known = strength[row].sum(), int(valid.sum())
        if whole == 0:
            continue
        for place in range(len(SEGMENTS)):
            here = (labels == place) & valid
            runs = _runs(here)
            if not runs or 2 * len(runs) < len(waves.beats):
                continue
            share[row, place] = strength[row, here].sum() / whole
            density[row, place] = share[row, place] * known / here.sum()
            by_beat = [strength[row, first:stop].mean() * known / whole for first, stop in runs]
            if len(by_beat) > 1:
                spread[row, place] = np.std(by_beat, ddof=1)
    recorded = explanation.valid.any(axis=0)
    unknown = float((labels[recorded] < 0).mean()) if recorded.any() else 1.0
    return WaveTable(explanation.leads, waves, share, density, spread, found, unknown)


def _runs(here: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first sample, and one past the last, of each run of True: one run per beat."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], here, [False]]).astype(np.int8)))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]


@dataclass(frozen=True, eq=False)
class AverageBeat:
    """Beats laid on one another at the steepest sample of their QRS.

    Attributes
    ----------
    time : float64, (W,)
        Seconds from that sample, as far as every beat reaches.
    signal : float64, (L, W)
        Median beat, mV.
    mean, spread : float64, (L, W)
        Mean and standard deviation of the values over beats; NaN where a beat has no valid sample. The spread of one beat is 0.
    bounds : float64, (3, 2)
        Medians of onset and offset of P, QRS and T, s; NaN where they are known in fewer than half of the beats.
    beats : int
        How many were laid on one another.
    """

    time: Floats
    signal: Floats
    mean: Floats
    spread: Floats
    bounds: Floats
    beats: int


def beat_groups(explanation: Explanation, waves: Waves) -> list[npt.NDArray[np.int64]]:
    """Return the beats in groups of one shape, the largest first: numbers of the beats in `waves`.

    A group forms around the beat that resembles most of the others (a correlation over all leads of at least `ALIKE`, from 0.1 s
    before the QRS to 0.25 s after it): its members are the beats that resemble the median of those.
    """
    fs = explanation.fs
    count = len(waves.beats)
    if count == 0:
        return []
    offsets = np.arange(-round(_SHAPE[0] * fs), round(_SHAPE[1] * fs) + 1)
    places = waves.beats[:, None] + offsets
    inside = np.clip(places, 0, max(len(explanation.time) - 1, 0))
    known = (places >= 0) & (places < len(explanation.time)) & explanation.valid[:, inside]
    # Each lead's level is subtracted: baseline wander is not a shape.
    shapes = np.where(known, explanation.signal.astype(np.float64)[:, inside], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the median of nothing is NaN, which is meant
        shapes -= np.nanmedian(shapes, axis=2, keepdims=True)
    flat = np.moveaxis(shapes, 1, 0).reshape(count, -1)
    left = np.arange(count)
    groups: list[npt.NDArray[np.int64]] = []
    while len(left):
        alike = _correlations(flat[left], flat[left]) >= ALIKE
        centre = int(np.argmax(alike.sum(axis=1)))
        near = left[alike[centre]] if alike[centre].any() else left[centre : centre + 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            template = np.nanmedian(flat[near], axis=0)
        members = _correlations(flat[left], template[None])[:, 0] >= ALIKE
        members |= np.isin(left, left[centre])
        groups.append(left[members])
        left = left[~members]
    return sorted(groups, key=lambda group: -len(group))


def _correlations(some: Floats, others: Floats) -> Floats:
    """Return the correlation (N, M) of each row with each other row over the samples that both have; 0 where there are none."""
    found = np.zeros((len(some), len(others)))
    for column, other in enumerate(others):
        both = np.isfinite(some) & np.isfinite(other)
        counts = np.maximum(both.sum(axis=1), 1)
        a, b = np.where(both, some, 0.0), np.where(both, other, 0.0)
        a = np.where(both, a - (a.sum(axis=1) / counts)[:, None], 0.0)
        b = np.where(both, b - (b.sum(axis=1) / counts)[:, None], 0.0)
        norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        found[:, column] = np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(some)), where=norms > 0)
    return found


def average_beat(
    explanation: Explanation, values: Floats, waves: Waves, members: npt.NDArray[np.int64] | None = None
) -> AverageBeat:
    """Return the mean over beats of `values` (L, T), such as a scaled map.

    A beat begins 40 ms before its P, or 0.35 s before its QRS where none is called, but not within 0.1 s after the QRS before
    it, and ends where the next one begins: no sample is counted as part of two beats, and each beat has its own QRS. Only
    offsets that all beats cover are averaged, so that no beat drops out along the way; beats that the ends of the recording cut
    short are left out where others remain.

    Parameters
    ----------
    members : int64, (N,), optional
        Numbers of the beats to average; by default the largest group of `beat_groups`.
    """
    fs, samples = explanation.fs, len(explanation.time)
    offsets = np.arange(-round(BEFORE * fs), round(AFTER * fs) + 1)
    places = waves.beats[:, None] + offsets
    begins = np.where(np.isfinite(waves.onset[:, 0]), waves.onset[:, 0] - 0.04 * fs, waves.beats - BEFORE * fs)
    begins[1:] = np.maximum(begins[1:], waves.beats[:-1] + 0.1 * fs)
    own = places >= begins[:, None]
    own[:-1] &= places[:-1] < begins[1:, None]
    if members is None:
        groups = beat_groups(explanation, waves)
        members = groups[0] if groups else np.zeros(0, np.int64)
    recorded = (places >= 0) & (places < samples)
    whole = members[(recorded | ~own)[members].all(axis=1)]
    members = whole if len(whole) else members
    own, places = (own & recorded)[members], places[members]
    common = own.all(axis=0) if len(members) else np.zeros(len(offsets), bool)
    inside = np.clip(places, 0, max(samples - 1, 0))
    signal, mean, spread = (np.full((len(values), len(offsets)), np.nan) for _ in range(3))
    for row, valid in enumerate(explanation.valid):
        enough = common & valid[inside].all(axis=0) if len(members) else common
        if not enough.any():
            continue
        beats = values[row][inside][:, enough]
        mean[row, enough] = beats.mean(axis=0)
        spread[row, enough] = beats.std(axis=0, ddof=1) if len(members) > 1 else 0.0
        signal[row, enough] = np.median(explanation.signal[row].astype(np.float64)[inside][:, enough], axis=0)
    bounds = np.full((3, 2), np.nan)
    for wave in range(3):
        for side, marks in enumerate((waves.onset, waves.offset)):
            relative = (marks[members, wave] - waves.beats[members]) / fs
            if len(relative) and 2 * np.isfinite(relative).sum() >= len(relative):
                bounds[wave, side] = np.nanmedian(relative)
    known = np.flatnonzero(np.isfinite(mean).any(axis=0))
    part = slice(known[0], known[-1] + 1) if len(known) else slice(None)
    return AverageBeat(offsets[part] / fs, signal[:, part], mean[:, part], spread[:, part], bounds, len(members))
