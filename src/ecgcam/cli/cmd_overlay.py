"""`ecgcam overlay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_line, set_up_logging
from ecgcam.errors import EcgcamError, check_choice


def run(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="The scanned page: PNG, JPEG or TIFF.", show_default=False)
    ],
    npz: Annotated[Path, typer.Argument(metavar="NPZ", help="An explanation.npz, or its folder.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The picture to write: .png, .jpg, .tif or .pdf.", show_default=False
        ),
    ],
    boxes: Annotated[
        str,
        typer.Option(
            "--boxes",
            metavar="NAME|FILE.toml",
            help="Where the leads are on the page: two-column, two-column-5s, 3x4, or a file of your own.",
        ),
    ] = "two-column",
    scale: shared.Scale = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Draw the maps over a scanned page, half transparent, so that the paper's own trace stays visible."""
    from ecgcam.files import check_writable
    from ecgcam.render.boxes import load_boxes
    from ecgcam.render.scan import check_kind, onto_scan, read_scan, save_scan
    from ecgcam.results.collection import Result
    from ecgcam.results.explanation import SCALES

    set_up_logging(quiet)
    if scale is not None:
        check_choice("scale", scale, SCALES)
    check_kind(out)
    page = load_boxes(boxes)
    if out.exists() and image.exists() and out.samefile(image):
        raise EcgcamError(f"{out}: is the scan itself; choose another file with --out")
    scan = read_scan(image)
    file = npz / "explanation.npz" if npz.is_dir() else npz
    explanation = Result(file).load()
    check_writable(out.parent)
    save_scan(onto_scan(explanation, scan, page, scale=scale), out, scan.info.get("dpi"))
    print_line(f"{out}  {explanation.meta['record']}  {explanation.meta['text']!r}  boxes {page.name}")
