"""docs/evaluate.md holds the table of metrics, and every row of the table is whole."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from ecgcam.evidence import METRIC_GROUPS
from ecgcam.evidence.metrics import METRICS, metric_named

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_table() -> None:
    text = (DOCS / "evaluate.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(DOCS / "make_evaluate.py"))["page"](text)
    assert made == text, "run: python docs/make_evaluate.py"


def test_names_are_unique_and_survive_their_variants() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        for name in (metric.name, f"time: {metric.name}", f"leads: {metric.name}", f"{metric.name}, mask, coherent"):
            assert metric_named(name) is metric


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_row_is_whole(metric) -> None:
    assert metric.group in METRIC_GROUPS
    assert metric.direction in {"higher", "lower"}
    assert metric.function.__doc__
    assert [one for one in METRICS if one.function is metric.function] == [metric]


def test_every_group_has_a_headline() -> None:
    assert {metric.group for metric in METRICS if metric.headline} == set(METRIC_GROUPS)


def test_the_table_does_not_import_torch() -> None:
    code = "import sys, ecgcam.evidence.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
