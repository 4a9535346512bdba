"""What an evaluation has found so far: in memory, and in a file that a later run can go on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, check_writable, parse_json, write_whole, writing

if TYPE_CHECKING:
    from ecgcam.evidence.evaluation import Entry

RECORDS = "evidence-records.jsonl"
TABLE = "evidence.jsonl"


class Journal:
    """Entries by recording. The file begins with what was asked; then a line a recording, written when it is complete.

    Parameters
    ----------
    out : Path, optional
        Folder of the file; without one nothing is written.
    asked : dict
        What the run was asked, as JSON: another question cannot go on with it.
    resume : bool
        Take over what the file holds; a line that a crash cut off is done again.

    Raises
    ------
    EcgcamError
        If the folder holds a run already and `resume` is false, or one of another question, or cannot be written.
    """

    def __init__(self, out: Path | None, asked: dict[str, Any], resume: bool) -> None:
        self._path = None if out is None else out / RECORDS
        self._asked = asked
        self._found: dict[str, list[dict[str, Any]]] = {}
        self._file: IO[bytes] | None = None
        if self._path is None:
            return
        check_writable(self._path.parent)
        if self._path.exists() and not resume:
            raise EcgcamError(f"{self._path}: holds a run already; go on with it by --resume, or choose another --out")
        if self._path.exists():
            self._take_over(self._path)

    @property
    def done(self) -> set[str]:
        """The recordings that are complete."""
        return set(self._found)

    def __enter__(self) -> Journal:
        """Open the file, what it held already written anew without a cut-off line."""
        if self._path is not None:
            with writing(self._path):
                with atomic(self._path) as path:
                    lines = [self._line({"asked": self._asked}), *(self._record(name) for name in self._found)]
                    path.write_text("".join(lines), encoding="utf-8")
                self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def add(self, name: str, entries: Sequence[Entry]) -> None:
        """Keep a recording's entries, in the file too."""
        self._found[name] = [asdict(entry) for entry in entries]
        if self._file is not None and self._path is not None:
            with writing(self._path):
                write_whole(self._file.fileno(), self._record(name).encode())

    def entries(self) -> Iterator[Entry]:
        """Return every entry, recordings in the order in which they came."""
        from ecgcam.evidence.evaluation import Entry

        for entries in self._found.values():
            for entry in entries:
                yield Entry(**entry)

    def write_table(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows as ``evidence.jsonl`` beside the journal."""
        if self._path is not None:
            with writing(self._path.parent / TABLE), atomic(self._path.parent / TABLE) as path:
                path.write_text("".join(self._line(row) for row in rows), encoding="utf-8")

    def _record(self, name: str) -> str:
        return self._line({"record": name, "entries": self._found[name]})

    @staticmethod
    def _line(value: dict[str, Any]) -> str:
        return json.dumps(value, ensure_ascii=False) + "\n"

    def _take_over(self, path: Path) -> None:
        try:
            head, *lines = path.read_text(encoding="utf-8").split("\n")
            asked = parse_json(head)["asked"]
            found = [parse_json(line) for line in lines[:-1]]  # what follows the last end of line is cut off
            self._found = {str(line["record"]): [_entry(one) for one in line["entries"]] for line in found}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EcgcamError(f"{path}: is no journal of an evaluation; remove it, or choose another --out") from error
        if asked != json.loads(json.dumps(self._asked)):
            raise EcgcamError(f"{path}: is of another question ({json.dumps(asked)}); choose another --out")


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    """Return `found` if an `Entry` can be made of it; `TypeError` otherwise."""
    texts, numbers = ("record", "text", "method", "mask"), [found.get("start"), *found.get("values", {}).values()]
    chances = [chance for chance in found.get("chances", {}).values() if chance is not None]
    if found.keys() != {*texts, "start", "values", "chances"} or not all(isinstance(found[key], str) for key in texts):
        raise TypeError(f"has the keys {', '.join(found)}")
    if not all(
        isinstance(number, float) or (type(number) is int and abs(number) < 1e300) for number in [*numbers, *chances]
    ):
        raise TypeError("a value that is no number")
    return found
