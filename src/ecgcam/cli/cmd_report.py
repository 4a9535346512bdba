"""`ecgcam report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import Notes, complain, progress, say, set_up_logging
from ecgcam.errors import EcgcamError
from ecgcam.explanation import SCALES, Explanation

NAME = "report.html"


def run(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="OUT", help="A folder of results, an explanation.npz, or a pack.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="[default: report.html in the first OUT]", show_default=False),
    ] = None,
    scale: shared.Scale = "evidence",
    most: Annotated[
        int | None, typer.Option("--most", metavar="N", min=1, help="Results in the file. [default: 100]")
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            metavar="FILE|DIR",
            help="What ecgcam evaluate wrote. [default: evidence.jsonl or evidence.json in OUT]",
            show_default=False,
        ),
    ] = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Write one HTML file on results: traces to explore, tables, settings, a reading guide. It needs no network."""
    set_up_logging(quiet)
    shared.check_choice("--scale", scale, SCALES)
    if make(results, out, scale=scale, most=most, evidence=evidence, quiet=quiet):
        raise typer.Exit(1)


def make(
    results: list[Path],
    out: Path | None,
    *,
    scale: str = "evidence",
    most: int | None = None,
    evidence: Path | None = None,
    quiet: bool = False,
    tell: Callable[[str], object] = say,
) -> int:
    """Write the report on `results` and `tell` where it is; return how many results could not be read.

    Raises
    ------
    EcgcamError
        If there is none that can be read, or the report cannot be written.
    """
    from ecgcam.render.report import MOST, read_judgements, report_html, write_report
    from ecgcam.results import find_results

    if evidence is not None and not evidence.exists():
        raise EcgcamError(f"{evidence}: no such file or folder; --evidence takes what ecgcam evaluate --out DIR wrote")
    judgements = read_judgements([evidence] if evidence is not None else [path for path in results if path.is_dir()])
    found = list(find_results(results))
    taken = found[: MOST if most is None else most]
    read: list[tuple[Explanation, dict[str, Any]]] = []
    failures: list[EcgcamError] = []
    with progress(len(taken), "reading", quiet) as step:
        for result in taken:
            try:
                read.append((result.load(), result.summary()))
            except EcgcamError as error:
                failures.append(error)
            step(1)
    if not read:
        raise failures[0]
    for failure in failures:
        complain(str(failure))
    left_out = len(found) - len(taken)
    if left_out:
        what = f"{left_out} result{'s are' if left_out > 1 else ' is'} left out"
        Notes(quiet).general([f"{what}; --most {len(found)} takes all, or name folders of some"])
    first = results[0] if results[0].is_dir() else results[0].parent
    path = first / NAME if out is None else out
    if path.is_dir():
        raise EcgcamError(f"{path}: is a folder; --out takes the name of the file, for example {path / NAME}")
    write_report(path, report_html(read, judgements, scale=scale, left_out=left_out))
    tell(str(path))
    return len(failures)
