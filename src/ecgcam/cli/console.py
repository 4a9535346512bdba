"""Where words go: results to stdout, everything else to stderr. NO_COLOR is honoured; no bars without a terminal."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class StdoutError(Exception):
    """Standard output takes no more: its reader went away (`gone`, as in ``| head``), or its disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written ({error.strerror or error})")
        self.gone = error.errno == errno.EPIPE


def complain(message: str) -> None:
    """Write an error as one line to stderr."""
    _tell(f"ecgcam: {' '.join(message.split())}")


def say(line: str) -> None:
    """Write a line of results to stdout, at once: whoever reads it need not wait for the last recording."""
    try:
        sys.stdout.write(f"{line.rstrip()}\n")
        sys.stdout.flush()
    except OSError as error:
        raise StdoutError(error) from error


def print_json(value: Any) -> None:
    """Write one JSON value as one line."""
    unicode = (sys.stdout.encoding or "ascii").lower().startswith("utf")
    say(json.dumps(value, ensure_ascii=not unicode, allow_nan=False))


def flush_stdout() -> None:
    """Write what stdout still holds."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise StdoutError(error) from error


def drop_stdout() -> None:
    """Let what stdout still holds go nowhere, or Python would complain about it on its way out."""
    with contextlib.suppress(OSError, ValueError):  # a stdout that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prepare_streams() -> None:
    """Make the streams of this process take any text, and exist: a job may start with them closed; pictures go to files alone."""
    os.environ["MPLBACKEND"] = (
        "agg"  # a notebook's own, inherited and not installed here, would stop Matplotlib's import
    )
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


# Of very many different notes only so many are told.
_NOTES, _OTHER = 500, "other notes, in their summaries"


class Notes:
    """Notes on stderr. What further recordings share with an earlier one is counted, and told once at the end."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._told: dict[str, tuple[str | None, int]] = {}  # by note: the last recording, and how many after the first

    def general(self, notes: Sequence[str]) -> None:
        """Tell what holds for every recording."""
        for note in notes:
            if note not in self._told:
                self._told[note] = None, 0
                self._note(note)

    def about(self, record: str, notes: Sequence[str]) -> None:
        """Tell what holds for one recording; all of a recording's notes come one after the other."""
        for note in notes:
            known = note if note in self._told or len(self._told) < _NOTES else _OTHER
            last, count = self._told.get(known, (record, 0))
            if known not in self._told and known == note:
                self._note(f"{record}: {note}")
            if last is not None:
                self._told[known] = record, count + (last != record)

    def close(self) -> None:
        """Tell how many more recordings each note holds for."""
        for note, (_, more) in self._told.items():
            if more > 0:
                self._note(f"{more} more recording{'s' if more > 1 else ''}: {note}")

    def _note(self, note: str) -> None:
        if not self._quiet:
            _tell(f"note: {note}")


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads errors any more
        sys.stderr.write(f"{line}\n")


@contextmanager
def waiting(note: str, seconds: float = 2.0) -> Iterator[None]:
    """Tell `note` on stderr if what is done takes longer: a pipe into which nobody writes looks like a program that hangs."""
    timer = threading.Timer(seconds, _tell, [f"note: {note}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def set_up_logging(quiet: bool) -> None:
    """Send the library's notes to stderr, one line each."""
    logger = logging.getLogger("ecgcam")
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.propagate = False


class Bar:
    """Does nothing: no terminal, or nobody wants to know."""

    def __call__(self, count: int) -> None:
        """So many more things are done."""

    def within(self, done: int, of: int) -> None:
        """So much of the thing that is being done is done: where it is long."""


class _Shown(Bar):
    """Bars on stderr: one over all things, if they are several, and one within a thing that tells how far it is."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._bars: Any = None
        self._one: Any = None
        self._all = None if total in {0, 1} else self._add(what, total)

    def __call__(self, count: int) -> None:
        if self._all is not None:
            self._started().advance(self._all, count)

    def within(self, done: int, of: int) -> None:
        if self._one is None and done < of:
            self._one = self._add(self._what if self._all is None else "of one", of)
        if self._one is not None:
            self._started().update(self._one, completed=done, total=of)

    def stop(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()

    def _add(self, what: str, total: int | None) -> Any:
        return self._started().add_task(what, total=total)

    def _started(self) -> Any:
        if self._bars is None:  # what is never shown need not be imported
            self._bars = _bars_on_stderr()
            self._bars.start()
        return self._bars


def _bars_on_stderr() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn

    class Rate(TextColumn):
        def render(self, task: Task) -> Any:
            speed = task.finished_speed or task.speed
            return super().render(task) if speed is None else f"{speed:.3g}/s"

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    # Rich would lead stdout through its own console, which is stderr; only where both are the terminal is that the same.
    shared = sys.stdout.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=shared)


@contextmanager
def progress(total: int | None, what: str, quiet: bool) -> Iterator[Bar]:
    """Yield a bar on stderr; one that does nothing without a terminal. Of a single thing only what is `within` it is shown."""
    if quiet or not sys.stderr.isatty():
        yield Bar()
        return
    bar = _Shown(what, total)
    try:
        yield bar
    finally:
        bar.stop()
