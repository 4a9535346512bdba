"""MATLAB files of versions 4, 6 and 7: numbers and text. Every length is checked before it is believed.

The layout is MathWorks' "MAT-File Format". SciPy's reader ends the process on some damaged files, so it is not used here.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import largest_unpacked, one_line

Arrays = dict[str, npt.NDArray[Any]]

# Version 4: the digit P of a matrix's type.
_VERSION_4 = ("f8", "f4", "i4", "i2", "u2", "u1")
# Version 5: types of elements that hold numbers; those that hold text, and its encoding.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _FIRST_NUMERIC, _LAST_NUMERIC = 1, 2, 4, 6, 15
_COMPLEX = 0x0800
# Cells in cells in cells: none of it is a recording.
_DEEPEST = 4


class _DamagedError(Exception):
    """What is wrong inside the file."""


def read_matlab(path: Path) -> Arrays:
    """Return a file's arrays by name: numbers as they are stored, text and cells of text as arrays of strings.

    The fields of a structure are named ``name.field``. Other contents (sparse matrices, functions, arrays of
    structures) stands as an empty object array without axes.

    Raises
    ------
    EcgcamError
        If it is damaged, or of version 7.3.
    """
    try:
        return _arrays(path.read_bytes())
    except EcgcamError:
        raise
    except (_DamagedError, zlib.error, ValueError) as error:
        raise EcgcamError(
            f"{path}: not a readable MATLAB file before version 7.3 ({one_line(error)}); copy or save it again"
        ) from error


def _arrays(content: bytes) -> Arrays:
    if len(content) < 20:
        raise _DamagedError("it is too short")
    if 0 in content[:4]:
        return dict(_version_4(content))
    if content[:10] == b"MATLAB 7.3" or content[:4] == b"\x89HDF":
        raise _DamagedError("it is of version 7.3; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise _DamagedError("it does not begin as one")
    arrays: Arrays = {}
    for kind, element in _elements(content[128:], order):
        if kind == _COMPRESSED:
            for inner, unpacked in _elements(_unpacked(element, len(content)), order):
                arrays.update(_matrix(unpacked, order) if inner == _MATRIX else ())
        elif kind == _MATRIX:
            arrays.update(_matrix(element, order))
    return arrays


def _version_4(content: bytes) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the matrices of a version 4 file: a header of five whole numbers, a name, values column by column."""
    at = 0
    while at < len(content):
        starts = (
            (order, low) for order, low in (("<", 0), (">", 1000)) if low <= _whole(content, at, order)[0] < low + 1000
        )
        order, low = next(starts, ("", 0))
        if not order:
            raise _DamagedError("a matrix of a kind that is not known")
        kind, rows, columns, imaginary, named = _whole(content, at, order)
        reserved, precision, form = (kind - low) // 100, kind // 10 % 10, kind % 10
        if reserved or precision >= len(_VERSION_4) or form > 2:
            raise _DamagedError("a matrix of a kind that is not known")
        dtype = np.dtype(order + _VERSION_4[precision])
        size = rows * columns * dtype.itemsize
        begin = at + 20 + named
        at = begin + size * (2 if imaginary else 1)
        if min(rows, columns, named) < 0 or imaginary not in {0, 1} or at > len(content):
            raise _DamagedError("a matrix is longer than the file")
        name = content[begin - named : begin].rstrip(b"\0").decode("latin-1")
        values = np.frombuffer(content, dtype, rows * columns, begin).reshape(rows, columns, order="F")
        if form == 0 and not imaginary:
            yield name, values
        elif form == 1 and ((values >= 0) & (values < 128)).all():
            yield name, _words(values.astype(np.uint8).view("S1").astype("U1"))
        else:
            yield name, np.empty((), object)


def _whole(content: bytes, at: int, order: str) -> tuple[int, int, int, int, int]:
    if at + 20 > len(content):
        raise _DamagedError("it ends in the middle")
    a, b, c, d, e = struct.unpack_from(f"{order}5i", content, at)
    return a, b, c, d, e


def _elements(content: bytes | memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield the data elements of a stretch: their type, and what they hold."""
    view, at = memoryview(content), 0
    while at + 8 <= len(view):
        kind, size = struct.unpack_from(f"{order}2I", view, at)
        if kind >> 16:  # the small form: type, length and data in eight bytes
            kind, size, begin, behind = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise _DamagedError("a small element that is not small")
        else:
            begin, behind = at + 8, at + 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        if begin + size > len(view):
            raise _DamagedError("an element is longer than what holds it")
        yield kind, view[begin : begin + size]
        at = behind


def _unpacked(packed: memoryview, whole: int) -> bytes:
    most = largest_unpacked(whole)
    engine = zlib.decompressobj()
    unpacked = engine.decompress(packed, most)
    if engine.unconsumed_tail:
        raise _DamagedError(f"it unpacks to more than {most >> 20} MB")
    if not engine.eof:
        raise _DamagedError("a compressed element is cut off")
    return unpacked


def _matrix(content: memoryview, order: str, depth: int = 0) -> Arrays:
    """Return a matrix element's array by its name."""
    parts = _elements(content, order)

    def part(what: str) -> tuple[int, memoryview]:
        found = next(parts, None)
        if found is None:
            raise _DamagedError(f"a matrix without {what}")
        return found

    _, flags = part("its kind")
    _, sizes = part("its size")
    _, name = part("its name")
    if len(flags) < 8 or len(sizes) < 8 or len(sizes) % 4:
        raise _DamagedError("a matrix without kind or size")
    (kind,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if min(shape) < 0 or len(shape) > 8:
        raise _DamagedError("a matrix of a size that cannot be")
    named, count, of = bytes(name).decode("latin-1"), math.prod(shape), kind & 0xFF
    if _FIRST_NUMERIC <= of <= _LAST_NUMERIC and not kind & _COMPLEX:
        stored, values = part("its numbers") if count else (9, memoryview(b""))
        dtype = np.dtype(order + _NUMBERS[stored]) if stored in _NUMBERS else None
        if dtype is None or len(values) != count * dtype.itemsize:
            raise _DamagedError("a matrix whose numbers do not fit its size")
        return {named: np.frombuffer(values, dtype).reshape(shape, order="F")}
    if of == _CHAR:
        stored, values = part("its text") if count else (16, memoryview(b""))
        if stored not in _TEXT:
            raise _DamagedError("a text of a kind that is not known")
        little = {"<": "-le", ">": "-be"}[order] if _TEXT[stored][:6] in {"utf-16", "utf-32"} else ""
        text = bytes(values).decode(_TEXT[stored] + little)
        if len(text) != count or len(shape) != 2:
            raise _DamagedError("a text that does not fit its size")
        return {named: _words(np.array(list(text), "U1").reshape(shape, order="F"))}
    if of == _CELL and depth < _DEEPEST and count <= len(content):
        cells = [held for _, element in parts for held in _matrix(element, order, depth + 1).values()]
        if len(cells) == count and cells and all(cell.dtype.kind == "U" and cell.size <= 1 for cell in cells):
            return {named: np.array([str(cell[0]) if cell.size else "" for cell in cells])}
    if of == _STRUCT and depth < _DEEPEST and count == 1:
        return _fields(named, parts, part, order, depth)
    return {named: np.empty((), object)}


def _fields(
    named: str,
    parts: Iterator[tuple[int, memoryview]],
    part: Callable[[str], tuple[int, memoryview]],
    order: str,
    depth: int,
) -> Arrays:
    """Return the fields of a structure, each by the structure's name and its own."""
    _, width = part("the width of its fields' names")
    _, names = part("its fields' names")
    if len(width) != 4:
        raise _DamagedError("a structure without the width of its names")
    (size,) = struct.unpack(f"{order}i", width)
    if size < 1 or len(names) % size:
        raise _DamagedError("a structure whose names do not fit their width")
    keys = [bytes(names[at : at + size]).split(b"\0")[0].decode("latin-1") for at in range(0, len(names), size)]
    arrays: Arrays = {}
    for key, (kind, element) in zip(keys, parts, strict=False):
        for inner, array in (_matrix(element, order, depth + 1) if kind == _MATRIX and len(element) else {}).items():
            arrays[f"{named}.{key}" + inner] = array
    return arrays


def _words(characters: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return the rows of a matrix of characters as strings."""
    return np.array(["".join(row) for row in characters], "U") if characters.size else np.empty(0, "U1")
