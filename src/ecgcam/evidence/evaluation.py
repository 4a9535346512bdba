"""Explanations put to the test: for each window, prompt, method and mask the metrics of `METRICS`, and their means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ecgcam.assembly import Prepared, prepare
from ecgcam.attribution.methods import method_named
from ecgcam.errors import EcgcamError
from ecgcam.evidence.dependence import check_dependence, maps_of
from ecgcam.evidence.edits import Case, Score
from ecgcam.evidence.faithfulness import (
    confidence_change,
    curves,
    from_curves,
    from_subsets,
    random_map,
    random_subsets,
)
from ecgcam.evidence.intervals import mean_interval
from ecgcam.evidence.localisation import measure_localisation, over_leads, over_time, widen
from ecgcam.evidence.metrics import metric_named
from ecgcam.evidence.sanity import agreement
from ecgcam.evidence.truths import BoolArray, Truth
from ecgcam.models.base import EcgTextModel
from ecgcam.question import ask
from ecgcam.records import Window
from ecgcam.records.record import FloatArray
from ecgcam.settings import Settings

ROOMS = ("faithfulness", "localisation", "sanity")
RANDOM = "random map"


@dataclass(frozen=True)
class Trial:
    """What is judged: a method with a mask (None: the model's)."""

    method: str
    mask: str | None = None


@dataclass(frozen=True)
class Plan:
    """How to judge.

    Attributes
    ----------
    rooms : tuple of str
        Some of `ROOMS`.
    scale : str
        At which maps are judged: ``evidence`` weighs leads by their gain, ``raw`` takes the method's own values.
    tile_ms : float
        Length of the tiles that faithfulness takes out.
    draws : int
        Networks with random weights that maps are held against; from two on, the cascade from the top layer down too.
    """

    rooms: tuple[str, ...] = ROOMS
    scale: str = "evidence"
    tile_ms: float = 80.0
    draws: int = 1


@dataclass(frozen=True)
class Entry:
    """What one map of one window got: by metric, its value and what chance would get (None: the random map's value)."""

    record: str
    start: float
    text: str
    method: str
    mask: str
    values: dict[str, float]
    chances: dict[str, float | None] = field(default_factory=dict)


Refused = Callable[[Trial, EcgcamError], None]


def evaluate_window(
    window: Window,
    texts: Sequence[str],
    model: EcgTextModel,
    settings: Settings,
    trials: Sequence[Trial],
    plan: Plan,
    truth: Truth | None,
    refused: Refused,
) -> Iterator[Entry]:
    """Judge every trial's maps of one window, and a random map beside them for each prompt and mask.

    A method that the model does not allow is handed to `refused`; the others go on.
    """
    truth_here, judged = (None, window.valid) if truth is None else (truth.on(window), truth.judged(window))
    name = window.record.name
    drawn: dict[tuple[str, str], list[_Bench]] = {}
    for trial in trials:
        chosen = replace(settings, method=trial.method, mask=trial.mask, gradient=None)
        mask = trial.mask or model.input.fill
        try:
            found = maps_of(window, texts, model, chosen)
            checks: dict[str, dict[str, float]] = {}
            if "sanity" in plan.rooms:
                checks = check_dependence(window, found, model, chosen, _asked(window, model, chosen), plan.draws)
        except EcgcamError as error:
            refused(trial, error)
            continue
        for text in texts:
            explanation = found[text]
            half = (explanation.meta["cell_step_ms"] or 0.0) * window.fs / 2000
            if (text, mask) not in drawn:
                drawn[text, mask] = _benches(window, text, model, chosen, plan)
                blind = random_map(drawn[text, mask][0].case, settings.seed)
                values, chances = _judge(blind, drawn[text, mask], truth_here, half, judged, plan)
                if text in checks:
                    another = random_map(drawn[text, mask][0].case, settings.seed + 1)
                    values |= dict.fromkeys(checks[text], agreement(blind, another))
                    values["time shuffled"] = checks[text]["time shuffled"]  # of the model, whatever the map
                yield Entry(name, window.start, text, RANDOM, mask, values, chances)
            shown = explanation.scaled_map(plan.scale)
            values, chances = _judge(shown, drawn[text, mask], truth_here, half, judged, plan)
            yield Entry(name, window.start, text, trial.method, mask, values | checks.get(text, {}), chances)


def mean_rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return one row a prompt, method, mask and metric: mean over windows with its bootstrap interval, direction, chance, n.

    Means are over the windows where the metric has a value; chance is the metric's own, else the random map's mean.
    """
    gathered: dict[tuple[str, str, str, str], list[tuple[float, float | None]]] = {}
    for entry in entries:
        for metric, value in entry.values.items():
            gathered.setdefault((entry.text, entry.method, entry.mask, metric), []).append(
                (value, entry.chances.get(metric))
            )
    rows = []
    for (text, method, mask, metric), pairs in gathered.items():
        values = np.array([value for value, _ in pairs])
        mean, low, high = mean_interval(values)
        known = [chance for _, chance in pairs if chance is not None]
        fixed = metric_named(metric).chance
        blind = gathered.get((text, RANDOM, mask, metric), [])
        if fixed is not None:
            chance: float | None = fixed
        elif known:
            chance = float(np.mean(known))
        else:
            chance = float(np.nanmean([value for value, _ in blind])) if blind else None
        rows.append({
            "text": text, "method": method, "mask": mask, "metric": metric, "direction": metric_named(metric).direction,
            "mean": _number(mean), "low": _number(low), "high": _number(high), "chance": _number(chance),
            "n": int((~np.isnan(values)).sum()),
        })  # fmt: skip
    return rows


@dataclass(frozen=True, eq=False)
class _Bench:
    """A case, the suffix of its metrics' names, and its random subsets, which every map shares."""

    case: Case
    suffix: str
    subsets: tuple[BoolArray, np.ndarray[Any, np.dtype[np.float64]]]


def _benches(window: Window, text: str, model: EcgTextModel, settings: Settings, plan: Plan) -> list[_Bench]:
    """Every way to take tiles out: a line or the mask's fill, single leads or coherent where the limb leads are there."""
    prepared = prepare(window, model.input, settings)
    score = score_function(prepared, text, model, settings)
    rows = prepared.rows
    fill = window.signal + (prepared.fill[rows] - prepared.x[rows]) / prepared.scale[rows]
    modes = ("single", "coherent") if {"I", "II"} <= set(window.leads) else ("single",)
    benches = []
    for removal in ("line", "mask"):
        for mode in modes:
            case = Case(
                window.signal, fill.astype(np.float32), window.valid, window.leads, window.fs, score, plan.tile_ms,
                removal, mode, settings.seed,
            )  # fmt: skip
            suffix = (", mask" if removal == "mask" else "") + (", coherent" if mode == "coherent" else "")
            faithful = "faithfulness" in plan.rooms
            nothing = (np.zeros((0, len(case.tiles)), bool), np.zeros(0))
            benches.append(_Bench(case, suffix, random_subsets(case) if faithful else nothing))
    return benches


def score_function(prepared: Prepared, text: str, model: EcgTextModel, settings: Settings) -> Score:
    """Return the score of edited windows in mV, the normalisation's constants held fixed."""
    direction = ask([text], settings, method_named(settings.method), model).directions[0]
    rows, scale, seen = prepared.rows, prepared.scale[prepared.rows], prepared.window.signal

    def score(signals: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        x = np.repeat(prepared.x[None], len(signals), axis=0)
        x[:, rows] += (signals - seen) * scale
        with torch.no_grad():
            answers = model.encode_signal(torch.from_numpy(x).to(model.device)) @ direction
        return answers.cpu().double().numpy()

    return score


def _asked(window: Window, model: EcgTextModel, settings: Settings) -> Callable[[str, FloatArray], float]:
    """Return the score of a prompt and an edited window (L, T) in mV."""
    prepared = prepare(window, model.input, settings)
    return lambda text, signal: float(score_function(prepared, text, model, settings)(signal[None])[0])


def _judge(
    values: np.ndarray[Any, np.dtype[np.floating[Any]]],
    benches: Sequence[_Bench],
    truth: BoolArray | None,
    half_cell: float,
    valid: BoolArray,
    plan: Plan,
) -> tuple[dict[str, float], dict[str, float | None]]:
    """Return every metric of a map, and its chance where the map's own case says it."""
    found: dict[str, float] = {}
    chances: dict[str, float | None] = {}
    if "faithfulness" in plan.rooms:
        for bench in benches:
            measured = from_curves(*curves(bench.case, values))
            measured |= from_subsets(bench.case.importance(values), *bench.subsets)
            found |= {metric + bench.suffix: value for metric, value in measured.items()}
        found["confidence change"] = confidence_change(benches[0].case, values)
    if "localisation" in plan.rooms and truth is not None:
        wide = widen(truth, half_cell) & valid
        parts = {"": (values, wide, valid), "time: ": over_time(values, wide, valid)}
        if (alone := over_leads(values, truth, valid)) is not None:
            parts["leads: "] = alone
        for prefix, part in parts.items():
            inside = part[1][part[2]]
            if not inside.any() or inside.all():  # nothing to find, or nothing that it could be missed by
                continue
            measured = measure_localisation(*part)
            chance = measured.pop("chance")
            found |= {prefix + metric: value for metric, value in measured.items()}
            chances |= {prefix + metric: None if metric == "auc" else chance for metric in measured}
    return found, chances


def _number(value: float | None) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or np.isnan(value) else round(float(value), 6)
