"""A recording that is still being written: its newest window, again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import replace

from ecgcam.errors import EcgcamError
from ecgcam.records.readers import wfdb_length
from ecgcam.runs.events import Event, Finished
from ecgcam.runs.explain_task import ExplainTask, Todo
from ecgcam.runs.places import Places
from ecgcam.runs.worklist import Failure, Item

log = logging.getLogger("ecgcam")


def follow(item: Item, task: ExplainTask, sleep: Callable[[float], None] = time.sleep) -> Generator[Event, None, None]:
    """Explain the newest whole window of a WFDB recording every hop (default: the window), until interrupted.

    A step in which nothing has come is skipped. A recording that cannot be read, since it is just being written, is
    tried again at the next step; an error is reported when it changes.

    Parameters
    ----------
    item, task : Item, ExplainTask
        The recording, and what is done with it.
    sleep : callable
        Waits so many seconds.
    """
    model, places = task.load(), Places(task.out)
    window = model.input.seconds
    hop = task.reading.hop or window
    newest, reported = -1.0, ""
    due = time.monotonic()
    while True:
        message = ""
        try:
            seconds = _seconds(item)
            start = round((seconds - window) * model.input.fs) / model.input.fs
            if seconds < window:
                message = f"{item.name}: shorter than the {window:g} s of a window so far; waiting"
                if message != reported:
                    log.info("%s", message)
            elif start > newest:
                step = replace(task, reading=replace(task.reading, start=max(0.0, start)))
                todos = [todo for todo in task.look_up(item, places) if isinstance(todo, Todo)]
                for event in step.explain(todos, model):
                    if not isinstance(event, Failure | Finished):
                        yield event
                    elif isinstance(event, Failure):
                        message = str(event.error)
                        if message != reported:
                            yield event
                newest = start
        except EcgcamError as error:
            message = str(error)
            if message != reported:
                yield Failure(item, error)
        reported = message
        due = max(due + hop, time.monotonic())
        sleep(max(0.0, due - time.monotonic()))


def _seconds(item: Item) -> float:
    length = wfdb_length(item.path)
    if length is None:
        raise EcgcamError(f"{item.path}: `follow` takes WFDB recordings of one segment; choose one")
    return length.seconds
