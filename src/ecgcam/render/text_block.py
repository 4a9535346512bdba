"""Lines of text under one another, each wrapped to the width; their height is known before the figure is made."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from ecgcam.render.fonts import draw_text, line_count
from ecgcam.render.paper import INK, MM_PER_INCH

_LEADING = 1.22 / 72 * MM_PER_INCH  # mm per point of size


@dataclass(frozen=True)
class Line:
    """One text of a block.

    Attributes
    ----------
    text : str
        The words; an empty line takes no room.
    size : float
        Points.
    most : int
        Lines it may be wrapped to; the rest becomes an ellipsis.
    weight, colour : str
        Of Matplotlib.
    """

    text: str
    size: float = 8.0
    most: int = 1
    weight: str = "normal"
    colour: str = INK


def headline(text: str, size: float, width: float, dpi: float) -> Line:
    """Return a bold line of `size` points; smaller and over more lines where `width` mm does not hold it in two.

    Prompts may have hundreds of characters, and the foil stands at the end.
    """
    inches = width / MM_PER_INCH
    if line_count(text, size=size, width=inches, lines=3, dpi=dpi, weight="bold") <= 2:
        return Line(text, size, 2, "bold")
    return Line(text, max(8.0, 0.7 * size), 16, "bold")


class TextBlock:
    """Texts under one another, `width` mm wide."""

    def __init__(self, lines: list[Line], width: float, dpi: float) -> None:
        self._lines = [line for line in lines if line.text]
        self._width = width / MM_PER_INCH
        self._counts = [
            line_count(each.text, size=each.size, width=self._width, lines=each.most, dpi=dpi, weight=each.weight)
            for each in self._lines
        ]

    @property
    def height(self) -> float:
        """The millimetres the block takes."""
        return sum(count * line.size * _LEADING + 0.6 for line, count in zip(self._lines, self._counts, strict=True))

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Write the block from `top` mm above the figure's lower edge downwards."""
        whole_width, whole_height = (side * MM_PER_INCH for side in figure.get_size_inches())
        for line, count in zip(self._lines, self._counts, strict=True):
            draw_text(
                figure, left / whole_width, top / whole_height, line.text, size=line.size, width=self._width,
                lines=line.most, weight=line.weight, color=line.colour, va="top", linespacing=1.1,
            )  # fmt: skip
            top -= count * line.size * _LEADING + 0.6
