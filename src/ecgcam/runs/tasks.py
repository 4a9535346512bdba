"""What an executor runs: a task takes recordings from file to result, in whatever process it runs.

A task holds everything that a process needs to do it, and travels by pickle. It loads its model when there is something to do.
A recording that cannot be read, or whose score is not a number, fails alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol

from ecgcam.errors import EcgcamError
from ecgcam.records import Window
from ecgcam.runs.events import Event
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.reading import Reading
from ecgcam.runs.worklist import Item

log = logging.getLogger("ecgcam")
Progress = Callable[[int, int], object]
Submit = Callable[..., Future[Any]]


def no_progress(_done: int, _of: int) -> None:
    """Report nothing."""


def run_here(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    """Run a function at once; return its result, or the error that it raised, as a future."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(*args, **kwargs))
    except EcgcamError as error:
        future.set_exception(error)
    return future


def flush_denormals() -> None:
    """Let numbers below 1e-38 be 0 in this process: call before torch computes anything, since its threads inherit it.

    Gradients behind a saturated softmax are that small, and a processor takes some fifty times as long for each of them.
    """
    import torch

    torch.set_flush_denormal(True)


class Task(Protocol):
    """What an executor runs."""

    @property
    def options(self) -> ModelOptions:
        """Which model."""

    def run(self, items: Iterable[Any], again: bool = False) -> Iterator[Event]:
        """Do it with recordings; `again` after a process that was lost at it, and may have left something."""


def log_rest(item: Item, window: Window, reading: Reading, how: str) -> None:
    """Note how much of a recording is left out where it is longer than the window, and `how` to look at the rest."""
    rest = window.record.seconds - window.time[-1]
    if rest > 0.5 and reading.seconds is None and not reading.several:
        log.info(
            "%s lasts %.4g s, of which %.4g to %.4g s are used; %s",
            item.name, window.record.seconds, window.start, window.time[-1] + 1 / window.fs, how,
        )  # fmt: skip
