"""Output: results to stdout, everything else to stderr. NO_COLOR is honoured; no progress bars without a terminal."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
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


# Parameters of the library whose flags are named otherwise.
_FLAGS = {
    "texts": "text", "targets": "target", "options": "set", "smooth_ms": "smooth", "all_windows": "all", "tile_ms": "tile",
    "npz": "no-npz", "png": "no-png",
}  # fmt: skip
_PARAMETER = re.compile(
    r"`(texts|targets|options|smooth_ms|all_windows|tile_ms|npz|png|method|methods|layer|mask|masks|gradient|signed_gradient|"
    r"smoother|against|like|top|seed|model|checkpoint|text_model|embeddings|allow_numpy_scalars|device|precision|offline|start|"
    r"seconds|hop|follow|fs|lead_names|unit|out|scale|layout|waves|jobs|engine|shard|pack|resume|force|debug|json|boxes|"
    r"annotations|truth|what|questions|criteria|check|format|dpi|width_mm|most|evidence)`"
)


def with_flags(message: str) -> str:
    """Return a message of the library with the command line's flags in place of its parameters."""
    return _PARAMETER.sub(lambda found: "--" + _FLAGS.get(found[1], found[1]).replace("_", "-"), message)


_tracebacks = False
_last_error = ""


def show_tracebacks(shown: bool) -> None:
    """Let `print_error` show where an error was raised, or not: ``--debug``. A command line starts with this."""
    global _tracebacks, _last_error  # one command line per process
    _tracebacks, _last_error = shown, ""


def print_error(error: str | Exception) -> None:
    """Write an error as one line to stderr, after its traceback with ``--debug``.

    A line that repeats the one before is left out: the recordings of one file often fail for the same reason.
    """
    global _last_error  # noqa: PLW0603
    if _tracebacks and isinstance(error, Exception):
        import traceback

        _write_stderr("".join(traceback.format_exception(error)).rstrip())
    line = f"ecgcam: {' '.join(with_flags(str(error)).split())}"
    if line != _last_error or _tracebacks:
        _write_stderr(line)
    _last_error = line


def print_note(text: str) -> None:
    """Write a note as one line to stderr."""
    _write_stderr(f"note: {' '.join(with_flags(text).split())}")


def print_line(line: str) -> None:
    """Write a line of results to stdout, at once: a reader need not wait for the last recording."""
    try:
        sys.stdout.write(f"{line.rstrip()}\n")
        sys.stdout.flush()
    except OSError as error:
        raise StdoutError(error) from error


def print_json(value: Any) -> None:
    """Write one JSON value as one line."""
    unicode = (sys.stdout.encoding or "ascii").lower().startswith("utf")
    print_line(json.dumps(value, ensure_ascii=not unicode, allow_nan=False))


def flush_stdout() -> None:
    """Write what stdout still holds."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise StdoutError(error) from error


def drop_stdout() -> None:
    """Discard what stdout still holds; Python would report an error about it when it exits."""
    with contextlib.suppress(OSError, ValueError):  # a stdout that is not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prepare_streams() -> None:
    """Open streams that a job started with closed, let them take any text, and let Matplotlib draw to files alone."""
    os.environ["MPLBACKEND"] = (
        "agg"  # a notebook's own, inherited and not installed here, would stop Matplotlib's import
    )
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


# The most different notes that are printed.
_NOTES, _OTHER = 500, "other notes, in their summaries"


class Notes:
    """Notes on stderr. A note that holds for further recordings is counted, and printed once more at the end."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._printed: dict[
            str, tuple[str | None, int]
        ] = {}  # by note: the last recording, and how many after the first

    def general(self, notes: Sequence[str]) -> None:
        """Print notes that hold for every recording."""
        for note in notes:
            if note not in self._printed:
                self._printed[note] = None, 0
                self._note(note)

    def about(self, record: str, notes: Sequence[str]) -> None:
        """Print the notes of one recording."""
        for note in notes:
            known = note if note in self._printed or len(self._printed) < _NOTES else _OTHER
            last, count = self._printed.get(known, (record, 0))
            if known not in self._printed and known == note:
                self._note(f"{record}: {note}")
            if last is not None:
                self._printed[known] = record, count + (last != record)

    def close(self) -> None:
        """Print for how many more recordings each note holds."""
        for note, (_, more) in self._printed.items():
            if more > 0:
                self._note(f"{more} more recording{'s' if more > 1 else ''}: {note}")

    def _note(self, note: str) -> None:
        if not self._quiet:
            _write_stderr(f"note: {with_flags(note)}")


def _write_stderr(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads errors any more
        sys.stderr.write(f"{line}\n")


@contextmanager
def waiting(note: str, seconds: float = 2.0) -> Iterator[None]:
    """Print `note` on stderr after some seconds: a pipe into which nobody writes looks like a program that hangs."""
    timer = threading.Timer(seconds, _write_stderr, [f"note: {note}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _NoteFormatter(logging.Formatter):
    """Writes a log record as a note on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return f"note: {with_flags(record.getMessage())}"


@contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Print the library's notes for the duration of a command; afterwards they are warnings of Python again."""
    logger = logging.getLogger("ecgcam")
    before = list(logger.handlers), logger.level, logger.propagate
    set_up_logging(quiet=False)
    try:
        yield
    finally:
        logger.handlers[:] = before[0]
        logger.setLevel(before[1])
        logger.propagate = before[2]


def set_up_logging(quiet: bool) -> None:
    """Send the library's notes to stderr, one line each."""
    logger = logging.getLogger("ecgcam")
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_NoteFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.propagate = False


def note(text: str) -> None:
    """Write a note to stderr, as the library does."""
    logging.getLogger("ecgcam").info("%s", text)


class Bar:
    """A progress bar that does nothing: no terminal, or ``--quiet``."""

    def __call__(self, count: int) -> None:
        """Advance by `count` finished things."""

    def within(self, done: int, of: int) -> None:
        """Show how much of a long thing is done."""


class _Shown(Bar):
    """Bars on stderr: one over all things, where there are several, and one within a thing that reports its progress."""

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
        """Remove the bars."""
        if self._bars is not None:
            self._bars.stop()

    def _add(self, what: str, total: int | None) -> Any:
        return self._started().add_task(what, total=total)

    def _started(self) -> Any:
        if self._bars is None:  # imported only when shown
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
    # Rich redirects stdout to its console, which is stderr here. That is right only where both are the terminal.
    shared = sys.stdout.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=shared)


@contextmanager
def progress(total: int | None, what: str, quiet: bool) -> Iterator[Bar]:
    """Yield a progress bar on stderr, which does nothing without a terminal. For a single thing it shows the progress within."""
    if quiet or not sys.stderr.isatty():
        yield Bar()
        return
    bar = _Shown(what, total)
    try:
        yield bar
    finally:
        bar.stop()
