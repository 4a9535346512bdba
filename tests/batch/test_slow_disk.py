"""A disk that is slow to read or to write: what waits is bounded, however many recordings there are, and the order is kept."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import ecgcam.batch.local
from ecgcam.batch.helpers import Helpers
from ecgcam.batch.local import Output, run_explain
from ecgcam.batch.reading import Reading, read_windows
from ecgcam.batch.worklist import find_recordings
from ecgcam.explanation import Explanation
from ecgcam.models.load import load_model
from ecgcam.records.simulator import simulate
from ecgcam.settings import Settings


class Slow:
    """Two helpers, here threads, one kind of whose tasks takes long. Counts what they have read that nobody has taken yet."""

    count, spare = 2, False

    def __init__(self, reading: float, writing: float) -> None:
        self._seconds = (writing, reading)
        self._threads = ThreadPoolExecutor(2)
        self._lock = threading.Lock()
        self.ahead = self.most = 0

    def submit(self, function: Callable[..., Any], *args: Any, **what: Any) -> Future[Any]:
        reads = function is read_windows

        def run() -> Any:
            time.sleep(self._seconds[reads])
            return function(*args, **what)

        if reads:
            with self._lock:
                self.ahead += 1
                self.most = max(self.most, self.ahead)
        return self._threads.submit(run)


@pytest.mark.slow
@pytest.mark.parametrize(("reading", "writing"), [(0.0, 0.1), (0.1, 0.0), (0.0, 0.0)])
def test_what_waits_does_not_grow_with_the_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: float, writing: float
) -> None:
    signal = simulate("af", 7).signal[6:7]
    for i in range(60):
        np.savez(tmp_path / f"r{i:02d}.npz", signal=signal * (1 + i / 100), fs=500, leads=["V1"])
    items, model, helpers = find_recordings([str(tmp_path)]), load_model("mini"), Slow(reading, writing)
    alive: list[weakref.ref[Explanation]] = []
    most = [0]
    real = ecgcam.batch.local.explain_windows

    def counted(windows: Any, *args: Any) -> Iterator[Any]:
        def taken() -> Iterator[Any]:
            for window in windows:
                helpers.ahead -= 1
                yield window

        for key, explanation in real(taken(), *args):
            alive.append(weakref.ref(explanation))
            gc.collect()
            most[0] = max(most[0], sum(one() is not None for one in alive))
            yield key, explanation

    monkeypatch.setattr(ecgcam.batch.local, "explain_windows", counted)
    failures: list[Any] = []
    run = run_explain(
        items, ["af"], model, Reading(), Settings(gradient=None), Output(tmp_path / "out", png=False),
        failures.append, helpers=cast("Helpers", helpers),
    )  # fmt: skip
    assert [summary["record"] for summary in run] == [item.name for item in items]
    assert not failures
    assert len(alive) == 60
    # Read ahead: eight and the one that is being taken. Behind: four for each helper, and those of the batch at hand.
    assert helpers.most <= 9
    assert most[0] <= 8 + 1 + 64 // 3
    assert sum(one() is not None for one in alive) <= 1
