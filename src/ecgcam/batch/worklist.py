"""From what a user names to a list of recordings, each with the place of its results. No torch."""

from __future__ import annotations

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


def worklist(inputs: Sequence[str], stdin: Iterable[str] = ()) -> list[Item]:
    """Return the recordings that `inputs` name: files, stems, folders (searched, in order), ``-`` for a list on `stdin`.

    Raises
    ------
    EcgcamError
        If a folder holds no recording, or two inputs would share a folder of results.
    """
    items: list[Item] = []
    for text in inputs:
        if text == "-":
            items += [_item(line.strip()) for line in stdin if line.strip()]
        elif Path(text).is_dir():
            items += _folder(Path(text))
        else:
            items.append(_item(text))
    if not items:
        raise EcgcamError("no recording named: give a file, a folder, or - with a list on standard input")
    seen: dict[str, Item] = {}
    for item in items:
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


def refuse_existing(folders: Iterable[Path]) -> None:
    """Raise `EcgcamError` if a folder already holds a result, of one window or of many."""
    for folder in folders:
        if folder.is_dir() and any(
            next(folder.glob(name), None) for name in (FILE, SUMMARY, f"w*/{FILE}", f"w*/{SUMMARY}")
        ):
            raise EcgcamError(f"{folder}: holds a result already; write over it with --force, or choose another --out")
        if folder.exists() and not folder.is_dir():
            raise EcgcamError(f"{folder}: is a file where a folder of results belongs; choose another --out")


def _item(text: str) -> Item:
    path = Path(text)
    return Item(path, record_name(path))


def _folder(folder: Path) -> list[Item]:
    """Recordings under a folder: WFDB headers, and arrays; a `.mat` or `.dat` with a header is its header's."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    headers = {path.with_suffix("") for path in files if path.suffix.lower() == ".hea"}
    items = []
    for path in files:
        is_header = path.suffix.lower() == ".hea"
        ours = path.name == FILE or path.name.endswith(
            "-truth.npz"
        )  # results, and what `simulate` knows of a recording
        if ours or (not is_header and (path.with_suffix("") in headers or path.suffix.lower() == ".dat")):
            continue
        items.append(Item(path, str(path.relative_to(folder).with_suffix(""))))
    if not items:
        raise EcgcamError(f"{folder}: holds no recording ({', '.join(sorted(SUFFIXES))})")
    return items
