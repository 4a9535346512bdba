"""`ecgcam simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import completion
from ecgcam.cli import options as shared
from ecgcam.cli.console import print_json, print_line
from ecgcam.errors import EcgcamError

# The simulator's own tables import NumPy, which --help does not; a test compares them.
_FINDINGS = (
    "normal, af, flutter, tachycardia, bradycardia, av-block-1, lbbb, rbbb, irbbb, lafb, lvh, inferior-mi, anteroseptal-mi, "
    "pvc, paced, ischaemia, st-depression, t-abnormal, q-waves, t-inversion, st-elevation, long-qt"
)
_WALLS = "inferior|anterior|lateral"


def run(
    finding: Annotated[
        str,
        typer.Argument(
            metavar="FINDING",
            help=f"One of {_FINDINGS}.",
            show_default=False,
            autocompletion=completion.complete_finding,
        ),
    ],
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed; the same seed gives the same files.")
    ] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the files.")] = Path(),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help=f"wall={_WALLS}, for findings of one wall. [default: drawn with the seed]",
            show_default=False,
        ),
    ] = None,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Simulate a 12-lead recording, its twin without the finding, and the truth: where the finding is visible."""
    from ecgcam.files import check_writable
    from ecgcam.records.simulator import simulate, write

    simulation = simulate(finding, seed, wall=_wall(settings or []))
    check_writable(out)
    written = write(simulation, out)
    if as_json:
        print_json(written)
        return
    for name, path in written.items():
        if path is not None:
            print_line(f"{name:<7} {path}")


def _wall(settings: list[str]) -> str | None:
    wall = None
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key != "wall" or not equals:
            raise EcgcamError(f"--set {setting}: no such setting; write --set wall={_WALLS}")
        if wall is not None:
            raise EcgcamError(f"--set {setting}: wall is set twice; give it once")
        wall = value
    return wall
