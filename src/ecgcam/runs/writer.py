"""The only writer of results. A folder of results appears whole or not at all. No torch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.files import locked, new_folder
from ecgcam.records import CANONICAL_LEADS
from ecgcam.results.beatwise import WaveTable, wave_table
from ecgcam.results.explanation import FILE, SUMMARY, WINDOW_FOLDER, Explanation
from ecgcam.results.timeline import TIMELINE, Timeline
from ecgcam.results.trace import Trace

# Every name that a folder of results can hold of ours; anything else in it is somebody else's.
PAGE, CAPTION = "page.png", "caption.txt"
_PICTURES = ("page", "beats", *(f"lead-{lead}" for lead in CANONICAL_LEADS))
# What it takes to add to a result what it lacks: to run the model, or to draw.
MODEL, PICTURES = "model", "pictures"
OURS = frozenset({*(f"{name}.{form}" for name in _PICTURES for form in ("png", "pdf", "svg")), CAPTION, FILE, SUMMARY})


@dataclass(frozen=True)
class Outputs:
    """Which files a result has, and how its pictures are drawn: no part of its identity.

    Attributes
    ----------
    scale : str, optional
        Of the maps in pictures: ``evidence``, ``lead`` or ``raw``; by default what fits the method.
    layout : str
        Of the page: ``3x4`` or ``12x1``.
    waves : bool
        Whether to find beats and waves, for the summary, the page and ``beats.png``.
    png, npz : bool
        Whether to write pictures, in all of `formats`, and arrays.
    formats, dpi, width_mm
        As in `ecgcam.render.PictureOptions`.
    check : bool
        Whether maps are checked (`ecgcam.evidence.check`).
    recheck : bool
        Whether a result that is there without a check is explained again for it.
    criteria : bool
        Whether the criteria of the prompt's finding are measured, and compared with the evidence (`ecgcam.evidence.reasons`).
    """

    scale: str | None = None
    layout: str = "3x4"
    waves: bool = False
    png: bool = True
    npz: bool = True
    check: bool = False
    formats: tuple[str, ...] = ("png",)
    dpi: float | None = None
    width_mm: float | None = None
    criteria: bool = False
    recheck: bool = False

    @property
    def page(self) -> str:
        """The file name of the page."""
        return f"page.{self.formats[0]}"


class TakenError(Exception):
    """Another call has meanwhile put another result where this one belonged."""


def write_result(
    explanation: Explanation,
    folder: Path,
    outputs: Outputs = Outputs(),
    *,
    place: Path | None = None,
    fork: bool = False,
    trace: Trace | None = None,
    is_free: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Write one explanation's files into `folder`: pictures, arrays, summary.

    Everything is written next to its place first and moved there when complete. An earlier result in `folder` gives way
    whole, and comes back if the new one cannot take its place; other files in the folder stay.

    Parameters
    ----------
    explanation : Explanation
        What to write.
    folder : Path
        ``OUT/<record>/<slug>``; its parents are made.
    outputs : Outputs
        Which files.
    place : Path, optional
        The folder relative to OUT, for the summary; by default its name.
    fork : bool
        Whether to draw in two processes, where this one can fork: it must have no threads.
    trace : Trace, optional
        The recording at its own rate, for the pictures.
    is_free : callable, optional
        Whether the result still belongs there: called when it is moved, while no other call moves one into the same parent.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    TakenError
        If `is_free` returns False; nothing is written then.
    EcgcamError
        If the folder cannot be written, or a value is not finite.
    """
    explanation.check()
    table = wave_table(explanation) if outputs.waves else None
    summary = explanation.summary() | ({} if table is None else {"waves": table.summary()})
    place = Path(folder.name) if place is None else place
    slug = place.parent if WINDOW_FOLDER.fullmatch(place.name) else place
    summary |= {"slug": slug.name, "out": place.as_posix(), "drawn": json.loads(json.dumps(asdict(outputs)))}
    try:
        with new_folder(folder.parent), _workspace(folder) as workspace:
            staged = workspace / "new"
            staged.mkdir()
            with _page_in_fork(explanation, staged, outputs, table, trace, fork=outputs.png and fork) as skip_names:
                if outputs.npz:
                    explanation.save_arrays(staged)
                if outputs.png:
                    _draw(explanation, staged, outputs, table, trace, skip_names)
            if skip_names and not (staged / outputs.page).is_file():
                _draw(explanation, staged, outputs, table, trace)
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            (staged / SUMMARY).write_text(text, encoding="utf-8")
            if is_free is None:
                _move(staged, folder, workspace / "earlier")
            else:
                with _alone_in(folder.parent):
                    if not is_free():
                        raise TakenError
                    _move(staged, folder, workspace / "earlier")
    except OSError as error:
        raise EcgcamError(
            f"{folder}: cannot be written ({error.strerror or error}); nothing of it was kept; choose another `out`"
        ) from error
    return summary


def encode_result(
    explanation: Explanation, place: Path, outputs: Outputs = Outputs(), *, trace: Trace | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the summary and the files, by name, that `write_result` would write: for packs.

    Raises
    ------
    EcgcamError
        If a value is not finite, or there is no room for temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ecgcam-") as name:
            folder = Path(name) / "result"
            summary = write_result(explanation, folder, outputs, place=place, trace=trace)
            return summary, {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    except OSError as error:
        raise EcgcamError(
            f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error}); set TMPDIR"
        ) from error


TIMELINE_PICTURE = "timeline.png"


def write_timeline(
    timeline: Timeline, windows: Sequence[Explanation], folder: Path, *, scale: str | None = None, png: bool = True
) -> None:
    """Write ``timeline.png`` and ``timeline.npz`` into the folder of a recording's windows, the arrays last.

    Parameters
    ----------
    timeline : Timeline
        What to write.
    windows : sequence of Explanation
        Its strongest windows, as `ecgcam.render.timeline_strip` takes them.
    folder : Path
        ``OUT/<record>/<slug>``.
    scale : str
        Of the picture's maps.
    png : bool
        Whether to draw it.

    Raises
    ------
    EcgcamError
        If the folder cannot be written.
    """
    try:
        with new_folder(folder):
            if png:
                from ecgcam import render

                render.save(render.timeline_strip(timeline, windows, scale=scale), folder / TIMELINE_PICTURE)
            timeline.save(folder)
    except OSError as error:
        raise EcgcamError(
            f"{folder}: its timeline cannot be written ({error.strerror or error}); choose another `out`"
        ) from error


def encode_timeline(
    timeline: Timeline, windows: Sequence[Explanation], *, scale: str | None = None, png: bool = True
) -> dict[str, bytes]:
    """Return what `write_timeline` would write: for packs."""
    try:
        with tempfile.TemporaryDirectory(prefix="ecgcam-") as name:
            write_timeline(timeline, windows, Path(name), scale=scale, png=png)
            return {
                file: (Path(name) / file).read_bytes()
                for file in (TIMELINE_PICTURE, TIMELINE)
                if (Path(name) / file).is_file()
            }
    except OSError as error:
        raise EcgcamError(
            f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error}); set TMPDIR"
        ) from error


def clear_unfinished_of(out: Path, name: str) -> None:
    """Remove what a process that was killed left of a recording's results, and its folders if nothing else is in them."""
    record = out / name
    folders = [path for path in record.glob("*") if path.is_dir() and not path.name.startswith(".")]
    for place in (record, *folders):
        for left in place.glob(".*-????????*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    for place in (*folders, record):
        with contextlib.suppress(OSError):  # not there, or other results are in it
            place.rmdir()


@contextlib.contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """Yield a folder to work in on the same file system as `folder`, which may be a link to another: inside it if it is there."""
    place = folder if folder.is_dir() else folder.parent
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:40]}-", dir=place) as name:
        yield Path(name)


def _draw(
    explanation: Explanation,
    folder: Path,
    outputs: Outputs,
    waves: WaveTable | None,
    trace: Trace | None,
    skip_names: frozenset[str] = frozenset(),
) -> None:
    from ecgcam import render

    options = render.PictureOptions(outputs.formats, outputs.dpi, outputs.width_mm)
    drawn = render.pictures(
        explanation, outputs.scale, outputs.layout, waves=waves, skip_names=skip_names, options=options, trace=trace
    )
    for name, figure in drawn:
        render.save(figure, folder / name)
    if options != render.PictureOptions():
        (folder / CAPTION).write_text(render.caption([explanation], outputs.scale), encoding="utf-8")


@contextlib.contextmanager
def _page_in_fork(
    explanation: Explanation,
    folder: Path,
    outputs: Outputs,
    waves: WaveTable | None,
    trace: Trace | None,
    *,
    fork: bool,
) -> Iterator[frozenset[str]]:
    """Yield the names of the pictures that another process draws meanwhile: the page, or none; they are there afterwards.

    If that process is lost they are not. It is a fork, which has imported what this one has: a new one would first take as long
    as all the drawing.
    """
    if not fork or not hasattr(os, "fork") or outputs.formats != ("png",):
        yield frozenset()
        return

    child = os.fork()
    if child == 0:
        try:
            logging.disable()  # the parent draws the same words, and notes what they lack
            strips = frozenset(f"lead-{lead}.png" for lead in explanation.leads)
            _draw(explanation, folder, outputs, waves, trace, strips | {"beats.png"})
        finally:
            os._exit(0)  # whatever became of it: the parent looks for the page
    try:
        yield frozenset({PAGE})
    finally:
        os.waitpid(child, 0)


def _move(staged: Path, folder: Path, earlier: Path) -> None:
    """Rename the whole folder where none is; else exchange the files, the summary last, since it marks a complete result.

    If a file cannot be exchanged, all are put back as they were. Of two processes that write the same result the later one's
    stays, whole: they exchange one after the other.
    """
    if not folder.exists():
        try:
            staged.rename(folder)
        except OSError:
            if not folder.is_dir():  # or else another process has been quicker
                raise
        else:
            return
    earlier.mkdir()
    with _alone_in(folder):
        _swap_files(staged, folder, earlier)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process exchanges the files of a folder, and keep others waiting."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with locked(handle):
            yield
    finally:
        os.close(handle)


def _swap_files(staged: Path, folder: Path, earlier: Path) -> None:
    names = sorted((path.name for path in staged.iterdir()), key=lambda name: (name == SUMMARY, name))
    placed = []
    try:
        for name in sorted(OURS, key=lambda name: (name != SUMMARY, name)):
            if (folder / name).is_file():
                (folder / name).rename(earlier / name)
        for name in names:
            (staged / name).rename(folder / name)
            placed.append(name)
    except BaseException:
        for name in placed:
            (folder / name).unlink()
        for path in earlier.iterdir():
            path.rename(folder / path.name)
        raise
