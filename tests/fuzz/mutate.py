"""Damage to a file, drawn from a seeded generator: bits, bytes, numbers, lines, splices, cuts; inside zip members too."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

# Numbers at which readers trip: limits of integer types, of float, signs, nothing, other scripts' digits.
NUMBERS = (
    b"0", b"-1", b"1", b"2", b"3", b"7", b"12", b"255", b"256", b"32767", b"65535", b"65536", b"2147483647", b"2147483648",
    b"4294967295", b"9223372036854775807", b"18446744073709551616", b"99999999999999999999", b"1e308", b"1e400", b"-1e-320",
    b"nan", b"inf", b"-inf", b"0.5", b"1.", b".", b"", b"-", b"0x10", b"1_000", b"\xd9\xa3", b"1e5", b"1000000", b"100000000",
)  # fmt: skip
TOKENS = (
    b"\0", b"\n", b"\r\n", b" ", b"\t", b"#", b"/", b"../", b"/dev/zero", b"~", b"(", b")", b"x", b":", b"+", b"*", b"%s", b"{}",
    b"[", b"]", b"'", b'"', b"\\", b"\xff\xfe", b"\xc3\x28", b"mV", b"uV", b"mmHg", b"212", b"16", b"61", b"516", b"V1", b"MLII",
    b"aVR", b"True", b"None", b"nan", b"\x1b[31m", b"\xe2\x80\xae", b"<!ENTITY a 'b'>", b"<a>", b"</a>", b"&#0;", b"PK\x03\x04",
)  # fmt: skip
_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WHOLE = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0)

Mutator = Callable[[bytes, Random, Sequence[bytes]], bytes]


def _place(data: bytes, random: Random) -> int:
    """Where to strike: half of the time near the beginning, where headers are."""
    reach = len(data) if random.random() < 0.5 else min(len(data), 256)
    return random.randrange(reach + 1) if reach else 0


def flip(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Flip single bits."""
    changed = bytearray(data)
    for _each in range(random.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[min(_place(data, random), len(changed) - 1)] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Put other bytes in the place of some."""
    at, count = _place(data, random), random.choice((1, 2, 4, 16, 64))
    new = random.choice((random.randbytes(count), b"\0" * count, b"\xff" * count))
    return data[:at] + new + data[at + count :]


def whole_number(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Put a limit of an integer type where a binary number may be, in either order of bytes."""
    size = random.choice("bhiq")
    width = struct.calcsize(size)
    at = _place(data, random) // (width if random.random() < 0.7 else 1) * width
    value = random.choice(_WHOLE) & (1 << 8 * width) - 1
    return data[:at] + struct.pack(random.choice("<>") + size.upper(), value) + data[at + width :]


def number(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Put another number in the place of a written one."""
    found = list(_NUMBER.finditer(data[:20_000]))
    if not found:
        return flip(data, random, _)
    match = random.choice(found)
    new = random.choice(NUMBERS) if random.random() < 0.8 else str(random.randint(-(10**6), 10**6)).encode()
    return data[: match.start()] + new + data[match.end() :]


def swap_numbers(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Exchange two written numbers."""
    found = list(_NUMBER.finditer(data[:20_000]))
    if len(found) < 2:
        return flip(data, random, _)
    one, other = sorted(random.sample(found, 2), key=lambda match: match.start())
    return data[: one.start()] + other[0] + data[one.end() : other.start()] + one[0] + data[other.end() :]


def token(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Insert something that means something somewhere."""
    at = _place(data, random)
    return data[:at] + random.choice(TOKENS) * random.choice((1, 1, 1, 3, 300)) + data[at:]


def cut(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Keep the beginning alone."""
    return data[: _place(data, random)]


def remove(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Take a stretch out."""
    at = _place(data, random)
    return data[:at] + data[at + random.choice((1, 2, 8, 64, 512)) :]


def repeat(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Say a stretch twice, or many times."""
    at = _place(data, random)
    stretch = data[at : at + random.choice((1, 8, 64, 512))]
    return data[:at] + stretch * random.choice((2, 2, 50)) + data[at:]


def lines(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Exchange, drop or double lines."""
    rows = data.split(b"\n")
    if len(rows) < 3:
        return remove(data, random, _)
    a, b = random.sample(range(len(rows)), 2)
    rows[a], rows[b] = random.choice(((rows[b], rows[a]), (rows[a], rows[a]), (b"", rows[b])))
    return b"\n".join(rows)


def splice(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Go on as another file does."""
    other = random.choice(others) if others else data
    return data[: _place(data, random)] + other[_place(other, random) :]


PLAIN: tuple[Mutator, ...] = (
    flip, flip, overwrite, whole_number, whole_number, number, number, number, swap_numbers, token, cut, remove, repeat, lines,
    splice,
)  # fmt: skip


def in_zip(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Damage a member of a zip archive, or its name, or how it is packed; checksums fit afterwards."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(part, archive.read(part)) for part in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return flip(data, random, others)
    if not members:
        return data
    struck = random.randrange(len(members))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that are there twice, which is meant
        for i, (part, content) in enumerate(members):
            name, packed = part.filename, part.compress_type
            if i == struck:
                chance = random.random()
                if chance < 0.75:
                    content = random.choice(PLAIN)(content, random, others)
                elif chance < 0.85:
                    name = random.choice((name + "x", "../" + name, members[0][0].filename, "\x1b" + name, "a" * 300))
                elif chance < 0.95:
                    packed = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
                else:
                    continue
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=packed)
    return written.getvalue()


def in_mat(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Damage a compressed element of a MATLAB 5 file from within."""
    if len(data) < 136 or struct.unpack_from("<I", data, 128)[0] != 15:
        return random.choice(PLAIN)(data, random, others)
    (size,) = struct.unpack_from("<I", data, 132)
    try:
        inner = zlib.decompress(data[136 : 136 + size])
    except zlib.error:
        return flip(data, random, others)
    packed = zlib.compress(random.choice(PLAIN)(inner, random, others))
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed + data[136 + size :]


def mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Return `data`, damaged once or several times."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        inside = in_zip if data[:2] == b"PK" else in_mat if data[:6] == b"MATLAB" else None
        chosen = inside if inside is not None and random.random() < 0.6 else random.choice(PLAIN)
        data = chosen(data, random, others)
        if len(data) > 2_000_000:
            data = data[:2_000_000]
    return data
