"""How recordings become windows. No torch, so that a wrong call ends before it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.protocol.preprocessing import cut_window
from ecgcam.protocol.spec import InputSpec
from ecgcam.records import Record, Window, read_record, window_starts
from ecgcam.records.channels import check_unit
from ecgcam.records.readers import check_rate, partial_length, read_stretch
from ecgcam.records.windows import margin, part_for_windows, without_recording
from ecgcam.results.explanation import Explanation
from ecgcam.results.trace import Trace
from ecgcam.runs.worklist import Item, content_sha256

# Recordings of more seconds than this are read in parts where their format allows it, so many windows at a time.
_LONG, _AT_A_TIME = 120.0, 16

# Takes where a window begins and how long its recording is (s); returns whether the window is left out.
Skip = Callable[[float, float], bool]


@dataclass(frozen=True)
class Reading:
    """How files are read and cut: `fs`, `lead_names`, `unit`; `start`, `seconds`, `all_windows`, `follow`, `hop`."""

    fs: float | None = None
    lead_names: Sequence[str] | None = None
    start: float = 0.0
    seconds: float | None = None
    all_windows: bool = False
    hop: float | None = None
    follow: bool = False
    unit: str | None = None

    @property
    def several(self) -> bool:
        """Whether a recording may have several windows, each with a folder."""
        return self.all_windows or self.follow

    def check_values(self) -> None:
        """Raise `EcgcamError` if a value is not possible, whatever the recording."""
        check_rate(self.fs)
        check_unit(self.unit)
        if not (np.isfinite(self.start) and self.start >= 0):
            raise EcgcamError(f"`start` {self.start:g}: must be 0 or more")
        for flag, value in (("`seconds`", self.seconds), ("`hop`", self.hop)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise EcgcamError(f"{flag} {value:g}: must be a positive number of seconds")
        if self.all_windows and self.follow:
            raise EcgcamError(
                "`all_windows` and `follow`: one explains the existing recording, the other new samples; choose one"
            )
        if self.follow and (self.start or self.seconds is not None):
            raise EcgcamError("`follow`: takes the newest window, whole; leave `start` and `seconds` out")
        if self.hop is not None and not self.several:
            raise EcgcamError(
                f"`hop` {self.hop:g}: is the step of `all_windows`, which is not given; add `all_windows` (or `follow`)"
            )

    def identity(self, spec: InputSpec) -> dict[str, Any]:
        """Return what of a recording is looked at by a model of this input, as JSON, for `RunSpec`."""
        which = "all" if self.all_windows else "newest" if self.follow else "one"
        return {
            "which": which,
            "start": float(self.start),
            "seconds": None if self.seconds is None else float(self.seconds),
            "hop": float(self.hop or spec.seconds) if self.all_windows else None,
            "fs": None if self.fs is None else float(self.fs),
            "lead_names": None if self.lead_names is None else list(self.lead_names),
            "unit": self.unit,
        }

    def content_sha256(self, path: Path) -> str:
        """Return what identifies a recording, as `ecgcam.runs.worklist.content_sha256`."""
        return content_sha256(path, lambda file: read_record(file, self.fs, self.lead_names, self.unit))

    def record(self, item: Item, spec: InputSpec) -> Record:
        """Read one recording under the name of its results, with the leads that the model takes."""
        return self.record_of(item).only(spec.leads)

    def record_of(self, item: Item) -> Record:
        """Read one recording, whole, under the name of its results."""
        return replace(read_record(item.path, self.fs, self.lead_names, self.unit), name=item.name)

    def starts(self, record: Record, spec: InputSpec) -> list[float]:
        """Where its windows begin, s."""
        return window_starts(record, spec.seconds, self.hop, self.start) if self.all_windows else [self.start]

    def window(self, record: Record, spec: InputSpec, start: float) -> Window:
        """Cut one of the model's windows out of what `record` returned."""
        return cut_window(record, spec, start, self.seconds)

    def windows(self, item: Item, spec: InputSpec, skip: Skip | None = None) -> Iterator[Window | EcgcamError]:
        """Read a recording and cut its windows, but those to `skip`, each without the samples of the whole recording.

        A window that cannot be taken is the error with the reason: the rest of the recording may be fine. So is, at the end, a
        recording that can no longer be read after its first part.

        Raises
        ------
        EcgcamError
            If the recording cannot be read.
        """
        parts, began = self.parts(item, spec, skip), False
        while True:
            try:
                part = next(parts, None)
            except EcgcamError as error:
                if not began:
                    raise
                yield error
                return
            if part is None:
                return
            began = True
            record, starts = part
            for start in starts:
                try:
                    window = self.window(record, spec, start)
                except EcgcamError as error:  # such as a stretch without a signal
                    yield error
                else:
                    yield without_recording(window)

    def parts(self, item: Item, spec: InputSpec, skip: Skip | None = None) -> Iterator[tuple[Record, list[float]]]:
        """Yield the recording with where its windows begin; a long one in parts if it can be, each with some of its windows."""

        def left(record: Record) -> list[float]:
            # As `take_window` puts them on the model's samples.
            on_grid = ((start, round(start * spec.fs) / spec.fs) for start in self.starts(record, spec))
            return [start for start, begin in on_grid if skip is None or not skip(begin, record.seconds)]

        length = partial_length(item.path, self.lead_names)
        if length is None or (not self.follow and (length.seconds < _LONG or not length.complete)):
            record = self.record(item, spec)
            yield record, left(record)
            return
        # Where windows begin is known without the samples.
        known = Record(item.name, np.zeros((0, 0), np.float32), length.fs, (), length=length.samples)
        wide = spec.preprocessing.margin
        beyond = margin(spec.fs, length.fs) + wide
        for some in _neighbours(left(known), spec.seconds + 2 * beyond):
            first, last = some[0] - wide, some[-1] + spec.seconds + wide
            begin, end = part_for_windows(first, last, spec.fs, length.fs, length.seconds)
            read = read_stretch(item.path, begin, end, self.fs, self.lead_names, self.unit)
            if read.seconds < min(end, length.seconds) - 1 / length.fs:
                raise EcgcamError(
                    f"{item.path}: became shorter while it was read, {read.seconds:g} s of {length.seconds:g}; explain it again "
                    "when it is whole"
                )
            named: Record = replace(read, name=item.name)
            yield named.only(spec.leads), some

    def own_samples(self, item: Item, explanation: Explanation) -> Trace | None:
        """Return the recording behind an explanation at its own rate, read again; None where that is the model's rate."""
        record = self.record_of(item)
        if record.fs == explanation.fs:
            return None
        time = np.arange(record.samples) / record.fs
        inside = (time >= explanation.time[0] - 1e-6) & (time < explanation.time[-1] + 1 / explanation.fs - 1e-6)
        rows = [record.leads.index(lead) for lead in explanation.leads]
        return Trace(time[inside], record.signal[rows][:, inside])

    def check(self, item: Item, spec: InputSpec) -> None:
        """Raise `EcgcamError` if the recording cannot be read, or, of a single window, it cannot be taken."""
        record, starts = next(self.parts(item, spec))
        if not self.all_windows:
            self.window(record, spec, starts[0])


def _neighbours(starts: list[float], most: float) -> Iterator[list[float]]:
    """Yield windows that are read together: some that follow one another by `most` seconds at most."""
    some: list[float] = []
    for start in starts:
        if some and (len(some) == _AT_A_TIME or start - some[-1] > most):
            yield some
            some = []
        some.append(start)
    if some:
        yield some


def read_windows(reading: Reading, item: Item, spec: InputSpec) -> list[Window | EcgcamError]:
    """Return all windows of a recording at once: what a helper does."""
    return list(reading.windows(item, spec))
