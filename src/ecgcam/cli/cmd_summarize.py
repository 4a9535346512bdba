"""`ecgcam summarize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_json, print_line, progress, set_up_logging
from ecgcam.cli.help import OUTPUT
from ecgcam.cli.tables import print_table
from ecgcam.errors import EcgcamError

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
            "--out",
            "-o",
            metavar="DIR",
            help="Folder of tables and pictures. [default: cohort/ in the first OUT]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", metavar="N", min=100, help="Draws of the bootstrap over recordings.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the bootstrap.")] = 0,
    no_png: Annotated[bool, typer.Option("--no-png", help="Draw no pictures.", rich_help_panel=OUTPUT)] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Summarize many recordings: for each prompt, lead gains, shares of the waves and mean beats, with intervals.

    Results of several methods, in one OUT or in several, are compared with those of the first method, paired by recording.
    """
    from ecgcam.cohort.output import write_cohort
    from ecgcam.cohort.summary import summarize
    from ecgcam.files import check_writable
    from ecgcam.results.collection import find_results

    set_up_logging(quiet)
    folder = out or (results[0] if results[0].is_dir() else results[0].parent) / FOLDER
    found = list(find_results(results))
    check_writable(folder)
    failures: list[EcgcamError] = []
    with progress(len(found), "reading", quiet) as step:
        summary = summarize(
            found, draws=draws, seed=seed, on_error=lambda _, error: failures.append(error),
            on_progress=lambda *_: step(1),
        )  # fmt: skip
    for failure in failures:
        print_error(failure)
    with progress(len(summary.groups), "drawing", quiet) as step:
        lines = []
        for line in write_cohort(summary, folder, png=not no_png):
            lines.append(line)
            step(1)
    if as_json:
        for line in lines:
            print_json(line)
    else:
        _print(lines)
        print_line(f"tables{'' if no_png else ' and pictures'} in {folder}")
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
    for line in lines:
        if (right := line["right"]) is not None:
            interval = f" (95 % interval {right['low']:.2f} to {right['high']:.2f})"
            several = "" if len(lines) == 1 else f"{line['text']}, {line['method']}: "
            print_line(
                f"{several}right for the right reasons in {right['share']:.2f} of {right['n']} recordings{interval}"
            )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
