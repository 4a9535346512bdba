"""Prepares and finishes the site of `make docs`, before and after Zensical: `python docs/make_site.py stage|finish FOLDER`.

Staging copies the pages, runs the notebooks and turns them into pages. Finishing makes the search work from disk, and refuses a
page that would load anything from a network.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
# Pages of the root by their names in the site, where README.md would be a second index.
OF_THE_ROOT = {
    "README.md": "start.md",
    "README.zh.md": "start-zh.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
}


def stage(folder: Path) -> None:
    """Write the pages and Zensical's settings to a folder."""
    pages = folder / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    shutil.copytree(DOCS / "img", pages / "img")
    for page in DOCS.glob("*.md"):
        (pages / page.name).write_text(without_files(page.read_text(encoding="utf-8"), "../"), encoding="utf-8")
    for name, staged in OF_THE_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        (pages / staged).write_text(without_files(text, ""), encoding="utf-8")
    (pages / "tutorials").mkdir()
    for notebook in sorted((DOCS / "tutorials").glob("*.ipynb")):
        (folder / "work").mkdir(exist_ok=True)
        to_page(execute(notebook, folder / "work"), pages / "tutorials" / f"{notebook.stem}.md")
    settings = (DOCS / "site/zensical.toml").read_text(encoding="utf-8")
    (folder / "zensical.toml").write_text(settings.replace("{source}", (ROOT / "src").as_posix()), encoding="utf-8")


def without_files(text: str, up: str) -> str:
    """Point links to pages of the root and to notebooks at their staged pages; links to other files become their text."""

    def replace(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        path, hash_, anchor = target.partition("#")
        name = path.removeprefix(up)
        if name in OF_THE_ROOT:
            return f"[{label}]({OF_THE_ROOT[name]}{hash_}{anchor})"
        if path.endswith(".ipynb"):
            return f"[{label}]({path.removesuffix('.ipynb')}.md)"
        outside = "://" not in target and (
            path.startswith("../") or (not up and path and not path.endswith((".md", ".png")))
        )
        return label if outside else match[0]

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", replace, text)


def execute(notebook: Path, folder: Path) -> Any:
    """Run a notebook in a folder; return it with its outputs. A cell that fails raises its error."""
    read = nbformat.read(notebook, as_version=4)
    NotebookClient(read, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return read


def to_page(notebook: Any, page: Path) -> None:
    """Write an executed notebook as Markdown, its pictures next to it."""
    parts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                picture = page.with_name(f"{page.stem}-{len(parts)}.png")
                picture.write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![Output of the cell above]({picture.name})")
            elif "text/html" in data:
                parts.append(data["text/html"])
            else:
                parts.append(f"```text\n{(output.get('text') or data.get('text/plain', '')).rstrip()}\n```")
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def finish(folder: Path) -> None:
    """Let the search run from disk, and refuse pages that load anything from a network."""
    site = folder / "site"
    shutil.copy(DOCS / "site/worker.js", site / "assets/javascripts/worker.js")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = re.sub(
            r'<script src="https://unpkg.com/iframe-worker/shim"[^>]*>',
            f'<script src="{up}assets/javascripts/worker.js">',
            text,
        )
        page.write_text(text, encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="(https?:[^"]*)"', text)
        if loaded:
            raise SystemExit(f"{page}: loads {', '.join(loaded)}; a page of the site must load nothing from a network")


if __name__ == "__main__":
    {"stage": stage, "finish": finish}[sys.argv[1]](Path(sys.argv[2]))
