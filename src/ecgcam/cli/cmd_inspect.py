"""`ecgcam inspect`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_json, print_line, progress, set_up_logging, with_flags
from ecgcam.cli.tables import Table
from ecgcam.errors import EcgcamError

if TYPE_CHECKING:
    from ecgcam.records.inspection import Inspection

_HEADINGS = ("record", "format", "Hz", "s", "unit", "leads", "mV", "missing", "doubts")


def run(
    records: shared.Records,
    fs: shared.Fs = None,
    lead_names: shared.LeadNames = None,
    unit: shared.Unit = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Show what is read from each recording: format, rate, leads, unit, length, missing samples, doubts; no model is used."""
    from ecgcam.records import parse_lead_names
    from ecgcam.records.channels import check_unit
    from ecgcam.records.inspection import inspect
    from ecgcam.records.readers import check_rate
    from ecgcam.runs.worklist import find_recordings

    set_up_logging(quiet)
    check_rate(fs)
    check_unit(unit)
    names = None if lead_names is None else parse_lead_names(lead_names)
    items = find_recordings(records, sys.stdin)
    table = Table(_HEADINGS, right=("Hz", "s", "missing"))
    failed = 0
    with progress(len(items), "reading", quiet) as step:
        for item in items:
            try:
                found = replace(inspect(item.path, fs=fs, lead_names=names, unit=unit), record=item.name)
            except EcgcamError as error:
                failed += 1
                print_error(error)
                continue
            finally:
                step(1)
            if as_json:
                print_json(found.to_dict())
            elif len(items) > 1:
                table.add(_row(found))
            else:
                for line in _lines(found):
                    print_line(line)
    if table.rows:
        table.flush()
    if failed:
        raise typer.Exit(2 if failed == len(items) else 1)


def _row(found: Inspection) -> list[str]:
    """Return a recording's row of the table of several."""
    lows = [lead.low_mv for lead in found.leads.values() if lead.low_mv is not None]
    highs = [lead.high_mv for lead in found.leads.values() if lead.high_mv is not None]
    missing = sum(lead.missing for lead in found.leads.values()) / len(found.leads)
    return [
        found.record, found.format, f"{found.fs:g}", f"{found.seconds:g}", found.unit, ",".join(found.leads),
        f"{min(lows):.2f} to {max(highs):.2f}" if lows else "-", _share(missing),
        with_flags("; ".join(found.doubts)) or "-",
    ]  # fmt: skip


def _share(missing: float) -> str:
    return f"{missing:.1%}" if missing >= 0.0005 else "<0.1%" if missing else "-"


def _lines(found: Inspection) -> Iterator[str]:
    """Yield the lines about a single recording."""
    yield (
        f"{found.record}: {found.format}, {len(found.leads)} leads, {found.fs:g} Hz, {found.seconds:g} s "
        f"({found.samples} samples), unit {found.unit}"
    )
    yield f"  {'lead':6}{'lowest':>9}{'highest':>9}{'missing':>9}   mV"
    for name, lead in found.leads.items():
        low, high = ("-" if value is None else f"{value:.3f}" for value in (lead.low_mv, lead.high_mv))
        yield f"  {name:6}{low:>9}{high:>9}{_share(lead.missing):>9}{'   derived' if lead.derived else ''}"
    for note in found.notes:
        yield f"  note: {with_flags(note)}"
    for doubt in found.doubts:
        yield f"  doubt: {with_flags(doubt)}"
