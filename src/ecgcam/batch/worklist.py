"""From what a user names to a list of recordings, each with the place of its results. No torch."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecgcam.errors import EcgcamError, is_interruption
from ecgcam.explanation import FILE, SUMMARY, slug_of
from ecgcam.records.readers import SUFFIXES, record_name
from ecgcam.records.xml_files import may_be_recording
from ecgcam.timeline import TIMELINE

NOTHING = "no recording named: give a file, a folder, or - with a list on standard input"
# Folders with more entries than this are slow to list and to copy on many file systems.
_MOST_IN_A_FOLDER = 10_000


@dataclass(frozen=True)
class Item:
    """A recording to explain: its file, its name (folders kept for folder inputs), and its folder under OUT if not its name."""

    path: Path
    name: str
    folder: str = ""

    def place(self, out: Path) -> Path:
        """Return the folder of its results."""
        return out / (self.folder or self.name)


@dataclass(frozen=True)
class Failure:
    """A recording that could not be explained, and why."""

    item: Item
    error: EcgcamError

    def __post_init__(self) -> None:
        """Let no interruption pass for a file that cannot be read, whatever was raised over it."""
        if is_interruption(self.error):
            raise KeyboardInterrupt from self.error


def find_recordings(inputs: Sequence[str], stdin: Iterable[str] | None = None) -> list[Item]:
    """Return the recordings that `inputs` name: files, stems, folders (searched, in order), ``-`` for a list on `stdin`.

    The list names files, stems and folders too, one a line.

    Raises
    ------
    EcgcamError
        If a folder holds no recording, a name is blank, or two inputs would share a folder of results.
    """

    def refuse(error: EcgcamError) -> None:
        raise error

    items = list(each_recording(inputs, stdin, refuse))
    if not items:
        raise EcgcamError(NOTHING)
    return items


def each_recording(
    inputs: Sequence[str], stdin: Iterable[str] | None, refuse: Callable[[EcgcamError], None]
) -> Iterator[Item]:
    """Yield the recordings of `find_recordings` one by one, a list on `stdin` as its lines come.

    `refuse` takes the inputs that cannot be explained, by the error that says why; the others follow.
    """
    seen: dict[str, str] = {}
    crowd = _Crowd()
    for item in _named_by(inputs, stdin, refuse):
        if any("\ud800" <= character <= "\udfff" for character in item.name):
            error = f"{item.name!a}: its name is not UTF-8, so no result can carry it; rename the file"
            refuse(EcgcamError(error))
        elif item.name in {
            ".",
            "..",
        }:  # of "..npy" and "...npy": the folder of its results would be OUT, or the one above it
            refuse(EcgcamError(f"{item.path}: has no name that a folder of results can have; rename the file"))
        elif seen.get(item.name) == str(item.path):
            refuse(EcgcamError(f"{item.path}: named twice; name it once"))
        elif item.name in seen:
            error = (
                f"{item.path}: its results would share the folder {item.name!r} with those of {seen[item.name]}; "
                "explain them into different folders with --out"
            )
            refuse(EcgcamError(error))
        else:
            seen[item.name] = str(item.path)
            yield crowd.placed(item)


class _Crowd:
    """Spreads recordings whose results would crowd one folder.

    Folders of inputs are kept, which spreads most sets; of a flat one, recordings beyond the first `_MOST_IN_A_FOLDER` of a
    folder go to 256 folders in it, named by the first two hexadecimal digits of the SHA-256 of the recording's name.
    """

    def __init__(self) -> None:
        self._folder, self._count = "", 0

    def placed(self, item: Item) -> Item:
        folder, _, stem = item.name.rpartition("/")
        if folder != self._folder:
            self._folder, self._count = folder, 0
        self._count += 1
        if self._count <= _MOST_IN_A_FOLDER:
            return item
        few = hashlib.sha256(item.name.encode()).hexdigest()[:2]
        return replace(item, folder="/".join(part for part in (folder, f"_{few}", stem) if part))


def parse_shard(text: str) -> tuple[int, int]:
    """Return I and N of ``I/N``, the I-th of N parts of the recordings, I from 1 to N.

    Raises
    ------
    EcgcamError
        If it is none.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise EcgcamError(
            f"--shard {text}: give I/N, the I-th of N parts, such as 1/8 for the first and 8/8 for the last"
        )
    return part, parts


def of_shard(items: Iterable[Item], shard: tuple[int, int]) -> Iterator[Item]:
    """Yield every N-th recording, from the I-th on: neighbours, which are often alike in size, go to different shards."""
    return itertools.islice(items, shard[0] - 1, None, shard[1])


def slugs(texts: Sequence[str]) -> dict[str, str]:
    """Return each prompt's folder name; prompts that would share one, on any file system, are told apart by their hash.

    So is a prompt that reads like another's name with its hash.
    """
    made = {text: slug_of(text) for text in texts}
    while True:
        shared = Counter(slug.casefold() for slug in made.values())
        apart = {
            text: slug_of(text, distinct=True) if shared[slug.casefold()] > 1 else slug for text, slug in made.items()
        }
        if apart == made:
            return made
        made = apart


def destinations(items: Sequence[Item], texts: Sequence[str], out: Path) -> dict[tuple[str, str], Path]:
    """Return the folder of each recording's and prompt's results, by (item name, prompt)."""
    return {(item.name, text): item.place(out) / slug for item in items for text, slug in slugs(texts).items()}


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


def _named_by(
    inputs: Sequence[str], stdin: Iterable[str] | None, refuse: Callable[[EcgcamError], None]
) -> Iterator[Item]:
    for text in inputs:
        if text.strip() and text != "-":
            yield from _named(text)
        elif text != "-":
            raise EcgcamError("a blank name where a recording belongs; is a variable of the shell empty?")
        else:
            for line in _lines(stdin):
                try:
                    yield from _named(line)
                except EcgcamError as error:  # a folder without recordings; the list may go on
                    refuse(error)


def _lines(stdin: Iterable[str] | None) -> Iterator[str]:
    try:
        yield from (line.strip() for line in stdin or () if line.strip())
    except UnicodeDecodeError as error:
        raise EcgcamError("-: the list on standard input is not UTF-8 text; write one recording a line") from error


def _named(text: str) -> list[Item]:
    path = Path(text)
    return _folder(path) if os.path.isdir(path) else [Item(path, record_name(path))]  # noqa: PTH112  (never raises)


def _folder(folder: Path) -> list[Item]:
    """Recordings under a folder, without what is hidden: WFDB headers, and files of one recording each.

    A `.mat` with a header is its header's, and XML of another kind than ECGs' is none.
    """
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    shown = (path for path in found if not any(part.startswith(".") for part in path.parts))
    files = sorted(shown, key=lambda path: (path.with_suffix("").parts, path.suffix))
    headers = {path.with_suffix("") for path in files if path.suffix.lower() == ".hea"}
    items = []
    for path in files:
        suffix, stem = path.suffix.lower(), path.with_suffix("")
        # Results, and what `simulate` knows of a recording, are no recordings.
        ours = path.name in {FILE, TIMELINE} or path.name.endswith("-truth.npz")
        theirs = suffix == ".dat" or (suffix == ".mat" and stem in headers)
        if ours or theirs or not (folder / path).is_file():
            continue
        if suffix != ".xml" or may_be_recording(folder / path):
            items.append(Item(folder / path, stem.as_posix()))
    if not items:
        raise EcgcamError(f"{folder}: holds no recording ({', '.join(sorted(SUFFIXES))})")
    return items
