"""A recording in millivolts, the names of its leads, and the algebra between the limb leads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

CANONICAL_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

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
# Names by which they go: DI, D1, "lead 1" and IEC's C1 to C6. A bare number is the number of a channel, not a lead.
_BY_KEY = {name.lower(): name for name in CANONICAL_LEADS} | {
    "di": "I", "dii": "II", "diii": "III", "d1": "I", "d2": "II", "d3": "III",
    "lead1": "I", "lead2": "II", "lead3": "III", **{f"c{i}": f"V{i}" for i in range(1, 7)},
}  # fmt: skip
# "ECG lead II", "lead-aVR" and HL7's MDC_ECG_LEAD_V1. A minus further on turns the lead over (Cabrera's -aVR): not a prefix.
_PREFIX = re.compile(r"^(?:(?:mdc|ecg|ekg|lead)(?:[\s_:]+|-))+")
# No recorder of the surface ECG is slower or faster; a rate beyond these is a slip (kHz for Hz, a missing point).
_SLOWEST, _FASTEST = 10.0, 100_000.0
# Larger values (mV), infinity among them, are no voltages in any unit, and are missing; their squares fit single precision.
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
        What a reader of the result should know: channels left out, leads derived.
    first, length : int, int or None
        Where `signal` holds only a stretch of the recording: the number of its first sample, and the samples of the whole.
    """

    name: str
    signal: FloatArray
    fs: float
    leads: tuple[str, ...]
    derived: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    first: int = 0
    length: int | None = None

    @property
    def samples(self) -> int:
        """Length of the recording, samples."""
        return self.signal.shape[1] if self.length is None else self.length

    @property
    def seconds(self) -> float:
        """Length of the recording, s."""
        return float(self.samples / self.fs)

    def without_signal(self) -> Record:
        """Return what is known of the recording beside its samples."""
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
                f"{self.name}: has {', '.join(self.leads)}, the model takes {', '.join(leads)}; no lead is common"
            )
        kept = tuple(self.leads[row] for row in keep)
        note = f"leads that the model does not take: {', '.join(lead for lead in self.leads if lead not in kept)}"
        derived = tuple(lead for lead in self.derived if lead in kept)
        return replace(self, signal=self.signal[keep], leads=kept, derived=derived, notes=(*self.notes, note))

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
        `source` names the file in errors. A `part` of a recording may have no sample that is known.
        """
        if not all(np.ndim(channel) == 1 and len(channel) for channel in channels) or not len(channels):
            raise EcgcamError(f"{source}: the recording is empty; there is nothing to explain")
        if not possible_rate(fs):
            raise EcgcamError(
                f"{source}: a sampling rate of {fs:g} Hz is not possible for an ECG; give the true one with --fs"
            )
        rows: dict[str, FloatArray] = {}
        left_out = []
        for channel, given in zip(channels, names, strict=True):
            lead = canonical_name(given)
            if lead is None:
                left_out.append(str(given or "unnamed"))
            elif lead in rows:
                raise EcgcamError(
                    f"{source}: lead {lead} occurs twice; keep one of them, or name the channels with --lead-names"
                )
            else:
                with np.errstate(over="ignore", invalid="ignore"):
                    row = channel.astype(np.float32)
                    row[~(np.abs(row) < _NO_VOLTAGE)] = np.nan
                rows[lead] = row
        if not rows:
            raise EcgcamError(
                f"{source}: none of the channels ({', '.join(left_out)}) is one of the twelve leads; "
                "name them with --lead-names"
            )
        if not part and all(np.isnan(row).all() for row in rows.values()):
            raise EcgcamError(f"{source}: every sample is missing (NaN); there is nothing to explain")
        notes = []
        if left_out:
            notes.append(f"channels left out, not among the twelve leads: {', '.join(left_out)}")
        derived, parents = _derive_limb_leads(rows)
        if derived:
            notes.append(f"leads derived from {' and '.join(parents)}: {', '.join(derived)}")
        leads = tuple(lead for lead in CANONICAL_LEADS if lead in rows)
        return cls(name, np.stack([rows[lead] for lead in leads]), float(fs), leads, derived, tuple(notes))


def _derive_limb_leads(rows: dict[str, FloatArray]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the missing limb leads to `rows` where two others are there; return their names and the two parents.

    Any two limb leads span the frontal plane. A parent that is flat or mostly missing says nothing, so the two with
    the most varying samples are taken (the first in canonical order among equals).
    """
    present = [lead for lead in _LIMB if lead in rows]
    missing = tuple(lead for lead in _LIMB if lead not in rows)
    if not missing or len(present) < 2:
        return (), ()

    def usable(lead: str) -> int:
        values = rows[lead][np.isfinite(rows[lead])]
        return len(values) if len(values) and np.ptp(values) > 0 else 0

    first, second = sorted(present, key=usable, reverse=True)[:2]
    basis = np.array([_LIMB[first], _LIMB[second]])
    for lead in missing:
        a, b = np.linalg.solve(basis.T, np.array(_LIMB[lead]))
        rows[lead] = (a * rows[first] + b * rows[second]).astype(np.float32)
    return missing, tuple(lead for lead in _LIMB if lead in (first, second))


def limb_leads() -> dict[str, tuple[float, float]]:
    """Return each limb lead as a combination of I and II."""
    return dict(_LIMB)


def canonical_name(name: str) -> str | None:
    """Return the canonical name of a lead (``"AVR"``, ``"lead ii"``, ``"ECG V1"``), or None if it is none of the twelve."""
    text = str(name).strip().lower()
    key = re.sub(r"[\s_]+", "", _PREFIX.sub("", text))
    return _BY_KEY.get(f"lead{key}" if key in {"1", "2", "3"} and "lead" in text else key)


def possible_rate(fs: float) -> bool:
    """Return whether an ECG can have been sampled at `fs` Hz."""
    return bool(np.isfinite(fs) and _SLOWEST <= fs <= _FASTEST)


def parse_lead_names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list; ``"standard"`` stands for I, II, III, aVR, aVL, aVF, V1 to V6.

    Raises
    ------
    EcgcamError
        If a name is empty or occurs twice.
    """
    if text.strip().lower() == "standard":
        return CANONICAL_LEADS
    names = tuple(part.strip() for part in text.split(","))
    keys = [canonical_name(name) or name for name in names]
    if "" in names:
        raise EcgcamError(
            f"--lead-names {text}: an empty name; write for example I,II,V1 (or 'standard' for the usual twelve)"
        )
    if len(set(keys)) < len(keys):
        raise EcgcamError(f"--lead-names {text}: a lead is named twice; each channel needs a name of its own")
    return names
