"""The recording behind an explanation at its own rate, for pictures. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecgcam.results.explanation import Explanation


@dataclass(frozen=True, eq=False)
class Trace:
    """A recording at its own rate; N samples.

    Attributes
    ----------
    time : float64, (N,)
        Seconds from the start of the record.
    signal : float32, (L, N)
        mV, rows as the explanation's; NaN where there is no signal.
    """

    time: np.ndarray
    signal: np.ndarray

    def range(self, row: int, begin: float = -np.inf, end: float = np.inf) -> tuple[float, float]:
        """Return the lowest and highest voltage of a lead between two moments, mV; (0, 0) without a sample."""
        part = self.part(begin, end)
        known = self.signal[row, part][np.isfinite(self.signal[row, part])]
        return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)

    def part(self, begin: float, end: float) -> slice:
        """Return the samples from `begin` up to, not including, `end` (s)."""
        first, stop = np.searchsorted(self.time, (begin - 1e-6, end - 1e-6))
        return slice(int(first), int(stop))


def shown_trace(explanation: Explanation, trace: Trace | None = None) -> Trace:
    """Return what a picture draws: the recording at its own rate, or what the model saw; NaN where there is no signal."""
    if trace is None:
        return Trace(explanation.time, np.where(explanation.valid, explanation.signal, np.nan))
    samples = len(explanation.time)
    at = (trace.time - float(explanation.time[0])) * explanation.fs
    inside = (at > -0.5) & (at < samples)
    known = inside & explanation.valid[:, np.clip(np.rint(at).astype(np.int64), 0, samples - 1)]
    return Trace(trace.time, np.where(known, trace.signal, np.nan))
