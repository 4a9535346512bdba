"""All leads of an explanation on one page: the model's answer, the ECG with the map, and what each lead adds."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle

from ecgcam.records.waves import WAVES
from ecgcam.render import paper, wording
from ecgcam.render.colour import NO_LEAD, Colours, colours
from ecgcam.render.criteria_table import CriteriaTable
from ecgcam.render.fonts import draw_text, text_width
from ecgcam.render.lead_table import TOP_LEADS, LeadTable
from ecgcam.render.panels import LAYOUTS, PULSE, Panel, check_layout, samples_of, zero_of
from ecgcam.render.style import PictureOptions, as_delivered
from ecgcam.render.text_block import Line, TextBlock, headline
from ecgcam.results.beatwise import WaveTable
from ecgcam.results.explanation import Explanation
from ecgcam.results.ranks import ranked_leads
from ecgcam.results.trace import Trace, shown_trace

# Millimetres.
_LEFT, _RIGHT, _EDGE = 9.0, 3.0, 4.0
_PAPER = 258.0  # of a page for A4: 10 s and the pulse
_LEAST_WIDTH = 180.0
_TIME, _BAR, _BAR_WIDTH, _BAR_ROOM = 8.5, 3.0, 52.0, 8.0

_MOMENTS = 3
_FAINT = 0.2  # of a lead's strongest: what is weaker hardly has colour, and gets no mark
_LETTER = 5.2  # mm that the name of a wave takes
_NUDGES = (
    0.0,
    -0.8,
    0.8,
    -1.6,
    1.6,
)  # mm; how far a name may be from the middle of its bar, where another stands there
_NAMES_BAND = 4.4
_LEAST_KEY, _LEAST_TIME_ROOM = 55.0, 110.0
_SECONDS = "seconds from the start of the record"
_TRUTH = "#1b6e3c"


def page(
    explanation: Explanation,
    *,
    scale: str | None = None,
    layout: str = "3x4",
    waves: WaveTable | None = None,
    options: PictureOptions | None = None,
    trace: Trace | None = None,
    outline: npt.NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw an explanation on one page: the answer, all leads at 25 mm/s and 10 mm/mV with the map, ranked bars.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    scale : {"evidence", "lead", "raw"}, optional
        See `Explanation.scaled_map`; by default ``evidence``, or ``raw`` for methods without cells.
    layout : {"3x4", "12x1"}
        ``3x4``: four columns that are consecutive parts of the window (2.5 s of 10 s), of traces and maps alike, over strips
        of lead II and of the lead with the largest gain. Where that leaves no column long enough to hold a beat, or there
        are three leads at most, every lead is drawn whole. ``12x1``: every lead over the whole window.
    waves : WaveTable, optional
        Adds the waves' names, and how the maps lie on P, PR, QRS, ST, T and TP.
    options : PictureOptions, optional
        Resolution and width. At a width of its own the page is laid out again: paper shrinks or grows, text does not.
    trace : Trace, optional
        The recording at its own rate; by default what the model saw is drawn.
    outline : bool, (L, T), optional
        What an expert or a simulator marked as the truth: outlined.

    Raises
    ------
    EcgcamError
        If there is no such layout or scale.
    """
    check_layout(layout)
    palette = colours(explanation, scale)
    return draw_page(explanation, palette, layout, options or PictureOptions(), waves, trace, outline)


@as_delivered()
def draw_page(
    explanation: Explanation,
    palette: Colours,
    layout: str,
    options: PictureOptions,
    waves: WaveTable | None = None,
    trace: Trace | None = None,
    outline: npt.NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw the page with colours that are known already."""
    plan = PagePlan(explanation, palette, layout, options, waves, trace, outline)
    figure = paper.blank_figure(plan.width, plan.height, options.resolution)
    plan.draw(figure, 0.0, 0.0)
    return figure


class PagePlan:
    """A page laid out: its size is known before the figure is made, so that several can share one.

    Attributes
    ----------
    width, height : float
        Millimetres.
    above, below : float
        The same above the paper, and below its upper edge: where several pages are aligned by their paper.
    """

    def __init__(
        self,
        explanation: Explanation,
        palette: Colours,
        layout: str,
        options: PictureOptions,
        waves: WaveTable | None = None,
        trace: Trace | None = None,
        outline: npt.NDArray[np.bool_] | None = None,
        letter: str = "",
        note: str = "",
    ) -> None:
        self._explanation, self._palette, self._waves = explanation, palette, waves
        self._trace, self._outline, self._dpi = shown_trace(explanation, trace), outline, options.resolution
        self._begin, self._end = paper.recorded(explanation)
        self._squares = PULSE + (self._end - self._begin) * paper.MM_PER_SECOND
        if options.width_mm is None:
            self._unit, self.width = 1.0, max(_LEFT + self._squares + _RIGHT, _LEAST_WIDTH)
        else:
            self.width = options.width_mm
            self._unit = (self.width - _LEFT - _RIGHT) / max(self._squares, _PAPER)
        panels = LAYOUTS[layout](explanation, self._unit, trace)
        if waves is not None:  # a band below all leads for the names of the waves
            band = 5 * math.ceil(_NAMES_BAND / self._unit / 5)
            panels = [replace(panel, bottom=panel.bottom + band) for panel in panels]
        self._panels = panels
        self._columns = len({panel.begin for panel in panels}) > 1
        self._rows = max(panel.outer_top for panel in panels)
        room = self._room = self.width - _LEFT - _RIGHT
        self._head = TextBlock(_head(explanation, palette, room, self._dpi, letter, note), room, self._dpi)
        about = wording.about_colour(explanation, palette, "its bar below")
        if outline is not None:
            about += "  ·  dashed outline: where the truth is marked"
        # On narrow pages the words stand below the bar.
        self._beside = room - _BAR_WIDTH - 6 >= _LEAST_KEY
        key_room = room - _BAR_WIDTH - 6 if self._beside else room
        self._key = TextBlock([Line(about, 7.5, 8, colour=paper.SOFT_INK)], key_room, self._dpi)
        self._table = LeadTable(explanation, waves, room)
        beats = waves is not None and len(waves.waves.beats) > 0
        foot = _foot(explanation, palette, trace, columns=self._columns, waves=beats)
        self._foot = TextBlock(foot, room, self._dpi)
        # From the bottom upwards.
        self._criteria = CriteriaTable(explanation, room, self._dpi)
        self._criteria_bottom = _EDGE + self._foot.height + 2
        self._table_bottom = self._criteria_bottom + self._criteria.height
        key = max(_BAR_ROOM - _BAR, self._key.height - _BAR) if self._beside else _BAR_ROOM - _BAR + self._key.height
        self._bar_bottom = self._table_bottom + self._table.height + 2 + key
        self._paper_bottom = self._bar_bottom + _BAR + 2 + _TIME
        self.above = _EDGE + self._head.height + 2
        self.below = self._paper_bottom + self._rows * self._unit
        self.height = self.below + self.above

    def draw(self, figure: Figure, left: float, bottom: float) -> None:
        """Draw the page with its lower left corner at (`left`, `bottom`) mm of the figure."""
        explanation, palette, panels, unit = self._explanation, self._palette, self._panels, self._unit
        x = left + _LEFT
        axes = paper.axes_at(figure, x, bottom + self._paper_bottom, self._squares * unit, self._rows * unit)
        _draw_paper(axes, explanation, palette, panels, (self._begin, self._end, unit, self._dpi))
        if self._outline is not None:
            _draw_outline(axes, explanation, panels, self._outline)
        _draw_traces(axes, explanation, panels, self._trace)
        _draw_pulses(axes, self._trace, panels, self._begin)
        _draw_moments(axes, explanation, palette, panels, columns=self._columns)
        if self._waves is not None:
            _draw_wave_names(axes, self._waves, (self._begin, self._end), float(explanation.time[0]), unit)
        _draw_names(axes, explanation, palette, panels, columns=self._columns, unit=unit)
        axes.set_xlim(self._begin - PULSE / paper.MM_PER_SECOND, self._end)
        axes.set_ylim(0, self._rows)
        paper.label_seconds(axes, self._begin, self._end - self._begin)
        axes.yaxis.set_visible(False)
        self._label_paper(figure, x, bottom)
        self._foot.draw(figure, x, bottom + _EDGE + self._foot.height)
        self._criteria.draw(figure, x, bottom + self._criteria_bottom)
        self._table.draw(figure, x, bottom + self._table_bottom)
        if self._beside:
            self._key.draw(figure, x + _BAR_WIDTH + 6, bottom + self._bar_bottom + _BAR + 0.5)
        else:
            self._key.draw(figure, x, bottom + self._bar_bottom - _BAR_ROOM + _BAR)
        self._head.draw(figure, x, bottom + self.height - _EDGE)
        bar = paper.axes_at(figure, x, bottom + self._bar_bottom, _BAR_WIDTH, _BAR)
        paper.draw_colour_bar(bar, palette, horizontal=True, room=_BAR_WIDTH, label=False)

    def _label_paper(self, figure: Figure, x: float, bottom: float) -> None:
        """Write what the time axis counts, and the scale of the paper."""
        whole_width, whole_height = (side * paper.MM_PER_INCH for side in figure.get_size_inches())
        style: dict[str, Any] = {"size": 7.5, "color": paper.SOFT_INK, "va": "center"}
        y = (bottom + self._paper_bottom - _TIME + 2.2) / whole_height
        gains = {panel.gain for panel in self._panels}
        speed = paper.speed(self._unit, self._panels[0].gain) if len(gains) == 1 else paper.speed(self._unit)
        words = speed if len(gains) == 1 else f"{speed}, or as the row states"
        narrow = self._room < _LEAST_TIME_ROOM
        draw_text(figure, (x + PULSE * self._unit) / whole_width, y, "s" if narrow else _SECONDS, **style)
        draw_text(figure, (x + self._room) / whole_width, y, words, ha="right", **style)


def _head(
    explanation: Explanation, palette: Colours, room: float, dpi: float, letter: str = "", note: str = ""
) -> list[Line]:
    """Return what stands above the paper: the answer, the scores, the check, the criteria, every warning."""
    checked = wording.check_result(explanation)
    said = f"{letter}   {wording.headline(explanation)}" if letter else wording.headline(explanation)
    lines = [
        headline(said, 13, room, dpi),
        Line(f"{NO_LEAD[:1].upper()}{NO_LEAD[1:]}" if palette.blank == NO_LEAD else "", 11, 1, "bold", paper.NOTE_INK),
        Line(note, 9, 1, "bold"),
        Line(wording.outcome(explanation), 8.5, 4, colour=paper.SOFT_INK),
    ]
    if checked is not None:
        lines.append(Line(checked[0], 8.5, 4, colour=paper.INK if checked[1] else paper.NOTE_INK))
    lines.append(Line(wording.reasons_sentence(explanation), 8.5, 6, colour=paper.INK))
    return [*lines, *(Line(warning, 8, 5, colour=paper.NOTE_INK) for warning in wording.warnings(explanation))]


def _foot(explanation: Explanation, palette: Colours, trace: Trace | None, *, columns: bool, waves: bool) -> list[Line]:
    parts = [paper.RESEARCH]
    if not palette.blank:
        parts.append(f"▼ strongest moments of the {TOP_LEADS} leads that add most")
    if columns:
        shown = "" if palette.blank else ": each shows its own part of the map"
        parts.append(f"columns follow one another in time{shown}")
    if columns and not palette.blank:
        parts.append("› or ‹ and a time: the lead's strongest moment is in another column")
    if waves:
        parts.append("bars below the leads: P, QRS and T, named where there is room")
    if basis := wording.basis(explanation):
        parts.append(f"the answer is based on {basis}")
    soft = paper.SOFT_INK
    return [
        Line("  ·  ".join(parts), 7, 9, colour=soft),
        Line(f"{wording.provenance(explanation)}  ·  {wording.rate(explanation, trace)}", 7, 6, colour=soft),
    ]


def _draw_paper(
    axes: Axes,
    explanation: Explanation,
    palette: Colours,
    panels: list[Panel],
    sizes: tuple[float, float, float, float],
) -> None:
    """Draw the grid and, in each panel, the map's colour."""
    begin, end, unit, dpi = sizes
    left = begin - PULSE / paper.MM_PER_SECOND
    squares = PULSE + (end - begin) * paper.MM_PER_SECOND
    rows = max(panel.outer_top for panel in panels)
    paper.draw_grid(axes, squares, rows, phase=left * paper.MM_PER_SECOND % 5)
    colouring = paper.MapOnPaper(explanation, palette, dpi, unit)
    for panel in panels:
        if palette.values[panel.row].any():
            image = colouring.draw(axes, panel.row, panel.bottom, panel.top)
            box = (panel.begin, panel.bottom), panel.end - panel.begin, panel.top - panel.bottom
            image.set_clip_path(Rectangle(*box, transform=axes.transData))


def _draw_outline(axes: Axes, explanation: Explanation, panels: list[Panel], outline: npt.NDArray[np.bool_]) -> None:
    """Outline the stretches that are marked as the truth."""
    style: dict[str, Any] = {"fill": False, "edgecolor": _TRUTH, "linewidth": 1.0, "linestyle": (0, (3, 1.5))}
    for panel in panels:
        part = samples_of(explanation, panel.begin, panel.end)
        start = float(explanation.time[part.start]) if part.stop > part.start else panel.begin
        for box in paper.invalid_boxes(~outline[panel.row, part], start, explanation.fs, panel.bottom, panel.top):
            axes.add_patch(PathPatch(box, zorder=paper.TRACE, **style))


def _draw_traces(axes: Axes, explanation: Explanation, panels: list[Panel], trace: Trace) -> None:
    """Draw traces and hatches; the vertical unit is squares from the paper's lower edge."""
    boxes = []
    for panel in panels:
        part = samples_of(explanation, panel.begin, panel.end)
        valid, own = explanation.valid[panel.row, part], trace.part(panel.begin, panel.end)
        volts = zero_of(trace, panel) + panel.gain * trace.signal[panel.row, own]
        axes.plot(trace.time[own], volts, color=paper.INK, linewidth=0.8, zorder=paper.TRACE)
        start = float(explanation.time[part.start]) if part.stop > part.start else panel.begin
        boxes += paper.invalid_boxes(valid, start, explanation.fs, panel.bottom, panel.top)
        if not valid.any():
            draw_text(
                axes, (panel.begin + panel.end) / 2, (panel.bottom + panel.top) / 2, wording.FLAT, size=8,
                color=paper.SOFT_INK, ha="center", va="center", zorder=paper.MARKS,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
    paper.draw_hatch(axes, boxes)


def _draw_pulses(axes: Axes, trace: Trace, panels: list[Panel], start: float) -> None:
    """Draw a pulse of 1 mV and 0.16 s before each row, on the zero line of its first lead."""
    at = start + np.array([-7, -6, -6, -2, -2, -1]) / paper.MM_PER_SECOND
    pulses = []
    for panel in {panel.bottom: panel for panel in reversed(panels)}.values():
        base = min(max(zero_of(trace, panel), panel.bottom + 1), panel.top - 1 - panel.gain)
        pulses.append(np.column_stack([at, base + panel.gain * np.array([0, 0, 1, 1, 0, 0])]))
    axes.add_collection(LineCollection(pulses, colors=paper.INK, linewidths=0.8, zorder=paper.TRACE), autolim=False)


def _marked_leads(explanation: Explanation, palette: Colours) -> list[int]:
    return [
        row
        for row in ranked_leads(explanation)[:TOP_LEADS]
        if palette.values[row].any() and (palette.scale != "evidence" or explanation.gains[row] > 0)
    ]


def _draw_moments(
    axes: Axes, explanation: Explanation, palette: Colours, panels: list[Panel], *, columns: bool
) -> None:
    """Mark the strongest moments of the leads that add most, above their panels; in columns, of what they show."""
    rows = _marked_leads(explanation, palette)
    moments = {row: explanation.moments(row, len(explanation.time) if columns else _MOMENTS) for row in rows}
    marks = []
    for panel in panels:
        strength = np.abs(palette.values[panel.row])
        inside = [
            time
            for time in moments.get(panel.row, ())
            if panel.begin <= time < panel.end
            and strength[np.searchsorted(explanation.time, time - 1e-6)] >= _FAINT * strength.max()
        ]
        marks += [(time, panel.top + 0.9) for time in inside[:_MOMENTS]]
    if marks:
        xs, ys = zip(*marks, strict=True)
        axes.plot(
            xs, ys, linestyle="none", marker="v", markersize=4, color=paper.INK, markeredgewidth=0, zorder=paper.MARKS
        )


def _draw_wave_names(
    axes: Axes, waves: WaveTable, ends_of_paper: tuple[float, float], start: float, unit: float
) -> None:
    """Bracket P, QRS and T of every beat once, below all leads, and name each where its name has room, QRS before T and P."""
    found, fs = waves.waves, waves.waves.fs
    brackets: list[list[tuple[float, float]]] = []
    places: dict[str, list[float]] = {name: [] for name in WAVES}
    for onset, offset in zip(found.onset, found.offset, strict=True):
        for name, first, stop in zip(WAVES, onset, offset, strict=True):
            if np.isfinite(first + stop):
                ends = start + first / fs, start + stop / fs
                brackets.append([(end, 3.6 / unit) for end in ends])
                places[name].append(sum(ends) / 2)
    lines = LineCollection(brackets, colors=paper.SOFT_INK, linewidths=1.8, zorder=paper.MARKS)
    axes.add_collection(lines, autolim=False)
    taken: list[tuple[float, float]] = []
    for name in ("QRS", "T", "P"):
        half = _LETTER / 2 * (1.0 if name == "QRS" else 0.5) / (paper.MM_PER_SECOND * unit)
        for middle in places[name]:
            places_near = (middle + nudge / (paper.MM_PER_SECOND * unit) for nudge in _NUDGES)
            place = next(
                (each for each in places_near if _has_room(each - half, each + half, ends_of_paper, taken)), None
            )
            if place is None:
                continue
            taken.append((place - half, place + half))
            style: dict[str, Any] = {"color": paper.SOFT_INK, "ha": "center", "va": "top", "zorder": paper.MARKS}
            draw_text(axes, place, 3.0 / unit, name, size=6.5, **style)


def _has_room(low: float, high: float, ends: tuple[float, float], taken: list[tuple[float, float]]) -> bool:
    """Return whether a name from `low` to `high` lies within the paper and over no other name."""
    return ends[0] <= low and high <= ends[1] and not any(low < above and below < high for below, above in taken)


def _draw_names(
    axes: Axes, explanation: Explanation, palette: Colours, panels: list[Panel], *, columns: bool, unit: float
) -> None:
    """Name leads left of their rows, or, in columns, above each panel; state where a lead's strongest moment is elsewhere."""
    first_of_row = {panel.bottom: panel for panel in reversed(panels)}
    marked = _marked_leads(explanation, palette)
    whole_row = 0.99 * max(panel.end - panel.begin for panel in panels)
    in_strips = {panel.row for panel in panels if panel.end - panel.begin >= whole_row}
    for panel in panels:
        name = explanation.leads[panel.row]
        own_gain = panel.gain != paper.MM_PER_MV and first_of_row[panel.bottom] is panel
        scale_text = f"{panel.gain * unit:.3g} mm/mV" if own_gain else ""
        style: dict[str, Any] = {"color": paper.INK, "zorder": paper.MARKS}
        if not columns:
            draw_text(
                axes, -1.2 / axes.bbox.width * axes.figure.dpi / paper.MM_PER_INCH, (panel.bottom + panel.top) / 2, name,
                size=9, weight="bold", ha="right", va="center", transform=axes.get_yaxis_transform(), **style,
            )  # fmt: skip
            if scale_text:
                x = panel.begin - (PULSE - 0.4) / paper.MM_PER_SECOND
                draw_text(axes, x, panel.outer_top - 0.2, scale_text, size=6.5, va="top", **style)
            continue
        axes.plot([panel.begin] * 2, [panel.bottom, panel.top], color=paper.SOFT_INK, linewidth=0.5, zorder=paper.HATCH)
        scales, moments = [scale_text], [""]
        if scale_text:
            alone = panel.end - panel.begin >= whole_row
            scales = [scale_text if alone else f"row {scale_text}", scale_text]
            scales.append(f"× 1/{paper.MM_PER_MV / panel.gain:g}")
        if panel.row in marked and panel.row not in in_strips:
            strongest = explanation.moments(panel.row, 1)
            if strongest and not panel.begin <= strongest[0] < panel.end:
                arrow = "›" if strongest[0] >= panel.end else "‹"
                moments = [f"{arrow} strongest at {strongest[0]:.1f} s", f"{arrow} {strongest[0]:.1f} s", ""]
        x = panel.begin + 0.5 / paper.MM_PER_SECOND
        title = draw_text(axes, x, panel.outer_top - 0.3 / unit, name, size=9, weight="bold", va="top", **style)
        if scale_text or moments[0]:
            taken = title.get_window_extent().width / axes.figure.dpi * paper.MM_PER_INCH / unit + 1.5
            room = ((panel.end - panel.begin) * paper.MM_PER_SECOND * unit - taken * unit - 1) / paper.MM_PER_INCH
            of_lead = ("  ".join(filter(None, pair[::-1])) for pair in itertools.product(moments, scales))
            said = next((each for each in of_lead if text_width(each, size=6.5, dpi=axes.figure.dpi) <= room), "")
            x += taken / paper.MM_PER_SECOND
            draw_text(axes, x, panel.outer_top - 0.6 / unit, said, size=6.5, va="top", **style)
