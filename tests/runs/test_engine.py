"""One loop for every executor: order, bounded memory, lost workers, errors. A stand-in answers in this process, out of order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.runs.engine import ChunkResult, chunked, dispatch, run_in_processes, workers_for
from ecgcam.runs.events import Event, Scored
from ecgcam.runs.helpers import WorkerLostError, cores
from ecgcam.runs.worklist import Failure, Item

ITEMS = [Item(Path(f"r{i}.npy"), f"r{i:02d}") for i in range(50)]


class Workers:
    """Workers that are lost so many times when they are given a recording of `fatal`; the last chunk is ready first."""

    def __init__(self, fatal: dict[str, int] | None = None) -> None:
        self.fatal = dict(fatal or {})
        self.given: list[tuple[list[str], bool]] = []
        self.open = self.most = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(8)

    def submit(self, items: list[Item], again: bool) -> Future[ChunkResult]:
        with self._lock:
            self.given.append(([item.name for item in items], again))
            self.open += 1
            self.most = max(self.most, self.open)
            lost = next((item.name for item in items if self.fatal.get(item.name)), None)
            if lost is not None:
                self.fatal[lost] -= 1

        def answer() -> ChunkResult:
            if lost is not None:
                raise WorkerLostError("a helper process ended early (signal 9)")
            return ChunkResult([Scored(item, 0.0, []) for item in items], [(20, "a note")])

        return self._pool.submit(answer)


def names(events: Iterator[Event]) -> list[str]:
    return [event.item.name for event in events]


@pytest.mark.parametrize("workers", [1, 3])
def test_events_come_in_order_and_what_waits_is_bounded(workers: int) -> None:
    stand_in = Workers()
    taken = 0

    def items() -> Iterator[Item]:
        nonlocal taken
        for item in ITEMS:
            taken += 1
            yield item

    events = dispatch(items(), stand_in.submit, workers)
    assert next(events).item.name == "r00"
    assert taken <= 8 * (2 * workers + 2)
    assert ["r00", *names(events)] == [item.name for item in ITEMS]
    assert all(not again for _, again in stand_in.given)


def test_what_a_lost_worker_had_is_done_by_others_one_by_one() -> None:
    stand_in = Workers({"r09": 1})
    assert names(dispatch(ITEMS[:20], stand_in.submit, 1)) == [item.name for item in ITEMS[:20]]
    again = [given for given, again in stand_in.given if again]
    assert again
    assert all(len(given) == 1 for given in again)


def test_a_recording_that_no_worker_survives_fails_alone() -> None:
    stand_in = Workers({"r03": 99})
    events = list(dispatch(ITEMS[:20], stand_in.submit, 2))
    failed = [event for event in events if isinstance(event, Failure)]
    assert [event.item.name for event in failed] == ["r03"]
    assert str(failed[0].error).startswith("r3.npy: 3 processes in a row ended while they worked on it")
    assert names(iter(events)) == [item.name for item in ITEMS[:20]]
    assert 99 - stand_in.fatal["r03"] == 3


def test_an_error_of_the_task_ends_the_run() -> None:
    def submit(_items: list[Item], _again: bool) -> Future[ChunkResult]:
        future: Future[ChunkResult] = Future()
        future.set_exception(EcgcamError("`layer` x: no such module"))
        return future

    with pytest.raises(EcgcamError, match="`layer` x: no such module"):
        list(dispatch(ITEMS, submit, 2))


def test_few_recordings_are_shared_by_all_workers() -> None:
    assert [len(some) for some in chunked(ITEMS[:4], workers=2)] == [1] * 4
    assert [len(some) for some in chunked(iter(ITEMS[:20]))] == [8, 8, 4]
    assert list(chunked([])) == []
    assert max(len(some) for some in chunked(ITEMS)) <= 8


@pytest.mark.parametrize(
    ("recordings", "jobs", "pictures", "device", "count"),
    [
        (1, None, True, "cpu", 1),
        (3, None, True, "cpu", 1),
        (1000, None, True, "cpu", cores()),
        (None, None, False, "cpu", cores()),
        (1000, 1, True, "cpu", 1),
        (3, 8, True, "cpu", 3),
        (1000, None, True, "cuda", 1),
    ],
)
def test_so_many_processes_run(
    recordings: int | None, jobs: int | None, pictures: bool, device: str, count: int
) -> None:
    assert workers_for(recordings, jobs, pictures=pictures, device=device) == count


class Suicidal:
    """A task of real processes: a recording named "kill" ends its process, "raise" is a mistake of the program."""

    options: Any = None

    def run(self, items: list[Item], again: bool = False) -> Iterator[Event]:
        import logging
        import os
        import signal

        for item in items:
            logging.getLogger("ecgcam").info("a note of %s", "every recording")
            if item.name == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if item.name == "raise":
                raise ZeroDivisionError
            yield Scored(item, float(again), [])


def test_real_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    notes: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: notes.append(record.getMessage()))
    logger = logging.getLogger("ecgcam")
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    level = logger.level
    logger.setLevel(logging.INFO)

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import test_engine as module  # as the helpers find it

    items = [Item(Path(name), name) for name in ("a", "b", "kill", "c", "d", "e")]
    events = list(run_in_processes(module.Suicidal(), items, 2))
    assert names(iter(events)) == [item.name for item in items]
    assert [event.item.name for event in events if type(event).__name__ == "Failure"] == ["kill"]
    logger.setLevel(level)
    assert notes == ["a note of every recording"]
    with pytest.raises(ZeroDivisionError) as error:
        list(run_in_processes(module.Suicidal(), [Item(Path("raise"), "raise")], 1))
    assert "in run\n    raise ZeroDivisionError" in "".join(error.value.__notes__)
