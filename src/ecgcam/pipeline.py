"""Records x prompts x model -> Explanations. `explain_windows` is the engine; `explain` is its case of one record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ecgcam.assembly import Answers, Maps, Prepared, assemble, model_input, prepare
from ecgcam.attribution.cells import average_layers, lead_cells, mixed_leads, own_cells
from ecgcam.attribution.hooks import Capture, capture, input_gradient, score_signals, watch
from ecgcam.attribution.methods import method_named
from ecgcam.attribution.problem import Problem, untold
from ecgcam.attribution.registry import Method
from ecgcam.explanation import Explanation
from ecgcam.models.base import EcgTextModel
from ecgcam.models.load import load_model
from ecgcam.models.spec import LayerSpec, windows_of
from ecgcam.prompts import clean_texts
from ecgcam.question import Question, ask
from ecgcam.records import Record, Window, read_record
from ecgcam.records.record import FloatArray
from ecgcam.records.waves import find_waves
from ecgcam.settings import BATCH, Settings

Key = TypeVar("Key")
# Takes how much of how much is done.
Progress = Callable[[int, int], object]


def explain(
    record: Record | str | Path, texts: Sequence[str], model: EcgTextModel | str = "mini", **options: Any
) -> list[Explanation]:
    """Explain one record: which leads, and which moments, made the model say that it matches each prompt.

    Parameters
    ----------
    record : Record or path
        The recording, or a file that `ecgcam.read_record` reads.
    texts : sequence of str
        The prompts.
    model : EcgTextModel or str
        A loaded model, or the name of one.
    **options
        Those of `explain_many`.

    Returns
    -------
    list of Explanation
        One for each window and prompt, prompts innermost.
    """
    return list(explain_many([record], texts, model, **options))


def explain_many(
    records: Iterable[Record | str | Path],
    texts: Sequence[str],
    model: EcgTextModel | str = "mini",
    *,
    fs: float | None = None,
    lead_names: Sequence[str] | None = None,
    start: float = 0.0,
    seconds: float | None = None,
    all_windows: bool = False,
    hop: float | None = None,
    progress: Progress = untold,
    **settings: Any,
) -> Iterator[Explanation]:
    """Explain many records, in order, batching across them.

    Parameters
    ----------
    records, texts, model
        As in `explain`.
    fs, lead_names
        For files that carry neither (see `ecgcam.read_record`).
    start, seconds : float
        Where the window begins, and how much of it to take (s).
    all_windows, hop : bool, float
        Slide the model's window over the whole record, every `hop` seconds (default: end to end).
    progress : callable
        Takes how much of how much is done, now and then, while a method runs the model many times for one window and prompt.
    **settings
        The fields of `Settings`: method, options, layer, mask, gradient, signed_gradient, smoother, smooth_ms,
        against, seed, batch.

    Raises
    ------
    EcgcamError
        If a record cannot be read, a prompt is blank, or a setting is not possible.
    """
    loaded = load_model(model) if isinstance(model, str) else model

    def windows() -> Iterator[tuple[None, Window]]:
        for item in records:
            record = item if isinstance(item, Record) else read_record(item, fs, lead_names)
            for window in windows_of(record, loaded.input, start, seconds, all_windows, hop):
                yield None, window

    for _, explanation in explain_windows(windows(), texts, loaded, Settings(**settings), progress):
        yield explanation


def explain_windows(
    windows: Iterable[tuple[Key, Window]],
    texts: Sequence[str],
    model: EcgTextModel,
    settings: Settings,
    progress: Progress = untold,
) -> Iterator[tuple[Key, Explanation]]:
    """Explain windows as they come, each under its own key: one forward pass for a batch of masked signals of several windows.

    `progress` as in `explain_many`.
    """
    settings.check(model.spec)
    method = method_named(settings.method)
    question = ask(clean_texts(texts), settings, method, model)
    chunk: list[tuple[Key, Prepared]] = []
    signals = 0
    for key, window in windows:
        prepared = prepare(window, model.input, settings)
        if chunk and signals + len(prepared.rows) + 1 > settings.batch:
            yield from _explain_chunk(chunk, question, model, method, settings, progress)
            chunk, signals = [], 0
        chunk.append((key, prepared))
        signals += len(prepared.rows) + 1
    if chunk:
        yield from _explain_chunk(chunk, question, model, method, settings, progress)


def score_windows(
    windows: Iterable[tuple[Key, Window]], texts: Sequence[str], model: EcgTextModel, batch: int = BATCH
) -> Iterator[tuple[Key, list[float]]]:
    """Score windows against prompts: the model's own similarity, no masking."""
    embedded = model.encode_text(clean_texts(texts))
    chunk: list[tuple[Key, FloatArray]] = []

    def flush() -> Iterator[tuple[Key, list[float]]]:
        with torch.no_grad():
            x = torch.from_numpy(np.stack([x for _, x in chunk])).to(model.device)
            scores = model.encode_signal(x) @ embedded.T
        for (key, _), row in zip(chunk, scores.cpu(), strict=True):
            yield key, [float(value) for value in row]

    for key, window in windows:
        chunk.append((key, model_input(window, model.input)[0]))
        if len(chunk) == batch:
            yield from flush()
            chunk.clear()
    if chunk:
        yield from flush()


def _explain_chunk(
    chunk: list[tuple[Key, Prepared]],
    question: Question,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
    progress: Progress,
) -> Iterator[tuple[Key, Explanation]]:
    """Run one batch: every lead alone and the empty signal of each window, and the whole windows with their gradient."""
    embedded = question.directions
    apart = settings.gradient != "record" or not settings.masked
    signals = [_signals(prepared, whole=apart).to(model.device) for _, prepared in chunk]
    layers = model.spec.layers_named(settings.layer)
    batch = torch.cat(signals)
    captured: list[Capture] = []
    last = np.cumsum([len(parts) for parts in signals]) - 1
    with _cell_distances(model, last.tolist() if apart else None) as far:
        if method.family == "cam":
            function = method.bind(settings.options, settings.seed)
            captured = [capture(model, batch, embedded, path, function, method.held) for path, _ in layers]
            embeddings, scores = captured[0].embeddings, captured[0].scores
        else:
            embeddings, scores = score_signals(model, batch, embedded)
    wholes: list[tuple[Tensor, Tensor]] = []
    gradients: list[Tensor | None] = [None] * len(chunk)
    if settings.gradient == "record":
        x = torch.from_numpy(np.stack([prepared.x for _, prepared in chunk])).to(model.device)
        with _cell_distances(model, list(range(len(chunk)))) as looked:
            whole_embeddings, whole_scores, grads = input_gradient(model, x, embedded)
        far = far or looked
        wholes = list(zip(whole_embeddings, whole_scores, strict=True))
        gradients = list(grads.transpose(0, 1))
    begin = 0
    for i, (key, prepared) in enumerate(chunk):
        end, count = begin + len(signals[i]), len(prepared.rows)
        whole_embedding, whole = wholes[i] if wholes else (embeddings[end - 1], scores[end - 1])
        alone = slice(begin, begin + count)
        distance = None
        if model.reference is not None:
            distance = float(model.reference.distance(far[0][i : i + 1], whole_embedding[None]))
        answers = Answers(whole, scores[begin + count], scores[alone], whole_embedding, embeddings[alone], distance)
        if settings.gradient == "lead":
            gradients[i] = _lead_gradients(prepared, signals[i], embedded, model)
        gradient = gradients[i]
        shared: dict[str, Tensor] = {}
        for p in range(len(question.prompts)):
            if captured:
                which = alone if settings.masked else end - 1
                maps = _cam_maps(captured, layers, p, which, prepared.rows)
                if not settings.masked:
                    maps.warnings.append(_said_of_mixing(captured, layers, alone, end - 1, prepared.rows))
            else:
                maps = _run_method(prepared, embedded, p, model, method, settings, shared, progress)
            slope = None if gradient is None else gradient[p]
            yield key, assemble(prepared, question, p, answers, maps, slope, model, method, settings)
        begin = end


@contextmanager
def _cell_distances(model: EcgTextModel, rows: list[int] | None) -> Iterator[list[Tensor]]:
    """Keep how unlike the model's recordings the cells of some of the signals are that go through; of none without `rows`."""
    reference = model.reference
    if reference is None or rows is None:
        yield []
        return
    with watch(model, reference.layer, lambda cells: reference.cell_distance(cells[rows])) as looked:
        yield looked


def _cam_maps(
    captured: list[Capture], layers: list[tuple[str, LayerSpec]], prompt: int, which: slice | int, rows: list[int]
) -> Maps:
    """Return the cells of each lead: its own of the signal that keeps it (a slice), or of the whole signal (its number)."""
    parts = []
    for one, (_, where) in zip(captured, layers, strict=True):
        cells = one.reduced[prompt][which]
        parts.append(
            (own_cells(cells, where, rows) if isinstance(which, slice) else lead_cells(cells, where)[rows], where)
        )
    return Maps(*(parts[0] if len(parts) == 1 else average_layers(parts)))


def _said_of_mixing(
    captured: list[Capture], layers: list[tuple[str, LayerSpec]], alone: slice, whole: int, rows: list[int]
) -> str:
    """Return what a reader of maps without masking must know: how far the layer's cells are still their own lead's."""
    mixed = max(
        mixed_leads(one.activations[whole], one.activations[alone], where, rows)
        for one, (_, where) in zip(captured, layers, strict=True)
    )
    if mixed < 1e-4:
        return "maps without masking: the layer's cells see their own lead alone"
    return (
        f"maps without masking: the leads are mixed before the layer (its cells change by {mixed:.0%} when the other leads are "
        "masked), so a lead's row also shows what other leads brought there"
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
) -> Maps:
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
        told=progress,
        texts=texts,
        number=prompt,
    )
    function = method.bind(settings.options)
    if method.family == "signal":
        values = function(problem)[prepared.rows]
        return Maps(values=values, report=problem.report, warnings=problem.warnings)
    alone = torch.from_numpy(prepared.masked()).to(model.device)
    _, where = model.layer(settings.layer)
    cells = own_cells(function(problem, alone), where, prepared.rows)
    return Maps(cells, where, report=problem.report, warnings=problem.warnings)


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
