"""The numbers of a cohort: for each prompt, method and class, and each recording: gains, shares of waves, the average beat."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.waves import SEGMENTS
from ecgcam.results.beatwise import AFTER, BEFORE, average_beat, wave_table
from ecgcam.results.explanation import Explanation
from ecgcam.runs.spec import identity

Floats: TypeAlias = npt.NDArray[np.float64]
# One label for each explanation, or a function that returns the label of one.
Labels = Sequence[object] | Callable[[Explanation], object]

STEP = 0.008  # s; shorter than a cell of any bundled model
TIME: Floats = STEP * np.arange(-round(BEFORE / STEP), round(AFTER / STEP) + 1, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Group:
    """All recordings of one prompt, class and method; N recordings, L leads, W times within the beat.

    Attributes
    ----------
    text, method : str
        The prompt; the method, with the settings in which it differs from others of that name.
    label : str, optional
        The class of the recordings, where classes were given.
    records : tuple of str
        Names of the recordings. The windows of a recording are averaged.
    leads : tuple of str
        Leads that any recording of the cohort has, in canonical order.
    score : float64, (N,)
        The model's score.
    gain : float64, (N, L + 1)
        Gain of each lead; NaN where the recording lacks the lead. The last column is score less empty score.
    share, density : float64, (N, L + 1, 6)
        As in `WaveTable`; the last row is the mean over leads, weighted by their positive gains.
    beats : float32, (N, L, W)
        Average beat of the map on the scale ``evidence``, at the times `TIME`.
    signal : float64, (L, W)
        Mean of the recordings' median beats, mV.
    passed : float64, (N,)
        1 where the check of the map passed, 0 where it failed, NaN where none was made.
    right : float64, (N,)
        1 where the model is right for the right reasons (`ecgcam.evidence.reasons`), 0 where not, NaN where that was not judged.
    criteria : tuple of (str, str)
        Name and text of each criterion of the finding that was measured, C in all; none without ``--criteria``.
    holds, criterion_density, criterion_drop, criterion_score : float64, (N, C)
        Of each: 1 where it holds; and, where it holds, density of the map on its waves and leads, fall of the score without them,
        score of its words less that of the opposite. NaN where unknown.
    """

    text: str
    method: str
    label: str | None
    records: tuple[str, ...]
    leads: tuple[str, ...]
    score: Floats
    gain: Floats
    share: Floats
    density: Floats
    beats: npt.NDArray[np.float32]
    signal: Floats
    passed: Floats
    right: Floats
    criteria: tuple[tuple[str, str], ...]
    holds: Floats
    criterion_density: Floats
    criterion_drop: Floats
    criterion_score: Floats

    def rows_shared_with(self, other: Group) -> tuple[list[int], list[int]]:
        """Return the rows of the recordings that both have, here and in `other`, in the order of `other`."""
        rows = {record: row for row, record in enumerate(self.records)}
        there = [row for row, record in enumerate(other.records) if record in rows]
        return [rows[other.records[row]] for row in there], there


_OF_CRITERION = "criterion "
_CRITERION = ("holds", "density", "drop", "score")
_Windows = dict[str, list[dict[str, Floats]]]  # by recording


def collect(explanations: Iterable[Explanation], by: Labels | None = None) -> list[Group]:
    """Return the groups of a cohort, ordered by first appearance: prompts, then methods, then classes.

    Explanations are read one at a time; a few hundred numbers and the average beat of each stay in memory.
    """
    gathered: dict[tuple[str, str, str | None], _Windows] = {}
    says: dict[str, str] = {}
    settings: dict[str, dict[str, Any]] = {}
    methods: dict[str, str] = {}
    contents: dict[str, str] = {}
    for explanation, label in _labelled(explanations, by):
        own = identity(explanation.meta)
        key = json.dumps(own, sort_keys=True)
        settings[key], methods[key] = own, str(explanation.meta["method"])
        recordings = gathered.setdefault((str(explanation.meta["text"]), key, label), {})
        recordings.setdefault(_recording(explanation, contents), []).append(_measure(explanation))
        says |= {
            str(row["name"]): str(row.get("text") or row["name"]) for row in explanation.meta.get("criteria") or ()
        }
    names = _method_names(settings, methods)
    measured = [window for group in gathered.values() for windows in group.values() for window in windows]
    present = [
        row for row in range(len(CANONICAL_LEADS)) if any(np.isfinite(window["gain"][row]) for window in measured)
    ]
    texts = list(dict.fromkeys(text for text, _, _ in gathered))
    labels = list(dict.fromkeys(label for _, _, label in gathered))
    return [
        _group(text, names[key], label, gathered[text, key, label], present, says)
        for text in texts
        for key in settings
        for label in labels
        if (text, key, label) in gathered
    ]


def _recording(explanation: Explanation, contents: dict[str, str]) -> str:
    """Return the name of the recording, with part of its hash where another recording has that name: arrays have no names.

    `contents` holds the hash of the first recording of each name.
    """
    name, content = str(explanation.meta["record"]), str(explanation.meta.get("recording_sha256") or "")
    return name if contents.setdefault(name, content) == content else f"{name} {content[:8]}"


def _labelled(explanations: Iterable[Explanation], by: Labels | None) -> Iterator[tuple[Explanation, str | None]]:
    """Yield each explanation with its label, None without classes."""
    if by is None or callable(by):
        for explanation in explanations:
            yield explanation, None if by is None else str(by(explanation))
        return
    count = 0
    for explanation in explanations:
        if count < len(by):
            yield explanation, str(by[count])
        count += 1
    if count != len(by):
        raise EcgcamError(f"`by`: {len(by)} labels for {count} explanations; give one for each, or a function")


def _measure(explanation: Explanation) -> dict[str, Floats]:
    """Return the numbers of one window; rows are all leads in canonical order, and a last one for all of them together."""
    table = wave_table(explanation)
    beat = average_beat(explanation, np.where(explanation.valid, explanation.scaled_map("evidence"), 0.0), table.waves)
    rows = [CANONICAL_LEADS.index(lead) for lead in explanation.leads]
    weights = np.maximum(explanation.gains.astype(np.float64), 0.0)
    check = explanation.meta.get("check")
    found = {
        "score": np.array(explanation.score),
        "gain": np.full(len(CANONICAL_LEADS) + 1, np.nan),
        "passed": np.array(np.nan if check is None else float(check["passed"])),
        "right": np.array(_or_nan((explanation.meta.get("reasons") or {}).get("right"))),
    }
    for row in explanation.meta.get("criteria") or ():
        of_row = np.array([_or_nan(row.get(name)) for name in _CRITERION])
        if of_row[0] != 1:
            of_row[1:] = np.nan
        found[f"{_OF_CRITERION}{row['name']}"] = of_row
    has_signal = explanation.valid.any(axis=1)
    found["gain"][rows] = np.where(has_signal, explanation.gains, np.nan)
    found["gain"][-1] = explanation.score - explanation.empty_score
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


def _or_nan(value: float | bool | None) -> float:
    return float("nan") if value is None else float(value)


def _group(
    text: str, method: str, label: str | None, recordings: _Windows, present: list[int], says: Mapping[str, str]
) -> Group:
    of_criteria = dict.fromkeys(
        key for windows in recordings.values() for window in windows for key in window if key.startswith(_OF_CRITERION)
    )
    unknown = np.full(len(_CRITERION), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no values is NaN, as intended
        means = {
            name: np.stack(
                [np.nanmean([window[name] for window in windows], axis=0) for windows in recordings.values()]
            )
            for name in ("score", "gain", "share", "density", "beats", "signal", "passed", "right")
        }
        by_criterion = np.stack(
            [
                [np.nanmean([window.get(key, unknown) for window in windows], axis=0) for key in of_criteria]
                or np.zeros((0, len(_CRITERION)))
                for windows in recordings.values()
            ]
        )
        signal = np.nanmean(means["signal"], axis=0)
    rows = [*present, len(CANONICAL_LEADS)]
    return Group(
        text=text,
        method=method,
        label=label,
        records=tuple(recordings),
        leads=tuple(CANONICAL_LEADS[row] for row in present),
        score=means["score"],
        gain=means["gain"][:, rows],
        share=means["share"][:, rows],
        density=means["density"][:, rows],
        beats=means["beats"][:, present].astype(np.float32),
        signal=signal[present],
        passed=means["passed"],
        right=means["right"],
        criteria=tuple((name := key.removeprefix(_OF_CRITERION), says[name]) for key in of_criteria),
        holds=by_criterion[:, :, 0],
        criterion_density=by_criterion[:, :, 1],
        criterion_drop=by_criterion[:, :, 2],
        criterion_score=by_criterion[:, :, 3],
    )


def _method_names(settings: Mapping[str, Mapping[str, Any]], methods: Mapping[str, str]) -> dict[str, str]:
    """Return a name for each: the method, and the settings in which it differs from others of the same method."""
    names = {}
    for one, own in settings.items():
        others = [settings[other] for other, method in methods.items() if method == methods[one]]
        parts = [methods[one]]
        for key, value in own.items():
            if any(other.get(key) != value for other in others):
                written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                is_hash = re.fullmatch(r"(\w+:)?[0-9a-f]{40,}", written) is not None
                parts.append(f"{key.rpartition('.')[2]} {written.rpartition(':')[2][:8] if is_hash else written}")
        names[one] = ", ".join(parts)
    return names
