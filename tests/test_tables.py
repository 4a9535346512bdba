"""The pages' tables come from what was measured, and only between their marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.tables import ROOT, performance, put, scale

MEASURED: dict[str, Any] = {
    "machine": {
        "processor": "Toy", "cores": 2, "python": "3.11", "torch": "2", "rounds": 5, "recordings": 50, "load": [0.5, 0, 0],
    },
    "figures": [
        {"figure": "a", "what": "mini: x", "value": 1.2, "low": 1.1, "high": 1.3, "goal": "<= 1.15", "met": False,
         "details": None},
        {"figure": "d", "what": "mini: y / z", "value": 1.0, "low": 1.0, "high": 1.0, "goal": "", "met": None,
         "details": {"no-png": 9.0, "forward": 8.0}},
    ],
}  # fmt: skip


def test_figures_say_what_was_wanted_and_whether_it_came() -> None:
    table = performance(MEASURED)
    assert "| mini: x | 1.20 | 1.10 to 1.30 | <= 1.15 | **missed** |" in table
    assert "| mini: y / z | 1.00 |  |  |  |" in table


def test_hours_are_recordings_times_seconds_times_cores() -> None:
    """9 s for 50 recordings on 2 cores: 0.36 core seconds each; 800,035 of them are 80 hours, 21,799 are 2.18."""
    assert "| mini, arrays (`--no-png`) | 0.18 | 2 core h | 80 core h |" in scale(MEASURED)


def test_only_the_marked_place_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: python -m benchmarks.tables -->\nold\n<!-- end of x -->\nafter\n")
    put(page, "x", r"new \1")
    put(page, "x", r"newer \1")
    assert page.read_text() == (
        "before\n<!-- x: python -m benchmarks.tables -->\nnewer \\1\n<!-- end of x -->\nafter\n"
    )
    with pytest.raises(SystemExit, match="not one place marked"):
        put(page, "y", "")
    for name, mark in (("performance.md", "figures"), ("scale.md", "hours")):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert text.count(f"<!-- {mark}: python -m benchmarks.tables -->") == 1
        assert text.count(f"<!-- end of {mark} -->") == 1
