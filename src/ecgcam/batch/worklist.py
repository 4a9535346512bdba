"""From what a user names to a list of recordings, each with the place of its results. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcam.errors import EcgcamError
from ecgcam.explanation import FILE, SUMMARY, slug_of
from ecgcam.records.readers import SUFFIXES, record_name


@dataclass(frozen=True)
class Item:
    """A recording to explain: its file, and its name, which is its folder under OUT (folders kept for folder inputs)."""

    path: Path
    name: str


def find_recordings(inputs: Sequence[str], stdin: Iterable[str] | None = None) -> list[Item]:
    """Return the recordings that `inputs` name: files, stems, folders (searched, in order), ``-`` for a list on `stdin`.

    The list names files, stems and folders too, one a line.

    Raises
    ------
    EcgcamError
        If a folder holds no recording, a name is blank, or two inputs would share a folder of results.
    """
    items: list[Item] = []
    for text in inputs:
        if text == "-":
            items += [item for line in _lines(stdin) for item in _named(line)]
        elif text.strip():
            items += _named(text)
        else:
            raise EcgcamError("a blank name where a recording belongs; is a variable of the shell empty?")
    if not items:
        raise EcgcamError("no recording named: give a file, a folder, or - with a list on standard input")
    seen: dict[str, Item] = {}
    for item in items:
        if any("\ud800" <= character <= "\udfff" for character in item.name):
            raise EcgcamError(f"{item.name!a}: its name is not UTF-8, so no result can carry it; rename the file")
        if item.name in seen and seen[item.name].path == item.path:
            raise EcgcamError(f"{item.path}: named twice; name it once")
        if item.name in seen:
            raise EcgcamError(
                f"{item.path}: its results would share the folder {item.name!r} with those of {seen[item.name].path}; "
                "explain them into different folders with --out"
            )
        seen[item.name] = item
    return items


def slugs(texts: Sequence[str]) -> dict[str, str]:
    """Return each prompt's folder name; prompts that would share one are told apart by their hash."""
    plain = [slug_of(text) for text in texts]
    return {text: slug_of(text, distinct=plain.count(slug) > 1) for text, slug in zip(texts, plain, strict=True)}


def destinations(items: Sequence[Item], texts: Sequence[str], out: Path) -> dict[tuple[str, str], Path]:
    """Return the folder of each recording's and prompt's results, by (item name, prompt)."""
    return {(item.name, text): out / item.name / slug for item in items for text, slug in slugs(texts).items()}


def refuse_obstructed(folders: Iterable[Path]) -> None:
    """Raise `EcgcamError` if a file lies where one of `folders`, or a folder above it, belongs."""
    seen: set[Path] = set()
    for folder in folders:
        for place in (folder, *folder.parents):
            if place in seen:
                break
            seen.add(place)
            if os.path.lexists(place) and not os.path.isdir(place):  # noqa: PTH112  (unlike pathlib's, it never raises)
                raise EcgcamError(f"{place}: is a file where a folder of results belongs; choose another --out")


def refuse_existing(folders: Iterable[Path]) -> None:
    """Raise `EcgcamError` if a folder already holds a result, of one window or of many."""
    for folder in folders:
        if os.path.isdir(folder) and any(  # noqa: PTH112  (never raises)
            next(folder.glob(name), None) for name in (FILE, SUMMARY, f"w*/{FILE}", f"w*/{SUMMARY}")
        ):
            raise EcgcamError(f"{folder}: holds a result already; write over it with --force, or choose another --out")


def _lines(stdin: Iterable[str] | None) -> list[str]:
    try:
        return [line.strip() for line in stdin or () if line.strip()]
    except UnicodeDecodeError as error:
        raise EcgcamError("-: the list on standard input is not UTF-8 text; write one recording a line") from error


def _named(text: str) -> list[Item]:
    path = Path(text)
    return _folder(path) if os.path.isdir(path) else [Item(path, record_name(path))]  # noqa: PTH112  (never raises)


def _folder(folder: Path) -> list[Item]:
    """Recordings under a folder, without what is hidden: WFDB headers, and arrays. A `.mat` with a header is its header's."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    shown = (path for path in found if not any(part.startswith(".") for part in path.parts))
    files = sorted(shown, key=lambda path: (path.with_suffix("").parts, path.suffix))
    headers = {path.with_suffix("") for path in files if path.suffix.lower() == ".hea"}
    items = []
    for path in files:
        suffix, stem = path.suffix.lower(), path.with_suffix("")
        # Results, and what `simulate` knows of a recording, are no recordings.
        ours = path.name == FILE or path.name.endswith("-truth.npz")
        if not ours and suffix != ".dat" and not (suffix == ".mat" and stem in headers) and (folder / path).is_file():
            items.append(Item(folder / path, stem.as_posix()))
    if not items:
        raise EcgcamError(f"{folder}: holds no recording ({', '.join(sorted(SUFFIXES))})")
    return items
