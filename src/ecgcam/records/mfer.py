"""MFER (ISO 22077-1): definitions as tag, length and value, and frames of sequences x channels x blocks of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import Channel, ReadOptions, record_from
from ecgcam.records.record import Record

_PADDING, _ORDER, _BLOCK, _CHANNELS, _SEQUENCES, _KIND = 0x00, 0x01, 0x04, 0x05, 0x06, 0x08
_LEAD, _TYPE, _INTERVAL, _STEP, _OFFSET, _COMPRESSION, _MISSING = 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x12
_WAVE, _OF_CHANNEL, _SET, _END = 0x1E, 0x3F, 0x67, 0x80
_KNOWN = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x11, 0x12, 0x15, 0x16,
    0x17, 0x1E, 0x3F, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x67, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
}  # fmt: skip
_LEADS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
_TYPES = {0: "i2", 1: "u2", 2: "i4", 3: "u1", 5: "i1", 6: "u4", 7: "f4", 8: "f8"}
# Kinds of waveforms that are recordings: 12-lead, long-term, stress and monitoring ECGs, or not stated.
_RECORDINGS = {0, 1, 2, 4, 20, 21}
_DEEPEST, _MOST_CHANNELS = 4, 256


class _DamagedError(Exception):
    """What is wrong inside the file."""


@dataclass
class _State:
    """Definitions in force: of all channels, and of single ones; the channels' samples so far."""

    big: bool = True
    channels: int = 1
    shared: dict[int, bytes] = field(default_factory=dict)
    single: dict[int, dict[int, bytes]] = field(default_factory=dict)
    rows: dict[int, list[Channel]] = field(default_factory=dict)
    left_out: int = 0

    def of(self, channel: int, tag: int) -> bytes:
        """Return the definition that holds for a channel, empty if none."""
        return self.single.get(channel, {}).get(tag) or self.shared.get(tag, b"")

    def whole(self, value: bytes, default: int, signed: bool = False) -> int:
        """Return a whole number of the file's byte order."""
        return int.from_bytes(value, "big" if self.big else "little", signed=signed) if value else default


def is_mfer(path: Path, beginning: bytes) -> bool:
    """Whether a file begins with MFER's preamble, or with known definitions, one of them of the samples' layout."""
    del path
    if beginning[:1] == b"\x40" and beginning[2:6] == b"MFR ":
        return True
    seen = []
    try:
        for tag, _, _ in _definitions(beginning, 0, len(beginning), strict=False):
            if tag not in _KNOWN:
                return False
            seen.append(tag)
    except _DamagedError:  # the beginning may end within a definition
        pass
    return (
        len(seen) >= 3
        and seen[0] != _PADDING
        and bool({_INTERVAL, _STEP} & {*seen})
        and bool({_CHANNELS, _WAVE} & {*seen})
    )


def read_mfer(path: Path, options: ReadOptions) -> Record:
    """Read all frames of ECGs, one after another; dominant beats and other waveforms are left out with a note.

    Raises
    ------
    EcgcamError
        If it is damaged, compressed, or holds no ECG.
    """
    content = path.read_bytes()
    state = _State()
    try:
        _read_definitions(content, 0, len(content), state, None, 0)
    except (_DamagedError, ValueError) as error:
        raise EcgcamError(f"{path}: not a readable MFER file ({str(error)[:120]}); copy the file again") from error
    if not state.rows:
        raise EcgcamError(f"{path}: is an MFER file without an ECG; choose another file")
    channels = []
    for pieces in state.rows.values():
        first = pieces[0]
        if any((piece.name, piece.fs) != (first.name, first.fs) for piece in pieces):
            raise EcgcamError(
                f"{path}: an MFER file whose channels change their lead or rate; export each part as a file"
            )
        channels.append(first._replace(samples=np.concatenate([piece.samples for piece in pieces])))
    record = record_from(path, path.stem if path.suffix.lower() == ".mwf" else path.name, channels, options)
    notes = [f"{state.left_out} waveforms left out (not a recording)"] if state.left_out else []
    return replace(record, notes=(*record.notes, *notes))


def _definitions(
    content: bytes, at: int, end: int, *, strict: bool = True
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield tag, channel (of definitions of one channel) and where the value lies; not `strict`, values may be cut off."""
    while at < end:
        tag = content[at]
        at += 1
        if tag == _PADDING:
            continue
        if tag == _END:
            return
        channel = 0
        if tag == _OF_CHANNEL:
            while True:
                if at >= end:
                    raise _DamagedError("it ends within a channel's number")
                byte = content[at]
                at += 1
                channel = channel << 7 | byte & 0x7F
                if byte < 0x80:
                    break
        if at >= end:
            raise _DamagedError("it ends within a length")
        size = content[at]
        at += 1
        if size == 0x80:
            raise _DamagedError("a definition of unknown length")
        if size > 0x80:
            count = size & 0x7F
            if count > 4 or at + count > end:
                raise _DamagedError("a length that cannot be")
            size, at = int.from_bytes(content[at : at + count], "big"), at + count
        if strict and at + size > end:
            raise _DamagedError(f"a definition of {size} bytes where {end - at} are left")
        yield tag, channel, (at, min(end, at + size))
        at += size


def _read_definitions(content: bytes, at: int, end: int, state: _State, channel: int | None, depth: int) -> None:
    if depth > _DEEPEST:
        raise _DamagedError("definitions nested too deep")
    for tag, number, (begin, stop) in _definitions(content, at, end):
        value = content[begin:stop]
        if tag == _OF_CHANNEL:
            _read_definitions(content, begin, stop, state, number, depth + 1)
        elif tag == _SET:
            _read_definitions(content, begin, stop, state, channel, depth + 1)
        elif tag == _ORDER:
            state.big = not any(value)
        elif tag == _CHANNELS and channel is None:
            state.channels, state.single = state.whole(value, 1), {}
            if not 1 <= state.channels <= _MOST_CHANNELS:
                raise _DamagedError(f"{state.channels} channels")
        elif tag == _COMPRESSION and any(value[:2]):
            raise _DamagedError("its samples are compressed, which is not read")
        elif tag == _WAVE:
            _read_frame(value, state)
        else:
            (state.shared if channel is None else state.single.setdefault(channel, {}))[tag] = value


def _read_frame(content: bytes, state: _State) -> None:
    """Add a frame's samples to the channels: for each sequence, a block of samples of each channel."""
    if state.whole(state.shared.get(_KIND, b"")[:2], 0) not in _RECORDINGS:
        state.left_out += 1
        return
    order, layout = ">" if state.big else "<", []
    for channel in range(state.channels):
        kind = _TYPES.get(state.whole(state.of(channel, _TYPE), 0))
        block = state.whole(state.of(channel, _BLOCK)[:4], 1)
        if kind is None or not 1 <= block <= 1 << 24:
            raise _DamagedError(f"channel {channel + 1} with blocks of {block} samples of an unknown type")
        layout.append((f"c{channel}", f"{order}{kind}", (block,)))
    if sum(shape[0] * np.dtype(kind).itemsize for _, kind, shape in layout) > len(content):
        raise _DamagedError("a frame without a whole sequence")
    sequence = np.dtype(layout)
    count = len(content) // sequence.itemsize
    stated = {state.whole(state.of(channel, _SEQUENCES), count) for channel in range(state.channels)}
    if max(stated) > count or len(stated) > 1:
        raise _DamagedError(f"{max(stated)} sequences where {count} are there")
    table = np.frombuffer(content, sequence, max(stated))
    for channel in range(state.channels):
        _add(state, channel, table[f"c{channel}"].reshape(-1))


def _add(state: _State, channel: int, stored: npt.NDArray[Any]) -> None:
    """Scale a channel's stored values: (value + offset) x step, missing where they are the stated null value."""
    lead = state.of(channel, _LEAD)
    if channel and not state.single.get(channel, {}).get(_LEAD):
        lead = b""  # a name of all channels is the first one's
    code = state.whole(lead[:2] if len(lead) > 1 else lead, 0)
    unit, step = _scaled(state, state.of(channel, _STEP), 1.0)
    base, interval = _scaled(state, state.of(channel, _INTERVAL), 1000.0)
    if base not in {0, 1} or not interval > 0:
        raise _DamagedError(f"channel {channel + 1} with samples that are not evenly spaced in time")
    values = stored.astype(np.float64)
    for tag in (_OFFSET, _MISSING):
        raw = state.of(channel, tag)
        if len(raw) >= stored.dtype.itemsize:
            number = np.frombuffer(raw[: stored.dtype.itemsize], stored.dtype)[0]
            if tag == _MISSING:
                values[stored == number] = np.nan
            else:
                values = values + float(number)
    rate = float(f"{interval if base == 0 else 1 / interval:.9g}")
    written = {True: "V", False: "not a voltage"}[unit == 0] if state.of(channel, _STEP) else None
    if written == "V":
        written, step = "uV", step * 1e6
    name = _LEADS.get(code, f"lead {code}" if code else f"channel {channel + 1}")
    state.rows.setdefault(channel, []).append(Channel(name, written, rate, values * step))


def _scaled(state: _State, value: bytes, default: float) -> tuple[int, float]:
    """Return the unit's code and the number of a definition of unit, exponent and mantissa."""
    if not value:
        return 0, default
    if len(value) < 3:
        raise _DamagedError("a unit without exponent and mantissa")
    exponent = int.from_bytes(value[1:2], "big", signed=True)
    return value[0], state.whole(value[2:10], 0, signed=True) * 10.0**exponent
