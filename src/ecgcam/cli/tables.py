"""Plain tables on stdout: one line per row, of any length, so that grep and awk can read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ecgcam.cli.console import print_line

# Rows that determine the widths of the columns.
_FIRST = 200


class Table:
    """A table of any length. The first rows are kept until the widths are known, later ones are printed at once."""

    def __init__(self, headings: Sequence[str], right: Collection[str] = ()) -> None:
        self.rows = 0
        self._headings, self._right = headings, right
        self._waiting: list[Sequence[str]] = [headings]
        self._widths: list[int] | None = None

    def add(self, row: Sequence[str]) -> None:
        """Add a row of text."""
        self.rows += 1
        self._waiting.append(row)
        if self._widths is not None or len(self._waiting) > _FIRST:
            self.flush()

    def flush(self) -> None:
        """Print the rows that have not been printed."""
        if self._widths is None:
            self._widths = [max(map(_columns, column)) for column in zip(*self._waiting, strict=True)]
        for row in self._waiting:
            cells = []
            for heading, cell, width in zip(self._headings, row, self._widths, strict=True):
                blanks = " " * (width - _columns(cell))
                cells.append(blanks + cell if heading in self._right else cell + blanks)
            print_line("  ".join(cells))
        self._waiting = []


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: some characters are two wide."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # its import takes longer than many a command

    return cell_len(text)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print rows of text in columns; those named in `right` are set to the right."""
    table = Table(headings, right)
    for row in rows:
        table.add(row)
    table.flush()


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print dictionaries of the same keys as a table."""
    print_table(list(rows[0]), [[_text(row[key]) for key in rows[0]] for row in rows])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
