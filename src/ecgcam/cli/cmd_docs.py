"""`ecgcam docs`."""

from __future__ import annotations

from typing import Annotated

import typer

from ecgcam.cli import completion
from ecgcam.cli.console import print_line
from ecgcam.cli.tables import print_table


def run(
    page: Annotated[
        str | None,
        typer.Argument(
            metavar="[PAGE]",
            help="The page to print. [default: a list of all]",
            show_default=False,
            autocompletion=completion.complete_page,
        ),
    ] = None,
) -> None:
    """Print a page of the documentation, which is part of the installation."""
    from ecgcam.errors import no_such
    from ecgcam.resources import docs_pages

    pages = docs_pages()
    if page is None:
        rows = []
        for name, path in pages.items():
            with path.open(encoding="utf-8") as file:
                title = next((line.lstrip("# ").strip() for line in file if line.startswith("#")), name)
            rows.append([name, title])
        print_table(("page", "title"), rows)
        print_line("")
        print_line("`ecgcam docs PAGE` prints one.")
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        raise no_such(f"page {page}", "page", name, pages, "`ecgcam docs` lists all")
    print_line(pages[name].read_text(encoding="utf-8"))
