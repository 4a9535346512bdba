"""How recordings become windows. No torch, so that a wrong call is told before it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecgcam.batch.worklist import Item
from ecgcam.errors import EcgcamError
from ecgcam.models.spec import InputSpec, windows_of
from ecgcam.records import Record, Window, read_record, window_starts
from ecgcam.records.readers import check_rate, partial_length, read_stretch

# Recordings of more seconds than this are read in parts where their format allows it, so many windows at a time, with a margin
# that the resampling filter needs at their ends.
_LONG, _AT_A_TIME, _MARGIN = 120.0, 16, 10.0

# Takes where a window begins and how long its recording is (s); says whether the window is left out.
Skip = Callable[[float, float], bool]


@dataclass(frozen=True)
class Reading:
    """The flags --fs, --lead-names, --start, --seconds, --all, --follow and --hop."""

    fs: float | None = None
    lead_names: Sequence[str] | None = None
    start: float = 0.0
    seconds: float | None = None
    all_windows: bool = False
    hop: float | None = None
    follow: bool = False

    @property
    def several(self) -> bool:
        """Whether a recording may have several windows, each with a folder."""
        return self.all_windows or self.follow

    def check_flags(self) -> None:
        """Raise `EcgcamError` if a flag is wrong whatever the recording."""
        check_rate(self.fs)
        if not (np.isfinite(self.start) and self.start >= 0):
            raise EcgcamError(f"--start {self.start:g}: a window begins at 0 s or later")
        for flag, value in (("--seconds", self.seconds), ("--hop", self.hop)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise EcgcamError(f"{flag} {value:g}: must be a positive number of seconds")
        if self.all_windows and self.follow:
            raise EcgcamError("--all and --follow: one takes what is there, the other what comes; choose one")
        if self.follow and (self.start or self.seconds is not None):
            raise EcgcamError("--follow: takes the newest window, whole; leave --start and --seconds out")
        if self.hop is not None and not self.several:
            raise EcgcamError(f"--hop {self.hop:g}: is the step of --all, which is not given; add --all (or --follow)")

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

    def windows(self, item: Item, spec: InputSpec, skip: Skip | None = None) -> Iterator[Window | EcgcamError]:
        """Read a recording and cut its windows, but those to `skip`, each without the samples of the whole recording.

        A window that cannot be taken is the error that says why: the rest of the recording may be well.

        Raises
        ------
        EcgcamError
            If the recording cannot be read.
        """
        for record, starts in self.parts(item, spec, skip):
            yield from self._cut(record, starts, spec)

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
        for some in _neighbours(left(known), spec.seconds + 2 * _MARGIN):
            read = read_stretch(
                item.path, some[0] - _MARGIN, some[-1] + spec.seconds + _MARGIN, self.fs, self.lead_names
            )
            named: Record = replace(read, name=item.name)
            yield named.only(spec.leads), some

    def _cut(self, record: Record, starts: list[float], spec: InputSpec) -> Iterator[Window | EcgcamError]:
        for start in starts:
            try:
                window = self.window(record, spec, start)
            except EcgcamError as error:  # such as a stretch without a signal
                yield error
            else:
                yield replace(window, record=record.without_signal())

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
