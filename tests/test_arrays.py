"""NumPy files that are not what they say: refused in one line, before memory is taken or text is believed."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays
from ecgcam.records import read_record


def npy(array: object) -> bytes:
    written = io.BytesIO()
    np.save(written, np.asarray(array))
    return written.getvalue()


def archive(path: Path, members: dict[str, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(EcgcamError) as error:
        load_arrays(path)
    return str(error.value)


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array("ü"), np.zeros((0, 4)),
              np.arange(3, dtype=">i2"), np.array(["", "abc"]), np.array(1.5), np.zeros(3, "U0")]
)  # fmt: skip
def test_arrays_come_back_as_they_were(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", a=array)
    alone, member = load_arrays(tmp_path / "a.npy"), load_arrays(tmp_path / "a.npz")
    assert isinstance(alone, np.ndarray)
    assert isinstance(member, dict)
    for got in (alone, member["a"]):
        assert np.array_equal(got, array)
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.flags.writeable


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", {"signal.npy": npy(np.zeros(3)), "notes.txt": b"hello"})
    assert "its member 'notes.txt' is not an array" in refused(path)


def test_a_member_that_is_there_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", npy([1]))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.npy", npy([2]))
    assert "its member 'a.npy' is there twice" in refused(tmp_path / "a.npz")


def test_text_that_python_cannot_have(tmp_path: Path) -> None:
    for point in (0x110000, 0xFFFFFFFF, 0xD800):
        content = npy(np.array(["a"]))[:-4] + point.to_bytes(4, "little")
        (tmp_path / "a.npy").write_bytes(content)
        assert "text that is not Unicode" in refused(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", ["(99999999999,)", "(4294967296, 4294967296)", "(-1,)", "(3, 99)"])
def test_a_header_that_promises_more_than_is_there(tmp_path: Path, shape: str) -> None:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(24)
    (tmp_path / "a.npy").write_bytes(content)
    assert "its header states float64" in refused(tmp_path / "a.npy")
    assert "its header states float64" in refused(archive(tmp_path / "a.npz", {"a.npy": content}))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", {"a.npy": npy(np.zeros(30 << 20))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    assert "unpacks to more than 64 MB" in refused(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_signalling_nan_and_names_that_differ_by_case(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(1, 600)).astype("<f4")
    signal.view("<u4")[0, 3] = 0x7F800001  # a NaN that processors complain of
    np.savez(tmp_path / "a.npz", signal=signal, fs=500, leads=["I"])
    assert np.isnan(read_record(tmp_path / "a.npz").signal[0, 3])
    np.savez(tmp_path / "b.npz", signal=signal, SIGNAL=signal, fs=500, leads=["I"])
    with pytest.raises(EcgcamError, match="differ only by case"):
        read_record(tmp_path / "b.npz")
