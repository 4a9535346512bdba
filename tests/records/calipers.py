"""Calipers for ECGs: durations measured on the voltages alone, so that what a simulator intends can be checked."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import find_peaks

MEASURED = [0, 1, *range(6, 12)]  # I, II, V1 ... V6: the rest are made of them


def qrs_peaks(signal: np.ndarray, fs: float, refractory: float = 0.34) -> np.ndarray:
    """Where the leads (12, N) together are steepest, at least `refractory` seconds apart."""
    # Over 20 ms: broad complexes are as steep as narrow ones, and pacing spikes are not.
    short = int(0.02 * fs)
    steep = np.abs(signal[:, short:] - signal[:, :-short])
    steep = median_filter(steep, size=(1, int(0.012 * fs))).sum(axis=0)
    width = int(0.1 * fs)
    steep = np.convolve(steep, np.ones(width) / width, "same")
    peaks, _ = find_peaks(steep, height=0.4 * np.quantile(steep, 0.97), distance=int(refractory * fs))
    return peaks + short // 2


def qrs_edges(signal: np.ndarray, fs: float, near: float) -> tuple[float, float]:
    """Onset and end (s) of the QRS whose middle is about `near` s.

    The eight measured leads' common speed is above 15 mV/s within a QRS, but for turning points; from there it falls to
    4.7 mV/s over what it has beside the QRS, where ST and T have a slope of their own.
    """
    step = round(0.008 * fs)
    leads = signal[MEASURED].astype(float)
    speed = np.sqrt(np.square((leads[:, step:] - leads[:, :-step]) * fs / step).sum(axis=0))
    speed = np.convolve(speed, np.ones(3) / 3, "same")
    at = round(near * fs) - step // 2
    reach = round(0.03 * fs)
    peak = at - reach + int(speed[at - reach : at + reach].argmax())

    def edge(way: int) -> int:
        far = peak + way * np.arange(1, round(0.15 * fs))
        edge = peak
        for sample in far[speed[far] > 15]:
            if abs(sample - edge) <= reach:
                edge = int(sample)
        tail = edge + way * np.arange(round(0.06 * fs))
        return int(tail[np.flatnonzero(speed[tail] < speed[tail].min() + 4.7)[0]])

    return (edge(-1) + step / 2) / fs, (edge(1) + step / 2) / fs


def p_onset(signal: np.ndarray, fs: float, before: float, longest: float) -> float:
    """Onset (s) of the P wave in the `longest` seconds before `before`: where 7 % of its height is reached."""
    first, last = round((before - longest) * fs), round((before - 0.03) * fs)
    leads = signal[MEASURED, first:last].astype(float)
    size = np.sqrt(np.square(leads - leads[:, :1]).sum(axis=0))
    peak = int(size.argmax())
    return (first + int(np.flatnonzero(size[:peak] <= 0.07 * size[peak])[-1])) / fs


def t_end(signal: np.ndarray, fs: float, first: float, last: float, level: np.ndarray) -> float:
    """End (s) of the T wave between `first` and `last`: the tangent to the steepest descent of the lead where it is largest."""
    leads = signal[:, round(first * fs) : round(last * fs)].astype(float) - level[:, None]
    lead = int(np.abs(leads).max(axis=1).argmax())
    wave = leads[lead] * np.sign(leads[lead, np.abs(leads[lead]).argmax()])
    peak = int(wave.argmax())
    slope = np.diff(wave)
    steepest = peak + int(slope[peak:].argmin())
    return first + (steepest - wave[steepest] / slope[steepest]) / fs
