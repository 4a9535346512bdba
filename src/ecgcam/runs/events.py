"""Events of a run: what a task yields. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcam.runs.journal import DONE, FAILED
from ecgcam.runs.worklist import Failure, Item


@dataclass(frozen=True)
class Result:
    """The result of one window and prompt, written; or its files, for a pack."""

    item: Item
    text: str
    folder: Path  # below OUT
    summary: dict[str, Any]
    files: dict[str, bytes] | None = None


@dataclass(frozen=True)
class Timelines:
    """Files of a recording's timeline, for a pack."""

    item: Item
    text: str
    folder: Path
    files: dict[str, bytes]


@dataclass(frozen=True)
class Finished:
    """A recording and prompt of which nothing is left to do."""

    item: Item
    text: str
    fingerprint: str
    folder: Path | None  # below OUT, or in a pack; None where nothing was written
    error: str | None = None
    summary: dict[str, Any] | None = None  # of a result that was there already
    existing: bool = False
    unrecorded: str | None = None  # why the journal could not be written

    def entry(self) -> dict[str, Any]:
        """Return its line in the journal."""
        return {
            "record": self.item.name,
            "text": self.text,
            "status": DONE if self.error is None else FAILED,
            "out": None if self.folder is None else self.folder.as_posix(),
            "error": self.error,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class Scored:
    """A recording's scores, one for each prompt."""

    item: Item
    start: float
    scores: list[float]


@dataclass(frozen=True)
class Evaluated:
    """A recording's figures, as JSON, and the methods that were left out of it, with the reason."""

    item: Item
    entries: list[dict[str, Any]]
    left_out: list[tuple[str, str]]


Event = Result | Timelines | Finished | Scored | Evaluated | Failure
