"""A recording in millivolts, the names of its leads, and the algebra between the limb leads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.lead_names import (
    CANONICAL_LEADS,
    alias_notes,
    canonical_name,
    leads_of,
    naming_advice,
    parse_lead_names,
)

__all__ = [
    "CANONICAL_LEADS", "BoolArray", "FloatArray", "Record", "canonical_name", "limb_leads", "parse_lead_names",
    "possible_rate",
]  # fmt: skip

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Each limb lead as a combination of I and II: Einthoven (III = II - I) and Goldberger
# (aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2).
_LIMB = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
# No recorder of the surface ECG is slower or faster; a rate beyond these is a slip (kHz for Hz, a missing point).
_SLOWEST, _FASTEST = 10.0, 100_000.0
# Larger values (mV), infinity among them, are not voltages in any unit, and are missing; their squares fit single precision.
_NO_VOLTAGE = 1e15


@dataclass(frozen=True, eq=False)
class Record:
    """A recording.

    Attributes
    ----------
    name : str
        The file's stem, without its folder.
    signal : float32, (L, N)
        Millivolts, one row per lead in canonical order; NaN where the recording has no value.
    fs : float
        Samples per second.
    leads : tuple of str
        The row names, a subset of `CANONICAL_LEADS` in that order.
    derived : tuple of str
        Those of `leads` that were computed from other limb leads.
    notes : tuple of str
        Notes for the reader of a result: channels left out, leads derived.
    first, length : int, int or None
        Where `signal` holds only a stretch of the recording: the number of its first sample, and the samples of the whole.
    unit : str
        The unit of the samples in the file, as stated or assumed; several are separated by commas.
    """

    name: str
    signal: FloatArray
    fs: float
    leads: tuple[str, ...]
    derived: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    first: int = 0
    length: int | None = None
    unit: str = "mV"

    def __post_init__(self) -> None:
        """Check what every reader keeps: a row for each lead, and a rate that an ECG can have.

        Raises
        ------
        EcgcamError
            If the rows are not the leads', a lead has another name, or the rate is not possible.
        """
        if np.ndim(self.signal) != 2 or len(self.signal) != len(self.leads):
            raise EcgcamError(
                f"`signal`: has the shape {np.shape(self.signal)} for {len(self.leads)} leads; give (leads, samples), or use "
                "Record.from_array, which takes either orientation"
            )
        if unknown := [lead for lead in self.leads if lead not in CANONICAL_LEADS]:
            raise EcgcamError(
                f"`leads` {unknown[0]}: not one of {', '.join(CANONICAL_LEADS)}; Record.from_array takes other spellings"
            )
        if not possible_rate(self.fs):
            raise EcgcamError(f"`fs` {self.fs:g}: not possible for an ECG; give the sampling rate in Hz")

    @property
    def samples(self) -> int:
        """Length of the recording, samples."""
        return self.signal.shape[1] if self.length is None else self.length

    @property
    def seconds(self) -> float:
        """Length of the recording, s."""
        return float(self.samples / self.fs)

    def without_signal(self) -> Record:
        """Return the recording without its samples, but with its length."""
        return replace(self, signal=self.signal[:, :0].copy(), length=self.samples)

    def only(self, leads: Sequence[str]) -> Record:
        """Return the record without the leads that are not among `leads`, with a note.

        Raises
        ------
        EcgcamError
            If none is left.
        """
        keep = [row for row, lead in enumerate(self.leads) if lead in leads]
        if len(keep) == len(self.leads):
            return self
        if not keep:
            raise EcgcamError(
                f"{self.name}: has {', '.join(self.leads)}, the model takes {', '.join(leads)}; no lead is common; "
                "choose another recording"
            )
        kept = tuple(self.leads[row] for row in keep)
        note = f"leads that the model does not take: {', '.join(lead for lead in self.leads if lead not in kept)}"
        derived = tuple(lead for lead in self.derived if lead in kept)
        return replace(self, signal=self.signal[keep], leads=kept, derived=derived, notes=(*self.notes, note))

    @classmethod
    def from_array(
        cls, signal: Any, fs: float, lead_names: Sequence[str], unit: str = "mV", name: str = "array"
    ) -> Record:
        """Build a record from an array, with the checks that a file gets.

        Parameters
        ----------
        signal : array, (L, T) or (T, L)
            A NumPy array or anything that converts to one, a torch tensor included. The axis whose length is the number of
            lead names holds the leads; (L, T) where both have it. A single lead may be (T,). NaN is a missing sample.
        fs : float
            Sampling rate, Hz.
        lead_names : sequence of str, or str
            One name for each channel, or a comma-separated list; ``"standard"`` for the usual twelve.
        unit : str
            ``"mV"``, ``"uV"`` or ``"V"``.
        name : str
            The record's name in results and messages.
        """
        from ecgcam.records.arrays import record_from_array

        return record_from_array(signal, fs, lead_names, unit, name)

    @classmethod
    def from_channels(
        cls,
        name: str,
        channels: Sequence[npt.NDArray[np.floating]] | npt.NDArray[np.floating],
        fs: float,
        names: Sequence[str],
        *,
        source: str,
        part: bool = False,
    ) -> Record:
        """Build a record from channels (C, N) in mV in any order, by their names.

        Channels that are none of the twelve leads are left out with a note; missing limb leads are derived.
        `source` names the file in errors. A `part` of a recording may have no known sample.
        """
        if not all(np.ndim(channel) == 1 and len(channel) for channel in channels) or not len(channels):
            raise EcgcamError(f"{source}: the recording is empty; choose another file")
        if not possible_rate(fs):
            raise EcgcamError(
                f"{source}: a sampling rate of {fs:g} Hz is not possible for an ECG; give the true one with `fs`"
            )
        rows: dict[str, FloatArray] = {}
        left_out = []
        named = leads_of(names)
        for channel, given, lead in zip(channels, names, named, strict=True):
            if lead is None:
                left_out.append(str(given or "unnamed"))
            elif lead in rows:
                raise EcgcamError(
                    f"{source}: lead {lead} occurs twice; keep one of them, or name the channels with `lead_names`"
                )
            else:
                with np.errstate(over="ignore", invalid="ignore"):
                    row = channel.astype(np.float32)
                    row[~(np.abs(row) < _NO_VOLTAGE)] = np.nan
                rows[lead] = row
        if not rows:
            raise EcgcamError(
                f"{source}: none of the channels ({', '.join(left_out)[:200]}) is one of the twelve leads; "
                f"{naming_advice(names)}"
            )
        if not part and all(np.isnan(row).all() for row in rows.values()):
            raise EcgcamError(f"{source}: every sample is missing (NaN); choose another file")
        notes = alias_notes(names, named)
        if left_out:
            notes.append(f"channels left out, not among the twelve leads: {', '.join(left_out)}")
        derived, parents = _derive_limb_leads(rows)
        if derived:
            notes.append(f"leads derived from {' and '.join(parents)}: {', '.join(derived)}")
        leads = tuple(lead for lead in CANONICAL_LEADS if lead in rows)
        return cls(name, np.stack([rows[lead] for lead in leads]), float(fs), leads, derived, tuple(notes))


def _derive_limb_leads(rows: dict[str, FloatArray]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the missing limb leads to `rows` where two others are there; return their names and the two parents.

    Any two limb leads span the frontal plane. Each sample comes from the first two leads, in canonical order, that are known
    there, so that a part of a recording gives the samples of the whole; flat leads are parents only where no others are.
    """
    present = [lead for lead in _LIMB if lead in rows]
    missing = tuple(lead for lead in _LIMB if lead not in rows)
    if not missing or len(present) < 2:
        return (), ()

    def varies(lead: str) -> bool:
        values = rows[lead][np.isfinite(rows[lead])]
        return bool(len(values) and np.ptp(values) > 0)

    parents = [lead for lead in present if varies(lead)]
    parents += [lead for lead in present if lead not in parents][: max(0, 2 - len(parents))]
    pairs = list(itertools.combinations(sorted(parents, key=list(_LIMB).index), 2))
    used = [int((np.isfinite(rows[a]) & np.isfinite(rows[b])).sum()) for a, b in pairs]
    for lead in missing:
        made = np.full(len(rows[present[0]]), np.nan, np.float32)
        for first, second in pairs:
            unknown = np.isnan(made)
            if not unknown.any():
                break
            a, b = np.linalg.solve(np.array([_LIMB[first], _LIMB[second]]).T, np.array(_LIMB[lead]))
            made[unknown] = (a * rows[first] + b * rows[second]).astype(np.float32)[unknown]
        rows[lead] = made
    return missing, pairs[int(np.argmax(used))]


def limb_leads() -> dict[str, tuple[float, float]]:
    """Return each limb lead as a combination of I and II."""
    return dict(_LIMB)


def possible_rate(fs: float) -> bool:
    """Return whether an ECG can have been sampled at `fs` Hz."""
    return bool(np.isfinite(fs) and _SLOWEST <= fs <= _FASTEST)
