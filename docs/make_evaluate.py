"""Writes the tables of metrics in `evaluate.md` from `ecgcam.evidence.metrics`: `python docs/make_evaluate.py`."""

from __future__ import annotations

import re
from pathlib import Path

from ecgcam.evidence import METRIC_GROUPS
from ecgcam.evidence.metrics import METRICS, Metric

PAGE = Path(__file__).with_name("evaluate.md")


def chance(metric: Metric) -> str:
    """Return what a map without information gets, in words."""
    if callable(metric.chance):
        return "share of the truth"
    return "random map's mean" if metric.chance is None else f"{metric.chance:g}"


def table(group: str) -> str:
    """Return the rows of one group; a metric's text is the docstring of its function."""
    lines = ["| metric | better | chance | what it is, and its source |", "|---|---|---|---|"]
    for metric in METRICS:
        if metric.group == group:
            name = f"**{metric.name}**" if metric.headline else metric.name
            text = " ".join((metric.function.__doc__ or "").split())
            lines.append(f"| {name} | {metric.direction} | {chance(metric)} | {text} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with its tables made again."""
    for group in METRIC_GROUPS:
        start, end = f"<!-- metrics: {group} -->\n", "\n<!-- end of metrics -->"
        pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise SystemExit(f"{PAGE}: needs {start.strip()} and {end.strip()} once")
        made = start + table(group) + end
        text = pattern.sub(lambda _, made=made: made, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
