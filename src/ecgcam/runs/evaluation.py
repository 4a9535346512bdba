"""Explanations under test: for each window, prompt, method, layer and mask the metrics of `METRICS`, and their means."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.evidence import METRIC_GROUPS
from ecgcam.evidence.dependence import DEPTHS, Explain, MapRuns, RandomWeights, Reruns, relatives_of
from ecgcam.evidence.edits import Score, TilePerturbation
from ecgcam.evidence.faithfulness import ShownMap, TileRemoval, random_map, slope_map
from ecgcam.evidence.localisation import localisation_parts
from ecgcam.evidence.metrics import METRICS, metric_named
from ecgcam.evidence.questions import Answer, Question, answer
from ecgcam.evidence.sanity import randomised
from ecgcam.evidence.scores import mask_fill, score_functions
from ecgcam.evidence.truths import Truth
from ecgcam.pipeline.engine import explain_by_methods, explain_windows
from ecgcam.pipeline.preparation import Prepared, prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Window
from ecgcam.results.explanation import Explanation
from ecgcam.results.intervals import bootstrap_means

RANDOM = "random map"
SLOPE = "slope of the ECG"

Map = npt.NDArray[np.floating]


@dataclass(frozen=True)
class MethodConfig:
    """A method under test, with its mask and layer; None stands for those of the settings, and of the model."""

    method: str
    mask: str | None = None
    layer: str | None = None


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, and how.

    Attributes
    ----------
    groups : tuple of str
        Some of `METRIC_GROUPS`.
    scale : str
        Scale of the maps: ``evidence`` weights leads by their gain, ``raw`` takes the method's own values.
    tile_ms : float
        Length of the tiles that faithfulness removes.
    n_randomisations : int
        Models with random weights that maps are compared with; from two on, also with only the top layers random.
    tolerance_ms : float, optional
        How far the truth is widened on each side, for every map alike. None: half a cell of the model's target layer.
    all_metrics : bool
        False: only the headline metrics, without the variants of removal. Much faster.
    """

    groups: tuple[str, ...] = METRIC_GROUPS
    scale: str = "evidence"
    tile_ms: float = 80.0
    n_randomisations: int = 1
    tolerance_ms: float | None = None
    all_metrics: bool = True


@dataclass(frozen=True)
class Entry:
    """The metrics of one map of one window; `chances`: the value of a map without information, where the window decides it."""

    record: str
    start: float
    text: str
    method: str
    layer: str | None
    mask: str
    values: dict[str, float]
    chances: dict[str, float] = field(default_factory=dict)


OnRefused = Callable[[MethodConfig, EcgcamError], object]


def evaluate_window(
    window: Window,
    texts: Sequence[str],
    model: EcgTextModel,
    settings: Settings,
    methods: Sequence[MethodConfig],
    config: EvaluationConfig,
    truth: Truth | None,
    on_refused: OnRefused,
) -> Iterator[Entry]:
    """Measure the maps of every method on one window, and for each prompt and mask those of a random map and of the ECG's slope.

    All maps of a prompt are measured by one score, that of the plain prompt, whatever score a method explains. The truth is
    widened by the same time for all of them. So no figure depends on which other methods are measured, or on their order.
    A method that the model does not allow is passed to `on_refused`; the others continue.
    """
    benches: dict[str, _Bench] = {}
    compares_prompts = config.all_metrics and "sanity" in config.groups
    relatives = {text: relatives_of(text, model.text.has, settings.seed) for text in texts if compares_prompts}
    several = [_own(settings, method) for method in methods]
    made = _explained(window, _with_relatives(texts, relatives), model, several)
    for method, own, found in zip(methods, several, made, strict=True):
        mask = own.mask or model.input.fill
        try:
            if isinstance(found, EcgcamError):
                raise found
            bench = benches.get(mask) or _Bench.of(window, texts, model, own, config, truth, relatives)
            subject = bench.subject_of(own, found)
            entries = [bench.entry(text, subject) for text in texts]
        except EcgcamError as error:
            on_refused(method, error)
            continue
        without_model = [] if mask in benches else [bench.random_subject(), bench.slope_subject()]
        benches[mask] = bench
        for text, entry in zip(texts, entries, strict=True):
            yield from (bench.entry(text, other) for other in without_model)
            yield entry


def answer_window(
    window: Window,
    questions: Sequence[Question],
    model: EcgTextModel,
    settings: Settings,
    methods: Sequence[MethodConfig],
    config: EvaluationConfig,
    on_refused: OnRefused,
) -> Iterator[Answer]:
    """Answer the questions about one window by the maps of every method, and by a random map and the slope of the ECG.

    The leads of a question are ranked by their gain; by the mean of the map for the two maps without a model.
    """
    texts = list(dict.fromkeys(question.text for question in questions))
    without_model: set[str] = set()
    several = [_own(settings, method) for method in methods]
    for method, own, found in zip(methods, several, _explained(window, texts, model, several), strict=True):
        mask = own.mask or model.input.fill
        if isinstance(found, EcgcamError):
            on_refused(method, found)
            continue
        if mask not in without_model:
            without_model.add(mask)
            maps = {
                RANDOM: np.random.default_rng([10, own.seed, *_hashes(window.record.name)]).random(window.signal.shape),
                SLOPE: slope_map(window.signal, window.valid, window.fs),
            }
            for name, values in maps.items():
                for question in questions:
                    answers = answer(question, values, values.mean(axis=1), window.leads, window.time)
                    yield Answer(question, name, None, mask, answers)
        for question in questions:
            made = found[question.text]
            answers = answer(question, made.scaled_map(config.scale), made.gains, made.leads, made.time)
            yield Answer(question, own.method, made.meta["layer"], mask, answers)


def maps_of(window: Window, texts: Sequence[str], model: EcgTextModel, settings: Settings) -> dict[str, Explanation]:
    """Return a window's explanations by prompt."""
    return {
        explanation.meta["text"]: explanation
        for _, explanation in explain_windows([(None, window)], texts, model, settings)
    }


def _explained(
    window: Window, texts: Sequence[str], model: EcgTextModel, several: Sequence[Settings]
) -> list[dict[str, Explanation] | EcgcamError]:
    """Return what `maps_of` returns for each of several settings, or why there is no map; CAM methods share their passes."""
    made = dict(explain_by_methods(window, texts, model, several))
    return [
        found if isinstance(found, EcgcamError) else {one.meta["text"]: one for one in found}
        for found in (made[number] for number in range(len(several)))
    ]


def cells_of(explanation: Explanation) -> npt.NDArray[np.float32]:
    """Return the cells before relu, or the map itself for methods without cells, (L, C)."""
    return explanation.map_cells if _has_cells(explanation) else explanation.map


def mean_rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return a row for each prompt, method, layer, mask and metric: mean over windows with its interval, direction, chance, n.

    Means are over the windows where the metric has a value. Chance is the metric's own; where it has none, the mean of the
    random map.
    """
    gathered: dict[tuple[str, str, str | None, str], list[Entry]] = {}
    for entry in entries:
        gathered.setdefault((entry.text, entry.method, entry.layer, entry.mask), []).append(entry)
    means: dict[tuple[str, str], dict[str, float]] = {}
    rows = []
    for (text, method, layer, mask), several in gathered.items():
        metrics = list(dict.fromkeys(metric for entry in several for metric in entry.values))
        table = np.array([[entry.values.get(metric, math.nan) for metric in metrics] for entry in several])
        found = bootstrap_means(table.reshape(len(several), len(metrics)))
        if method == RANDOM:
            means[text, mask] = dict(zip(metrics, found.mean.tolist(), strict=True))
        for at, metric in enumerate(metrics):
            row = metric_named(metric)
            rows.append({
                "text": text, "method": method, "layer": layer, "mask": mask, "metric": metric, "direction": row.direction,
                "mean": _number(found.mean[at]), "low": _number(found.low[at]), "high": _number(found.high[at]),
                "chance": _number(_chance(row.chance, metric, several, means.get((text, mask), {}))),
                "n": int(found.n[at]),
            })  # fmt: skip
    return rows


def _chance(fixed: object, metric: str, entries: Sequence[Entry], of_random: Mapping[str, float]) -> float:
    """Return a metric's chance: fixed, the mean of the windows' own, or the random map's mean."""
    if isinstance(fixed, float):
        return fixed
    known = [entry.chances[metric] for entry in entries if metric in entry.chances]
    return float(np.mean(known)) if known else of_random.get(metric, math.nan)


@dataclass(frozen=True, eq=False)
class _Subject:
    """Maps under test, by prompt, on the scale that pictures show; and how to make them again."""

    name: str
    layer: str | None
    maps: Mapping[str, Map]
    runs: MapRuns


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every map of one window and mask is measured with.

    Attributes
    ----------
    window, texts, model, config
        As in `evaluate_window`.
    settings : Settings
        Mask and seed of the methods.
    scores : dict
        The plain score of each prompt.
    tiles : dict
        By prompt, and by the suffix of its rows: each way to remove tiles, with the scores that no map changes.
    relatives : dict
        As in `MapRuns`; empty where no metric needs them.
    truth, known : bool, (L, T)
        Where the finding is, None without a truth; and where that is known.
    """

    window: Window
    texts: Sequence[str]
    model: EcgTextModel
    config: EvaluationConfig
    settings: Settings
    scores: Mapping[str, Score]
    tiles: Mapping[str, Mapping[str, TilePerturbation]]
    relatives: Mapping[str, Mapping[str, Sequence[str]]]
    truth: npt.NDArray[np.bool_] | None
    known: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        window: Window,
        texts: Sequence[str],
        model: EcgTextModel,
        settings: Settings,
        config: EvaluationConfig,
        truth: Truth | None,
        relatives: Mapping[str, Mapping[str, Sequence[str]]],
    ) -> _Bench:
        """Prepare a window."""
        prepared = prepare(window, model.input, settings)
        scores = score_functions(prepared, texts, model)
        tiles = {text: _perturbations(prepared, scores[text], config, settings.seed) for text in texts}
        mask = None if truth is None else truth.on(window)
        known = window.valid if truth is None else truth.known_samples(window)
        return cls(window, texts, model, config, settings, scores, tiles, relatives, mask, known)

    def subject_of(self, settings: Settings, found: Mapping[str, Explanation]) -> _Subject:
        """Return a method's maps."""
        first = found[self.texts[0]]
        step = max(1, round((first.meta["cell_step_ms"] or 0.0) * self.window.fs / 1000)) if _has_cells(first) else 1

        def explain(window: Window, texts: Sequence[str], model: EcgTextModel, _: str) -> dict[str, Map]:
            return {text: cells_of(made) for text, made in maps_of(window, texts, model, settings).items()}

        maps = {text: found[text].scaled_map(self.config.scale) for text in self.texts}
        runs = self._runs(explain, {text: cells_of(made) for text, made in found.items()}, step)
        return _Subject(settings.method, first.meta["layer"], maps, runs)

    def random_subject(self) -> _Subject:
        """Return random maps: no two of them are alike, whatever they are made for."""
        case = next(iter(self.tiles[self.texts[0]].values()))

        def explain(window: Window, texts: Sequence[str], model: EcgTextModel, change: str) -> dict[str, Map]:  # noqa: ARG001
            return {text: random_map(case, self.settings.seed, *_hashes(change, text)) for text in texts}

        return self._without_model(RANDOM, explain)

    def slope_subject(self) -> _Subject:
        """Return the slope of the ECG as a map: what a map without a model finds."""

        def explain(window: Window, texts: Sequence[str], model: EcgTextModel, _: str) -> dict[str, Map]:  # noqa: ARG001
            return dict.fromkeys(texts, slope_map(window.signal, window.valid, window.fs))

        return self._without_model(SLOPE, explain)

    def entry(self, text: str, subject: _Subject) -> Entry:
        """Measure a prompt's map."""
        values: dict[str, float] = {}
        chances: dict[str, float] = {}
        for prefix, suffix, measured in self._measured(text, subject):
            for metric in METRICS:
                if type(measured) is not metric.subject or not (self.config.all_metrics or metric.headline):
                    continue
                name, value = f"{prefix}{metric.name}{suffix}", metric.function(measured)
                if math.isnan(value):
                    continue
                values[name] = value
                if callable(metric.chance):
                    chances[name] = metric.chance(measured)
        mask, window = self.settings.mask or self.model.input.fill, self.window
        return Entry(window.record.name, window.start, text, subject.name, subject.layer, mask, values, chances)

    def _measured(self, text: str, subject: _Subject) -> Iterator[tuple[str, str, object]]:
        """Yield what metrics take, each with the prefix and the suffix of its rows."""
        groups, tiles, values = self.config.groups, self.tiles[text], subject.maps[text]
        shown = ShownMap(next(iter(tiles.values())), values)
        if "faithfulness" in groups:
            for suffix, perturbation in tiles.items():
                yield "", suffix, TileRemoval(perturbation, values)
            yield "", "", shown
        if "localisation" in groups and self.truth is not None:
            for prefix, part in localisation_parts(values, self.truth, self.known, self._tolerance):
                yield prefix, "", part
        if "sanity" in groups:
            reruns = Reruns(text, subject.runs, shown)
            for depth in DEPTHS if self.config.n_randomisations > 1 else DEPTHS[-1:]:
                yield "", "" if depth == 1.0 else f", top {100 * depth:.0f} %", RandomWeights(reruns, depth)
            yield "", "", reruns

    @property
    def _tolerance(self) -> float:
        """Samples by which the truth is widened on each side."""
        if self.config.tolerance_ms is not None:
            return self.config.tolerance_ms * self.window.fs / 1000
        return self.model.spec.layer_named(None)[1].step / 2

    @cached_property
    def _randomise(self) -> Callable[[float, int], EcgTextModel]:
        """Model with random weights by depth and draw; the last one is kept, and shared by the methods."""
        return lru_cache(maxsize=1)(lambda depth, draw: randomised(self.model, depth, self.settings.seed + draw))

    def _without_model(self, name: str, explain: Explain) -> _Subject:
        maps = explain(self.window, _with_relatives(self.texts, self.relatives), self.model, "as is")
        return _Subject(name, None, {text: maps[text] for text in self.texts}, self._runs(explain, maps, 1))

    def _runs(self, explain: Explain, as_is: Mapping[str, Map], step: int) -> MapRuns:
        return MapRuns(
            explain, as_is, self.window, self.texts, self.model, self.relatives, self._randomise,
            lambda text, signals: self.scores[text](signals), step, self.config.n_randomisations, self.settings.seed,
        )  # fmt: skip


def _with_relatives(texts: Sequence[str], relatives: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Return prompts, and those that their maps are compared with."""
    related = (other for kinds in relatives.values() for others in kinds.values() for other in others)
    return list(dict.fromkeys([*texts, *related]))


def _perturbations(
    prepared: Prepared, score: Score, config: EvaluationConfig, seed: int
) -> dict[str, TilePerturbation]:
    """Return every way to remove tiles, by the suffix of its rows: by a line or the mask's fill, single leads or coherent."""
    window, fill = prepared.window, mask_fill(prepared)
    ways = {"": ("line", "single"), ", mask": ("mask", "single")}
    if {"I", "II"} <= set(window.leads):
        ways |= {", coherent": ("line", "coherent"), ", mask, coherent": ("mask", "coherent")}
    return {
        suffix: TilePerturbation(
            window.signal, fill, window.valid, window.leads, window.fs, score, config.tile_ms, *way, seed
        )
        for suffix, way in ways.items()
        if config.all_metrics or not suffix
    }


def _hashes(*names: str) -> list[int]:
    """Return a seed for each name: what is drawn for it does not depend on what else is measured."""
    return [zlib.crc32(name.encode()) for name in names]


def _own(settings: Settings, method: MethodConfig) -> Settings:
    """Return the settings of a method under test; maps under test need no input gradient."""
    mask, layer = method.mask or settings.mask, method.layer or settings.layer
    return replace(settings, method=method.method, mask=mask, layer=layer, gradient=None)


def _has_cells(explanation: Explanation) -> bool:
    return bool(explanation.map_cells.shape[1])


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if math.isnan(value) else round(float(value), 6)
