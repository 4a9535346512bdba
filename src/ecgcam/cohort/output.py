"""A cohort on disk: three tables, the average beats, a picture for each prompt and method; each file whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.cohort import tables
from ecgcam.cohort.gather import TIME, Group
from ecgcam.cohort.summary import GroupSummary, Summary
from ecgcam.files import atomic, save_arrays, writing
from ecgcam.results.explanation import slug_of
from ecgcam.results.intervals import Estimate, share_interval
from ecgcam.runs.worklist import BEATS


def write_cohort(summary: Summary, out: Path, *, png: bool = True) -> Iterator[dict[str, Any]]:
    """Write tables, ``beats.npz`` and the pictures into `out`.

    Tables: ``leads.csv``, ``waves.csv``, ``criteria.csv`` (results with criteria), ``comparison.csv`` (several methods).

    Yields a dict for each group when its picture is written: text, label (with classes), method, n, gain, leads, waves, passed,
    right, criteria, out. The tables are written before the first.

    Raises
    ------
    EcgcamError
        If `out` cannot be written.
    """
    groups = summary.groups
    leads = [tables.lead_rows(group) for group in groups]
    waves = [tables.wave_rows(group) for group in groups]
    criteria = [tables.criteria_rows(group) for group in groups]
    compared = list(tables.comparison_rows(summary.comparisons))
    texts = {
        "leads.csv": tables.csv_text(tables.LEADS, (row for rows in leads for row in rows)),
        "waves.csv": tables.csv_text(tables.WAVES, (row for rows in waves for row in rows)),
    }
    if any(criteria):
        texts["criteria.csv"] = tables.csv_text(tables.CRITERIA, (row for rows in criteria for row in rows))
    if compared:
        texts["comparison.csv"] = tables.csv_text(tables.COMPARISONS, compared)
    with writing(out, out):
        for name, text in texts.items():
            with atomic(out / name) as path:
                path.write_text(text, encoding="utf-8")
        for name in ("criteria.csv", "comparison.csv"):
            if name not in texts:
                (out / name).unlink(missing_ok=True)  # of an earlier call
        _write_beats(groups, out)
        names = _names([group.group for group in groups])
        for group, name, lead, wave, criterion in zip(groups, names, leads, waves, criteria, strict=True):
            if png:
                _draw(groups, group, out / name)
            yield _line(group, lead, wave, criterion, out)


def _draw(groups: Sequence[GroupSummary], summary: GroupSummary, path: Path) -> None:
    """Draw a group, and, of further methods, how it differs from the first one: NAME--difference.png."""
    from ecgcam import render
    from ecgcam.cohort.finding import draw_difference, draw_finding

    render.save(draw_finding(summary), path)
    one = summary.group
    first = next(each for each in groups if (each.group.text, each.group.label) == (one.text, one.label))
    if first is not summary and (difference := draw_difference(first, summary)) is not None:
        render.save(difference, path.with_name(f"{path.stem}--difference.png"))


def _line(
    summary: GroupSummary, leads: list[tables.Row], waves: list[tables.Row], criteria: list[tables.Row], out: Path
) -> dict[str, Any]:
    """Return what ``--json`` prints for a group."""
    whole, *each = leads
    ranked = sorted(each, key=lambda row: -(row["gain"] if row["gain"] is not None else -np.inf))
    of_waves = {
        row["segment"]: {key: row[key] for key in tables.WAVES[5:]} for row in waves if row["lead"] == tables.ALL
    }
    group, passed = summary.group, summary.passed
    return {
        "text": group.text,
        **({} if group.label is None else {"label": group.label}),
        "method": group.method,
        "n": len(group.records),
        "gain": {"mean": whole["gain"], "low": whole["low"], "high": whole["high"]},
        "leads": [{"name": row["lead"]} | {key: row[key] for key in ("n", "gain", "low", "high")} for row in ranked],
        "waves": of_waves,
        "passed": {"share": float(passed.mean), "n": int(passed.n)} if passed.n else None,
        "right": _interval(summary.right),
        "criteria": [{key: row[key] for key in tables.CRITERIA[2:]} for row in criteria],
        "out": str(out),
    }


def _interval(found: Estimate) -> dict[str, Any] | None:
    """Return a share with its interval; None where it is known of no recording."""
    if not found.n:
        return None
    low, high = share_interval(float(found.mean), int(found.n))
    return {"share": float(found.mean), "low": low, "high": high, "n": int(found.n)}


def _write_beats(groups: Sequence[GroupSummary], out: Path) -> None:
    arrays = {
        "texts": np.array([summary.group.text for summary in groups]),
        "methods": np.array([summary.group.method for summary in groups]),
        "leads": np.array(groups[0].group.leads),
        "time": TIME,
        "n": np.stack([summary.beats.n for summary in groups]),
        "mean": np.stack([summary.beats.mean for summary in groups]),
        "low": np.stack([summary.beats.low for summary in groups]),
        "high": np.stack([summary.beats.high for summary in groups]),
        "signal": np.stack([summary.group.signal for summary in groups]),
    }
    if any(summary.group.label is not None for summary in groups):
        arrays["labels"] = np.array([str(summary.group.label) for summary in groups])
    with atomic(out / BEATS) as path:
        save_arrays(path, arrays)


def _names(groups: Sequence[Group]) -> list[str]:
    """Return a picture's name for each group: the slug of the prompt, of the method and the class where there are several."""
    several = len({group.method for group in groups}) > 1

    def name(group: Group, distinct: bool) -> str:
        parts = [group.text, *([group.method] if several else []), *([] if group.label is None else [group.label])]
        return "--".join(slug_of(part, distinct=distinct) for part in parts)

    plain = [name(group, distinct=False) for group in groups]
    counts = Counter(plain)
    return [
        f"{name(group, distinct=True) if counts[short] > 1 else short}.png"
        for group, short in zip(groups, plain, strict=True)
    ]
