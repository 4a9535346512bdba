"""Windows x prompts x model -> Explanations: full batches of masked signals across windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.cells import average_layers, lead_cells, mixed_leads, select_lead
from ecgcam.attribution.hooks import Capture, capture, input_gradient, observe, score_signals
from ecgcam.attribution.methods import METHODS, method_named
from ecgcam.attribution.problem import Problem, no_progress
from ecgcam.attribution.registry import Method
from ecgcam.errors import EcgcamError
from ecgcam.models.text.vocabulary import clean_texts
from ecgcam.pipeline.assembly import MethodOutput, WindowScores, assemble
from ecgcam.pipeline.preparation import Prepared, prepare
from ecgcam.pipeline.question import ScoreDirections, embed_prompts
from ecgcam.pipeline.settings import BATCH, Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.preprocessing import scale_window
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Window
from ecgcam.records.record import FloatArray
from ecgcam.records.waves import find_waves
from ecgcam.results.explanation import Explanation

Key = TypeVar("Key")
Built = TypeVar("Built")
# Called with (done, total).
Progress = Callable[[int, int], object]


def explain_windows(
    windows: Iterable[tuple[Key, Window]],
    texts: Sequence[str],
    model: EcgTextModel,
    settings: Settings,
    progress: Progress = no_progress,
) -> Iterator[tuple[Key, Explanation]]:
    """Explain windows as they come, each under its own key: one forward pass for a batch of masked signals of several windows.

    Parameters
    ----------
    windows : iterable of (key, Window)
        The keys come back with the explanations, prompts innermost.
    texts, model, settings
        The prompts, the model, how to explain.
    progress : callable
        Called with (done, total) while a method runs the model many times for one window and prompt.
    """
    yield from run_windows(windows, texts, model, settings, assemble, progress)


def run_windows(
    windows: Iterable[tuple[Key, Window]],
    texts: Sequence[str],
    model: EcgTextModel,
    settings: Settings,
    build: Callable[..., Built],
    progress: Progress = no_progress,
) -> Iterator[tuple[Key, Built]]:
    """Run windows as `explain_windows` does; `build`, with the parameters of `assemble`, makes the result of each."""
    settings.check(model.spec)
    method = method_named(settings.method)
    question = embed_prompts(clean_texts(texts), settings, method, model)
    chunk: list[tuple[Key, Prepared]] = []
    signals = 0
    for key, window in windows:
        prepared = prepare(window, model.input, settings)
        if chunk and signals + len(prepared.rows) + 1 > settings.batch:
            yield from _explain_chunk(chunk, question, model, method, settings, build, progress)
            chunk, signals = [], 0
        chunk.append((key, prepared))
        signals += len(prepared.rows) + 1
    if chunk:
        yield from _explain_chunk(chunk, question, model, method, settings, build, progress)


def explain_by_methods(
    window: Window, texts: Sequence[str], model: EcgTextModel, several: Sequence[Settings]
) -> Iterator[tuple[int, list[Explanation] | EcgcamError]]:
    """Explain one window by several methods; CAM methods of one layer and mask share one forward and backward pass.

    Parameters
    ----------
    window, texts, model
        As in `explain_windows`.
    several : sequence of Settings
        One for each method.

    Yields
    ------
    int, list of Explanation or EcgcamError
        The number of the settings, and an explanation for each prompt, or why this model allows no map of that method. Methods
        that share a pass come together.
    """
    groups: dict[object, list[int]] = {}
    for number, settings in enumerate(several):
        method = METHODS.get(settings.method)
        cam = method is not None and method.family == "cam" and not method.contrast
        shares = cam and settings.masked and settings.gradient is None and "," not in (settings.layer or "")
        alike = (settings.layer, settings.mask, settings.seed, settings.against, method and method.detach_norm)
        groups.setdefault(alike if shares else number, []).append(number)
    for numbers in groups.values():
        if len(numbers) > 1:
            try:
                together = _explain_together(window, texts, model, [several[number] for number in numbers])
            except EcgcamError:  # of one of them; each is tried alone
                pass
            else:
                yield from zip(numbers, together, strict=True)
                continue
        for number in numbers:
            try:
                made = [one for _, one in explain_windows([(None, window)], texts, model, several[number])]
            except EcgcamError as error:
                yield number, error
            else:
                yield number, made


def _explain_together(
    window: Window, texts: Sequence[str], model: EcgTextModel, several: Sequence[Settings]
) -> list[list[Explanation]]:
    """Explain a window by CAM methods that share layer, mask, seed and foils: one pass gives A and G for all of them."""
    methods = [method_named(settings.method) for settings in several]
    for settings in several:
        settings.check(model.spec)
    first = several[0]
    question = embed_prompts(clean_texts(texts), first, methods[0], model)
    prepared = prepare(window, model.input, first)
    functions = [one.bind(settings.options, settings.seed) for one, settings in zip(methods, several, strict=True)]
    layers = model.spec.layers_named(first.layer)
    batch = _signals(prepared, whole=True).to(model.device)
    count = len(prepared.rows)
    with _cell_distances(model, [len(batch) - 1]) as distances:
        all_cells = capture(
            model, batch, question.directions, layers[0][0],
            lambda A, G: torch.stack([function(A, G) for function in functions]), methods[0].detach_norm,
        )  # fmt: skip
    embeddings, scores = all_cells.embeddings, all_cells.scores
    distance = None
    if model.reference is not None:
        distance = float(model.reference.distance(distances[0][:1], embeddings[-1:]))
    answers = WindowScores(
        scores[count + 1], scores[count], scores[:count], embeddings[-1], embeddings[:count], distance
    )
    found = []
    for number, (method, settings) in enumerate(zip(methods, several, strict=True)):
        own = replace(all_cells, reduced=[cells[number] for cells in all_cells.reduced])
        found.append([
            assemble(
                prepared, question, p, answers, _cam_maps([own], layers, p, slice(0, count), prepared.rows), None, model,
                method, settings,
            )
            for p in range(len(question.prompts))
        ])  # fmt: skip
    return found


def score_windows(
    windows: Iterable[tuple[Key, Window]], texts: Sequence[str], model: EcgTextModel, batch: int = BATCH
) -> Iterator[tuple[Key, list[float]]]:
    """Score windows against prompts: the model's own similarity, no masking."""
    embedded = model.encode_text(clean_texts(texts))
    chunk: list[tuple[Key, FloatArray]] = []

    def flush() -> Iterator[tuple[Key, list[float]]]:
        with torch.no_grad(), model.asking(embedded):
            x = torch.from_numpy(np.stack([x for _, x in chunk])).to(model.device)
            scores = model.encode_signal(x) @ embedded.T
        for (key, _), row in zip(chunk, scores.cpu(), strict=True):
            yield key, [float(value) for value in row]

    for key, window in windows:
        chunk.append((key, scale_window(window, model.input)[0]))
        if len(chunk) == batch:
            yield from flush()
            chunk.clear()
    if chunk:
        yield from flush()


def _explain_chunk(
    chunk: list[tuple[Key, Prepared]],
    question: ScoreDirections,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
    build: Callable[..., Built],
    progress: Progress,
) -> Iterator[tuple[Key, Built]]:
    """Run one batch: every lead alone and the empty signal of each window, and the whole windows with their gradient."""
    embedded = question.directions
    include_whole_window = settings.gradient != "record" or not settings.masked
    signals = [_signals(prepared, whole=include_whole_window).to(model.device) for _, prepared in chunk]
    layers = model.spec.layers_named(settings.layer)
    batch = torch.cat(signals)
    captured: list[Capture] = []
    last = np.cumsum([len(parts) for parts in signals]) - 1
    with _cell_distances(model, last.tolist() if include_whole_window else None) as cell_distances:
        if method.family == "cam":
            function = method.bind(settings.options, settings.seed)
            captured = [capture(model, batch, embedded, path, function, method.detach_norm) for path, _ in layers]
            embeddings, scores = captured[0].embeddings, captured[0].scores
        else:
            embeddings, scores = score_signals(model, batch, embedded)
    wholes: list[tuple[Tensor, Tensor]] = []
    gradients: list[Tensor | None] = [None] * len(chunk)
    if settings.gradient == "record":
        x = torch.from_numpy(np.stack([prepared.x for _, prepared in chunk])).to(model.device)
        with _cell_distances(model, list(range(len(chunk)))) as whole_distances:
            whole_embeddings, whole_scores, grads = input_gradient(model, x, embedded)
        cell_distances = cell_distances or whole_distances
        wholes = list(zip(whole_embeddings, whole_scores, strict=True))
        gradients = list(grads.transpose(0, 1))
    begin = 0
    for i, (key, prepared) in enumerate(chunk):
        end, count = begin + len(signals[i]), len(prepared.rows)
        whole_embedding, whole = wholes[i] if wholes else (embeddings[end - 1], scores[end - 1])
        alone = slice(begin, begin + count)
        distance = None
        if model.reference is not None:
            distance = float(model.reference.distance(cell_distances[0][i : i + 1], whole_embedding[None]))
        answers = WindowScores(
            whole, scores[begin + count], scores[alone], whole_embedding, embeddings[alone], distance
        )
        if settings.gradient == "lead":
            gradients[i] = _lead_gradients(prepared, signals[i], embedded, model)
        gradient = gradients[i]
        shared: dict[str, Tensor] = {}
        for p in range(len(question.prompts)):
            if captured:
                which = alone if settings.masked else end - 1
                maps = _cam_maps(captured, layers, p, which, prepared.rows)
                if not settings.masked:
                    maps.warnings.append(_lead_mixing_warning(captured, layers, alone, end - 1, prepared.rows))
            else:
                maps = _run_method(prepared, embedded, p, model, method, settings, shared, progress)
            slope = None if gradient is None else gradient[p]
            yield key, build(prepared, question, p, answers, maps, slope, model, method, settings)
        begin = end


@contextmanager
def _cell_distances(model: EcgTextModel, rows: list[int] | None) -> Iterator[list[Tensor]]:
    """Yield a list that gets the distance of the cells of some signals from the model's recordings; of none without `rows`."""
    reference = model.reference
    if reference is None or rows is None:
        yield []
        return
    with observe(model, reference.layer, lambda cells: reference.cell_distance(cells[rows])) as whole_distances:
        yield whole_distances


def _cam_maps(
    captured: list[Capture], layers: list[tuple[str, LayerSpec]], prompt: int, which: slice | int, rows: list[int]
) -> MethodOutput:
    """Return the cells of each lead: its own of the signal that keeps it (a slice), or of the whole signal (its number)."""
    parts = []
    for one, (_, where) in zip(captured, layers, strict=True):
        cells = one.reduced[prompt][which]
        parts.append(
            (select_lead(cells, where, rows) if isinstance(which, slice) else lead_cells(cells, where)[rows], where)
        )
    return MethodOutput(*(parts[0] if len(parts) == 1 else average_layers(parts)))


def _lead_mixing_warning(
    captured: list[Capture], layers: list[tuple[str, LayerSpec]], alone: slice, whole: int, rows: list[int]
) -> str:
    """Return the note on maps without masking: how far the layer's cells still depend on their own lead alone."""
    mixed = max(
        mixed_leads(one.activations[whole], one.activations[alone], where, rows)
        for one, (_, where) in zip(captured, layers, strict=True)
    )
    if mixed < 1e-4:
        return "maps without masking: the layer's cells depend on their own lead alone"
    return (
        f"maps without masking: the leads are mixed before the layer (its cells change by {mixed:.0%} when the other leads are "
        "masked), so the map of a lead also shows what other leads contributed"
    )


def _run_method(
    prepared: Prepared,
    texts: Tensor,
    prompt: int,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
    shared: dict[str, Tensor],
    progress: Progress,
) -> MethodOutput:
    """Run a method that runs the model itself, on one window and the prompt of that number; `shared` is the window's."""
    x, fill, valid, scale = (
        torch.from_numpy(array).to(model.device)
        for array in (prepared.x, prepared.fill, prepared.valid, prepared.scale)
    )
    problem = Problem(
        model,
        texts[prompt],
        x,
        fill,
        valid,
        scale,
        prepared.rows,
        prepared.window.fs,
        settings.layer,
        settings.seed,
        settings.batch,
        shared=shared,
        parts=lambda by: find_waves(prepared.window.signal, prepared.window.fs, prepared.window.valid).parts(by),
        on_progress=progress,
        texts=texts,
        number=prompt,
    )
    function = method.bind(settings.options)
    if method.family == "signal":
        values = function(problem)[prepared.rows]
        return MethodOutput(values=values, report=problem.report, warnings=problem.warnings)
    alone = torch.from_numpy(prepared.masked()).to(model.device)
    _, where = model.layer(settings.layer)
    cells = select_lead(function(problem, alone), where, prepared.rows)
    return MethodOutput(cells, where, report=problem.report, warnings=problem.warnings)


def _signals(prepared: Prepared, whole: bool) -> Tensor:
    """Each lead alone, the empty signal, and the whole window where it is not run with its gradient anyway."""
    parts = [prepared.masked(), prepared.fill[None]]
    return torch.from_numpy(np.concatenate([*parts, prepared.x[None]] if whole else parts))


def _lead_gradients(prepared: Prepared, signals: Tensor, embedded: Tensor, model: EcgTextModel) -> Tensor:
    """Return d score / d x of each lead on the signal that keeps that lead alone: (P, leads, T)."""
    _, _, grads = input_gradient(model, signals[: len(prepared.rows)], embedded)
    gathered = torch.zeros_like(grads[:, 0])
    for i, row in enumerate(prepared.rows):
        gathered[:, row] = grads[:, i, row]
    return gathered
