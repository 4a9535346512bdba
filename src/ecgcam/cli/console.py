"""Where words go: results to stdout, everything else to stderr. NO_COLOR is honoured; no bars without a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def complain(message: str) -> None:
    """Write an error as one line to stderr."""
    sys.stderr.write(f"ecgcam: {' '.join(message.split())}\n")


def stdout_console() -> Console:
    """Return the console of results; wide enough for one line a result when nobody looks."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 160)


def print_json(value: Any) -> None:
    """Write one JSON value as one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def set_up_logging(quiet: bool) -> None:
    """Send the library's notes to stderr, one line each."""
    logger = logging.getLogger("ecgcam")
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.propagate = False


@contextmanager
def progress(total: int, what: str, quiet: bool) -> Iterator[Any]:
    """Yield a function that moves a bar on stderr by one; no bar for a single thing, nor without a terminal."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
