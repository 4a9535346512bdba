"""WFDB headers, header(5): parsed by rules of our own, once for each file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ecgcam.errors import EcgcamError
from ecgcam.records.wfdb_samples import LOWEST

# WFDB's rules for what a header leaves out: steps per mV, and Hz.
DEFAULT_GAIN, DEFAULT_RATE = 200.0, 250.0
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(rf"({_NUMBER})(?:\(([-+]?\d+)\))?(?:/(\S*))?")
_LINE_ENDS = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e]")


@dataclass(frozen=True)
class Signal:
    """A signal line: millivolts are (sample - `baseline`) / `gain`, in `unit` (None where not stated)."""

    file: str
    fmt: str
    per_frame: int
    skew: int
    offset: int
    gain: float
    gain_stated: bool
    baseline: int
    unit: str | None
    initial: int
    checksum: int
    name: str


@dataclass(frozen=True)
class Header:
    """A header: its rate in frames per second and its frames (None where not stated), with signals or with segments."""

    path: Path
    fs: float | None
    frames: int | None
    n_signals: int
    signals: tuple[Signal, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()
    n_segments: int = 0

    @property
    def rate(self) -> float:
        """Frames per second, by WFDB's rule 250 where the header states none."""
        return DEFAULT_RATE if self.fs is None else self.fs

    def files(self) -> dict[str, list[int]]:
        """Return the rows of the signals in each data file."""
        rows: dict[str, list[int]] = {}
        for row, signal in enumerate(self.signals):
            rows.setdefault(signal.file, []).append(row)
        return rows


def header_of(path: Path) -> Path:
    """Return the header's path of a recording named by its header, its data file or its stem."""
    known = path.suffix.lower() in {".dat", ".hea", ".mat"}
    return path.with_suffix(".hea") if known else path.with_name(path.name + ".hea")


def parse_header(path: Path) -> Header:
    """Return the content of a header; it is parsed again only where the file has changed.

    Raises
    ------
    EcgcamError
        If it is empty or no WFDB header.
    """
    status = path.stat()
    if status.st_size == 0:
        raise EcgcamError(f"{path}: is an empty file; copy the header again")
    return _parsed(path, status.st_mtime_ns, status.st_size)


def segments_of(path: Path) -> list[str]:
    """Return the names of a record's segments, none if it has one alone; only such a header is read whole.

    Raises
    ------
    EcgcamError
        If it is not a WFDB header.
    """
    with path.open("rb") as file:
        lines = (line.split() for line in file.read(4096).splitlines() if not line.lstrip().startswith(b"#"))
        first = next((fields[0] for fields in lines if fields), b"")
    return [name for name, _ in parse_header(path).segments if name != "~"] if b"/" in first else []


@lru_cache(maxsize=4096)
def _parsed(path: Path, _changed: int, _size: int) -> Header:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in _LINE_ENDS.split(text)]
    lines = [line for line in lines if line and not line.startswith("#")]
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or not re.fullmatch(r"\d+", fields[1], re.ASCII):
        raise EcgcamError(
            f"{path}: not a readable WFDB header (its first line states no record name or number of "
            "signals); copy the header again"
        )
    rate = re.match(_NUMBER, fields[2]) if len(fields) > 2 else None
    stated = re.fullmatch(r"\d+", fields[3], re.ASCII) if len(fields) > 3 else None
    head = Header(path, float(rate[0]) if rate else None, int(stated[0]) or None if stated else None, int(fields[1]))
    several = re.fullmatch(r".*/(\d+)", fields[0], re.ASCII)
    if several and not (len(lines) - 1 != int(several[1]) and all(_is_signal(line) for line in lines[1:])):
        return replace(head, segments=_segments(path, lines[1:]), n_segments=int(several[1]))
    return replace(head, signals=tuple(_signal(path, line) for line in lines[1 : 1 + head.n_signals]))


def _is_signal(line: str) -> bool:
    """Whether a line describes a signal, rather than a segment: a record's name may end in a slash and a number."""
    fields = line.split()
    form = _FORMAT.fullmatch(fields[1]) if len(fields) > 1 else None
    return form is not None and form[1] in LOWEST


def _segments(path: Path, lines: Sequence[str]) -> tuple[tuple[str, int], ...]:
    segments = []
    for line in lines:
        found = re.fullmatch(r"(\S+)\s+(\d+)(?:\s.*)?", line, re.ASCII)
        if not found:
            raise EcgcamError(
                f"{path}: not a readable WFDB header (a segment without a name and a length); copy the header again"
            )
        _check_name(path, found[1])
        segments.append((found[1], int(found[2])))
    return tuple(segments)


def _check_name(path: Path, name: str) -> None:
    """Refuse files outside the header's folder."""
    if any(mark in name for mark in "/\\:\0"):
        raise EcgcamError(
            f"{path}: not a readable WFDB header (it names a file in another folder, {name[:40]!r}); "
            "put the file next to it"
        )


def _signal(path: Path, line: str) -> Signal:
    """Parse a signal line. All fields behind the format may be absent, in this order: gain, five integers, the name."""
    file, fmt, rest = (*line.split(None, 2), "", "")[:3]
    form = _FORMAT.fullmatch(fmt)
    if not form:
        raise EcgcamError(f"{path}: not a readable WFDB header (a signal without a format); copy the header again")
    _check_name(path, file)
    token, behind = (*rest.split(None, 1), "", "")[:2]
    gain = _GAIN.fullmatch(token)
    if gain:
        rest = behind
    integers: list[int] = []
    while len(integers) < 5:
        token, behind = (*rest.split(None, 1), "", "")[:2]
        if not re.fullmatch(r"[-+]?\d+", token, re.ASCII):
            break
        integers.append(int(token))
        rest = behind
    _, adc_zero, initial, checksum, _ = integers + [0] * (5 - len(integers))
    stated = float(gain[1]) if gain else 0.0
    return Signal(
        file=file, fmt=form[1], per_frame=int(form[2] or 1) or 1, skew=int(form[3] or 0), offset=int(form[4] or 0),
        gain=stated or DEFAULT_GAIN, gain_stated=bool(stated),
        baseline=int(gain[2]) if gain and gain[2] else adc_zero,
        unit=gain[3] or None if gain else None, initial=initial, checksum=checksum, name=rest.strip(),
    )  # fmt: skip
