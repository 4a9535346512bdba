"""Records x prompts x model -> Explanations. `explain_windows` is the engine; `explain` is its case of one record."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ecgcam._version import __version__
from ecgcam.attribution.capture import Capture, capture, cell_width, input_gradient
from ecgcam.attribution.cells import cell_centres, lay_on_samples
from ecgcam.attribution.masking import fill_signal, lead_alone
from ecgcam.attribution.methods import Method, method_named
from ecgcam.attribution.smoothing import smooth
from ecgcam.explanation import FORMAT, Explanation
from ecgcam.models.base import EcgTextModel
from ecgcam.models.load import load_model
from ecgcam.models.spec import InputSpec, windows_of
from ecgcam.prompts import clean_texts
from ecgcam.records import Record, Window, read_record
from ecgcam.records.record import FloatArray
from ecgcam.settings import BATCH, Settings

Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A window in model space: x and fill (leads, T), offset and scale (leads, 1), and the model rows of its leads."""

    window: Window
    x: FloatArray
    fill: FloatArray
    scale: FloatArray
    rows: list[int]

    @property
    def leads(self) -> tuple[str, ...]:
        return self.window.leads


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
    **settings
        The fields of `Settings`: method, layer, mask, gradient, signed_gradient, smoother, smooth_ms, seed, batch.

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

    for _, explanation in explain_windows(windows(), texts, loaded, Settings(**settings)):
        yield explanation


def explain_windows(
    windows: Iterable[tuple[Key, Window]], texts: Sequence[str], model: EcgTextModel, settings: Settings
) -> Iterator[tuple[Key, Explanation]]:
    """Explain windows as they come, each under its own key: one forward pass for a batch of masked signals of several windows."""
    settings.check(model.spec)
    method = method_named(settings.method)
    prompts = clean_texts(texts)
    embedded = model.encode_text(prompts)
    chunk: list[tuple[Key, _Prepared]] = []
    signals = 0
    for key, window in windows:
        prepared = _prepare(window, model, settings)
        if chunk and signals + len(prepared.rows) + 1 > settings.batch:
            yield from _explain_chunk(chunk, prompts, embedded, model, method, settings)
            chunk, signals = [], 0
        chunk.append((key, prepared))
        signals += len(prepared.rows) + 1
    if chunk:
        yield from _explain_chunk(chunk, prompts, embedded, model, method, settings)


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
        chunk.append((key, _model_input(window, model.input)[0]))
        if len(chunk) == batch:
            yield from flush()
            chunk.clear()
    if chunk:
        yield from flush()


def _model_input(window: Window, spec: InputSpec) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the window in model space (leads, T), and the offset and scale (leads, 1) that took it there."""
    offset, scale = spec.constants(window)
    return (spec.arrange(window) - offset) * scale, offset, scale


def _prepare(window: Window, model: EcgTextModel, settings: Settings) -> _Prepared:
    spec = model.input
    rows = [spec.leads.index(lead) for lead in window.leads]
    x, offset, scale = _model_input(window, spec)
    valid = np.zeros(x.shape, bool)
    valid[rows] = window.valid
    fill = fill_signal(settings.mask or spec.fill, x, valid, -offset * scale, spec.mean, settings.seed)
    # Leads that the record lacks are filled like masked ones, in every signal: the model never sees a lead that is not there.
    absent = [i for i in range(len(spec.leads)) if i not in rows]
    x[absent] = fill[absent]
    return _Prepared(window, x, fill, scale, rows)


def _explain_chunk(
    chunk: list[tuple[Key, _Prepared]],
    prompts: list[str],
    embedded: Tensor,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
) -> Iterator[tuple[Key, Explanation]]:
    signals = [_signals(prepared, whole=settings.gradient != "record").to(model.device) for _, prepared in chunk]
    captured = capture(model, torch.cat(signals), embedded, settings.layer)
    function = method.load()
    cells = [function(captured.activations, G) for G in captured.gradients]
    gradients: list[Tensor | None] = [None] * len(chunk)
    wholes: list[tuple[Tensor, Tensor]] = []
    if settings.gradient == "record":
        x = torch.from_numpy(np.stack([prepared.x for _, prepared in chunk])).to(model.device)
        embeddings, scores, grads = input_gradient(model, x, embedded)
        wholes = list(zip(embeddings, scores, strict=True))
        gradients = list(grads.transpose(0, 1))
    begin = 0
    for i, (key, prepared) in enumerate(chunk):
        end = begin + len(signals[i])
        part = Capture(
            captured.embeddings[begin:end],
            captured.scores[begin:end],
            captured.activations[begin:end],
            captured.gradients,
        )
        whole = wholes[i] if wholes else (part.embeddings[-1], part.scores[-1])
        if settings.gradient == "lead":
            gradients[i] = _lead_gradients(prepared, signals[i], embedded, model)
        for p, text in enumerate(prompts):
            gradient = gradients[i]
            yield (
                key,
                _assemble(
                    prepared,
                    text,
                    p,
                    part,
                    whole,
                    cells[p][begin:end],
                    None if gradient is None else gradient[p],
                    model,
                    method,
                    settings,
                ),
            )
        begin = end


def _signals(prepared: _Prepared, whole: bool) -> Tensor:
    """Each lead alone, the empty signal, and the whole window where it is not run with its gradient anyway."""
    parts = [lead_alone(prepared.x, prepared.fill, prepared.rows), prepared.fill[None]]
    return torch.from_numpy(np.concatenate([*parts, prepared.x[None]] if whole else parts))


def _lead_gradients(prepared: _Prepared, signals: Tensor, embedded: Tensor, model: EcgTextModel) -> Tensor:
    """D score / d x of each lead on the signal that keeps that lead alone: (P, leads, T)."""
    _, _, grads = input_gradient(model, signals[: len(prepared.rows)], embedded)
    gathered = torch.zeros_like(grads[:, 0])
    for i, row in enumerate(prepared.rows):
        gathered[:, row] = grads[:, i, row]
    return gathered


def _assemble(
    prepared: _Prepared,
    text: str,
    p: int,
    part: Capture,
    whole: tuple[Tensor, Tensor],
    cells: Tensor,
    gradient: Tensor | None,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
) -> Explanation:
    window, rows = prepared.window, prepared.rows
    count, samples = len(rows), window.signal.shape[1]
    _, layer = model.layer(settings.layer)
    map_cells = cells[:count].cpu().float().numpy()
    shown = map_cells if method.signed else np.maximum(map_cells, 0.0)
    laid = np.where(window.valid, lay_on_samples(shown, layer, samples), 0.0).astype(np.float32)
    slope = np.zeros((count, 0), np.float32)
    smoothed = slope
    if gradient is not None:
        per_mv = gradient.cpu().float().numpy()[rows] * prepared.scale[rows]
        slope = np.where(window.valid, per_mv, 0.0).astype(np.float32)
        smoothed = smooth(
            slope if settings.signed_gradient else np.abs(slope),
            window.valid,
            window.fs,
            settings.smooth_ms,
            settings.smoother,
        )
    embedding, scores = whole
    similarity = torch.nn.functional.cosine_similarity(part.embeddings[:count], embedding[None], dim=1)
    warnings = [*window.record.notes, *window.warnings, *model.text.warnings(text)]
    if not laid.any():
        warnings.append("the map is zero everywhere: no cell raised the score; map_cells holds the signed cells")
    return Explanation(
        map=laid,
        map_cells=map_cells,
        cell_time=window.start + cell_centres(map_cells.shape[1], layer) / window.fs,
        gradient=slope,
        gradient_smoothed=smoothed,
        signal=window.signal.copy(),
        time=window.time,
        fs=window.fs,
        valid=window.valid.copy(),
        leads=window.leads,
        score=float(scores[p]),
        empty_score=float(part.scores[count, p]),
        lead_scores=part.scores[:count, p].cpu().numpy(),
        mask_shift=(1 - similarity).clamp(min=0).cpu().numpy(),
        meta=_meta(window, text, model, method, settings, warnings),
    )


def _meta(
    window: Window, text: str, model: EcgTextModel, method: Method, settings: Settings, warnings: list[str]
) -> dict[str, Any]:
    _, layer = model.layer(settings.layer)
    width = model.remember(("cell_width", settings.layer), lambda: cell_width(model, settings.layer))
    per_sample = 1000.0 / window.fs
    return {
        "format": FORMAT,
        "record": window.record.name,
        "text": text,
        "against": None,
        "method": method.name,
        "options": {},
        "layer": settings.layer or model.spec.layer,
        "mask": settings.mask or model.input.fill,
        "signed": method.signed,
        "model": model.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "derived_leads": list(window.record.derived),
        "absent_leads": [lead for lead in model.input.leads if lead not in window.leads],
        "cell_step_ms": layer.step * per_sample,
        "cell_width_ms": None if width is None else width * per_sample,
        "window": {"start": window.start, "seconds": window.signal.shape[1] / window.fs},
        "gradient": settings.gradient,
        "seed": settings.seed,
        "smoothing": {"smoother": settings.smoother, "ms": settings.smooth_ms, "signed": settings.signed_gradient},
        "warnings": warnings,
        "versions": {
            "ecgcam": __version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(),
        },
    }  # fmt: skip
