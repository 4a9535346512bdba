"""What was read of a recording: format, rate, leads, unit, length, missing samples, notes and doubts. No model is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.records.quality import quality_checks
from ecgcam.records.readers import format_of, read_record
from ecgcam.records.record import Record


@dataclass(frozen=True)
class Lead:
    """What was read of one lead.

    Attributes
    ----------
    low_mv, high_mv : float or None
        Its lowest and highest value (mV); None where every sample is missing.
    missing : float
        The share of its samples that the file does not have.
    derived : bool
        Whether it was computed from two other limb leads.
    """

    low_mv: float | None
    high_mv: float | None
    missing: float
    derived: bool


@dataclass(frozen=True)
class Inspection:
    """What was read of one recording.

    Attributes
    ----------
    record : str
        The recording's name.
    format : str
        The file's format, as `docs/formats.md` names it.
    fs, samples, seconds : float, int, float
        Samples per second of all leads, and the length.
    unit : str
        The unit of the file's samples, as stated or assumed; everything here is in mV.
    leads : dict of Lead
        By name, in the usual order.
    notes : tuple of str
        What the reader changed, assumed or left out.
    doubts : tuple of str
        Signs that the recording contradicts its file.
    """

    record: str
    format: str
    fs: float
    samples: int
    seconds: float
    unit: str
    leads: dict[str, Lead]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **{name: getattr(self, name) for name in ("record", "format", "fs", "samples", "seconds", "unit")},
            "leads": {name: dict(vars(lead)) for name, lead in self.leads.items()},
            "notes": list(self.notes),
            "doubts": list(self.doubts),
        }


def inspect(
    path: str | Path,
    *,
    fs: float | None = None,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
) -> Inspection:
    """Read a recording and return what was read.

    Parameters
    ----------
    path, fs, lead_names, unit
        As `read_record` takes them.

    Raises
    ------
    EcgcamError
        If the recording cannot be read.
    """
    record = read_record(path, fs, lead_names, unit)
    doubts = quality_checks(record)
    leads = {lead: _lead(record, row) for row, lead in enumerate(record.leads)}
    notes = tuple(note for note in record.notes if note not in doubts)
    return Inspection(
        record.name, format_of(path), record.fs, record.samples, record.seconds, record.unit, leads, notes, doubts
    )


def _lead(record: Record, row: int) -> Lead:
    values = record.signal[row]
    known = values[np.isfinite(values)]
    low, high = (round(float(known.min()), 6), round(float(known.max()), 6)) if len(known) else (None, None)
    return Lead(low, high, round(1 - len(known) / len(values), 6), record.leads[row] in record.derived)
