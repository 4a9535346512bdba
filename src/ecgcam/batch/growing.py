"""``--follow``: the newest window of a recording that is still growing, explained again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from ecgcam.batch.local import Failed, Output, Summary, run_explain
from ecgcam.batch.reading import Reading
from ecgcam.batch.worklist import Failure, Item
from ecgcam.errors import EcgcamError
from ecgcam.models.base import EcgTextModel
from ecgcam.records.readers import wfdb_length
from ecgcam.settings import Settings


def follow(
    item: Item,
    texts: Sequence[str],
    model: EcgTextModel,
    reading: Reading,
    settings: Settings,
    output: Output,
    failed: Failed,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Summary, None, None]:
    """Explain the newest whole window of a WFDB recording every ``--hop`` seconds (default: the window), until interrupted.

    A step in which nothing has come is passed over. A recording that cannot be read, since it is just being written, is
    tried again at the next step; what is wrong is told when it changes.

    Parameters
    ----------
    item, texts, model, reading, settings, output, failed
        As `ecgcam.batch.local.run_explain` takes them.
    say : callable
        Takes a note.
    sleep : callable
        Waits so many seconds.
    """
    window = model.input.seconds
    hop = reading.hop or window
    newest, told = -1.0, ""
    due = time.monotonic()
    while True:
        said = ""
        try:
            seconds = _seconds(item)
            start = round((seconds - window) * model.input.fs) / model.input.fs
            if seconds < window:
                said = f"{item.name}: shorter than the {window:g} s of a window so far; waiting"
                if said != told:
                    say(said)
            elif start > newest:
                wrong: list[Failure] = []
                yield from run_explain(
                    [item], texts, model, replace(reading, start=max(0.0, start)), settings, output, wrong.append
                )
                newest = start
                for failure in wrong:
                    said = str(failure.error)
                    if said != told:
                        failed(failure)
        except EcgcamError as error:
            said = str(error)
            if said != told:
                failed(Failure(item, error))
        told = said
        due = max(due + hop, time.monotonic())
        sleep(max(0.0, due - time.monotonic()))


def _seconds(item: Item) -> float:
    length = wfdb_length(item.path)
    if length is None:
        raise EcgcamError(f"{item.path}: --follow takes WFDB recordings of one segment")
    return length.seconds
