"""Ctrl-C at any moment: 130, one line, and what is there is whole."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.test_process import ECGCAM

from ecgcam.explanation import Explanation


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Tests that a script started in its background were told to ignore Ctrl-C, and what they start would be too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_whatever_is_raised_over_it(
    ecgcam: Run, lead_v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip file that is left in the middle of a write raises an error of its own."""

    def savez(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it")

    monkeypatch.setattr("numpy.savez_compressed", savez)
    got = ecgcam(
        "explain", lead_v1, "--text", "af", "--fs", "500", "--lead-names", "V1", "--no-png", "--jobs", "1",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert (got.code, got.out) == (130, "")
    assert got.err.splitlines()[-1] == "ecgcam: interrupted; what was written is whole"
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.parametrize("results", [0, 1, 3])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_after_so_many_results(recordings: Path, tmp_path: Path, results: int, jobs: str) -> None:
    prompts = [word for text in ("af", "lbbb", "normal ECG", "pacing", "flutter") for word in ("--text", text)]
    call = subprocess.Popen(
        [*ECGCAM, "explain", str(recordings), *prompts, "--json", "--jobs", jobs, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert call.stdout is not None
    if results == 0:
        time.sleep(1.5)  # in the middle of imports
    for _ in range(results):
        assert json.loads(call.stdout.readline())
    call.send_signal(signal.SIGINT)
    _, err = call.communicate(timeout=120)
    assert call.returncode == 130, err
    assert err.splitlines()[-1] == "ecgcam: interrupted; what was written is whole"
    assert "Traceback" not in err
    assert not list(tmp_path.rglob(".*"))
    there = list(tmp_path.rglob("summary.json"))
    assert results <= len(there) < 15
    for summary in there:
        assert Explanation.load(summary.parent).meta["text"] == json.loads(summary.read_text())["text"]
        assert len(list(summary.parent.glob("lead-*.png"))) == 12
