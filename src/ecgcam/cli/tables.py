"""Plain tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecgcam.cli.console import stdout_console


def print_rows(rows: Sequence[dict[str, Any]], hide: Sequence[str] = ()) -> None:
    """Print dictionaries of the same keys as a table."""
    from rich.markup import escape
    from rich.table import Table

    headings = [key for key in rows[0] if key not in hide]
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(f"{row[key]:g}" if isinstance(row[key], float) else str(row[key])) for key in headings))
    stdout_console().print(table)
