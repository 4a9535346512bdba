"""Pacing spikes, beats, and which beats have the same QRS. Used by `ecgcam.records.waves`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LEAST_SLOPE = 2.0  # mV/s, rms over the leads; the 99th percentile of any LUDB or PTB-XL record is 30 or more
_NOISY = 0.2  # median over 99th percentile of a lead's slope; an ECG is quiet most of the time, noise is not
# A pacing stimulus lasts 0.1 to 2 ms; a recorder's filters make it 4 to 8 ms, still far shorter than any part of a QRS.
_SPIKE_REACH = (0.004, 0.010, 0.050)  # s, see `find_spikes`
_SPIKE_RATE = 240.0  # Hz
_SPIKE_HEIGHT, _SPIKE_RATIO = 0.05, 5.0  # mV, rms over the leads; PTB-XL's are 0.6 to 0.95
# A T wave follows its QRS within so many seconds and is less steep by this ratio; the second row is for wide and paced beats.
_T_AFTER_QRS = ((0.36, 0.5), (0.48, 0.4))
_SAME_SHAPE = 0.85  # correlation of two QRS complexes, all leads together


def bandpass(signal: Floats, low: float, high: float, fs: float) -> Floats:
    """Return the signal filtered by a Butterworth filter of second order, forwards and backwards."""
    from scipy.signal import butter, sosfiltfilt

    filtered: Floats = sosfiltfilt(butter(2, [low, min(high, 0.45 * fs)], "band", fs=fs, output="sos"), signal, axis=-1)
    return filtered


def smooth(values: Floats, seconds: float, fs: float) -> Floats:
    """Return the running mean along the last axis."""
    from scipy.ndimage import uniform_filter1d

    smoothed: Floats = uniform_filter1d(values, max(1, int(seconds * fs)))
    return smoothed


def slopes(signal: Floats, valid: npt.NDArray[np.bool_], fs: float) -> Floats:
    """Return the slope (L, T) in mV/s between 1 and 40 Hz; 0 where there is no signal."""
    return np.where(valid, np.gradient(bandpass(signal, 1.0, 40, fs), axis=-1) * fs, 0.0)


def is_noise(slope: Floats) -> npt.NDArray[np.bool_]:
    """Return which leads (L,) are steep most of the time, which an ECG is not."""
    magnitude = np.abs(slope)
    noisy: npt.NDArray[np.bool_] = np.median(magnitude, axis=1) > _NOISY * np.percentile(magnitude, 99, axis=1)
    return noisy


def find_spikes(signal: Floats, fs: float) -> Indices:
    """Return the samples of pacing spikes (S,): they stand out of the line between 4 ms before and after, and nothing near does.

    The distance from that line, rms over the leads, must be five times that of any sample 10 to 50 ms away: the tip of an R wave
    has bends as sharp next to it. None are found below 240 Hz, where a spike is as long as a sample, nor is a single one.
    """
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import find_peaks

    reach, near, far = (round(seconds * fs) for seconds in _SPIKE_REACH)
    samples = signal.shape[1]
    if fs < _SPIKE_RATE or samples <= 2 * far:
        return np.zeros(0, np.int64)
    padded = np.pad(signal, ((0, 0), (reach, reach)), mode="edge")
    height = np.sqrt(np.mean((signal - (padded[:, : -2 * reach] + padded[:, 2 * reach :]) / 2) ** 2, axis=0))
    found, _ = find_peaks(height, height=_SPIKE_HEIGHT, distance=2 * reach)
    found = found[(found >= far) & (found < samples - far)]
    # The highest of the stretch of `far - near` samples whose middle lies `shift` samples away.
    highest, shift = maximum_filter1d(height, far - near), (far + near) // 2
    nearby = np.maximum(highest[found - shift], highest[found + shift])
    spikes = found[height[found] > _SPIKE_RATIO * nearby]
    return np.asarray(spikes if len(spikes) > 1 else spikes[:0], np.int64)


def without_spikes(signal: Floats, spikes: Indices, fs: float) -> Floats:
    """Return the signal with a straight line in place of each spike."""
    if not len(spikes):
        return signal
    reach = round(1.5 * _SPIKE_REACH[0] * fs)
    clean = signal.copy()
    for at in spikes:
        first, last = max(0, at - reach), min(signal.shape[1] - 1, at + reach)
        clean[:, first : last + 1] = np.linspace(signal[:, first], signal[:, last], last - first + 1, axis=1)
    return clean


def find_beats(slope: Floats, fs: float) -> Indices:
    """Return the samples where the leads together are steepest over 80 ms, 250 ms apart at least.

    What follows a steeper burst within 360 ms and is less than half as steep is its T wave (J. Pan, W. J. Tompkins: A real-time
    QRS detection algorithm. IEEE Trans Biomed Eng 32(3), 230-236, 1985); within 480 ms, if it is less than 0.4 as steep.
    """
    from scipy.signal import find_peaks

    together = np.sqrt(np.mean(smooth(slope, 0.02, fs) ** 2, axis=0))
    burst = smooth(together, 0.08, fs)
    found, _ = find_peaks(burst, height=0.3 * np.percentile(burst, 98), distance=max(1, int(0.25 * fs)))
    if len(found):
        usual = np.median(np.sort(burst[found])[-max(3, len(found) // 2) :])
        found = found[burst[found] > max(0.35 * usual, _LEAST_SLOPE)]
    kept: list[int] = []
    near = max(1, int(0.05 * fs))
    steepest = [float(together[max(0, at - near) : at + near].max()) for at in found]
    height: list[float] = []
    for at, steep in zip(found, steepest, strict=True):
        if kept and any(at - kept[-1] < within * fs and steep < ratio * height[-1] for within, ratio in _T_AFTER_QRS):
            continue
        kept.append(int(at))
        height.append(steep)
    return np.asarray(kept, np.int64)


def beat_shapes(signal: Floats, beats: Indices, fs: float) -> Indices:
    """Return the shape of each beat, (B,): beats of one number have the same QRS; 0 is the most frequent shape.

    The stretches of 240 ms around the beats, all leads, are compared with the mean of each shape so far by correlation, each
    at its best of 11 shifts. A beat cut by the edge of the window has the shape that its part resembles most.
    """
    half, reach = max(2, int(0.12 * fs)), max(1, int(0.02 * fs))
    shifts = np.unique(np.linspace(-reach, reach, 11).round().astype(int))
    padded = np.pad(signal, ((0, 0), (half + reach, half + reach)), mode="edge")
    means: list[Floats] = []
    counts: list[int] = []
    labels = np.zeros(len(beats), np.int64)

    def stretch(at: int, shift: int) -> Floats:
        first = at + shift + reach
        cut = padded[:, first : first + 2 * half]
        return np.asarray(cut - cut.mean(axis=1, keepdims=True))

    for number, at in enumerate(beats):
        tried = np.stack([stretch(int(at), int(shift)) for shift in shifts])
        flat = tried.reshape(len(shifts), -1)
        norms = np.linalg.norm(flat, axis=1)
        best, place, chosen = -1.0, -1, 0
        for shape, mean in enumerate(means):
            likeness = flat @ mean.ravel() / np.maximum(norms * np.linalg.norm(mean), 1e-12)
            if likeness.max() > best:
                best, place, chosen = float(likeness.max()), shape, int(np.argmax(likeness))
        if best >= _SAME_SHAPE:
            counts[place] += 1
            means[place] = means[place] + (tried[chosen] - means[place]) / counts[place]
            labels[number] = place
        else:
            labels[number] = len(means)
            means.append(tried[len(shifts) // 2])
            counts.append(1)
    order = np.argsort(-np.asarray(counts), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[labels] if len(beats) else labels
