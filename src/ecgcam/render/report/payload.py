"""What the report's page is given: an explanation as small JSON, its arrays as 16-bit integers.

A lead's map is stored as integers times one number, and each scale (evidence, lead, raw) is that times a number per lead, so
that the page colours what `ecgcam.render.colour` colours. The signal is stored once for all prompts of a recording.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.records.waves import WAVES, find_waves
from ecgcam.render import wording
from ecgcam.render.colour import NEGATIVE, POSITIVE, STRONGEST, colours, default_scale, lead_values
from ecgcam.render.lead_strip import voltage_range
from ecgcam.render.panels import rhythm_leads
from ecgcam.render.paper import fitting_gain
from ecgcam.results.beatwise import average_beat
from ecgcam.results.explanation import SCALES, Explanation
from ecgcam.results.ranks import lead_ranks

LIGHT_FS = 100.0
_TALLEST = 54.0  # mm of paper for the voltages of a lead
# Shown elsewhere than among the settings.
_OF_THE_RESULT = {"record", "text", "warnings", "format", "report", "verdict", "check", "criteria", "reasons"}

Json = dict[str, Any]


def palette() -> Json:
    """Return the colours of the pictures: hue by sign, opacity at the top of the scale."""
    return {"positive": POSITIVE, "negative": NEGATIVE, "strongest": STRONGEST}


def encode(explanation: Explanation, summary: Json, signals: dict[str, Json], *, light: bool = False) -> Json:
    """Return one explanation for the page; its signal is put into `signals`, where it is not there yet.

    `light` thins it to about `LIGHT_FS` samples per second and leaves the gradient out.
    """
    meta = explanation.meta
    if light:
        explanation = _thinned(explanation)
    reach = {scale: colours(explanation, scale) for scale in SCALES}
    own = default_scale(explanation)
    by_lead = lead_values(explanation)
    ranks = lead_ranks(explanation) if by_lead is None else lead_ranks(explanation, *by_lead)
    checked = wording.check_result(explanation)
    found = {
        "record": str(meta["record"]),
        "text": str(meta["text"]),
        "title": wording.quoted_prompt(explanation)[1:-1],  # the page puts it in quotes
        "signal": _add_signal(explanation, signals),
        "score": _number(explanation.score),
        "empty": _number(explanation.empty_score),
        "verdict": meta.get("verdict") if isinstance(meta.get("verdict"), dict) else None,
        "check": None if checked is None else {"text": checked[0], "passed": checked[1]},
        "criteria": {
            "sentence": wording.reasons_sentence(explanation),
            "rows": [asdict(row) for row in wording.criteria_rows(explanation)],
        },
        "signed": reach["raw"].signed,
        "scale": own,
        "byLead": by_lead is not None,
        "smoothed": reach["raw"].smoothed,
        "strongest": reach["raw"].strongest,
        "outcome": wording.outcome(explanation),
        "provenance": wording.provenance(explanation),
        "map": _integers(explanation.map),
        "scales": {
            scale: {
                "factor": _factors(explanation, scale), "top": _number(of.vmax), "unit": of.unit, "beyond": of.beyond,
                "blank": of.blank, "about": wording.about_colour(explanation, of, "the number after its name"),
            }
            for scale, of in reach.items()
        },
        "leads": [_lead(explanation, row, ranks[row], by_lead) for row in range(len(explanation.leads))],
        "strips": rhythm_leads(explanation),
        "settings": {key: value for key, value in meta.items() if key not in _OF_THE_RESULT},
        "report": meta.get("report") or {},
        "warnings": wording.warnings(explanation),
        "waves": summary.get("waves"),
    }  # fmt: skip
    if summary.get("waves"):
        found |= _beats(explanation)
    if explanation.gradient_smoothed.shape[1]:
        found["gradient"] = _integers(explanation.gradient_smoothed, np.int8)
    return found


def _thinned(explanation: Explanation) -> Explanation:
    """Return every n-th sample of the signal, and the means of the map over n samples; for display alone."""
    every = int(explanation.fs // LIGHT_FS)
    nothing = explanation.gradient[:, :0]
    if every < 2:
        return replace(explanation, gradient=nothing, gradient_smoothed=nothing)
    samples = len(explanation.time) // every * every
    means = explanation.map[:, :samples].reshape(len(explanation.leads), -1, every).mean(axis=2)
    valid = explanation.valid[:, :samples:every]
    return replace(
        explanation, map=np.where(valid, means, 0.0).astype(np.float32), gradient=nothing, gradient_smoothed=nothing,
        signal=explanation.signal[:, :samples:every], valid=valid, time=explanation.time[:samples:every],
        fs=explanation.fs / every,
    )  # fmt: skip


def _beats(explanation: Explanation) -> Json:
    """Return where P, QRS and T lie, in samples, and the average of the largest group of beats."""
    waves = find_waves(explanation.signal, explanation.fs, explanation.valid)
    marks = [
        [name, int(first), int(last)]
        for onset, offset in zip(waves.onset, waves.offset, strict=True)
        for name, first, last in zip(WAVES, onset, offset, strict=True)
        if np.isfinite(first + last)
    ]
    beat = average_beat(explanation, np.where(explanation.valid, explanation.map, 0.0).astype(np.float64), waves)
    if not beat.beats:
        return {"marks": marks}
    known = np.isfinite(beat.signal).all(axis=1)
    signal = np.nan_to_num(beat.signal)
    ranges = [(float(row.min()), float(row.max())) for row in signal]
    return {
        "marks": marks,
        "beats": {
            "count": beat.beats, "of": len(waves.beats), "fs": explanation.fs, "known": known.tolist(),
            "mv": _integers(signal), "map": _integers(np.nan_to_num(beat.mean)),
            "range": [[_number(low), _number(high)] for low, high in ranges],
            "gain": [fitting_gain(high - low, _TALLEST) for low, high in ranges],
        },
    }  # fmt: skip


def _add_signal(explanation: Explanation, signals: dict[str, Json]) -> str:
    digest = hashlib.sha256()
    for array in (explanation.signal, explanation.valid, explanation.time):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update("\0".join((str(explanation.meta["record"]), *explanation.leads)).encode())
    key = digest.hexdigest()[:16]
    if key not in signals:
        ranges = [voltage_range(*lead) for lead in zip(explanation.signal, explanation.valid, strict=True)]
        signals[key] = {
            "record": str(explanation.meta["record"]),
            "start": _number(explanation.time[0]),
            "fs": explanation.fs,
            "samples": len(explanation.time),
            "leads": list(explanation.leads),
            "mv": _integers(explanation.signal),
            "range": [[_number(low), _number(high)] for low, high in ranges],
            "gain": [fitting_gain(high - low, _TALLEST) for low, high in ranges],
            "invalid": [_runs(~valid) for valid in explanation.valid],
        }
    return key


def _lead(
    explanation: Explanation,
    row: int,
    rank: int | None,
    by_lead: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None,
) -> Json:
    value, error = (None, None) if by_lead is None else (float(by_lead[0][row]), float(by_lead[1][row]))
    return {
        "gain": _number(explanation.gains[row]),
        "rank": rank,
        "value": None if value is None else _number(value),
        "error": None if error is None or not np.isfinite(error) else _number(error),
        "alone": _number(explanation.lead_scores[row]),
        "shift": _number(explanation.mask_shift[row]),
        "moments": [round(moment, 3) for moment in explanation.moments(row)],
        "note": wording.notes(explanation, row, "raw"),
    }


def _factors(explanation: Explanation, scale: str) -> list[float]:
    """Return what each lead's raw map is to be multiplied with to be on `scale`."""
    raw, scaled = np.abs(explanation.map.astype(np.float64)), np.abs(explanation.scaled_map(scale))
    at = raw.argmax(axis=1)[:, None]
    highest, shown = (np.take_along_axis(values, at, axis=1)[:, 0] for values in (raw, scaled))
    return [_number(factor) for factor in np.divide(shown, highest, out=np.zeros_like(shown), where=highest > 0)]


def _integers(values: npt.NDArray[np.floating[Any]], kind: type[np.int16] | type[np.int8] = np.int16) -> Json:
    """Return an array (L, T) as integers in base64, little-endian, row after row, and each row's step."""
    top = np.iinfo(kind).max
    steps = np.abs(values.astype(np.float64)).max(axis=1, initial=0.0) / top
    whole = np.divide(values, steps[:, None], out=np.zeros(values.shape), where=steps[:, None] > 0)
    data = np.rint(whole).astype(np.dtype(kind).newbyteorder("<")).tobytes()
    return {"step": [float(f"{step:.7g}") for step in steps], "data": base64.b64encode(data).decode("ascii")}


def _runs(here: npt.NDArray[np.bool_]) -> list[list[int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], here, [False]]).astype(np.int8)))
    return [[int(first), int(stop)] for first, stop in edges.reshape(-1, 2)]


def _number(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.7g}")
