"""EDF, EDF+ and BDF: ECG channels by label, of any rates, with gaps (EDF+D). Sources: edfplus.info, biosemi.com."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.channels import Channel, Length, ReadOptions, names_for, plain_text, record_from
from ecgcam.records.lead_names import leads_of
from ecgcam.records.record import Record, possible_rate
from ecgcam.records.windows import beyond_resampling

_MOST_SIGNALS = 4096
# Fields of a signal's header, in this order, each for all signals: name and width in bytes.
_FIELDS = (
    ("label", 16), ("transducer", 80), ("unit", 8), ("physical_min", 8), ("physical_max", 8), ("digital_min", 8),
    ("digital_max", 8), ("filters", 80), ("samples", 8), ("reserved", 32),
)  # fmt: skip
_ANNOTATIONS = {"edf annotations", "bdf annotations"}
# When a data record begins (s after the start of the file): the first annotation of its first annotations signal.
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15[\d.]{1,20})?\x14\x14")


class Signal(NamedTuple):
    """A signal's header: values in `unit` are `gain` x stored + `offset`."""

    label: str
    unit: str
    gain: float
    offset: float
    samples: int
    before: int


class Header(NamedTuple):
    """A file's header.

    `width` is the bytes of a sample, `start` where the data begin, `per_record` the samples of all signals in a data record.
    `times` is where in a data record its onset is written, in samples, and how many samples it has; None of a continuous file.
    """

    signals: list[Signal]
    records: int
    seconds: float
    width: int
    start: int
    per_record: int
    times: tuple[int, int] | None
    notes: list[str]


def is_edf(path: Path, beginning: bytes) -> bool:
    """Whether a file begins as EDF (version "0") or BDF (byte 255, "BIOSEMI")."""
    del path
    numbers = beginning[184:192] + beginning[252:256]
    return (
        beginning[:8] in {b"0       ", b"\xffBIOSEMI"}
        and len(beginning) >= 256
        and all(byte in b" 0123456789" for byte in numbers)
    )


def edf_length(path: Path, options: ReadOptions) -> Length | None:
    """Return how long an EDF or BDF recording is by its header and size; None if it cannot be read, or has gaps."""
    try:
        head = _header(path)
        leads = leads_of(names_for(path, [one.label for one in head.signals], options.lead_names))
        per = max((one.samples for one, lead in zip(head.signals, leads, strict=True) if lead), default=0)
    except (OSError, EcgcamError):  # the caller who reads it gets the reason
        return None
    if head.times is not None:
        return None
    return Length(per / head.seconds, per * head.records, True) if per and possible_rate(per / head.seconds) else None


def read_edf(path: Path, options: ReadOptions) -> Record:
    """Read a whole recording. Only the samples of leads are converted."""
    return _read(path, options, None)


def read_edf_stretch(path: Path, options: ReadOptions, begin: float, end: float) -> Record:
    """Read the data records that hold `begin` to `end` (s)."""
    return _read(path, options, (begin, end))


def _read(path: Path, options: ReadOptions, stretch: tuple[float, float] | None) -> Record:
    head = _header(path)
    labels = [one.label for one in head.signals]
    taken = [lead is not None for lead in leads_of(names_for(path, labels, options.lead_names))]
    for one, used in zip(head.signals, taken, strict=True):
        if used and np.isnan(one.gain):
            raise EcgcamError(
                f"{path}: not a readable EDF or BDF file (signal {plain_text(one.label)} without a range of values); "
                "copy the file again"
            )
    first, last = 0, head.records
    if stretch is not None:
        rates = {one.samples / head.seconds for one, used in zip(head.signals, taken, strict=True) if used}
        stretch = beyond_resampling(*stretch, rates)
        first = min(max(0, int(stretch[0] / head.seconds)), head.records - 1)
        last = min(head.records, max(first + 1, int(np.ceil(stretch[1] / head.seconds))))
    with path.open("rb") as file:
        file.seek(head.start + first * head.per_record * head.width)
        content = file.read((last - first) * head.per_record * head.width)
    if len(content) < (last - first) * head.per_record * head.width:
        raise EcgcamError(f"{path}: its end is missing; copy the file again")
    raw = np.frombuffer(content, np.uint8).reshape(last - first, head.per_record * head.width)
    onsets = _onsets(path, raw, head)
    channels = [
        # A channel that is not a lead needs a value only to be counted.
        Channel(
            one.label or "unnamed",
            one.unit or None,
            one.samples / head.seconds,
            _laid_out(_values(raw, one, head.width), onsets, one.samples / head.seconds) if used else np.zeros(1),
        )
        for one, used in zip(head.signals, taken, strict=True)
    ]
    record = record_from(path, path.stem, channels, options)
    record = replace(record, notes=(*record.notes, *head.notes, *_gaps(onsets, head)))
    if stretch is None:
        return record
    per = record.fs * head.seconds
    return replace(record, first=round(first * per), length=round(head.records * per))


def _values(raw: npt.NDArray[np.uint8], signal: Signal, width: int) -> npt.NDArray[np.float64]:
    """Return a signal's values in its unit: two's complement, little-endian, of 16 or 24 bits."""
    part = np.ascontiguousarray(raw[:, signal.before * width : (signal.before + signal.samples) * width])
    if width == 2:
        stored = part.view("<i2").ravel().astype(np.float64)
    else:
        wide = np.zeros((part.size // 3, 4), np.uint8)
        wide[:, 1:] = part.reshape(-1, 3)
        stored = (wide.view("<i4").ravel() >> 8).astype(np.float64)
    values: npt.NDArray[np.float64] = stored * signal.gain + signal.offset
    return values


def _onsets(path: Path, raw: npt.NDArray[np.uint8], head: Header) -> npt.NDArray[np.float64] | None:
    """Return when each data record of a discontinuous file begins, s after the first; None of a continuous file."""
    if head.times is None:
        return None
    begin, size = (number * head.width for number in head.times)
    found = [_ONSET.match(row[begin : begin + size].tobytes()) for row in raw]
    onsets = np.array([np.nan if one is None else float(one[1]) for one in found])
    onsets -= onsets[0]
    shortest = min(head.seconds / one.samples for one in head.signals)
    if not (np.diff(onsets) >= head.seconds - shortest / 2).all():  # also where one is NaN
        raise EcgcamError(
            f"{path}: discontinuous EDF+ (EDF+D) whose data records state no time, or overlap; export it as EDF+C"
        )
    if not onsets[-1] <= max(86_400, 16 * head.records * head.seconds):
        raise EcgcamError(
            f"{path}: its data records lie far apart for their length, so they are not one recording; "
            "export each part as a file"
        )
    most = max(one.samples for one in head.signals)
    if not onsets[-1] * most / head.seconds <= max(1 << 24, 16 * raw.size):
        raise EcgcamError(
            f"{path}: its data records lie far apart for their length, so they are not one recording; "
            "export each part as a file"
        )
    return onsets


def _laid_out(
    values: npt.NDArray[np.float64], onsets: npt.NDArray[np.float64] | None, fs: float
) -> npt.NDArray[np.float64]:
    """Return a signal's values with its data records at their onsets (s), NaN in the gaps between them."""
    if onsets is None:
        return values
    rows = values.reshape(len(onsets), -1)
    first = np.round(onsets * fs).astype(np.int64)
    # Onsets between two samples are rounded; records that follow each other never overlap by it.
    own = np.arange(len(onsets)) * rows.shape[1]
    first = np.maximum.accumulate(first - own) + own
    laid = np.full(first[-1] + rows.shape[1], np.nan)
    laid[(first[:, None] + np.arange(rows.shape[1])).ravel()] = values
    return laid


def _gaps(onsets: npt.NDArray[np.float64] | None, head: Header) -> list[str]:
    """Return a note of the gaps of a discontinuous file."""
    if onsets is None:
        return []
    gaps = np.diff(onsets) - head.seconds
    gaps = gaps[gaps > min(head.seconds / one.samples for one in head.signals) / 2]
    return [f"discontinuous EDF+: {len(gaps)} gaps, {gaps.sum():g} s in all, are missing"] if len(gaps) else []


def _header(path: Path) -> Header:
    """Return a file's header, checked against the file's size."""
    size = path.stat().st_size
    if size == 0:
        raise EcgcamError(f"{path}: is an empty file; copy the file again")
    with path.open("rb") as file:
        fixed = file.read(256)
        try:
            records, count, seconds = int(fixed[236:244]), int(fixed[252:256]), float(fixed[244:252])
        except ValueError as error:  # the message would quote the field, which may be the patient's name
            raise EcgcamError(
                f"{path}: not a readable EDF or BDF file (damaged header); copy the file again"
            ) from error
        if not 0 < count <= _MOST_SIGNALS:
            raise EcgcamError(f"{path}: its header states {count} signals; choose another file")
        content = file.read(256 * count)
    if not (np.isfinite(seconds) and seconds > 0):
        raise EcgcamError(
            f"{path}: not a readable EDF or BDF file (data records of {seconds:g} s); copy the file again"
        )
    if len(content) < 256 * count:
        raise EcgcamError(f"{path}: not a readable EDF or BDF file (its header is cut off); copy the file again")
    signals, per_record, times = _signals(path, content, count)
    if fixed[192:197] not in {b"EDF+D", b"BDF+D"}:
        times = None
    elif times is None:
        raise EcgcamError(
            f"{path}: is discontinuous EDF+ (EDF+D) without the times of its data records; export it as EDF+C"
        )
    if not signals:
        raise EcgcamError(f"{path}: holds no signal; choose another file")
    width = 3 if fixed[:1] == b"\xff" else 2
    held = (size - 256 * (count + 1)) // (per_record * width)
    rest = size - 256 * (count + 1) - records * per_record * width
    notes = []
    if records < 0:
        notes.append(f"the header does not state how much was recorded: the file has {held} data records")
        records = held
    elif rest < 0:
        raise EcgcamError(f"{path}: {size} bytes where its header states {size - rest}; copy the file again")
    elif rest:
        notes.append(f"{rest} bytes after the last data record are ignored")
    if records < 1:
        raise EcgcamError(f"{path}: holds no data record; choose another file")
    return Header(signals, records, seconds, width, 256 * (count + 1), per_record, times, notes)


def _signals(path: Path, content: bytes, count: int) -> tuple[list[Signal], int, tuple[int, int] | None]:
    """Return the signals but EDF+'s annotations, the samples of a data record, and where in it the first annotations are."""
    columns: dict[str, list[str]] = {}
    at = 0
    for name, width in _FIELDS:
        parts = [content[at + i * width : at + (i + 1) * width] for i in range(count)]
        columns[name] = [_text(part) for part in parts]
        at += count * width
    signals: list[Signal] = []
    before, times = 0, None
    for row in range(count):
        label = columns["label"][row]
        try:
            samples = int(columns["samples"][row])
            if samples < 1 or samples > 1 << 24:
                raise ValueError(f"{samples} samples in a data record")
            if label.lower() in _ANNOTATIONS:
                times = (before, samples) if times is None else times
                before += samples
                continue
            gain, offset = _scale(
                *(columns[name][row] for name in ("physical_min", "physical_max")),
                *(columns[name][row] for name in ("digital_min", "digital_max")),
            )
        except ValueError as error:
            raise EcgcamError(
                f"{path}: not a readable EDF or BDF file (signal {row + 1}: {one_line(error)}); copy the file again"
            ) from error
        signals.append(Signal(label, columns["unit"][row], gain, offset, samples, before))
        before += samples
    return signals, before, times


def _scale(low: str, high: str, least: str, most: str) -> tuple[float, float]:
    """Return gain and offset from the physical and digital range; NaN without one, which matters only for leads."""
    try:
        gain = (float(high) - float(low)) / (float(most) - float(least))
        offset = float(low) - gain * float(least)
    except (ValueError, ZeroDivisionError):
        return np.nan, np.nan
    return (gain, offset) if np.isfinite(gain) and gain and np.isfinite(offset) else (np.nan, np.nan)


def _text(field: bytes) -> str:
    """Return a header's text. The format allows ASCII alone; recorders write µ in Latin-1 or UTF-8."""
    try:
        return field.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return field.decode("latin-1").strip(" \0")
