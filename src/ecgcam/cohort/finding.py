"""A picture of one prompt over a cohort: gains of the leads, where in the beat the map lies, the average beats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from ecgcam.cohort.gather import TIME, Group
from ecgcam.cohort.summary import GroupSummary, summarize_group
from ecgcam.cohort.tables import Row, lead_rows
from ecgcam.records.waves import SEGMENTS
from ecgcam.render import paper
from ecgcam.render.colour import NEGATIVE, POSITIVE, TOP_PERCENTILE, Colours, shade
from ecgcam.render.fonts import draw_text
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.style import as_delivered
from ecgcam.render.text_block import Line, TextBlock, headline
from ecgcam.results.intervals import DRAWS, Estimate, bootstrap_means

# Millimetres.
_WIDTH, _LEFT, _EDGE, _BOTTOM = 270.0, 14.0, 4.0, 13.0
_PANEL_TITLE = 9.0  # above the panels
_TABLES, _GAP = 66.0, 22.0
_PANEL, _CURVE, _BETWEEN, _BETWEEN_ROWS = 54.0, 12.0, 10.0, 12.0
_LEAST_TRACE, _MOST_TRACE, _AIR = 20, 45, 6
_COLUMNS = 4
_BAR, _BAR_WIDTH = 3.0, 52.0
_ROUNDING = 1e-6  # scores are float32
_LABEL = 4.0  # a line of words at a point, and air
_FEW = 3  # recordings; a mean of fewer is drawn as a hollow point
_UNIT = "mean evidence: score per second"


@as_delivered()
def draw_finding(summary: GroupSummary, dpi: float = paper.DPI) -> Figure:
    """Draw a group: mean gains and densities with their 95 % intervals, and each lead's mean average beat over its mean map.

    Densities and shares come from one set of recordings, those in which all the waves shown were found, so that shares add up.
    Colour is the mean map on the scale ``evidence``; the curve below it is the same mean with its interval over recordings.
    """
    group = summary.group
    title = f"“{group.text}”" + ("" if group.label is None else f"  ·  {group.label}")
    return _draw(summary, dpi, (title, group.method), _UNIT)


@as_delivered()
def draw_difference(
    first: GroupSummary, other: GroupSummary, draws: int = DRAWS, seed: int = 0, dpi: float = paper.DPI
) -> Figure | None:
    """Draw how the maps of `other` differ from those of `first`, recording by recording; None without a common recording.

    Both are explanations of one prompt by different methods (or models, masks ...). Blue: more evidence by `other`.
    """
    one, two = first.group, other.group
    of_two, of_one = two.rows_shared_with(one)
    if not of_two or one.leads != two.leads:
        return None
    fields = {
        name: getattr(two, name)[of_two] - getattr(one, name)[of_one]
        for name in ("score", "gain", "share", "density", "beats", "passed")
    }
    records = tuple(one.records[row] for row in of_one)
    group = replace(one, method=f"{two.method} − {one.method}", records=records, **fields)
    title = f"“{one.text}”{'' if one.label is None else f'  ·  {one.label}'}: difference of two methods"
    unit = "difference of mean evidence: score per second"
    return _draw(summarize_group(group, draws, seed), dpi, (title, group.method), unit, signed=True)


def _draw(summary: GroupSummary, dpi: float, words: tuple[str, str], unit: str, *, signed: bool = False) -> Figure:
    group, beats = summary.group, _well_known(summary.beats)
    signal = np.where(np.isfinite(beats.mean), group.signal, np.nan)
    count = -(-len(group.leads) // _COLUMNS)
    grid = [list(range(len(group.leads)))[row::count] for row in range(count)]  # I, II, III below one another
    spans = [max(_span(signal[at]) for at in row) for row in grid]
    gains = [paper.fitting_gain(span, _MOST_TRACE - _AIR) for span in spans]
    heights = [
        max(5 * int(np.ceil((span * gain + _AIR) / 5)), _LEAST_TRACE) for span, gain in zip(spans, gains, strict=True)
    ]
    body = sum(heights) + count * (_CURVE + _BETWEEN_ROWS)
    room = _WIDTH - 2 * _LEFT
    head = TextBlock(_head(group, words, room, dpi), room, dpi)
    above = _EDGE + head.height + _PANEL_TITLE
    height = above + _TABLES + _GAP + body + _BAR + 12 + _BOTTOM
    figure = paper.blank_figure(_WIDTH, height, dpi)
    head.draw(figure, _LEFT, height - _EDGE)
    upper = height - above - _TABLES
    _draw_gains(paper.axes_at(figure, _LEFT + 10, upper, 98, _TABLES), lead_rows(summary), signed=signed)
    _draw_waves(paper.axes_at(figure, 152, upper, 106, _TABLES), group, signed=signed)
    palette = _palette(beats.mean, unit, signed=signed)
    highest = float(np.nanmax(np.abs([beats.mean, beats.low, beats.high]), initial=0.0))
    top = upper - _GAP
    for row, gain, trace_height in zip(grid, gains, heights, strict=True):
        bottom = top - trace_height - _CURVE
        for column, at in enumerate(row):
            left = _LEFT + column * (_PANEL + _BETWEEN)
            trace = paper.axes_at(figure, left, bottom + _CURVE, _PANEL, trace_height)
            _draw_beat(trace, signal[at], beats.mean[at], palette, gain)
            known = int(beats.n[at].max(initial=0))
            name = f"{group.leads[at]}  ·  n = {known}"
            name += f"  ·  {gain:.3g} mm/mV" if gain != paper.MM_PER_MV else ""
            if column == 0:
                draw_text(
                    trace, -0.17, 0.5, "mV", size=7, color=paper.SOFT_INK, rotation=90, ha="center", va="center",
                    transform=trace.transAxes,
                )  # fmt: skip
            draw_text(
                trace, 0.0, 1 + 1.0 / trace_height, name, size=8, weight="bold", color=paper.INK,
                transform=trace.transAxes, va="bottom",
            )  # fmt: skip
            curve = paper.axes_at(figure, left, bottom, _PANEL, _CURVE)
            _draw_curve(curve, beats, at, highest, first=column == 0)
        top = bottom - _BETWEEN_ROWS
    bar = paper.axes_at(figure, _LEFT, _BOTTOM + 9, _BAR_WIDTH, _BAR)
    paper.draw_colour_bar(bar, palette, horizontal=True, room=_BAR_WIDTH, label=False)
    _label(figure, height, palette)
    return figure


def _head(group: Group, words: tuple[str, str], room: float, dpi: float) -> list[Line]:
    title, method = words
    count = len(group.records)
    said = f"{count} recording{'s' if count > 1 else ''}  ·  {method}"
    return [headline(title, 12, room, dpi), Line(said, 8.5, 2, colour=paper.SOFT_INK)]


def _palette(mean: npt.NDArray[np.float64], unit: str, *, signed: bool) -> Colours:
    known = np.abs(mean[np.isfinite(mean) & (mean != 0)])
    top = float(np.percentile(known, TOP_PERCENTILE)) if known.size else 0.0
    beyond = bool(known.size) and float(known.max()) > top * (1 + 1e-6)
    both = signed or bool((mean[np.isfinite(mean)] < 0).any())
    blank = "" if known.size else "the mean map is zero everywhere"
    return Colours(np.nan_to_num(mean), top, both, unit, beyond=beyond, blank=blank)


def _span(signal: npt.NDArray[Any]) -> float:
    low, high = voltage_range(signal, np.isfinite(signal))
    return high - low


def _well_known(beats: Estimate) -> Estimate:
    """Leave out the moments that fewer than half of a lead's recordings reach: the ends of the beat at fast rates."""
    known = 2 * beats.n >= np.maximum(beats.n.max(axis=1, keepdims=True), 1)
    mean, low, high = (np.where(known, values, np.nan) for values in (beats.mean, beats.low, beats.high))
    return Estimate(mean, low, high, beats.n)


def _draw_gains(axes: Axes, rows: list[Row], *, signed: bool) -> None:
    """Draw the mean gains as bars; hollow where fewer than three recordings have the lead."""
    said = "each lead alone, minus no ECG; all: all leads, minus no ECG"
    draw_text(
        axes, -10 / 98, 1.03, f"difference of: {said}" if signed else said, size=8, color=paper.SOFT_INK,
        transform=axes.transAxes, va="bottom", width=118 / paper.MM_PER_INCH,
    )  # fmt: skip
    axes.axvline(0.0, color=paper.SOFT_INK, linewidth=0.6, zorder=paper.PAPER)
    for at, row in enumerate(rows):
        if row["gain"] is None or abs(row["gain"]) < _ROUNDING:
            continue
        colour = POSITIVE if row["gain"] >= 0 else NEGATIVE
        few = row["n"] < _FEW
        face = "none" if few else (*colour, 0.45)
        edge = (*colour, 0.9) if few else "none"
        axes.barh(at, row["gain"], height=0.62, facecolor=face, edgecolor=edge, linewidth=0.8 if few else 0)
        _interval(axes, row["low"], row["high"], at, horizontal=True)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(range(len(rows))))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{row['lead']} ({row['n']})" for row in rows]))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if all(row["gain"] is None or abs(row["gain"]) < _ROUNDING for row in rows):
        axes.set_xlim(-1, 1)
        axes.xaxis.set_major_locator(FixedLocator([0.0]))
        draw_text(
            axes, 0.5, 0.5, "no difference" if signed else "0 in every lead", size=8, color=paper.SOFT_INK, ha="center",
            va="center", transform=axes.transAxes, bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )  # fmt: skip


def _common_set(group: Group) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which segments are shown, (6,), and the recordings that have all of them, (N,).

    Shown are the segments that at least half of the recordings with any segment have: where a P is rare, as in atrial
    fibrillation, one recording with a P would otherwise stand for all.
    """
    known = np.isfinite(group.density[:, -1])
    some = known.any(axis=1)
    shown = 2 * known.sum(axis=0) >= max(int(some.sum()), 1)
    everywhere: npt.NDArray[np.bool_] = some & np.all(known[:, shown], axis=1)
    return shown, everywhere


def _draw_waves(axes: Axes, group: Group, *, signed: bool) -> None:
    """Draw density and share of each segment, over one set of recordings, with n at every point."""
    shown, records = _common_set(group)
    share, density = (bootstrap_means(values[records][:, -1:]) for values in (group.share, group.density))
    said = "map density in each wave (1: chance), its share, and n"
    draw_text(
        axes, 0.0, 1.03, f"difference of: {said}" if signed else said, size=8.5, color=paper.SOFT_INK,
        transform=axes.transAxes, va="bottom",
    )  # fmt: skip
    chance = 0.0 if signed else 1.0
    axes.axhline(chance, color=paper.SOFT_INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=paper.PAPER)
    low, high = (-0.5, 0.5) if signed else (0.0, 2.0)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    labels: list[tuple[float, float, str, str]] = []
    for at in range(len(SEGMENTS)):
        count = int(density.n[0, at]) if records.any() else 0
        if not shown[at] or count == 0:
            found = int(np.isfinite(group.density[:, -1, at]).sum())
            style: dict[str, Any] = {"size": 7, "ha": "center", "color": paper.SOFT_INK, "bbox": box}
            draw_text(axes, at, chance, "unknown", va="bottom", **style)
            draw_text(axes, at, chance, f"n = {found}", va="top", **style)
            continue
        mean = float(density.mean[0, at])
        face = "white" if count < _FEW else POSITIVE
        axes.plot([at], [mean], "o", markerfacecolor=face, markeredgecolor=POSITIVE, markersize=5, zorder=paper.MARKS)
        ends = [float(value[0, at]) for value in (density.low, density.high)]
        if np.isfinite(ends).all():
            _interval(axes, ends[0], ends[1], at, horizontal=False)
        known = [value for value in (mean, *ends) if np.isfinite(value)]
        low, high = min(low, *known), max(high, *known)
        percent = f"{100 * float(share.mean[0, at]):{'+' if signed else ''}.0f} %".replace("-", "−")
        labels.append((at + 0.12, mean, percent, f"n = {count}"))
    axes.set_xlim(-0.5, len(SEGMENTS) - 0.3)
    room = 0.08 * (high - low)
    bottom = low - room if signed else 0.0
    axes.set_ylim(bottom, high + room)
    least = bottom + _LABEL / _TABLES * (high + room - bottom)  # lower words would lie on the axis
    for x, mean, percent, number in labels:
        y = max(mean, least)
        draw_text(axes, x, y, number, size=7, color=paper.SOFT_INK, va="top", bbox=box, zorder=paper.MAP)
        draw_text(axes, x, y, percent, size=7, color=paper.INK, va="bottom", bbox=box, zorder=paper.HATCH)
    axes.xaxis.set_major_locator(FixedLocator(range(len(SEGMENTS))))
    axes.xaxis.set_major_formatter(FixedFormatter(list(SEGMENTS)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _interval(axes: Axes, low: float | None, high: float | None, at: float, *, horizontal: bool) -> None:
    if low is not None and high is not None:
        ends, across = [low, high], [at, at]
        places = (ends, across) if horizontal else (across, ends)
        axes.plot(*places, color=paper.INK, linewidth=1.1, solid_capstyle="butt", zorder=paper.TRACE)


def _draw_beat(axes: Axes, signal: npt.NDArray[Any], mean: npt.NDArray[Any], palette: Colours, gain: float) -> None:
    """Draw the mean beat over the mean map, on paper of 10 mm/mV (or half standard) without a time scale of its own."""
    height = axes.bbox.height / axes.figure.dpi * paper.MM_PER_INCH
    seconds = float(TIME[-1] - TIME[0])
    low, high = voltage_range(signal, np.isfinite(signal))
    zero = 5 * round((height / 2 - (low + high) / 2 * gain) / 5)
    half = (TIME[1] - TIME[0]) / 2
    for square, width in ((1, 0.3), (5, 0.45)):
        for y in np.arange(0, height + 1e-6, square):
            if square == 5 or y % 5:
                axes.axhline(y, color=paper.grid_colour(bold=square == 5), linewidth=width, zorder=paper.PAPER)
    for x in np.arange(np.ceil(TIME[0] / 0.2) * 0.2, TIME[-1], 0.2):
        axes.axvline(x, color=paper.grid_colour(bold=True), linewidth=0.45, zorder=paper.PAPER)
    coloured = shade(np.where(np.isfinite(mean), mean, 0.0)[None], palette.vmax, palette.strongest)
    extent = (TIME[0] - half, TIME[-1] + half, 0.0, height)
    axes.imshow(coloured, extent=extent, aspect="auto", interpolation="nearest", zorder=paper.MAP)
    axes.plot(TIME, zero + gain * signal, color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
    axes.set_xlim(TIME[0], TIME[0] + seconds)
    axes.set_ylim(0, height)
    step = 0.5 * paper.MM_PER_MV / gain
    volts = [
        step * number for number in range(int(np.ceil(-zero / gain / step)), int((height - zero) / gain / step) + 1)
    ]
    # Every second one, and none that would run into the labels of the curve below.
    volts = [volt for volt in volts if round(volt / step) % 2 == 0 and 2 < zero + gain * volt < height - 2]
    axes.yaxis.set_major_locator(FixedLocator([zero + gain * volt for volt in volts]))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{volt:g}".replace("-", "−") for volt in volts]))


def _draw_curve(axes: Axes, beats: Estimate, at: int, highest: float, *, first: bool) -> None:
    axes.fill_between(TIME, beats.low[at], beats.high[at], color=(*POSITIVE, 0.25), linewidth=0, zorder=paper.MAP)
    axes.plot(TIME, beats.mean[at], color=POSITIVE, linewidth=1.0, zorder=paper.TRACE)
    known = beats.mean[np.isfinite(beats.mean)]
    lowest = -highest if known.min(initial=0.0) < 0 else 0.0
    if lowest:
        axes.plot(TIME, np.where(beats.mean[at] < 0, beats.mean[at], np.nan), color=NEGATIVE, linewidth=1.0, zorder=4)
        axes.axhline(0.0, color=paper.SOFT_INK, linewidth=0.5, zorder=paper.PAPER)
    axes.set_ylim(1.05 * lowest, 1.05 * (highest or 1.0))
    axes.set_xlim(TIME[0], TIME[-1])
    ticks = [-0.2, 0.0, 0.2, 0.4]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}".replace("-", "−") for tick in ticks]))
    values = [0.0, highest] if highest else [0.0]
    axes.yaxis.set_major_locator(FixedLocator(values))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{value:.2g}" if first else "" for value in values]))


def _label(figure: Figure, height: float, palette: Colours) -> None:
    whole = (_WIDTH - 2 * _LEFT) / paper.MM_PER_INCH
    key = f"no colour: {palette.blank}" if palette.blank else palette.unit
    if palette.beyond and not palette.blank:
        key += "  ·  ≥: 1 % of the values lie above"
    if palette.signed:
        key += "  ·  blue above zero, orange below"
    draw_text(
        figure, (_LEFT + _BAR_WIDTH + 6) / _WIDTH, (_BOTTOM + 10.5) / height, key, size=7.5, color=paper.SOFT_INK,
        va="center", width=whole - (_BAR_WIDTH + 6) / paper.MM_PER_INCH,
    )  # fmt: skip
    notes = [
        paper.RESEARCH,
        "95 % intervals by bootstrap over recordings; n: how many recordings; hollow: fewer than 3",
        "waves: over the recordings in which all the waves shown were found",
        "beats: the mean of the recordings' median beats, mV (one small square is 0.1 mV, where not stated otherwise), over the "
        "mean map, at the moments that at least half of the recordings have",
        "below: the mean map with its interval",
        "seconds from the steepest part of the QRS",
    ]
    draw_text(
        figure, _LEFT / _WIDTH, 2.5 / height, "  ·  ".join(notes), size=7, color=paper.SOFT_INK, va="bottom", lines=3,
        width=whole,
    )  # fmt: skip
