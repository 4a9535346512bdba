"""ECG paper: everything is laid out in millimetres; at true size one millimetre is a whole number of pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import FixedFormatter, FixedLocator
from matplotlib.transforms import Affine2D

from ecgcam.render.colour import Colours, Rgba, average, shade
from ecgcam.render.fonts import LATIN, draw_text
from ecgcam.render.style import TRUE_SIZE_DPI
from ecgcam.results.explanation import Explanation

MM_PER_SECOND = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4
DPI = TRUE_SIZE_DPI
RESEARCH = "Research use only, not for diagnosis"

INK = "#101010"
SOFT_INK = "#4a4a4a"
NOTE_INK = "#8a2c0a"
_MINOR, _BOLD = "#f6dfdb", "#e6b3aa"
_DIGIT = 1.72  # mm; the widest a character of a colour bar's numbers is, at 7.5 points
_LEAST_SQUARE = 0.5  # mm; the lines of smaller squares would run into one another
_HATCH_FACE, _HATCH_LINE = "#ececec", "#b4b4b4"
PAPER, MAP, HATCH, TRACE, MARKS = 1, 2, 3, 4, 5  # z-orders, from the back


def blank_figure(width: float, height: float, dpi: float) -> Figure:
    """Return a white figure of `width` by `height` mm with an Agg canvas (never pyplot: no global state)."""
    # The small addition keeps 1728.0 pixels from being rounded down to 1727.
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


def table_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return `axes_at` without frame and ground, whose coordinates are mm: for tables."""
    axes = axes_at(figure, left, bottom, width, height)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_facecolor("none")
    axes.set_axis_off()
    return axes


def draw_grid(axes: Axes, width: float, height: float, phase: float = 0.0) -> None:
    """Draw minor lines every mm (40 ms, 0.1 mV) and bold ones every 5 mm (200 ms, 0.5 mV), as one path each.

    Only the bold ones are drawn where small squares are narrower than half a millimetre. The axes' lower left corner
    lies `phase` mm past a bold vertical line, and on a bold horizontal one.
    """
    to_axes = Affine2D().scale(1 / width, 1 / height) + axes.transAxes
    columns = np.arange(math.ceil(phase - 1e-6), math.floor(phase + width + 1e-6) + 1)
    rows = np.arange(math.floor(height + 1e-6) + 1)
    unit = axes.bbox.width / axes.figure.dpi * MM_PER_INCH / width
    for bold, colour, line in ((False, _MINOR, 0.3), (True, _BOLD, 0.45)):
        if not bold and unit < _LEAST_SQUARE:
            continue
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


def grid_colour(*, bold: bool) -> str:
    """Return the colour of the paper's lines."""
    return _BOLD if bold else _MINOR


def seconds_of(explanation: Explanation) -> tuple[float, float]:
    """Return where the window begins and how long it lasts, s."""
    return float(explanation.time[0]), len(explanation.time) / explanation.fs


def recorded(explanation: Explanation) -> tuple[float, float]:
    """Return from when to when (s) any lead has a signal; the whole window where none has.

    This is what is drawn: padding before or after the recording is not ECG.
    """
    start, seconds = seconds_of(explanation)
    somewhere = np.flatnonzero(explanation.valid.any(axis=0))
    if not len(somewhere):
        return start, start + seconds
    return start + float(somewhere[0]) / explanation.fs, start + float(somewhere[-1] + 1) / explanation.fs


def fitting_gain(millivolts: float, most: float) -> float:
    """Return the mm per mV at which `millivolts` need at most `most` mm: 10, or a half, a quarter ... of it.

    Nothing is ever cut off: clinics use the half standard, 5 mm/mV, for tall complexes.
    """
    gain = MM_PER_MV
    while millivolts * gain > most:
        gain /= 2
    return gain


def speed(unit: float = 1.0, gain: float = MM_PER_MV) -> str:
    """Return the scale of paper whose small squares are `unit` mm wide: "25 mm/s  ·  10 mm/mV"."""
    return f"{MM_PER_SECOND * unit:.3g} mm/s  ·  {gain * unit:.3g} mm/mV"


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

    def __init__(self, explanation: Explanation, palette: Colours, dpi: float, unit: float = 1.0) -> None:
        start, seconds = seconds_of(explanation)
        columns = max(1, round(seconds * MM_PER_SECOND * unit * dpi / MM_PER_INCH))
        self._vmax = palette.vmax
        self._strongest = palette.strongest
        if columns >= palette.values.shape[1]:
            half = 0.5 / explanation.fs
            self._values, self._edges = palette.values, (start - half, start + seconds - half)
        else:
            self._values = average(palette.values, columns)
            self._edges = (start, start + seconds)

    def rgba(self, row: int | None = None) -> Rgba:
        """Return the colours of one lead, (1, columns, 4), or of all, (L, columns, 4)."""
        return shade(self._values if row is None else self._values[row : row + 1], self._vmax, self._strongest)

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


def draw_colour_bar(axes: Axes, colours: Colours, *, horizontal: bool, room: float, label: bool = True) -> None:
    """Draw the one scale of the picture, with its unit in `room` mm; strengths as on the paper."""
    vmax = colours.vmax
    low = -vmax if colours.signed else 0.0
    extent = (low, vmax) if vmax > 0 else (0.0, 1.0)
    gradient = shade(np.linspace(*extent, 256), vmax if vmax > 0 and not colours.blank else 0.0, colours.strongest)
    image = gradient[None] if horizontal else gradient[:, None]
    box = (*extent, 0.0, 1.0) if horizontal else (0.0, 1.0, *extent)
    axes.imshow(image, extent=box, aspect="auto", origin="lower", interpolation="nearest")
    for spine in axes.spines.values():
        spine.set(edgecolor=SOFT_INK, linewidth=0.5)
    ticks = _bar_ticks(colours)
    axis: Axis = axes.xaxis
    if not horizontal:
        axes.yaxis.tick_right()
        axis = axes.yaxis
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([_tick(tick, colours) for tick in ticks]))
    if horizontal and ticks:  # within the bar's width: words stand next to it
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
    if not label:
        return
    words = f"no colour: {colours.blank}" if colours.blank else colours.unit
    style: dict[str, Any] = {"size": 7.5, "width": room / MM_PER_INCH, "lines": 2, "color": SOFT_INK}
    style["transform"] = axes.transAxes
    if horizontal:
        draw_text(axes, 0.5, 1.3, words, ha="center", va="bottom", **style)
    else:
        draw_text(axes, 3.9, 0.5, words, rotation=90, ha="left", va="center", multialignment="center", **style)


def _bar_ticks(colours: Colours) -> list[float]:
    top = colours.vmax
    return [] if colours.blank or top == 0 else [-top, 0.0, top] if colours.signed else [0.0, top / 2, top]


def bar_number_room(colours: Colours) -> float:
    """Return the millimetres that the longest number at an upright colour bar takes, its tick included."""
    return 2.0 + _DIGIT * max((len(_tick(tick, colours)) for tick in _bar_ticks(colours)), default=0)


def _tick(value: float, colours: Colours) -> str:
    """Return a number at the colour bar; at its ends "≥" or "≤" where values lie beyond."""
    number = f"{value:.2g}".replace("-", "−")
    if colours.beyond and abs(value) == colours.vmax:
        return f"{'≥' if value > 0 else '≤'} {number}"
    return number
