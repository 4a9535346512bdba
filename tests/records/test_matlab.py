"""MATLAB files: what SciPy writes is read as SciPy reads it, and damage is refused before it is believed."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ecgcam.errors import EcgcamError
from ecgcam.records import read_record
from ecgcam.records.matlab import read_matlab

NAMES = np.array(["I", "II", "aVR"], object)


KINDS = ["f8", "f4", "i4", "i2", "u2", "u1", "i8", "u8", "i1", "u4"]
CASES = [({"format": "4"}, kind) for kind in KINDS[:6]]
CASES += [({"do_compression": packed}, kind) for packed in (False, True) for kind in KINDS]


@pytest.mark.parametrize(("options", "kind"), CASES)
def test_numbers_are_those_that_scipy_reads(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    values = np.arange(15).reshape(3, 5).astype(kind)
    savemat(tmp_path / "a.mat", {"val": values, "fs": 250.0, "one": np.array([[7]], kind)}, **options)
    got, wanted = read_matlab(tmp_path / "a.mat"), loadmat(tmp_path / "a.mat")
    for key in ("val", "fs", "one"):
        assert np.array_equal(got[key], wanted[key])
        assert got[key].shape == wanted[key].shape
    assert got["val"].dtype.kind == wanted["val"].dtype.kind


@pytest.mark.parametrize("compressed", [False, True])
def test_text_cells_and_the_rest(tmp_path: Path, compressed: bool) -> None:
    held = {
        "cells": NAMES[None],
        "rows": np.array(["I", "aVR"]),
        "empty": "",
        "s": {"a": 1.0},
        "z": np.array([[1j]]),
        "ü": 1.0,
    }
    held["mixed"], held["three"] = np.array([["I", 2.0]], object), np.zeros((2, 3, 4))
    held.pop("ü")
    savemat(tmp_path / "a.mat", held, do_compression=compressed)
    got = read_matlab(tmp_path / "a.mat")
    assert got["cells"].tolist() == ["I", "II", "aVR"]
    assert [row.strip() for row in got["rows"]] == ["I", "aVR"]
    assert got["empty"].size == 0
    assert got["three"].shape == (2, 3, 4)
    assert all(got[key].dtype == object and got[key].shape == () for key in ("z", "mixed"))
    assert got["s.a"] == 1.0


def test_text_of_version_4(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"val": np.zeros((2, 9)), "leads": np.array(["I ", "V1"])}, format="4")
    assert read_matlab(tmp_path / "a.mat")["leads"].tolist() == ["I ", "V1"]


def test_what_version_4_has_beside_numbers_and_text_is_passed_over(tmp_path: Path) -> None:
    """Sparse, complex, and text with a character that ASCII lacks; 127 is the last that it has."""
    for form, imaginary, values in ((2, 0, [1.0, 2.0]), (0, 1, [1.0, 2.0, 3.0, 4.0]), (1, 0, [65.0, 128.0])):
        head = struct.pack("<5i", form, 1, 2, imaginary, 2) + b"a\0"
        good = struct.pack("<5i", 1, 1, 2, 0, 2) + b"b\0" + np.array([65.0, 127.0]).tobytes()
        (tmp_path / "a.mat").write_bytes(head + np.array(values).tobytes() + good)
        got = read_matlab(tmp_path / "a.mat")
        assert got["a"].shape == ()
        assert got["a"].dtype == object
        assert got["b"].tolist() == ["A\x7f"]


def test_a_recording_with_names_and_rate(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(3, 700))
    savemat(tmp_path / "rec.mat", {"ecg": signal, "fs": 500, "leads": NAMES, "info": {"age": 3}})
    got = read_record(tmp_path / "rec.mat")
    assert got.fs == 500
    assert got.signal[got.leads.index("aVR")] == pytest.approx(signal[2], rel=1e-6)


def test_either_order_of_bytes(tmp_path: Path) -> None:
    values = np.array([[1.0, 2.0, 3.0]])
    big = struct.pack(">5i", 1000, 1, 3, 0, 4) + b"val\0" + values.astype(">f8").tobytes()
    (tmp_path / "four.mat").write_bytes(big)
    assert read_matlab(tmp_path / "four.mat")["val"].tolist() == [[1.0, 2.0, 3.0]]
    parts = [
        struct.pack(">4I", 6, 8, 6, 0),
        struct.pack(">2I2i", 5, 8, 1, 3),
        struct.pack(">2I", 1, 3) + b"val" + bytes(5),
    ]
    matrix = b"".join([*parts, struct.pack(">2I", 9, 24), values.astype(">f8").tobytes()])
    (tmp_path / "five.mat").write_bytes(
        b"MATLAB 5.0".ljust(124) + b"\1\0MI" + struct.pack(">2I", 14, len(matrix)) + matrix
    )
    assert read_matlab(tmp_path / "five.mat")["val"].tolist() == [[1.0, 2.0, 3.0]]


def five(*elements: bytes) -> bytes:
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + b"".join(elements)


def matrix(kind: int = 6, shape: tuple[int, ...] = (1, 2), stored: int = 9, data: bytes = bytes(16)) -> bytes:
    sizes = struct.pack(f"<2I{len(shape)}i", 5, 4 * len(shape), *shape) + bytes(-4 * len(shape) % 8)
    body = struct.pack("<4I", 6, 8, kind, 0) + sizes + struct.pack("<2I", 1 | 1 << 16, 97)
    body += struct.pack("<2I", stored, len(data)) + data
    return struct.pack("<2I", 14, len(body)) + body


DAMAGED = {
    "text": (b"Good morning,\nhello" * 20, "does not begin as one"),
    "short": (b"MATLAB", "too short"),
    "7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "version 7.3; save it with -v7"),
    "longer than the file": (five(struct.pack("<2I", 14, 1 << 30)), "longer than what holds it"),
    "small that is not": (five(struct.pack("<2I", 14 | 9 << 16, 0)), "a small element that is not small"),
    "no kind": (five(struct.pack("<2I", 14, 0)), "a matrix without its kind"),
    "negative size": (five(matrix(shape=(-1, -2))), "a size that cannot be"),
    "many axes": (five(matrix(shape=(1,) * 40)), "a size that cannot be"),
    "claims": (five(matrix(shape=(2**31 - 1, 2**31 - 1))), "numbers do not fit its size"),
    "kind of numbers": (five(matrix(stored=77)), "numbers do not fit its size"),
    "kind of text": (five(matrix(kind=4, stored=99)), "a text of a kind that is not known"),
    "length of text": (five(matrix(kind=4, stored=16)), "a text that does not fit its size"),
    "cut off inside": (five(struct.pack("<2I", 15, 20) + zlib.compress(bytes(999))[:20]), ""),
    "kind and size too short": (five(struct.pack("<2I", 14, 24) + struct.pack("<6I", 6, 0, 5, 0, 1, 0)), "without kind or size"),
    "version 4, form": (struct.pack("<5i", 3, 1, 1, 0, 2) + b"a\0" + bytes(8), "a matrix of a kind"),
    "version 4, precision": (struct.pack("<5i", 60, 1, 1, 0, 2) + b"a\0" + bytes(8), "a matrix of a kind"),
    "version 4, Cray": (struct.pack("<5i", 4000, 1, 1, 0, 2) + b"a\0" + bytes(8), "a matrix of a kind"),
    "version 4, claims": (struct.pack("<5i", 0, 2**31 - 1, 2**31 - 1, 0, 2) + b"a\0", "longer than the file"),
    "version 4, negative": (struct.pack("<5i", 0, -1, -1, 0, 2) + b"a\0" + bytes(8), "longer than the file"),
    "version 4, cut": (struct.pack("<5i", 0, 1, 1, 0, 2) + b"a\0" + bytes(8) + b"\0\0", "ends in the middle"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_one_line(tmp_path: Path, case: str) -> None:
    content, says = DAMAGED[case]
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(EcgcamError, match=rf"a\.mat: not a readable MATLAB file before version 7\.3 \(.*{says}"):
        read_matlab(tmp_path / "a.mat")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(400 << 20), 1)
    (tmp_path / "a.mat").write_bytes(five(struct.pack("<2I", 15, len(packed)) + packed))
    tracemalloc.start()
    with pytest.raises(EcgcamError, match="unpacks to more than 64 MB"):
        read_matlab(tmp_path / "a.mat")
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()
