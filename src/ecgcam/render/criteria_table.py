"""Below the leads: the criteria of the prompt's finding, what was measured, and what the model makes of each."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgcam.render import paper, wording
from ecgcam.render.fonts import draw_text, line_count
from ecgcam.results.explanation import Explanation

# Millimetres.
_TITLE, _HEAD, _LINE, _BETWEEN, _LEGEND_LINE = 6.0, 4.5, 3.3, 0.9, 2.9
_COLUMNS = (
    ("holds", 16.0),
    ("measured", 21.0),
    ("map there", 19.0),
    ("score without", 25.0),
    ("score of its words", 31.0),
)
_BASE = 2.35  # from a row's upper edge down to its first baseline
_LEAST_TEXT = 55.0  # on a narrower page the numbers of a criterion stand below its words
_SIZE, _SMALL = 7.5, 6.5
_LEGEND = (
    "holds: as measured on this recording  ·  map there: density of the map on the waves and leads of the criterion, 1 × = chance"
    "  ·  score without: change of the score when these waves become a flat line  ·  score of its words: the model's score of "
    "the criterion as text, minus that of its opposite  ·  –: the criterion has no place in the beat, or it is not known"
)


class CriteriaTable:
    """Rows of ``meta["criteria"]``, in `width` mm; without any it takes no room."""

    def __init__(self, explanation: Explanation, width: float, dpi: float) -> None:
        self._rows = wording.criteria_rows(explanation)
        self._title = f"Criteria of {wording.quoted_text(explanation)}"
        self._width = width
        numbers = sum(wide for _, wide in _COLUMNS)
        self._beside = width - numbers >= _LEAST_TEXT
        self._text = width - numbers - 2 if self._beside else width
        self._counts = [
            line_count(row.text, size=_SIZE, width=self._text / paper.MM_PER_INCH, lines=4, dpi=dpi)
            for row in self._rows
        ]
        inches = width / paper.MM_PER_INCH
        self._spans = [
            0 if self._beside else line_count(self._in_words(row), size=_SMALL, width=inches, lines=3, dpi=dpi)
            for row in self._rows
        ]
        self._legend = line_count(_LEGEND, size=_SMALL, width=inches, lines=9, dpi=dpi)

    @property
    def height(self) -> float:
        """The millimetres it takes, with the room below it."""
        if not self._rows:
            return 0.0
        rows = sum(
            count * _LINE + span * _LEGEND_LINE + _BETWEEN
            for count, span in zip(self._counts, self._spans, strict=True)
        )
        return _TITLE + (_HEAD if self._beside else 0.0) + rows + 1.5 + self._legend * _LEGEND_LINE + 3.0

    def draw(self, figure: Figure, left: float, bottom: float) -> None:
        """Draw it with its lower left corner at (`left`, `bottom`) mm."""
        if not self._rows:
            return
        axes = paper.table_at(figure, left, bottom, self._width, self.height)
        inches, y = self._width / paper.MM_PER_INCH, self.height
        draw_text(axes, 0, y, self._title, size=8.5, weight="bold", color=paper.INK, va="top", width=inches)
        y -= _TITLE
        if self._beside:
            for place, (name, _) in zip(self._places(), _COLUMNS, strict=True):
                draw_text(axes, place, y, name, size=7, weight="bold", color=paper.INK, va="top")
            y -= _HEAD
        for row, count, span in zip(self._rows, self._counts, self._spans, strict=True):
            y -= self._draw_row(axes, row, y, count, span)
        legend: dict[str, Any] = {"size": _SMALL, "color": paper.SOFT_INK, "va": "top", "linespacing": 1.1}
        draw_text(axes, 0, y - 1.5, _LEGEND, width=inches, lines=9, **legend)

    def _places(self) -> list[float]:
        ends = [self._text + 2]
        for _, wide in _COLUMNS:
            ends.append(ends[-1] + wide)
        return ends[:-1]

    def _draw_row(self, axes: Axes, row: wording.CriterionWords, y: float, count: int, span: int) -> float:
        """Draw a criterion from `y` downwards, and return its height."""
        height = count * _LINE + span * _LEGEND_LINE + _BETWEEN
        axes.plot([0, self._width], [y + _BETWEEN / 2] * 2, color=paper.grid_colour(bold=True), linewidth=0.4)
        colour = paper.INK if row.holds == "yes" else paper.SOFT_INK
        style: dict[str, Any] = {"size": _SIZE, "color": colour, "va": "top", "linespacing": 1.1}
        weight = "bold" if row.holds == "yes" else "normal"
        draw_text(axes, 0, y, row.text, width=self._text / paper.MM_PER_INCH, lines=4, **style)
        if self._beside:
            cells = (row.holds, row.value, row.density, row.change, row.words)
            style["va"] = "baseline"  # words without tall letters would stand higher
            for number, (place, cell) in enumerate(zip(self._places(), cells, strict=True)):
                draw_text(axes, place, y - _BASE, cell, weight="normal" if number else weight, **style)
        else:
            style["size"] = _SMALL
            wide = self._width / paper.MM_PER_INCH
            draw_text(axes, 0, y - count * _LINE, self._in_words(row), width=wide, lines=3, **style)
        return height

    def _in_words(self, row: wording.CriterionWords) -> str:
        cells = (row.holds, row.value, row.density, row.change, row.words)
        return "  ·  ".join(f"{name} {cell}" for (name, _), cell in zip(_COLUMNS, cells, strict=True))
