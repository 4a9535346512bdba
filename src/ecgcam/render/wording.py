"""The words on a picture: what was asked, what came out, and how it was made."""

from __future__ import annotations

from typing import Any, Protocol

from ecgcam.explanation import Explanation
from ecgcam.render.paper import seconds_of

NO_GAIN = "gain ≤ 0: this lead alone does not raise the score"
ALL_ZERO = "the map is zero everywhere after relu; the cells before it are in map_cells"
FLAT = "flat or missing"
NO_BEATS = "no beats found"
OFF_PAPER = "the trace leaves the paper"
_AGAINST = {"mean": "the mean of the vocabulary", "empty": "the empty text"}


class Told(Protocol):
    """What carries the settings that it was made with: an explanation, a timeline."""

    @property
    def meta(self) -> dict[str, Any]:
        """The settings."""


def prompt(explanation: Told) -> str:
    """Return the prompt in quotes."""
    return f"“{explanation.meta['text']}”"


def outcome(explanation: Explanation) -> str:
    """Return the scores, what the prompt was held against, the window and the record."""
    start, seconds = seconds_of(explanation)
    foils = explanation.meta.get("against") or []
    others = " and ".join(_AGAINST.get(foil, f"“{shortened(foil, 60)}”") for foil in foils)
    name = f"score against {others}" if foils else "score"
    return (
        f"{name} {explanation.score:.3f} (every lead filled: {explanation.empty_score:.3f})  ·  "
        f"{start:g} to {start + seconds:g} s  ·  record {shortened(str(explanation.meta['record']), 60)}"
    )


def provenance(explanation: Told) -> str:
    """Return the method, mask, layer, model, and where the map's cells sit."""
    meta = explanation.meta
    parts = [f"{key} {meta[key]}" for key in ("method", "mask", "layer", "model") if meta.get(key) not in (None, "")]
    step, width = meta.get("cell_step_ms"), meta.get("cell_width_ms")
    if step is not None:
        parts.append(f"one cell every {step:g} ms")
    if width is not None:
        parts.append(f"a cell sees about {width:g} ms")
    return "  ·  ".join(parts)


def about_cells(explanation: Explanation) -> str:
    """Return what the ticks and the bar above the paper say about the map's cells; empty where it has none."""
    step, width = explanation.meta.get("cell_step_ms"), explanation.meta.get("cell_width_ms")
    parts = []
    if len(explanation.cell_time) and step is not None:
        parts.append(f"ticks: cells, every {step:g} ms")
    if width is not None:
        parts.append(f"each sees about {width:g} ms")
    return ", ".join(parts)


def gain(explanation: Explanation, row: int) -> str:
    """Return a lead's gain and its rank."""
    rank = explanation.ranking.index(row) + 1
    return f"gain {signed(float(explanation.gains[row]))}, rank {rank} of {len(explanation.leads)}"


def signed(value: float) -> str:
    """Return a number with its sign, a true minus included; three decimals, or its order of magnitude where they are all 0.

    Scores are float32: below a millionth there is only rounding.
    """
    if abs(value) < 1e-6:
        return "0.000"
    return (f"{value:+.3f}" if abs(value) >= 0.0005 else f"{value:+.0e}").replace("-", "−")


def shortened(text: str, most: int) -> str:
    """Return `text`, its middle replaced by an ellipsis beyond `most` characters: names of recordings differ at either end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"


def notes(explanation: Explanation, row: int, scale: str, *, off_paper: bool = False) -> str:
    """Return what a reader must know before trusting the colour (or its absence) of one lead."""
    found = []
    if not explanation.valid[row].any():
        found.append(FLAT)
    elif float(explanation.gains[row]) <= 0:
        found.append(NO_GAIN + ("; its map is left blank" if scale == "evidence" else ""))
    elif not explanation.map[row].any():
        found.append("the map is zero everywhere" if explanation.meta.get("signed") else ALL_ZERO)
    if off_paper:
        found.append(OFF_PAPER)
    return "; ".join(found)
