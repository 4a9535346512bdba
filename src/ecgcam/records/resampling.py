"""Resampling by a rational factor, as scipy.signal.resample_poly does it, on NumPy: to import scipy.signal takes 0.6 s."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcam.records.record import FloatArray

# Half length of the anti-aliasing filter, in samples of the slower of the two rates (scipy.signal.resample_poly's own).
HALF_FILTER = 10


def resample(signal: FloatArray, up: int, down: int, start: int, stop: int) -> FloatArray:
    """Return samples `start` to `stop` of `signal` (L, N) at `up` / `down` times its rate, (L, stop - start).

    Sample n lies at n x down / up samples of the signal, which goes on with its outer values beyond its ends. Only what is
    asked for is computed: sum_m x[m] h[n x down - m x up], which for a given n x down mod `up` is every `up`-th tap.
    """
    taps, half = anti_aliasing(up, down), HALF_FILTER * max(up, down)
    pad = half // up + 1
    padded = np.pad(signal.astype(np.float64), ((0, 0), (pad, pad)), mode="edge")
    result = np.zeros((len(signal), stop - start))
    for n in range(start, min(start + up, stop)):
        whole, phase = divmod(n * down, up)
        count = len(range(n, stop, up))
        for k in range(-((half + phase) // up), (half - phase) // up + 1):
            first = whole - k + pad
            # Beyond the pads the signal is as it is at their ends.
            at = np.clip(first + down * np.arange(count), 0, padded.shape[1] - 1)
            inside = at[0] == first and at[-1] == first + down * (count - 1)
            part = padded[:, first : at[-1] + 1 : down] if inside else padded[:, at]
            result[:, n - start :: up] += up * taps[half + phase + k * up] * part
    return result.astype(np.float32)


def anti_aliasing(up: int, down: int) -> npt.NDArray[np.float64]:
    """Low-pass filter of scipy.signal.resample_poly: a sinc in a Kaiser window (beta 5), each phase with a gain of one at 0 Hz.

    As designed they differ by some tenths of a per cent, so that a constant would come out rippled: a flat lead with an
    offset would no longer be flat.
    """
    slower = max(up, down)
    at = np.arange(-HALF_FILTER * slower, HALF_FILTER * slower + 1)
    taps: npt.NDArray[np.float64] = np.sinc(at / slower) * np.kaiser(len(at), 5.0)
    for phase in range(up):
        taps[phase::up] /= up * taps[phase::up].sum()
    return taps
