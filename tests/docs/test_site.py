"""The site of `make docs`: notebooks run, links lead somewhere, nothing loads from a network, the search works from disk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ecgcam
from tests.conftest import ROOT
from tests.docs.pages import prose

NOTEBOOKS = sorted((ROOT / "docs/tutorials").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    """The sources of a notebook's cells of one kind."""
    read = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in read["cells"] if cell["cell_type"] == kind]


def test_the_api_page_lists_everything_that_is_offered() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^::: ecgcam\.(\w+)$", page, re.MULTILINE)) == set(ecgcam.__all__) - {"__version__"}


def test_every_page_and_notebook_is_in_the_menu() -> None:
    menu = (ROOT / "docs/site/zensical.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"([\w/-]+)\.md"', menu))
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} | {
        f"tutorials/{notebook.stem}" for notebook in NOTEBOOKS
    }
    assert len(NOTEBOOKS) == 4
    assert named == pages | {"start", "start-zh", "CONTRIBUTING", "SECURITY", "CHANGELOG"}
    tomllib.loads(menu)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs_and_their_links_lead_somewhere(notebook: Path) -> None:
    read = json.loads(notebook.read_text(encoding="utf-8"))
    assert not [cell for cell in read["cells"] if cell.get("outputs") or cell.get("execution_count")]
    for source in cells(notebook, "markdown"):
        for target in re.findall(r"\]\(([^)]+)\)", prose(source)):
            assert (notebook.parent / target).exists(), target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, without a network's proxy to help it."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    make = [sys.executable, str(ROOT / "docs/make_site.py")]
    zensical = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(folder / "zensical.toml")]
    for call in ([*make, "stage", str(folder)], zensical, [*make, "finish", str(folder)]):
        done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder / "site"


@pytest.mark.slow
def test_the_site_holds_every_page_the_api_and_executed_notebooks(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), page.name
    api = (site / "api.html").read_text(encoding="utf-8")
    assert not [name for name in ecgcam.__all__ if name != "__version__" and f'id="ecgcam.{name}"' not in api]
    assert "prompt" in api
    first = (site / "tutorials/first-explanation.html").read_text(encoding="utf-8")
    assert "data:image/" in first, "the explanation shows its picture without any magic"
    assert re.search(r"map: 4\.\d\d s; finding: 4\.", first)


@pytest.mark.slow
@pytest.mark.browser
def test_the_search_works_from_disk_without_a_network(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"))
        context = browser.new_context(offline=True)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("bootstrap")
        page.locator("a[href^='file:'][href*='summarize.html']").first.wait_for(timeout=20_000)
        assert not [address for address in asked if not address.startswith(("file:", "data:", "blob:"))]
        browser.close()
