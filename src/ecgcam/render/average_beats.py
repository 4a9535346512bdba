"""Beats laid on one another: the mean map of each lead over the heartbeat, and how it differs from beat to beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from ecgcam.beatwise import AverageBeat, WaveTable, average_beat
from ecgcam.explanation import Explanation
from ecgcam.records.waves import WAVES
from ecgcam.render import paper, wording
from ecgcam.render.colour import NEGATIVE, POSITIVE, Colours, Rgba, colours, shade
from ecgcam.render.fonts import place
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.style import as_delivered

# Millimetres.
_LEFT, _TOP, _BOTTOM, _RIGHT = 16, 27, 17, 6
_BETWEEN, _BETWEEN_ROWS = 13, 9
_CURVE, _LEAST_TRACE, _MOST_TRACE, _AIR = 16, 20, 60, 12  # the names of the waves stand above the trace
_LEAST_WIDTH = 220
_SCALE = 58
_MM_PER_SECOND = 50.0
_ROWS = 3


def beats(explanation: Explanation, waves: WaveTable, *, scale: str = "evidence", dpi: float = paper.DPI) -> Figure:
    """Draw, for each lead, the median beat over the mean map, and the mean map as a curve with its spread over beats.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    waves : WaveTable
        Its beats, `ecgcam.beatwise.wave_table(explanation)`.
    scale : {"evidence", "lead", "raw"}
        See `Explanation.scaled_map`.
    dpi : float
        Pixels per inch; the default has six pixels per millimetre.
    """
    return draw_beats(explanation, colours(explanation, scale), waves, dpi)


@as_delivered()
def draw_beats(explanation: Explanation, palette: Colours, waves: WaveTable, dpi: float) -> Figure:
    """Draw the beats with colours that are known already: the same scale as the page's, so that the two compare."""
    beat = average_beat(explanation, palette.values, waves.waves)
    seconds = float(beat.time[-1] - beat.time[0]) + 1 / explanation.fs
    panel = seconds * _MM_PER_SECOND
    columns = max(1, math.ceil(len(explanation.leads) / _ROWS))
    leads = range(len(explanation.leads))
    rows = [list(leads[place_::_ROWS]) for place_ in range(min(_ROWS, len(leads)))]  # I, II, III below one another
    heights = [_trace_height(beat, row) for row in rows]
    width = max(_LEFT + columns * panel + (columns - 1) * _BETWEEN + _RIGHT, _LEAST_WIDTH)
    height = _TOP + sum(heights) + len(rows) * (_CURVE + _BETWEEN_ROWS) + _BOTTOM
    figure = paper.blank_figure(width, height, dpi)
    top = _top_of(beat)
    upper = height - _TOP
    for trace_height, row in zip(heights, rows, strict=True):
        upper -= trace_height + _CURVE + _BETWEEN_ROWS
        for column, lead in enumerate(row):
            left = _LEFT + column * (panel + _BETWEEN)
            trace = paper.axes_at(figure, left, upper + _CURVE + _BETWEEN_ROWS, panel, trace_height)
            _draw_beat(trace, explanation, beat, palette, lead, (panel, trace_height))
            curve = paper.axes_at(figure, left, upper + _BETWEEN_ROWS, panel, _CURVE)
            _draw_curve(curve, beat, lead, top, signed=palette.signed, first=column == 0)
    _label(figure, explanation, palette, beat, width, height)
    return figure


def _trace_height(beat: AverageBeat, row: list[int]) -> int:
    """Return the millimetres that the tallest beat of a row of leads needs."""
    ranges = [voltage_range(beat.signal[lead], np.isfinite(beat.signal[lead])) for lead in row]
    needed = 5 * math.ceil((max(high - low for low, high in ranges) * paper.MM_PER_MV + _AIR) / 5)
    return int(min(max(needed, _LEAST_TRACE), _MOST_TRACE))


def _top_of(beat: AverageBeat) -> float:
    """Return the largest mean plus spread of all leads, for one vertical scale; 1 where there is none."""
    highest = np.abs(beat.mean) + beat.spread
    known = highest[np.isfinite(highest)]
    return float(known.max()) if len(known) and known.max() > 0 else 1.0


def _draw_beat(
    axes: Axes, explanation: Explanation, beat: AverageBeat, palette: Colours, lead: int, size: tuple[float, float]
) -> None:
    panel, height = size
    paper.draw_grid(axes, panel, height, phase=beat.time[0] * _MM_PER_SECOND % 5)
    half = 0.5 / explanation.fs
    known = np.isfinite(beat.mean[lead])
    coloured: Rgba = shade(np.where(known, beat.mean[lead], 0.0)[None], palette.vmax)
    extent = (beat.time[0] - half, beat.time[-1] + half, 0.0, height)
    axes.imshow(coloured, extent=extent, interpolation="nearest", aspect="auto", resample=True, zorder=paper.MAP)
    low, high = voltage_range(beat.signal[lead], np.isfinite(beat.signal[lead]))
    zero = 5 * round((height / 2 - (low + high) / 2 * paper.MM_PER_MV) / 5)
    axes.plot(beat.time, zero + paper.MM_PER_MV * beat.signal[lead], color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
    _draw_bounds(axes, beat, height, named=True)
    axes.set_xlim(beat.time[0], beat.time[-1] + 2 * half)
    axes.set_ylim(0, height)
    gain = float(explanation.gains[lead])
    name = f"{explanation.leads[lead]}   {wording.signed(gain)}"
    style: dict[str, Any] = {"size": 8.5, "weight": "bold", "color": paper.INK, "transform": axes.transAxes}
    place(axes, 0.0, 1.0 + 1.2 / height, name, va="bottom", **style)
    if not explanation.valid[lead].any() or beat.beats == 0:
        reason = wording.FLAT if beat.beats else wording.NO_BEATS
        place(
            axes, 0.5, 0.5, reason, size=9, color=paper.SOFT_INK, ha="center", va="center", zorder=paper.MARKS,
            transform=axes.transAxes, bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )  # fmt: skip


def _draw_bounds(axes: Axes, beat: AverageBeat, height: float, *, named: bool) -> None:
    """Mark where P, QRS and T usually begin and end."""
    for name, (onset, offset) in zip(WAVES, beat.bounds, strict=True):
        for bound in (onset, offset):
            if np.isfinite(bound):
                axes.plot(
                    [bound, bound], [0, height], color=paper.SOFT_INK, linewidth=0.5, linestyle=(0, (2, 2)), zorder=3
                )
        if named and np.isfinite(onset + offset):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
            style: dict[str, Any] = {"ha": "center", "va": "top", "color": paper.SOFT_INK, "bbox": box}
            place(axes, (onset + offset) / 2, height - 0.8, name, size=6.5, zorder=paper.MARKS, **style)


def _draw_curve(axes: Axes, beat: AverageBeat, lead: int, top: float, *, signed: bool, first: bool) -> None:
    mean, spread, time = beat.mean[lead], beat.spread[lead], beat.time
    low, high = mean - spread, mean + spread
    if not signed:
        low = np.maximum(low, 0.0)  # no map lies there
    axes.fill_between(time, low, high, color=(*POSITIVE, 0.22), linewidth=0, zorder=2)
    axes.plot(time, mean, color=POSITIVE, linewidth=1.0, zorder=3)
    if signed:
        axes.plot(time, np.where(mean < 0, mean, np.nan), color=NEGATIVE, linewidth=1.0, zorder=3)
        axes.axhline(0.0, color=paper.SOFT_INK, linewidth=0.5)
    bottom = -1.08 * top if signed else 0.0
    axes.set_ylim(bottom, 1.08 * top)
    axes.set_xlim(time[0], time[-1])
    ticks = [-0.2, 0.0, 0.2, 0.4]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}".replace("-", "−") for tick in ticks]))
    heights = [-top, 0.0, top] if signed else [0.0, top]
    axes.yaxis.set_major_locator(FixedLocator(heights))
    labels = [f"{value:.2g}".replace("-", "−") for value in heights] if first else [""] * len(heights)
    axes.yaxis.set_major_formatter(FixedFormatter(labels))


def _label(
    figure: Figure, explanation: Explanation, palette: Colours, beat: AverageBeat, width: float, height: float
) -> None:
    soft: dict[str, Any] = {"color": paper.SOFT_INK}
    room = (width - _LEFT - _SCALE - 20) / paper.MM_PER_INCH
    whole = (width - _LEFT - 4) / paper.MM_PER_INCH

    def at(x: float, y: float) -> tuple[float, float]:
        return x / width, y / height

    place(
        figure, *at(_LEFT, height - 10), wording.prompt(explanation), size=11, weight="bold", width=room, lines=2,
        color=paper.INK, va="center",
    )  # fmt: skip
    found = f"{beat.beats} beats laid on one another" if beat.beats else wording.NO_BEATS
    place(figure, *at(_LEFT, height - 19), f"{found}  ·  {wording.outcome(explanation)}", size=8.5, width=whole, **soft)
    words = [
        paper.RESEARCH,
        "above: the median beat over the mean map; the lead's gain beside its name",
        "below: the mean map and its standard deviation over beats",
        "dashed: medians of the bounds of P, QRS and T",
        "seconds from the steepest part of the QRS",
        "50 mm/s  ·  10 mm/mV",
        wording.provenance(explanation),
    ]
    place(figure, *at(_LEFT, 3), "  ·  ".join(words), size=7.5, width=whole, lines=3, va="bottom", **soft)
    bar = paper.axes_at(figure, width - _SCALE - 8, height - 11, _SCALE, 3.5)
    paper.draw_colour_bar(bar, palette, horizontal=True, room=_SCALE)
