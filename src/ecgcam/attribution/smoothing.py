"""Smoothing along time that neither reads padding nor droops at its edges. NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError, no_such

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


def smooth(values: Floats, valid: Bools, fs: float, ms: float, smoother: str = "gaussian") -> npt.NDArray[np.float32]:
    """Smooth each row along time.

    Parameters
    ----------
    values : (L, T)
        What to smooth.
    valid : bool, (L, T)
        Samples to read; the others count for nothing and come out as 0.
    fs : float
        Samples per second.
    ms : float
        Width: the full width at half maximum of ``gaussian``, the window of ``mean`` and ``savgol``. 0 leaves the values.
    smoother : str
        ``gaussian``, ``mean`` or ``savgol`` (Savitzky and Golay 1964, third order).

    Raises
    ------
    EcgcamError
        If there is no such smoother, or the width is negative or longer than the rows.
    """
    if smoother not in SMOOTHERS:
        raise no_such(f"`smoother` {smoother}", "smoother", smoother, SMOOTHERS)
    if not (np.isfinite(ms) and ms >= 0):
        raise EcgcamError(f"`smooth_ms` {ms:g}: must be 0 or more")
    if ms * fs / 1000 > values.shape[1]:
        raise EcgcamError(f"`smooth_ms` {ms:g}: wider than the window of {values.shape[1] / fs * 1000:g} ms; give less")
    kept = np.where(valid, values, 0.0).astype(np.float64)
    if ms > 0:
        kept = np.where(valid, SMOOTHERS[smoother](kept, valid, ms * fs / 1000), 0.0)
    return kept.astype(np.float32)


def _gaussian(values: Floats, valid: Bools, width: float) -> Floats:
    sigma = width / (2 * np.sqrt(2 * np.log(2)))
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return _normalised(values, valid, kernel)


def _mean(values: Floats, valid: Bools, width: float) -> Floats:
    return _normalised(values, valid, np.ones(_odd(width)))


def _normalised(values: Floats, valid: Bools, kernel: Floats) -> Floats:
    """Convolution divided by the kernel's weight on valid samples."""
    rows = [
        np.convolve(row, kernel, "full") / np.maximum(np.convolve(real.astype(float), kernel, "full"), 1e-12)
        for row, real in zip(values, valid, strict=True)
    ]
    reach = len(kernel) // 2
    result: Floats = np.stack(rows)[:, reach : reach + values.shape[1]]
    return result


def _savgol(values: Floats, valid: Bools, width: float) -> Floats:
    """Third-order Savitzky-Golay on each run of valid samples; the polynomial of the last whole window serves at its ends."""
    from scipy.signal import savgol_filter

    out = np.zeros_like(values)
    for row, real, smoothed in zip(values, valid, out, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], real, [False]]).astype(np.int8)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            window = min(_odd(width), (end - begin - 1) // 2 * 2 + 1)
            smoothed[begin:end] = savgol_filter(row[begin:end], window, min(3, window - 1))
    return out


def _odd(width: float) -> int:
    return max(1, 2 * round((width - 1) / 2) + 1)


SMOOTHERS: dict[str, Callable[[Floats, Bools, float], Floats]] = {
    "gaussian": _gaussian,
    "savgol": _savgol,
    "mean": _mean,
}
