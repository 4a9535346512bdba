"""The command line: parses, prints, sets the exit code, and calls the library. Nothing here imports torch by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some failed, 2 nothing was done, 130, 143 or 129 ended by a signal."""
    from ecgcam.cli import signals

    try:
        signals.install_handlers()
        from ecgcam.cli.app import main as run

        run(arguments)
    except (KeyboardInterrupt, Exception) as error:  # while modules are imported, or on the way out
        from ecgcam.errors import is_interruption

        # Where a class is made, Python raises a RuntimeError over what came in `__set_name__`.
        if not is_interruption(error):
            raise
        if sys.stderr is not None:
            sys.stderr.write(f"ecgcam: {signals.words()}\n")
        os._exit(signals.exit_code())
