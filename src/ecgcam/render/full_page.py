"""All leads of an explanation on one page: one time base, one mV scale, one colour scale, leads ranked by gain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecgcam.errors import EcgcamError
from ecgcam.explanation import Explanation
from ecgcam.render import paper, wording
from ecgcam.render.colour import POSITIVE, Colours, colours
from ecgcam.render.fonts import place
from ecgcam.render.lead_strip import voltage_range

# Millimetres.
_LEFT, _GAINS, _TOP, _BOTTOM = 14, 52, 27, 17
_PULSE = 10  # paper before the first sample, for the calibration pulse
_LEAST_ROW, _MOST_ROW, _AIR = 15, 60, 6
_LEAST_WIDTH = 220
_BAR, _BAR_SIDE = 22, 2
_SCALE = 58  # colour bar

_TOP_LEADS, _MOMENTS = 3, 3

Band = tuple[int, int]  # lower edge and height of a row, mm from the paper's lower edge


def page(explanation: Explanation, *, scale: str = "evidence", layout: str = "12x1", dpi: float = paper.DPI) -> Figure:
    """Draw all leads of an explanation at 25 mm/s and 10 mm/mV, with their gains and strongest moments.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    scale : {"evidence", "lead", "raw"}
        See `Explanation.scaled_map`.
    layout : str
        A key of `LAYOUTS`.
    dpi : float
        Pixels per inch; the default has six pixels per millimetre.

    Raises
    ------
    EcgcamError
        If there is no such layout or scale.
    """
    check_layout(layout)
    return LAYOUTS[layout](explanation, colours(explanation, scale), scale, dpi)


def check_layout(layout: str) -> None:
    """Raise `EcgcamError` unless `layout` is one of `LAYOUTS`."""
    if layout not in LAYOUTS:
        raise EcgcamError(f"--layout {layout}: no such layout; choose from {', '.join(LAYOUTS)}")


def _one_column(explanation: Explanation, palette: Colours, scale: str, dpi: float) -> Figure:
    """One row per lead over the whole window (12x1)."""
    start, seconds = paper.seconds_of(explanation)
    heights = _row_heights(explanation)
    paper_width = _PULSE + seconds * paper.MM_PER_SECOND
    paper_height = sum(heights)
    width = max(_LEFT + paper_width + _GAINS, _LEAST_WIDTH)
    height = _TOP + paper_height + _BOTTOM
    figure = paper.blank_figure(width, height, dpi)

    axes = paper.axes_at(figure, _LEFT, _BOTTOM, paper_width, paper_height)
    left = start - _PULSE / paper.MM_PER_SECOND
    paper.draw_grid(axes, paper_width, paper_height, phase=left * paper.MM_PER_SECOND % 5)
    bottoms = [paper_height - sum(heights[: row + 1]) for row in range(len(heights))]
    bands = list(zip(bottoms, heights, strict=True))
    colouring = paper.MapOnPaper(explanation, palette, dpi)
    for row, (bottom, row_height) in enumerate(bands):
        if palette.values[row].any():
            colouring.draw(axes, row, bottom, bottom + row_height)
    _draw_rows(axes, explanation, bands)
    _draw_moments(axes, explanation, palette, bands)
    axes.set_xlim(left, start + seconds)
    axes.set_ylim(0, paper_height)
    paper.label_seconds(axes, start, seconds)
    axes.yaxis.set_visible(False)
    _draw_names(axes, explanation, bands)

    gains = paper.axes_at(figure, width - _GAINS + 5, _BOTTOM, _BAR, paper_height)
    _draw_gains(gains, explanation, bands)
    _label(figure, explanation, scale, width, height)
    bar = paper.axes_at(figure, width - _SCALE - 8, height - 11, _SCALE, 3.5)
    paper.draw_colour_bar(bar, palette, horizontal=True, room=_SCALE)
    return figure


# A layout turns (explanation, colours, scale, dpi) into a figure.
LAYOUTS: dict[str, Callable[[Explanation, Colours, str, float], Figure]] = {"12x1": _one_column}


def _row_heights(explanation: Explanation) -> list[int]:
    """Return millimetres for each lead, multiples of 5: what its voltages need, within limits.

    Leads of one page differ by a factor of ten; rows of equal height would overlap or waste the page.
    """
    heights = []
    for signal, valid in zip(explanation.signal, explanation.valid, strict=True):
        low, high = voltage_range(signal, valid)
        needed = 5 * math.ceil(((high - low) * paper.MM_PER_MV + _AIR) / 5)
        heights.append(min(max(needed, _LEAST_ROW), _MOST_ROW))
    return heights


def _draw_rows(axes: Axes, explanation: Explanation, bands: list[Band]) -> None:
    """Draw traces, calibration pulses and hatches; the vertical unit is mm from the paper's lower edge."""
    start, _ = paper.seconds_of(explanation)
    lines, pulses, boxes = [], [], []
    for row, (bottom, row_height) in enumerate(bands):
        valid, signal = explanation.valid[row], explanation.signal[row]
        low, high = voltage_range(signal, valid)
        # Rows are centred on their own voltages, with 0 mV kept on a bold line.
        zero = bottom + 5 * round((row_height / 2 - (low + high) / 2 * paper.MM_PER_MV) / 5)
        lines.append(np.column_stack([explanation.time, np.where(valid, zero + paper.MM_PER_MV * signal, np.nan)]))
        base = bottom + 5 * round((row_height - paper.MM_PER_MV) / 2 / 5)
        at = start + np.array([-8, -7, -7, -3, -3, -2]) / paper.MM_PER_SECOND
        pulses.append(np.column_stack([at, base + paper.MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])]))
        boxes += paper.invalid_boxes(valid, start, explanation.fs, bottom, bottom + row_height)
        if not valid.any():
            place(
                axes, 0.5, bottom + row_height / 2, wording.FLAT, size=9, color=paper.SOFT_INK, ha="center", va="center",
                transform=axes.get_yaxis_transform(), zorder=paper.MARKS,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
            )  # fmt: skip
    paper.draw_hatch(axes, boxes)
    for line in lines:  # not a collection: single lines are simplified before they are drawn, collections are not
        axes.plot(line[:, 0], line[:, 1], color=paper.INK, linewidth=0.8, zorder=paper.TRACE)
    axes.add_collection(LineCollection(pulses, colors=paper.INK, linewidths=0.8, zorder=paper.TRACE), autolim=False)


def _draw_moments(axes: Axes, explanation: Explanation, palette: Colours, bands: list[Band]) -> None:
    """Mark the strongest moments of the leads with the largest gains, where they have colour."""
    rows = [row for row in explanation.ranking[:_TOP_LEADS] if explanation.gains[row] > 0 and palette.values[row].any()]
    marks = [(time, sum(bands[row]) - 1.3) for row in rows for time in explanation.moments(row, _MOMENTS)]
    if marks:
        xs, ys = zip(*marks, strict=True)
        axes.plot(
            xs, ys, linestyle="none", marker="v", markersize=5, color=paper.INK, markeredgewidth=0, zorder=paper.MARKS
        )


def _draw_names(axes: Axes, explanation: Explanation, bands: list[Band]) -> None:
    for row, (bottom, row_height) in enumerate(bands):
        place(
            axes, -0.006, bottom + row_height / 2, explanation.leads[row], size=10, weight="bold",
            color=paper.INK, ha="right", va="center", transform=axes.get_yaxis_transform(),
        )  # fmt: skip


def _draw_gains(axes: Axes, explanation: Explanation, bands: list[Band]) -> None:
    """A bar, the gain and the rank of each lead, at its row."""
    gains = explanation.gains.astype(float)
    low, high = min(0.0, float(gains.min())), max(0.0, float(gains.max()))
    if high == low:
        high = low + 1.0
    ranking = explanation.ranking
    for row, (gain, (bottom, row_height)) in enumerate(zip(gains, bands, strict=True)):
        middle = bottom + row_height / 2
        axes.add_patch(
            Rectangle(
                (0.0, middle - 2), gain, 4, facecolor=POSITIVE if gain > 0 else "#9a9a9a", edgecolor="none", zorder=2
            )
        )
        place(
            axes, 1 + _BAR_SIDE / _BAR, middle, f"{wording.signed(gain)}  #{ranking.index(row) + 1}", size=8,
            weight="bold" if row in ranking[:_TOP_LEADS] and gain > 0 else "normal",
            color=paper.INK, va="center", transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.axvline(0.0, color=paper.SOFT_INK, linewidth=0.6, zorder=3, clip_on=False)
    axes.set_xlim(low, high)
    axes.set_ylim(0, sum(bands[0]))
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(figure: Figure, explanation: Explanation, scale: str, width: float, height: float) -> None:
    room = (width - _LEFT - _SCALE - 20) / paper.MM_PER_INCH
    column = (width - _GAINS - _LEFT) / paper.MM_PER_INCH
    whole = (width - _LEFT - 4) / paper.MM_PER_INCH
    soft: dict[str, Any] = {"color": paper.SOFT_INK}

    def at(x: float, y: float) -> tuple[float, float]:
        return x / width, y / height

    side = width - _GAINS + 5
    place(
        figure, *at(_LEFT, height - 14), wording.prompt(explanation), size=11, weight="bold", width=room, lines=2,
        color=paper.INK, va="bottom",
    )  # fmt: skip
    place(figure, *at(_LEFT, height - 19), wording.outcome(explanation), size=8.5, width=column, **soft)
    place(figure, *at(_LEFT, height - 24), wording.provenance(explanation), size=8, width=column, **soft)
    place(figure, *at(side, height - 21), "gain, rank", size=8.5, weight="bold", color=paper.INK)
    place(figure, *at(side, height - 24.5), "this lead alone, over no lead", size=7, **soft)
    place(figure, *at(_LEFT + _PULSE, _BOTTOM - 8.5), "seconds from the start of the record", size=8, **soft)
    place(figure, *at(width - _GAINS, _BOTTOM - 8.5), paper.SPEED, size=8, ha="right", **soft)
    footer = f"{paper.RESEARCH}  ·  ▼ strongest moments of at most {_TOP_LEADS} leads, those with the largest gains"
    if scale == "evidence":
        footer += "  ·  leads whose gain is not positive stay blank"
    if scale == "lead":
        footer += "  ·  colours do not compare between leads"
    place(figure, *at(_LEFT, 3), footer, size=7.5, width=whole, **soft)
