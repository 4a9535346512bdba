"""The journal of a folder of results: JSON lines that are only ever added, each whole, by one process at a time. No torch.

A line is a spec, ``{"spec": ..., "fingerprint": ...}``, once for each question, or an entry, which carries the fingerprint of its
question. Paths in it are relative to the folder. `explain` (``manifest.jsonl``) and `evaluate` (``evidence-records.jsonl``) keep
one each. It is a log of what was done: the results themselves decide whether a result is there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.files import lock, parse_json, write_whole, writing

EXPLAIN, EVALUATE = "manifest.jsonl", "evidence-records.jsonl"
DONE, FAILED = "done", "failed"
# Failures before the first result that are kept back: a call without any result leaves no file.
_MAX_BUFFERED_FAILURES = 100
log = logging.getLogger("ecgcam")


class Journal:
    """Appends the lines of one call; several calls may write to the same file.

    Parameters
    ----------
    path : Path, optional
        The file; without one nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._waiting: list[dict[str, Any]] = []
        self._begun = False
        self._specs: set[str] = set()
        self._entries: set[tuple[str, str]] | None = None

    def add_spec(self, spec: Mapping[str, Any], fingerprint: str) -> None:
        """Write a question before the first entry that has its fingerprint, unless the file has it already."""
        if self._path is None:
            return
        self._read()
        if fingerprint not in self._specs:
            self._specs.add(fingerprint)
            self._waiting.append({"spec": dict(spec), "fingerprint": fingerprint})

    def has(self, record: str, fingerprint: str) -> bool:
        """Return whether earlier calls have written an entry of this recording and fingerprint that is done."""
        return (record, fingerprint) in self._read()

    def _read(self) -> set[tuple[str, str]]:
        """Return the entries of earlier calls that are done. Copies of one recording have one fingerprint."""
        if self._entries is None:
            self._entries = set()
            for line in read(self._path) if self._path is not None else ():
                if "spec" in line:
                    self._specs.add(line["fingerprint"])
                elif line.get("status") == DONE and line.get("fingerprint"):
                    self._entries.add((str(line.get("record")), line["fingerprint"]))
        return self._entries

    def add(self, entry: Mapping[str, Any], *, failed: bool = False) -> None:
        """Append an entry. Failures wait for the first result, or until they are many.

        Raises
        ------
        EcgcamError
            If the file cannot be written.
        """
        if self._path is None:
            return
        self._waiting.append(dict(entry))
        if self._begun or not failed or len(self._waiting) > _MAX_BUFFERED_FAILURES:
            self._begun = True
            append(self._path, self._waiting)
            self._waiting = []


def append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines; what another process left half-written at the end is cut off first.

    Raises
    ------
    EcgcamError
        If the file cannot be written.
    """
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with writing(path), _locked(path) as handle:
        size = os.fstat(handle).st_size
        if size and _part(handle, size - 1, 1) != b"\n":
            os.ftruncate(handle, _end_of_last_line(handle, size))
        try:
            write_whole(handle, text.encode())
        except OSError:
            if size == 0:  # no empty file stays where nothing was written
                path.unlink()
            raise


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal; none if there is no file. A half-written last line is skipped.

    A damaged line, or one of another program, is skipped with a note: the results themselves are still found.

    Raises
    ------
    EcgcamError
        If the file cannot be read.
    """
    if not path.is_file():
        return
    damaged = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    continue
                try:
                    value = parse_json(line)
                except ValueError:  # no JSON, or bytes that are not UTF-8
                    value = None
                if isinstance(value, dict) and isinstance(value.get("fingerprint", ""), str):
                    yield value
                else:
                    damaged.append(number)
    except OSError as error:
        raise EcgcamError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if damaged:
        log.info("%s: line %d cannot be read and is skipped; results are found by their own files", path, damaged[0])


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
