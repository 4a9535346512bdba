"""ISHNE Holter files (Badilini, Ann Noninvasive Electrocardiol 1998): interleaved 16-bit samples, read in parts."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import Channel, Length, ReadOptions, record_from
from ecgcam.records.record import Record, possible_rate

_MAGIC = b"ISHNE1.0"
_FIXED = 522
# Lead codes; 0 is unknown, 1 a bipolar lead of any kind.
_LEADS = {
    2: "X", 3: "Y", 4: "Z", 5: "I", 6: "II", 7: "III", 8: "aVR", 9: "aVL", 10: "aVF", 11: "V1", 12: "V2", 13: "V3",
    14: "V4", 15: "V5", 16: "V6", 17: "ES", 18: "AS", 19: "AI",
}  # fmt: skip
_MISSING = -32768


class _Header(NamedTuple):
    """Where the samples begin, how many frames there are and the header states, rate, names, and steps in nV."""

    start: int
    frames: int
    promised: int
    fs: float
    names: list[str]
    steps: list[int]


def is_ishne(path: Path, beginning: bytes) -> bool:
    """Whether a file begins as ISHNE's."""
    del path
    return beginning[:8] == _MAGIC


def ishne_length(path: Path, options: ReadOptions) -> Length | None:
    """Return how long a recording is by its size; None if it cannot be read."""
    del options
    try:
        head = _header(path)
    except (OSError, EcgcamError):  # the caller who reads it gets the reason
        return None
    return Length(head.fs, head.frames, complete=True) if head.frames and possible_rate(head.fs) else None


def read_ishne(path: Path, options: ReadOptions) -> Record:
    """Read a whole recording."""
    head = _header(path)
    return _read(path, options, head, 0, head.frames)


def read_ishne_stretch(path: Path, options: ReadOptions, begin: float, end: float) -> Record:
    """Read `begin` to `end` (s)."""
    head = _header(path)
    first = min(max(0, int(begin * head.fs)), max(0, head.frames - 1))
    last = max(first + 1, min(head.frames, int(np.ceil(end * head.fs))))
    record = _read(path, options, head, first, last)
    return replace(record, first=first, length=head.frames)


def _read(path: Path, options: ReadOptions, head: _Header, first: int, last: int) -> Record:
    if head.frames < 1:
        raise EcgcamError(f"{path}: the recording is empty, 0 samples; choose another file")
    count = len(head.names)
    with path.open("rb") as file:
        file.seek(head.start + 2 * count * first)
        content = file.read(2 * count * (last - first))
    stored = np.frombuffer(content, "<i2", len(content) // (2 * count) * count).reshape(-1, count)
    values = np.where(stored == _MISSING, np.nan, stored.astype(np.float64))
    channels = [
        Channel(name, "uV", head.fs, values[:, row] * (step / 1000))
        for row, (name, step) in enumerate(zip(head.names, head.steps, strict=True))
    ]
    record = record_from(path, path.stem, channels, options, part=(first, last) != (0, head.frames))
    if head.promised not in {head.frames, 0, -9}:
        note = f"the header states {head.promised} samples per lead, the file holds {head.frames}"
        record = replace(record, notes=(*record.notes, note))
    return record


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        fixed = file.read(_FIXED)
    if len(fixed) < _FIXED:
        raise EcgcamError(f"{path}: not a readable ISHNE file (its header is cut off); copy the file again")
    (promised,) = struct.unpack_from("<i", fixed, 14)
    (start,) = struct.unpack_from("<i", fixed, 22)
    (count,) = struct.unpack_from("<h", fixed, 156)
    (rate,) = struct.unpack_from("<h", fixed, 272)
    size = path.stat().st_size
    if not 1 <= count <= 12 or not _FIXED <= start <= size:
        raise EcgcamError(f"{path}: not a readable ISHNE file ({count} leads from byte {start}); copy the file again")
    codes = struct.unpack_from(f"<{count}h", fixed, 158)
    steps = struct.unpack_from(f"<{count}h", fixed, 206)
    if any(step <= 0 for step in steps):
        raise EcgcamError(
            f"{path}: an ISHNE file whose leads have no resolution, so its voltages are unknown; export it again"
        )
    names = [_LEADS.get(code, f"channel {row + 1}") for row, code in enumerate(codes)]
    return _Header(start, (size - start) // (2 * count), promised, float(rate), names, list(steps))
