"""From a record at its own rate to a window at the model's rate, with every sample marked real or not.

Order matters: missing samples are marked first, bridged so that the filter has something to work on, resampled, and marked
again, so that a gap neither spreads nor disappears.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.record import BoolArray, FloatArray, Record
from ecgcam.records.resampling import HALF_FILTER, resample

# A lead that moves less than this over the whole window carries no heart: half the finest step of common recorders.
FLAT_MV = 0.0005


@dataclass(frozen=True, eq=False)
class Window:
    """What the model gets to see of a record, still in millivolts.

    Attributes
    ----------
    record : Record
        Where it comes from.
    signal : float32, (L, T)
        Millivolts at the model's rate; rows are the record's leads. Finite everywhere: gaps are bridged by straight lines,
        flat leads lie at 0 mV, padding there or at the lead's baseline.
    valid : bool, (L, T)
        False where the sample is padding, missing, or on a flat lead.
    start : float
        Seconds from the start of the record to the first sample.
    fs : float
        Samples per second.
    warnings : tuple of str
        Flat leads, gaps, padding.
    """

    record: Record
    signal: FloatArray
    valid: BoolArray
    start: float
    fs: float
    warnings: tuple[str, ...] = ()

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the rows."""
        return self.record.leads

    @property
    def time(self) -> np.ndarray:
        """Seconds from the start of the record, (T,)."""
        return self.start + np.arange(self.signal.shape[1]) / self.fs


def take_window(
    record: Record,
    fs: float,
    samples: int,
    start: float = 0.0,
    seconds: float | None = None,
    padding: str = "zero-mv",
) -> Window:
    """Cut `samples` samples at `fs` Hz from `record`, beginning `start` seconds into it.

    Parameters
    ----------
    record : Record
        The recording, at its own rate.
    fs, samples : float, int
        The model's rate (Hz) and window length.
    start : float
        Where the window begins, s.
    seconds : float, optional
        Take no more than this much signal; the rest of the window is padding.
    padding : str
        Where padding lies: ``zero-mv``, or each lead's ``baseline`` (its median over the window's valid samples).

    Raises
    ------
    EcgcamError
        If the window lies outside the record, or no lead in it has a signal.
    """
    if not (0 <= start < record.seconds):
        raise EcgcamError(
            f"{record.name}: --start {start:g} lies outside the recording, which lasts {record.seconds:g} s"
        )
    if seconds is not None and not (np.isfinite(seconds) and seconds > 0):
        raise EcgcamError(f"--seconds {seconds:g}: the window needs a positive length")
    ratio = _ratio(fs, record.fs)
    first = round(start * fs)
    wanted = samples if seconds is None else min(samples, max(1, round(seconds * fs)))
    signal, valid = _resample_slice(record, ratio, first, wanted)
    real = signal.shape[1]
    warnings = []

    flat = _flat_rows(signal, valid)
    valid[flat] = False
    signal[flat] = 0.0
    if flat.all():
        raise EcgcamError(
            f"{record.name}: no lead has a signal between {start:g} and {start + wanted / fs:g} s (all flat or missing); "
            "choose another stretch with --start"
        )
    if flat.any():
        warnings.append(f"flat or missing leads: {', '.join(np.array(record.leads)[flat])}")
    gaps = ~valid.all(axis=1) & ~flat
    if gaps.any():
        warnings.append(f"missing samples bridged in: {', '.join(np.array(record.leads)[gaps])}")
    if real < samples:
        warnings.append(f"{real / fs:g} s of signal, padded to {samples / fs:g} s")
        level = [np.median(row[known]) if known.any() else 0.0 for row, known in zip(signal, valid, strict=True)]
        signal = np.pad(signal, ((0, 0), (0, samples - real)))
        signal[:, real:] = np.array(level, np.float32)[:, None] if padding == "baseline" else 0.0
        valid = np.pad(valid, ((0, 0), (0, samples - real)))
    return Window(record, signal, valid, first / fs, fs, tuple(warnings))


def window_starts(record: Record, seconds: float, hop: float | None = None, start: float = 0.0) -> list[float]:
    """Return where windows of `seconds` begin when they slide over `record` by `hop` s (default: end to end).

    The last window ends with the record; it overlaps its neighbour rather than being padded.
    """
    step = seconds if hop is None else hop
    if not (np.isfinite(step) and step > 0):
        raise EcgcamError(f"--hop {step:g}: windows need a positive step")
    last = record.seconds - seconds
    if last <= start:
        return [start]
    if step < 1 / record.fs:
        raise EcgcamError(f"--hop {step:g}: shorter than a sample of the recording; windows need a longer step")
    count = int(np.floor((last - start) / step + 1e-9)) + 1
    starts = [start + i * step for i in range(count)]
    if last - starts[-1] > 0.5 / record.fs:
        starts.append(last)
    return starts


def at_rate(samples: npt.NDArray[np.floating], fs: float, new: float, wanted: int) -> FloatArray:
    """Return a channel (N,) of `fs` Hz at `new` Hz, (`wanted`,); missing where no known sample stands for it."""
    if not len(samples) or wanted < 1:
        return np.full(max(wanted, 0), np.nan, np.float32)
    part = Record("", samples[None].astype(np.float32), fs, ("I",))
    signal, real = _resample_slice(part, _ratio(new, fs), 0, wanted)
    signal[~real] = np.nan
    row: FloatArray = signal[0]
    return row


def _ratio(fs: float, record_fs: float) -> Fraction:
    ratio = Fraction(fs).limit_denominator(10_000) / Fraction(record_fs).limit_denominator(10_000)
    return ratio.limit_denominator(10_000)


def _resample_slice(record: Record, ratio: Fraction, first: int, wanted: int) -> tuple[FloatArray, BoolArray]:
    """Samples `first` to `first + wanted` at the new rate (fewer at the record's end), and which of them are real.

    Only the stretch of the record that these samples depend on is touched.
    """
    up, down = ratio.numerator, ratio.denominator
    total = record.samples
    if up == down:
        part = record.signal[:, first - record.first : first + wanted - record.first]
        return _bridge(part, np.isfinite(part)), np.isfinite(part)
    reach = HALF_FILTER * max(up, down) // up + down + 1
    # Cut on a multiple of `down`, so that the slice's grid is the record's.
    begin = max(0, (first * down // up - reach) // down * down)
    end = min(total, -(-(first + wanted) * down // up) + reach)
    part = record.signal[:, begin - record.first : end - record.first]
    known = np.isfinite(part)
    skip = first - begin * up // down
    available = -(-total * up // down) - first
    stop = skip + min(wanted, available)

    resampled = resample(_bridge(part, known), up, down, skip, stop)
    return resampled, _still_real(known, np.arange(skip, stop), up, down)


def _still_real(known: BoolArray, at: npt.NDArray[np.int64], up: int, down: int) -> BoolArray:
    """Whether new samples `at` stand for known old ones alone: their neighbours, and all that are nearest to them.

    So no missing sample disappears between two new ones, and no gap grows by more than a sample. In whole numbers, since
    rounding decides which side of a gap a sample is on.
    """
    last = known.shape[1] - 1
    first = np.minimum(at * down // up, (2 * at - 1) * down // (2 * up) + 1)
    final = np.maximum(-(-at * down // up), (2 * at + 1) * down // (2 * up))
    missing = np.cumsum(np.pad(~known, ((0, 0), (1, 0))), axis=1)
    inside: BoolArray = missing[:, np.clip(final, 0, last) + 1] == missing[:, np.clip(first, 0, last)]
    return inside


def _bridge(signal: FloatArray, known: BoolArray) -> FloatArray:
    """Fill unknown samples on a straight line between their known neighbours; the nearest value at the ends; 0 if none."""
    bridged = signal.copy()
    at = np.arange(signal.shape[1])
    for row, real in zip(bridged, known, strict=True):
        if not real.any():
            row[:] = 0.0
        elif not real.all():
            row[~real] = np.interp(at[~real], at[real], row[real])
    return bridged


def _flat_rows(signal: FloatArray, valid: BoolArray) -> BoolArray:
    low = np.where(valid, signal, np.inf).min(axis=1, initial=np.inf)
    high = np.where(valid, signal, -np.inf).max(axis=1, initial=-np.inf)
    flat: BoolArray = ~(high - low > FLAT_MV)
    return flat
