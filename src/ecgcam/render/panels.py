"""Which stretch of which lead lies where on the paper: the layouts of a page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ecgcam.errors import no_such
from ecgcam.render import paper
from ecgcam.render.colour import lead_values
from ecgcam.results.explanation import LAYOUTS as LAYOUT_NAMES
from ecgcam.results.explanation import Explanation
from ecgcam.results.ranks import ranked_leads
from ecgcam.results.trace import Trace, shown_trace

# Small squares of the paper (1 mm at true size).
PULSE = 8  # before the first sample, for the calibration pulse
_LEAST_ROW, _MOST_ROW, _AIR = 15, 45, 6
_LEAST_CLINICAL_ROW = 20
_NAME_ROOM, _MARK_ROOM = 4.6, 2.4  # mm above a panel: for its name and marks, for marks alone

_COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
_RHYTHM = "II"
_LEAST_COLUMN = 1.5  # s; a shorter one need not hold a beat


@dataclass(frozen=True)
class Panel:
    """A stretch of one lead, `begin` to `end` (s), in squares from the paper's lower edge.

    Attributes
    ----------
    row : int
        The lead's row number.
    bottom, height : int
        Where the panel lies, its margin included.
    margin : int
        The part at its top that holds name and marks, and no trace.
    begin, end : float
        Seconds.
    gain : float
        Squares per mV: 10, or less where the row's complexes are tall.
    """

    row: int
    bottom: int
    height: int
    margin: int
    begin: float
    end: float
    gain: float

    @property
    def top(self) -> int:
        """Upper edge of the trace's room, below the margin."""
        return self.bottom + self.height - self.margin

    @property
    def outer_top(self) -> int:
        """Upper edge, the margin included."""
        return self.bottom + self.height


_Stretch = tuple[int, float, float]


def whole_leads(explanation: Explanation, unit: float = 1.0, trace: Trace | None = None) -> list[Panel]:
    """One row per lead over the whole recording (12x1); `unit` is the width of a small square, mm; `trace` is what is drawn."""
    begin, end = paper.recorded(explanation)
    rows = [[(row, begin, end)] for row in range(len(explanation.leads))]
    return _stacked(rows, shown_trace(explanation, trace), _LEAST_ROW, math.ceil(_MARK_ROOM / unit))


def clinical(explanation: Explanation, unit: float = 1.0, trace: Trace | None = None) -> list[Panel]:
    """Three rows of columns that follow one another in time, over strips of II and of the lead that counts most (3x4)."""
    groups = [[explanation.leads.index(lead) for lead in group if lead in explanation.leads] for group in _COLUMNS]
    groups = [group for group in groups if group]
    begin, end = paper.recorded(explanation)
    each = (end - begin) / max(len(groups), 1)
    if len(explanation.leads) <= 3 or each < _LEAST_COLUMN:
        return whole_leads(explanation, unit, trace)
    rows = [
        [
            (group[place], begin + column * each, begin + (column + 1) * each)
            for column, group in enumerate(groups)
            if place < len(group)
        ]
        for place in range(max(map(len, groups)))
    ]
    strips = [[(row, begin, end)] for row in rhythm_leads(explanation)]
    drawn = shown_trace(explanation, trace)
    return _stacked([*rows, *strips], drawn, _LEAST_CLINICAL_ROW, math.ceil(_NAME_ROOM / unit))


def rhythm_leads(explanation: Explanation) -> list[int]:
    """Return the leads of the strips: II (or the first lead with a signal), and the lead with the largest value."""
    alive = [bool(valid.any()) for valid in explanation.valid]
    first = explanation.leads.index(_RHYTHM) if _RHYTHM in explanation.leads else 0
    if not alive[first]:
        first = int(np.argmax(alive))
    by_lead = lead_values(explanation)
    ranked = ranked_leads(explanation, None if by_lead is None else by_lead[0])
    return list(dict.fromkeys([first, *ranked[:1]]))


# --layout needs the names without Matplotlib.
LAYOUTS: dict[str, Callable[..., list[Panel]]] = dict(zip(LAYOUT_NAMES, (whole_leads, clinical), strict=True))


def check_layout(layout: str) -> None:
    """Raise `EcgcamError` unless `layout` is one of `LAYOUTS`."""
    if layout not in LAYOUTS:
        raise no_such(f"`layout` {layout}", "layout", layout, LAYOUTS)


def samples_of(explanation: Explanation, begin: float, end: float) -> slice:
    """Return the samples from `begin` up to, not including, `end`."""
    first, stop = np.searchsorted(explanation.time, (begin - 0.5 / explanation.fs, end - 0.5 / explanation.fs))
    return slice(int(first), int(stop))


def zero_of(trace: Trace, panel: Panel) -> int:
    """Return the height of 0 mV: the trace in the middle of its room, 0 mV on a bold line."""
    low, high = trace.range(panel.row, panel.begin, panel.end)
    middle = (panel.bottom + panel.top) / 2
    return 5 * round((middle - (low + high) / 2 * panel.gain) / 5)


def _stacked(rows: list[list[_Stretch]], trace: Trace, least: int, margin: int) -> list[Panel]:
    """Lay rows of stretches above one another, each as high as the voltages of its leads need.

    Heights are multiples of 5 squares. A row whose leads would need more than `_MOST_ROW` is drawn at half standard (or a
    quarter ...), so that no trace is cut off.
    """
    heights, gains = [], []
    for row in rows:
        largest = max(high - low for low, high in (trace.range(*stretch) for stretch in row))
        gain = paper.fitting_gain(largest, _MOST_ROW - _AIR)
        gains.append(gain)
        heights.append(max(5 * math.ceil((largest * gain + _AIR + margin) / 5), 5 * math.ceil((least + margin) / 5)))
    bottoms = [sum(heights[place + 1 :]) for place in range(len(rows))]
    return [
        Panel(lead, bottom, height, margin, begin, end, gain)
        for row, bottom, height, gain in zip(rows, bottoms, heights, gains, strict=True)
        for lead, begin, end in row
    ]
