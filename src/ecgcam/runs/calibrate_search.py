"""Calibrate one model: measure methods, layers and masks on simulated and given recordings, choose, and write what was chosen.

Two rounds. All candidates are measured on a few cases; the best, and the model's default, on all. Every measurement is a line of
a journal, so that a call that was interrupted continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgcam._version import __version__
from ecgcam.attribution.masking import FILLS
from ecgcam.errors import EcgcamError
from ecgcam.evidence.calibration import CLOSE, RANDOM, SLOPE, CalibrationCase, Standing, choose, rank_candidates
from ecgcam.evidence.scores import score_functions
from ecgcam.evidence.truths import Truth
from ecgcam.models.own_layers import spread_layers
from ecgcam.models.text.targets import TargetEncoder
from ecgcam.models.text.vocabulary import findings_named, vocabulary_prompts
from ecgcam.pipeline.engine import explain_by_methods, explain_windows, score_windows
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record, Window
from ecgcam.records.simulator import FINDINGS, simulate
from ecgcam.render.colour import default_scale
from ecgcam.runs.calibration import Calibration, kept_calibration
from ecgcam.runs.journal import append, read

if TYPE_CHECKING:
    from ecgcam.protocol.model import EcgTextModel

Progress = Callable[[int, int], object]

# From cheap to expensive. The first is the default.
CAM_METHODS = ("grad-cam", "dot-grad-cam", "layer-cam", "hires-cam", "grad-cam++", "xgrad-cam")
SIGNAL_METHODS = ("saliency", "input-x-gradient", "full-grad", "deep-lift")
EXPENSIVE = ("layer-integrated-gradients", "wave-occlusion", "integrated-gradients")
N_LAYERS = 4
# Simulated recordings and given ones: of the first round, and of the second.
SCREEN, FINAL = (4, 2), (12, 8)
N_FINALISTS, N_OTHER_MASKS = 5, 2
N_SEEDS = 8
# Findings that are simulated; more than these are the same again.
MOST_FINDINGS = 6
MOST_OUTPUTS, MOST_REFERENCES = 64, 1000


@dataclass(frozen=True)
class Candidate:
    """A method, a layer (None: it looks at none) and a mask."""

    method: str
    layer: str | None
    mask: str

    @property
    def name(self) -> str:
        """Its name in the journal."""
        return " | ".join((self.method, self.layer or "", self.mask))

    def settings(self, seed: int) -> Settings:
        """Return the settings that make its maps."""
        return Settings(method=self.method, layer=self.layer, mask=self.mask, gradient=None, seed=seed)


@dataclass(frozen=True, eq=False)
class _Subject:
    """A window with the prompt that is asked of it, and what is known of its truth; `key` names it by content."""

    key: str
    text: str
    window: Window
    twin: Window | None = None
    truth: Truth | None = None
    time_only: bool = False


def calibrate_model(
    model: EcgTextModel,
    windows: Sequence[Window] = (),
    texts: Sequence[str] = (),
    *,
    journal: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda _done, _of: None,
) -> Calibration:
    """Choose method, layer and mask for a model, and take the scores of the reference recordings.

    Parameters
    ----------
    model : EcgTextModel
        The model. Layers of an own network that are tried are declared from then on.
    windows : sequence of Window
        Windows of given recordings: they are explained, and are the reference; without any, simulated ones are.
    texts : sequence of str
        Prompts in addition to the vocabulary. For a classifier: outputs, ``OUTPUT=FINDING`` where the label does not name it.
    journal : Path, optional
        Where measurements are kept and looked for.
    seed : int
        The random seed.
    progress : callable
        Called with (done, total).

    Raises
    ------
    EcgcamError
        If the model has no prompt, or allows no method.
    """
    return _Search(model, list(windows), list(texts), journal, seed, progress).run()


def journal_of(weights: str, out: Path | None) -> Path | None:
    """Return where measurements are kept: in the cache, or next to `out`; None if nowhere."""
    kept = kept_calibration(weights, ".jsonl")
    return kept if kept is not None or out is None else out.with_suffix(".jsonl")


class _Search:
    """One calibration."""

    def __init__(
        self,
        model: EcgTextModel,
        windows: list[Window],
        texts: list[str],
        journal: Path | None,
        seed: int,
        progress: Progress,
    ) -> None:
        self._model, self._windows, self._seed, self._progress = model, windows, seed, progress
        self._findings = _prompts(model, texts)
        self._journal = journal
        identity = [__version__, model.checkpoint_sha256, model.precision, model.targets, model.text_identity, seed]
        self._fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        self._known: dict[tuple[str, str], dict[str, float] | None] = {}
        for line in read(journal) if journal is not None else ():
            if line.get("fingerprint") == self._fingerprint and _is_measurement(line):
                self._known[line["case"], line["candidate"]] = line["values"]
        self._cases: dict[str, CalibrationCase] = {}
        self._done, self._total = 0, 1

    def run(self) -> Calibration:
        """Search, and return what was found."""
        simulated, reference = self._simulated()
        given, scores = self._given(reference)
        subjects = [*simulated[: SCREEN[0]], *given[: SCREEN[1]]]
        everything = [*simulated[: FINAL[0]], *given[: FINAL[1]]]
        candidates = self._candidates()
        masks = self._masks()
        later = len(everything) - len(subjects)
        self._total = len(subjects) * (len(candidates) + N_OTHER_MASKS * len(masks)) + later * (N_FINALISTS + 1)
        self._measure(subjects, candidates)
        first = self._rank(subjects, candidates)
        if not first:
            raise EcgcamError(f"{self._model.name}: none of the candidate methods runs on it; choose one with `method`")
        others = [replace(one, mask=mask) for one in first[:N_OTHER_MASKS] for mask in masks]
        self._measure(subjects, others)
        both = [*candidates, *others]
        best = self._rank(subjects, both)[:N_FINALISTS]
        finalists = [one for one in both if one in best or one == candidates[0]]
        self._measure(everything, finalists)
        self._progress(self._total, self._total)
        standings = self._standings(everything, finalists)
        chosen = choose(standings, [one.name for one in finalists])
        assert chosen is not None  # noqa: S101 - a finalist has been measured
        candidate = next(one for one in finalists if one.name == chosen.name)
        screened = [one for one in self._standings(subjects, both) if one.name not in {s.name for s in standings}]
        costs = self._costs(everything[0], finalists)
        named = {one.name: one for one in both}
        rows = [
            *(_row(one, named, costs, "final") for one in standings),
            *(_row(one, named, {}, "screen") for one in screened),
        ]
        source = f"{len(self._windows)} given recordings" if self._windows else f"{len(reference)} simulated recordings"
        return Calibration(
            self._model.name, self._model.checkpoint_sha256, candidate.method, candidate.layer, candidate.mask,
            _why(chosen, standings, candidates[0].name, len(everything)), tuple(rows), scores, source,
        )  # fmt: skip

    def _candidates(self) -> list[Candidate]:
        """Return methods x layers with the model's own mask, the default first, cheap before expensive."""
        mask = self._model.input.fill
        layers = spread_layers(self._model, N_LAYERS)
        cams = [one for one in CAM_METHODS if one != "dot-grad-cam" or self._model.spec.similarity == "cosine"]
        found = [Candidate(method, layer, mask) for layer in layers for method in cams]
        found += [Candidate(method, None, mask) for method in SIGNAL_METHODS]
        found += [Candidate(EXPENSIVE[0], layer, mask) for layer in layers[:2]]
        return [*found, *(Candidate(method, None, mask) for method in EXPENSIVE[1:])]

    def _masks(self) -> list[str]:
        """Return the other masks."""
        source = self._model.input
        return [fill for fill in FILLS if fill != source.fill and (fill != "mean" or source.mean is not None)]

    def _simulated(self) -> tuple[list[_Subject], list[Window]]:
        """Return simulated subjects, by score difference from their twins (largest first), and windows of every finding."""
        prompts = list(self._findings)
        known = {finding: text for text, finding in self._findings.items() if finding not in (None, "normal")}
        if not known and self._windows:
            return [], []
        windows = {(finding, s): self._window(finding, s)[0] for finding in FINDINGS for s in range(2)}
        scores = dict(score_windows(windows.items(), prompts, self._model))
        spread = np.std(np.array(list(scores.values())), axis=0)
        found: list[tuple[int, float, _Subject]] = []
        seeds = max(2, N_SEEDS // max(1, len(known)))
        for finding, text in known.items():
            column = prompts.index(text)
            for s in range(seeds):
                window, twin, truth, time_only = self._window(str(finding), s)
                pair = [row[0] for _, row in score_windows(enumerate((window, twin)), [text], self._model)]
                if pair[0] > pair[1]:
                    subject = _Subject(f"{finding}-{s}: {text}", text, window, twin, truth, time_only)
                    found.append((s, -(pair[0] - pair[1]) / max(float(spread[column]), 1e-12), subject))
        strongest = sorted({one.text: size for s, size, one in found if s == 0}.items(), key=lambda pair: pair[1])
        kept = {text for text, _ in strongest[:MOST_FINDINGS]} or {one.text for _, _, one in found}
        subjects = [one for _, _, one in sorted(found, key=lambda row: row[:2]) if one.text in kept]
        if not subjects and not self._windows:  # nothing is known of the prompts: the score alone counts
            subjects = [
                _Subject(f"{finding}-{s}: {prompts[at]}", prompts[at], windows[finding, s])
                for (finding, s), row in scores.items()
                if s == 0
                for at in [int(np.argmax((np.array(row) - np.mean(list(scores.values()), axis=0)) / (spread + 1e-12)))]
            ]
        return subjects, list(windows.values())

    def _window(self, finding: str, s: int) -> tuple[Window, Window, Truth, bool]:
        """Return a simulated window, its twin's, the truth, and whether it is a matter of time alone."""
        known = simulate(finding, s, seconds=max(10.0, self._model.input.seconds))
        twin = known.signal if known.twin is None else known.twin
        records = [Record(f"{finding}-{s}", signal, known.fs, known.leads) for signal in (known.signal, twin)]
        window, other = (next(windows_of(record, self._model.input)) for record in records)
        alike = bool((known.mask.any(axis=0) == known.mask.all(axis=0)).all())
        return window, other, Truth(known.mask, known.leads, known.fs), alike

    def _given(self, simulated: list[Window]) -> tuple[list[_Subject], dict[str, tuple[float, ...]]]:
        """Return the given recordings, each with the prompt that it stands out by, and the reference scores by prompt."""
        prompts = list(self._findings)
        windows = self._windows[:MOST_REFERENCES] or simulated
        table = np.array([row for _, row in score_windows(enumerate(windows), prompts, self._model)])
        references = {text: tuple(np.round(table[:, at], 6).tolist()) for at, text in enumerate(prompts)}
        if not self._windows:
            return [], references
        spread = table.std(axis=0)
        apart = (table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        order = np.argsort(-apart.max(axis=1), kind="stable")
        subjects = []
        for number in order.tolist():
            text, window = prompts[int(np.argmax(apart[number]))], windows[number]
            digest = hashlib.sha256(np.ascontiguousarray(window.signal).tobytes()).hexdigest()[:16]
            subjects.append(_Subject(f"{digest}: {text}", text, window))
        return subjects, references

    def _case(self, subject: _Subject) -> CalibrationCase:
        if subject.key not in self._cases:
            window, model = subject.window, self._model
            score = score_functions(prepare(window, model.input, Settings()), [subject.text], model)[subject.text]
            # Where the finding moves the beats, a twin's tile is another moment of the beat.
            twin = None if subject.twin is None or subject.time_only else subject.twin.signal
            truth = None if subject.truth is None else subject.truth.on(window)
            tolerance = model.spec.layer_named(None)[1].step / 2
            self._cases[subject.key] = CalibrationCase(
                window, score, twin, truth, subject.time_only, tolerance, self._seed
            )
        return self._cases[subject.key]

    def _measure(self, subjects: Iterable[_Subject], candidates: Sequence[Candidate]) -> None:
        """Measure candidates on subjects, those that the journal lacks."""
        for subject in subjects:
            if (subject.key, RANDOM) not in self._known:
                for name, values in self._case(subject).baselines().items():
                    self._keep(subject, name, values)
            left = [one for one in candidates if (subject.key, one.name) not in self._known]
            self._step(len(candidates) - len(left))
            several = [one.settings(self._seed) for one in left]
            for number, made in explain_by_methods(subject.window, [subject.text], self._model, several):
                found: dict[str, float] | None = None
                if not isinstance(made, EcgcamError):
                    found = self._case(subject).measure(made[0].scaled_map(default_scale(made[0])))
                self._keep(subject, left[number].name, found)
                self._step(1)

    def _keep(self, subject: _Subject, name: str, values: dict[str, float] | None) -> None:
        if values is not None and not all(np.isfinite(value) for value in values.values()):
            values = None
        self._known[subject.key, name] = values
        if self._journal is not None:
            line = {"fingerprint": self._fingerprint, "case": subject.key, "candidate": name, "values": values}
            append(self._journal, [line])

    def _step(self, count: int) -> None:
        self._done += count
        self._progress(min(self._done, self._total - 1), self._total)

    def _standings(self, subjects: Sequence[_Subject], candidates: Sequence[Candidate]) -> list[Standing]:
        """Return how candidates stand that this model allowed on all of the subjects."""
        names = [RANDOM, SLOPE]
        names += [one.name for one in candidates if all(self._known.get((s.key, one.name)) for s in subjects)]
        return rank_candidates({s.key: {name: self._known[s.key, name] or {} for name in names} for s in subjects})

    def _rank(self, subjects: Sequence[_Subject], candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, best first; of those with the very same figures (a mask that is ignored) the first."""
        first: dict[str, Candidate] = {}
        for one in candidates:
            first.setdefault(json.dumps([self._known.get((subject.key, one.name)) for subject in subjects]), one)
        named = {one.name: one for one in first.values()}
        return [named[one.name] for one in self._standings(subjects, candidates) if one.name in named]

    def _costs(self, subject: _Subject, candidates: Sequence[Candidate]) -> dict[str, float]:
        """Return the time of each candidate's map over that of one forward pass of one window."""

        def seconds(run: Callable[[], object]) -> float:
            run()
            begin = time.perf_counter()
            run()
            return time.perf_counter() - begin

        pair = [(0, subject.window)]
        forward = seconds(lambda: list(score_windows(pair, [subject.text], self._model)))
        return {
            one.name: seconds(
                lambda one=one: list(explain_windows(pair, [subject.text], self._model, one.settings(self._seed)))  # type: ignore[misc]
            )
            / forward
            for one in candidates
        }


def _prompts(model: EcgTextModel, texts: Sequence[str]) -> dict[str, str | None]:
    """Return the prompts that are asked, each with the name of the finding that it stands for, where that is known."""
    if isinstance(model.text, TargetEncoder):
        labels = list(model.spec.labels) or [str(number) for number in range(model.text.width)]
        found = {label: _finding_of_label(label) for label in labels[:MOST_OUTPUTS]}
    else:
        found = {text: _finding(text) for text in vocabulary_prompts() if model.text.has(text)}
    for text in texts:
        prompt, _, finding = text.partition("=") if isinstance(model.text, TargetEncoder) else (text, "", text)
        found[prompt.strip()] = _finding(finding.strip()) or found.get(prompt.strip())
    if not found:
        raise EcgcamError(f"{model.name}: has embeddings of none of the vocabulary's prompts; give yours with `texts`")
    return found


def _finding(text: str) -> str | None:
    """Return the name of the simulated finding that a text names."""
    return next((name for name in findings_named(text) if name in FINDINGS), None)


def _finding_of_label(label: str) -> str | None:
    """Return the simulated finding that a label names, or whose prompt or abbreviation alone holds all of its words."""
    exact = _finding(label)
    words = set(re.findall(r"\w+", label.casefold()))
    if exact is not None or not words:
        return exact
    holding = [name for name in findings_named(label, part=True) if name in FINDINGS]
    return holding[0] if len(holding) == 1 else None


def _is_measurement(line: Mapping[str, Any]) -> bool:
    values = line.get("values")
    known = values is None or (
        isinstance(values, dict) and all(isinstance(one, float | int) for one in values.values())
    )
    return known and "values" in line and isinstance(line.get("case"), str) and isinstance(line.get("candidate"), str)


def _row(one: Standing, named: Mapping[str, Candidate], costs: Mapping[str, float], stage: str) -> dict[str, Any]:
    candidate = named.get(one.name)
    parts = {name: round(value, 3) for name, value in one.parts.items()}
    cost = costs.get(one.name)
    return {
        "method": one.name if candidate is None else candidate.method,
        "layer": None if candidate is None else candidate.layer,
        "mask": None if candidate is None else candidate.mask,
        "score": round(one.score, 3), **parts, "n": one.n, "round": stage,
        "cost": None if cost is None else round(cost, 1),
    }  # fmt: skip


def _why(chosen: Standing, standings: Sequence[Standing], default: str, cases: int) -> str:
    """Return why, in one sentence or two."""
    by_name = {one.name: one for one in standings}
    best = next(one for one in standings if one.name not in (RANDOM, SLOPE))
    words = [f"score {chosen.score:.2f} over {cases} cases (1: the best map of each, 0: a random map)"]
    if chosen.name != default and default in by_name:
        words.append(f"the default has {by_name[default].score:.2f}")
    words.append(f"the slope of the ECG alone {by_name[SLOPE].score:.2f}")
    if best.name != chosen.name:
        words.append(f"{best.name} has {best.score:.2f}, within {CLOSE:g}, and costs more or is not a default")
    found = "; ".join(words)
    if chosen.score <= by_name[SLOPE].score:
        found += (
            ". No method is better than the slope of the ECG here: maps of this model show little that the ECG does not"
        )
    return found
