"""Doubts: what in a recording speaks against its being what its header says. One small function a doubt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcam.records.record import Record, limb_leads

# Mean departure from Einthoven and Goldberger: of the tallest limb lead's own spread, and in mV (rounding is far below it).
_DEPARTURE, _DEPARTURE_MV = 0.25, 0.03
# Height (mV) of the middle lead from its 0.5th to its 99.5th percentile, beyond which the unit is doubted.
_TALL_MV, _LOW_MV = 25.0, 0.02
# Share of a lead's samples that stand at its very largest or smallest value.
_AT_THE_STOP = 0.02
# What is looked at of a long recording, s: a wrong gain or name is wrong from the start.
_LOOKED_AT = 600.0

Rows = dict[str, npt.NDArray[np.float64]]


def doubts_about(record: Record) -> tuple[str, ...]:
    """Return what makes the recording doubtful, one sentence each.

    Nothing is said of less than a second; of a long recording the first ten minutes are looked at.
    """
    if record.signal.shape[1] < record.fs:
        return ()
    looked_at = record.signal[:, : int(_LOOKED_AT * record.fs)].astype(np.float64)  # float32's squares overflow
    measured = {lead: row for lead, row in zip(record.leads, looked_at, strict=True) if lead not in record.derived}
    rows = {lead: row for lead, row in measured.items() if np.isfinite(row).any() and np.nanmax(row) > np.nanmin(row)}
    found = (unit_tall(rows), implausible_amplitude(rows), duplicated(rows), against_einthoven(rows), clipped(rows))
    return tuple(note for note in found if note)


def unit_tall(rows: Rows) -> str:
    """Gains that make every lead 1 unit tall (LUDB's headers): amplitudes, and leads beside each other, mean nothing."""
    if len(rows) >= 3 and all(abs(float(np.nanmax(row) - np.nanmin(row)) - 1.0) < 0.01 for row in rows.values()):
        return (
            "every lead is 1 mV tall from lowest to highest: the gains are not the recorder's, amplitudes mean nothing"
        )
    return ""


def implausible_amplitude(rows: Rows) -> str:
    """Microvolts called millivolts, and the reverse."""
    if not rows:
        return ""
    height = float(np.median([np.ptp(np.nanpercentile(row, [0.5, 99.5])) for row in rows.values()]))
    if height > _TALL_MV:
        return f"leads {height:.4g} mV tall, implausibly large: the values may be microvolts or raw integers"
    if 0 < height < _LOW_MV:
        return f"leads {height:.2g} mV tall, implausibly small: the values may be volts, or the gain is wrong"
    return ""


def duplicated(rows: Rows) -> str:
    """Leads that are one and the same signal."""
    names = list(rows)
    pairs = [
        f"{a} and {b}"
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if np.array_equal(rows[a], rows[b], equal_nan=True)
    ]
    return f"leads that are the same signal, sample by sample: {', '.join(pairs)}" if pairs else ""


def against_einthoven(rows: Rows) -> str:
    """Limb leads that are not what Einthoven and Goldberger make of I and II; offsets do not count."""
    if "I" not in rows or "II" not in rows:
        return ""
    limb = [lead for lead in limb_leads() if lead in rows]
    spread = max(float(np.nanstd(rows[lead])) for lead in limb)
    wrong = []
    for lead in limb:
        a, b = limb_leads()[lead]
        rest = rows[lead] - (a * rows["I"] + b * rows["II"])
        departure = float(np.nanstd(rest)) if np.isfinite(rest).any() else 0.0
        if departure > max(_DEPARTURE * spread, _DEPARTURE_MV):
            wrong.append(f"{lead} by {departure:.2g} mV")
    return (
        f"limb leads depart from what I and II make them (Einthoven, Goldberger): {', '.join(wrong)}" if wrong else ""
    )


def clipped(rows: Rows) -> str:
    """Leads that stand at their very largest or smallest value too long."""
    shares = {
        lead: max(float(np.mean(row == np.nanmax(row))), float(np.mean(row == np.nanmin(row))))
        for lead, row in rows.items()
    }
    stuck = [f"{lead} {share:.0%}" for lead, share in shares.items() if share >= _AT_THE_STOP]
    return (
        f"leads that stand at their largest or smallest value, clipped or saturated: {', '.join(stuck)}"
        if stuck
        else ""
    )
