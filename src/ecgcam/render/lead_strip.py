"""One lead on ECG paper, its map behind the trace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from ecgcam.errors import EcgcamError
from ecgcam.render import paper, wording
from ecgcam.render.colour import Colours, colours
from ecgcam.render.fonts import draw_text, text_width, write
from ecgcam.render.style import PictureOptions, as_delivered
from ecgcam.render.text_block import Line, TextBlock, headline
from ecgcam.results.explanation import Explanation
from ecgcam.results.trace import Trace, shown_trace

_GRADIENT = "#7a1f8a"  # purple: neither of the map's hues, nor the paper's

# Millimetres, except for the heights of the paper, which are squares.
_LEFT, _EDGE = 13.0, 1.5
_BAR_GAP, _BAR, _LEAST_RIGHT = 3.0, 3.5, 17.0
_TITLE, _TIME = 6.5, 9.0
_NOTE_GAP = 5.0
_TITLE_SIZES, _NOTE_SIZE = (11.0, 10.0, 9.0, 8.0, 7.0), 8.5  # points
_LEAST_WIDTH, _LEAST_TIME_ROOM = 120.0, 75.0
_LEAST_HEIGHT, _MOST_HEIGHT, _AIR = 30, 80, 6
_MOST_SECONDS_UNIT = 10.0  # s; shorter recordings do not grow beyond the scale of a window of this length


@as_delivered()
def strip(
    explanation: Explanation,
    lead: str,
    *,
    scale: str | None = None,
    gradient: bool = False,
    options: PictureOptions | None = None,
    trace: Trace | None = None,
) -> Figure:
    """Draw one lead of an explanation at 25 mm/s and 10 mm/mV.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    lead : str
        A name of `explanation.leads`.
    scale : {"evidence", "lead", "raw"}, optional
        See `Explanation.scaled_map`. Colours compare between the leads of an explanation on evidence and raw. By default
        ``evidence``, or ``raw`` for methods without cells.
    gradient : bool
        Add the smoothed input gradient as a thin curve, on one scale for all leads.
    options : PictureOptions, optional
        Resolution and width.
    trace : Trace, optional
        The recording at its own rate; by default what the model saw is drawn.

    Raises
    ------
    EcgcamError
        If the explanation has no gradient and `gradient` is set, the explanation has no such lead, or there is no such scale.
    """
    if lead not in explanation.leads:
        raise EcgcamError(f"{lead}: the explanation has no such lead; it has {', '.join(explanation.leads)}")
    drawing = LeadDrawing(
        explanation, colours(explanation, scale), options or PictureOptions(), gradient=gradient, trace=trace
    )
    drawing.show(explanation.leads.index(lead))
    return drawing.figure


class LeadDrawing:
    """A figure whose lead can be changed: paper, ticks, colour bar and words are laid out once for all leads.

    All leads share the paper's height, so that strips of one explanation can be compared; each is centred on its own voltages,
    since the baselines of unfiltered leads may lie millivolts apart. A lead too tall for the paper is drawn at half standard.
    """

    @as_delivered()
    def __init__(
        self,
        explanation: Explanation,
        palette: Colours,
        options: PictureOptions,
        *,
        gradient: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self._explanation = explanation
        self._palette = palette
        self._drawn = shown_trace(explanation, trace)
        begin, end = paper.recorded(explanation)
        seconds = end - begin
        squares = seconds * paper.MM_PER_SECOND
        self._right = max(_LEAST_RIGHT, _BAR_GAP + _BAR + paper.bar_number_room(palette) + 1.0)
        if options.width_mm is None:
            self._unit, width = 1.0, max(_LEFT + squares + self._right, _LEAST_WIDTH)
        else:
            width = options.width_mm
            self._unit = (width - _LEFT - self._right) / max(squares, _MOST_SECONDS_UNIT * paper.MM_PER_SECOND)
        self._ranges = [self._drawn.range(row) for row in range(len(explanation.leads))]
        spans = [high - low for low, high in self._ranges]
        # Narrow paper is stretched upwards: a QRS of a few mm could not be read.
        stretch = 2.0 if self._unit < 0.5 else 1.0
        self._gains = [stretch * paper.fitting_gain(span, (_MOST_HEIGHT - _AIR) / stretch) for span in spans]
        tallest = max(span * gain for span, gain in zip(spans, self._gains, strict=True))
        self._height = max(5 * math.ceil((tallest + _AIR) / 5), _LEAST_HEIGHT)
        self._width = width
        room = width - _LEFT - 2
        head = TextBlock(self._head(room, options.resolution), room, options.resolution)
        self._lay_out_titles(room, options.resolution)
        foot_lines = [
            Line(wording.about_colour(explanation, palette, "the number after its name"), 7, 8, colour=paper.SOFT_INK),
            Line(
                f"{paper.RESEARCH}  ·  {wording.provenance(explanation)}  ·  {wording.rate(explanation, trace)}",
                7,
                6,
                colour=paper.SOFT_INK,
            ),
        ]
        self._curve_words = _about_gradient(explanation) if gradient else ""
        foot_lines.append(Line(self._curve_words, 7, 2, colour=paper.SOFT_INK))
        foot = TextBlock(foot_lines, room, options.resolution)
        self._bottom = _EDGE + foot.height + _TIME
        tall = self._height * self._unit
        self._whole = self._bottom + tall + 2 + _TITLE + self._notes_height + head.height + _EDGE
        self.figure = paper.blank_figure(width, self._whole, options.resolution)
        head.draw(self.figure, _LEFT, self._whole - _EDGE - _TITLE - self._notes_height)
        foot.draw(self.figure, _LEFT, _EDGE + foot.height)
        self._axes = paper.axes_at(self.figure, _LEFT, self._bottom, squares * self._unit, tall)
        self._axes.set_xlim(begin, end)
        self._axes.set_ylim(0, self._height)
        paper.draw_grid(self._axes, squares, self._height, phase=begin * paper.MM_PER_SECOND % 5)
        self._map = paper.MapOnPaper(explanation, palette, options.resolution, self._unit)
        self._image = self._map.draw(self._axes, 0, 0, self._height)
        self._hatch = paper.draw_hatch(self._axes, [])
        (self._trace,) = self._axes.plot([], [], color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
        self._gradient = GradientCurve(self._axes, explanation) if gradient else None
        self._axes.set_xlim(begin, end)
        self._axes.set_ylim(0, self._height)
        paper.label_seconds(self._axes, begin, seconds)
        self._label(squares * self._unit, tall)
        curve = [] if self._gradient is None else [self._gradient.line]
        changing = [self._axes.yaxis, self._image, self._hatch, self._trace, *curve]
        paper.LayeredCanvas(self.figure, [*changing, self._word, self._title, self._note, self._speed])

    def _lay_out_titles(self, room: float, dpi: float) -> None:
        """Choose the size at which every title fits; notes stand below the titles where one does not fit next to its own.

        All leads have one layout, so that their strips compare.
        """
        explanation = self._explanation
        rows = range(len(explanation.leads))
        self._titles = [f"{explanation.leads[row]}  ·  {wording.gain(explanation, row)}" for row in rows]
        self._notes = [wording.notes(explanation, row, self._palette.scale) for row in rows]

        def longest(size: float) -> float:
            style: dict[str, Any] = {"size": size, "dpi": dpi, "weight": "bold"}
            return max(text_width(title, **style) for title in self._titles) * paper.MM_PER_INCH

        self._title_size = next((size for size in _TITLE_SIZES if longest(size) <= room), _TITLE_SIZES[-1])
        noted = [text_width(note, size=_NOTE_SIZE, dpi=dpi) * paper.MM_PER_INCH for note in self._notes if note]
        below = bool(noted) and longest(self._title_size) + _NOTE_GAP + max(noted) > room
        block = [TextBlock([Line(note, _NOTE_SIZE, 4)], room, dpi).height for note in self._notes if note]
        self._notes_height = max(block) if below else 0.0

    def _head(self, room: float, dpi: float) -> list[Line]:
        """Return what stands above the paper of every lead."""
        explanation = self._explanation
        checked = wording.check_result(explanation)
        lines = [
            headline(wording.headline(explanation), 9, room, dpi),
            Line(wording.outcome(explanation), 8, 4, colour=paper.SOFT_INK),
        ]
        if checked is not None and not checked[1]:
            lines.append(Line(checked[0], 8, 4, colour=paper.NOTE_INK))
        found = wording.warnings(explanation)
        return [*lines, *(Line(warning, 7.5, 5, colour=paper.NOTE_INK) for warning in found)]

    def _label(self, wide: float, tall: float) -> None:
        def at(x: float, y: float) -> tuple[float, float]:
            return x / self._width, y / self._whole

        figure = self.figure
        soft: dict[str, Any] = {"color": paper.SOFT_INK, "size": 7.5, "va": "center"}
        top = self._whole - _EDGE - 4.5
        self._title = draw_text(figure, *at(_LEFT, top), "", size=self._title_size, weight="bold", color=paper.INK)
        below: dict[str, Any] = {"va": "top", "linespacing": 1.1} if self._notes_height else {}
        top = self._whole - _EDGE - _TITLE if below else top
        self._note = draw_text(figure, *at(_LEFT, top), "", size=_NOTE_SIZE, color=paper.NOTE_INK, **below)
        line = self._bottom - _TIME + 2.6
        words = "seconds from the start of the record" if wide > _LEAST_TIME_ROOM else "s"
        draw_text(figure, *at(_LEFT, line), words, **soft)
        self._speed = draw_text(figure, *at(max(_LEFT + wide, self._width - self._right), line), "", ha="right", **soft)
        draw_text(figure, *at(3.0, self._bottom + tall / 2), "mV", rotation=90, ha="center", **soft)
        bar = paper.axes_at(figure, _LEFT + wide + _BAR_GAP, self._bottom, _BAR, tall)
        paper.draw_colour_bar(bar, self._palette, horizontal=False, room=tall, label=False)
        self._word = draw_text(
            self._axes, 0.5, 0.5, "", size=11, ha="center", va="center", color=paper.SOFT_INK,
            transform=self._axes.transAxes, zorder=paper.MARKS, bbox={"facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip

    @as_delivered()
    def show(self, row: int) -> None:
        """Change the figure to another lead."""
        explanation, axes, gain = self._explanation, self._axes, self._gains[row]
        low, high = self._ranges[row]
        zero = 5 * round((self._height / 2 - (low + high) / 2 * gain) / 5)  # on a bold line of the grid
        step = 0.5 * paper.MM_PER_MV / gain
        while step * gain * self._unit < 4.0:  # mm between labels
            step *= 2
        first, last = math.ceil(-zero / gain / step - 1e-9), math.floor((self._height - zero) / gain / step + 1e-9)
        volts = [step * number for number in range(first, last + 1)]
        axes.yaxis.set_major_locator(FixedLocator([zero + gain * volt for volt in volts]))
        axes.yaxis.set_major_formatter(FixedFormatter([f"{volt:.3g}".replace("-", "−") for volt in volts]))
        axes.set_ylim(0, self._height)
        self._image.set_data(self._map.rgba(row))
        start = float(explanation.time[0])
        self._hatch.set_paths(paper.invalid_boxes(explanation.valid[row], start, explanation.fs, 0, self._height))
        # Padding and bridged gaps are not ECG: only the hatch is drawn there.
        self._trace.set_data(self._drawn.time, zero + gain * self._drawn.signal[row])
        if self._gradient is not None:
            self._gradient.show(row, self._height)
        write(self._speed, paper.speed(self._unit, gain))
        self._caption(row)

    def _caption(self, row: int) -> None:
        explanation = self._explanation
        room = self._width - _LEFT - 2
        write(self._title, self._titles[row], width=room / paper.MM_PER_INCH)
        write(self._word, "" if explanation.valid[row].any() else wording.FLAT)
        self._word.set_visible(bool(self._word.get_text()))
        self._note.set_visible(bool(self._notes[row]))
        if not self._notes_height:
            taken = self._title.get_window_extent().width / self.figure.dpi * paper.MM_PER_INCH + _NOTE_GAP
            self._note.set_x((_LEFT + taken) / self._width)
        write(self._note, self._notes[row], width=room / paper.MM_PER_INCH, lines=4)


class GradientCurve:
    """The smoothed input gradient as a thin curve over the lower part of the paper, on one scale for all leads."""

    def __init__(self, axes: Axes, explanation: Explanation) -> None:
        self._explanation = explanation
        self._top, self._signed = _gradient_range(explanation)
        (self.line,) = axes.plot([], [], color=_GRADIENT, linewidth=0.7, zorder=paper.TRACE)

    def show(self, row: int, height: float) -> None:
        """Change the curve to another lead, on paper of `height` squares."""
        explanation = self._explanation
        values = np.where(explanation.valid[row], explanation.gradient_smoothed[row], np.nan) / self._top
        zero, reach = (height / 2, height / 2) if self._signed else (0.0, height / 3)
        self.line.set_data(explanation.time, zero + reach * values)


def _gradient_range(explanation: Explanation) -> tuple[float, bool]:
    """Return the largest magnitude of the smoothed gradient, and whether it has signs."""
    if not explanation.gradient_smoothed.size:
        raise EcgcamError(
            f"{explanation.meta['record']}: has no input gradient; explain it again with `gradient` record"
        )
    values = np.where(explanation.valid, explanation.gradient_smoothed, 0.0)
    return float(np.abs(values).max(initial=0.0)) or 1.0, bool((values < 0).any())


def _about_gradient(explanation: Explanation) -> str:
    top, with_sign = _gradient_range(explanation)
    where = "about the middle" if with_sign else "from the lower edge"
    share = "half" if with_sign else "a third"
    return f"thin curve: smoothed gradient {where}, {share} of the height is {top:.2g} per mV"


def voltage_range(signal: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lowest and highest voltage, mV; (0, 0) without a valid sample."""
    if not valid.any():
        return 0.0, 0.0
    return float(signal[valid].min()), float(signal[valid].max())
