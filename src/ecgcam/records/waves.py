"""Beats, and where P, QRS and T begin and end: one set of bounds for all leads of a window.

The heart beats once for all leads, so the bounds come from what the leads have in common: the root mean square, over the
leads, of slopes (QRS) and of distances from the isoelectric line (P, T). Measured on LUDB against NeuroKit2's wavelet
delineation lead by lead, this keeps every bound closer to the cardiologists' and costs a fortieth: ``benchmarks/waves.py``.
A bound that cannot be found is unknown, NaN; nothing here raises because of what an ECG looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WAVES = ("P", "QRS", "T")
SEGMENTS = ("P", "PR", "QRS", "ST", "T", "TP")
PARTS = ("segment", "wave", "beat")
P, QRS, T = range(3)

# Chosen on LUDB's records 1 to 99, scored on 101 to 199.
_SLOPE_ONSET, _SLOPE_OFFSET = 0.05, 0.08  # of the steepest slope: where a QRS begins and ends
_QUIET = 0.02  # s for which the slope stays below it
_T_ONSET, _T_OFFSET, _P_EDGE = 0.2, 0.1, 0.3  # of the wave's height: where it begins and ends
_T_AFTER_QRS, _LONGEST_QT, _LATEST_T = 0.06, 0.52, 0.72  # s; s times the root of RR/s; of RR
_LONGEST_PR = 0.28  # s
_FOOT = 0.03  # s before the QRS in which its foot, smeared by the filter, would look the same at all beats
# A wave is the same from beat to beat: the correlation of a beat with the mean of the others below which it is none. Chosen on
# PTB-XL, where these call a P in 2 % of the records with atrial fibrillation and 96 % of those in sinus rhythm.
_LIKE_QRS = 0.4  # the median beat
_LIKE_P, _LIKE_P_IRREGULAR = 0.35, 0.6  # three beats in four; the same where RR varies
_LIKE_P_BEAT = 0.3  # a beat by itself
_IRREGULAR = 0.08  # median change of RR from beat to beat, over RR
_FASTEST_P = 0.45  # s; at shorter RR the P of sinus rhythm lies on T, and what looks like a P may be flutter
_FILTER = 30  # samples that the filters need at either end
_LEAST_SLOPE = 2.0  # mV/s, over the leads; the 99th percentile of any of those records is 30 or more
_NOISY = 0.2  # median over 99th percentile of a lead's slope; an ECG is quiet most of the time, noise is not


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
    """

    fs: float
    samples: int
    beats: npt.NDArray[np.int64]
    onset: Floats
    offset: Floats
    peak: Floats

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
    133 beats a minute no P is called, since it cannot be told from flutter. Figures: ``benchmarks/waves.py``.
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
    return Waves(fs, samples, first + found.beats, onset, offset, peak)


def _nothing(fs: float, leads: int, samples: int) -> Waves:
    unknown = np.full((leads, 0, 3), np.nan)
    return Waves(fs, samples, np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)), unknown)


def _find(volts: Floats, fs: float, valid: Bools) -> Waves:
    """Do as `find_waves`, on a stretch that begins and ends with signal."""
    leads, samples = volts.shape
    usable = valid.mean(axis=1) > 0.3
    if samples < max(fs, _FILTER) or not usable.any():
        return _nothing(fs, leads, samples)
    slope = _slopes(volts[usable], valid[usable], fs)
    noise = np.median(np.abs(slope), axis=1) > _NOISY * np.percentile(np.abs(slope), 99, axis=1)
    usable[np.flatnonzero(usable)[noise]] = False
    if noise.all():
        return _nothing(fs, leads, samples)
    slope, real, clean = slope[~noise], valid[usable], volts[usable]
    beats = _beats(slope, fs)
    beats = beats[real[:, beats].any(axis=0)]
    wide = _filtered(clean, 0.5, 20, fs)
    if len(beats) < 2 or not _alike(wide, beats + int(0.06 * fs), int(0.12 * fs), _LIKE_QRS):
        return _nothing(fs, leads, samples)

    onset, offset = np.full((len(beats), 3), np.nan), np.full((len(beats), 3), np.nan)
    together = _smooth(np.sqrt(np.mean(slope**2, axis=0)), 0.012, fs)
    for beat, centre in enumerate(beats):
        onset[beat, QRS], offset[beat, QRS] = _qrs_bounds(together, int(centre), fs)
    # Where a bound is unknown the others are still looked for, from where it usually lies.
    begin = np.where(np.isnan(onset[:, QRS]), beats - 0.05 * fs, onset[:, QRS]).astype(int)
    end = np.where(np.isnan(offset[:, QRS]), beats + 0.06 * fs, offset[:, QRS]).astype(int)
    onset[:, T], offset[:, T] = _t_bounds(_filtered(clean, 0.5, 12, fs), begin, end, beats, fs).T
    onset[:, P], offset[:, P] = _p_bounds(wide, begin, end, offset[:, T], fs).T
    peak = _peaks(volts, valid & usable[:, None], onset, offset)
    return Waves(fs, samples, beats, onset, offset, peak)


def _filtered(signal: Floats, low: float, high: float, fs: float) -> Floats:
    from scipy.signal import butter, sosfiltfilt

    filtered: Floats = sosfiltfilt(butter(2, [low, min(high, 0.45 * fs)], "band", fs=fs, output="sos"), signal, axis=-1)
    return filtered


def _smooth(values: Floats, seconds: float, fs: float) -> Floats:
    from scipy.ndimage import uniform_filter1d

    smoothed: Floats = uniform_filter1d(values, max(1, int(seconds * fs)))
    return smoothed


def _slopes(signal: Floats, valid: Bools, fs: float) -> Floats:
    """Return mV/s of the leads (L, T), 0 where there is no signal."""
    return np.where(valid, np.gradient(_filtered(signal, 1.0, 40, fs), axis=-1) * fs, 0.0)


def _beats(slope: Floats, fs: float) -> npt.NDArray[np.int64]:
    """Return the samples where the leads together are steepest over 80 ms, 250 ms apart at least."""
    from scipy.signal import find_peaks

    burst = _smooth(np.sqrt(np.mean(_smooth(slope, 0.02, fs) ** 2, axis=0)), 0.08, fs)
    found, _ = find_peaks(burst, height=0.3 * np.percentile(burst, 98), distance=max(1, int(0.25 * fs)))
    if len(found):
        usual = np.median(np.sort(burst[found])[-max(3, len(found) // 2) :])
        found = found[burst[found] > max(0.35 * usual, _LEAST_SLOPE)]
    return np.asarray(found, np.int64)


def _likeness(signal: Floats, ends: npt.NDArray[np.integer], length: int) -> Floats:
    """Return the correlation of each stretch of `length` samples before `ends` with the mean of the others, over all leads.

    A straight line is taken from each lead's stretch. NaN where the stretch leaves the window, or the others are fewer than two.
    """
    likeness = np.full(len(ends), np.nan)
    inside = (ends - length >= 0) & (ends <= signal.shape[1])
    if inside.sum() < 3:
        return likeness
    stretches = np.stack([signal[:, stop - length : stop] for stop in ends[inside]])
    line = np.linspace(-1.0, 1.0, length)
    stretches -= stretches.mean(axis=-1, keepdims=True)
    stretches -= (stretches @ line / (line @ line))[..., None] * line
    flat = stretches.reshape(len(stretches), -1)
    others = (flat.sum(axis=0) - flat) / (len(flat) - 1)
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(others, axis=1)
    likeness[inside] = (flat * others).sum(axis=1) / np.maximum(norms, 1e-12)
    return likeness


def _alike(signal: Floats, ends: npt.NDArray[np.integer], length: int, least: float) -> bool:
    """Return whether most stretches look like the others; True where there are too few to tell."""
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
        """How far from the steepest sample the slope first stays below `limit` for `quiet` samples."""
        below = np.convolve(samples < limit, np.ones(quiet), "valid") == quiet
        return float(np.argmax(below) - 1) if below.any() else np.nan

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
    signal: Floats, begin: npt.NDArray[np.int_], end: npt.NDArray[np.int_], t_end: Floats, fs: float
) -> Floats:
    """Return the bounds (B, 2) of P, between the end of the T before and the QRS, where beats agree that there is one."""
    bounds = np.full((len(begin), 2), np.nan)
    likeness = _likeness(signal, (begin - _FOOT * fs).astype(int), int(0.22 * fs))
    if not _has_p(likeness, begin, fs):
        return bounds
    edge = max(1, int(0.02 * fs))
    for beat in np.flatnonzero(likeness >= _LIKE_P_BEAT):
        first = begin[beat] - _LONGEST_PR * fs
        if beat:
            before = t_end[beat - 1] + 0.02 * fs
            first = max(first, before if np.isfinite(before) else end[beat - 1] + 0.25 * fs)
        first, stop = int(max(first, 0)), int(begin[beat])
        if stop - first < 0.06 * fs:
            continue
        height = _off_line(signal[:, first:stop], edge)
        peak = _highest(height)
        if peak is not None:
            bounds[beat] = np.add(first, _hump(height, peak, _P_EDGE, _P_EDGE))
    return bounds if _stands_out(signal, bounds, t_end, fs) else np.full_like(bounds, np.nan)


def _off_line(stretch: Floats, edge: int = 1) -> Floats:
    """Return the distance from the line between the means of the first and last `edge` samples, rms over the leads."""
    low, high = stretch[:, :edge].mean(axis=1), stretch[:, -edge:].mean(axis=1)
    distance: Floats = np.sqrt(np.mean((stretch - np.linspace(low, high, stretch.shape[1], axis=1)) ** 2, axis=0))
    return distance


def _stands_out(signal: Floats, bounds: Floats, t_end: Floats, fs: float) -> bool:
    """Return whether P is higher than what lies between it and the T before; the waves of fibrillation never rest.

    Judged by the median over the beats whose TP segment is long enough to tell; true where there is none.
    """
    margin, rests = 0.02 * fs, []
    for (onset, offset), before in zip(bounds[1:], t_end[:-1], strict=True):
        if onset - before > 0.08 * fs + 2 * margin:
            rest = _off_line(signal[:, int(before + margin) : int(onset - margin)]).max()
            rests.append(rest / _off_line(signal[:, int(onset) : int(offset) + 1]).max())
    return not rests or bool(np.median(rests) <= 1)


def _has_p(likeness: Floats, begin: npt.NDArray[np.int_], fs: float) -> bool:
    """Return whether what comes before the QRS is the same at three beats in four, and no faster than a P can be told."""
    known = likeness[np.isfinite(likeness)]
    if not len(known):
        return False
    intervals = np.diff(begin)
    usual = float(np.median(intervals))
    change = float(np.median(np.abs(np.diff(intervals)))) / usual
    least = _LIKE_P_IRREGULAR if change > _IRREGULAR else _LIKE_P
    return usual >= _FASTEST_P * fs and bool(np.percentile(known, 25) >= least)


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
