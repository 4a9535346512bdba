"""Signals that end a command: Ctrl-C, and those of a batch system or of a closed terminal. All are handled in the same way."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# Batch systems send the first before they kill; the second comes when a terminal or a connection is closed.
_ENDINGS = ("SIGTERM", "SIGHUP")
# One call is often sent the same signal by several (the job, its step, the group): within so many seconds they are one.
_SAME = 2.0

# By signal, when it came.
_came: dict[int, float] = {}


def install_handlers() -> None:
    """Let SIGTERM and SIGHUP do in this process what Ctrl-C does, unless its caller ignores them (`nohup`)."""
    for name in _ENDINGS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _reraise_lost_interrupt


def exit_code() -> int:
    """Return 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP: 128 and the signal, as shells count."""
    return 128 + next(iter(_came), signal.SIGINT)


def words() -> str:
    """Return the message about the signal."""
    number = next(iter(_came), signal.SIGINT)
    what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    return f"{what}; finished results are complete"


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _defer_while_importing_torch(number):
        signal.default_int_handler(number, frame)


def _end(number: int, _frame: FrameType | None) -> None:
    if _defer_while_importing_torch(number):
        return
    before, now = max(_came.values(), default=-_SAME), time.monotonic()
    _came.setdefault(number, now)
    if now - before >= _SAME:
        raise KeyboardInterrupt


def _defer_while_importing_torch(number: int) -> bool:
    """Send a signal again a little later while torch is imported: its C++ ends the process where an exception passes."""
    importing: bool = getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False)
    if importing:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    return importing


def _reraise_lost_interrupt(unraisable: UnraisableHookArgs) -> None:
    """Send an interruption again that came where Python lets no exception through, such as importlib's own callbacks."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)
