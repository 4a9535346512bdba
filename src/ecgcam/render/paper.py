"""ECG paper at true size: everything is laid out in millimetres, and one millimetre is a whole number of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import FixedFormatter, FixedLocator
from matplotlib.transforms import Affine2D, blended_transform_factory

from ecgcam.explanation import Explanation
from ecgcam.render.colour import STRONGEST, Colours, Rgba, average, shade
from ecgcam.render.fonts import LATIN, place

MM_PER_SECOND = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4
DPI = 152.4  # six pixels per millimetre: every grid line falls on a pixel, and their spacing is exact
SPEED = "25 mm/s  ·  10 mm/mV"
RESEARCH = "Research use only, not for diagnosis"

INK = "#101010"
SOFT_INK = "#4a4a4a"
NOTE_INK = "#8a2c0a"
_MINOR, _BOLD = "#f6dfdb", "#e6b3aa"
_TICK_APART, _WIDEST = 0.5, 60.0  # mm
_HATCH_FACE, _HATCH_LINE = "#ececec", "#b4b4b4"
PAPER, MAP, HATCH, TRACE, MARKS = 1, 2, 3, 4, 5  # z-orders, from the back


def blank_figure(width: float, height: float, dpi: float) -> Figure:
    """Return a white figure of `width` by `height` mm with an Agg canvas (never pyplot: no global state)."""
    # The hair keeps 1728.0 pixels from being cut to 1727 by rounding.
    size = ((width + 1e-6) / MM_PER_INCH, (height + 1e-6) / MM_PER_INCH)
    figure = Figure(figsize=size, dpi=dpi, facecolor="white", edgecolor="white")
    FigureCanvasAgg(figure)
    return figure


class LayeredCanvas(FigureCanvasAgg):
    """Draws what never changes once, and keeps its pixels: words and paper take most of the time of a strip.

    Parameters
    ----------
    figure : Figure
        Whose canvas it becomes.
    changing : list of Artist
        What differs from one picture to the next, in the order in which it is drawn; it must lie above the rest.
    """

    def __init__(self, figure: Figure, changing: list[Artist]) -> None:
        super().__init__(figure)
        self._changing = changing
        self._still: Any = None

    def draw(self) -> None:
        """Draw the figure."""
        if self._still is None:
            seen = [artist.get_visible() for artist in self._changing]
            for artist in self._changing:
                artist.set_visible(False)
            super().draw()  # type: ignore[no-untyped-call]
            self._still = self.copy_from_bbox(self.figure.bbox)  # type: ignore[no-untyped-call]
            for artist, visible in zip(self._changing, seen, strict=True):
                artist.set_visible(visible)
        self.restore_region(self._still)  # type: ignore[no-untyped-call]
        for artist in self._changing:
            self.figure.draw_artist(artist)


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return bare axes at a place in mm from the figure's lower left corner."""
    whole_width, whole_height = (side * MM_PER_INCH for side in figure.get_size_inches())
    axes = figure.add_axes((left / whole_width, bottom / whole_height, width / whole_width, height / whole_height))
    axes.set_facecolor("white")
    for spine in axes.spines.values():
        spine.set(edgecolor=_BOLD, linewidth=0.8, zorder=PAPER)
    axes.xaxis.set_major_locator(FixedLocator([]))
    axes.yaxis.set_major_locator(FixedLocator([]))
    axes.tick_params(
        length=2, width=0.6, labelsize=7.5, color=SOFT_INK, labelcolor=SOFT_INK, labelfontfamily=LATIN, pad=2
    )
    return axes


def draw_grid(axes: Axes, width: float, height: float, phase: float = 0.0) -> None:
    """Draw minor lines every mm (40 ms, 0.1 mV) and bold ones every 5 mm (200 ms, 0.5 mV), as one path each.

    The axes' lower left corner lies `phase` mm past a bold vertical line, and on a bold horizontal one.
    """
    to_axes = Affine2D().scale(1 / width, 1 / height) + axes.transAxes
    columns = np.arange(math.ceil(phase - 1e-6), math.floor(phase + width + 1e-6) + 1)
    rows = np.arange(math.floor(height + 1e-6) + 1)
    for bold, colour, line in ((False, _MINOR, 0.3), (True, _BOLD, 0.45)):
        xs = columns[(columns % 5 == 0) == bold] - phase
        ys = rows[(rows % 5 == 0) == bold]
        starts = [(x, 0.0) for x in xs] + [(0.0, y) for y in ys]
        ends = [(x, height) for x in xs] + [(width, y) for y in ys]
        vertices = np.stack([starts, ends], axis=1).reshape(-1, 2)
        codes = np.tile(np.array([Outline.MOVETO, Outline.LINETO], np.uint8), len(starts))
        axes.add_patch(
            PathPatch(
                Outline(vertices, codes),
                fill=False,
                edgecolor=colour,
                linewidth=line,
                antialiased=False,
                snap=True,
                transform=to_axes,
                zorder=PAPER,
            )
        )


def seconds_of(explanation: Explanation) -> tuple[float, float]:
    """Return where the window begins and how long it lasts, s."""
    return float(explanation.time[0]), len(explanation.time) / explanation.fs


def label_seconds(axes: Axes, start: float, seconds: float) -> None:
    """Put a tick at every whole second from the start of the record."""
    ticks = np.arange(math.ceil(start - 1e-6), math.floor(start + seconds + 1e-6) + 1)
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:d}" for tick in ticks]))


class MapOnPaper:
    """The colours of an explanation, ready to lie behind traces: a sample's colour lies at [t - dt/2, t + dt/2].

    One image for any number of leads. Where a sample is at least as wide as a pixel its colour has sharp edges; else each
    column of pixels holds the average of its samples, so that no thin peak is skipped and leads do not bleed into one another.
    """

    def __init__(self, explanation: Explanation, palette: Colours, dpi: float) -> None:
        start, seconds = seconds_of(explanation)
        columns = round(seconds * MM_PER_SECOND * dpi / MM_PER_INCH)
        self._vmax = palette.vmax
        if columns >= palette.values.shape[1]:
            half = 0.5 / explanation.fs
            self._values, self._edges = palette.values, (start - half, start + seconds - half)
        else:
            self._values = average(palette.values, columns)
            self._edges = (start, start + seconds)

    def rgba(self, row: int | None = None) -> Rgba:
        """Return the colours of one lead, (1, columns, 4), or of all, (L, columns, 4)."""
        return shade(self._values if row is None else self._values[row : row + 1], self._vmax)

    def draw(self, axes: Axes, row: int, bottom: float, top: float) -> AxesImage:
        """Lay the colours of a lead on the axes between two heights; the axes' limits are left to the caller."""
        return axes.imshow(
            self.rgba(row),
            extent=(*self._edges, bottom, top),
            interpolation="nearest",
            aspect="auto",
            resample=True,
            zorder=MAP,
        )


def draw_cells(axes: Axes, explanation: Explanation, height: float) -> LineCollection | None:
    """Mark the centre of each of the map's cells by a tick of 1 mm at the paper's upper edge (`height` mm).

    Where cells lie closer than the ticks are wide, nothing is drawn.
    """
    times = explanation.cell_time
    if len(times) > 1 and float(np.min(np.diff(times))) * MM_PER_SECOND < _TICK_APART:
        return None
    ticks = np.array([[(time, 1.0), (time, 1.0 - 1.0 / height)] for time in times]).reshape(-1, 2, 2)
    across = blended_transform_factory(axes.transData, axes.transAxes)
    lines = LineCollection(ticks.tolist(), colors=SOFT_INK, linewidths=0.4, transform=across, zorder=MARKS)
    axes.add_collection(lines, autolim=False)
    return lines


def width_mm(explanation: Explanation) -> float:
    """Return how much paper a cell of the map sees; 0 where that is not known or more than `_WIDEST` mm."""
    width = (explanation.meta.get("cell_width_ms") or 0.0) / 1000 * MM_PER_SECOND
    return width if width <= _WIDEST else 0.0


def draw_width(
    figure: Figure,
    explanation: Explanation,
    at: Callable[[float, float], tuple[float, float]],
    right: float,
    height: float,
) -> None:
    """Draw a bar as long as the paper that a cell sees, from `right` mm leftwards at `height` mm of the figure."""
    width = width_mm(explanation)
    if width == 0:
        return
    outline = [(right - width, -0.8), (right - width, 0.8), (right - width, 0), (right, 0), (right, 0.8), (right, -0.8)]
    xs, ys = zip(*(at(x, height + y) for x, y in outline), strict=True)
    figure.add_artist(Line2D(xs, ys, color=SOFT_INK, linewidth=0.8, transform=figure.transFigure))


def draw_hatch(axes: Axes, boxes: list[Outline]) -> PathCollection:
    """Hatch the boxes grey: no signal there."""
    hatch = PathCollection(
        boxes, facecolors=_HATCH_FACE, edgecolors=_HATCH_LINE, linewidths=0.0, hatch="////", zorder=HATCH
    )
    axes.add_collection(hatch, autolim=False)
    return hatch


def invalid_boxes(valid: npt.NDArray[np.bool_], start: float, fs: float, bottom: float, top: float) -> list[Outline]:
    """Return one box for each run of samples that are not valid, in seconds and the axes' vertical unit."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(np.int8)))
    return [
        Outline.unit_rectangle().transformed(
            Affine2D().scale((end - begin) / fs, top - bottom).translate(start + (begin - 0.5) / fs, bottom)
        )
        for begin, end in edges.reshape(-1, 2)
    ]


def draw_colour_bar(
    axes: Axes, colours: Colours, *, horizontal: bool, room: float, strongest: float = STRONGEST
) -> None:
    """Draw the one scale of the picture, with its unit (in `room` mm), on the paper's white."""
    vmax = colours.vmax
    low = -vmax if colours.signed else 0.0
    extent = (low, vmax) if vmax > 0 else (0.0, 1.0)
    gradient = shade(np.linspace(*extent, 256), vmax if vmax > 0 else 0.0, strongest)
    image = gradient[None] if horizontal else gradient[:, None]
    box = (*extent, 0.0, 1.0) if horizontal else (0.0, 1.0, *extent)
    axes.imshow(image, extent=box, aspect="auto", origin="lower", interpolation="nearest")
    for spine in axes.spines.values():
        spine.set(edgecolor=SOFT_INK, linewidth=0.5)
    ticks = ([low, 0.0, vmax] if colours.signed else [0.0, vmax / 2, vmax]) if vmax > 0 else [0.0]
    axis: Axis = axes.xaxis
    if not horizontal:
        axes.yaxis.tick_right()
        axis = axes.yaxis
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{tick:.2g}".replace("-", "−") for tick in ticks]))
    label = colours.unit if vmax > 0 else "no colour: all maps are zero"
    if colours.signed and vmax > 0:
        label += ", signed"
    style: dict[str, Any] = {"size": 7.5, "width": room / MM_PER_INCH, "lines": 2, "color": SOFT_INK}
    style["transform"] = axes.transAxes
    if horizontal:
        place(axes, 0.5, 1.3, label, ha="center", va="bottom", **style)
    else:
        place(axes, 3.5, 0.5, label, rotation=90, ha="left", va="center", multialignment="center", **style)
