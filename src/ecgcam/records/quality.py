"""Quality checks: signs that a recording does not match its header. One small function per check."""

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
# Rms of the steps between samples, of the spread, from which neighbours are unrelated (noise: 1.41), and the least rate (Hz).
_UNRELATED, _UNRELATED_HZ = 1.2, 100.0
# How much of a long recording is checked, s: a wrong gain or name is wrong from the start.
_CHECKED_S = 600.0
# How much of it is used to measure the hum, s.
_HUM_S = 60.0

Rows = dict[str, npt.NDArray[np.float64]]


def quality_checks(record: Record) -> tuple[str, ...]:
    """Return what makes the recording doubtful, one sentence each.

    Less than a second is not checked; of a long recording the first ten minutes are.
    """
    if record.signal.shape[1] < record.fs:
        return ()
    checked = record.signal[:, : int(_CHECKED_S * record.fs)].astype(np.float64)  # float32's squares overflow
    measured = {lead: row for lead, row in zip(record.leads, checked, strict=True) if lead not in record.derived}
    rows = {lead: row for lead, row in measured.items() if np.isfinite(row).any() and np.nanmax(row) > np.nanmin(row)}
    found = (
        check_unit_height(rows),
        check_amplitude(rows),
        check_duplicates(rows),
        check_einthoven(rows),
        check_arm_reversal(rows, record.fs),
        check_clipping(rows),
        check_mains_noise(rows, record.fs),
        check_order(rows, record.fs),
    )
    return tuple(note for note in found if note)


def check_unit_height(rows: Rows) -> str:
    """Gains that make every lead 1 unit tall (LUDB's headers): amplitudes and ratios between leads mean nothing."""
    if len(rows) >= 3 and all(abs(float(np.nanmax(row) - np.nanmin(row)) - 1.0) < 0.01 for row in rows.values()):
        return (
            "every lead is 1 mV tall from lowest to highest: the gains are not the recorder's, amplitudes mean nothing"
        )
    return ""


def check_amplitude(rows: Rows) -> str:
    """Microvolts called millivolts, and the reverse: the height as read, and in the unit that would make it plausible."""
    if not rows:
        return ""
    known = [row[np.isfinite(row)] for row in rows.values()]
    height = float(np.median([np.ptp(np.percentile(row, [0.5, 99.5])) for row in known]))
    if height > _TALL_MV:
        micro = height / 1000
        if _LOW_MV <= micro <= _TALL_MV:
            return (
                f"leads {height:.4g} mV tall, implausibly large; as microvolts they would be {micro:.3g} mV tall: "
                "the values may be microvolts or raw integers; where the file states no unit, set `unit` uV"
            )
        return f"leads {height:.4g} mV tall, implausibly large: the values may be raw integers, or the gain is wrong"
    if 0 < height < _LOW_MV:
        volts = height * 1000
        if _LOW_MV <= volts <= _TALL_MV:
            return (
                f"leads {height:.2g} mV tall, implausibly small; as volts they would be {volts:.3g} mV tall: "
                "the values may be volts, or the gain is wrong; where the file states no unit, set `unit` V"
            )
        return f"leads {height:.2g} mV tall, implausibly small: the values may be volts, or the gain is wrong"
    return ""


def check_duplicates(rows: Rows) -> str:
    """Leads that are one and the same signal."""
    names = list(rows)
    pairs = [
        f"{a} and {b}"
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        # A few samples distinguish most pairs.
        if np.array_equal(rows[a][::101], rows[b][::101], equal_nan=True)
        and np.array_equal(rows[a], rows[b], equal_nan=True)
    ]
    return f"leads that are the same signal, sample by sample: {', '.join(pairs)}" if pairs else ""


def check_einthoven(rows: Rows) -> str:
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


def check_arm_reversal(rows: Rows, fs: float) -> str:
    """Electrodes of the arms exchanged: lead I is upside down, and V6, which does not change, lies the other way.

    P, QRS and T negative in I while V6 is upright distinguishes the exchange from dextrocardia (Rosen et al. 2014,
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
        return f"lead I is inverted compared with V6 (correlation {likeness:.2f}): the arm electrodes may be exchanged"
    return ""


def _without_drift(row: npt.NDArray[np.float64], fs: float) -> npt.NDArray[np.float64]:
    """Return a row without its running mean."""
    half = max(1, int(_DRIFT * fs / 2))
    if len(row) <= 2 * half:
        return row[:0]
    sums = np.cumsum(np.pad(row, (half + 1, half), "edge"))
    mean = (sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    return np.asarray(row - mean)


def check_mains_noise(rows: Rows, fs: float) -> str:
    """The mains: a line at 50 or 60 Hz that stands out of its neighbourhood."""
    count = min((int(_HUM_S * fs), *map(len, rows.values())))
    if not rows or count < fs:
        return ""
    taper, hertz = np.hanning(count), np.fft.rfftfreq(count, 1 / fs)
    lines = []
    for mains in (50, 60):
        off = np.abs(hertz - mains)
        if mains + 4 <= fs / 2:
            lines.append((mains, np.flatnonzero(off <= 0.5), np.flatnonzero((off > 1) & (off <= 4))))
    found = []
    for lead, row in rows.items():
        part = row[:count]
        known = np.isfinite(part)
        if not known.any():
            continue
        part = part if known.all() else np.where(known, part, part[known].mean())
        power = np.abs(np.fft.rfft((part - part.mean()) * taper)) ** 2
        all_of_it = power[hertz >= 1].sum()
        for mains, line, around in lines if all_of_it else []:
            beyond = max(0.0, power[line].sum() - power[around].mean() * len(line))
            rms = float(np.sqrt(2 * beyond / (taper**2).sum() / count))
            if beyond / all_of_it >= _HUM and rms >= _HUM_MV:
                found.append(f"{lead} {beyond / all_of_it:.0%} at {mains} Hz")
    return f"hum of the mains, share of the power: {', '.join(found)}" if found else ""


def check_clipping(rows: Rows) -> str:
    """Leads that stay at their largest or smallest value too long."""
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


def check_order(rows: Rows, fs: float) -> str:
    """Samples that are not in the order of time, such as those of exchanged axes, or nothing but noise."""
    shares = []
    for row in rows.values():
        steps = np.diff(row)
        steps = steps[np.isfinite(steps)]
        if len(steps):
            shares.append(float(np.sqrt(np.mean(steps**2)) / np.nanstd(row)))
    if fs < _UNRELATED_HZ or not shares or not np.median(shares) > _UNRELATED:
        return ""
    return (
        "neighbouring samples are unrelated, as in noise: they may not be in the order of time, as where the axes of an array "
        "are exchanged"
    )
