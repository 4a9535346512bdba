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
# Correlation of I with V6, both without their drift, below which I is taken to be upside down.
_AGAINST_V6, _DRIFT = -0.3, 0.4
# Share of a lead's power beyond 1 Hz in 50 or 60 Hz, and the hum's rms in mV, from which it is noted.
_HUM, _HUM_MV = 0.05, 0.02
# What is looked at of a long recording, s: a wrong gain or name is wrong from the start.
_LOOKED_AT = 600.0
# Of which the hum is measured, s: a minute tells it.
_HUM_AT = 60.0

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
    found = (
        unit_tall(rows),
        implausible_amplitude(rows),
        duplicated(rows),
        against_einthoven(rows),
        arms_reversed(rows, record.fs),
        clipped(rows),
        hum(rows, record.fs),
    )
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


def arms_reversed(rows: Rows, fs: float) -> str:
    """Electrodes of the arms exchanged: lead I is upside down, and V6, which does not change, lies the other way.

    P, QRS and T negative in I while V6 is upright is how the exchange is told from dextrocardia (Rosen et al. 2014,
    doi 10.5195/ijms.2014.95); here by the correlation of I with V6 and by I's deeper half, without a delineation.
    """
    if "I" not in rows or "V6" not in rows:
        return ""
    known = np.isfinite(rows["I"]) & np.isfinite(rows["V6"])
    one, six = (_without_drift(rows[lead][known], fs) for lead in ("I", "V6"))
    if len(one) < fs or not (np.ptp(one) and np.ptp(six)):
        return ""
    likeness = float(np.corrcoef(one, six)[0, 1])
    low, high = np.percentile(one, [0.5, 99.5])
    if likeness < _AGAINST_V6 and -low > high:
        return f"lead I is upside down beside V6 (correlation {likeness:.2f}): the arms' electrodes may be exchanged"
    return ""


def _without_drift(row: npt.NDArray[np.float64], fs: float) -> npt.NDArray[np.float64]:
    """Return a row without its running mean."""
    half = max(1, int(_DRIFT * fs / 2))
    if len(row) <= 2 * half:
        return row[:0]
    sums = np.cumsum(np.pad(row, (half + 1, half), "edge"))
    mean = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    return np.asarray(row - mean)


def hum(rows: Rows, fs: float) -> str:
    """The mains: a line at 50 or 60 Hz that stands out of its neighbourhood."""
    found = []
    for lead, row in rows.items():
        part = row[: int(_HUM_AT * fs)]
        part = np.where(np.isfinite(part), part, np.nanmean(part)) if np.isfinite(part).any() else part[:0]
        if len(part) < fs:
            continue
        taper = np.hanning(len(part))
        power = np.abs(np.fft.rfft((part - part.mean()) * taper)) ** 2
        hertz = np.fft.rfftfreq(len(part), 1 / fs)
        all_of_it = power[hertz >= 1].sum()
        for mains in (50, 60):
            off = np.abs(hertz - mains)
            if mains + 4 > fs / 2 or not all_of_it:
                continue
            line, around = off <= 0.5, (off > 1) & (off <= 4)
            beyond = max(0.0, power[line].sum() - power[around].mean() * line.sum())
            rms = float(np.sqrt(2 * beyond / (taper**2).sum() / len(part)))
            if beyond / all_of_it >= _HUM and rms >= _HUM_MV:
                found.append(f"{lead} {beyond / all_of_it:.0%} at {mains} Hz")
    return f"hum of the mains, share of the power: {', '.join(found)}" if found else ""


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
