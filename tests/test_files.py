"""Files: locks where there are some, and where there are none."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from ecgcam import files


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
    with files.locked(handle) as held:
        assert held
        assert not free(tmp_path)
        other = os.open(tmp_path / "a", os.O_RDWR)
        with files.locked(other, wait=False) as too:
            assert not too
        assert not free(tmp_path)  # who does not hold it does not give it back
    assert free(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_holds_nobody_up(handle: int, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with files.locked(handle) as held:
        assert held


def test_another_failure_of_the_lock_is_told(handle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is dying")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="dying"):
        files.lock(handle)


def test_windows_has_no_such_locks(handle: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    with files.locked(handle) as held:
        assert held
        assert free(tmp_path)
