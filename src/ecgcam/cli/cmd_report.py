"""`ecgcam report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_line, progress, set_up_logging
from ecgcam.cli.help import OUTPUT
from ecgcam.errors import EcgcamError


def run(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="OUT", help="A folder of results, an explanation.npz, or a pack.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The HTML file. [default: report.html in the first OUT]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    scale: shared.Scale = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            metavar="N",
            min=1,
            help="The most results in the file. [default: 100]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            metavar="FILE|DIR",
            help="What `ecgcam evaluate --out` wrote. [default: evidence.jsonl or evidence.json in OUT]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Write one HTML file about results: traces to explore, tables, settings, a reading guide. It works offline."""
    set_up_logging(quiet)
    path, failed = make(results, out, scale=scale, most=most, evidence=evidence, quiet=quiet)
    print_line(str(path))
    if failed:
        raise typer.Exit(1)


def make(
    results: list[Path],
    out: Path | None,
    *,
    scale: str | None = None,
    most: int | None = None,
    evidence: Path | None = None,
    quiet: bool = False,
) -> tuple[Path, int]:
    """Write the report on `results`; return where it is, and how many results could not be read."""
    from ecgcam.render.report import make_report

    failures: list[EcgcamError] = []
    with progress(None, "reading", quiet) as bar:
        path = make_report(
            results, out, scale=scale, most=most, evidence=evidence, on_progress=bar.within,
            on_error=lambda _, error: failures.append(error),
        )  # fmt: skip
    for failure in failures:
        print_error(failure)
    return path, len(failures)
