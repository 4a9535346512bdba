"""Recordings that vanish, change or cannot be read while a batch runs: one line each, the others done; `--resume` goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Result, Run, load_once
from tests.cli.test_many import assert_same_results, lines, statuses

from ecgcam.records import readers, wfdb_files
from ecgcam.records.simulator import simulate
from ecgcam.runs import engine

FLAGS = ("--text", "af", "--no-png", "--no-gradient", "--quiet")

pytestmark = pytest.mark.usefixtures("one_model", "here")


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Five WFDB recordings of one lead, `r0` to `r4`."""
    signal = np.round(simulate("af", 11).signal[6] * 1000)
    for i in range(5):
        wfdb_of(tmp_path / "in", f"r{i}", signal * (1 + i / 10))
    return tmp_path / "in"


def wfdb_of(folder: Path, name: str, signal: Any, fs: int = 500) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.dat").write_bytes(np.asarray(signal).astype("<i2").tobytes())
    (folder / f"{name}.hea").write_text(f"{name} 1 {fs} {len(signal)}\n{name}.dat 16 1000/mV 16 0 0 0 0 V1\n")


def when_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Recordings have been found by then, and none has been read."""

    def load_model(*flags: object, **named: object) -> Any:
        change()
        return load_once(*flags, **named)

    monkeypatch.setattr("ecgcam.models.load.load_model", load_model)


def assert_one_failed(got: Result, out: Path, name: str, *says: str) -> None:
    assert got.code == 1, got.err
    assert got.err.count("\n") == 1, got.err
    assert got.err.startswith("ecgcam: ")
    assert any(each in got.err for each in says), got.err
    assert statuses(out) == {(f"r{i}", "af"): "failed" if f"r{i}" == name else "done" for i in range(5)}
    assert not list(out.rglob(".*"))


def gone(header: Path) -> None:
    header.unlink()


def without_data(header: Path) -> None:
    header.with_suffix(".dat").unlink()


def a_folder(header: Path) -> None:
    header.unlink()
    header.mkdir()


def a_pipe(header: Path) -> None:
    header.unlink()
    os.mkfifo(header)


def a_pipe_of_data(header: Path) -> None:
    header.with_suffix(".dat").unlink()
    os.mkfifo(header.with_suffix(".dat"))


def memory(header: Path) -> None:
    """Reading it is EIO, as from a network drive that is lost."""
    header.unlink()
    header.symlink_to("/proc/self/mem")


def shorter(header: Path) -> None:
    os.truncate(header.with_suffix(".dat"), 4000)


def rewritten(header: Path) -> None:
    """Half written by a program that is still at it."""
    os.truncate(header, 5)


CHANGES = (gone, without_data, a_folder, a_pipe, a_pipe_of_data, memory, shorter, rewritten)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_between_finding_and_reading(
    ecgcam: Run, five: Path, here: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], jobs: int
) -> None:
    shutil.copytree(five, here / "as it was")
    assert ecgcam("explain", five, *FLAGS, "--out", "whole").code == 0
    if jobs == 1:
        when_the_model_is_loaded(monkeypatch, lambda: change(five / "r2.hea"))
    else:  # workers load models of their own; they start when their number is known

        def workers_for(*args: Any, **kwargs: Any) -> int:
            change(five / "r2.hea")
            return engine.workers_for(*args, **kwargs)

        monkeypatch.setattr("ecgcam.runs.explain_call.workers_for", workers_for)
    got = ecgcam("explain", five, *FLAGS, "--out", "out", "--jobs", jobs)
    monkeypatch.setattr("ecgcam.runs.explain_call.workers_for", engine.workers_for)
    assert_one_failed(got, here / "out", "r2", "in/r2")
    monkeypatch.setattr("ecgcam.models.load.load_model", load_once)
    shutil.rmtree(five)
    shutil.copytree(here / "as it was", five)
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.npz")}
    assert len(before) == 4
    got = ecgcam("explain", five, *FLAGS, "--out", "out", "--resume")
    assert (got.code, got.err) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    os.truncate(here / "out/manifest.jsonl", 0)
    (here / "out/manifest.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines(here / "whole")).replace("whole/", "out/")
    )
    assert_same_results(here / "whole", here / "out")


def test_the_whole_folder_is_gone(ecgcam: Run, five: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    when_the_model_is_loaded(monkeypatch, lambda: shutil.rmtree(five))
    got = ecgcam("explain", five, *FLAGS, "--out", "out")
    assert (got.code, got.out) == (2, "")
    assert [line.split(": ")[1] for line in got.err.splitlines()] == [f"{five}/r{i}.hea" for i in range(5)]
    assert not (here / "out").exists()


def test_shorter_while_it_is_read(ecgcam: Run, five: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its length has been held against its header."""
    check = wfdb_files._check

    def checked(head: Any, *rest: Any) -> None:
        check(head, *rest)
        if head.path.stem == "r2":
            os.truncate(head.path.with_suffix(".dat"), 3001)

    monkeypatch.setattr(wfdb_files, "_check", checked)
    got = ecgcam("explain", five, *FLAGS, "--out", "out", "--jobs", "1")
    assert_one_failed(got, here / "out", "r2", "r2.hea: its signals cannot be read")


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES])
@pytest.mark.parametrize("where", ["wfdb_files.decode", "Path.open", "os.stat"])
def test_a_drive_that_fails(
    ecgcam: Run, five: Path, here: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    """The system's errors, wherever they come up."""
    owner: Any = {"Path.open": Path, "os.stat": os, "wfdb_files.decode": wfdb_files}[where]
    name = where.partition(".")[2]
    real, hit = getattr(owner, name), []

    def failing(*args: Any, **kwargs: Any) -> Any:
        if armed and any("r2." in str(one) for one in args):
            hit.append(args)
            raise OSError(number, os.strerror(number), str(args[0] or args[1]))
        return real(*args, **kwargs)

    armed: list[bool] = []
    when_the_model_is_loaded(monkeypatch, lambda: armed.append(True))
    monkeypatch.setattr(owner, name, failing)
    got = ecgcam("explain", five, *FLAGS, "--out", "out", "--jobs", "1")
    armed.clear()
    monkeypatch.setattr("ecgcam.models.load.load_model", load_once)
    assert hit
    assert_one_failed(got, here / "out", "r2", "in/r2")
    assert ecgcam("explain", five, *FLAGS, "--out", "out", "--resume").code == 0
    assert set(statuses(here / "out").values()) == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("change", [gone, without_data, shorter])
def test_in_the_middle_of_a_long_recording(
    ecgcam: Run, here: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """Five minutes, read in parts: the windows of the first parts are there, and the others are made by `--resume`."""
    beats = np.tile(np.round(simulate("af", 11).signal[6] * 1000), 36)
    wfdb_of(here / "in", "long", beats)
    shutil.copytree(here / "in", here / "as it was")
    whole = ecgcam("explain", "in/long.hea", *FLAGS, "--all", "--out", "whole", "--jobs", "1")
    assert whole.code == 0
    calls = []

    def read(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            change(here / "in/long.hea")
        return readers.read_stretch(*args)

    monkeypatch.setattr("ecgcam.runs.reading.read_stretch", read)
    got = ecgcam("explain", "in/long.hea", *FLAGS, "--all", "--out", "out", "--jobs", "1")
    assert got.code == 1
    assert got.err.count("\n") == 1, got.err
    assert "long" in got.err
    there = len(list((here / "out").rglob("explanation.npz")))
    assert 0 < there < len(list((here / "whole").rglob("explanation.npz")))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    shutil.rmtree(here / "in")
    shutil.copytree(here / "as it was", here / "in")
    assert ecgcam("explain", "in/long.hea", *FLAGS, "--all", "--out", "out", "--resume").code == 0
    names = [{path.relative_to(here / out).as_posix() for path in (here / out).rglob("*")} for out in ("whole", "out")]
    assert names[0] == names[1]
