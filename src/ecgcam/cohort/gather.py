"""What a cohort is made of: for each prompt and method, and each recording, gains, shares of waves, and the average beat."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.beatwise import AFTER, BEFORE, average_beat, wave_table
from ecgcam.explanation import Explanation
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.waves import SEGMENTS

Floats = npt.NDArray[np.float64]

STEP = 0.008  # s; a cell of a map sees far more
TIME: Floats = STEP * np.arange(-round(BEFORE / STEP), round(AFTER / STEP) + 1, dtype=np.float64)
# What makes two results of one method different methods.
_SETTINGS = ("mask", "against", "options", "layer", "model", "checkpoint_sha256", "seed")


@dataclass(frozen=True, eq=False)
class Group:
    """All recordings of one prompt and method; N recordings, L leads, W moments of the beat.

    Attributes
    ----------
    text, method : str
        The prompt, and the method with whatever else tells it from the others.
    records : tuple of str
        Their names. Windows of one recording are averaged.
    leads : tuple of str
        The leads that any recording of the cohort has, in canonical order.
    score, empty : float64, (N,)
        Score, and the score with every lead filled.
    gain : float64, (N, L)
        NaN where the recording lacks the lead.
    share, density : float64, (N, L + 1, 6)
        As in `WaveTable`; the last row is over all leads, weighed by their positive gains.
    beats : float32, (N, L, W)
        The average beat of the map on the scale ``evidence``, on `TIME`.
    signal : float64, (L, W)
        The mean of the recordings' median beats, mV.
    """

    text: str
    method: str
    records: tuple[str, ...]
    leads: tuple[str, ...]
    score: Floats
    empty: Floats
    gain: Floats
    share: Floats
    density: Floats
    beats: npt.NDArray[np.float32]
    signal: Floats


def collect(explanations: Iterable[Explanation]) -> list[Group]:
    """Return the groups of a cohort: prompts in their order of coming, the methods of each in theirs.

    Explanations are read one after the other; of each only some hundred numbers and its average beat are kept.
    """
    gathered: dict[tuple[str, str], dict[str, list[dict[str, Floats]]]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for explanation in explanations:
        meta = explanation.meta
        identity = {"method": meta["method"]} | {key: meta.get(key) for key in _SETTINGS}
        arm = json.dumps(identity, sort_keys=True)
        settings[arm] = identity
        recordings = gathered.setdefault((str(meta["text"]), arm), {})
        recordings.setdefault(str(meta["record"]), []).append(_measure(explanation))
    names = _labels(settings)
    everything = [window for group in gathered.values() for windows in group.values() for window in windows]
    present = [
        row for row in range(len(CANONICAL_LEADS)) if any(np.isfinite(window["gain"][row]) for window in everything)
    ]
    texts = list(dict.fromkeys(text for text, _ in gathered))
    return [
        _group(text, names[arm], gathered[text, arm], present)
        for text in texts
        for arm in settings
        if (text, arm) in gathered
    ]


def _measure(explanation: Explanation) -> dict[str, Floats]:
    """Return the numbers of one window, rows in the order of all leads there can be."""
    table = wave_table(explanation)
    beat = average_beat(explanation, np.where(explanation.valid, explanation.scaled_map("evidence"), 0.0), table.waves)
    rows = [CANONICAL_LEADS.index(lead) for lead in explanation.leads]
    weights = np.maximum(explanation.gains.astype(np.float64), 0.0)
    found = {
        "score": np.array(explanation.score),
        "empty": np.array(explanation.empty_score),
        "gain": np.full(len(CANONICAL_LEADS), np.nan),
    }
    heard = explanation.valid.any(axis=1)
    found["gain"][rows] = np.where(heard, explanation.gains, np.nan)
    for name, values in (("share", table.share), ("density", table.density)):
        found[name] = np.full((len(CANONICAL_LEADS) + 1, len(SEGMENTS)), np.nan)
        found[name][rows] = values
        weight = np.where(np.isfinite(values), weights[:, None], 0.0)
        total = weight.sum(axis=0)
        found[name][-1] = np.divide(
            (weight * np.nan_to_num(values)).sum(axis=0), total, out=np.full(len(SEGMENTS), np.nan), where=total > 0
        )
    for name, curves in (("beats", beat.mean), ("signal", beat.signal)):
        found[name] = np.full((len(CANONICAL_LEADS), len(TIME)), np.nan, np.float32)
        for row, curve in zip(rows, curves, strict=True):
            if beat.beats:
                found[name][row] = np.interp(TIME, beat.time, curve, left=np.nan, right=np.nan)
    return found


def _group(text: str, method: str, recordings: dict[str, list[dict[str, Floats]]], present: list[int]) -> Group:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, which is meant
        means = {
            name: np.stack(
                [np.nanmean([window[name] for window in windows], axis=0) for windows in recordings.values()]
            )
            for name in ("score", "empty", "gain", "share", "density", "beats", "signal")
        }
        signal = np.nanmean(means["signal"], axis=0)
    rows = [*present, len(CANONICAL_LEADS)]
    return Group(
        text=text,
        method=method,
        records=tuple(recordings),
        leads=tuple(CANONICAL_LEADS[row] for row in present),
        score=means["score"],
        empty=means["empty"],
        gain=means["gain"][:, present],
        share=means["share"][:, rows],
        density=means["density"][:, rows],
        beats=means["beats"][:, present].astype(np.float32),
        signal=signal[present],
    )


def _labels(settings: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return a name for each: the method, and those settings that tell it from another one of the same method."""
    names = {}
    for arm, mine in settings.items():
        others = [other for other in settings.values() if other["method"] == mine["method"]]
        parts = [mine["method"]]
        for key in _SETTINGS:
            if any(other[key] != mine[key] for other in others):
                value = mine[key]
                said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                parts.append(f"{key} {said[:8] if key == 'checkpoint_sha256' else said}")
        names[arm] = ", ".join(parts)
    return names
