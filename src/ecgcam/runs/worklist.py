"""From what a user names to a list of recordings, and what identifies each. No torch."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcam.errors import EcgcamError, is_interruption
from ecgcam.files import file_sha256
from ecgcam.records import Record
from ecgcam.records.folders import find_in_folder
from ecgcam.records.readers import SUFFIXES, read_record, record_name, recordings_in, split_member
from ecgcam.results.explanation import FILE, slug_of
from ecgcam.results.timeline import TIMELINE

NOTHING = "no recording named: give a file, a folder, or - with a list on standard input"
# What `summarize` writes next to leads.csv and waves.csv: mean beats, which read like a recording.
BEATS = "beats.npz"
log = logging.getLogger("ecgcam")
# A header that names more segments than this is damaged.
_MAX_SEGMENTS = 100_000


@dataclass(frozen=True)
class Item:
    """A recording to explain: its file, and its name, which is the folder of its results (folders kept for folder inputs)."""

    path: Path
    name: str


@dataclass(frozen=True)
class Failure:
    """A recording that could not be explained, and why."""

    item: Item
    error: EcgcamError

    def __post_init__(self) -> None:
        """Raise `KeyboardInterrupt` where the error came of an interruption: the file is not at fault."""
        if is_interruption(self.error):
            raise KeyboardInterrupt from self.error


Refuse = Callable[[EcgcamError], None]


def find_recordings(inputs: Sequence[str], stdin: Iterable[str] | None = None) -> list[Item]:
    """Return the recordings that `inputs` name: files, stems, folders (searched, in order), ``-`` for a list on `stdin`.

    The list names files, stems and folders too, one a line. A recording that is named twice, such as by its ``.dat`` and its
    ``.hea``, is one. Of two recordings with one name the second is called by its full file name.

    Raises
    ------
    EcgcamError
        If a folder holds no recording, a name is blank or unusable, or nothing is named.
    """

    def refuse(error: EcgcamError) -> None:
        raise error

    items = list(each_recording(inputs, stdin, refuse))
    if not items:
        raise EcgcamError(NOTHING)
    return items


def each_recording(inputs: Sequence[str], stdin: Iterable[str] | None, refuse: Refuse) -> Iterator[Item]:
    """Yield the recordings of `find_recordings` one by one, a list on `stdin` as its lines come.

    `refuse` is called with the error of an input that cannot be explained; the others follow.
    """
    seen: dict[str, str] = {}
    for item in _named_by(inputs, stdin, refuse):
        # One recording, whether it is named by its header or by its samples.
        file = str(item.path.with_suffix("") if item.path.suffix.lower() in {".dat", ".hea"} else item.path)
        name = item.name
        if name in seen and not _is_same_path(seen[name], file):
            name = (Path(name).parent / item.path.name).as_posix()
        if any("\ud800" <= character <= "\udfff" for character in name):
            refuse(EcgcamError(f"{name!a}: its name is not UTF-8, so a result cannot have it; rename the file"))
        elif name in {".", ".."}:  # of "..npy" and "...npy": the folder of results would be OUT, or the one above it
            refuse(EcgcamError(f"{item.path}: has no name that a folder of results can have; rename the file"))
        elif name in seen and _is_same_path(seen[name], file):
            continue
        elif name in seen:
            error = (
                f"{item.path}: its results would share the folder {name!r} with those of {seen[name]}; "
                "explain them into different folders with `out`"
            )
            refuse(EcgcamError(error))
        else:
            seen[name] = file
            yield Item(item.path, name)


def _is_same_path(one: str, other: str) -> bool:
    """Whether two paths are one, written as relative or absolute, or through ``..``."""
    return one == other or os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100  (links stay what they are)


def content_sha256(path: Path, read: Callable[[Path], Record] = read_record) -> str:
    """Return what identifies a recording: the SHA-256 of its files' content, a WFDB header's signal files among them.

    Of a file with many recordings it is that of the recording's own samples, which `read` reads.

    Raises
    ------
    EcgcamError
        If a file is not there or cannot be read.
    """
    if split_member(path)[1] is not None:
        return record_sha256(read(path))
    digest = hashlib.sha256()
    try:
        files = list(_files_of(path))
        if not any(file.exists() for file in files):
            raise EcgcamError(f"{path}: no such recording; check the path")
        for file in files:
            digest.update(file_sha256(file).encode() if file.is_file() else b"missing")
    except OSError as error:
        raise EcgcamError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    return digest.hexdigest()


def record_sha256(record: Record) -> str:
    """Return what identifies a recording that is not a file of its own: the SHA-256 of its samples, rate and leads."""
    digest = hashlib.sha256(f"{record.fs:.9g} {' '.join(record.leads)}".encode())
    digest.update(np.ascontiguousarray(record.signal).tobytes())
    return digest.hexdigest()


def _files_of(path: Path) -> Iterator[Path]:
    """Yield the files that make up a recording, its header first."""
    header = path if path.suffix.lower() == ".hea" else path.with_suffix(".hea")
    if path.suffix == "" and not path.is_file():
        header = path.with_name(f"{path.name}.hea")
    if not header.is_file() or (path.is_file() and path.suffix.lower() not in {".hea", ".dat", ".mat", ""}):
        yield path
        return
    waiting, done = [header], 0
    while waiting and done < _MAX_SEGMENTS:
        header = waiting.pop(0)
        done += 1
        yield header
        if not header.is_file():
            continue
        rows = [row.split() for row in header.read_text(encoding="latin-1").splitlines()]
        rows = [row for row in rows if row and not row[0].startswith("#")]
        several = bool(rows) and "/" in rows[0][0]
        for name in dict.fromkeys(row[0] for row in rows[1:] if row[0] != "~"):
            # A damaged header may name anything; what cannot be a file's name is not a file.
            if name in {".", ".."} or "\0" in name:
                continue
            if several:
                waiting.append(header.parent / f"{name}.hea")
            else:
                yield header.parent / name


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
            f"`shard` {text}: give I/N, the I-th of N parts, such as 1/8 for the first and 8/8 for the last"
        )
    return part, parts


def of_shard(items: Iterable[Item], shard: tuple[int, int]) -> Iterator[Item]:
    """Yield every N-th recording, from the I-th on: neighbours, which are often alike in size, go to different shards."""
    return itertools.islice(items, shard[0] - 1, None, shard[1])


def slugs(texts: Sequence[str]) -> dict[str, str]:
    """Return each prompt's folder name; prompts that would share one, on any file system, get a hash of the prompt.

    So does a prompt that reads like another's name with its hash.
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


def _named_by(
    inputs: Sequence[str], stdin: Iterable[str] | None, refuse: Callable[[EcgcamError], None]
) -> Iterator[Item]:
    for text in inputs:
        if text.strip() and text != "-":
            yield from _named(text)
        elif text != "-":
            raise EcgcamError("a blank name where a recording belongs: name a file; is a variable of the shell empty?")
        else:
            for line in _lines(stdin):
                try:
                    yield from _named(line)
                except EcgcamError as error:  # a folder without recordings; the list may continue
                    refuse(error)


def _lines(stdin: Iterable[str] | None) -> Iterator[str]:
    try:
        # Programs of Windows put a byte order mark before the first line.
        lines = (line.removeprefix("\ufeff").strip() for line in stdin or ())
        yield from (line for line in lines if line)
    except UnicodeDecodeError as error:
        raise EcgcamError("-: the list on standard input is not UTF-8 text; write one recording per line") from error


def _named(text: str) -> list[Item]:
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112  (never raises)
        return _folder(path)
    members = [Path(member) for member in recordings_in(path)] or [path]
    return [Item(member, record_name(member)) for member in members]


def _folder(folder: Path) -> list[Item]:
    """Return the recordings under a folder, all of a file with many, without what `simulate`, `explain` and `summarize` write."""

    def is_result(path: Path) -> bool:
        if path.name in {FILE, TIMELINE} or path.name.endswith("-truth.npz"):
            return True
        return path.name == BEATS and all(path.with_name(name).is_file() for name in ("leads.csv", "waves.csv"))

    items = []
    found = find_in_folder(folder, is_result)
    for path, _ in found.recordings:
        for member in map(Path, recordings_in(path)):
            name = path.relative_to(folder).parent / record_name(member)
            items.append(Item(member, name.as_posix()))
    if not items:
        raise EcgcamError(
            f"{folder}: holds no recording ({', '.join(sorted(SUFFIXES))}, or files of these "
            "formats); choose another folder"
        )
    log.info("%s, %s", folder, found.summary())
    return items
