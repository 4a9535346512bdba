"""Beats, and where P, QRS and T begin and end: one set of bounds for all leads of a window.

The heart beats once for all leads, so the bounds come from what the leads have in common: the root mean square, over the
leads, of slopes (QRS) and of distances from the isoelectric line (P, T). Measured on LUDB against NeuroKit2's wavelet
delineation lead by lead, this keeps every bound closer to the cardiologists' and costs a fortieth: ``benchmarks/waves.py``.
A bound that cannot be found is unknown, NaN; nothing here raises because of what an ECG looks like.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecgcam.records.beat_detection import (
    bandpass,
    beat_shapes,
    find_beats,
    find_spikes,
    is_noise,
    slopes,
    smooth,
    without_spikes,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WAVES = ("P", "QRS", "T")
SEGMENTS = ("P", "PR", "QRS", "ST", "T", "TP")
P, QRS, T = range(3)

# Chosen on LUDB's records 1 to 99, scored on 101 to 199.
_SLOPE_ONSET, _SLOPE_OFFSET = 0.05, 0.08  # of the steepest slope: where a QRS begins and ends
_QUIET = 0.02  # s for which the slope stays below it
_SHORTEST_SIDE = 0.03  # s from the steepest slope of a QRS to its bounds, where they are found by the least slope
_T_ONSET, _T_OFFSET, _P_ONSET, _P_OFFSET = 0.12, 0.07, 0.25, 0.3  # of the wave's height: where it begins and ends
_T_AFTER_QRS, _LONGEST_QT, _LATEST_T = 0.06, 0.52, 0.72  # s; s times the root of RR/s; of RR
_USUAL_PR, _LONGEST_PR = 0.28, 0.45  # s
_FARTHER = 1.3  # a P before the usual PR must be so much higher than what lies within it
_FOOT = 0.03  # s before the QRS in which its foot, smeared by the filter, would look the same at all beats
# A wave is the same from beat to beat: the correlation of a beat with the mean of the others below which it is none. Chosen on
# PTB-XL, where these call a P in 2 % of the records with atrial fibrillation and 96 % of those in sinus rhythm.
_LIKE_QRS = 0.4  # the median beat
_LIKE_P, _LIKE_P_IRREGULAR = 0.35, 0.6  # three beats in four; the same where RR varies
_LIKE_P_BEAT, _LIKE_P_OTHER = 0.3, 0.6  # a beat by itself; one with another QRS than most
_REST, _REST_IRREGULAR = 1.5, 0.7  # the height of what lies between T and P over that of P; the same where RR varies
_IRREGULAR = 0.08  # median change of RR from beat to beat, over RR
_FASTEST_P = 0.45  # s; at shorter RR the P of sinus rhythm lies on T, and what looks like a P may be flutter
_FILTER = 30  # samples that the filters need at either end


@dataclass(frozen=True, eq=False)
class Waves:
    """The waves of a window with L leads, B beats.

    Attributes
    ----------
    fs : float
        Samples per second.
    samples : int
        Length of the window.
    beats : int64, (B,)
        A sample inside each QRS, where the leads together are steepest.
    onset, offset : float64, (B, 3)
        First and last sample of P, QRS and T (`WAVES`), the same for all leads; NaN where unknown or where there is no such wave.
    peak : float64, (L, B, 3)
        The sample of each lead's largest deflection within the bounds; NaN where they or the lead are unknown.
    shapes : int64, (B,)
        Beats of one number have the same QRS; 0 is the most frequent shape. Empty where it was not determined.
    spikes : int64, (S,)
        Samples of pacing spikes; none are found below 240 Hz.
    """

    fs: float
    samples: int
    beats: npt.NDArray[np.int64]
    onset: Floats
    offset: Floats
    peak: Floats
    shapes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    spikes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def segments(self) -> npt.NDArray[np.int8]:
        """Return the segment of each sample, (T,): its place in `SEGMENTS`, -1 where unknown.

        PR runs from the end of P to the QRS, ST from the QRS to T, TP from the end of T to the next P, or to the next QRS
        where no P is called (there TP holds the fibrillation of the atria).
        """
        labels = np.full(self.samples, -1, np.int8)

        def fill(name: str, first: float, last: float) -> None:
            if np.isfinite(first) and np.isfinite(last) and last >= first:
                labels[max(int(first), 0) : int(last) + 1] = SEGMENTS.index(name)

        for beat, (on, off) in enumerate(zip(self.onset, self.offset, strict=True)):
            fill("PR", off[P] + 1, on[QRS] - 1)
            fill("ST", off[QRS] + 1, on[T] - 1)
            for wave, name in enumerate(WAVES):
                fill(name, on[wave], off[wave])
            if beat + 1 < len(self.onset):
                following = self.onset[beat + 1]
                fill("TP", off[T] + 1, (following[P] if np.isfinite(following[P]) else following[QRS]) - 1)
        return labels

    def parts(self, by: str) -> npt.NDArray[np.int64]:
        """Return the part of each sample, (T,): parts are numbered from 0, -1 is in none; all -1 where there is no beat.

        ``segment``: the same segment of all beats is one part, numbered as in `SEGMENTS`. ``wave``: each P, QRS and T of each
        beat, 3 x beat + its place in `WAVES`. ``beat``: from where a beat begins (its P, or its QRS where no P is called) to the
        next one; what lies before the first beat is part 0, and beats count from 1.
        """
        segments = self.segments().astype(np.int64)
        if by == "segment":
            return segments
        samples = np.arange(self.samples)
        if by == "beat":
            begin = np.where(np.isfinite(self.onset[:, P]), self.onset[:, P], self.onset[:, QRS])
            begin = np.where(np.isfinite(begin), begin, self.beats)
            return np.searchsorted(begin, samples, side="right") - (0 if len(begin) else 1)
        parts = np.full(self.samples, -1, np.int64)
        for beat, (on, off) in enumerate(zip(self.onset, self.offset, strict=True)):
            for wave, name in enumerate(WAVES):
                inside = (samples >= on[wave]) & (samples <= off[wave]) & (segments == SEGMENTS.index(name))
                parts[inside] = 3 * beat + wave
        return parts


def find_waves(signal: npt.NDArray[np.floating], fs: float, valid: Bools | None = None) -> Waves:
    """Return the waves of a window.

    Parameters
    ----------
    signal : (L, T)
        mV, unfiltered, finite.
    fs : float
        Samples per second.
    valid : bool, (L, T), optional
        False where there is no signal (padding, gaps, flat leads).

    Notes
    -----
    A QRS is a burst of slope; it ends where the slope stays below a share of its steepest for 20 ms. T and P are the largest
    distance from the isoelectric line (taken just before each QRS) within the time that QT and PR can take at this rate.
    A P must look the same before most beats: the windows before the QRS are correlated with the mean of the others, over all
    leads, which the waves of atrial fibrillation do not survive; and it must be higher than what lies between it and T. Beyond
    133 beats a minute no P is detected, since it cannot be distinguished from flutter. Figures: ``benchmarks/waves.py``.
    """
    valid = np.isfinite(signal) if valid is None else valid & np.isfinite(signal)
    leads, samples = signal.shape
    somewhere = np.flatnonzero(valid.any(axis=0))
    if not len(somewhere):
        return _nothing(fs, leads, samples)
    # Padding has no beats, and would make the usual slope seem small.
    first, stop = int(somewhere[0]), int(somewhere[-1]) + 1
    found = _find(np.nan_to_num(signal[:, first:stop].astype(np.float64)), fs, valid[:, first:stop])
    onset, offset, peak = (first + bounds for bounds in (found.onset, found.offset, found.peak))
    return Waves(fs, samples, first + found.beats, onset, offset, peak, found.shapes, first + found.spikes)


def _nothing(fs: float, leads: int, samples: int) -> Waves:
    unknown = np.full((leads, 0, 3), np.nan)
    return Waves(fs, samples, np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)), unknown)


def _find(volts: Floats, fs: float, valid: Bools) -> Waves:
    """Do as `find_waves`, on a stretch that begins and ends with signal."""
    leads, samples = volts.shape
    usable = valid.mean(axis=1) > 0.3
    if samples < max(fs, _FILTER) or not usable.any():
        return _nothing(fs, leads, samples)
    spikes = find_spikes(np.where(valid, volts, 0.0)[usable], fs)
    clean = without_spikes(volts, spikes, fs)
    slope = slopes(clean[usable], valid[usable], fs)
    noise = is_noise(slope)
    usable[np.flatnonzero(usable)[noise]] = False
    if noise.all():
        return _nothing(fs, leads, samples)
    slope, real, clean = slope[~noise], valid[usable], clean[usable]
    wide = bandpass(clean, 0.5, 20, fs)
    beats = find_beats(slope, fs)
    beats = beats[real[:, beats].any(axis=0)]
    if len(beats) < 2 or not _alike(wide, beats + int(0.06 * fs), int(0.12 * fs), _LIKE_QRS):
        return _nothing(fs, leads, samples)

    onset, offset = np.full((len(beats), 3), np.nan), np.full((len(beats), 3), np.nan)
    together = smooth(np.sqrt(np.mean(slope**2, axis=0)), 0.012, fs)
    for beat, centre in enumerate(beats):
        onset[beat, QRS], offset[beat, QRS] = _qrs_bounds(together, int(centre), fs)
    # Where a bound is unknown, the others are still searched for, from its usual place.
    begin = np.where(np.isnan(onset[:, QRS]), beats - 0.05 * fs, onset[:, QRS]).astype(int)
    end = np.where(np.isnan(offset[:, QRS]), beats + 0.06 * fs, offset[:, QRS]).astype(int)
    shapes = beat_shapes(wide, beats, fs)
    onset[:, T], offset[:, T] = _t_bounds(bandpass(clean, 0.5, 12, fs), begin, end, beats, fs).T
    onset[:, P], offset[:, P] = _p_bounds(wide, begin, end, offset[:, T], shapes == 0, fs).T
    peak = _peaks(volts, valid & usable[:, None], onset, offset)
    return Waves(fs, samples, beats, onset, offset, peak, shapes, spikes)


def _likeness(signal: Floats, ends: npt.NDArray[np.integer], length: int, members: Bools | None = None) -> Floats:
    """Return the correlation of each stretch of `length` samples before `ends` with the mean of the others, over all leads.

    A straight line is taken from each lead's stretch. With `members` (B,) the mean is that of these stretches. NaN where the
    stretch leaves the window, or the others are fewer than two.
    """
    likeness = np.full(len(ends), np.nan)
    inside = (ends - length >= 0) & (ends <= signal.shape[1])
    within = np.ones(inside.sum(), bool) if members is None else members[inside]
    if within.sum() < 3:
        return likeness
    stretches = np.stack([signal[:, stop - length : stop] for stop in ends[inside]])
    line = np.linspace(-1.0, 1.0, length)
    stretches -= stretches.mean(axis=-1, keepdims=True)
    stretches -= (stretches @ line / (line @ line))[..., None] * line
    flat = stretches.reshape(len(stretches), -1)
    others = (flat[within].sum(axis=0) - within[:, None] * flat) / (within.sum() - within)[:, None]
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(others, axis=1)
    likeness[inside] = (flat * others).sum(axis=1) / np.maximum(norms, 1e-12)
    return likeness


def _alike(signal: Floats, ends: npt.NDArray[np.integer], length: int, least: float) -> bool:
    """Return whether most stretches look like the others; True where there are too few to decide."""
    likeness = _likeness(signal, ends, length)
    known = likeness[np.isfinite(likeness)]
    return not len(known) or bool(np.median(known) >= least)


def _qrs_bounds(slope: Floats, centre: int, fs: float) -> tuple[float, float]:
    """Return the first and last sample of the burst of slope around `centre`."""
    near = max(1, int(0.06 * fs))
    first = max(0, centre - near)
    steepest = first + int(np.argmax(slope[first : centre + near]))
    quiet = max(1, int(_QUIET * fs))

    def reach(limit: float, samples: Floats) -> float:
        """How far from the steepest sample the slope first stays below `limit` for `quiet` samples.

        Where it never does, because ST or PR is as steep, where it is least from 30 ms on.
        """
        below = np.convolve(samples < limit, np.ones(quiet), "valid") == quiet
        if below.any():
            return float(np.argmax(below) - 1)
        means = np.convolve(samples, np.ones(quiet) / quiet, "valid")
        skip = int(_SHORTEST_SIDE * fs)
        return float(skip + np.argmin(means[skip:])) if len(means) > skip else np.nan

    before = slope[max(0, centre - int(0.14 * fs)) : steepest + 1][::-1]
    after = slope[steepest : centre + int(0.18 * fs)]
    if min(len(before), len(after)) < quiet:
        return np.nan, np.nan
    height = float(slope[steepest])
    return steepest - reach(_SLOPE_ONSET * height, before), steepest + reach(_SLOPE_OFFSET * height, after)


def _hump(height: Floats, peak: int, onset: float, offset: float) -> tuple[float, float]:
    """Return where the hump around `peak` falls below shares of its height over its lowest point, on either side."""

    def fall(side: Floats, share: float) -> float:
        lowest = side.min()
        return float(np.flatnonzero(side <= lowest + share * (side[0] - lowest))[0])

    return peak - fall(height[peak::-1], onset), peak + fall(height[peak:], offset)


def _highest(height: Floats) -> int | None:
    """Return the highest local maximum, or None."""
    from scipy.signal import find_peaks

    found, _ = find_peaks(height)
    return int(found[np.argmax(height[found])]) if len(found) else None


def _t_bounds(
    signal: Floats,
    begin: npt.NDArray[np.int_],
    end: npt.NDArray[np.int_],
    beats: npt.NDArray[np.int64],
    fs: float,
) -> Floats:
    """Return the bounds (B, 2) of T: the largest distance from the line between the PR segments of two beats."""
    bounds = np.full((len(beats), 2), np.nan)
    intervals = np.diff(beats)
    usual = float(np.median(intervals)) if len(intervals) else fs
    for beat in range(len(beats)):
        last = beat + 1 == len(beats)
        interval = usual if last else float(intervals[beat])
        latest = min(_LONGEST_QT * np.sqrt(interval / fs) * fs, _LATEST_T * interval)
        first = int(end[beat] + _T_AFTER_QRS * fs)
        stop = min(int(begin[beat] + latest), signal.shape[1] - 1)
        if not last:
            stop = min(stop, int(begin[beat + 1] - 0.04 * fs))
        if stop - first < 0.1 * fs:
            continue
        at, base = _isoelectric(signal, begin[beat], fs)
        if not last:
            next_at, next_base = _isoelectric(signal, begin[beat + 1], fs)
            base = base + (next_base - base) * (np.arange(first, stop) - at) / max(next_at - at, 1)
        height = np.sqrt(np.mean((signal[:, first:stop] - base) ** 2, axis=0))
        peak = _highest(height)
        if peak is not None:
            bounds[beat] = np.add(first, _hump(height, peak, _T_ONSET, _T_OFFSET))
    return bounds


def _isoelectric(signal: Floats, begin: int, fs: float) -> tuple[int, Floats]:
    """Return a sample just before a QRS that begins at `begin`, and the voltages (L, 1) there."""
    at = max(0, int(begin - 0.02 * fs))
    return at, signal[:, at : at + max(1, int(0.015 * fs))].mean(axis=1, keepdims=True)


def _p_bounds(
    signal: Floats, begin: npt.NDArray[np.int_], end: npt.NDArray[np.int_], t_end: Floats, members: Bools, fs: float
) -> Floats:
    """Return the bounds (B, 2) of P, between the end of the T before and the QRS, where beats agree that there is one.

    `members` (B,) are the beats of the usual shape: they show whether and where there is a P.
    """
    bounds = np.full((len(begin), 2), np.nan)
    if np.median(np.diff(begin)) < _FASTEST_P * fs:
        return bounds
    irregular = is_irregular(begin, members)
    least = _LIKE_P_IRREGULAR if irregular else _LIKE_P
    # Where P may begin at the earliest: after the T before it.
    earliest = np.full(len(begin), 0.0)
    earliest[1:] = np.where(np.isfinite(t_end[:-1]), t_end[:-1] + 0.02 * fs, end[:-1] + 0.25 * fs)
    foot = int(_FOOT * fs)
    # A long PR: as much as diastole leaves at three beats in four.
    room = float(np.percentile((begin - earliest)[members], 25))
    lengths = [int(0.22 * fs)]
    if room > (0.26 * fs + foot):
        lengths.append(int(min(room, _LONGEST_PR * fs)) - foot)
    for length in lengths:
        likeness = _likeness(signal, (begin - foot).astype(int), length, members)
        known = likeness[members & np.isfinite(likeness)]
        if len(known) and np.percentile(known, 25) >= least:
            break
    else:
        return bounds
    has_p = likeness >= np.where(members, _LIKE_P_BEAT, _LIKE_P_OTHER)
    place = _usual_p(signal, begin, earliest, members & has_p, fs)
    if place is None:
        return bounds
    edge, margin = max(1, int(0.02 * fs)), int(0.06 * fs)
    for beat in np.flatnonzero(has_p):
        first = int(max(earliest[beat], begin[beat] - place[0] - margin, 0))
        stop = int(min(begin[beat], begin[beat] - place[1] + margin))
        if stop - first < (0.06 if members[beat] else 0.12) * fs:
            continue
        height = _off_line(signal[:, first:stop], edge)
        peak = _highest(height)
        if peak is not None:
            bounds[beat] = np.add(first, _hump(height, peak, _P_ONSET, _P_OFFSET))
    most = _REST_IRREGULAR if irregular else _REST
    return bounds if _stands_out(signal, bounds, t_end, fs, most) else np.full_like(bounds, np.nan)


def _usual_p(
    signal: Floats, begin: npt.NDArray[np.int_], earliest: Floats, members: Bools, fs: float
) -> tuple[int, int] | None:
    """Return how many samples before the QRS the P of the median beat begins and ends, or None."""
    longest = int(_LONGEST_PR * fs)
    chosen = np.flatnonzero(members & (begin >= longest))
    if not len(chosen):
        return None
    stretches = np.stack([signal[:, begin[beat] - longest : begin[beat]] for beat in chosen])
    known = begin[chosen, None] - longest + np.arange(longest) >= earliest[chosen, None]
    # From where on half of the beats are past their T.
    first = int(np.argmax(known.mean(axis=0) >= 0.5)) if known.any() else longest
    if longest - first < 0.06 * fs:
        return None
    median = np.nanmedian(np.where(known[:, None, first:], stretches[..., first:], np.nan), axis=0)
    edge = max(1, int(0.02 * fs))
    best: tuple[float, tuple[int, int]] | None = None
    for start in (max(0, longest - first - int(_USUAL_PR * fs)), 0):
        height = _off_line(median[:, start:], edge)
        peak = _highest(height)
        if peak is not None and (best is None or height[peak] > _FARTHER * best[0]):
            onset, offset = _hump(height, peak, _P_ONSET, _P_OFFSET)
            at = first + start
            best = float(height[peak]), (int(longest - at - onset), int(longest - at - offset))
    return None if best is None else best[1]


def _off_line(stretch: Floats, edge: int = 1) -> Floats:
    """Return the distance from the line between the means of the first and last `edge` samples, rms over the leads."""
    low, high = stretch[:, :edge].mean(axis=1), stretch[:, -edge:].mean(axis=1)
    distance: Floats = np.sqrt(np.mean((stretch - np.linspace(low, high, stretch.shape[1], axis=1)) ** 2, axis=0))
    return distance


def _stands_out(signal: Floats, bounds: Floats, t_end: Floats, fs: float, most: float) -> bool:
    """Return whether what lies between T and P is at most `most` times as high as P; the waves of fibrillation never rest.

    Judged by the median over the beats whose TP segment is long enough to decide; true where there is none.
    """
    margin, rests = 0.02 * fs, []
    for (onset, offset), before in zip(bounds[1:], t_end[:-1], strict=True):
        if onset - before > 0.08 * fs + 2 * margin:
            rest = _off_line(signal[:, int(before + margin) : int(onset - margin)]).max()
            rests.append(rest / _off_line(signal[:, int(onset) : int(offset) + 1]).max())
    return not rests or bool(np.median(rests) <= most)


def is_irregular(begin: npt.NDArray[np.int_], members: Bools) -> bool:
    """Return whether RR changes from beat to beat as in atrial fibrillation.

    Where more than 15 % of the beats have another shape, their intervals do not count; a few move no median.
    """
    intervals = np.diff(begin)
    between = intervals[members[1:] & members[:-1]]
    steady = between if members.mean() < 0.85 and len(between) > 2 else intervals
    change = np.abs(np.diff(steady))
    return bool(len(change)) and float(np.median(change)) > _IRREGULAR * float(np.median(intervals))


def _peaks(signal: Floats, real: Bools, onset: Floats, offset: Floats) -> Floats:
    """Return each lead's largest distance, within the bounds, from the line between its values at them: (L, B, 3)."""
    peaks = np.full((len(signal), *onset.shape), np.nan)
    for beat, wave in np.argwhere(np.isfinite(onset) & np.isfinite(offset)):
        first, last = int(onset[beat, wave]), int(offset[beat, wave])
        stretch = signal[:, first : last + 1]
        line = np.linspace(stretch[:, 0], stretch[:, -1], stretch.shape[1], axis=1)
        place = first + np.argmax(np.abs(stretch - line), axis=1)
        known = real[:, first : last + 1].all(axis=1)
        peaks[known, beat, wave] = place[known]
    return peaks
