"""The table of docs/criteria.md and the files of configs/criteria are the same."""

from __future__ import annotations

import re
from pathlib import Path

from ecgcam.records.criteria import all_criteria

PAGE = Path(__file__).parents[2] / "docs/criteria.md"


def test_every_criterion_is_in_the_table_with_its_source() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sources = {f"[{number}]": source for number, source in re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE)}
    rows = re.findall(r"^\| `([a-z0-9-]+/[a-z0-9-]+)` \| (.*) \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    table = [(name, words, wave, sources[source]) for name, words, wave, source in rows]
    assert table == [(one.name, one.text, one.wave, one.source) for one in all_criteria()]
