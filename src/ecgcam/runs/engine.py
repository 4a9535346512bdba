"""One loop for every task: recordings to workers, events back in the order of the recordings.

A worker is a process that runs the task from file to written result: this one for few recordings, several of one thread each
for many, Ray's actors on a cluster. What a lost worker had begun goes to another one, recording by recording, so that a
recording that ends processes fails alone. Memory does not grow with the number of recordings.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.runs.events import Event
from ecgcam.runs.helpers import Helpers, WorkerLostError, collect_notes, cores, most_processes, preload_readers
from ecgcam.runs.tasks import Task
from ecgcam.runs.worklist import Failure, Item

# Recordings that a worker takes at a time: enough to fill its batches, few enough to lose little.
CHUNK = 8
# A recording that so many workers in a row did not survive is itself at fault.
ATTEMPTS = 3
# Fewer recordings are done before other processes have imported torch: without pictures, and with them.
FEW, FEW_WITH_PICTURES = 24, 6
log = logging.getLogger("ecgcam")


@dataclass
class ChunkResult:
    """What a worker sends back of some recordings: events, and notes as (level, text)."""

    events: list[Event] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)


def run_in_processes(task: Task, items: Iterable[Any], count: int, size: int = CHUNK) -> Generator[Event, None, None]:
    """Run a task in `count` processes, each of which takes up to `size` recordings at a time."""
    pickled = pickle.dumps(task)
    helpers = Helpers(count, preload_readers, long=True)

    def submit(some: list[Any], again: bool) -> Future[ChunkResult]:
        return helpers.submit(_run_chunk, pickled, some, again)

    with helpers:
        yield from dispatch(items, submit, count, size)


def dispatch(
    items: Iterable[Any], submit: Callable[[list[Any], bool], Future[ChunkResult]], workers: int, size: int = CHUNK
) -> Iterator[Event]:
    """Hand recordings to workers, and yield their events in the order of recordings.

    `submit` takes some recordings, and whether an earlier worker was lost at them; its future raises `WorkerLostError` if this
    one is lost.
    """
    chunks = chunked(items, size, workers)
    order: deque[tuple[list[Any], Future[ChunkResult], int]] = deque()
    told: set[str] = set()
    while True:
        while len(order) < 2 * workers + 2 and (some := next(chunks, None)) is not None:
            order.append((some, submit(some, False), 1))
        if not order:
            return
        some, future, attempt = order.popleft()
        try:
            result = future.result()
        except WorkerLostError as error:
            if attempt == 1 or (len(some) == 1 and attempt < ATTEMPTS):
                for item in reversed(some):
                    order.appendleft(([item], submit([item], True), attempt + 1))
            else:
                yield from (Failure(item, _lost(item, attempt, error)) for item in some)
            continue
        for level, note in result.notes:
            if note not in told:
                told.add(note)
                log.log(level, "%s", note)
        yield from result.events


def chunked(items: Iterable[Any], size: int = CHUNK, workers: int = 1) -> Iterator[list[Any]]:
    """Yield recordings `size` at a time: a list in full chunks, except for a few recordings, which all workers share."""
    if isinstance(items, list):
        size = max(1, min(size, len(items) // (2 * workers)))
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def workers_for(recordings: int | None, jobs: int | None, *, pictures: bool, device: str = "cpu") -> int:
    """Return how many processes run a task: `jobs`, or as many as pay. 1: this one alone."""
    few = FEW_WITH_PICTURES if pictures else FEW
    if jobs is not None:
        count = most_processes(jobs) or 1
    elif device != "cpu" or (recordings is not None and recordings < few):
        count = 1
    else:
        count = cores()
    return count if recordings is None else max(1, min(count, recordings))


@contextlib.contextmanager
def drawing_helper(recordings: int | None, *, pictures: bool) -> Iterator[Helpers | None]:
    """Yield a process that draws while this one computes, and imports Matplotlib while this one imports torch; or None."""
    import sys

    from ecgcam.runs.helpers import preload_renderers

    if not pictures or cores() == 1 or recordings is None or "torch" in sys.modules:
        yield None
        return
    with Helpers(1, preload_renderers) as helper:
        yield helper


def _lost(item: Item, attempts: int, error: EcgcamError) -> EcgcamError:
    return EcgcamError(
        f"{item.path}: {attempts} processes in a row ended while they worked on it ({error}); leave "
        "it out, or free memory"
    )


def run_chunk(task: Task, items: list[Any], again: bool) -> ChunkResult:
    """Run a task on some recordings; return its events and notes. `again` after a worker that was lost at them."""
    with collect_notes() as notes:
        events = list(task.run(items, again))
    return ChunkResult(events, notes)


def _run_chunk(pickled: bytes, items: list[Any], again: bool) -> ChunkResult:
    return run_chunk(_task(pickled), items, again)


@lru_cache(maxsize=1)
def _task(pickled: bytes) -> Task:
    task: Task = pickle.loads(pickled)  # noqa: S301  (from the process that started this one)
    return task
