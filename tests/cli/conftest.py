"""A command line run in this process, and recordings to run it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ecgcam.cli.app import run
from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records.simulator import simulate, write


@dataclass(frozen=True)
class Result:
    """What a run left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def ecgcam(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; arguments are made text."""

    def call(*arguments: object) -> Result:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated WFDB records with what comes with them: `af-7` (and its twin and truth) and `sub/normal-8`."""
    folder = tmp_path_factory.mktemp("recordings")
    write(simulate("af", 7), folder)
    write(simulate("normal", 8), folder / "sub")
    return folder


@pytest.fixture(scope="session")
def lead_v1(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One lead of a simulated recording, V1, as an array of 10 s at 500 Hz: the quickest thing to explain."""
    path = tmp_path_factory.mktemp("array") / "v1.npy"
    np.save(path, simulate("af", 11).signal[6])
    return path


@cache
def load_once(*flags: object, **named: object) -> EcgTextModel:
    """Load a model, or return the one loaded with the same flags."""
    return load_model(*flags, **named)  # type: ignore[arg-type]  # passed on as they came


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls with the same flags share one loaded model: for tests of words and files."""
    monkeypatch.setattr("ecgcam.models.load.load_model", load_once)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test runs: the default output goes there too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file with its content and every folder, hidden ones too."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() and not p.is_symlink() else None
        for p in sorted(folder.rglob("*"))
    }
