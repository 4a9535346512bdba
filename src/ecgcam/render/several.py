"""Several explanations as one figure: prompts, methods, or recordings side by side, with panel letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from ecgcam.errors import EcgcamError
from ecgcam.render import paper
from ecgcam.render.colour import Colours, colours
from ecgcam.render.full_page import PagePlan
from ecgcam.render.panels import check_layout
from ecgcam.render.style import PictureOptions, as_delivered
from ecgcam.results.beatwise import WaveTable
from ecgcam.results.explanation import Explanation

MOST = 12
_EACH = 180.0  # mm; the width of a panel where no width is asked for
_LEAST_EACH = 80.0
_GAP = 6.0
_SETTINGS = ("method", "model", "layer", "mask")


@as_delivered()
def together(
    explanations: Sequence[Explanation],
    *,
    scale: str | None = None,
    layout: str = "3x4",
    waves: Sequence[WaveTable] | None = None,
    options: PictureOptions | None = None,
) -> Figure:
    """Draw up to twelve explanations as lettered panels of one figure.

    Panels whose values have one unit (the same scale, and, unless that is ``evidence``, the same method) share one colour scale.

    Parameters
    ----------
    explanations : sequence of Explanation
        What to draw, in this order: two side by side, more below them.
    scale, layout, options
        As in `page`; the width is that of the whole figure.
    waves : sequence of WaveTable, optional
        One for each explanation.

    Raises
    ------
    EcgcamError
        If there is none or there are too many, or there is no such layout or scale.
    """
    check_layout(layout)
    if not 1 <= len(explanations) <= MOST:
        raise EcgcamError(f"{len(explanations)} results: one figure takes 1 to {MOST}; name some of them")
    options = options or PictureOptions()
    columns = min(2, len(explanations))
    if options.width_mm is None:
        each = _EACH
    else:
        if (options.width_mm - _GAP) / 2 < _LEAST_EACH:
            columns = 1
        each = (options.width_mm - (columns - 1) * _GAP) / columns
    of_panel = replace(options, width_mm=each, dpi=options.resolution)
    palettes = common_scale(explanations, [colours(each_, scale) for each_ in explanations])
    notes = _differences(explanations)
    plans = [
        PagePlan(
            explanation, palette, layout, of_panel, None if waves is None else waves[number],
            letter=chr(ord("a") + number) if len(explanations) > 1 else "", note=notes[number],
        )
        for number, (explanation, palette) in enumerate(zip(explanations, palettes, strict=True))
    ]  # fmt: skip
    rows = [plans[start : start + columns] for start in range(0, len(plans), columns)]
    heights = [max(plan.above for plan in row) + max(plan.below for plan in row) for row in rows]
    width = columns * each + (columns - 1) * _GAP
    figure = paper.blank_figure(width, sum(heights) + (len(rows) - 1) * _GAP, options.resolution)
    top = sum(heights) + (len(rows) - 1) * _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, plan in enumerate(row):
            plan.draw(figure, column * (each + _GAP), top - max(each_.above for each_ in row) - plan.below)
        top -= height + _GAP
    return figure


def _differences(explanations: Sequence[Explanation]) -> list[str]:
    """Return the settings in which the panels differ, apart from prompt and record."""
    metas = [explanation.meta for explanation in explanations]
    names = [name for name in _SETTINGS if len({str(meta.get(name)) for meta in metas}) > 1]
    return ["  ·  ".join(f"{name} {meta[name]}" for name in names if meta.get(name)) for meta in metas]


def common_scale(explanations: Sequence[Explanation], palettes: Sequence[Colours]) -> list[Colours]:
    """Give the panels of one unit one scale: the largest top of any."""

    def unit(number: int) -> tuple[str, ...]:
        of, meta = palettes[number], explanations[number].meta
        return (
            of.scale,
            of.unit,
            *(() if of.scale == "evidence" else (str(meta.get("method")), str(meta.get("model")))),
        )

    found = []
    for number, palette in enumerate(palettes):
        alike = [other for other in range(len(palettes)) if unit(other) == unit(number)]
        if len(alike) == 1:
            found.append(palette)
            continue
        top = max(palettes[other].vmax for other in alike)
        strongest = float(abs(palette.values).max(initial=0.0))
        beyond = strongest > top * (1 + 1e-6)
        found.append(replace(palette, vmax=top, beyond=beyond, panels=True))
    return found
