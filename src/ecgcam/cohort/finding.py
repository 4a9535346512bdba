"""A picture of one prompt over a cohort: gains of the leads, where in the beat the map lies, the average beats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from ecgcam.cohort.bootstrap import DRAWS, Estimate, bootstrap_means
from ecgcam.cohort.gather import TIME, Group
from ecgcam.cohort.tables import ALL, Row, lead_rows, wave_rows
from ecgcam.records.waves import SEGMENTS
from ecgcam.render import paper
from ecgcam.render.colour import NEGATIVE, POSITIVE, shade
from ecgcam.render.fonts import place
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.style import as_delivered

# Millimetres.
_WIDTH, _LEFT, _TOP, _BOTTOM = 270, 16, 22, 15
_TABLES, _GAP = 66, 20
_PANEL, _TRACE, _CURVE, _BETWEEN, _BETWEEN_ROWS = 54, 24, 12, 10, 11
_COLUMNS = 4


@as_delivered()
def draw_finding(group: Group, draws: int = DRAWS, seed: int = 0, dpi: float = paper.DPI) -> Figure:
    """Draw a group: mean gains and densities with their 95 % intervals, and each lead's mean average beat over its mean map.

    Colour is the mean map on the scale ``evidence`` over the largest mean of any lead; the curve below it is the same mean
    with its interval over recordings.
    """
    beats = _well_known(bootstrap_means(group.beats, draws, seed))
    signal = np.where(np.isfinite(beats.mean), group.signal, np.nan)
    rows = -(-len(group.leads) // _COLUMNS)
    height = _TOP + _TABLES + _GAP + rows * (_TRACE + _CURVE + _BETWEEN_ROWS) + _BOTTOM
    figure = paper.blank_figure(_WIDTH, height, dpi)
    upper = height - _TOP - _TABLES
    _draw_gains(paper.axes_at(figure, _LEFT + 8, upper, 100, _TABLES), lead_rows(group, draws, seed))
    _draw_waves(paper.axes_at(figure, 152, upper, 106, _TABLES), wave_rows(group, draws, seed))
    strongest = np.abs(beats.mean[np.isfinite(beats.mean)]).max(initial=0.0)
    highest = np.nanmax(np.abs([beats.mean, beats.low, beats.high]), initial=0.0)
    for at, lead in enumerate(group.leads):
        left = _LEFT + at % _COLUMNS * (_PANEL + _BETWEEN)
        bottom = upper - _GAP - (at // _COLUMNS + 1) * (_TRACE + _CURVE + _BETWEEN_ROWS) + _BETWEEN_ROWS
        trace = paper.axes_at(figure, left, bottom + _CURVE, _PANEL, _TRACE)
        _draw_beat(trace, signal[at], beats.mean[at], strongest)
        place(trace, 0.0, 1.04, lead, size=8.5, weight="bold", color=paper.INK, transform=trace.transAxes, va="bottom")
        _draw_curve(
            paper.axes_at(figure, left, bottom, _PANEL, _CURVE), beats, at, float(highest), first=at % _COLUMNS == 0
        )
    _label(figure, group, height)
    return figure


def _well_known(beats: Estimate) -> Estimate:
    """Leave out the moments that fewer than half of a lead's recordings reach: the ends of the beat at fast rates."""
    known = 2 * beats.n >= np.maximum(beats.n.max(axis=1, keepdims=True), 1)
    mean, low, high = (np.where(known, values, np.nan) for values in (beats.mean, beats.low, beats.high))
    return Estimate(mean, low, high, beats.n)


def _draw_gains(axes: Axes, rows: list[Row]) -> None:
    place(
        axes, 0.0, 1.03, "gain of each lead alone; all: score less empty score", size=8.5, color=paper.SOFT_INK,
        transform=axes.transAxes, va="bottom",
    )  # fmt: skip
    axes.axvline(0.0, color=paper.SOFT_INK, linewidth=0.6, zorder=paper.PAPER)
    for at, row in enumerate(rows):
        if row["gain"] is None:
            continue
        colour = POSITIVE if row["gain"] >= 0 else NEGATIVE
        axes.barh(at, row["gain"], height=0.62, color=(*colour, 0.45), linewidth=0, zorder=paper.MAP)
        _interval(axes, row["low"], row["high"], at, horizontal=True)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(range(len(rows))))
    axes.yaxis.set_major_formatter(FixedFormatter([_named(row, rows[0]["n"]) for row in rows]))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _named(row: Row, whole: int) -> str:
    """Return the lead, and in how many recordings it is where not in all."""
    return str(row["lead"]) if row["n"] == whole else f"{row['lead']} ({row['n']})"


def _draw_waves(axes: Axes, rows: list[Row]) -> None:
    words = "density of the map within the beat (1: chance), and its share"
    place(axes, 0.0, 1.03, words, size=8.5, color=paper.SOFT_INK, transform=axes.transAxes, va="bottom")
    axes.axhline(1.0, color=paper.SOFT_INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=paper.PAPER)
    here = [row for row in rows if row["lead"] == ALL]
    top = 2.0
    for at, row in enumerate(here):
        if row["density"] is None:
            place(axes, at, 0.1, "unknown", size=7.5, color=paper.SOFT_INK, ha="center")
            continue
        axes.plot([at], [row["density"]], "o", color=POSITIVE, markersize=5, zorder=paper.TRACE)
        _interval(axes, row["density_low"], row["density_high"], at, horizontal=False)
        top = max(top, row["density"], row["density_high"] or 0.0)
        place(axes, at + 0.12, row["density"], f"{100 * row['share']:.0f} %", size=8, color=paper.INK, va="center")
    axes.set_xlim(-0.5, len(here) - 0.3)
    axes.set_ylim(0.0, 1.08 * top)
    axes.xaxis.set_major_locator(FixedLocator(range(len(here))))
    axes.xaxis.set_major_formatter(FixedFormatter(list(SEGMENTS)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _interval(axes: Axes, low: float | None, high: float | None, at: float, *, horizontal: bool) -> None:
    if low is not None and high is not None:
        ends, across = [low, high], [at, at]
        places = (ends, across) if horizontal else (across, ends)
        axes.plot(*places, color=paper.INK, linewidth=1.1, solid_capstyle="butt", zorder=paper.TRACE)


def _draw_beat(axes: Axes, signal: npt.NDArray[Any], mean: npt.NDArray[Any], strongest: float) -> None:
    low, high = voltage_range(signal.astype(np.float32), np.isfinite(signal))
    room = max(high - low, 0.5)
    axes.set_ylim(low - 0.12 * room, high + 0.12 * room)
    half = (TIME[1] - TIME[0]) / 2
    coloured = shade(np.where(np.isfinite(mean), mean, 0.0)[None], float(strongest))
    extent = (TIME[0] - half, TIME[-1] + half, *axes.get_ylim())
    axes.imshow(coloured, extent=extent, aspect="auto", interpolation="nearest", zorder=paper.MAP)
    axes.plot(TIME, signal, color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
    axes.set_xlim(TIME[0], TIME[-1])
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _draw_curve(axes: Axes, beats: Estimate, at: int, highest: float, *, first: bool) -> None:
    axes.fill_between(TIME, beats.low[at], beats.high[at], color=(*POSITIVE, 0.25), linewidth=0, zorder=paper.MAP)
    axes.plot(TIME, beats.mean[at], color=POSITIVE, linewidth=1.0, zorder=paper.TRACE)
    known = beats.mean[np.isfinite(beats.mean)]
    lowest = -highest if known.min(initial=0.0) < 0 else 0.0
    axes.set_ylim(1.05 * lowest, 1.05 * (highest or 1.0))
    axes.set_xlim(TIME[0], TIME[-1])
    ticks = [-0.2, 0.0, 0.2, 0.4]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}".replace("-", "−") for tick in ticks]))
    axes.yaxis.set_major_locator(FixedLocator([0.0, highest] if highest else [0.0]))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{value:.2g}" if first else "" for value in (0.0, highest)]))


def _label(figure: Figure, group: Group, height: float) -> None:
    whole = (_WIDTH - 2 * _LEFT) / paper.MM_PER_INCH

    def write(y: float, text: str, **style: Any) -> None:
        place(figure, _LEFT / _WIDTH, y / height, text, width=whole, **style)

    write(height - 8, f"“{group.text}”", size=12, weight="bold", color=paper.INK, va="center")
    count = len(group.records)
    said = f"{count} recording{'s' if count > 1 else ''}  ·  {group.method}"
    write(height - 14, said, size=8.5, color=paper.SOFT_INK, va="center")
    words = [
        paper.RESEARCH,
        "95 % intervals by bootstrap over recordings",
        "beats: the mean of the recordings' median beats, mV, over the mean map",
        "below: the mean map, similarity per second, with its interval",
        "seconds from the steepest part of the QRS",
    ]
    write(3, "  ·  ".join(words), size=7.5, color=paper.SOFT_INK, va="bottom", lines=2)
