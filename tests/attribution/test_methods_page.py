"""The page of methods is made from the table."""

from __future__ import annotations

import runpy
from pathlib import Path

from ecgcam.attribution.methods import METHODS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    page = runpy.run_path(str(DOCS / "make_methods.py"))["page"]()
    assert (DOCS / "methods.md").read_text(encoding="utf-8") == page, "run: python docs/make_methods.py"
    for name, method in METHODS.items():
        assert f"### {name}\n" in page
        assert all(f"| `{option.name}` |" in page for option in method.options)
