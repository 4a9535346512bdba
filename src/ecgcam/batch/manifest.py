"""``manifest.jsonl``: one line for each recording and prompt, appended when it is done or has failed. No torch.

Lines are only ever added, each whole, by one process at a time. Of several lines on the same recording and prompt the last
one counts.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, lock, parse_json, write_whole, writing

FILE = "manifest.jsonl"
DONE, FAILED = "done", "failed"
# Failures before the first result that are kept back: a call of which nothing came leaves nothing.
_KEPT_BACK = 100
_NO_LINE = "not a line of a manifest of ecgcam; move the file away, or choose another --out"


@dataclass(frozen=True)
class Line:
    """What became of one recording and prompt."""

    record: str
    text: str
    status: str
    out: str | None
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The recording and the prompt."""
        return self.record, self.text


class Manifest:
    """Writes the lines of one call; several calls may write to the same file."""

    def __init__(self, out: Path) -> None:
        self._path = out / FILE
        self._waiting: list[Line] = []
        self._begun = False

    def add(self, line: Line) -> None:
        """Append a line. Failures wait until something has been done, or until they are many."""
        self._waiting.append(line)
        if self._begun or line.status == DONE or len(self._waiting) > _KEPT_BACK:
            self._begun = True
            append(self._path, self._waiting)
            self._waiting = []


def append(path: Path, lines: list[Line]) -> None:
    """Append lines to a manifest; what another process left half-written is cut off first.

    Raises
    ------
    EcgcamError
        If the file cannot be written.
    """
    text = "".join(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in lines)
    with writing(path), _locked(path) as handle:
        size = os.fstat(handle).st_size
        if size and _part(handle, size - 1, 1) != b"\n":
            os.ftruncate(handle, _end_of_last_line(handle, size))
        write_whole(handle, text.encode())


def read(out: Path) -> Iterator[Line]:
    """Yield the lines of an output folder's manifest; none if there is none. A half-written last line is passed over.

    Raises
    ------
    EcgcamError
        If a line is not one of a manifest.
    """
    path = out / FILE
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                if text.endswith("\n"):
                    yield _parsed(text, f"{path}: line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise EcgcamError(f"{path}: cannot be read ({error})") from error


def finished(out: Path) -> dict[tuple[str, str], str]:
    """Return where each recording and prompt that is done has its result."""
    done: dict[tuple[str, str], str] = {}
    for line in read(out):
        if line.status == DONE and line.out is not None:
            done[line.key] = line.out
        else:
            done.pop(line.key, None)
    return done


def forget(out: Path, about: Callable[[Line], bool]) -> None:
    """Take out the lines for which `about` holds: their results are going to be made again."""
    path = out / FILE
    if not any(about(line) for line in read(out)):
        return
    with writing(path), _locked(path), atomic(path) as new, new.open("w", encoding="utf-8") as file:
        for line in read(out):
            if not about(line):
                file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file to append to, as the only process that does; another may have put a new file in its place meanwhile."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            lock(handle)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                yield handle
                return
        finally:
            os.close(handle)


def _end_of_last_line(handle: int, size: int) -> int:
    at = size
    while at:
        begin = max(0, at - 65536)
        newline = _part(handle, begin, at - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        at = begin
    return 0


def _part(handle: int, begin: int, count: int) -> bytes:
    os.lseek(handle, begin, os.SEEK_SET)
    return os.read(handle, count)


def _parsed(text: str, where: str) -> Line:
    try:
        line = Line(**parse_json(text))
    except (ValueError, TypeError) as error:
        raise EcgcamError(f"{where}: {_NO_LINE}") from error
    if not all(isinstance(value, str) for value in (line.record, line.text, line.status)) or not all(
        isinstance(value, str | None) for value in (line.out, line.error)
    ):
        raise EcgcamError(f"{where}: {_NO_LINE}")
    return line
