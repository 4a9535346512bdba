"""How recordings become windows. No torch, so that a wrong call is told before it is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcam.models.spec import InputSpec, windows_of
from ecgcam.records import Record, Window, read_record


@dataclass(frozen=True)
class Reading:
    """The flags --fs, --lead-names, --start, --seconds, --all and --hop."""

    fs: float | None = None
    lead_names: Sequence[str] | None = None
    start: float = 0.0
    seconds: float | None = None
    all_windows: bool = False
    hop: float | None = None

    def record(self, path: Path) -> Record:
        """Read one recording."""
        return read_record(path, self.fs, self.lead_names)

    def windows(self, record: Record, spec: InputSpec) -> Iterator[Window]:
        """Cut it into the model's windows."""
        return windows_of(record, spec, self.start, self.seconds, self.all_windows, self.hop)

    def check(self, path: Path, spec: InputSpec) -> None:
        """Raise `EcgcamError` if the recording cannot be read, or its first window cannot be taken."""
        next(self.windows(self.record(path), spec))
