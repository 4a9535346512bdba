"""SCP-ECG (EN 1064, ISO 11073-91064): the rhythm of section 6, Huffman-coded or plain.

Bimodal compression is undone and the reference beat is added back, where the file has them.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import Channel, ReadOptions, record_from
from ecgcam.records.record import Record

# Lead codes of section 3. Other leads are named by their code.
_LEADS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7", 10: "V2R", 11: "V3R", 12: "V4R",
    13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR",
    66: "V8", 67: "V9",
}  # fmt: skip
_HEADER = 16
_DEFAULT_TABLE = 19_999
# More than any recording of this format lasts, samples a lead.
_LONGEST = 1 << 24
# Bimodal compression replaces 2 to 4 samples by one; more is a damaged file.
_MOST_AVERAGED = 8

Whole = npt.NDArray[np.int64]


class _DamagedError(Exception):
    """What is wrong inside the file."""


class _Lead(NamedTuple):
    """A lead of section 3: its code, and its first and last sample, from 1."""

    code: int
    start: int
    end: int


class _Code(NamedTuple):
    """A Huffman code: bits of its prefix and in all, and its value; or the table (from 1) to continue with."""

    prefix: int
    total: int
    value: int
    table: int | None


class _Places(NamedTuple):
    """Where the stored values of a lead lie, in samples of the recording from 1, and the last sample that they stand for."""

    places: npt.NDArray[np.float64]
    last: int


def is_scp(path: Path, beginning: bytes) -> bool:
    """Whether a file begins with section 0 of SCP-ECG."""
    del path
    if len(beginning) < 6 + _HEADER + 10:
        return False
    size, section, length = (*struct.unpack_from("<I", beginning, 2), *struct.unpack_from("<HI", beginning, 8))
    marked = beginning[16:22] in {b"SCPECG", bytes(6)}
    first = struct.unpack_from("<H", beginning, 22)[0]
    return bool(marked and section == 0 and first == 0 and 32 <= length < size)


def read_scp(path: Path, options: ReadOptions) -> Record:
    """Read the rhythm of an SCP-ECG file, each lead at its time; reference beats (section 5) are left out.

    Raises
    ------
    EcgcamError
        If it is damaged, holds no rhythm, or its samples are packed in a way that is not read.
    """
    content = path.read_bytes()
    try:
        sections = _sections(content)
        leads = _leads(_body(content, sections, 3))
        channels, notes = _rhythm(path, content, sections, leads)
    except (_DamagedError, struct.error) as error:
        raise EcgcamError(f"{path}: not a readable SCP-ECG file ({error}); copy the file again") from error
    record = record_from(path, path.stem, channels, options)
    (checksum,) = struct.unpack_from("<H", content)
    (size,) = struct.unpack_from("<I", content, 2)
    if binascii.crc_hqx(content[2:size], 0xFFFF) != checksum:
        notes.append("the checksum of the file does not fit its content; the file may be damaged")
    return replace(record, notes=(*record.notes, *notes))


def _sections(content: bytes) -> dict[int, tuple[int, int]]:
    """Return where each section begins, and its length."""
    if len(content) < 6 + _HEADER:
        raise _DamagedError("it is too short")
    (length,) = struct.unpack_from("<I", content, 10)
    found: dict[int, tuple[int, int]] = {}
    for at in range(6 + _HEADER, min(6 + length, len(content)) - 9, 10):
        number, size, index = struct.unpack_from("<HII", content, at)
        if size and index:
            if index - 1 + size > len(content) or size < _HEADER:
                raise _DamagedError(f"section {number} lies beyond its end")
            found.setdefault(number, (index - 1, size))
    return found


def _body(content: bytes, sections: dict[int, tuple[int, int]], number: int) -> bytes:
    if number not in sections:
        raise _DamagedError(f"section {number} is missing")
    at, size = sections[number]
    return content[at + _HEADER : at + size]


def _leads(body: bytes) -> list[_Lead]:
    if len(body) < 2 or not body[0] or len(body) < 2 + 9 * body[0]:
        raise _DamagedError("section 3 lists no leads")
    leads = []
    for row in range(body[0]):
        start, end, code = struct.unpack_from("<IIB", body, 2 + 9 * row)
        if not 1 <= start <= end <= _LONGEST:
            raise _DamagedError(f"lead {row + 1} has samples {start} to {end}")
        leads.append(_Lead(code, start, end))
    return leads


def _rhythm(
    path: Path, content: bytes, sections: dict[int, tuple[int, int]], leads: Sequence[_Lead]
) -> tuple[list[Channel], list[str]]:
    if 6 not in sections:
        raise EcgcamError(f"{path}: is an SCP-ECG file without a rhythm (section 6); choose another file")
    tables = _huffman(_body(content, sections, 2)) if 2 in sections else None
    flags = _body(content, sections, 3)[1]
    body = _body(content, sections, 6)
    protocol = content[sections[6][0] + 9]
    if len(body) < 6:
        raise _DamagedError("section 6 is too short")
    (interval,) = struct.unpack_from("<H", body, 2)
    places, notes = None, []
    if body[5] and protocol < 30:
        full = _beat_interval(content, sections)
        if full != interval:
            places = _bimodal_places(path, content, sections, leads, full, interval)
            notes = [
                f"bimodal compression: outside the QRS complexes, samples are interpolated from {1e6 / interval:g} Hz"
            ]
            interval = full
    counts = [lead.end - lead.start + 1 for lead in leads] if places is None else [len(one.places) for one in places]
    step, _, rows = _packed(body, counts, tables, "section 6")
    if not step or not interval:
        raise _DamagedError("section 6 states a step or an interval of 0")
    values = [row.astype(np.float64) * step for row in rows]
    if places is not None:
        values = [_interpolated(lead, one, row) for lead, one, row in zip(leads, places, values, strict=True)]
    if flags & 1:
        _add_reference_beats(path, content, sections, leads, tables, values, interval)
    first = min(lead.start for lead in leads)
    size = max(lead.end for lead in leads) - first + 1
    if size * len(leads) > max(1 << 24, 16 * len(content)):
        raise _DamagedError(f"{size} samples of {len(leads)} leads in {len(content)} bytes")
    channels = []
    for lead, row in zip(leads, values, strict=True):
        samples = np.full(size, np.nan)
        samples[lead.start - first : lead.end - first + 1] = row
        # The step is in nanovolts, the interval in microseconds.
        channels.append(Channel(_LEADS.get(lead.code, f"lead {lead.code}"), "uV", 1e6 / interval, samples / 1000))
    return channels, notes


def _packed(
    body: bytes, counts: Sequence[int], tables: list[dict[tuple[int, int], _Code]] | None, what: str
) -> tuple[int, int, list[Whole]]:
    """Return step (nV), interval (µs) and the whole numbers of all leads of section 5 or 6."""
    step, interval, differences = struct.unpack_from("<HHB", body)
    if differences > 2:
        raise _DamagedError(f"{what} has differences of order {differences}")
    if len(body) < 6 + 2 * len(counts):
        raise _DamagedError(f"{what} is too short")
    sizes = struct.unpack_from(f"<{len(counts)}H", body, 6)
    at, rows = 6 + 2 * len(counts), []
    for row, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        part = body[at : at + size]
        at += size
        if len(part) < size:
            raise _DamagedError(f"{what} ends within lead {row + 1}")
        if tables is not None:
            values = _decoded(part, count, tables, f"{what}, lead {row + 1}")
        elif 2 * count > size:
            raise _DamagedError(f"{what} has {size // 2} samples of lead {row + 1} where {count} are expected")
        else:
            values = np.frombuffer(part, "<i2", count).astype(np.int64)
        rows.append(_summed(values, differences))
    return step, interval, rows


def _summed(values: Whole, order: int) -> Whole:
    """Return samples from their first or second differences; the encoder computes in 16 bits, and wraps around."""
    if order == 0:
        return values
    if order == 2 and len(values) > 2:
        # x[n] = d[n] + 2 x[n-1] - x[n-2], x[0] = d[0], x[1] = d[1]
        values = np.concatenate([values[:1], np.cumsum(np.concatenate([values[1:2] - values[:1], values[2:]]))])
    elif order == 2:
        return values
    return np.cumsum(values).astype(np.int16).astype(np.int64)


# Huffman's code, section 2


def _default_codes() -> dict[tuple[int, int], _Code]:
    """Return the standard's table: 0, then ±1 to ±8 by as many ones, and 8 or 16 plain bits behind ten bits."""
    codes = {(1, 0): _Code(1, 1, 0, None)}
    for size in range(1, 9):
        for sign, value in ((0, size), (1, -size)):
            codes[size + 2, ((1 << size) - 1) << 2 | sign] = _Code(size + 2, size + 2, value, None)
    codes[10, 0b1111111110] = _Code(10, 18, 0, None)
    codes[10, 0b1111111111] = _Code(10, 26, 0, None)
    return codes


def _huffman(body: bytes) -> list[dict[tuple[int, int], _Code]]:
    """Return the tables of section 2, each code by the length and the bits of its prefix."""
    (count,) = struct.unpack_from("<H", body)
    if count == _DEFAULT_TABLE:
        return [_default_codes()]
    tables, at = [], 2
    for _ in range(count):
        (size,) = struct.unpack_from("<H", body, at)
        at += 2
        codes = {}
        for _ in range(size):
            prefix, total, mode, value, stored = struct.unpack_from("<BBBhI", body, at)
            at += 9
            if not 1 <= prefix <= 32 or not prefix <= total <= prefix + 32:
                raise _DamagedError(f"a Huffman code of {prefix} and {total} bits")
            # The first bit that is sent is the lowest one here.
            bits = int(f"{stored & ((1 << prefix) - 1):0{prefix}b}"[::-1], 2)
            if not mode and value < 1:
                raise _DamagedError(f"a Huffman code that continues with table {value}")
            codes[prefix, bits] = _Code(prefix, total, value, None if mode else value)
        if not codes:
            raise _DamagedError("a Huffman table without codes")
        tables.append(codes)
    if not tables:
        raise _DamagedError("section 2 has no Huffman table")
    return tables


def _decoded(part: bytes, count: int, tables: list[dict[tuple[int, int], _Code]], what: str) -> Whole:
    """Return `count` numbers of a stream of Huffman's code, highest bits first."""
    bits = np.unpackbits(np.frombuffer(part, np.uint8)).astype(np.int64)
    if count > len(bits):
        raise _DamagedError(f"{what} has {len(bits)} bits for {count} samples")
    readings: dict[int, tuple[list[int], list[int], list[int]]] = {}
    values: list[int] = []
    at, table = 0, 1
    while len(values) < count:
        if table not in readings:
            if not 1 <= table <= len(tables):
                raise _DamagedError(f"{what} continues with Huffman table {table} of {len(tables)}")
            readings[table] = _at_every_bit(bits, tables[table - 1])
        ends, numbers, switches = readings[table]
        while len(values) < count:
            if at >= len(bits) or ends[at] < 0:
                raise _DamagedError(
                    f"{what} holds a code that is in no table, or ends after {len(values)} of {count} samples"
                )
            if switches[at]:
                at, table = ends[at], switches[at]
                break
            values.append(numbers[at])
            at = ends[at]
    return np.array(values, np.int64)


def _at_every_bit(bits: Whole, codes: dict[tuple[int, int], _Code]) -> tuple[list[int], list[int], list[int]]:
    """Return, for each bit, the code that begins there: its end (-1 without a code), its number, the next table."""
    size = len(bits)
    longest = max(max(code.prefix, code.total - code.prefix) for code in codes.values())
    padded = np.concatenate([bits, np.zeros(2 * longest + 1, np.int64)])
    # windows[n][i]: the n bits from bit i on, as a number.
    windows = [np.zeros(size + longest + 1, np.int64)]
    for length in range(longest):
        windows.append(windows[-1] * 2 + padded[length : length + size + longest + 1])
    ends, numbers, switches = np.full(size, -1), np.zeros(size, np.int64), np.zeros(size, np.int64)
    for length in sorted({prefix for prefix, _ in codes}):
        found = sorted((prefix_bits, code) for (prefix, prefix_bits), code in codes.items() if prefix == length)
        keys = np.array([prefix_bits for prefix_bits, _ in found])
        number = np.minimum(np.searchsorted(keys, windows[length][:size]), len(keys) - 1)
        places = np.flatnonzero((keys[number] == windows[length][:size]) & (ends < 0))
        number = number[places]
        total, value, table = (
            np.array(fields, np.int64)[number]
            for fields in zip(*((code.total, code.value, code.table or 0) for _, code in found), strict=True)
        )
        plain = total - length
        for extra in sorted({*plain.tolist()} - {0}):
            some = plain == extra
            raw = windows[extra][places[some] + length]
            value[some] += np.where(raw >> (extra - 1) & 1, raw - (1 << extra), raw)
        ends[places] = np.where(places + total <= size, places + total, -1)
        numbers[places], switches[places] = value, table
    return ends.tolist(), numbers.tolist(), switches.tolist()


# Bimodal compression, sections 4 and 6


def _beat_interval(content: bytes, sections: dict[int, tuple[int, int]]) -> int:
    """Return the sample interval (µs) of section 5, which is that of the recording; section 6 states that of the means."""
    body = _body(content, sections, 5)
    interval = struct.unpack_from("<HH", body)[1]
    if not interval:
        raise _DamagedError("section 5 states an interval of 0")
    return int(interval)


def _bimodal_places(
    path: Path,
    content: bytes,
    sections: dict[int, tuple[int, int]],
    leads: Sequence[_Lead],
    full: int,
    interval: int,
) -> list[_Places]:
    """Return where each stored value of each lead lies, in samples of the recording from 1.

    Inside the protected zones of section 4 every sample is stored. Between them, one value stands for `interval` / `full`
    samples, whose mean it is; it lies in their middle. An incomplete group of samples at the end of a lead has no value.
    """
    factor, rest = divmod(interval, full)
    if rest or not 1 < factor <= _MOST_AVERAGED:
        raise EcgcamError(
            f"{path}: an SCP-ECG file with bimodal compression from {full} to {interval} µs per sample, which is "
            "not supported; export it without compression"
        )
    where = _body(content, sections, 4)
    (beats,) = struct.unpack_from("<H", where, 4)
    zones = sorted(struct.unpack_from("<II", where, 6 + 14 * beats + 8 * beat) for beat in range(beats))
    made = []
    for lead in leads:
        if lead.end - lead.start >= 8 * factor * sections[6][1]:  # a value has a bit at least
            raise _DamagedError(f"a lead of {lead.end - lead.start + 1} samples in {sections[6][1]} bytes")
        at, parts = lead.start, []
        for start, end in [*zones, (lead.end + 1, lead.end)]:
            if end < max(start, at) and start <= lead.end:
                continue  # no zone, or before the lead, or inside another zone
            begin = min(max(start, at), lead.end + 1)
            groups, rest = divmod(begin - at, factor)
            if rest and begin <= lead.end:
                raise EcgcamError(
                    f"{path}: an SCP-ECG file with bimodal compression whose zones do not fit its groups of {factor} samples; "
                    "export it without compression"
                )
            parts.append(at + factor * np.arange(groups) + (factor - 1) / 2)
            parts.append(np.arange(begin, min(end, lead.end) + 1, dtype=np.float64))
            at = max(begin, min(end, lead.end) + 1)
            if begin > lead.end:
                break
        made.append(_Places(np.concatenate(parts), lead.end - rest))
    return made


def _interpolated(lead: _Lead, stored: _Places, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return all samples of a lead from those that are known, on straight lines; missing where no value stands for them."""
    samples = np.arange(lead.start, lead.end + 1, dtype=np.float64)
    if not len(values):
        return np.full(len(samples), np.nan)
    row: npt.NDArray[np.float64] = np.interp(samples, stored.places, values)
    row[samples > stored.last] = np.nan
    return row


# Reference beats, sections 4 and 5


def _add_reference_beats(
    path: Path,
    content: bytes,
    sections: dict[int, tuple[int, int]],
    leads: Sequence[_Lead],
    tables: list[dict[tuple[int, int], _Code]] | None,
    values: list[npt.NDArray[np.float64]],
    interval: int,
) -> None:
    """Add the reference beat (type 0) to `values` (nV) where section 4 states that it was subtracted."""
    where = _body(content, sections, 4)
    length, fiducial, beats = struct.unpack_from("<HHH", where)
    zones = [struct.unpack_from("<HIII", where, 6 + 14 * beat) for beat in range(beats)]
    count = round(length * 1000 / interval)
    if not 1 <= count <= _LONGEST:
        raise _DamagedError(f"a reference beat of {length} ms")
    step, beat_interval, rows = _packed(_body(content, sections, 5), [count] * len(leads), tables, "section 5")
    if beat_interval != interval:
        raise EcgcamError(
            f"{path}: an SCP-ECG file whose reference beat has another rate than its rhythm; export "
            "it without compression"
        )
    for lead, value, row in zip(leads, values, rows, strict=True):
        beat = row * float(step)
        for kind, begin, peak, end in zones:
            if kind != 0:
                continue
            # Samples are numbered from 1; the beat's sample `fiducial` lies on the zone's `peak`.
            first = max(begin, lead.start, peak - fiducial + 1)
            last = min(end, lead.end, peak - fiducial + count)
            if first <= last:
                at = first - (peak - fiducial + 1)
                value[first - lead.start : last - lead.start + 1] += beat[at : at + last - first + 1]
