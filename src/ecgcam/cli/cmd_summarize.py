"""`ecgcam summarize`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import complain, print_json, progress, say, set_up_logging
from ecgcam.cli.tables import print_table
from ecgcam.errors import EcgcamError
from ecgcam.explanation import Explanation

FOLDER = "cohort"


def run(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT",
            help="A folder of results, an explanation.npz, or a pack; several to compare methods.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="[default: the folder cohort in the first OUT]", show_default=False
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", metavar="N", min=100, help="Of the bootstrap over recordings.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the bootstrap.")] = 0,
    no_png: Annotated[bool, typer.Option("--no-png", help="No pictures.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Take many recordings together: for each prompt, lead gains, shares of the waves and mean beats, with intervals.

    Results of several methods, in one OUT or several, are compared with the first one's, paired by recording.
    """
    from ecgcam.cohort.gather import collect
    from ecgcam.cohort.output import write_cohort
    from ecgcam.files import check_writable
    from ecgcam.results import find_results

    set_up_logging(quiet)
    folder = out or (results[0] if results[0].is_dir() else results[0].parent) / FOLDER
    found = list(find_results(results))
    check_writable(folder)
    failures: list[EcgcamError] = []

    with progress(len(found), "reading", quiet) as step:

        def readable() -> Iterator[Explanation]:
            for result in found:
                try:
                    yield result.load()
                except EcgcamError as error:
                    failures.append(error)
                step(1)

        groups = collect(readable())
    if not groups:
        raise failures[0]
    for failure in failures:
        complain(str(failure))
    with progress(len(groups), "drawing", quiet) as step:
        lines = []
        for line in write_cohort(groups, folder, draws=draws, seed=seed, png=not no_png):
            lines.append(line)
            step(1)
    if as_json:
        for line in lines:
            print_json(line)
    else:
        _print(lines)
        say(f"tables{'' if no_png else ' and pictures'} in {folder}")
    if failures:
        raise typer.Exit(1)


def _print(lines: list[dict[str, Any]]) -> None:
    rows = []
    for line in lines:
        leads = ", ".join(f"{lead['name']} {_number(lead['gain'], '+.3f')}" for lead in line["leads"][:3])
        known = [(of["density"], segment) for segment, of in line["waves"].items() if of["density"] is not None]
        densest = ", ".join(f"{segment} {density:.1f}" for density, segment in sorted(known, reverse=True)[:2])
        mean, low, high = (_number(line["gain"][key], "+.3f") for key in ("mean", "low", "high"))
        interval = f"{low} to {high}" if low else ""
        rows.append([line["text"], line["method"], str(line["n"]), mean, interval, leads, densest or "unknown"])
    headings = ["prompt", "method", "n", "gain", "95 % interval", "strongest leads (gain)", "densest (1: chance)"]
    print_table(headings, rows, right=("n", "gain"))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
