"""Plain tables on stdout: a line a row, however long, so that grep and awk can read them too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ecgcam.cli.console import say


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print rows of text in columns; those named in `right` are set to the right."""
    from rich.cells import cell_len  # some characters are two columns wide

    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    for row in (headings, *rows):
        cells = []
        for heading, cell, width in zip(headings, row, widths, strict=True):
            blanks = " " * (width - cell_len(cell))
            cells.append(blanks + cell if heading in right else cell + blanks)
        say("  ".join(cells))


def print_rows(rows: Sequence[dict[str, Any]], hide: Sequence[str] = ()) -> None:
    """Print dictionaries of the same keys as a table."""
    headings = [key for key in rows[0] if key not in hide]
    print_table(headings, [[_text(row[key]) for key in headings] for row in rows])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
