"""The only writer of results. A folder of results appears whole or not at all. No torch."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ecgcam.beatwise import WaveTable, wave_table
from ecgcam.errors import EcgcamError
from ecgcam.explanation import FILE, SUMMARY, Explanation
from ecgcam.files import locked, new_folder, plain_mode
from ecgcam.records import CANONICAL_LEADS
from ecgcam.timeline import TIMELINE, Timeline

# Every name that a folder of results can hold of ours; anything else in it is somebody else's.
PAGE = "page.png"
OURS = frozenset({*(f"lead-{lead}.png" for lead in CANONICAL_LEADS), PAGE, "beats.png", FILE, SUMMARY})


def write_result(
    explanation: Explanation,
    folder: Path,
    *,
    scale: str = "evidence",
    layout: str = "12x1",
    waves: bool = False,
    png: bool = True,
    npz: bool = True,
    slug: str | None = None,
    in_two: bool = False,
) -> dict[str, Any]:
    """Write one explanation's files into `folder`: pictures, arrays, summary.

    Everything is written beside its place first and moved there when complete. An earlier result in `folder` gives way
    whole, and comes back if the new one cannot take its place; other files in the folder stay.

    Parameters
    ----------
    explanation : Explanation
        What to write.
    folder : Path
        ``OUT/<record>/<slug>``; its parents are made.
    scale : str
        Of the pictures: ``evidence``, ``lead`` or ``raw``.
    layout : str
        Of the page: ``12x1`` or ``3x4``.
    waves : bool
        Whether to find beats and waves, for the summary, the page and ``beats.png``.
    png, npz : bool
        Whether to write pictures and arrays.
    slug : str, optional
        The prompt's folder name, where it is not the plain one (prompts that had to be told apart).
    in_two : bool
        Whether to draw in two processes, where this one can fork: it must have no threads.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    EcgcamError
        If the folder cannot be written, or a value is not finite.
    """
    explanation.check()
    table = wave_table(explanation) if waves else None
    summary = _summary(explanation, slug, table) | {"out": str(folder)}
    try:
        with new_folder(folder.parent), _beside(folder) as workspace:
            staged = workspace / "new"
            staged.mkdir()
            with _page_beside(explanation, staged, scale, layout, table, in_two=png and in_two) as left_out:
                if npz:
                    explanation.save(staged)
                if png:
                    _draw(explanation, staged, scale, layout, table, left_out)
            if left_out and not (staged / PAGE).is_file():
                _draw(explanation, staged, scale, layout, table)
            (staged / SUMMARY).write_text(summary_text(summary), encoding="utf-8")
            _move(staged, folder, workspace / "earlier")
    except OSError as error:
        raise EcgcamError(f"{folder}: cannot be written ({error.strerror or error}); nothing of it was kept") from error
    return summary


def write_pictures(
    explanation: Explanation,
    folder: Path,
    *,
    scale: str = "evidence",
    layout: str = "12x1",
    waves: bool = False,
    gradient: bool = False,
) -> None:
    """Draw an explanation's pictures into `folder` (made if needed), over earlier ones; nothing else in it changes.

    All are drawn before the first one takes its place.

    Raises
    ------
    EcgcamError
        If the folder cannot be written, or there is no such layout or scale.
    """
    from ecgcam import render

    table = wave_table(explanation) if waves else None
    try:
        with new_folder(folder), _beside(folder) as workspace:
            for name, figure in render.pictures(explanation, scale, layout, waves=table, gradient=gradient):
                render.save(figure, workspace / name)
            for path in sorted(workspace.iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        raise EcgcamError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another with --out"
        ) from error


def encode_result(
    explanation: Explanation,
    *,
    scale: str = "evidence",
    layout: str = "12x1",
    waves: bool = False,
    png: bool = True,
    npz: bool = True,
    slug: str | None = None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what `write_result` would write, the summary still without its place: for packs.

    Raises
    ------
    EcgcamError
        If a value is not finite, or there is no room for temporary files.
    """
    explanation.check()
    table = wave_table(explanation) if waves else None
    summary = _summary(explanation, slug, table)
    try:
        with tempfile.TemporaryDirectory(prefix="ecgcam-") as name:
            staged = Path(name)
            if npz:
                explanation.save(staged)
                (staged / SUMMARY).unlink()
            if png:
                _draw(explanation, staged, scale, layout, table)
            return summary, {path.name: path.read_bytes() for path in sorted(staged.iterdir())}
    except OSError as error:
        raise EcgcamError(f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error})") from error


TIMELINE_PICTURE = "timeline.png"


def write_timeline(
    timeline: Timeline, windows: Sequence[Explanation], folder: Path, *, scale: str = "evidence", png: bool = True
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
        raise EcgcamError(f"{folder}: its timeline cannot be written ({error.strerror or error})") from error


def encode_timeline(
    timeline: Timeline, windows: Sequence[Explanation], *, scale: str = "evidence", png: bool = True
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
        raise EcgcamError(f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error})") from error


def summary_text(summary: dict[str, Any]) -> str:
    """Return the content of ``summary.json``."""
    return json.dumps(summary, indent=2, ensure_ascii=False) + "\n"


def clear_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left beside a result's folder."""
    for place in (folder.parent, folder):
        for left in place.glob(f".{glob.escape(folder.name[:40])}-????????"):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Yield a folder to work in on the same file system as `folder`, which may be a link to another: inside it if it is there."""
    place = folder if folder.is_dir() else folder.parent
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:40]}-", dir=place) as name:
        yield Path(name)


def _summary(explanation: Explanation, slug: str | None, waves: WaveTable | None) -> dict[str, Any]:
    summary = explanation.summary() | ({} if slug is None else {"slug": slug})
    return summary if waves is None else summary | {"waves": waves.summary()}


def _draw(
    explanation: Explanation,
    folder: Path,
    scale: str,
    layout: str,
    waves: WaveTable | None,
    left_out: frozenset[str] = frozenset(),
) -> None:
    from ecgcam import render

    for name, figure in render.pictures(explanation, scale, layout, waves=waves, left_out=left_out):
        render.save(figure, folder / name)


@contextlib.contextmanager
def _page_beside(
    explanation: Explanation, folder: Path, scale: str, layout: str, waves: WaveTable | None, *, in_two: bool
) -> Iterator[frozenset[str]]:
    """Yield the names of the pictures that another process draws meanwhile: the page, or none; they are there afterwards.

    If that process is lost they are not. It is a fork, which has imported what this one has: a new one would first take as long
    as all the drawing.
    """
    if not in_two or not hasattr(os, "fork"):
        yield frozenset()
        return
    from ecgcam import render

    child = os.fork()
    if child == 0:
        try:
            every = frozenset(f"lead-{lead}.png" for lead in explanation.leads)
            for name, figure in render.pictures(explanation, scale, layout, waves=waves, left_out=every):
                if name == PAGE:
                    render.save(figure, folder / name)
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
        staged.chmod(plain_mode(0o777))
        try:
            staged.rename(folder)
        except OSError:
            if not folder.is_dir():  # or else another process has been quicker
                raise
        else:
            return
    earlier.mkdir()
    with _alone_in(folder):
        _exchange(staged, folder, earlier)


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


def _exchange(staged: Path, folder: Path, earlier: Path) -> None:
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
