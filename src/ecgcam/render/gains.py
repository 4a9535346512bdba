"""Beside the paper: each lead's gain and rank, and how its map lies on the waves of the beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ecgcam.beatwise import WaveTable
from ecgcam.explanation import Explanation
from ecgcam.records.waves import SEGMENTS
from ecgcam.render import paper, wording
from ecgcam.render.colour import POSITIVE
from ecgcam.render.fonts import place

TOP_LEADS = 3  # whose gains stand out, and whose moments are marked

# Millimetres.
_NAME, _BAR, _NUMBERS, _GAP = 9, 22, 25, 2
_CELL, _CELL_HEIGHT = 8.5, 5.5
_HEADING = 6.5  # above the paper
_STRONG = 4.0  # density of full colour


@dataclass(frozen=True)
class Entry:
    """A lead's row number, and the height of its entry, mm above the paper's lower edge."""

    row: int
    height: float


def side_width(*, names: bool, waves: bool) -> float:
    """Return the millimetres that the entries take."""
    return (_NAME if names else 0) + _BAR + _GAP + _NUMBERS + (len(SEGMENTS) * _CELL + _GAP if waves else 0)


def draw_gains(
    axes: Axes, explanation: Explanation, entries: list[Entry], waves: WaveTable | None, *, names: bool
) -> None:
    """Draw a bar, the gain and the rank of each lead, and its densities where there are `waves`; axes in mm."""
    axes.set_xlim(0, side_width(names=names, waves=waves is not None))
    axes.set_ylim(0, axes.get_window_extent().height / axes.figure.dpi * paper.MM_PER_INCH)
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    top = axes.get_ylim()[1]
    left = _NAME if names else 0
    gains = explanation.gains.astype(float)
    low, high = min(0.0, float(gains.min())), max(0.0, float(gains.max()))
    per_mm = (high - low) / _BAR or 1.0
    zero = left - low / per_mm
    ranking = explanation.ranking
    for entry in entries:
        gain, rank = gains[entry.row], ranking.index(entry.row)
        strong = rank < TOP_LEADS and gain > 0
        axes.add_patch(
            Rectangle(
                (zero, entry.height - 2), gain / per_mm, 4, facecolor=POSITIVE if gain > 0 else "#9a9a9a",
                edgecolor="none", zorder=2,
            )
        )  # fmt: skip
        weight = "bold" if strong else "normal"
        style: dict[str, Any] = {"size": 8, "weight": weight, "color": paper.INK, "va": "center"}
        said = f"{wording.signed(gain)}  #{rank + 1}" if explanation.valid[entry.row].any() else "flat"
        place(axes, left + _BAR + _GAP, entry.height, said, **style)
        if names:
            place(axes, 0, entry.height, explanation.leads[entry.row], **style)
        if waves is not None:
            _draw_densities(axes, waves, entry, left + _BAR + _GAP + _NUMBERS, blank=gain <= 0)
    heights = [entry.height for entry in entries]
    axes.plot([zero, zero], [min(heights) - 4, max(heights) + 4], color=paper.SOFT_INK, linewidth=0.6, zorder=3)
    place(axes, left, top + _HEADING, "gain, rank", size=8.5, weight="bold", color=paper.INK)
    place(axes, left, top + 2.5, "this lead alone, over no lead", size=7, color=paper.SOFT_INK)
    if waves is not None:
        for place_, segment in enumerate(SEGMENTS):
            middle = left + _BAR + _GAP + _NUMBERS + (place_ + 0.5) * _CELL
            place(axes, middle, top + 2.5, segment, size=8, weight="bold", ha="center", color=paper.INK)


def _draw_densities(axes: Axes, waves: WaveTable, entry: Entry, left: float, *, blank: bool) -> None:
    for at, density in enumerate(waves.density[entry.row]):
        known = bool(np.isfinite(density))
        strength = 0.0 if blank or not known else 0.6 * min(density / _STRONG, 1.0)
        corner = (left + at * _CELL + 0.2, entry.height - _CELL_HEIGHT / 2)
        axes.add_patch(
            Rectangle(
                corner, _CELL - 0.4, _CELL_HEIGHT, facecolor=(*POSITIVE, strength), edgecolor="#d0d0d0", linewidth=0.4
            )
        )
        place(
            axes, left + (at + 0.5) * _CELL, entry.height, f"{density:.1f}" if known else "–", size=7.5, ha="center",
            va="center", color=paper.SOFT_INK if blank or not known else paper.INK,
        )  # fmt: skip
