"""EDF, EDF+ and BDF through pyedflib (`ecgcam[edf]`): ECG channels by label, of any rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.channels import DAMAGED, Channel, Length, leads_of, names_for, record_from
from ecgcam.records.record import Record, possible_rate

# What pyedflib can hold.
_MOST_SIGNALS = 4096


def read_edf(
    path: Path, fs: float | None, lead_names: tuple[str, ...] | None, stretch: tuple[float, float] | None = None
) -> Record:
    """Read a recording, or of a `stretch` (begin and end, s) the data records that hold it. Other channels' samples are not read.

    Raises
    ------
    EcgcamError
        If it is damaged, discontinuous, or holds no ECG.
    """
    try:
        with _opened(path) as file:
            labels = [str(label).strip() for label in file.getSignalLabels()]
            if not labels:
                raise EcgcamError(f"{path}: holds no signal; there is nothing to explain")
            taken = [lead is not None for lead in leads_of(names_for(path, labels, lead_names))]
            first, last, seconds = _data_records(file, stretch)
            channels = [
                Channel(
                    label,
                    str(file.getPhysicalDimension(row)).strip(),
                    float(file.samples_in_datarecord(row) / seconds),
                    _samples(file, row, first, last) if taken[row] else np.zeros(1),
                )
                for row, label in enumerate(labels)
            ]
            whole = int(file.datarecords_in_file)
    except DAMAGED as error:
        raise EcgcamError(f"{path}: not a readable EDF or BDF file ({one_line(error)}); copy the file again") from error
    record = record_from(path, path.stem, channels, fs, lead_names)
    if stretch is None:
        return record
    per = record.fs * seconds
    return replace(record, first=round(first * per), length=round(whole * per))


def edf_length(path: Path, lead_names: tuple[str, ...] | None = None) -> Length | None:
    """Return how long an EDF or BDF recording is by its header; None if it cannot be read."""
    try:
        with _opened(path) as file:
            leads = leads_of(names_for(path, [str(label).strip() for label in file.getSignalLabels()], lead_names))
            _, records, seconds = _data_records(file, None)
            per = max((int(file.samples_in_datarecord(row)) for row, lead in enumerate(leads) if lead), default=0)
    except (*DAMAGED, EcgcamError):  # whoever reads it is told why
        return None
    return Length(per / seconds, per * records, True) if per and possible_rate(per / seconds) else None


def _opened(path: Path) -> Any:
    try:
        import pyedflib
    except ImportError as error:
        raise EcgcamError(f"{path}: EDF is read through pyedflib; pip install 'ecgcam[edf]'") from error
    _check_size(path)
    return pyedflib.EdfReader(str(path))


def _check_size(path: Path) -> None:
    """Refuse a file whose size is not what its header promises: pyedflib would say so on standard output."""
    size = path.stat().st_size
    if size == 0:
        raise EcgcamError(f"{path}: is an empty file; copy the file again")
    try:
        with path.open("rb") as file:
            head = file.read(256)
            records, signals = int(head[236:244]), int(head[252:256])
            file.seek(256 + 216 * max(0, signals))  # names, units, ranges and filters lie before the numbers of samples
            per_record = sum(int(file.read(8)) for _ in range(min(signals, _MOST_SIGNALS)))
    except ValueError as error:  # says what stands there, which may be the patient's name
        raise EcgcamError(f"{path}: not a readable EDF or BDF file (damaged header); copy the file again") from error
    promised = 256 * (signals + 1) + records * per_record * (3 if head[:1] == b"\xff" else 2)
    if not 0 < signals <= _MOST_SIGNALS:
        raise EcgcamError(f"{path}: its header promises {signals} signals; there is nothing to explain")
    if records <= 0:
        raise EcgcamError(f"{path}: its header does not say how much was recorded; close the recording first")
    if size != promised:
        raise EcgcamError(f"{path}: {size} bytes where its header promises {promised}; copy the file again")


def _data_records(file: Any, stretch: tuple[float, float] | None) -> tuple[int, int, float]:
    """Return the first data record of a stretch, the one behind its last, and how long each is, s.

    All channels have a whole number of samples in a data record, whatever their rates.
    """
    seconds, held = float(file.datarecord_duration), int(file.datarecords_in_file)
    if not (np.isfinite(seconds) and seconds > 0):
        raise ValueError(f"data records of {seconds:g} s")
    if stretch is None:
        return 0, held, seconds
    first = min(max(0, int(stretch[0] / seconds)), max(0, held - 1))
    return first, min(held, max(first + 1, int(np.ceil(stretch[1] / seconds)))), seconds


def _samples(file: Any, row: int, first: int, last: int) -> np.ndarray:
    per = int(file.samples_in_datarecord(row))
    samples: np.ndarray = file.readSignal(row, first * per, (last - first) * per)
    return samples
