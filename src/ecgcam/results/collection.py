"""Results that were written earlier: found in a folder, a pack, or named one by one, and read when asked for. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.files import is_file, one_line, open_file, pack_members, parse_json
from ecgcam.records.record import CANONICAL_LEADS
from ecgcam.results.explanation import FILE, SUMMARY, WINDOW_FOLDER, Explanation, slug_of, window_name
from ecgcam.results.timeline import start_of


@dataclass(frozen=True)
class Result:
    """One explanation on disk.

    Attributes
    ----------
    file : Path
        Its npz; in a pack ``pack-00000.tar/record/prompt/explanation.npz``.
    """

    file: Path

    @property
    def folder(self) -> Path | None:
        """Where the npz lies; None in a pack."""
        return self.file.parent if self.file.is_file() else None

    @property
    def is_window(self) -> bool:
        """Whether it is one window of several, by the folder that ``--all`` gave it; a prompt's folder has no dot."""
        return WINDOW_FOLDER.fullmatch(self.file.parent.name) is not None

    def load(self) -> Explanation:
        """Read it, as `Explanation.load` does, with the checks that a file from anywhere needs.

        Raises
        ------
        EcgcamError
            If it is damaged, no explanation, or its arrays do not fit together.
        """
        explanation = Explanation.load(self.file)
        _check_shapes(explanation, self.file)
        return explanation

    def summary(self) -> dict[str, Any]:
        """Return what the ``summary.json`` next to it holds; empty if there is none.

        Raises
        ------
        EcgcamError
            If it is not JSON.
        """
        path = self.file.with_name(SUMMARY)
        return read_summary(path) if is_file(path) else {}


def read_summary(path: Path) -> dict[str, Any]:
    """Return what a ``summary.json`` holds, in a folder or in a pack.

    Raises
    ------
    EcgcamError
        If it cannot be read, or is not JSON.
    """
    try:
        with open_file(path) as file:
            summary = parse_json(file.read().decode("utf-8"))
    except EcgcamError:
        raise
    except (OSError, ValueError) as error:
        raise EcgcamError(f"{path}: cannot be read as JSON ({one_line(error)}); explain the recording again") from error
    if not isinstance(summary, dict):
        raise EcgcamError(f"{path}: not a summary of ecgcam; explain the recording again")
    return summary


def find_results(inputs: Iterable[Path]) -> Iterator[Result]:
    """Yield the results named by `inputs`, each once: npz files, packs, and folders, which are searched.

    Order is that of the inputs, then of the names.

    Raises
    ------
    EcgcamError
        If an input is not there, or is a folder or a pack without results.
    """
    seen: set[Path] = set()
    for path in inputs:
        any_here = False
        for file in _files(path):
            any_here = True
            if file not in seen:
                seen.add(file)
                yield Result(file)
        if not any_here:
            raise EcgcamError(
                f"{path}: holds no result (no {FILE}); ecgcam explain --out {path} writes some, unless --no-npz is given"
            )


def _files(path: Path) -> Iterator[Path]:
    if is_file(path / FILE):
        yield path / FILE
    elif path.is_dir():
        for place, folders, names in os.walk(path):
            # What begins with a dot is a result that another process has not finished.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if FILE in names:
                yield Path(place) / FILE
            for name in sorted(names):
                if name.startswith("pack-") and name.endswith(".tar"):
                    yield from _packed(Path(place) / name)
    elif path.suffix == ".tar" and path.is_file():
        yield from _packed(path)
    elif is_file(path):
        yield path
    else:
        raise EcgcamError(f"{path}: no such file or folder; give an {FILE} or a folder of results")


def _packed(pack: Path) -> Iterator[Path]:
    return (pack / name for name in pack_members(pack) if name.rpartition("/")[2] == FILE)


def result_dir_of(explanation: Explanation, out: Path, several_windows: bool = False) -> Path:
    """Return ``OUT/<record>/<slug>``, with the window's folder where a recording has several.

    Raises
    ------
    EcgcamError
        If the record's name would lead out of `out`: the file may come from anywhere.
    """
    name = PurePosixPath(str(explanation.meta["record"]))
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in str(name):
        raise EcgcamError(
            f"{name}: its recording name leads out of {out}, so ecgcam did not write this file; remove it"
        )
    folder = out.joinpath(*name.parts) / slug_of(str(explanation.meta["text"]))
    return folder / window_name(start_of(explanation)) if several_windows else folder


def _check_shapes(explanation: Explanation, file: Path) -> None:
    leads, samples = len(explanation.leads), explanation.time.size
    shapes = {
        "map": (leads, samples), "signal": (leads, samples), "valid": (leads, samples), "time": (samples,),
        "lead_scores": (leads,), "mask_shift": (leads,),
    }  # fmt: skip
    for name, shape in shapes.items():
        array = getattr(explanation, name)
        if array.shape != shape or not samples:
            raise EcgcamError(
                f"{file}: not an explanation of ecgcam ({name} is {array.shape}, with {leads} leads and {samples} samples); "
                "explain the recording again"
            )
        if array.dtype.kind not in "fb":
            raise EcgcamError(
                f"{file}: not an explanation of ecgcam ({name} is {array.dtype}); explain the recording again"
            )
    if explanation.gradient_smoothed.shape not in {(leads, samples), (leads, 0)}:
        raise EcgcamError(
            f"{file}: not an explanation of ecgcam (gradient_smoothed is of another shape); explain the recording again"
        )
    if unknown := [lead for lead in explanation.leads if lead not in CANONICAL_LEADS]:
        raise EcgcamError(f"{file}: not an explanation of ecgcam (a lead {unknown[0]!r}); explain the recording again")
    if not explanation.fs > 0:
        raise EcgcamError(
            f"{file}: not an explanation of ecgcam (fs is {explanation.fs:g}); explain the recording again"
        )
    needed = {"record", "text", "method", "mask", "model", "warnings"}
    if missing := sorted(needed - explanation.meta.keys()):
        raise EcgcamError(
            f"{file}: not an explanation of ecgcam (its meta has no {', '.join(missing)}); explain the recording again"
        )
    try:
        explanation.check()
    except EcgcamError as error:
        raise EcgcamError(f"{file}: holds values that are not finite; explain the recording again") from error
