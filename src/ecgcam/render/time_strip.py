"""A long recording on one sheet: the score of every window over time, each lead's map, and the strongest windows on ECG paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from matplotlib.ticker import FixedFormatter, FixedLocator
from matplotlib.transforms import Affine2D

from ecgcam.render import paper, wording
from ecgcam.render.colour import (
    ALL_ZERO,
    NO_LEAD,
    TOP_PERCENTILE,
    Colours,
    average_between,
    colours,
    reference_top,
    shade,
)
from ecgcam.render.fonts import draw_text
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.style import PictureOptions, as_delivered
from ecgcam.render.text_block import Line, TextBlock, headline
from ecgcam.results.explanation import Explanation, Floats
from ecgcam.results.timeline import Timeline

# Millimetres.
_WIDTH, _LEFT, _RIGHT, _EDGE = 297, 22, 25, 4
_SCORES, _LEAD, _GAP, _AXIS = 42, 5, 4, 13
_LEAST_STRIP, _MOST_STRIP, _STRIP_GAP = 20, 50, 13
_SECONDS = 8  # below a strip
_AIR = 8  # the paper begins on a bold line, which may lie 5 mm off
_CLOSE = 5  # triangles nearer than this share their numbers
_LONGEST = 10.0  # seconds of ECG that fit at 25 mm/s
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_TICKS = 14


@as_delivered()
def timeline_strip(
    timeline: Timeline,
    windows: Sequence[Explanation],
    *,
    scale: str | None = None,
    options: PictureOptions | None = None,
) -> Figure:
    """Draw a timeline.

    Parameters
    ----------
    timeline : Timeline
        What to draw.
    windows : sequence of Explanation
        The lead to show of each of its strongest windows, in the order of `timeline.strongest`.
    scale : {"evidence", "lead", "raw"}, optional
        Of the maps: raw, or else evidence, which alone compares between windows.
    options : PictureOptions, optional
        Resolution.
    """
    dpi = (options or PictureOptions()).resolution
    if scale is None:
        scale = "raw" if timeline.meta.get("cell_step_ms") is None else "evidence"
    leads = len(timeline.leads)
    plot = _WIDTH - _LEFT - _RIGHT
    strips = [_strip_height(window) for window in windows]
    room = _WIDTH - _LEFT - 8
    head, foot = (TextBlock(lines, room, dpi) for lines in (_head(timeline, room, dpi), _foot(timeline, scale)))
    top, below = _EDGE + head.height + 4, _EDGE + foot.height + _SECONDS
    height = top + _SCORES + _GAP + leads * _LEAD + _AXIS + sum(strips) + len(strips) * _STRIP_GAP + below
    figure = paper.blank_figure(_WIDTH, height, dpi)
    head.draw(figure, _LEFT, height - _EDGE)
    foot.draw(figure, _LEFT, _EDGE + foot.height)
    bottom = height - top - _SCORES
    _draw_scores(paper.axes_at(figure, _LEFT, bottom, plot, _SCORES), timeline)
    bottom -= _GAP + leads * _LEAD
    palette = _draw_maps(figure, timeline, (bottom, plot), scale, dpi)
    bottom -= _AXIS
    for number, (window, room) in enumerate(zip(windows, strips, strict=True), start=1):
        bottom -= room + _STRIP_GAP
        _draw_window(figure, number, window, (bottom, room), palette, dpi)
    return figure


def _draw_scores(axes: Axes, timeline: Timeline) -> None:
    """Draw a bar as long as each window at its score; where bars would be dots, a line; a triangle over the strongest."""
    half = timeline.window_seconds / 2
    starts, score = timeline.window_start, timeline.score
    end = timeline.meta["seconds"]
    low = float(min(score.min(), timeline.empty_score.min()))
    high = float(score.max())
    room = max(high - low, 0.01)
    axes.set_xlim(0, end)
    axes.set_ylim(low - 0.08 * room, high + 0.25 * room)
    boxes = [(begin, stop) for begin, stop in _stretches_without(timeline) if stop > begin]
    paper.draw_hatch(axes, [_box(begin, stop, *axes.get_ylim()) for begin, stop in boxes])
    level = float(np.median(timeline.empty_score))
    axes.axhline(level, color=paper.SOFT_INK, linewidth=0.7, linestyle=(0, (4, 3)), zorder=paper.TRACE)
    style: dict[str, Any] = {"color": paper.INK, "zorder": paper.TRACE}
    if len(starts) * 2 < (_WIDTH - _LEFT - _RIGHT):
        bars = [[(start, value), (start + 2 * half, value)] for start, value in zip(starts, score, strict=True)]
        axes.add_collection(LineCollection(bars, linewidths=1.6, **style), autolim=False)
        middle, shown = _with_breaks(starts + half, score, timeline)
        axes.plot(middle, shown, linewidth=0.5, **style)
    else:
        middle, shown = _with_breaks(starts + half, score, timeline)
        axes.plot(middle, shown, linewidth=0.5, **style)
    for group in _groups(starts[timeline.strongest] + half, _CLOSE * end / (_WIDTH - _LEFT - _RIGHT)):
        at = [float(starts[timeline.strongest[number - 1]] + half) for number in group]
        axes.plot(
            at, [high + 0.07 * room] * len(at), linestyle="none", marker="v", markersize=4.5, markeredgewidth=0, **style
        )
        words = ", ".join(map(str, sorted(group)))
        draw_text(
            axes,
            float(np.mean(at)),
            high + 0.11 * room,
            words,
            size=8,
            weight="bold",
            ha="center",
            va="bottom",
            **style,
        )
    ticks = _nice_ticks(low, high)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:.6g}".replace("-", "−") for tick in ticks]))
    draw_text(
        axes, 1.008, level, "without\nECG", size=7, color=paper.SOFT_INK, va="center", lines=2,
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip
    draw_text(
        axes, -0.05, 0.5, "score", size=8, color=paper.SOFT_INK, rotation=90, ha="center", va="center",
        transform=axes.transAxes,
    )  # fmt: skip


def _with_breaks(
    middle: npt.NDArray[np.float64], score: Floats, timeline: Timeline
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the points with a gap where windows are missing: their steps are longer than any other by half or more."""
    gaps = np.flatnonzero(np.diff(middle) > _reach(timeline)) + 1
    return np.insert(middle, gaps, np.nan), np.insert(score.astype(np.float64), gaps, np.nan)


def _reach(timeline: Timeline) -> float:
    """Return how far apart windows may begin (s) before something between them is missing.

    That is their length, or, where they leave some of the recording out anyway, half as much again as they mostly do.
    """
    steps = np.diff(timeline.window_start)
    usual = float(np.median(steps)) if len(steps) else 0.0
    length = timeline.window_seconds + 1e-6
    return 1.5 * usual if usual > length else length


def _stretches_without(timeline: Timeline) -> list[tuple[float, float]]:
    """Return from when to when (s) no window gives a value: before the first, where some are missing, after the last."""
    length, end = timeline.window_seconds, float(timeline.meta["seconds"])
    starts = timeline.window_start
    gaps = np.flatnonzero(np.diff(starts) > _reach(timeline))
    between = [(float(starts[i] + length), float(starts[i + 1])) for i in gaps]
    return [(0.0, float(starts[0])), *between, (float(starts[-1] + length), end)]


def _box(begin: float, stop: float, bottom: float, top: float) -> Outline:
    return Outline.unit_rectangle().transformed(Affine2D().scale(stop - begin, top - bottom).translate(begin, bottom))


def _groups(times: npt.NDArray[np.float64], close: float) -> list[list[int]]:
    """Return the numbers, from 1, of times in groups in which each is `close` to the next."""
    groups: list[list[int]] = []
    last = -np.inf
    for number in np.argsort(times, kind="stable"):
        if times[number] - last < close:
            groups[-1].append(int(number) + 1)
        else:
            groups.append([int(number) + 1])
        last = times[number]
    return groups


def _draw_maps(figure: Figure, timeline: Timeline, place_at: tuple[float, float], scale: str, dpi: float) -> Colours:
    """Draw a band for each lead: each column of pixels holds the mean of its moments."""
    bottom, plot = place_at
    leads = len(timeline.leads)
    axes = paper.axes_at(figure, _LEFT, bottom, plot, leads * _LEAD)
    seconds = float(timeline.meta["seconds"])
    values = np.where(timeline.valid, timeline.map if scale == "raw" else timeline.evidence, 0.0).astype(np.float64)
    columns = round(plot * dpi / paper.MM_PER_INCH)
    edges = np.linspace(0.0, seconds / timeline.step, columns + 1) - 0.5
    known = average_between(timeline.valid.astype(np.float64), edges)
    mean = np.divide(average_between(values, edges), known, out=np.zeros((leads, columns)), where=known > 1e-9)
    mean = _between_windows(mean, timeline)
    signed = bool(timeline.meta.get("signed"))
    unit = "map, in the method's units" if scale == "raw" else "evidence: score per second"
    if scale != "raw" and timeline.meta.get("against"):
        unit = "evidence: difference of scores per second"
    coloured = np.abs(mean[mean != 0])
    top = max(
        float(np.percentile(coloured, TOP_PERCENTILE)) if coloured.size else 0.0, reference_top(timeline.meta, scale)
    )
    blank = "" if coloured.size else NO_LEAD if np.any(timeline.map) else ALL_ZERO
    beyond = bool(coloured.size) and float(coloured.max()) > top * (1 + 1e-6)
    palette = Colours(mean, top, signed, unit, scale=scale, beyond=beyond, blank=blank)
    image = shade(mean, palette.vmax, palette.strongest)
    axes.imshow(image, extent=(0, seconds, 0, leads), aspect="auto", interpolation="nearest", zorder=paper.MAP)
    paper.draw_hatch(axes, _boxes_without_signal(timeline, seconds))
    for row in range(1, leads):
        axes.axhline(row, color="white", linewidth=1.2, zorder=paper.TRACE)
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, leads)
    _label_time(axes, seconds, leads * _LEAD)
    for row, lead in enumerate(timeline.leads):
        draw_text(
            axes, -0.006, leads - row - 0.5, lead, size=8, weight="bold", color=paper.INK, ha="right", va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    bar = paper.axes_at(figure, _LEFT + plot + 3, bottom, 4, leads * _LEAD)
    paper.draw_colour_bar(bar, palette, horizontal=False, room=max(leads * _LEAD, 40))
    return palette


def _between_windows(mean: npt.NDArray[np.float64], timeline: Timeline) -> npt.NDArray[np.float64]:
    """Let columns between windows that leave some of the recording out show the nearest window's."""
    seconds, columns = float(timeline.meta["seconds"]), mean.shape[1]
    middles = (np.arange(columns) + 0.5) * seconds / columns
    starts, half = timeline.window_start, timeline.window_seconds / 2
    before = np.clip(np.searchsorted(starts, middles, side="right") - 1, 0, len(starts) - 1)
    after = np.clip(before + 1, 0, len(starts) - 1)
    nearest = np.where(np.abs(starts[after] + half - middles) < np.abs(starts[before] + half - middles), after, before)
    outside = np.abs(starts[nearest] + half - middles) - half
    between = (outside > 0.5 * seconds / columns) & (outside <= _reach(timeline) / 2 - half)
    inside = np.clip(middles, starts[nearest], starts[nearest] + 2 * half)
    # A column of the window itself: its mean, since a column may be wider than a window.
    source = np.clip(np.floor(inside * columns / seconds).astype(int), 0, columns - 1)
    filled: npt.NDArray[np.float64] = np.where(between, mean[:, source], mean)
    return filled


def _boxes_without_signal(timeline: Timeline, seconds: float) -> list[Outline]:
    """Return boxes where no window is, and, within windows, where a lead has no signal."""
    leads = len(timeline.leads)
    boxes = [_box(begin, stop, 0, leads) for begin, stop in _stretches_without(timeline) if stop > begin]
    covered = np.zeros(len(timeline.time), bool)
    for start in timeline.window_start:
        first = int(start / timeline.step)
        covered[first : int(np.ceil(min(start + timeline.window_seconds, seconds) / timeline.step))] = True
    for row in range(leads):
        there = timeline.valid[row] | ~covered
        boxes += paper.invalid_boxes(there, float(timeline.time[0]), 1 / timeline.step, leads - row - 1, leads - row)
    return boxes


def _strip_height(window: Explanation) -> int:
    """Return how much paper the lead's voltages need, mm."""
    low, high = voltage_range(window.signal[0], window.valid[0])
    return max(5 * math.ceil(((high - low) * _gain(low, high) + _AIR) / 5), _LEAST_STRIP)


def _gain(low: float, high: float) -> float:
    return paper.fitting_gain(high - low, _MOST_STRIP - _AIR)


def _draw_window(
    figure: Figure, number: int, window: Explanation, place_at: tuple[float, int], whole: Colours, dpi: float
) -> None:
    """Draw a strongest window's lead at 25 mm/s and 10 mm/mV, ten seconds of it at most: those around its strongest moment."""
    bottom, room = place_at
    start, seconds = paper.seconds_of(window)
    if seconds > _LONGEST:
        moment = (window.moments(0, 1) or [start])[0]
        start = float(np.clip(moment - _LONGEST / 2, start, start + seconds - _LONGEST))
        seconds = _LONGEST
    width = seconds * paper.MM_PER_SECOND
    axes = paper.axes_at(figure, _LEFT, bottom, width, room)
    paper.draw_grid(axes, width, room, phase=start * paper.MM_PER_SECOND % 5)
    # The colours of the bands above: one scale for the whole picture.
    palette = replace(colours(window, whole.scale), vmax=whole.vmax, strongest=whole.strongest)
    low, high = voltage_range(window.signal[0], window.valid[0])
    gain = _gain(low, high)
    zero = 5 * round((room / 2 - (low + high) / 2 * gain) / 5)
    paper.MapOnPaper(window, palette, dpi).draw(axes, 0, 0, room)
    paper.draw_hatch(axes, paper.invalid_boxes(window.valid[0], float(window.time[0]), window.fs, 0, room))
    trace = np.where(window.valid[0], window.signal[0], np.nan)
    axes.plot(window.time, zero + gain * trace, color=paper.INK, linewidth=0.9, zorder=paper.TRACE)
    paper.label_seconds(axes, start, seconds)
    axes.set_xlim(start, start + seconds)
    axes.set_ylim(0, room)
    words = (
        f"{number}  ·  {clock(float(window.time[0]), tenths=True)}  ·  score {wording.number(window.score)}  ·  "
        f"{window.leads[0]}, the lead that adds most alone: {wording.signed(float(window.gains[0]))}"
    )
    if gain != paper.MM_PER_MV:
        words += f"  ·  {gain:.3g} mm/mV"
    whole_height = figure.get_size_inches()[1] * paper.MM_PER_INCH
    draw_text(
        figure, _LEFT / _WIDTH, (bottom + room + 1.6) / whole_height, words, size=8, weight="bold", color=paper.INK,
        width=(_WIDTH - _LEFT - _RIGHT) / paper.MM_PER_INCH,
    )  # fmt: skip
    draw_text(
        axes, -0.01, 0.5, window.leads[0], size=10, weight="bold", color=paper.INK, ha="right", va="center",
        transform=axes.transAxes,
    )  # fmt: skip


def _head(timeline: Timeline, room: float, dpi: float) -> list[Line]:
    """Return what stands above the scores: the prompt, the facts, how maps were made, every warning."""
    meta, soft = timeline.meta, paper.SOFT_INK
    steps = np.diff(timeline.window_start)
    hop = f", one every {float(np.median(steps)):g} s" if len(steps) else ""
    facts = [
        f"record {wording.shortened(str(meta['record']), 60)}, {clock(float(meta['seconds']))} long",
        f"{len(timeline.score)} windows of {timeline.window_seconds:g} s{hop}",
        f"score {wording.number(float(timeline.score.min()))} to {wording.number(float(timeline.score.max()))}, "
        f"median {wording.number(float(np.median(timeline.score)))}",
    ]
    if meta["missing"]:
        facts.append(f"{len(meta['missing'])} windows could not be explained")
    return [
        headline(wording.prompt(timeline), 11, room, dpi),
        Line("  ·  ".join(facts), 8.5, 3, colour=soft),
        Line(wording.provenance(timeline), 8, 3, colour=soft),
        *(Line(warning, 8, 3, colour=paper.NOTE_INK) for warning in wording.warnings(timeline)),
    ]


def _foot(timeline: Timeline, scale: str) -> list[Line]:
    notes = [
        paper.RESEARCH,
        "▼ the windows that score highest, none overlapping; below them the lead that adds most alone, map behind the trace, "
        "seconds below each strip; colours as in the bands",
        f"maps: {'raw, ' if scale == 'raw' else ''}{_joined(timeline)}",
        f"{paper.speed()}, where not stated otherwise",
    ]
    return [Line("  ·  ".join(notes), 7, 4, colour=paper.SOFT_INK)]


def _joined(timeline: Timeline) -> str:
    steps = np.diff(timeline.window_start)
    if len(steps) and float(np.median(steps)) > timeline.window_seconds + 1e-6:
        return "between windows the nearest one's"
    return (
        "joined where windows overlap" if len(steps) and steps.min() < timeline.window_seconds - 1e-6 else "end to end"
    )


def _label_time(axes: Axes, seconds: float, height: float) -> None:
    step = next((step for step in _STEPS if seconds / step <= _MOST_TICKS), _STEPS[-1])
    ticks = np.arange(0, seconds + 1e-6, step)
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_formatter(FixedFormatter([clock(float(tick)) for tick in ticks]))
    draw_text(
        axes, 0.5, -7.5 / height,
        "from the start of the record, h:mm:ss", size=8, color=paper.SOFT_INK, ha="center", va="top",
        transform=axes.transAxes,
    )  # fmt: skip


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Return hours, minutes and seconds: 1:02:03, with `tenths` 1:02:03.5."""
    whole = round(seconds * 10) if tenths else round(seconds) * 10
    minutes, rest = divmod(whole, 600)
    end = f"{rest // 10:02d}.{rest % 10}" if tenths else f"{rest // 10:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{end}"


def _nice_ticks(low: float, high: float) -> list[float]:
    span = max(high - low, 1e-9)
    unit = 10.0 ** np.floor(np.log10(span / 4))
    step = next((k * unit for k in (1, 2, 5, 10) if span / (k * unit) <= 5), 10 * unit)
    first = np.ceil(low / step - 1e-9)
    return [round(float((first + i) * step), 9) for i in range(int((high / step) - first + 1e-9) + 1)]
