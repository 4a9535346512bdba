"""What the report's page is given: an explanation as small JSON, its arrays as 16-bit integers.

A lead's map is stored as integers times one number, and each scale (evidence, lead, raw) is that times a number per lead, so
that the page colours what `ecgcam.render.colour` colours. The signal is stored once for all prompts of a recording.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.explanation import SCALES, Explanation
from ecgcam.render import wording
from ecgcam.render.colour import NEGATIVE, POSITIVE, STRONGEST, colours
from ecgcam.render.lead_strip import voltage_range

_OF_THE_RESULT = {"record", "text", "warnings", "format", "report"}  # shown elsewhere than among the settings

Json = dict[str, Any]


def palette() -> Json:
    """Return the colours of the pictures: hue by sign, opacity at the top of the scale."""
    return {"positive": POSITIVE, "negative": NEGATIVE, "strongest": STRONGEST}


def encode(explanation: Explanation, summary: Json, signals: dict[str, Json]) -> Json:
    """Return one explanation for the page; its signal is put into `signals`, where it is not there yet."""
    meta = explanation.meta
    reach = [colours(explanation, scale) for scale in SCALES]
    found = {
        "record": str(meta["record"]),
        "text": str(meta["text"]),
        "signal": _add_signal(explanation, signals),
        "score": _number(explanation.score),
        "empty": _number(explanation.empty_score),
        "signed": reach[0].signed,
        "outcome": wording.outcome(explanation),
        "provenance": wording.provenance(explanation),
        "map": _integers(explanation.map),
        "scales": {
            scale: {"factor": _factors(explanation, scale), "top": _number(of.vmax), "unit": of.unit}
            for scale, of in zip(SCALES, reach, strict=True)
        },
        "leads": [_lead(explanation, row) for row in range(len(explanation.leads))],
        "settings": {key: value for key, value in meta.items() if key not in _OF_THE_RESULT},
        "report": meta.get("report") or {},
        "warnings": [str(warning) for warning in meta["warnings"]],
        "waves": summary.get("waves"),
    }
    if explanation.gradient_smoothed.shape[1]:
        found["gradient"] = _integers(explanation.gradient_smoothed, np.int8)
    return found


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
            "cut": [
                wording.OFF_PAPER if np.any(lead[valid] < low) or np.any(lead[valid] > high) else ""
                for lead, valid, (low, high) in zip(explanation.signal, explanation.valid, ranges, strict=True)
            ],
            "invalid": [_runs(~valid) for valid in explanation.valid],
        }
    return key


def _lead(explanation: Explanation, row: int) -> Json:
    return {
        "gain": _number(explanation.gains[row]),
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
