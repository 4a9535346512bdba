"""A result in words: its conclusion in one sentence, for terminals, notebooks and the demo, and percentiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What follows "reference recordings" where they are known to be without the finding.
WITHOUT = " without it"


def percent(value: float) -> str:
    """Return a share of 0 to 100 in whole per cent; next to the ends with a decimal, so that 99.8 % is not "100 %"."""
    near_an_end = 0 < value < 1 or 99 < value < 100
    return f"{value:.1f} %" if near_an_end else f"{value:.0f} %"


def verdict_sentence(summary: Mapping[str, Any]) -> str:
    """Return the conclusion of a result: the answer, the rank of the prompt, the strongest leads, the check of the map.

    Parameters
    ----------
    summary : mapping
        What `Explanation.summary` returns, or the content of ``summary.json``.
    """
    verdict, check = summary.get("verdict"), summary.get("check")
    parts = []
    if verdict:
        rank = "" if verdict["rank"] is None else f", rank {verdict['rank']} of {verdict['of']}"
        parts.append(f"{verdict['answer']}: {summary['text']}{rank}")
    else:
        parts.append(f"{summary['text']}: score {summary['score']:.3f}")
    leads = [lead["name"] for lead in summary["leads"] if lead["gain"] > 0 and lead["rank"] is not None][:3]
    parts.append(f"leads {', '.join(leads)}" if leads else "no lead alone raises the score")
    if check is not None:
        parts.append("check passed" if check["passed"] else "check failed")
    return "; ".join(parts)
