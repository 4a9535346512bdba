"""WFDB records (header(5)) of one segment or several. Headers are parsed once; only the samples asked for are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import is_special
from ecgcam.records.channels import Channel, Length, ReadOptions, millivolts, names_for, record_from
from ecgcam.records.lead_names import leads_of
from ecgcam.records.record import Record, possible_rate
from ecgcam.records.wfdb_header import DEFAULT_GAIN, DEFAULT_RATE, Header, Signal, header_of, parse_header
from ecgcam.records.wfdb_samples import BITS, FLAC, LOWEST, bytes_for, decode, flac_samples, read_flac, samples_in
from ecgcam.records.windows import at_rate, beyond_resampling

# This many values are read whatever the size of the files; above, this many per byte (compressed formats, gaps between segments).
_ALWAYS_READ, _VALUES_PER_BYTE = 1 << 24, 4
# Segments within segments.
_DEEPEST = 4
Values = npt.NDArray[np.float64]


def is_wfdb(path: Path, beginning: bytes) -> bool:
    """Whether a file is a WFDB header by its first line, or one of the files of a recording with a header."""
    del beginning
    return header_of(path).is_file()


# How long


def wfdb_length(path: str | Path, options: ReadOptions | None = None) -> Length | None:
    """Return how long a WFDB recording of one segment is by its header and its data's size, without reading it.

    A recording that is still growing may have a header that is ahead of its data, or that states no length. None if it is no
    WFDB recording, damaged, or in a format that cannot be read in parts.
    """
    given = options or ReadOptions()
    header = header_of(Path(path))
    try:
        if not header.is_file():
            return None
        head = parse_header(header)
        if head.n_segments or not head.signals or len(head.signals) != head.n_signals:
            return None
        if any(signal.fmt not in BITS for signal in head.signals):
            return None
        samples = _frames_there(head)
    except (OSError, EcgcamError, ValueError):  # the caller who reads it gets the reason
        return None
    rate = head.rate if head.fs is not None or given.fs is None else given.fs / max(s.per_frame for s in head.signals)
    if not possible_rate(rate):
        return None
    stated = samples if head.frames is None else head.frames
    return Length(rate, min(stated, samples), stated <= samples)


def wfdb_partial_length(path: Path, options: ReadOptions) -> Length | None:
    """Return how long a recording is of which `read_wfdb_stretch` can read a part, of one segment or several."""
    return wfdb_length(path, options) or _segments_length(header_of(path))


def _segments_length(header: Path) -> Length | None:
    try:
        status = header.stat()
        return _length_of_segments(header, status.st_mtime_ns, status.st_size)
    except (OSError, EcgcamError):  # the caller who reads it gets the reason
        return None


@lru_cache(maxsize=8)
def _length_of_segments(header: Path, _changed: int, _size: int) -> Length | None:
    """Check all segments once, before any is read: there may be thousands, and each stretch needs them."""
    head = parse_header(header)
    if not head.n_segments or not head.frames or not possible_rate(head.rate):
        return None
    for one in _checked_segments(head):
        if one is not None and (one.n_segments or any(s.fmt not in BITS for s in one.signals if s.file != "~")):
            return None
    return Length(head.rate, head.frames, complete=True)


def _frames_there(head: Header) -> int:
    """Return how many frames the data files hold."""
    counts = []
    for name, rows in head.files().items():
        signal = head.signals[rows[0]]
        per_frame = sum(head.signals[row].per_frame for row in rows)
        data = head.path.parent / name
        if signal.fmt in FLAC:
            try:
                counts.append((flac_samples(data) - signal.offset) // signal.per_frame)
            except ValueError as error:
                raise EcgcamError(
                    f"{head.path}: its signals cannot be read ({error}); the data file may be damaged"
                ) from error
        else:
            counts.append(samples_in(signal.fmt, max(0, data.stat().st_size - signal.offset)) // per_frame)
    return max(0, min(counts))


# Checks


def _check(head: Header, need: int | None = None) -> None:
    """Refuse a header whose data files are missing or too short for `need` frames (the header's, unless given)."""
    frames = head.frames if need is None else need
    if not head.n_signals or not head.signals:
        raise EcgcamError(f"{head.path}: the header describes no signal; choose another file")
    if len(head.signals) != head.n_signals:
        raise EcgcamError(
            f"{head.path}: states {head.n_signals} signals and describes {len(head.signals)}; copy the header again"
        )
    held = 0
    for name, rows in head.files().items():
        data, signal = head.path.parent / name, head.signals[rows[0]]
        if is_special(data):
            raise EcgcamError(f"{data}: is a pipe or a device, which may never end; copy the recording to a file first")
        if not data.is_file():
            raise EcgcamError(f"{head.path}: its data file {name} is missing; put it next to the header")
        if signal.fmt not in LOWEST:
            raise EcgcamError(
                f"{head.path}: its signals cannot be read (format {signal.fmt} is not known); save it in another format"
            )
        size = data.stat().st_size
        held += size
        if size == 0 and frames is None:
            raise EcgcamError(f"{head.path}: the recording is empty, 0 samples; choose another file")
        if size == 0:
            raise EcgcamError(f"{data}: the recording is empty, 0 bytes; choose another file")
        if frames and signal.fmt not in FLAC:
            per_frame = sum(head.signals[row].per_frame for row in rows)
            required = signal.offset + bytes_for(signal.fmt, frames * per_frame)
            if size < required:
                raise EcgcamError(
                    f"{data}: truncated, {size} bytes where its header states {required}; copy the file again"
                )
    skew = max(signal.skew for signal in head.signals)
    _check_claim(head, (frames or 0) + skew, sum(signal.per_frame for signal in head.signals), held)


def _check_claim(head: Header, frames: int, per_frame: int, held: int) -> None:
    """Refuse a header that states far more samples than its files' bytes can hold; gaps and compression are allowed for."""
    promised = frames * per_frame
    if promised > max(_ALWAYS_READ, _VALUES_PER_BYTE * held):
        raise EcgcamError(
            f"{head.path}: states {promised} values, but its files hold only {held} bytes; copy them again"
        )


def _checked_segments(head: Header, depth: int = 0) -> list[Header | None]:
    """Return the headers of all segments, None for gaps. A segment may have segments itself.

    Raises
    ------
    EcgcamError
        If one is missing, too short, or of another rate.
    """
    if depth > _DEEPEST:
        raise EcgcamError(f"{head.path}: segments within segments, more than {_DEEPEST} deep; copy the header again")
    if head.n_segments != len(head.segments):
        raise EcgcamError(
            f"{head.path}: states {head.n_segments} segments and lists {len(head.segments)}; copy the header again"
        )
    parts = {head.path.parent / f"{name}.{suffix}" for name, _ in head.segments for suffix in ("dat", "mat")}
    held = sum(part.stat().st_size for part in parts if part.is_file())
    _check_claim(head, max(head.frames or 0, sum(frames for _, frames in head.segments)), max(1, head.n_signals), held)
    headers: list[Header | None] = []
    for number, (name, frames) in enumerate(head.segments):
        if name == "~":
            headers.append(None)
            continue
        path = head.path.parent / f"{name}.hea"
        if not path.is_file():
            raise EcgcamError(
                f"{head.path}: the header {name}.hea of its segment {number + 1} is missing; put it next to the record"
            )
        one = parse_header(path)
        if one.n_segments:
            _checked_segments(one, depth + 1)
        elif frames:
            if one.frames:
                _check_claim(one, one.frames, sum(s.per_frame for s in one.signals), held)
            _check(one, frames)
        if frames and one.fs is not None and head.fs and abs(one.fs - head.fs) > 1e-3 * head.fs:
            raise EcgcamError(
                f"{head.path}: its segment {name} has {one.fs:g} Hz, the record {head.fs:g} Hz; correct the header"
            )
        headers.append(one)
    if not any(one is not None and frames for one, (_, frames) in zip(headers, head.segments, strict=True)):
        raise EcgcamError(f"{head.path}: its signals cannot be read (every segment is a gap); choose another file")
    return headers


# Reading


def read_wfdb(path: Path, options: ReadOptions) -> Record:
    """Read a whole recording."""
    return _read(path, options, None)


def read_wfdb_stretch(path: Path, options: ReadOptions, begin: float, end: float) -> Record:
    """Read `begin` to `end` (s) of a recording; only their samples are read."""
    return _read(path, options, (begin, end))


def _read(path: Path, options: ReadOptions, stretch: tuple[float, float] | None) -> Record:
    header = header_of(path)
    head = parse_header(header)
    if stretch is None and head.n_segments:
        _checked_segments(head)
    elif stretch is None:
        _check(head)
    signals = _layout(head) if head.n_segments else list(head.signals)
    fastest = max((signal.per_frame for signal in signals), default=1)
    base = head.rate if head.fs is not None or options.fs is None else options.fs / fastest
    if head.n_segments:
        total = head.frames or sum(frames for _, frames in head.segments)
    else:
        there = _frames_there(head)
        total = there if head.frames is None else min(head.frames, there) if stretch is not None else head.frames
    if total < 1:
        raise EcgcamError(f"{header}: the recording is empty, 0 samples; choose another file")
    first, last = 0, total
    asked = (0, total)
    if stretch is not None:
        begin, end = stretch
        first, last = max(0, int(begin * base)), min(total, int(np.ceil(end * base)))
        first = min(first, total - 1)
        last = max(first + 1, last)
        asked = (first, last)
        rates = {signal.per_frame * base for signal in signals if leads_of([signal.name])[0]}
        wider = beyond_resampling(begin, end, rates) if rates else stretch
        if wider != stretch:
            first, last = max(0, int(wider[0] * base)), min(total, max(asked[1], int(np.ceil(wider[1] * base))))
    checksums: list[int] = []
    if head.n_segments:
        values = _joined(head, signals, first, last)
    else:
        values, checksums = _values(head, first, last, whole=stretch is None)
    channels = [
        # WFDB's unit is mV where the header states none.
        Channel(signal.name, signal.unit or options.unit or "mV", base * signal.per_frame, row)
        for signal, row in zip(signals, values, strict=True)
    ]
    record = record_from(path, header.stem, channels, options, state_units=False, part=stretch is not None)
    record = replace(record, notes=(*record.notes, *_notes(path, head, signals, checksums, options)))
    if stretch is None:
        return record
    times = round(record.fs / base) if possible_rate(base) else 1
    cut = record.signal[:, (asked[0] - first) * times : (asked[1] - first) * times]
    return replace(record, signal=cut, first=asked[0] * times, length=total * times)


def _notes(
    path: Path, head: Header, signals: Sequence[Signal], checksums: Sequence[int], options: ReadOptions
) -> list[str]:
    names = names_for(path, [signal.name for signal in signals], options.lead_names)
    leads = leads_of(names)
    notes = []
    if head.fs is None and options.fs is None:
        notes.append(f"no sampling rate in the header, WFDB's {DEFAULT_RATE:g} Hz assumed; `fs` states another")
    lines = list(zip(signals, names, leads, strict=True))
    if assumed := [name for signal, name, lead in lines if lead and not signal.gain_stated]:
        notes.append(f"no gain in the header, WFDB's {DEFAULT_GAIN:g} per mV assumed: {', '.join(assumed)}")
    wrong = [
        name
        for (signal, name, lead), found in zip(lines, checksums, strict=False)
        if lead and signal.checksum and signal.checksum % 65536 != found % 65536
    ]
    if wrong:
        notes.append(f"checksums of the header do not fit the samples: {', '.join(wrong)}; the file may be damaged")
    return notes


def _values(head: Header, first: int, last: int, *, whole: bool = False) -> tuple[list[Values], list[int]]:
    """Return frames `first` to `last` of all signals of one segment in their units, and of the `whole` also sums of samples."""
    rows: list[Values | None] = [None] * len(head.signals)
    sums = [0] * len(head.signals)
    skew = max(signal.skew for signal in head.signals)
    # The last block of a packed format may have room for more samples than there are.
    end = last + skew if head.frames is None else max(last, min(last + skew, head.frames))
    for name, members in head.files().items():
        one = head.signals[members[0]]
        counts = [head.signals[row].per_frame for row in members]
        data = head.path.parent / name
        try:
            if one.fmt in FLAC:
                frames = read_flac(data, one.fmt, one.offset, counts, first, end)
            else:
                # Differences can be summed from the beginning alone.
                begin = 0 if one.fmt not in BITS else first
                initial = [head.signals[row].initial for row in members]
                frames = decode(data, one.fmt, one.offset, counts, begin, end, initial)[first - begin :]
            if whole and len(frames) < last - first:
                raise ValueError(f"{len(frames)} frames where {last - first} are expected")
        except (ValueError, RuntimeError, MemoryError) as error:
            raise EcgcamError(
                f"{head.path}: its signals cannot be read ({str(error)[:120]}); the data file may be damaged"
            ) from error
        at = 0
        for row, count in zip(members, counts, strict=True):
            signal = head.signals[row]
            samples = frames[:, at : at + count].reshape(-1)
            at += count
            if whole:
                sums[row] = int(samples[: (last - first) * count].sum(dtype=np.int64))
            late = samples[signal.skew * count :][: (last - first) * count].astype(np.float64)
            late[late == LOWEST[one.fmt]] = np.nan
            missing = (last - first) * count - len(late)
            scaled = (late - signal.baseline) / signal.gain
            rows[row] = np.concatenate([scaled, np.full(missing, np.nan)]) if missing else scaled
    return [row for row in rows if row is not None], sums if whole else []


def _layout(head: Header) -> list[Signal]:
    """Return the signals of a record with segments: those of its layout segment (length 0), else of its first segment.

    Each has the most samples a frame that it has in any segment.
    """
    if head.n_segments != len(head.segments):
        raise EcgcamError(
            f"{head.path}: states {head.n_segments} segments and lists {len(head.segments)}; copy the header again"
        )
    first = next((name for name, _ in head.segments if name != "~"), None)
    if first is None:
        raise EcgcamError(f"{head.path}: its signals cannot be read (every segment is a gap); choose another file")
    layout = _signals_of(parse_header(head.path.parent / f"{first}.hea"))
    if not layout:
        raise EcgcamError(f"{head.path}: its segment {first} describes no signal; choose another file")
    most = {signal.name: signal.per_frame for signal in layout}
    gains: dict[str, bool] = {}
    for name in {name for name, frames in head.segments if name != "~" and frames}:
        for signal in _signals_of(parse_header(head.path.parent / f"{name}.hea")):
            if signal.name in most:
                most[signal.name] = max(most[signal.name], signal.per_frame)
                gains[signal.name] = gains.get(signal.name, True) and signal.gain_stated
    return [replace(signal, per_frame=most[signal.name], gain_stated=gains.get(signal.name, True)) for signal in layout]


def _signals_of(head: Header) -> list[Signal]:
    return _layout(head) if head.n_segments else list(head.signals)


def _joined(head: Header, signals: Sequence[Signal], first: int, last: int) -> list[Values]:
    """Return frames `first` to `last` of a record with segments, missing where a segment does not have a signal."""
    rows = [np.full((last - first) * signal.per_frame, np.nan) for signal in signals]
    begin = 0
    for name, frames in head.segments:
        end = begin + frames
        low, high = max(begin, first), min(end, last)
        if name != "~" and low < high:
            one = parse_header(head.path.parent / f"{name}.hea")
            own = _signals_of(one)
            if one.n_segments:
                values = _joined(one, own, low - begin, high - begin)
            else:
                values, _ = _values(one, low - begin, high - begin)
            for source, signal, row in _matched(own, signals, values, rows):
                scale = _unit_ratio(head.path, source, signal)
                piece = row[0] * scale
                wanted = (high - low) * signal.per_frame
                if source.per_frame != signal.per_frame:
                    piece = at_rate(piece, source.per_frame, signal.per_frame, wanted).astype(np.float64)
                at = (low - first) * signal.per_frame
                row[1][at : at + wanted] = piece[:wanted]
        begin = end
    return rows


def _matched(
    own: Sequence[Signal], signals: Sequence[Signal], values: Sequence[Values], rows: Sequence[Values]
) -> list[tuple[Signal, Signal, tuple[Values, Values]]]:
    """Return the signals of a segment with those of the layout that they belong to: by name, where names are unique.

    Signals without a name, or several of one name, belong together by their order.
    """
    found = []
    places: dict[str, list[int]] = {}
    for number, signal in enumerate(signals):
        places.setdefault(signal.name, []).append(number)
    for source, piece in zip(own, values, strict=True):
        if places.get(source.name):
            number = places[source.name].pop(0)
            found.append((source, signals[number], (piece, rows[number])))
    return found


def _unit_ratio(path: Path, source: Signal, signal: Signal) -> float:
    here, there = source.unit or "mV", signal.unit or "mV"
    if here == there:
        return 1.0
    one, other = millivolts(here), millivolts(there)
    if one is None or other is None:
        raise EcgcamError(
            f"{path}: {signal.name} changes its unit from {there[:20]!r} to {here[:20]!r} between segments; correct the headers"
        )
    return one / other
