"""Resampling by a rational factor, equal to scipy.signal.resample_poly, in NumPy: importing scipy.signal takes 0.6 s."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ecgcam.records.record import FloatArray

# Half length of the anti-aliasing filter, in samples of the slower of the two rates (as scipy.signal.resample_poly has it).
HALF_FILTER = 10
# With at most so many phases, each phase is one strided slice; with more, samples are gathered by index.
_FEW_PHASES = 8


def resample(signal: FloatArray, up: int, down: int, start: int, stop: int, *, origin: int = 0) -> FloatArray:
    """Return samples `start` to `stop` of a signal at `up` / `down` times its rate, (L, stop - start).

    Only the requested samples are computed: sum_m x[m] h[n x down - m x up]. For a given n x down mod `up` these are every
    `up`-th tap of the filter. The result does not depend on where `signal` was cut, as long as it reaches
    `filter_reach(up, down)` samples beyond the requested ones.

    Parameters
    ----------
    signal : float32, (L, N)
        A part of the recording. Beyond its ends it continues with its outer values.
    up, down : int
        New rate / old rate, in lowest terms.
    start, stop : int
        Numbers of the new samples. Sample n lies at n x down / up samples of the recording.
    origin : int
        Number of the recording's sample that `signal` begins with.
    """
    taps, half = anti_aliasing(up, down), HALF_FILTER * max(up, down)
    pad = half // up + 1
    padded = np.pad(signal.astype(np.float64), ((0, 0), (pad, pad)), mode="edge")
    result = np.zeros((len(signal), max(0, stop - start)))
    if up > _FEW_PHASES:
        whole, phase = np.divmod(np.arange(start, stop) * down, up)
        for k in range(-((half + up - 1) // up), half // up + 1):
            tap = half + phase + k * up
            weight = np.where((tap >= 0) & (tap <= 2 * half), up * taps[np.clip(tap, 0, 2 * half)], 0.0)
            result += weight * padded[:, np.clip(whole - k + pad - origin, 0, padded.shape[1] - 1)]
        return result.astype(np.float32)
    for n in range(start, min(start + up, stop)):
        first_sample, phase_of_n = divmod(n * down, up)
        count = len(range(n, stop, up))
        for k in range(-((half + phase_of_n) // up), (half - phase_of_n) // up + 1):
            first = first_sample - k + pad - origin
            # Beyond the padding the signal stays at its outer values.
            at = np.clip(first + down * np.arange(count), 0, padded.shape[1] - 1)
            inside = at[0] == first and at[-1] == first + down * (count - 1)
            part = padded[:, first : at[-1] + 1 : down] if inside else padded[:, at]
            result[:, n - start :: up] += up * taps[half + phase_of_n + k * up] * part
    return result.astype(np.float32)


def filter_reach(up: int, down: int) -> int:
    """Return how many samples of the recording, on either side, a resampled sample depends on."""
    return HALF_FILTER * max(up, down) // up + down // up + 2


@lru_cache(maxsize=8)  # up to 8 MB each
def anti_aliasing(up: int, down: int) -> npt.NDArray[np.float64]:
    """Low-pass filter of scipy.signal.resample_poly: a sinc in a Kaiser window (beta 5), each phase with a gain of 1 at 0 Hz.

    As designed, the phases' gains differ by some tenths of a per cent. A constant would come out rippled, and a flat lead
    with an offset would no longer be flat.
    """
    slower = max(up, down)
    at = np.arange(-HALF_FILTER * slower, HALF_FILTER * slower + 1)
    taps: npt.NDArray[np.float64] = np.sinc(at / slower) * np.kaiser(len(at), 5.0)
    for phase in range(up):
        taps[phase::up] /= up * taps[phase::up].sum()
    taps.flags.writeable = False
    return taps
