"""Intervals, amplitudes and rhythm of a recording; None and why where they cannot be measured. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.criteria import Criterion, CriterionResult, all_criteria, evaluate_criteria
from ecgcam.records.median_beats import LEAD_VALUES, AverageBeat, LeadValues, average_beat, lead_values
from ecgcam.records.readers import read_record
from ecgcam.records.record import Record
from ecgcam.records.waves import QRS, P, T, Waves, find_waves, is_irregular

Floats = npt.NDArray[np.float64]

# What is measured in a recording, with its unit; in this order in tables.
VALUES = {
    "rate_bpm": "bpm", "rr_cv": "", "longest_rr": "", "p_share": "", "premature": "", "premature_wide": "", "spikes": "",
    "p_ms": "ms", "pr_ms": "ms", "qrs_ms": "ms", "qt_ms": "ms", "qtc_ms": "ms", "qtc_bazett_ms": "ms", "qtc_framingham_ms": "ms",
    "axis_deg": "°", "sokolow_mv": "mV", "cornell_mv": "mV", "cornell_product_mvs": "mV s",
}  # fmt: skip
SECONDS = 10.0  # of a recording, by default
_PREMATURE = 0.87  # of the usual RR: a beat that comes sooner is premature
_WIDER = 1.2  # a premature beat whose QRS is so much longer than that of the others is wide, and 20 ms at least


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured in a recording.

    Attributes
    ----------
    record : str
        Name of the recording.
    beats : int
        QRS complexes that were found.
    averaged : int
        Beats of the most frequent shape, from which amplitudes and intervals are measured.
    values : dict
        Values by the names of `VALUES`; None where one cannot be measured.
    leads : dict
        By lead, by the names of `ecgcam.records.median_beats.LEAD_VALUES`.
    spread : dict
        Standard deviation over beats (1.4826 times the median absolute deviation), by name, of what is measured beat by beat.
    why : dict
        Why a value is None, by name.
    premature : list of dict
        Each premature beat: `time_s`, `rr` (over the usual RR), `qrs_ms`, `wide`.
    criteria : dict
        Results of the criteria, by name.
    notes : tuple of str
        Notes about the recording.
    """

    record: str
    beats: int
    averaged: int
    values: Mapping[str, float | None]
    leads: Mapping[str, LeadValues]
    spread: Mapping[str, float] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    premature: Sequence[Mapping[str, Any]] = ()
    criteria: Mapping[str, CriterionResult] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def value(self, name: str, lead: str | None = None) -> float | str | None:
        """Return a value by name, of a lead where one is named; None where it is unknown or not measured."""
        return self.values.get(name) if lead is None else self.leads.get(lead, {}).get(name)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``ecgcam measure --json`` prints."""
        kept = {name: _rounded(name, value) for name, value in self.values.items() if not name.startswith("qtc_")}
        qtc = {name: _rounded("qtc_ms", self.values.get(f"qtc_{name}_ms")) for name in ("bazett", "framingham")}
        return {
            "record": self.record,
            "beats": self.beats,
            "beats_averaged": self.averaged,
            **kept,
            "qtc_ms": _rounded("qtc_ms", self.values.get("qtc_ms")),
            "qtc": qtc,
            "premature_beats": [dict(beat) for beat in self.premature],
            "spread": {name: _rounded(name, value) for name, value in self.spread.items()},
            "leads": {
                lead: {name: value if isinstance(value, str) else _rounded(name, value) for name, value in row.items()}
                for lead, row in self.leads.items()
            },
            "why": dict(self.why),
            "criteria": {name: result.to_dict() for name, result in self.criteria.items()},
            "notes": list(self.notes),
        }


def _rounded(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    digits = 4 if name.endswith("_mv") or name in {"rr_cv", "longest_rr", "p_share", "cornell_product_mvs"} else 1
    return round(float(value), digits)


def check_stretch(start: float, seconds: float) -> None:
    """Raise `EcgcamError` unless a stretch of a recording may begin there and be so long."""
    if not (np.isfinite(start) and start >= 0):
        raise EcgcamError(f"`start` {start:g}: must be 0 or more")
    if not (np.isfinite(seconds) and seconds > 0):
        raise EcgcamError(f"`seconds` {seconds:g}: must be a positive number of seconds")


def measure(
    record: str | Path | Record,
    *,
    fs: float | None = None,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
    start: float = 0.0,
    seconds: float = SECONDS,
    criteria: Sequence[Criterion] | None = None,
) -> Measurements:
    """Measure a recording.

    Parameters
    ----------
    record : path or Record
        What `ecgcam.read_record` reads, or its result.
    fs, lead_names, unit
        As in `ecgcam.read_record`, for a path.
    start, seconds : float
        The stretch that is measured, s; the first 10 s by default.
    criteria : sequence of Criterion, optional
        All bundled criteria where None; an empty sequence evaluates none.

    Returns
    -------
    Measurements
        Values are None, with a reason in `why`, where they cannot be measured.
    """
    check_stretch(start, seconds)
    held = record if isinstance(record, Record) else read_record(record, fs, lead_names, unit)
    first = round(start * held.fs)
    if first >= held.signal.shape[1]:
        raise EcgcamError(f"`start` {start:g}: {held.name} ends after {held.seconds:g} s; choose an earlier one")
    stretch = held.signal[:, first : first + round(seconds * held.fs)]
    notes = held.notes
    if stretch.shape[1] < held.signal.shape[1]:
        end = start + stretch.shape[1] / held.fs
        notes = (*notes, f"{held.seconds:g} s long; {start:g} to {end:g} s were measured")
    measured = measure_signal(stretch, held.fs, held.leads, record=held.name)
    chosen = all_criteria() if criteria is None else criteria
    return replace(measured, criteria=evaluate_criteria(chosen, measured), notes=notes)


def measure_signal(
    signal: npt.NDArray[np.floating],
    fs: float,
    leads: Sequence[str],
    valid: npt.NDArray[np.bool_] | None = None,
    *,
    record: str = "array",
) -> Measurements:
    """Measure a window (L, T) in mV, rows named by `leads`; no criteria are evaluated.

    Samples that are not finite, or where `valid` is false, and leads that are flat, count as missing.
    """
    known = np.isfinite(signal) if valid is None else valid & np.isfinite(signal)
    volts = np.nan_to_num(np.asarray(signal, np.float64))
    known = known & (np.ptp(np.where(known, volts, 0.0), axis=1, keepdims=True) > 0)
    waves = find_waves(volts, fs, known)
    values: dict[str, float | None] = dict.fromkeys(VALUES)
    spread: dict[str, float] = {}
    why: dict[str, str] = {}
    empty: dict[str, LeadValues] = {lead: dict.fromkeys(LEAD_VALUES) for lead in leads}
    if len(waves.beats) < 2:
        reason = "fewer than two beats were found, or they do not resemble one another"
        return Measurements(record, len(waves.beats), 0, values, empty, why=dict.fromkeys(VALUES, reason))
    premature = _rhythm(waves, values, why)
    _intervals(waves, values, spread, why)
    beat = average_beat(volts, known, waves)
    if beat is None:
        why["leads"] = "no two beats of one shape have a known QRS"
        rows = empty
    else:
        rows = {lead: lead_values(beat, row) for row, lead in enumerate(leads)}
        for lead, row_values in rows.items():
            if row_values["error_mv"] is None:
                why[lead] = "flat, missing or noise"
        _from_leads(values, why, rows, beat, list(leads))
    return Measurements(
        record, len(waves.beats), 0 if beat is None else beat.count, values, rows, spread, why, premature
    )


def _rhythm(waves: Waves, values: dict[str, float | None], why: dict[str, str]) -> list[dict[str, Any]]:
    """Fill in rate, its variation, P waves and premature beats; return the premature beats."""
    fs, beats = waves.fs, waves.beats
    rr = np.diff(beats) / fs
    values["rate_bpm"] = 60 / float(rr.mean())
    values["spikes"] = float(len(waves.spikes)) if fs >= 240 else None
    if values["spikes"] is None:
        why["spikes"] = "pacing spikes cannot be distinguished from a QRS below 240 Hz"
    # The P of the first beat may lie before the recording.
    begin = np.where(np.isfinite(waves.onset[:, QRS]), waves.onset[:, QRS], beats)
    whole = begin > 0.3 * fs
    values["p_share"] = float(np.isfinite(waves.onset[whole, P]).mean()) if whole.any() else None
    if len(rr) < 2:
        why["rr_cv"] = why["premature"] = why["longest_rr"] = why["premature_wide"] = "fewer than three beats"
        return []
    values["rr_cv"] = float(rr.std(ddof=1) / rr.mean())
    usual = float(np.median(rr))
    values["longest_rr"] = float(rr.max()) / usual
    no_p = values["p_share"] is not None and values["p_share"] < 0.3
    found = _premature(waves, rr, usual)
    if no_p and is_irregular(beats, waves.shapes == 0):
        # In fibrillation many beats are early; only wide ones of another shape are premature.
        found = [
            beat for beat in found if beat["wide"] and waves.shapes[int(np.argmin(np.abs(beats / fs - beat["time_s"])))]
        ]
        if not found:
            why["premature"] = why["premature_wide"] = (
                "the rhythm is irregular without P waves; narrow premature beats cannot be identified"
            )
            return []
    values["premature"] = float(len(found))
    values["premature_wide"] = float(sum(bool(beat["wide"]) for beat in found))
    return found


def _premature(waves: Waves, rr: Floats, usual: float) -> list[dict[str, Any]]:
    """Return the beats that come before 87 % of the usual RR."""
    fs = waves.fs
    qrs = 1000 * (waves.offset[:, QRS] - waves.onset[:, QRS]) / fs
    ordinary = float(np.nanmedian(qrs[waves.shapes == 0])) if np.isfinite(qrs[waves.shapes == 0]).any() else np.nan
    # What sinus rhythm does between two beats: the median of the five intervals around.
    local = np.array([np.median(rr[max(0, i - 3) : i + 4]) for i in range(len(rr))])
    reference = np.maximum(local, usual if usual < 1.15 * local.min() else local)
    found = []
    for number, interval in enumerate(rr, start=1):
        ratio = interval / reference[number - 1]
        # The beat after a premature one comes late, not early; the one before it was on time.
        later = rr[number] / reference[number - 1] if number < len(rr) else 1.0
        if ratio < _PREMATURE and later > ratio:
            length = None if np.isnan(qrs[number]) else round(float(qrs[number]), 1)
            wide = (
                None
                if length is None or np.isnan(ordinary)
                else bool(length > _WIDER * ordinary and length - ordinary >= 20 and length >= 110)
            )
            found.append({
                "time_s": round(float(waves.beats[number]) / fs, 3), "rr": round(float(ratio), 3), "qrs_ms": length, "wide": wide,
            })  # fmt: skip
    return found


def _intervals(waves: Waves, values: dict[str, float | None], spread: dict[str, float], why: dict[str, str]) -> None:
    """Fill in P, PR, QRS and QT: medians over the beats of the most frequent shape."""
    usual = waves.shapes == 0
    ms = 1000 / waves.fs
    by_beat = {
        "p_ms": (waves.offset[:, P] - waves.onset[:, P]) * ms,
        "pr_ms": (waves.onset[:, QRS] - waves.onset[:, P]) * ms,
        "qrs_ms": (waves.offset[:, QRS] - waves.onset[:, QRS]) * ms,
        "qt_ms": (waves.offset[:, T] - waves.onset[:, QRS]) * ms,
    }
    missing = {
        "p_ms": "P was found in fewer than half of the beats",
        "pr_ms": "P was found in fewer than half of the beats",
        "qrs_ms": "the bounds of QRS were found in fewer than half of the beats",
        "qt_ms": "the end of T was found in fewer than half of the beats",
    }
    for name, lengths in by_beat.items():
        known = lengths[usual & np.isfinite(lengths)]
        if len(known) < 2 or 2 * len(known) < usual.sum() - 1:
            why[name] = missing[name]
            continue
        values[name] = float(np.median(known))
        # The standard deviation by the median absolute deviation: one beat whose bound is far off does not count.
        spread[name] = float(1.4826 * np.median(np.abs(known - np.median(known))))
    if values["qt_ms"] is None or values["rate_bpm"] is None:
        for name in ("qtc_ms", "qtc_bazett_ms", "qtc_framingham_ms"):
            why[name] = missing["qt_ms"]
        return
    qt, rr = values["qt_ms"] / 1000, 60 / values["rate_bpm"]
    # L. S. Fridericia 1920; H. C. Bazett 1920; A. Sagie et al. 1992 (the Framingham study).
    values["qtc_ms"] = 1000 * qt / rr ** (1 / 3)
    values["qtc_bazett_ms"] = 1000 * qt / rr**0.5
    values["qtc_framingham_ms"] = 1000 * (qt + 0.154 * (1 - rr))


def _from_leads(
    values: dict[str, float | None],
    why: dict[str, str],
    rows: Mapping[str, LeadValues],
    beat: AverageBeat,
    leads: list[str],
) -> None:
    """Fill in what several leads make together: the axis, Sokolow-Lyon and Cornell."""

    def number(lead: str, name: str) -> float | None:
        value = rows.get(lead, {}).get(name)
        return value if isinstance(value, float) else None

    def missing(name: str, *wanted: str) -> None:
        absent = [lead for lead in wanted if lead not in rows]
        why[name] = f"needs {', '.join(wanted)}" + (f"; {', '.join(absent)} missing" if absent else "")

    net = {}
    for lead in ("I", "aVF"):
        if lead in leads:
            first, last = round(float(beat.onset[QRS])), round(float(beat.offset[QRS]))
            net[lead] = float(beat.signal[leads.index(lead), first : last + 1].mean())
    if len(net) == 2 and all(np.isfinite(list(net.values()))) and any(net.values()):
        # aVF sees 2/sqrt(3) less than a bipolar lead (Goldberger's terminal).
        values["axis_deg"] = float(np.degrees(np.arctan2(2 / np.sqrt(3) * net["aVF"], net["I"])))
    else:
        missing("axis_deg", "I", "aVF")
    s1, r5, r6 = number("V1", "s_mv"), number("V5", "r_mv"), number("V6", "r_mv")
    if s1 is not None and (r5 is not None or r6 is not None):
        values["sokolow_mv"] = -s1 + max(value for value in (r5, r6) if value is not None)
    else:
        missing("sokolow_mv", "V1", "V5", "V6")
    r_avl, s3 = number("aVL", "r_mv"), number("V3", "s_mv")
    if r_avl is not None and s3 is not None:
        cornell, qrs = r_avl - s3, values["qrs_ms"]
        values["cornell_mv"] = cornell
        values["cornell_product_mvs"] = None if qrs is None else cornell * qrs / 1000
    else:
        missing("cornell_mv", "aVL", "V3")
    if values["cornell_product_mvs"] is None:
        missing("cornell_product_mvs", "aVL", "V3")
