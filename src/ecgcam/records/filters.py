"""Filters that some models were trained behind, as their model files name them. NumPy and SciPy.

A filter is a line of a model file: ``{ kind = "bandpass", order = 4, low = 0.67, high = 40 }``. All run forwards and backwards,
so that none shifts a wave in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcam.records.record import FloatArray

# Kind -> the keys it takes next to `kind`. All are numbers.
KINDS = {
    "notch": ("hz", "quality"),
    "highpass": ("order", "low"),
    "lowpass": ("order", "high"),
    "bandpass": ("order", "low", "high"),
    "median": ("seconds",),
    "fir": ("seconds", "low", "high"),
}


@dataclass(frozen=True)
class Filter:
    """One filter.

    Attributes
    ----------
    kind : str
        ``notch`` (at `hz`, of a `quality` of hz / bandwidth), Butterworth ``highpass``, ``lowpass`` and ``bandpass`` (of an
        `order`, from `low` to `high` Hz), ``median`` (a running median over `seconds` is subtracted), or ``fir`` (a band-pass
        of `low` to `high` Hz with a Hamming window of `seconds`, an odd number of taps, as `scipy.signal.firwin` designs it).
    """

    kind: str
    order: float = 0.0
    low: float = 0.0
    high: float = 0.0
    hz: float = 0.0
    quality: float = 0.0
    seconds: float = 0.0

    @property
    def in_words(self) -> str:
        """The filter with its numbers, such as ``0.67 to 40 Hz bandpass``."""
        return {
            "notch": f"{self.hz:g} Hz notch",
            "highpass": f"{self.low:g} Hz highpass",
            "lowpass": f"{self.high:g} Hz lowpass",
            "bandpass": f"{self.low:g} to {self.high:g} Hz bandpass",
            "median": f"less the running median over {self.seconds:g} s",
            "fir": f"{self.low:g} to {self.high:g} Hz FIR bandpass",
        }[self.kind]


def apply_filters(signal: FloatArray, filters: Sequence[Filter], fs: float) -> FloatArray:
    """Return a signal (leads, T) after filters, one after the other."""
    from scipy.signal import filtfilt, medfilt, sosfiltfilt  # slow to import, and few models filter

    x = signal.astype(np.float64)
    for one in filters:
        if one.kind == "median":
            x = x - medfilt(x, (1, _odd(one.seconds * fs)))
        elif one.kind == "fir":
            taps = _taps(one, fs)
            x = filtfilt(taps, np.ones(1), x, axis=1, padlen=min(3 * len(taps), x.shape[1] - 1))
        else:
            x = sosfiltfilt(_sections(one, fs), x)
    return x.astype(np.float32)


def filter_gradient(gradient: FloatArray, filters: Sequence[Filter], fs: float) -> FloatArray:
    """Return the gradient with respect to the unfiltered signal (leads, T), from that with respect to the filtered one.

    A filter run forwards and backwards is its own transpose, apart from the extension beyond the edges. The baseline of a
    running median is held constant, as the constants of a normalisation are.
    """
    from scipy.signal import filtfilt, sosfiltfilt

    g = gradient.astype(np.float64)
    for one in reversed(filters):
        if one.kind == "fir":
            g = filtfilt(_taps(one, fs), np.ones(1), g, axis=1, padtype=None)
        elif one.kind != "median":
            g = sosfiltfilt(_sections(one, fs), g, padtype=None)
    return g.astype(np.float32)


def _taps(one: Filter, fs: float) -> npt.NDArray[np.float64]:
    from scipy.signal import firwin

    count = int(one.seconds * fs)
    return np.asarray(firwin(count + 1 - count % 2, (one.low, one.high), pass_zero=False, fs=fs))


def _sections(one: Filter, fs: float) -> npt.NDArray[np.float64]:
    from scipy.signal import butter, iirnotch, tf2sos

    if one.kind == "notch":
        return np.asarray(tf2sos(*iirnotch(one.hz, one.quality, fs)))
    if one.kind == "bandpass":
        return butter(int(one.order), (one.low, one.high), "bandpass", fs=fs, output="sos")
    return butter(int(one.order), one.low or one.high, "highpass" if one.low else "lowpass", fs=fs, output="sos")


def _odd(samples: float) -> int:
    """Return the odd number of samples that begins above a length."""
    count = int(samples) + 1
    return count + 1 - count % 2
