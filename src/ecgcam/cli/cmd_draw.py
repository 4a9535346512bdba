"""`ecgcam draw`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgcam.cli import options as shared
from ecgcam.cli.console import print_error, print_line, progress
from ecgcam.cli.help import OUTPUT
from ecgcam.errors import EcgcamError, check_choice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ecgcam.evidence.truths import Truth
    from ecgcam.render.style import PictureOptions
    from ecgcam.results.collection import Result
    from ecgcam.results.explanation import Explanation


def picture_options(formats: Sequence[str] | None, dpi: float | None, width_mm: float | None) -> PictureOptions:
    """Return the options of --format, --dpi and --width-mm."""
    from ecgcam.render.style import PictureOptions

    return PictureOptions(tuple(dict.fromkeys(formats or ("png",))), dpi, width_mm)


def run(
    npz: Annotated[
        list[Path],
        typer.Argument(metavar="NPZ", help="An explanation.npz, a folder of results, or a pack.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Pictures go to DIR/<record>/<prompt>/. [default: next to each NPZ]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    together: Annotated[
        Path | None,
        typer.Option(
            "--together",
            metavar="FILE",
            help="One figure of all results, at most 12, with panel letters: FILE.png, .pdf or .svg.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    scale: shared.Scale = None,
    layout: shared.Layout = "3x4",
    waves: shared.Waves = False,
    gradient: Annotated[
        bool,
        typer.Option(
            "--gradient",
            help="Add the smoothed input gradient to the pictures of leads, as a thin curve.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="FILE",
            help="Outline on the page where the finding is: STEM-truth.npz; with --annotations, the WFDB recording.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            "--annotations",
            metavar="EXT:SYMBOLS",
            help="Which WFDB annotations of the --truth recording: atr:V; leads:N for LUDB's QRS.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    formats: shared.Formats = None,
    dpi: shared.Dpi = None,
    width_mm: shared.WidthMm = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (read by ecgcam.cli.app, which decides what an error looks like)
) -> None:
    """Draw results again without the model: a picture per lead and the page, or several results in one figure."""
    from ecgcam.results.collection import find_results
    from ecgcam.results.explanation import LAYOUTS, SCALES

    if scale is not None:
        check_choice("scale", scale, SCALES)
    check_choice("layout", layout, LAYOUTS)
    options = picture_options(formats, dpi, width_mm)
    results = list(find_results(npz))
    if together is not None:
        if out is not None or gradient or formats or truth:
            raise EcgcamError(
                "--together names one file, whose suffix is its format: leave out --out, --format, --gradient, --truth"
            )
        _draw_together(results, together, scale, layout, waves, options)
        return
    marked = _read_truth(truth, annotations)
    settings: dict[str, Any] = {
        "scale": scale,
        "layout": layout,
        "waves": waves,
        "gradient": gradient,
        "options": options,
    }
    failures = 0
    places: dict[Path, Path] = {}
    with progress(len(results), "drawing", quiet) as step:
        for result in results:
            try:
                folder = _draw(result, out, places, marked, **settings)
                places[folder] = result.file
                print_line(str(folder))
            except EcgcamError as error:
                failures += 1
                print_error(error)
            step(1)
    if failures:
        raise typer.Exit(1 if places else 2)


def _read_truth(path: Path | None, annotations: str | None) -> Truth | None:
    """Return what --truth and --annotations name."""
    from ecgcam.evidence.truths import Annotations, read_truth

    if path is None:
        if annotations is not None:
            raise EcgcamError("--annotations: name the recording with --truth")
        return None
    return read_truth(path) if annotations is None else Annotations.parse(annotations).read(path)


def _outline(truth: Truth, explanation: Explanation) -> npt.NDArray[np.bool_]:
    """Return the truth on the samples of an explanation, (L, T); false beyond its end and for leads without one."""
    import numpy as np

    at = np.rint(explanation.time * truth.fs).astype(int)
    inside = (at >= 0) & (at < truth.mask.shape[1])
    outline = np.zeros(explanation.map.shape, bool)
    for row, lead in enumerate(explanation.leads):
        if lead in truth.leads:
            outline[row, inside] = truth.mask[truth.leads.index(lead), at[inside]]
    return outline


def _draw(result: Result, out: Path | None, places: dict[Path, Path], truth: Truth | None, **settings: Any) -> Path:
    """Draw one result, and return the folder that its pictures went to."""
    from ecgcam.render import write_pictures
    from ecgcam.results.collection import result_dir_of

    explanation = result.load()
    folder = result.folder if out is None else result_dir_of(explanation, out, result.is_window)
    if folder is None:
        raise EcgcamError(f"{result.file}: is in a pack, which holds no pictures; choose a folder with --out DIR")
    if folder in places:
        raise EcgcamError(
            f"{result.file}: its pictures would replace those of {places[folder]}; draw it with another --out"
        )
    outline = None if truth is None else _outline(truth, explanation)
    write_pictures(explanation, folder, outline=outline, **settings)
    return folder


def _draw_together(
    results: Sequence[Result], path: Path, scale: str | None, layout: str, waves: bool, options: PictureOptions
) -> None:
    """Draw all results as one figure, and write its caption next to it."""
    from ecgcam.files import atomic, check_writable, writing
    from ecgcam.render import caption, save, together
    from ecgcam.render.several import MOST
    from ecgcam.results.beatwise import wave_table

    if len(results) > MOST:
        raise EcgcamError(f"--together: {len(results)} results; one figure takes at most {MOST}, so name fewer")
    check_writable(path.parent)
    explanations = [result.load() for result in results]
    tables = [wave_table(explanation) for explanation in explanations] if waves else None
    figure = together(explanations, scale=scale, layout=layout, waves=tables, options=options)
    words = caption(explanations, scale)
    with writing(path):
        save(figure, path, title=", ".join(str(each.meta["text"]) for each in explanations), description=words)
        with atomic(path.with_name(f"{path.stem}-caption.txt")) as temporary:
            temporary.write_text(words, encoding="utf-8")
    print_line(str(path))
