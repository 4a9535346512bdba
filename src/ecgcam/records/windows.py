"""From a record at its own rate to a window at the model's rate, with every sample marked real or not.

Order matters: missing samples are marked first, bridged so that the filter has something to work on, resampled, and marked
again, so that a gap neither spreads nor disappears.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.record import BoolArray, FloatArray, Record
from ecgcam.records.resampling import HALF_FILTER, filter_reach, resample

# A lead that moves less than this over the whole window has no signal: half the finest step of common recorders.
FLAT_MV = 0.0005
# A value that is held in all leads at an end of the recording for longer than this (s) was filled in.
HELD_S = 0.04
# How much of either end is searched for held values, s.
MOST_HELD_S = 10.0


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
        Seconds from the start of the record to the first sample that is not padding.
    fs : float
        Samples per second.
    warnings : tuple of str
        Flat leads, gaps, padding.
    padding : tuple of two int
        How many samples were added before and after the signal.
    scaled : tuple of three arrays, optional
        The model's input (leads, T), its offset and its scale (leads, 1), where a model prepares the whole recording before it
        cuts the window (see `ecgcam.protocol.preprocessing`).
    own : (float64 (N,), float32 (L, N)), optional
        The recording over the window at its own rate, for pictures: seconds from its start, and millivolts. None where that is
        the model's rate.
    held : bool, (T,), optional
        Samples of the recording's held ends. The model sees them; they are not ECG, so they are not valid.
    """

    record: Record
    signal: FloatArray
    valid: BoolArray
    start: float
    fs: float
    warnings: tuple[str, ...] = ()
    padding: tuple[int, int] = (0, 0)
    scaled: tuple[FloatArray, FloatArray, FloatArray] | None = None
    held: BoolArray | None = None
    own: tuple[npt.NDArray[np.float64], FloatArray] | None = None

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the rows."""
        return self.record.leads

    @property
    def time(self) -> np.ndarray:
        """Seconds from the start of the record, (T,); negative in padding before it."""
        return self.start + (np.arange(self.signal.shape[1]) - self.padding[0]) / self.fs


def without_recording(window: Window) -> Window:
    """Return a window without the samples of the whole recording; those of its own stretch stay, for pictures."""
    record = window.record
    if record.fs != window.fs:
        held = record.first + record.signal.shape[1]
        seconds = (window.signal.shape[1] - sum(window.padding)) / window.fs
        begin = max(record.first, math.ceil(window.start * record.fs - 1e-6))
        end = max(begin, min(held, math.ceil((window.start + seconds) * record.fs - 1e-6)))
        signal = record.signal[:, begin - record.first : end - record.first].copy()
        window = replace(window, own=(np.arange(begin, end) / record.fs, signal))
    return replace(window, record=record.without_signal())


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
            f"{record.name}: `start` {start:g} lies outside the recording, which lasts {record.seconds:g} s; choose "
            "an earlier one"
        )
    if seconds is not None and not (np.isfinite(seconds) and seconds > 0):
        raise EcgcamError(f"`seconds` {seconds:g}: must be a positive number of seconds")
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
            "choose another stretch with `start`"
        )
    if flat.any():
        warnings.append(f"flat or missing leads: {', '.join(np.array(record.leads)[flat])}")
    held = _touching_held_ends(record, ratio, first, real)
    if held.any():
        warnings.append(f"{held.sum() / fs:.3g} s at an end hold one value in all leads and are not valid")
    gaps = ~valid[:, ~held].all(axis=1) & ~flat
    if gaps.any():
        warnings.append(f"missing samples bridged in: {', '.join(np.array(record.leads)[gaps])}")
    if real < samples:
        warnings.append(f"{real / fs:g} s of signal, padded to {samples / fs:g} s")
        level = [np.median(row[known]) if known.any() else 0.0 for row, known in zip(signal, valid, strict=True)]
        signal = np.pad(signal, ((0, 0), (0, samples - real)))
        signal[:, real:] = np.array(level, np.float32)[:, None] if padding == "baseline" else 0.0
        valid = np.pad(valid, ((0, 0), (0, samples - real)))
        held = np.pad(held, (0, samples - real))
    return Window(record, signal, valid, first / fs, fs, tuple(warnings), (0, max(0, samples - real)), held=held)


def window_starts(record: Record, seconds: float, hop: float | None = None, start: float = 0.0) -> list[float]:
    """Return where windows of `seconds` begin when they slide over `record` by `hop` s (default: end to end).

    The last window ends with the record; it overlaps its neighbour rather than being padded.
    """
    step = seconds if hop is None else hop
    if not (np.isfinite(step) and step > 0):
        raise EcgcamError(f"`hop` {step:g}: must be a positive number of seconds")
    last = record.seconds - seconds
    if last <= start:
        return [start]
    if step < 1 / record.fs:
        raise EcgcamError(f"`hop` {step:g}: shorter than a sample of the recording; give a longer step")
    count = int(np.floor((last - start) / step + 1e-9)) + 1
    starts = [start + i * step for i in range(count)]
    if last - starts[-1] > 0.5 / record.fs:
        starts.append(last)
    return starts


def at_rate(samples: npt.NDArray[np.floating], fs: float, new: float, wanted: int) -> FloatArray:
    """Return a channel (N,) of `fs` Hz at `new` Hz, (`wanted`,); missing where no known sample stands for it.

    Each value depends on three filter reaches on either side at most, so that a part of the channel that begins on a common
    sample of both rates gives the values of the whole (see `beyond_resampling`).
    """
    if not len(samples) or wanted < 1:
        return np.full(max(wanted, 0), np.nan, np.float32)
    ratio = _ratio(new, fs)
    reach = filter_reach(ratio.numerator, ratio.denominator)
    row = samples[None].astype(np.float32)
    known = np.isfinite(row)
    available = min(wanted, -(-row.shape[1] * ratio.numerator // ratio.denominator))
    bridged = _bridge(row, known, longest=2 * reach)
    signal = resample(bridged, ratio.numerator, ratio.denominator, 0, available)
    signal[~_still_real(known, np.arange(available), ratio.numerator, ratio.denominator)] = np.nan
    result = np.full(wanted, np.nan, np.float32)
    result[:available] = signal[0]
    return result


def margin(fs: float, record_fs: float) -> float:
    """Return how many seconds beyond a window a part of a recording must reach, so that the window is that of the whole.

    `fs` is the window's rate, `record_fs` the recording's; both may be any rates.
    """
    return (2 * HALF_FILTER + 4) / min(fs, record_fs) + 4 / record_fs


def part_for_windows(first: float, last: float, fs: float, record_fs: float, seconds: float) -> tuple[float, float]:
    """Return which part of a recording (begin and end, s) to read for windows at `fs` Hz between `first` and `last` (s).

    A recording's ends are read as far as held values are searched for, so that windows of the part are those of the whole.
    `seconds` is the length of the recording.
    """
    begin, end = first - margin(fs, record_fs), last + margin(fs, record_fs)
    return (
        0.0 if begin < MOST_HELD_S else begin,
        seconds if end > seconds - MOST_HELD_S else end,
    )


def beyond_resampling(begin: float, end: float, rates: Collection[float]) -> tuple[float, float]:
    """Return the part to read so that leads of several `rates`, brought to the fastest, are right from `begin` to `end` (s)."""
    if len(rates) < 2:
        return begin, end
    # A gap is bridged by what lies within two filter reaches, and the filter reaches one further.
    beyond = 3 * (HALF_FILTER + 4) / min(rates)
    return begin - beyond, end + beyond


def _ratio(fs: float, record_fs: float) -> Fraction:
    """Return new rate / old rate, exact for rates up to 500 Hz with two decimals: windows late in a day have the right start."""
    ratio = Fraction(fs).limit_denominator(10_000) / Fraction(record_fs).limit_denominator(10_000)
    return ratio.limit_denominator(50_000)


def _resample_slice(record: Record, ratio: Fraction, first: int, wanted: int) -> tuple[FloatArray, BoolArray]:
    """Samples `first` to `first + wanted` at the new rate (fewer at the record's end), and which of them are real.

    The samples used depend on the window alone, not on how much of the recording was read.
    """
    up, down = ratio.numerator, ratio.denominator
    total = record.samples
    if up == down:
        part = _samples_between(record, first, min(total, first + wanted))
        known = np.isfinite(part) & ~_held(record, first, part.shape[1])
        return _bridge(part, np.isfinite(part)), known  # a held end is what the authors' code gives their network
    reach = filter_reach(up, down)
    begin = max(0, first * down // up - reach)
    end = min(total, -(-(first + wanted) * down // up) + reach)
    part = _samples_between(record, begin, end)
    known = np.isfinite(part) & ~_held(record, begin, part.shape[1])
    stop = first + max(0, min(wanted, -(-total * up // down) - first))
    resampled = resample(_bridge(part, np.isfinite(part)), up, down, first, stop, origin=begin)
    return resampled, _still_real(known, np.arange(first, stop), up, down, origin=begin)


def _samples_between(record: Record, begin: int, end: int) -> FloatArray:
    """Return samples `begin` to `end` of the recording, of which `record` may hold a part."""
    if begin < record.first or end > record.first + record.signal.shape[1]:
        raise EcgcamError(
            f"{record.name}: a window needs samples {begin} to {end}, and {record.first} to "
            f"{record.first + record.signal.shape[1]} were read; read {margin(1.0, record.fs):.3g} s more on either side"
        )
    return record.signal[:, begin - record.first : end - record.first]


def _touching_held_ends(record: Record, ratio: Fraction, first: int, count: int) -> BoolArray:
    """Which of `count` new samples from `first` on touch a held end of the recording, (count,): those that are missing for it."""
    up, down = ratio.numerator, ratio.denominator
    begin = max(0, (first - 1) * down // up - 1)
    end = min(record.samples, -(-(first + count + 1) * down // up) + 1)
    known = ~_held(record, begin, end - begin)[None]
    touches: BoolArray = ~_still_real(known, np.arange(first, first + count), up, down, origin=begin)[0]
    return touches


def _held(record: Record, begin: int, count: int) -> BoolArray:
    """Which of `count` samples from `begin` on lie in a held end of the recording, (count,)."""
    at_start, at_end = held_ends(record)
    at = begin + np.arange(count)
    held: BoolArray = (at < at_start) | (at >= record.samples - at_end)
    return held


def held_ends(record: Record) -> tuple[int, int]:
    """Return how many samples at the start and at the end hold one value in all leads, each run longer than `HELD_S`.

    Export programs fill a recording up with one value; neither that nor the step into it is an ECG. At most `MOST_HELD_S`
    at either end is examined. A recording that is constant throughout has no held ends, nor has one of a single lead,
    which may have been off.
    """
    if len(record.leads) - len(record.derived) < 2:
        return 0, 0
    to_end = record.first + record.signal.shape[1] >= record.samples
    return (
        _held_run(record.signal, record.fs) if record.first == 0 else 0,
        _held_run(record.signal[:, ::-1], record.fs) if to_end else 0,
    )


def _held_run(signal: FloatArray, fs: float) -> int:
    """Return for how many samples a signal begins with one value in all leads, 0 where that is `HELD_S` or less."""
    shortest, most = int(HELD_S * fs) + 1, min(signal.shape[1], int(MOST_HELD_S * fs))
    run = 0
    for examined in (min(shortest, most), most):
        part = signal[:, :examined]
        same = ((part == part[:, :1]) | (np.isnan(part) & np.isnan(part[:, :1]))).all(axis=0)
        run = examined if same.all() else int(np.argmin(same))
        if run < shortest or np.isnan(part[:, 0]).all():
            return 0
    return 0 if run == signal.shape[1] else run


def _still_real(known: BoolArray, at: npt.NDArray[np.int64], up: int, down: int, *, origin: int = 0) -> BoolArray:
    """Whether new samples `at` stand for known old ones alone: their neighbours, and all that are nearest to them.

    So no missing sample disappears between two new ones, and no gap grows by more than a sample. In whole numbers, since
    rounding decides which side of a gap a sample is on. `known` begins with the old sample `origin`.
    """
    last = known.shape[1] - 1
    first = np.minimum(at * down // up, (2 * at - 1) * down // (2 * up) + 1) - origin
    final = np.maximum(-(-at * down // up), (2 * at + 1) * down // (2 * up)) - origin
    missing = np.cumsum(np.pad(~known, ((0, 0), (1, 0))), axis=1)
    inside: BoolArray = missing[:, np.clip(final, 0, last) + 1] == missing[:, np.clip(first, 0, last)]
    return inside


def _bridge(signal: FloatArray, known: BoolArray, longest: int | None = None) -> FloatArray:
    """Fill unknown samples on a straight line between their known neighbours; the nearest value at the ends; 0 if none.

    Gaps of more than `longest` samples hold the nearer known value instead, which does not depend on the other end.
    """
    bridged = signal.copy()
    at = np.arange(signal.shape[1])
    for row, real in zip(bridged, known, strict=True):
        if not real.any():
            row[:] = 0.0
        elif not real.all():
            row[~real] = np.interp(at[~real], at[real], row[real])
            if longest is not None:
                left = np.maximum.accumulate(np.where(real, at, -1))
                right = np.minimum.accumulate(np.where(real, at, len(at))[::-1])[::-1]
                wide = ~real & (right - left - 1 > longest) & (left >= 0) & (right < len(at))
                row[wide] = row[np.where(at - left <= right - at, left, right)[wide]]
    return bridged


def _flat_rows(signal: FloatArray, valid: BoolArray) -> BoolArray:
    low = np.where(valid, signal, np.inf).min(axis=1, initial=np.inf)
    high = np.where(valid, signal, -np.inf).max(axis=1, initial=-np.inf)
    flat: BoolArray = ~(high - low > FLAT_MV)
    return flat
