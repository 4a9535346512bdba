"""The tables of a cohort: lead gains, waves, and further methods against the first one, paired by recording."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ecgcam.cohort.summary import Comparison, GroupSummary
from ecgcam.records.waves import SEGMENTS
from ecgcam.results.intervals import Estimate

ALL = "all"  # in place of a lead: the whole recording; in waves, all leads weighted by their positive gains

Row = dict[str, Any]
LEADS = ("text", "method", "lead", "n", "gain", "low", "high")
WAVES = (
    "text", "method", "lead", "segment", "n", "share", "share_low", "share_high", "density", "density_low", "density_high",
)  # fmt: skip
CRITERIA = (
    "text", "method", "criterion", "description", "n", "holds", "holds_low", "holds_high", "n_holding", "density", "density_low",
    "density_high", "drop", "drop_low", "drop_high", "score", "score_low", "score_high",
)  # fmt: skip
COMPARISONS = (
    "text", "method", "against", "quantity", "lead", "segment", "n", "mean", "mean_against", "difference", "low", "high",
)  # fmt: skip


def lead_rows(summary: GroupSummary) -> list[Row]:
    """Return the mean gain of the whole recording (score less empty score), then of each lead."""
    gain, head = summary.gain, _head(summary)
    return [
        head | {"lead": lead, "n": int(gain.n[at])} | _three(gain, at, "gain", "")
        for at, lead in _leads(summary.group.leads)
    ]


def wave_rows(summary: GroupSummary) -> list[Row]:
    """Return the mean share and density of each segment of the beat, over all leads and in each."""
    share, density, head = summary.share, summary.density, _head(summary)
    rows = []
    for at, lead in _leads(summary.group.leads):
        for place, segment in enumerate(SEGMENTS):
            here = at, place
            row = head | {"lead": lead, "segment": segment, "n": int(share.n[here])}
            rows.append(row | _three(share, here, "share", "share_") | _three(density, here, "density", "density_"))
    return rows


def criteria_rows(summary: GroupSummary) -> list[Row]:
    """Return for each criterion how often it holds, and what the model makes of it where it does."""
    rows = []
    for at, (name, description) in enumerate(summary.group.criteria):
        row = _head(summary) | {"criterion": name, "description": description, "n": int(summary.holds.n[at])}
        row |= _three(summary.holds, at, "holds", "holds_")
        row["n_holding"] = int((summary.group.holds[:, at] > 0).sum())
        for key in ("density", "drop", "score"):
            row |= _three(getattr(summary, f"criterion_{key}"), at, key, f"{key}_")
        rows.append(row)
    return rows


def comparison_rows(comparisons: Iterable[Comparison]) -> Iterator[Row]:
    """Yield the mean difference of gain, share and density for each comparison and lead."""
    for one in comparisons:
        head = {"text": one.text, "label": one.label, "method": one.method, "against": one.against}
        for quantity in ("gain", "share", "density"):
            difference, mean, mean_against = getattr(one, quantity)
            for at, lead in _leads(one.leads):
                for place, segment in enumerate(("",) if quantity == "gain" else SEGMENTS):
                    here = at if quantity == "gain" else (at, place)
                    row: Row = {"quantity": quantity, "lead": lead, "segment": segment, "n": int(difference.n[here])}
                    row |= {"mean": _number(mean[here]), "mean_against": _number(mean_against[here])}
                    yield head | row | _three(difference, here, "difference", "")


def csv_text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Return rows as CSV (RFC 4180, but with plain line feeds): six significant digits, empty where unknown.

    Rows with a class have the column ``label`` too.
    """
    known = list(rows)
    if any(row.get("label") is not None for row in known):
        columns = ("label", *columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in known:
        values = (row[column] for column in columns)
        writer.writerow(
            "" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in values
        )
    return text.getvalue()


def _head(summary: GroupSummary) -> Row:
    return {"text": summary.group.text, "label": summary.group.label, "method": summary.group.method}


def _leads(leads: tuple[str, ...]) -> list[tuple[int, str]]:
    """Return row numbers and names; the last row of a `Group`'s arrays is all leads together."""
    return [(-1, ALL), *enumerate(leads)]


def _three(found: Estimate, at: Any, name: str, prefix: str) -> Row:
    values = (found.mean, found.low, found.high)
    return {key: _number(value[at]) for key, value in zip((name, f"{prefix}low", f"{prefix}high"), values, strict=True)}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
