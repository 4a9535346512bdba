"""One lead on ECG paper at true size, its map behind the trace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from ecgcam.errors import EcgcamError
from ecgcam.explanation import Explanation
from ecgcam.render import paper, wording
from ecgcam.render.colour import Colours, colours
from ecgcam.render.fonts import place, write
from ecgcam.render.style import as_delivered

_GRADIENT = "#7a1f8a"  # purple: neither of the map's hues, nor the paper's

# Millimetres.
_LEFT, _RIGHT, _TOP, _BOTTOM = 15, 26, 17, 18
_LEAST_WIDTH = 150
_LEAST_HEIGHT, _MOST_HEIGHT = 30, 80
_AIR = 6
_CELL_ROOM = 58  # for the words about cells


@as_delivered()
def strip(
    explanation: Explanation, lead: str, *, scale: str = "evidence", dpi: float = paper.DPI, gradient: bool = False
) -> Figure:
    """Draw one lead of an explanation at 25 mm/s and 10 mm/mV.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    lead : str
        A name of `explanation.leads`.
    scale : {"evidence", "lead", "raw"}
        See `Explanation.scaled_map`. Colours compare between the leads of an explanation on evidence and raw.
    dpi : float
        Pixels per inch; the default has six pixels per millimetre.
    gradient : bool
        Add the smoothed input gradient as a thin curve, on one scale for all leads.

    Raises
    ------
    EcgcamError
        If `gradient` is asked of an explanation without one, the explanation has no such lead, or there is no such scale.
    """
    if lead not in explanation.leads:
        raise EcgcamError(f"{lead}: the explanation has no such lead; it has {', '.join(explanation.leads)}")
    drawing = LeadDrawing(explanation, colours(explanation, scale), scale, dpi, gradient=gradient)
    drawing.show(explanation.leads.index(lead))
    return drawing.figure


class LeadDrawing:
    """A figure whose lead can be changed: paper, ticks, colour bar and footer are laid out once for all leads.

    All leads share the paper's height, so that strips of one explanation lie beside one another; each is centred on its own
    voltages, since the baselines of unfiltered leads may lie millivolts apart.
    """

    @as_delivered()
    def __init__(
        self, explanation: Explanation, palette: Colours, scale: str, dpi: float, *, gradient: bool = False
    ) -> None:
        self._explanation = explanation
        self._palette = palette
        self._scale = scale
        self._start, seconds = paper.seconds_of(explanation)
        self._ranges = [voltage_range(*pair) for pair in zip(explanation.signal, explanation.valid, strict=True)]
        tallest = max(high - low for low, high in self._ranges)
        height = 5 * math.ceil((tallest * paper.MM_PER_MV + _AIR) / 5)
        self._height = min(max(height, _LEAST_HEIGHT), _MOST_HEIGHT)
        width = seconds * paper.MM_PER_SECOND
        self._room = max(
            width, _LEAST_WIDTH - _LEFT - 2
        )  # for words; those above the paper keep clear of the colour bar
        whole = (max(_LEFT + width + _RIGHT, _LEAST_WIDTH), _TOP + self._height + _BOTTOM)
        self.figure = paper.blank_figure(*whole, dpi)
        self._axes = paper.axes_at(self.figure, _LEFT, _BOTTOM, width, self._height)
        self._axes.set_xlim(self._start, self._start + seconds)
        self._axes.set_ylim(0, self._height / paper.MM_PER_MV)
        paper.draw_grid(self._axes, width, self._height, phase=self._start * paper.MM_PER_SECOND % 5)
        self._map = paper.MapOnPaper(explanation, palette, dpi)
        self._image = self._map.draw(self._axes, 0, 0, 1)
        self._hatch = paper.draw_hatch(self._axes, [])
        (self._trace,) = self._axes.plot([], [], color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
        self._gradient = GradientCurve(self._axes, explanation) if gradient else None
        cells = paper.draw_cells(self._axes, explanation, self._height)
        self._axes.set_xlim(self._start, self._start + seconds)
        paper.label_seconds(self._axes, self._start, seconds)
        self._label(width, *whole)
        curve = [] if self._gradient is None else [self._gradient.line]
        marks = [] if cells is None else [cells]
        paper.LayeredCanvas(
            self.figure,
            [
                self._axes.yaxis,
                self._image,
                self._hatch,
                self._trace,
                *curve,
                *marks,
                self._word,
                self._title,
                self._note,
            ],
        )

    def _label(self, width: float, whole_width: float, whole_height: float) -> None:
        def at(x: float, y: float) -> tuple[float, float]:
            return x / whole_width, y / whole_height

        figure, room = self.figure, self._room / paper.MM_PER_INCH
        soft: dict[str, Any] = {"color": paper.SOFT_INK}
        top = whole_height
        self._title = place(figure, *at(_LEFT, top - 5.5), "", size=11, weight="bold", color=paper.INK)
        self._note = place(figure, *at(_LEFT, top - 5.5), "", size=8.5, color=paper.NOTE_INK)
        place(
            figure, *at(_LEFT, top - 10.5), wording.prompt(self._explanation), size=9, width=room, color=paper.INK
        )  # fmt: skip
        cells = wording.about_cells(self._explanation)
        bar_room = _CELL_ROOM + paper.width_mm(self._explanation) if cells else 0.0
        outcome_room = (self._room - bar_room) / paper.MM_PER_INCH
        place(figure, *at(_LEFT, top - 15), wording.outcome(self._explanation), size=8, width=outcome_room, **soft)
        if cells:
            end = _LEFT + self._room - paper.width_mm(self._explanation) - 2
            place(figure, *at(end, top - 15), cells, size=7, ha="right", **soft)
            paper.draw_width(figure, self._explanation, at, _LEFT + self._room, top - 14.2)
        place(figure, *at(_LEFT, _BOTTOM - 8), "seconds from the start of the record", size=8, **soft)
        place(figure, *at(_LEFT + self._room, _BOTTOM - 8), paper.SPEED, size=8, ha="right", **soft)
        footer = f"{paper.RESEARCH}  ·  {wording.provenance(self._explanation)}"
        if self._gradient is not None:
            footer += f"  ·  {self._gradient.caption}"
        place(figure, *at(_LEFT, 1.5), footer, size=7, width=room, lines=2, va="bottom", **soft)
        place(
            figure, *at(3.5, _BOTTOM + self._height / 2), "mV", size=8, rotation=90, ha="center", va="center", **soft
        )  # fmt: skip
        bar = paper.axes_at(figure, _LEFT + width + 4, _BOTTOM, 4, self._height)
        paper.draw_colour_bar(bar, self._palette, horizontal=False, room=self._height)
        self._word = place(
            self._axes, 0.5, 0.5, "", size=11, ha="center", va="center", color=paper.SOFT_INK,
            transform=self._axes.transAxes, zorder=paper.MARKS, bbox={"facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip

    @as_delivered()
    def show(self, row: int) -> None:
        """Change the figure to another lead."""
        explanation, axes = self._explanation, self._axes
        low, high = self._ranges[row]
        span = self._height / paper.MM_PER_MV
        bottom = 0.5 * round(((low + high) / 2 - span / 2) / 0.5)  # on a bold line of the grid
        axes.set_ylim(bottom, bottom + span)
        ticks = [bottom + 0.5 * i for i in range(round(span / 0.5) + 1)]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:.1f}".replace("-", "−") for tick in ticks]))
        left, right, _, _ = self._image.get_extent()
        self._image.set_extent((left, right, bottom, bottom + span))
        axes.set_xlim(self._start, self._start + len(explanation.time) / explanation.fs)
        axes.set_ylim(bottom, bottom + span)
        self._image.set_data(self._map.rgba(row))
        self._hatch.set_paths(
            paper.invalid_boxes(explanation.valid[row], self._start, explanation.fs, bottom, bottom + span)
        )
        # Padding and bridged gaps are no ECG: only the hatch stands there.
        trace = np.where(explanation.valid[row], explanation.signal[row], np.nan)
        self._trace.set_data(explanation.time, trace)
        if self._gradient is not None:
            self._gradient.show(row, bottom, span)
        self._caption(row, off_paper=bool(np.any((trace < bottom) | (trace > bottom + span))))

    def _caption(self, row: int, *, off_paper: bool) -> None:
        explanation = self._explanation
        write(self._title, f"{explanation.leads[row]}  ·  {wording.gain(explanation, row)}")
        write(self._word, "" if explanation.valid[row].any() else wording.FLAT)
        self._word.set_visible(bool(self._word.get_text()))
        note = wording.notes(explanation, row, self._scale, off_paper=off_paper)
        self._note.set_visible(bool(note))
        if note:
            width = self._title.get_window_extent().width / self.figure.dpi * paper.MM_PER_INCH + 6
            whole_width = self.figure.get_size_inches()[0] * paper.MM_PER_INCH
            self._note.set_x((_LEFT + width) / whole_width)
            write(self._note, note, width=(self._room - width) / paper.MM_PER_INCH)


class GradientCurve:
    """The smoothed input gradient as a thin curve over the lower part of the paper, on one scale for all leads."""

    def __init__(self, axes: Axes, explanation: Explanation) -> None:
        if not explanation.gradient_smoothed.size:
            raise EcgcamError(
                f"{explanation.meta['record']}: explained without an input gradient; explain again without --no-gradient"
            )
        self._explanation = explanation
        values = np.where(explanation.valid, explanation.gradient_smoothed, 0.0)
        self._top = float(np.abs(values).max(initial=0.0)) or 1.0
        self._signed = bool((values < 0).any())
        (self.line,) = axes.plot([], [], color=_GRADIENT, linewidth=0.7, zorder=paper.TRACE)
        where = "about the middle" if self._signed else "from the lower edge"
        share = "half" if self._signed else "a third"
        self.caption = f"thin curve: smoothed gradient {where}, {share} of the height is {self._top:.2g} per mV"

    def show(self, row: int, bottom: float, span: float) -> None:
        """Change the curve to another lead, on paper from `bottom` over `span` mV."""
        explanation = self._explanation
        values = np.where(explanation.valid[row], explanation.gradient_smoothed[row], np.nan) / self._top
        zero, height = (bottom + span / 2, span / 2) if self._signed else (bottom, span / 3)
        self.line.set_data(explanation.time, zero + height * values)


def voltage_range(signal: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lowest and highest voltage to make room for, mV; (0, 0) without a valid sample.

    An artefact that would need more than the tallest paper is cut off, and the ECG around it kept.
    """
    if not valid.any():
        return 0.0, 0.0
    low, high = float(signal[valid].min()), float(signal[valid].max())
    most = (_MOST_HEIGHT - _AIR) / paper.MM_PER_MV
    if high - low > most:
        centre = float(np.median(signal[valid]))
        return centre - most / 2, centre + most / 2
    return low, high
