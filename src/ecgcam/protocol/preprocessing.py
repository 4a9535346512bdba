"""The preprocessing that a model file describes: from a recording in millivolts to the model's input, step by step. No torch.

The order of the steps differs between published models: some scale the window, others the whole recording before they cut the
window out of it; some pad before they scale, others after. `Preprocessing.steps` states the order. The same steps, taken
backwards, turn a gradient of the model's input into one per millivolt (`gradient_per_mv`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecgcam.records import Record, Window, take_window
from ecgcam.records.filters import apply_filters, filter_gradient
from ecgcam.records.record import FloatArray

if TYPE_CHECKING:
    from ecgcam.protocol.spec import InputSpec

Step = Literal["resample", "cut", "pad", "filter", "normalise"]
Place = Literal["begin", "centre"]
Resampling = Literal["polyphase", "fft", "decimate"]
STEPS: tuple[Step, ...] = ("resample", "cut", "pad", "filter", "normalise")
# The published codes that resample by FFT do so to recordings of ten seconds; of a longer one, to stretches of that length.
FFT_SECONDS = 10.0
# "The whole recording" of a model that scales it: of a recording of at least LONG seconds, the window and MARGIN seconds on
# either side of it, so that a part of a long recording is enough to prepare a window.
LONG, MARGIN = 120.0, 5.0


@dataclass(frozen=True)
class Preprocessing:
    """How a model's input is made of a recording.

    Attributes
    ----------
    steps : tuple of str
        The order of ``resample``, ``cut``, ``pad``, ``filter`` and ``normalise``. What comes before ``cut`` is done to the whole
        recording, what comes after it to the window. Padding is at 0 in model space where ``pad`` follows ``normalise``.
    place : str
        Where a recording shorter than the window lies in it: at the ``begin``, or in the ``centre``.
    resampling : str
        ``polyphase`` (anti-aliasing filter), ``fft`` (`scipy.signal.resample`, periodic: it differs at the ends of a recording),
        or ``decimate`` (the leads joined end to end, then `scipy.signal.decimate`).
    source_fs : float, optional
        The rate of the steps before ``resample``, where ``resample`` is not the first.
    """

    steps: tuple[Step, ...] = STEPS
    place: Place = "begin"
    resampling: Resampling = "polyphase"
    source_fs: float | None = None

    def before(self, one: Step, other: Step) -> bool:
        """Return whether one step comes before another."""
        return self.steps.index(one) < self.steps.index(other)

    @property
    def pads_scaled(self) -> bool:
        """Whether padding is added to the normalised signal."""
        return self.before("normalise", "pad")

    @property
    def margin(self) -> float:
        """How much of a long recording on either side of a window its preparation needs, s, without the resampling filter."""
        if self.of_recording:
            return MARGIN
        return FFT_SECONDS if self.resampling == "fft" else 0.0

    @property
    def of_recording(self) -> bool:
        """Whether the input cannot be made of the window at the model's rate: the recording itself is needed."""
        return self.before("normalise", "cut") or self.before("filter", "cut") or self.steps[0] != "resample"


def cut_window(record: Record, spec: InputSpec, start: float | None = None, seconds: float | None = None) -> Window:
    """Cut a model's window out of a record, with the leads that the model takes.

    Parameters
    ----------
    record : Record
        The recording, with only leads of the model.
    spec : InputSpec
        The model's input.
    start : float, optional
        Where the window begins, s. Without it, where the model's authors cut: at the beginning, or in the middle.
    seconds : float, optional
        Take no more than this much signal; the rest of the window is padding.
    """
    steps = spec.preprocessing
    if start is None:
        spare = record.samples * spec.fs // record.fs - spec.samples
        start = spare // 2 / spec.fs if steps.place == "centre" and spare > 0 and seconds is None else 0.0
    window = take_window(record, spec.fs, spec.samples, start, seconds, spec.padding)
    if steps.resampling == "fft" and steps.steps[0] == "resample":
        window = _by_fft(window, record, spec, start)
    if steps.place == "centre":
        window = _centred(window)
    if steps.of_recording:
        window = replace(window, scaled=_of_recording(window, record, spec))
    return window


def scale_window(window: Window, spec: InputSpec) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a window in model space (leads, T), and the offset and scale (leads, 1) that took it there.

    The constants come from the unmasked signal, so masking a lead does not change the others.
    """
    steps = spec.preprocessing
    if window.scaled is not None:
        x, offset, scale = window.scaled
        return x.copy(), offset.copy(), scale.copy()
    if steps.of_recording and window.record.signal.shape[1]:
        return _of_recording(window, window.record, spec)
    before, after = window.padding
    real = slice(before, window.signal.shape[1] - after)
    mv = spec.rows_of(window)
    if steps.pads_scaled:
        mv = mv[:, real]
    if spec.filters:
        mv = apply_filters(mv, spec.filters, spec.fs)
    baseline = spec.baseline(window) if spec.normalisation == "median" else np.zeros((len(mv), 1), np.float32)
    offset, scale = spec.constants_of(mv, baseline)
    x = (mv - offset) * scale
    if steps.pads_scaled:
        x = np.pad(x, ((0, 0), (before, after)))
    return x, offset, scale


def gradient_per_mv(gradient: FloatArray, scale: FloatArray, spec: InputSpec) -> FloatArray:
    """Return d score / d mV (leads, T) from d score / d model input: the steps backwards, constants held fixed."""
    per_mv = gradient
    for step in reversed(spec.preprocessing.steps):
        if step == "normalise":
            per_mv = per_mv * scale
        elif step == "filter" and spec.filters:
            per_mv = filter_gradient(per_mv, spec.filters, spec.fs)
    return per_mv


def _of_recording(window: Window, record: Record, spec: InputSpec) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Filter and normalise a recording, then cut the window: the model's input (leads, T), offset and scale (leads, 1)."""
    steps = spec.preprocessing
    fs = spec.fs if steps.steps[0] == "resample" else steps.source_fs or spec.fs
    start = window.start
    begin, end = 0.0, record.seconds
    if record.seconds >= LONG:
        begin, end = max(0.0, start - MARGIN), min(end, start + spec.seconds + MARGIN)
    whole = _stretch(record, begin, end, fs, steps.resampling == "fft" or steps.steps[0] != "resample")
    x = spec.rows_of(replace(window, signal=whole, valid=np.isfinite(whole)))
    first, count = round((start - begin) * fs), round(spec.seconds * fs)
    real = count - round(sum(window.padding) * fs / window.fs)
    window_of = slice(first, first + real)
    offset, scale = np.zeros((len(x), 1), np.float32), np.ones((len(x), 1), np.float32)
    for step in steps.steps:
        if step == "filter" and spec.filters:
            x = apply_filters(x, spec.filters, fs)
        elif step == "normalise":
            offset, scale = spec.constants_of(x, np.median(x, axis=1, keepdims=True))
            x = (x - offset) * scale
        elif step == "cut":
            x = x[:, window_of]
        elif step == "pad":
            before = (count - x.shape[1]) // 2 if steps.place == "centre" else 0
            x = np.pad(x, ((0, 0), (before, count - before - x.shape[1])))
        elif step == "resample" and fs != spec.fs:
            x = _decimated(x, round(fs / spec.fs))
            fs = spec.fs
    return x.astype(np.float32), offset, scale


def _decimated(x: FloatArray, factor: int) -> FloatArray:
    from scipy.signal import decimate

    joined = decimate(x.astype(np.float64).ravel(), factor)
    return np.asarray(joined, np.float32).reshape(len(x), -1)


def _stretch(record: Record, begin: float, end: float, fs: float, fft: bool) -> FloatArray:
    """Return a stretch of a record at a rate, gaps bridged (leads, N)."""
    rate = record.fs if fft else fs
    part = take_window(record, rate, round((end - begin) * rate), begin)
    known = part.signal[:, : part.signal.shape[1] - part.padding[1]]
    return known if rate == fs else _fft(known, rate, fs)


def _fft(signal: FloatArray, fs: float, new: float) -> FloatArray:
    from scipy.signal import resample

    return np.asarray(resample(signal.astype(np.float64), int(signal.shape[1] * new / fs), axis=1), np.float32)


def _by_fft(window: Window, record: Record, spec: InputSpec, start: float) -> Window:
    """Return a window whose samples come from a resampling by FFT of the ten seconds of the recording that it lies in."""
    if record.fs == spec.fs:
        return window
    tens = FFT_SECONDS * np.floor(start / FFT_SECONDS + 1e-9)
    begin = float(tens) if start + spec.seconds <= tens + FFT_SECONDS + 1e-9 else start
    end = min(record.seconds, max(begin + FFT_SECONDS, start + spec.seconds))
    resampled = _stretch(record, begin, end, spec.fs, fft=True)
    first = round((start - begin) * spec.fs)
    real = window.signal.shape[1] - sum(window.padding)
    part = resampled[:, first : first + real]
    signal = window.signal.copy()
    moving = window.valid.any(axis=1)
    signal[moving, : part.shape[1]] = part[moving]
    return replace(window, signal=signal)


def _centred(window: Window) -> Window:
    """Return a window whose padding is on both sides of the signal, the smaller half before it."""
    before = sum(window.padding) // 2
    if not before:
        return window
    return replace(
        window,
        signal=np.roll(window.signal, before, axis=1),
        valid=np.roll(window.valid, before, axis=1),
        padding=(before, sum(window.padding) - before),
    )
