"""Beats of one shape laid on one another: the mean map of each lead over the heartbeat, and how it differs from beat to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from ecgcam.records.waves import WAVES
from ecgcam.render import paper, wording
from ecgcam.render.colour import NEGATIVE, POSITIVE, Colours, Rgba, colours, shade
from ecgcam.render.fonts import draw_text
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.style import PictureOptions, as_delivered
from ecgcam.render.text_block import Line, TextBlock, headline
from ecgcam.results.beatwise import AverageBeat, WaveTable, average_beat, beat_groups
from ecgcam.results.explanation import Explanation

# Millimetres.
_LEFT, _RIGHT, _EDGE = 14.0, 5.0, 4.0
_BETWEEN, _BETWEEN_ROWS, _NAME, _BETWEEN_GROUPS = 9.0, 6.0, 5.0, 14.0
_GROUP_HEAD = 9.0
_NAMES_OF_WAVES = 3.0  # at the top of each trace
_CURVE, _LEAST_TRACE, _MOST_TRACE, _AIR = 14.0, 20, 55, 12  # the names of the waves stand above the trace
_LEAST_WIDTH = 180.0
_BAR, _BAR_WIDTH, _BAR_ROOM = 3.0, 52.0, 8.0
_MM_PER_SECOND = 50.0
_LEAST_PANEL = 0.4  # s
MOST_GROUPS = 3


@dataclass(frozen=True)
class _Group:
    """Beats of one shape, and where their panels lie (mm): `columns` of `panel` mm each from `left`."""

    beat: AverageBeat
    left: float
    columns: int
    panel: float


def beats(
    explanation: Explanation, waves: WaveTable, *, scale: str | None = None, options: PictureOptions | None = None
) -> Figure:
    """Draw, for each lead and each shape of beat, the median beat over the mean map, and the map as a curve with its spread.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    waves : WaveTable
        Its beats, `ecgcam.results.beatwise.wave_table(explanation)`.
    scale : {"evidence", "lead", "raw"}, optional
        See `Explanation.scaled_map`; by default ``evidence``, or ``raw`` for methods without cells.
    options : PictureOptions, optional
        Resolution. The picture keeps 50 mm/s; its width follows from the beats.
    """
    return draw_beats(explanation, colours(explanation, scale), waves, options or PictureOptions())


@as_delivered()
def draw_beats(explanation: Explanation, palette: Colours, waves: WaveTable, options: PictureOptions) -> Figure:
    """Draw the beats with colours that are known already: the scale of the page, so that the two compare."""
    found = beat_groups(explanation, waves.waves)
    shown = found[:MOST_GROUPS] or [np.zeros(0, np.int64)]
    averages = [average_beat(explanation, palette.values, waves.waves, members) for members in shown]
    groups, width = _place(averages, len(explanation.leads))
    columns = groups[0].columns
    leads = list(range(len(explanation.leads)))
    rows = math.ceil(len(leads) / columns)
    grid = [leads[row::rows] for row in range(rows)]  # I, II, III below one another
    gains = [_gain(averages, row) for row in grid]
    heights = [_trace_height(averages, row, gain) for row, gain in zip(grid, gains, strict=True)]
    dpi = options.resolution
    room = width - _LEFT - _RIGHT
    head = TextBlock(_head(explanation, waves, found, room, dpi), room, dpi)
    about = wording.about_colour(explanation, palette, "the number after its name")
    key = TextBlock([Line(about, 7.5, 4, colour=paper.SOFT_INK)], room - _BAR_WIDTH - 6, dpi)
    foot = TextBlock(_foot(explanation), room, dpi)
    bar_bottom = _EDGE + foot.height + 2 + max(_BAR_ROOM - _BAR, key.height - _BAR)
    body = _GROUP_HEAD + sum(heights) + rows * (_CURVE + _NAME + _BETWEEN_ROWS)
    height = bar_bottom + _BAR + 4 + body + 2 + head.height + _EDGE
    figure = paper.blank_figure(width, height, dpi)
    head.draw(figure, _LEFT, height - _EDGE)
    foot.draw(figure, _LEFT, _EDGE + foot.height)
    key.draw(figure, _LEFT + _BAR_WIDTH + 6, bar_bottom + _BAR + 0.5)
    highest = max(_highest(beat) for beat in averages)
    top = bar_bottom + _BAR + 4 + body
    for group in groups:
        _title_group(figure, group, found, (width, height, top))
        upper = top - _GROUP_HEAD
        for row, gain, trace_height in zip(grid, gains, heights, strict=True):
            upper -= trace_height + _CURVE + _NAME + _BETWEEN_ROWS
            for column, lead in enumerate(row):
                left = group.left + column * (group.panel + _BETWEEN)
                trace = paper.axes_at(figure, left, upper + _CURVE + _BETWEEN_ROWS, group.panel, trace_height)
                _draw_beat(trace, explanation, group.beat, palette, lead, (group.panel, trace_height, gain))
                curve = paper.axes_at(figure, left, upper + _BETWEEN_ROWS, group.panel, _CURVE)
                first = column == 0 and group is groups[0]
                _draw_curve(curve, group.beat, lead, highest, signed=palette.signed, first=first)
    bar = paper.axes_at(figure, _LEFT, bar_bottom, _BAR_WIDTH, _BAR)
    paper.draw_colour_bar(bar, palette, horizontal=True, room=_BAR_WIDTH, label=False)
    return figure


def _place(averages: list[AverageBeat], leads: int) -> tuple[list[_Group], float]:
    """Return the groups side by side, and the width of the picture."""
    columns = min(math.ceil(leads / 3), {1: 4, 2: 2}.get(len(averages), 2))
    columns = max(columns, 1)
    groups, left = [], _LEFT
    for beat in averages:
        seconds = float(beat.time[-1] - beat.time[0]) if len(beat.time) > 1 else 0.0
        panel = max(seconds, _LEAST_PANEL) * _MM_PER_SECOND
        groups.append(_Group(beat, left, columns, panel))
        left += columns * panel + (columns - 1) * _BETWEEN + _BETWEEN_GROUPS
    return groups, max(left - _BETWEEN_GROUPS + _RIGHT, _LEAST_WIDTH)


def _spans(averages: list[AverageBeat], row: list[int]) -> float:
    ranges = [voltage_range(beat.signal[lead], np.isfinite(beat.signal[lead])) for beat in averages for lead in row]
    return max((high - low for low, high in ranges), default=0.0)


def _gain(averages: list[AverageBeat], row: list[int]) -> float:
    """Return the mm per mV at which the tallest beat of a row of leads fits."""
    return paper.fitting_gain(_spans(averages, row), _MOST_TRACE - _AIR)


def _trace_height(averages: list[AverageBeat], row: list[int], gain: float) -> int:
    """Return the millimetres that the tallest beat of a row of leads needs."""
    return max(5 * math.ceil((_spans(averages, row) * gain + _AIR) / 5), _LEAST_TRACE)


def _highest(beat: AverageBeat) -> float:
    """Return the largest mean plus spread of all leads, for one vertical scale; 1 where there is none."""
    highest = np.abs(beat.mean) + beat.spread
    known = highest[np.isfinite(highest)]
    return float(known.max()) if len(known) and known.max() > 0 else 1.0


def _title_group(figure: Figure, group: _Group, found: list[np.ndarray], size: tuple[float, float, float]) -> None:
    width, height, top = size
    total = sum(map(len, found))
    beat = group.beat
    said = f"{beat.beats} of {total} beats" if beat.beats != total else f"All {total} beats"
    if not total:
        said = wording.NO_BEATS
    room = group.columns * group.panel + (group.columns - 1) * _BETWEEN
    draw_text(
        figure, group.left / width, (top - 4.0) / height, said, size=9.5, weight="bold", color=paper.INK,
        width=room / paper.MM_PER_INCH,
    )  # fmt: skip


def _draw_beat(
    axes: Axes,
    explanation: Explanation,
    beat: AverageBeat,
    palette: Colours,
    lead: int,
    size: tuple[float, float, float],
) -> None:
    panel, height, gain = size
    known = np.isfinite(beat.mean[lead])
    begin = float(beat.time[0]) if len(beat.time) else 0.0
    paper.draw_grid(axes, panel, height, phase=begin * _MM_PER_SECOND % 5)
    half = 0.5 / explanation.fs
    if known.any():
        coloured: Rgba = shade(np.where(known, beat.mean[lead], 0.0)[None], palette.vmax, palette.strongest)
        extent = (begin - half, float(beat.time[-1]) + half, 0.0, height)
        axes.imshow(coloured, extent=extent, interpolation="nearest", aspect="auto", resample=True, zorder=paper.MAP)
    low, high = voltage_range(beat.signal[lead], np.isfinite(beat.signal[lead]))
    zero = 5 * round(((height - _NAMES_OF_WAVES) / 2 - (low + high) / 2 * gain) / 5)
    axes.plot(beat.time, zero + gain * beat.signal[lead], color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
    _draw_bounds(axes, beat, height)
    axes.set_xlim(begin, begin + panel / _MM_PER_SECOND)
    axes.set_ylim(0, height)
    name = explanation.leads[lead]
    title = draw_text(
        axes, 0.0, 1.0 + 0.8 / height, name, va="bottom", size=8.5, weight="bold", color=paper.INK,
        transform=axes.transAxes,
    )  # fmt: skip
    words = wording.signed(float(explanation.gains[lead])) if explanation.valid[lead].any() else wording.FLAT
    if gain != paper.MM_PER_MV:
        words += f"   {gain:.3g} mm/mV"
    taken = title.get_window_extent().width / axes.figure.dpi * paper.MM_PER_INCH + 2
    draw_text(
        axes, taken / panel, 1.0 + 0.9 / height, words, va="bottom", size=7, color=paper.SOFT_INK,
        transform=axes.transAxes, width=(panel - taken) / paper.MM_PER_INCH,
    )  # fmt: skip
    if not known.any():
        reason = wording.NO_BEATS if beat.beats == 0 and explanation.valid[lead].any() else wording.FLAT
        draw_text(
            axes, 0.5, 0.5, reason, size=7.5, color=paper.SOFT_INK, ha="center", va="center", zorder=paper.MARKS,
            transform=axes.transAxes, bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )  # fmt: skip


def _draw_bounds(axes: Axes, beat: AverageBeat, height: float) -> None:
    """Mark where P, QRS and T usually begin and end, and name them."""
    for name, (onset, offset) in zip(WAVES, beat.bounds, strict=True):
        if not np.isfinite(onset + offset):
            continue
        for bound in (onset, offset):
            axes.plot(
                [bound] * 2,
                [0, height - _NAMES_OF_WAVES],
                color=paper.SOFT_INK,
                linewidth=0.5,
                linestyle=(0, (2, 2)),
                zorder=3,
            )
        if len(beat.time) and beat.time[0] < (onset + offset) / 2 < beat.time[-1]:
            style: dict[str, Any] = {"ha": "center", "va": "top", "color": paper.SOFT_INK, "clip_on": True}
            draw_text(axes, (onset + offset) / 2, height - 0.5, name, size=6.5, zorder=paper.MARKS, **style)


def _draw_curve(axes: Axes, beat: AverageBeat, lead: int, top: float, *, signed: bool, first: bool) -> None:
    if beat.beats == 0:
        return
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
    if len(time) > 1:
        axes.set_xlim(time[0], max(time[-1], time[0] + _LEAST_PANEL))
    ticks = [-0.2, 0.0, 0.2, 0.4]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}".replace("-", "−") for tick in ticks]))
    values = [-top, 0.0, top] if signed else [0.0, top]
    axes.yaxis.set_major_locator(FixedLocator(values))
    labels = [f"{value:.2g}".replace("-", "−") for value in values] if first else [""] * len(values)
    axes.yaxis.set_major_formatter(FixedFormatter(labels))


def _head(explanation: Explanation, waves: WaveTable, found: list[np.ndarray], room: float, dpi: float) -> list[Line]:
    left = sum(map(len, found[MOST_GROUPS:]))
    said = (
        "Beats of one shape are averaged, over the time that all of them have; "
        "beats that the ends of the recording cut short are left out."
    )
    if left:
        said += f" {left} beat{'s' if left > 1 else ''} of further shapes {'are' if left > 1 else 'is'} not shown."
    return [
        headline(wording.headline(explanation), 12, room, dpi),
        Line(wording.outcome(explanation), 8.5, 4, colour=paper.SOFT_INK),
        Line(said if len(waves.waves.beats) else "", 8.5, 2, colour=paper.SOFT_INK),
        *(Line(warning, 8, 5, colour=paper.NOTE_INK) for warning in wording.warnings(explanation)),
    ]


def _foot(explanation: Explanation) -> list[Line]:
    words = [
        paper.RESEARCH,
        f"{_MM_PER_SECOND:g} mm/s  ·  10 mm/mV, where not stated otherwise",
        "number after the name: the score with this lead alone, minus the score without ECG",
        "above: the median beat over the mean map; dashed: medians of the bounds of P, QRS and T",
        "below: the mean map and its standard deviation over beats",
        "seconds from the steepest part of the QRS",
    ]
    soft = paper.SOFT_INK
    return [Line("  ·  ".join(words), 7, 4, colour=soft), Line(wording.provenance(explanation), 7, 3, colour=soft)]
