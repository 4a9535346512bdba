"""The tables of a cohort: lead gains, waves, and further methods against the first one, paired by recording."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.cohort.bootstrap import DRAWS, Estimate, bootstrap_means
from ecgcam.cohort.gather import Group
from ecgcam.records.waves import SEGMENTS

ALL = "all"  # in place of a lead: the whole record; in waves, all leads weighed by their positive gains

Row = dict[str, Any]
LEADS = ("text", "method", "lead", "n", "gain", "low", "high")
WAVES = (
    "text", "method", "lead", "segment", "n", "share", "share_low", "share_high", "density", "density_low", "density_high",
)  # fmt: skip
COMPARISONS = (
    "text", "method", "against", "quantity", "lead", "segment", "n", "mean", "mean_against", "difference", "low", "high",
)  # fmt: skip


def lead_rows(group: Group, draws: int = DRAWS, seed: int = 0) -> list[Row]:
    """Return the mean gain of the whole record (score less empty score) and of each lead."""
    found = bootstrap_means(_gains(group), draws, seed)
    names = [ALL, *group.leads]
    return [
        {"text": group.text, "method": group.method, "lead": lead, "n": int(found.n[at])}
        | _three(found, at, "gain", "")
        for at, lead in enumerate(names)
    ]


def wave_rows(group: Group, draws: int = DRAWS, seed: int = 0) -> list[Row]:
    """Return the mean share and density of each segment, over all leads and in each."""
    share, density = (bootstrap_means(values, draws, seed) for values in (group.share, group.density))
    rows = []
    for at, lead in ((-1, ALL), *enumerate(group.leads)):
        for place, segment in enumerate(SEGMENTS):
            here = at, place
            row = {
                "text": group.text,
                "method": group.method,
                "lead": lead,
                "segment": segment,
                "n": int(share.n[here]),
            }
            rows.append(row | _three(share, here, "share", "share_") | _three(density, here, "density", "density_"))
    return rows


def comparison_rows(groups: Sequence[Group], draws: int = DRAWS, seed: int = 0) -> Iterator[Row]:
    """Yield, for each prompt, how every further method differs from the first one, over the recordings that both have.

    The difference is taken in each recording, and the bootstrap draws recordings: what they share cancels.
    """
    for text in dict.fromkeys(group.text for group in groups):
        first, *others = (group for group in groups if group.text == text)
        for other in others:
            common = [record for record in first.records if record in other.records]
            if common:
                yield from _compare(first, other, common, draws, seed)


def csv_text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Return rows as CSV (RFC 4180, but with plain line feeds): six significant digits, nothing where unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row[column] for column in columns)
        writer.writerow(
            "" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in values
        )
    return text.getvalue()


def _compare(first: Group, other: Group, common: list[str], draws: int, seed: int) -> Iterator[Row]:
    mine, theirs = ([group.records.index(record) for record in common] for group in (other, first))
    head = {"text": first.text, "method": other.method, "against": first.method}
    both = {
        "gain": (_gains(other)[mine][:, :, None], _gains(first)[theirs][:, :, None]),
        "share": (other.share[mine], first.share[theirs]),
        "density": (other.density[mine], first.density[theirs]),
    }
    for quantity, (new, old) in both.items():
        paired = np.isfinite(new) & np.isfinite(old)
        new, old = np.where(paired, new, np.nan), np.where(paired, old, np.nan)
        found = bootstrap_means(new - old, draws, seed)
        means = [bootstrap_means(values, 0).mean for values in (new, old)]
        leads = [*enumerate((ALL, *first.leads))] if quantity == "gain" else [(-1, ALL), *enumerate(first.leads)]
        for at, lead in leads:
            for place, segment in enumerate(("",) if quantity == "gain" else SEGMENTS):
                here = at, place
                row = {"quantity": quantity, "lead": lead, "segment": segment, "n": int(found.n[here])}
                row |= {"mean": _number(means[0][here]), "mean_against": _number(means[1][here])}
                yield head | row | _three(found, here, "difference", "")


def _gains(group: Group) -> npt.NDArray[np.float64]:
    return np.concatenate([(group.score - group.empty)[:, None], group.gain], axis=1)


def _three(found: Estimate, at: Any, name: str, prefix: str) -> Row:
    values = (found.mean, found.low, found.high)
    return {key: _number(value[at]) for key, value in zip((name, f"{prefix}low", f"{prefix}high"), values, strict=True)}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
