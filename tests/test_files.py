"""Files: locks where there are some, and where there are none; archives of arrays."""

from __future__ import annotations

import errno
import fcntl
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ecgcam import files
from ecgcam.errors import EcgcamError
from ecgcam.files import load_arrays, save_arrays


@pytest.fixture
def handle(tmp_path: Path) -> int:
    return os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)


def free(path: Path) -> bool:
    """Whether another handle gets the lock."""
    other = os.open(path / "a", os.O_RDWR)
    try:
        return files.lock(other, wait=False)
    finally:
        os.close(other)


def test_a_lock_is_held_by_one_and_given_back(handle: int, tmp_path: Path) -> None:
    with files.locked(handle):
        assert not free(tmp_path)
        assert not free(tmp_path)  # who does not hold it does not give it back
    assert free(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_holds_nobody_up(handle: int, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with files.locked(handle):
        assert files.lock(handle)


def test_another_failure_of_the_lock_is_told(handle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is dying")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="dying"):
        files.lock(handle)


def test_windows_has_no_such_locks(handle: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    with files.locked(handle):
        assert free(tmp_path)


def test_arrays_are_compressed_only_where_that_saves_a_fifth_and_numpy_reads_them(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 2500)).astype(np.float32)
    arrays = {
        "noise": noise, "flat": np.zeros((12, 2500)), "columns": np.asfortranarray(noise), "words": np.array(["I", "ä"]),
        "number": np.float64(2.5), "long": np.array("ä" * 5000), "none": np.zeros((0, 3)), "mask": np.arange(70000) % 7 == 0,
    }  # fmt: skip
    file = tmp_path / "a.npz"
    save_arrays(file, arrays)
    with zipfile.ZipFile(file) as archive:
        packed = {info.filename for info in archive.infolist() if info.compress_type == zipfile.ZIP_DEFLATED}
    assert packed == {"flat.npy", "long.npy", "mask.npy"}
    ours = load_arrays(file)
    assert isinstance(ours, dict)
    with np.load(file) as theirs:
        for name, array in arrays.items():
            for read in (ours[name], theirs[name]):
                assert read.dtype == np.asarray(array).dtype
                assert np.array_equal(read, array)
    first = file.read_bytes()
    save_arrays(file, arrays)
    assert file.read_bytes() == first


def test_damage_of_an_array_that_is_stored_as_it_is_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 2500)).astype(np.float32)
    file = tmp_path / "a.npz"
    save_arrays(file, {"noise": noise})
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(noise[6, 1250].tobytes())] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(EcgcamError, match="CRC"):
        load_arrays(file)
