"""`ecgcam draw`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import complain, progress, say
from ecgcam.errors import EcgcamError
from ecgcam.explanation import LAYOUTS, SCALES


def run(
    npz: Annotated[
        list[Path],
        typer.Argument(metavar="NPZ", help="explanation.npz; a folder of results; a pack.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Pictures go to DIR/<record>/<prompt>/. [default: beside each NPZ]",
            show_default=False,
        ),
    ] = None,
    scale: shared.Scale = "evidence",
    layout: shared.Layout = "12x1",
    waves: shared.Waves = False,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="Add the smoothed input gradient to the strips, as a thin curve.")
    ] = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Draw results again, a strip a lead and the page, without a model."""
    from ecgcam.results import Result, find_results, place_of
    from ecgcam.store import write_pictures

    shared.check_choice("--scale", scale, SCALES)
    shared.check_choice("--layout", layout, LAYOUTS)
    results = list(find_results(npz))

    def draw(result: Result) -> Path:
        explanation = result.load()
        folder = result.folder if out is None else place_of(explanation, out, result.is_window)
        if folder is None:
            raise EcgcamError(f"{result.file}: lies in a pack, which takes no pictures; choose a folder with --out DIR")
        if folder in places:
            raise EcgcamError(
                f"{result.file}: its pictures would go where those of {places[folder]} are; use another --out"
            )
        write_pictures(explanation, folder, scale=scale, layout=layout, waves=waves, gradient=gradient)
        places[folder] = result.file
        return folder

    failures = 0
    places: dict[Path, Path] = {}
    with progress(len(results), "drawing", quiet) as step:
        for result in results:
            try:
                say(str(draw(result)))
            except EcgcamError as error:
                failures += 1
                complain(str(error))
            step(1)
    if failures:
        raise typer.Exit(1 if places else 2)
