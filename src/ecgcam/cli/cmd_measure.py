"""`ecgcam measure`."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_json, print_line, progress, set_up_logging
from ecgcam.errors import EcgcamError, no_such

if TYPE_CHECKING:
    from ecgcam.records.criteria import Criterion
    from ecgcam.records.measurements import Measurements

_FEW = 8  # recordings, for which helper processes would take longer to start than they save


def run(
    records: shared.Records,
    criteria: Annotated[
        list[str] | None,
        typer.Option(
            "--criteria",
            metavar="FINDING|FILE.toml",
            help="Only the criteria of this finding (lbbb, 'left bundle branch block', ...), or of a file of your own. "
            "Repeatable. [default: all bundled ones]",
            show_default=False,
        ),
    ] = None,
    start: shared.Start = 0.0,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How many seconds of the recording are measured.")
    ] = 10.0,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    unit: shared.Unit = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Results as CSV, one row per recording.")] = False,
    as_json: shared.AsJson = False,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=0, help="Processes for many recordings; 0 for one per processor.")
    ] = 0,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Measure rate, intervals, axis and waves of each lead, and evaluate diagnostic criteria; no model is used."""
    from ecgcam.records import parse_lead_names
    from ecgcam.records.channels import check_unit
    from ecgcam.records.measurements import check_stretch
    from ecgcam.records.readers import check_rate
    from ecgcam.runs.worklist import find_recordings

    set_up_logging(quiet)
    if as_csv and as_json:
        raise EcgcamError("--csv and --json: choose one")
    check_rate(fs)
    check_unit(unit)
    check_stretch(start, seconds)
    chosen = _criteria(criteria)
    names = None if lead_names is None else parse_lead_names(lead_names)
    items = find_recordings(records, sys.stdin)
    options: dict[str, Any] = {
        "fs": fs, "lead_names": names, "unit": unit, "start": start, "seconds": seconds, "criteria": chosen,
    }  # fmt: skip
    failed = 0
    header: list[str] = []
    with progress(len(items), "measuring", quiet) as step:
        for result in _measured([(item.path, item.name) for item in items], options, jobs):
            step(1)
            if isinstance(result, EcgcamError):
                failed += 1
                print_error(result)
            elif as_json:
                print_json(result.to_dict())
            elif as_csv:
                row = _flat(result)
                if not header:
                    header = _columns(chosen)
                    print_line(_csv_line(header))
                print_line(_csv_line(["" if row.get(name) is None else row[name] for name in header]))
            else:
                for line in _table(result, len(items) > 1, bool(criteria)):
                    print_line(line)
    if failed:
        raise typer.Exit(2 if failed == len(items) else 1)


def _criteria(given: Sequence[str] | None) -> tuple[Criterion, ...]:
    """Return the criteria of the findings or files that were named; all where none was."""
    from ecgcam.records.criteria import all_criteria, criteria_of, finding_prompts, read_criteria

    if not given:
        return all_criteria()
    chosen: list[Criterion] = []
    for name in given:
        found = read_criteria(Path(name)) if name.endswith(".toml") else criteria_of(name)
        if not found:
            raise no_such(f"--criteria {name}", "finding", name, [*finding_prompts(), "a file that ends in .toml"])
        chosen += [criterion for criterion in found if criterion not in chosen]
    return tuple(chosen)


def _one(task: tuple[Path, str, dict[str, Any]]) -> Measurements | EcgcamError:
    """Measure one recording; return its error where it cannot be read."""
    from dataclasses import replace

    from ecgcam.records.measurements import measure

    path, name, options = task
    try:
        return replace(measure(path, **options), record=name)
    except EcgcamError as error:
        return error


def _measured(
    items: Sequence[tuple[Path, str]], options: dict[str, Any], jobs: int
) -> Iterator[Measurements | EcgcamError]:
    """Yield the results in order, from helper processes where there are many recordings."""
    tasks = [(path, name, options) for path, name in items]
    workers = min(jobs or os.cpu_count() or 1, len(tasks) // _FEW or 1)
    if workers < 2:
        yield from map(_one, tasks)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(_one, tasks, chunksize=4)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _columns(criteria: Sequence[Criterion]) -> list[str]:
    """Return the columns of the CSV table: the same for every recording."""
    from ecgcam.records.measurements import VALUES
    from ecgcam.records.median_beats import LEAD_VALUES
    from ecgcam.records.record import CANONICAL_LEADS

    by_lead = [f"{lead}_{name}" for lead in CANONICAL_LEADS for name in LEAD_VALUES]
    return ["record", "beats", "beats_averaged", *VALUES, *by_lead, *(criterion.name for criterion in criteria)]


def _flat(measured: Measurements) -> dict[str, Any]:
    """Return a recording's row: values by column; criteria as 1 and 0."""
    plain = measured.to_dict()
    row = {name: value for name, value in plain.items() if not isinstance(value, dict | list)}
    row |= {f"qtc_{name}_ms": value for name, value in plain["qtc"].items()}
    row |= {f"{lead}_{name}": value for lead, values in plain["leads"].items() for name, value in values.items()}
    return row | {
        name: None if result["holds"] is None else int(result["holds"]) for name, result in plain["criteria"].items()
    }


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


_SHOWN = {
    "rate_bpm": "rate", "rr_cv": "RR variation", "p_share": "P before QRS", "premature": "premature beats", "pr_ms": "PR",
    "qrs_ms": "QRS", "qt_ms": "QT", "qtc_ms": "QTc (Fridericia)", "axis_deg": "axis",
    "sokolow_mv": "Sokolow-Lyon", "cornell_mv": "Cornell",
}  # fmt: skip
_LEAD_COLUMNS = ("p_mv", "q_mv", "r_mv", "s_mv", "r2_mv", "st_mv", "t_mv")


def _table(measured: Measurements, several: bool, every: bool) -> Iterator[str]:
    """Yield the lines for a terminal: values, leads, and criteria."""
    from ecgcam.records.measurements import VALUES

    yield f"{measured.record}: {measured.beats} beats, {measured.averaged} averaged"
    for name, title in _SHOWN.items():
        value, unit = measured.values.get(name), VALUES[name]
        if value is None:
            yield f"  {title:18}       -  ({measured.why.get(name, 'not measured')})"
            continue
        digits = 2 if unit in {"mV", ""} and name != "premature" else 0
        spread = measured.spread.get(name)
        yield f"  {title:18}{value:8.{digits}f} {unit}" + (
            f"  (sd {spread:.0f} over beats)" if spread is not None else ""
        )
    yield (
        "  lead  "
        + "".join(f"{name.removesuffix('_mv').replace('r2', 'R′').upper():>8}" for name in _LEAD_COLUMNS)
        + "   mV"
    )
    for lead, values in measured.leads.items():
        cells = (values[name] for name in _LEAD_COLUMNS)
        yield f"  {lead:6}" + "".join("       -" if not isinstance(cell, float) else f"{cell:8.2f}" for cell in cells)
    yield from _criteria_lines(measured, every)
    if several:
        yield ""


_ONE = {"beats": "beat", "leads": "lead", "notches": "notch"}


def _criteria_lines(measured: Measurements, every: bool) -> Iterator[str]:
    """Yield a line for each criterion if `every`, else one for each finding whose criteria all hold."""
    by_finding: dict[str, list[str]] = {}
    open_: set[str] = set()
    for name, result in measured.criteria.items():
        finding, _, short = name.partition("/")
        unit = _ONE.get(result.unit, result.unit) if result.value == 1 else result.unit
        value = "not measured" if result.value is None else f"{result.value:.3g} {unit}".strip()
        where = f" in {', '.join(result.leads)}" if result.leads else ""
        if every:
            answer = {True: "holds", False: "does not hold", None: "cannot be decided"}[result.holds]
            yield f"  {name}: {answer}{where} ({value})"
        by_finding.setdefault(finding, []).append(f"{short} {value}{where}")
        if not result.holds:
            open_.add(finding)
    if not every:
        for finding, rows in by_finding.items():
            if finding not in open_:
                yield f"  all criteria hold: {finding} ({'; '.join(rows)})"
