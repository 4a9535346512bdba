"""Below the paper: what each lead adds, as ranked bars with an axis, and how its map lies on the waves of the beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecgcam.records.waves import SEGMENTS, WAVES
from ecgcam.render import paper, wording
from ecgcam.render.colour import NEGATIVE, POSITIVE, default_scale, lead_values
from ecgcam.render.fonts import draw_text
from ecgcam.results.beatwise import WaveTable
from ecgcam.results.explanation import Explanation
from ecgcam.results.ranks import lead_ranks, ranked_leads

TOP_LEADS = 3  # whose values stand out, and whose moments are marked

# Millimetres.
_PITCH, _BAR_HEIGHT = 4.0, 2.8
_HEAD, _AXIS, _FOOT = 10.0, 6.0, 6.6
_MORE_FOOT = 4.0  # on a narrow page, where the words below the waves take more lines
_NAME, _NUMBERS, _GAP = 9.0, 27.0, 6.0
_CELL, _MOST_CELL = 8.0, 14.0
_LEAST_BESIDE = 130.0  # a narrower page has the waves below the bars
_STRONG = 4.0  # density of full colour
_GREY = "#8c8c8c"


class LeadTable:
    """Bars of the leads, best first, and their wave table where there is one."""

    def __init__(self, explanation: Explanation, waves: WaveTable | None, width: float) -> None:
        by_lead = lead_values(explanation) if default_scale(explanation) == "raw" else None
        waves = None if by_lead is not None else waves  # such a map is the same in every wave
        self._explanation = explanation
        self._waves = waves
        self._width = width
        if by_lead is None:
            self._values: npt.NDArray[np.float64] = explanation.gains.astype(np.float64)
            self._error = np.full(len(self._values), np.nan)
            unit = "difference of scores" if explanation.meta.get("against") else "score"
            self._title = f"{wording.BARS_TITLE} ({unit})"
        else:
            self._values, self._error = by_lead
            with_error = " ± standard error" if np.isfinite(self._error).any() else ""
            self._title = f"{explanation.meta['method']}: value of each lead{with_error} (score)"
        self._ranks = lead_ranks(explanation, self._values, self._error)
        order = ranked_leads(explanation, self._values)
        self._order = [*order, *(row for row in range(len(explanation.leads)) if row not in order)]
        columns = 1 if waves is not None or len(self._order) < 4 or width < 120 else 2
        self._rows = math.ceil(len(self._order) / columns)
        self._column = (width - (columns - 1) * _GAP) / columns
        self._stacked = waves is not None and width < _LEAST_BESIDE
        for_waves = width - _NAME if self._stacked else width * 0.5 - _GAP
        self._cell = min(_MOST_CELL, max(_CELL, for_waves / len(SEGMENTS)))
        if waves is not None and not self._stacked:
            self._column = width - _GAP - len(SEGMENTS) * self._cell

    @property
    def height(self) -> float:
        """The millimetres it takes."""
        bars = _HEAD + self._rows * _PITCH + _AXIS
        return bars + (0 if self._waves is None else bars + _FOOT + _MORE_FOOT if self._stacked else _FOOT)

    def draw(self, figure: Figure, left: float, bottom: float) -> None:
        """Draw it with its lower left corner at (`left`, `bottom`) mm."""
        axes = paper.table_at(figure, left, bottom, self._width, self.height)
        top = self.height - _HEAD
        self._write_title(axes, 0, self.height, self._title, self._column)
        for start in range(0, len(self._order), self._rows):
            x = start // self._rows * (self._column + _GAP)
            self._draw_bars(axes, self._order[start : start + self._rows], x, top)
        if self._waves is not None:
            down = _HEAD + self._rows * _PITCH + _AXIS if self._stacked else 0.0
            self._draw_waves(axes, self._waves, _NAME if self._stacked else self._column + _GAP, top - down)

    @staticmethod
    def _write_title(axes: Axes, x: float, top: float, title: str, room: float) -> None:
        style: dict[str, Any] = {"size": 8.5, "weight": "bold", "color": paper.INK, "va": "top", "linespacing": 1.0}
        draw_text(axes, x, top, title, width=room / paper.MM_PER_INCH, lines=2, **style)

    def _draw_bars(self, axes: Axes, rows: list[int], left: float, top: float) -> None:
        """Draw the bars of some leads on the axis that all share."""
        alive = [row for row in self._order if self._ranks[row] is not None]
        reach = np.nan_to_num(self._error)
        low = min(0.0, *(float(self._values[row] - reach[row]) for row in alive)) if alive else 0.0
        high = max(0.0, *(float(self._values[row] + reach[row]) for row in alive)) if alive else 0.0
        room = self._column - _NAME - _NUMBERS
        per_mm = (high - low) / room or 1.0
        zero = left + _NAME - low / per_mm
        for place, row in enumerate(rows):
            y = top - (place + 0.5) * _PITCH
            value, rank = float(self._values[row]), self._ranks[row]
            strong = rank is not None and rank <= TOP_LEADS and value > 0
            style: dict[str, Any] = {
                "size": 7.5, "weight": "bold" if strong else "normal", "va": "center",
                "color": paper.INK if rank is not None else paper.SOFT_INK,
            }  # fmt: skip
            draw_text(axes, left, y, self._explanation.leads[row], **style)
            if rank is None:
                draw_text(axes, left + _NAME, y, wording.FLAT, **style)
                continue
            negative = NEGATIVE if default_scale(self._explanation) == "raw" else _GREY
            box = (zero, y - _BAR_HEIGHT / 2), value / per_mm, _BAR_HEIGHT
            axes.add_artist(Rectangle(*box, facecolor=POSITIVE if value > 0 else negative, edgecolor="none", zorder=2))
            if np.isfinite(self._error[row]):
                ends = zero + np.array([value - self._error[row], value + self._error[row]]) / per_mm
                axes.plot(ends, [y, y], color=paper.INK, linewidth=1.0, solid_capstyle="butt", zorder=3)
            said = f"{wording.signed(value)}   #{wording.rank(self._ranks, row)}"
            draw_text(axes, left + self._column - _NUMBERS + 2, y, said, **style)
        bottom = top - len(rows) * _PITCH
        axes.plot([zero, zero], [bottom, top], color=paper.SOFT_INK, linewidth=0.6, zorder=3)
        axes.plot([left + _NAME, left + _NAME + room], [bottom, bottom], color=paper.SOFT_INK, linewidth=0.6)
        for tick in _ticks(low, high, room):
            x = zero + tick / per_mm
            axes.plot([x, x], [bottom - 0.9, bottom], color=paper.SOFT_INK, linewidth=0.6)
            said = f"{tick:g}".replace("-", "−")
            draw_text(axes, x, bottom - 1.4, said, size=6.5, ha="center", va="top", color=paper.SOFT_INK)

    def _draw_waves(self, axes: Axes, waves: WaveTable, left: float, top: float) -> None:
        """Draw the densities of the map in each wave, with a legend, and how many beats they come from."""
        room = len(SEGMENTS) * self._cell
        title = "Map density in each wave (1 × = chance)"
        self._write_title(
            axes, 0 if self._stacked else left, top + _HEAD, title, self._width if self._stacked else room
        )
        for place, segment in enumerate(SEGMENTS):
            style: dict[str, Any] = {"size": 7.5, "weight": "bold", "ha": "center", "color": paper.INK}
            draw_text(axes, left + (place + 0.5) * self._cell, top + 0.8, segment, **style)
        for place, row in enumerate(self._order):
            y = top - (place + 0.5) * _PITCH
            if self._stacked:
                draw_text(axes, 0, y, self._explanation.leads[row], size=7.5, va="center", color=paper.INK)
            blank = default_scale(self._explanation) == "evidence" and float(self._explanation.gains[row]) <= 0
            for at, density in enumerate(waves.density[row]):
                self._draw_cell(axes, left + at * self._cell, y, float(density), blank=blank)
        y = top - len(self._order) * _PITCH - 3.2
        for at, (density, word) in enumerate(((1.0, "1 × chance"), (_STRONG, f"{_STRONG:g} × or more"))):
            x = left + at * 24.0
            patch: dict[str, Any] = {
                "facecolor": (*POSITIVE, 0.6 * density / _STRONG),
                "edgecolor": "#d0d0d0",
                "linewidth": 0.4,
            }
            axes.add_artist(Rectangle((x, y - 1.2), 4.0, 2.6, **patch))
            draw_text(axes, x + 5.0, y, word, size=6.5, va="center", color=paper.SOFT_INK)
        draw_text(
            axes, left, 2.0, self._about_beats(waves), size=6.5, color=paper.SOFT_INK, va="bottom",
            lines=4 if self._stacked else 2, width=room / paper.MM_PER_INCH,
        )  # fmt: skip

    def _draw_cell(self, axes: Axes, left: float, y: float, density: float, *, blank: bool) -> None:
        known = math.isfinite(density)
        strength = 0.0 if blank or not known else 0.6 * min(density / _STRONG, 1.0)
        corner = (left + 0.2, y - _PITCH / 2 + 0.2)
        face: dict[str, Any] = {"facecolor": (*POSITIVE, strength), "edgecolor": "#d0d0d0", "linewidth": 0.4}
        axes.add_artist(Rectangle(corner, self._cell - 0.4, _PITCH - 0.4, **face))
        draw_text(
            axes, left + self._cell / 2, y, f"{density:.1f}" if known else "–", size=7, ha="center", va="center",
            color=paper.SOFT_INK if blank or not known else paper.INK,
        )  # fmt: skip

    @staticmethod
    def _about_beats(waves: WaveTable) -> str:
        """Return how many beats the values come from, and how much of the time is in no wave."""
        beats = len(waves.waves.beats)
        if not beats:
            return f"{wording.NO_BEATS}: waves cannot be distinguished"
        found = ", ".join(f"{name} in {int(waves.found[SEGMENTS.index(name)])}" for name in WAVES)
        unknown_time = f"{100 * waves.unknown_time:.0f} % of the time in no known wave"
        return f"{beats} beats: {found}; {unknown_time}. No value (–): found in fewer than half of the beats"


def _ticks(low: float, high: float, room: float) -> list[float]:
    """Return round values from `low` to `high`, 0 among them, no closer than 12 mm."""
    span = high - low
    if span <= 0:
        return [0.0]
    least = span * 12.0 / room
    unit = 10.0 ** math.floor(math.log10(least))
    step = next(k * unit for k in (1, 2, 5, 10) if k * unit >= least)
    return [round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
