"""The median beat of the most frequent shape, and what each lead shows in it: P, Q, R, S, R', ST and T."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcam.records.beat_detection import bandpass, without_spikes
from ecgcam.records.waves import QRS, P, T, Waves

Floats = npt.NDArray[np.float64]
LeadValues = dict[str, float | str | None]

# What is measured in a lead, with its unit; in this order in tables.
LEAD_VALUES = {
    "p_mv": "mV", "p_ms": "ms", "q_mv": "mV", "q_ms": "ms", "r_mv": "mV", "r_ms": "ms", "s_mv": "mV", "s_ms": "ms",
    "r2_mv": "mV", "r2_ms": "ms", "net_mv": "mV", "qrs_mv": "mV", "r_peak_ms": "ms", "notches": "", "pattern": "",
    "st_j_mv": "mV", "st_40_mv": "mV", "st_mv": "mV", "st_80_mv": "mV", "st_slope_mv_s": "mV/s", "t_mv": "mV", "error_mv": "mV",
}  # fmt: skip

_BEFORE, _AFTER = 0.50, 0.75  # s around the fiducial
_REACH = 0.02  # s, the largest shift in the alignment
_LEVEL_LENGTH, _LEVEL_GAP = 0.016, 0.004  # s: the level before the QRS is the mean of 16 ms that end 4 ms before it
_LEAST_WAVE, _LEAST_MS = (
    0.05,
    10.0,
)  # mV, ms: a lower or shorter deflection of the QRS is not a wave (half a small square)
_TAIL = 0.005  # s before the end of the QRS: a deflection that is largest there continues in ST
_CAPITAL = 0.5  # mV, from where on a wave is written as a capital
_NOTCH = 0.05  # of the wave's height: the least depth of a notch


@dataclass(frozen=True, eq=False)
class AverageBeat:
    """The median of the beats of the most frequent shape, aligned on one another, over the level before the QRS.

    Attributes
    ----------
    signal : float64, (L, W)
        mV over the level just before the QRS; NaN where fewer than two beats have a value.
    error : float64, (L,)
        Standard error of the median, mV, root mean square over the beat.
    fs : float
        Samples per second.
    onset, offset : float64, (3,)
        First and last sample of P, QRS and T in `signal`; NaN where fewer than half of the beats have it.
    count : int
        Beats it was made of.
    """

    signal: Floats
    error: Floats
    fs: float
    onset: Floats
    offset: Floats
    count: int


def average_beat(signal: Floats, valid: npt.NDArray[np.bool_], waves: Waves) -> AverageBeat | None:
    """Return the median beat of a window (L, T) in mV, or None where no two beats of one shape have a known QRS."""
    fs = waves.fs
    before, after = int(_BEFORE * fs), int(_AFTER * fs)
    known = (waves.shapes == 0) & np.isfinite(waves.onset[:, QRS]) & np.isfinite(waves.offset[:, QRS])
    chosen = np.flatnonzero(known)
    if len(chosen) < 2:
        return None
    signal = without_spikes(signal, waves.spikes, fs)
    level = signal - isoelectric_level(signal, waves)
    fiducial = waves.beats[chosen] + _shifts(
        bandpass(np.where(valid, signal, 0.0), 0.5, 40, fs), waves.beats[chosen], fs
    )
    columns = fiducial[:, None] + np.arange(-before, after)
    inside = (columns >= 0) & (columns < signal.shape[1])
    clipped = np.clip(columns, 0, signal.shape[1] - 1)
    stack = np.where(inside & valid[:, clipped], level[:, clipped], np.nan)
    counts = np.isfinite(stack).sum(axis=1)
    stack[np.broadcast_to((counts < 2)[:, None], stack.shape)] = 0.0
    median = np.nanmedian(stack, axis=1)
    deviation = 1.4826 * np.nanmedian(np.abs(stack - median[:, None]), axis=1) / np.sqrt(np.maximum(counts, 1))
    median[counts < 2] = np.nan
    enough = (counts >= 2).any(axis=1)
    squares = np.where(counts >= 2, deviation**2, 0.0).sum(axis=1) / np.maximum((counts >= 2).sum(axis=1), 1)
    # The median's standard error is 1.2533 times that of the mean.
    error = np.where(enough, 1.2533 * np.sqrt(squares), np.nan)
    onset, offset = (
        _median_bound(bounds[chosen] - fiducial[:, None]) + before for bounds in (waves.onset, waves.offset)
    )
    return AverageBeat(median, error, fs, onset, offset, len(chosen))


def isoelectric_level(signal: Floats, waves: Waves) -> Floats:
    """Return the isoelectric level (L, T): the levels just before the QRS complexes, joined by straight lines.

    The median of each lead where no QRS has a known beginning.
    """
    fs = waves.fs
    begins = waves.onset[np.isfinite(waves.onset[:, QRS]), QRS].astype(int)
    if not len(begins):
        return np.repeat(np.median(signal, axis=1, keepdims=True), signal.shape[1], axis=1)
    length, gap = max(1, round(_LEVEL_LENGTH * fs)), round(_LEVEL_GAP * fs)
    stops = np.maximum(begins - gap, length)
    levels = np.stack([signal[:, stop - length : stop].mean(axis=1) for stop in stops], axis=1)
    samples = np.arange(signal.shape[1])
    return np.stack([np.interp(samples, stops - (length + 1) / 2, row) for row in levels])


def _shifts(signal: Floats, beats: npt.NDArray[np.int64], fs: float) -> npt.NDArray[np.int64]:
    """Return how many samples each beat lies after where it resembles the median of the others most, (B,)."""
    half, reach = int(0.10 * fs), int(_REACH * fs)
    padded = np.pad(signal, ((0, 0), (half + reach, half + reach)), mode="edge")
    tried = np.arange(-reach, reach + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)  # (L, T + ..., 2 half)
    moved = np.zeros(len(beats), np.int64)
    for _ in range(2):
        template = np.median(windows[:, beats + moved + reach], axis=1)
        template -= template.mean(axis=1, keepdims=True)
        for number, beat in enumerate(beats):
            options = windows[:, beat + tried + reach]  # (L, S, 2 half)
            options = options - options.mean(axis=2, keepdims=True)
            dot = np.einsum("lsw,lw->s", options, template)
            norm = np.sqrt(np.einsum("lsw,lsw->s", options, options))
            moved[number] = tried[int(np.argmax(dot / np.maximum(norm, 1e-12)))]
        moved -= int(np.median(moved))
        moved = np.clip(moved, -reach, reach)
    return moved


def _median_bound(bounds: Floats) -> Floats:
    """Return the median of each bound over beats (B, 3), NaN where fewer than half of the beats have it."""
    result = np.full(3, np.nan)
    for wave in range(3):
        known = bounds[np.isfinite(bounds[:, wave]), wave]
        if 2 * len(known) >= len(bounds) and len(known):
            result[wave] = np.median(known)
    return result


def lead_values(beat: AverageBeat, row: int) -> LeadValues:
    """Return what lead `row` shows, by the names of `LEAD_VALUES`; None where it cannot be measured.

    Amplitudes are over the level before the QRS, P over the line between its ends. A Q, S or R' that is not there has 0 mV; a
    complex that is negative throughout (QS) has its depth as Q and as S, and its `pattern` is ``QS``.
    """
    values: LeadValues = dict.fromkeys(LEAD_VALUES)
    signal, fs = beat.signal[row], beat.fs
    if not np.isfinite(beat.error[row]):
        return values
    values["error_mv"] = float(beat.error[row])
    first, last = (round(float(bound)) for bound in (beat.onset[QRS], beat.offset[QRS]))
    complex_ = signal[first : last + 1]
    if len(complex_) > 2 and np.isfinite(complex_).all():
        values |= qrs_values(complex_, fs, max(_LEAST_WAVE, 3 * float(beat.error[row])))
        values |= _st_values(signal, last, fs)
    values["t_mv"] = _deflection(signal, beat.onset[T], beat.offset[T], line=False)
    values["p_mv"] = _deflection(signal, beat.onset[P], beat.offset[P], line=True)
    if values["p_mv"] is not None:
        values["p_ms"] = float(1000 * (beat.offset[P] - beat.onset[P]) / fs)
    return values


def qrs_values(signal: Floats, fs: float, least: float = _LEAST_WAVE) -> LeadValues:
    """Return the waves of a QRS (W,) in mV over the level before it: deflections of `least` mV and 10 ms, by order and sign."""
    sign = np.sign(np.where(np.abs(signal) < 0.2 * least, 0.0, signal))
    # Runs of one sign; a run of zeros ends one.
    edges = np.flatnonzero(np.diff(sign)) + 1
    runs = [
        (start, stop)
        for start, stop in zip([0, *edges], [*edges, len(signal)], strict=True)
        if sign[start] and np.abs(signal[start:stop]).max() >= least and 1000 * (stop - start) / fs >= _LEAST_MS
    ]
    waves: list[tuple[int, int]] = []  # neighbours of one sign are one wave
    for start, stop in runs:
        if waves and sign[waves[-1][0]] == sign[start]:
            waves[-1] = (waves[-1][0], stop)
        else:
            waves.append((start, stop))
    # What is largest at the very end is the ST segment, raised or lowered, and no wave of the QRS.
    tail = max(1, round(_TAIL * fs))
    while len(waves) > 1 and waves[-1][1] == len(signal):
        start = waves[-1][0]
        if start + int(np.argmax(np.abs(signal[start:]))) < len(signal) - tail:
            break
        waves.pop()
    height = [float(part[np.argmax(np.abs(part))]) for part in (signal[start:stop] for start, stop in waves)]
    length = [1000.0 * (stop - start) / fs for start, stop in waves]
    values: LeadValues = {f"{name}_{unit}": 0.0 for name in ("q", "r", "s", "r2") for unit in ("mv", "ms")}
    positive = [number for number, value in enumerate(height) if value > 0]
    names: list[tuple[str, int]] = []
    if not positive and waves:
        values |= {"q_mv": height[0], "q_ms": length[0], "s_mv": height[0], "s_ms": length[0]}
    for number in range(len(waves)):
        if not positive:
            break
        name = "q" if number < positive[0] else "r" if number == positive[0] else ""
        if not name:
            ordinal = number - positive[0]
            name = {1: "s", 2: "r2"}.get(ordinal, "")
        if name:
            names.append((name, number))
    for name, number in names:
        values |= {f"{name}_mv": height[number], f"{name}_ms": length[number]}
    highest, lowest = max([0.0, *height]), min([0.0, *height])
    values["net_mv"], values["qrs_mv"] = highest + lowest, highest - lowest
    values["pattern"] = _pattern(height, bool(positive))
    values["r_peak_ms"] = values["notches"] = None
    if positive:
        tallest = max(positive, key=lambda number: height[number])
        start, stop = waves[tallest]
        # The ventricular activation time: to the last peak of the tallest R.
        values["notches"] = float(_notches(signal[start:stop], height[tallest]))
        values["r_peak_ms"] = 1000.0 * (start + int(np.argmax(signal[start:stop]))) / fs
    return values


def _pattern(height: list[float], any_positive: bool) -> str:
    """Return how a QRS is written: capitals from 0.5 mV on, or for the largest wave."""
    if not height:
        return ""
    if not any_positive:
        return "QS"
    letters, seen_r = [], 0
    largest = max(abs(value) for value in height)
    for value in height:
        if value > 0:
            seen_r += 1
            letter = "r" + "'" * (seen_r - 1)
        else:
            letter = "q" if not seen_r else "s" + "'" * (seen_r - 1)
        letters.append(letter.upper() if abs(value) >= min(_CAPITAL, largest) else letter)
    return "".join(letters)


def _notches(wave: Floats, height: float) -> int:
    """Return how many notches a positive wave has, of 5 % of its height at least."""
    from scipy.signal import find_peaks

    if len(wave) < 5:
        return 0
    return len(find_peaks(-wave, prominence=_NOTCH * height)[0])


def _st_values(signal: Floats, j: int, fs: float) -> LeadValues:
    """Return ST at J, J + 40, 60 and 80 ms (means of 8 ms), and its slope from J to J + 80 ms."""
    half = max(1, round(0.004 * fs))

    def level(ms: float) -> float | None:
        at = j + round(ms * fs / 1000)
        part = signal[at - half : at + half + 1]
        return float(part.mean()) if len(part) == 2 * half + 1 and np.isfinite(part).all() else None

    at_j, at_40, at_60, at_80 = (level(ms) for ms in (0, 40, 60, 80))
    slope = None if at_j is None or at_80 is None else (at_80 - at_j) / 0.08
    return {"st_j_mv": at_j, "st_40_mv": at_40, "st_mv": at_60, "st_80_mv": at_80, "st_slope_mv_s": slope}


def _deflection(signal: Floats, onset: float, offset: float, line: bool) -> float | None:
    """Return the signed largest deflection between two bounds, over the line between the values there or over 0."""
    if not np.isfinite(onset + offset):
        return None
    first, last = max(0, round(onset)), min(len(signal) - 1, round(offset))
    part = signal[first : last + 1]
    if len(part) < 3 or not np.isfinite(part).all():
        return None
    part = part - np.linspace(part[0], part[-1], len(part)) if line else part
    return float(part[np.argmax(np.abs(part))])
