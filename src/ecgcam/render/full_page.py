"""All leads of an explanation on one page: one time base, one mV scale, one colour scale, leads ranked by gain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecgcam.beatwise import WaveTable
from ecgcam.errors import EcgcamError
from ecgcam.explanation import LAYOUTS as LAYOUT_NAMES
from ecgcam.explanation import Explanation
from ecgcam.render import paper, wording
from ecgcam.render.colour import Colours, colours
from ecgcam.render.fonts import place
from ecgcam.render.gains import TOP_LEADS, Entry, draw_gains, side_width
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.style import as_delivered

# Millimetres.
_LEFT, _TOP, _BOTTOM, _RIGHT = 14, 27, 20, 4
_PULSE = 10  # paper before the first sample, for the calibration pulse
_LEAST_ROW, _MOST_ROW, _AIR = 15, 60, 6
_LEAST_CLINICAL_ROW = 30  # names stand above the traces, and the table beside them needs room for twelve leads
_LEAST_WIDTH = 220
_SCALE = 58  # colour bar
_SIDE_GAP = 5

_MOMENTS = 3
_FAINT = 0.2  # of a lead's strongest: what is weaker hardly has colour, and gets no mark
_COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
_RHYTHM = "II"
_LEAST_COLUMN = 1.5  # s; a shorter one need not hold a beat


@dataclass(frozen=True)
class Panel:
    """A stretch of one lead, `begin` to `end` (s), on `height` mm of paper that begin `bottom` mm above its lower edge."""

    row: int
    bottom: int
    height: int
    begin: float
    end: float

    @property
    def top(self) -> int:
        """Upper edge, mm."""
        return self.bottom + self.height


def page(
    explanation: Explanation,
    *,
    scale: str = "evidence",
    layout: str = "12x1",
    dpi: float = paper.DPI,
    waves: WaveTable | None = None,
) -> Figure:
    """Draw all leads of an explanation at 25 mm/s and 10 mm/mV, with their gains and strongest moments.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    scale : {"evidence", "lead", "raw"}
        See `Explanation.scaled_map`.
    layout : {"12x1", "3x4"}
        ``12x1``: every lead over the whole window. ``3x4``: as cardiologists are used to, four columns that are consecutive
        parts of the window (2.5 s of 10 s), of traces and maps alike, over a strip of lead II. Where that leaves no column
        long enough to hold a beat, or there are three leads at most, every lead is drawn whole.
    dpi : float
        Pixels per inch; the default has six pixels per millimetre.
    waves : WaveTable, optional
        Adds how the maps lie on P, PR, QRS, ST, T and TP.

    Raises
    ------
    EcgcamError
        If there is no such layout or scale.
    """
    check_layout(layout)
    return draw_page(explanation, colours(explanation, scale), scale, layout, dpi, waves)


def check_layout(layout: str) -> None:
    """Raise `EcgcamError` unless `layout` is one of `LAYOUTS`."""
    if layout not in LAYOUTS:
        raise EcgcamError(f"--layout {layout}: no such layout; choose from {', '.join(LAYOUTS)}")


@as_delivered()
def draw_page(
    explanation: Explanation, palette: Colours, scale: str, layout: str, dpi: float, waves: WaveTable | None = None
) -> Figure:
    """Draw the page with colours that are known already."""
    panels = LAYOUTS[layout](explanation)
    start, seconds = paper.seconds_of(explanation)
    columns = len({panel.begin for panel in panels}) > 1
    paper_width = _PULSE + seconds * paper.MM_PER_SECOND
    paper_height = max(panel.top for panel in panels)
    side = side_width(names=columns, waves=waves is not None)
    width = max(_LEFT + paper_width + _SIDE_GAP + side + _RIGHT, _LEAST_WIDTH)
    height = _TOP + paper_height + _BOTTOM
    figure = paper.blank_figure(width, height, dpi)

    axes = paper.axes_at(figure, _LEFT, _BOTTOM, paper_width, paper_height)
    left = start - _PULSE / paper.MM_PER_SECOND
    paper.draw_grid(axes, paper_width, paper_height, phase=left * paper.MM_PER_SECOND % 5)
    colouring = paper.MapOnPaper(explanation, palette, dpi)
    for panel in panels:
        if palette.values[panel.row].any():
            image = colouring.draw(axes, panel.row, panel.bottom, panel.top)
            if columns:
                box = (panel.begin, panel.bottom), panel.end - panel.begin, panel.height
                image.set_clip_path(Rectangle(*box, transform=axes.transData))
    _draw_traces(axes, explanation, panels)
    _draw_pulses(axes, panels, start)
    _draw_moments(axes, explanation, palette, panels, columns=columns)
    axes.set_xlim(left, start + seconds)
    axes.set_ylim(0, paper_height)
    paper.label_seconds(axes, start, seconds)
    axes.yaxis.set_visible(False)
    _draw_names(axes, explanation, panels, columns=columns)

    gains = paper.axes_at(figure, width - side - _RIGHT, _BOTTOM, side, paper_height)
    draw_gains(gains, explanation, _entries(explanation, panels, paper_height, columns=columns), waves, names=columns)
    _label(figure, explanation, scale, (width, height, side), columns=columns, waves=waves is not None)
    bar = paper.axes_at(figure, width - _SCALE - 8, height - 11, _SCALE, 3.5)
    paper.draw_colour_bar(bar, palette, horizontal=True, room=_SCALE)
    return figure


def _whole_leads(explanation: Explanation) -> list[Panel]:
    """One row per lead over the whole window (12x1)."""
    start, seconds = paper.seconds_of(explanation)
    return _stacked([[(row, start, start + seconds)] for row in range(len(explanation.leads))], explanation, _LEAST_ROW)


def _clinical(explanation: Explanation) -> list[Panel]:
    """Three rows of columns that follow one another in time, over a strip of lead II (3x4)."""
    groups = [[explanation.leads.index(lead) for lead in group if lead in explanation.leads] for group in _COLUMNS]
    groups = [group for group in groups if group]
    begin, end = _recorded(explanation)
    each = (end - begin) / len(groups)
    if len(explanation.leads) <= 3 or each < _LEAST_COLUMN:
        return _whole_leads(explanation)
    rows = [
        [
            (group[place], begin + column * each, begin + (column + 1) * each)
            for column, group in enumerate(groups)
            if place < len(group)
        ]
        for place in range(max(map(len, groups)))
    ]
    rhythm = explanation.leads.index(_RHYTHM) if _RHYTHM in explanation.leads else 0
    if not explanation.valid[rhythm].any():
        rhythm = int(np.argmax(explanation.valid.any(axis=1)))
    start, seconds = paper.seconds_of(explanation)
    return _stacked([*rows, [(rhythm, start, start + seconds)]], explanation, _LEAST_CLINICAL_ROW)


# A layout says which stretch of which lead lies where on the paper; --layout knows the names without Matplotlib.
LAYOUTS: dict[str, Callable[[Explanation], list[Panel]]] = dict(
    zip(LAYOUT_NAMES, (_whole_leads, _clinical), strict=True)
)


def _recorded(explanation: Explanation) -> tuple[float, float]:
    """Return from when to when (s) any lead has a signal: columns of padding would show nothing."""
    start, seconds = paper.seconds_of(explanation)
    somewhere = np.flatnonzero(explanation.valid.any(axis=0))
    if not len(somewhere):
        return start, start + seconds
    return start + somewhere[0] / explanation.fs, start + (somewhere[-1] + 1) / explanation.fs


def _stacked(rows: list[list[tuple[int, float, float]]], explanation: Explanation, least: int) -> list[Panel]:
    """Lay rows of (lead, begin, end) above one another, each as high as the voltages of its leads need, within limits.

    Heights are multiples of 5 mm. Leads of one page differ by a factor of ten; equal rows would overlap or waste the page.
    """
    heights = []
    for row in rows:
        ranges = [_range(explanation, *stretch) for stretch in row]
        needed = max(high - low for low, high in ranges) * paper.MM_PER_MV + _AIR
        heights.append(min(max(5 * math.ceil(needed / 5), least), _MOST_ROW))
    bottoms = [sum(heights[place + 1 :]) for place in range(len(rows))]
    return [
        Panel(lead, bottom, height, begin, end)
        for row, bottom, height in zip(rows, bottoms, heights, strict=True)
        for lead, begin, end in row
    ]


def _samples(explanation: Explanation, begin: float, end: float) -> slice:
    """Return the samples from `begin` up to, not including, `end`."""
    first, stop = np.searchsorted(explanation.time, (begin - 0.5 / explanation.fs, end - 0.5 / explanation.fs))
    return slice(int(first), int(stop))


def _range(explanation: Explanation, row: int, begin: float, end: float) -> tuple[float, float]:
    part = _samples(explanation, begin, end)
    return voltage_range(explanation.signal[row, part], explanation.valid[row, part])


def _draw_traces(axes: Axes, explanation: Explanation, panels: list[Panel]) -> None:
    """Draw traces and hatches; the vertical unit is mm from the paper's lower edge.

    What an artefact needs beyond the tallest row is cut off there, and said: it would lie on other leads, or be seen nowhere.
    """
    lines, boxes, cut = [], [], []
    for panel in panels:
        part = _samples(explanation, panel.begin, panel.end)
        valid, signal, time = (
            explanation.valid[panel.row, part],
            explanation.signal[panel.row, part],
            explanation.time[part],
        )
        low, high = _range(explanation, panel.row, panel.begin, panel.end)
        # Panels are centred on their own voltages, with 0 mV kept on a bold line.
        zero = panel.bottom + 5 * round((panel.height / 2 - (low + high) / 2 * paper.MM_PER_MV) / 5)
        heights = np.where(valid, zero + paper.MM_PER_MV * signal, np.nan)
        lines.append(np.column_stack([time, heights]))
        cut.append(bool(np.any((heights < panel.bottom) | (heights > panel.top))))
        boxes += paper.invalid_boxes(valid, float(time[0]), explanation.fs, panel.bottom, panel.top)
        if not valid.any():
            place(
                axes, (panel.begin + panel.end) / 2, panel.bottom + panel.height / 2, wording.FLAT, size=9,
                color=paper.SOFT_INK, ha="center", va="center", zorder=paper.MARKS,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
            )  # fmt: skip
    paper.draw_hatch(axes, boxes)
    # Not a collection: single lines are simplified before they are drawn, collections are not.
    for panel, line, leaves in zip(panels, lines, cut, strict=True):
        (trace,) = axes.plot(line[:, 0], line[:, 1], color=paper.INK, linewidth=0.8, zorder=paper.TRACE)
        if leaves:
            box = (panel.begin, panel.bottom), panel.end - panel.begin, panel.height
            trace.set_clip_path(Rectangle(*box, transform=axes.transData))
            place(
                axes, panel.end - 0.05, panel.bottom + 1.5, wording.OFF_PAPER, size=8, color=paper.NOTE_INK, ha="right",
                va="bottom", zorder=paper.MARKS, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.6},
            )  # fmt: skip


def _draw_pulses(axes: Axes, panels: list[Panel], start: float) -> None:
    """Draw a pulse of 1 mV and 0.16 s before each row."""
    at = start + np.array([-8, -7, -7, -3, -3, -2]) / paper.MM_PER_SECOND
    pulses = []
    for bottom, height in {panel.bottom: panel.height for panel in panels}.items():
        base = bottom + 5 * round((height - paper.MM_PER_MV) / 2 / 5)
        pulses.append(np.column_stack([at, base + paper.MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])]))
    axes.add_collection(LineCollection(pulses, colors=paper.INK, linewidths=0.8, zorder=paper.TRACE), autolim=False)


def _draw_moments(
    axes: Axes, explanation: Explanation, palette: Colours, panels: list[Panel], *, columns: bool
) -> None:
    """Mark the strongest moments of the leads with the largest gains, where they have colour; in columns, of what they show."""
    rows = [row for row in explanation.ranking[:TOP_LEADS] if explanation.gains[row] > 0 and palette.values[row].any()]
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
        marks += [(time, panel.top - 1.3) for time in inside[:_MOMENTS]]
    if marks:
        xs, ys = zip(*marks, strict=True)
        axes.plot(
            xs, ys, linestyle="none", marker="v", markersize=5, color=paper.INK, markeredgewidth=0, zorder=paper.MARKS
        )


def _draw_names(axes: Axes, explanation: Explanation, panels: list[Panel], *, columns: bool) -> None:
    """Name leads beside their rows, or, in columns, at the upper left of each panel with a line where it begins."""
    for panel in panels:
        name = explanation.leads[panel.row]
        style: dict[str, Any] = {"size": 10, "weight": "bold", "color": paper.INK, "zorder": paper.MARKS}
        if columns:
            axes.plot(
                [panel.begin] * 2, [panel.bottom, panel.top], color=paper.SOFT_INK, linewidth=0.5, zorder=paper.HATCH
            )
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.6}
            place(axes, panel.begin + 0.05, panel.top - 2.5, name, va="top", bbox=box, **style)
        else:
            place(
                axes, -0.006, panel.bottom + panel.height / 2, name, ha="right", va="center",
                transform=axes.get_yaxis_transform(), **style,
            )  # fmt: skip


def _entries(explanation: Explanation, panels: list[Panel], paper_height: int, *, columns: bool) -> list[Entry]:
    """Say at which height each lead's gain stands: beside its row, or, in columns, in the order of the ranking."""
    if not columns:
        return [Entry(panel.row, panel.bottom + panel.height / 2) for panel in panels]
    step = paper_height / len(explanation.leads)
    return [Entry(row, paper_height - (rank + 0.5) * step) for rank, row in enumerate(explanation.ranking)]


def _label(
    figure: Figure,
    explanation: Explanation,
    scale: str,
    size: tuple[float, float, float],
    *,
    columns: bool,
    waves: bool,
) -> None:
    width, height, side = size
    room = (width - _LEFT - _SCALE - 20) / paper.MM_PER_INCH
    column = (width - side - _RIGHT - _SIDE_GAP - _LEFT) / paper.MM_PER_INCH
    whole = (width - _LEFT - 4) / paper.MM_PER_INCH
    soft: dict[str, Any] = {"color": paper.SOFT_INK}

    def at(x: float, y: float) -> tuple[float, float]:
        return x / width, y / height

    place(
        figure, *at(_LEFT, height - 14), wording.prompt(explanation), size=11, weight="bold", width=room, lines=2,
        color=paper.INK, va="bottom",
    )  # fmt: skip
    place(figure, *at(_LEFT, height - 19), wording.outcome(explanation), size=8.5, width=column, **soft)
    place(figure, *at(_LEFT, height - 24), wording.provenance(explanation), size=8, width=column, **soft)
    place(figure, *at(_LEFT + _PULSE, _BOTTOM - 8.5), "seconds from the start of the record", size=8, **soft)
    place(figure, *at(width - side - _RIGHT - _SIDE_GAP, _BOTTOM - 8.5), paper.SPEED, size=8, ha="right", **soft)
    shown = " shown" if columns else ""
    parts = [paper.RESEARCH, f"▼ strongest moments{shown} of at most {TOP_LEADS} leads, those with the largest gains"]
    if columns:
        parts.append("columns follow one another in time: each shows only its own part of the map")
    if scale == "evidence":
        parts.append("leads whose gain is not positive stay blank")
    if scale == "lead":
        parts.append("colours do not compare between leads")
    if waves:
        parts.append("waves: density of the map in each, against the lead's average (1: chance)")
    place(figure, *at(_LEFT, 3), "  ·  ".join(parts), size=7.5, width=whole, lines=2, va="bottom", **soft)
