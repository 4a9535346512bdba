"""The page of models is made from the model files."""

from __future__ import annotations

import runpy
from pathlib import Path

from ecgcam.models.model_file import load_spec, model_names

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    page = runpy.run_path(str(DOCS / "make_models.py"))["page"]()
    assert (DOCS / "models.md").read_text(encoding="utf-8") == page, "run: python docs/make_models.py"
    for name in model_names():
        assert f"\n## {name}\n" in page
        assert all(f"- {question}\n" in page for question in load_spec(name).open)
