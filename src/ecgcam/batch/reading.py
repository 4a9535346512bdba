"""How recordings become windows. No torch, so that a wrong call is told before it is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecgcam.batch.worklist import Item
from ecgcam.errors import EcgcamError
from ecgcam.models.spec import InputSpec, windows_of
from ecgcam.records import Record, Window, read_record, window_starts
from ecgcam.records.readers import check_rate


@dataclass(frozen=True)
class Reading:
    """The flags --fs, --lead-names, --start, --seconds, --all and --hop."""

    fs: float | None = None
    lead_names: Sequence[str] | None = None
    start: float = 0.0
    seconds: float | None = None
    all_windows: bool = False
    hop: float | None = None

    def check_flags(self) -> None:
        """Raise `EcgcamError` if a flag is wrong whatever the recording."""
        check_rate(self.fs)
        if not (np.isfinite(self.start) and self.start >= 0):
            raise EcgcamError(f"--start {self.start:g}: a window begins at 0 s or later")
        for flag, value in (("--seconds", self.seconds), ("--hop", self.hop)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise EcgcamError(f"{flag} {value:g}: must be a positive number of seconds")
        if self.hop is not None and not self.all_windows:
            raise EcgcamError(f"--hop {self.hop:g}: is the step of --all, which is not given; add --all")

    def record(self, item: Item, spec: InputSpec) -> Record:
        """Read one recording under the name of its results, with the leads that the model takes."""
        record: Record = replace(read_record(item.path, self.fs, self.lead_names), name=item.name)
        return record.only(spec.leads)

    def starts(self, record: Record, spec: InputSpec) -> list[float]:
        """Where its windows begin, s."""
        return window_starts(record, spec.seconds, self.hop, self.start) if self.all_windows else [self.start]

    def window(self, record: Record, spec: InputSpec, start: float) -> Window:
        """Cut one of the model's windows."""
        return next(windows_of(record, spec, start, self.seconds))

    def windows(self, item: Item, spec: InputSpec) -> Iterator[Window | EcgcamError]:
        """Read a recording and cut its windows, each without the samples of the whole recording.

        A window that cannot be taken is the error that says why: the rest of the recording may be well.

        Raises
        ------
        EcgcamError
            If the recording cannot be read.
        """
        record = self.record(item, spec)
        for start in self.starts(record, spec):
            try:
                window = self.window(record, spec, start)
            except EcgcamError as error:  # such as a stretch without a signal
                yield error
            else:
                yield replace(window, record=record.without_signal())

    def check(self, item: Item, spec: InputSpec) -> None:
        """Raise `EcgcamError` if the recording cannot be read, or, of a single window, it cannot be taken."""
        record = self.record(item, spec)
        first, *_ = self.starts(record, spec)
        if not self.all_windows:
            self.window(record, spec, first)


def read_windows(reading: Reading, item: Item, spec: InputSpec) -> list[Window | EcgcamError]:
    """Return all windows of a recording at once: what a helper does."""
    return list(reading.windows(item, spec))
