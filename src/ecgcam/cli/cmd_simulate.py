"""`ecgcam simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_json, say


def run(
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="normal, af or lbbb.", show_default=False)],
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same files.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go.")] = Path(),
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Simulate a 12-lead recording, its twin without the finding, and the truth: where the two differ."""
    from ecgcam.files import check_writable
    from ecgcam.records.simulator import simulate, write

    simulation = simulate(finding, seed)
    check_writable(out)
    written = write(simulation, out)
    if as_json:
        print_json(written)
        return
    for name, path in written.items():
        if path is not None:
            say(f"{name:<7} {path}")
