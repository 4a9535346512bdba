"""The end of an explanation: scores, cells and gradients of the model laid on leads, samples and millivolts."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam._version import __version__
from ecgcam.attribution.cam import MEAN_GRADIENTS
from ecgcam.attribution.cells import cell_centres, upsample_to_samples
from ecgcam.attribution.hooks import cell_width
from ecgcam.attribution.registry import Method
from ecgcam.attribution.smoothing import smooth
from ecgcam.pipeline.preparation import Prepared
from ecgcam.pipeline.question import ScoreDirections
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.preprocessing import gradient_per_mv
from ecgcam.protocol.reference import KNOWN
from ecgcam.protocol.spec import InputSpec, LayerSpec
from ecgcam.records import Window
from ecgcam.records.record import FloatArray
from ecgcam.results.explanation import FORMAT, Explanation


@dataclass(frozen=True, eq=False)
class MethodOutput:
    """The output of a method for a window and a prompt: cells (R, K) and their layer, or values on samples (R, T); its notes."""

    cells: Tensor | None = None
    layer: LayerSpec | None = None
    values: Tensor | None = None
    report: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class WindowScores:
    """The scores and embeddings of one window's signals.

    Attributes
    ----------
    whole, empty, alone : Tensor, (P,), (P,), (R, P)
        Scores of the window, of it with every lead filled, of each lead alone.
    whole_embedding, alone_embeddings : Tensor, (D,), (R, D)
        Their joint embeddings.
    distance : float, optional
        Distance of the window from the recordings that the model was trained with, divided by the limit.
    """

    whole: Tensor
    empty: Tensor
    alone: Tensor
    whole_embedding: Tensor
    alone_embeddings: Tensor
    distance: float | None = None


def assemble(
    prepared: Prepared,
    question: ScoreDirections,
    prompt: int,
    answers: WindowScores,
    maps: MethodOutput,
    gradient: Tensor | None,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
) -> Explanation:
    """Lay the maps on samples, the gradient on millivolts, and add everything that a reader needs.

    `gradient` (leads, T) is in model space; `prompt` is the prompt's number.
    """
    window, text = prepared.window, question.prompts[prompt]
    shown, cells, centres = _lay(maps, prepared, method)
    slope, smoothed = _per_millivolt(gradient, prepared, model.input, settings)
    alone, whole = (
        model.comparable_embedding(answers.alone_embeddings),
        model.comparable_embedding(answers.whole_embedding),
    )
    similarity = torch.nn.functional.cosine_similarity(alone, whole[None], dim=1)
    prompts = [text, *(foil for foil in question.foils[prompt] if foil not in {"mean", "empty"})]
    about_prompts = [warning for words in prompts for warning in model.text.warnings(words)]
    warnings = [*window.record.notes, *window.warnings, *model.notes, *about_prompts, *maps.warnings]
    if answers.distance is not None and answers.distance > 1:
        # Without the number, so that the note is the same for many recordings and printed once.
        warnings.append(
            f"further from the reference recordings of {model.name} than {KNOWN * 100:g} % of others: "
            "its score of this recording may mean little"
        )
    if not shown.any():
        signed = "; map_cells holds the signed cells" if cells.any() else ""
        why = f"nothing {'changed' if method.signed else 'raised'} the score{signed}"
        if method.name in MEAN_GRADIENTS and not cells.any():
            why = (
                "the gradients cancel over the cells of this layer, as before a normalisation of each channel over time; "
                "choose another `layer`, or `method` hires-cam or layer-cam"
            )
        warnings.append(f"the map is zero everywhere: {why}")
    return Explanation(
        map=shown,
        map_cells=cells,
        cell_time=centres,
        gradient=slope,
        gradient_smoothed=smoothed,
        signal=window.signal.copy(),
        time=window.time,
        fs=window.fs,
        valid=window.valid.copy(),
        leads=window.leads,
        score=float(answers.whole[prompt]),
        empty_score=float(answers.empty[prompt]),
        lead_scores=answers.alone[:, prompt].cpu().numpy(),
        mask_shift=(1 - similarity).clamp(min=0).cpu().numpy(),
        meta=_meta(window, text, maps, model, method, settings, warnings)
        | {
            "against": list(question.foils[prompt]) or None,
            "score_parts": question.parts(prompt, answers.whole_embedding),
            "distance": answers.distance,
            "prompt_warnings": about_prompts,
        },
    )


def _lay(
    maps: MethodOutput, prepared: Prepared, method: Method
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.float64]]:
    """Return the map on samples (R, T), its cells before relu (R, K) and their centres (K,); K = 0 without cells."""
    window = prepared.window
    if maps.cells is not None and maps.layer is not None:
        cells = maps.cells.cpu().float().numpy()
        values = upsample_to_samples(
            cells if method.signed else np.maximum(cells, 0.0), maps.layer, window.signal.shape[1]
        )
        centres = window.time[0] + cell_centres(cells.shape[1], maps.layer) / window.fs
    elif maps.values is not None:
        values = maps.values.cpu().float().numpy()
        cells, centres = np.zeros((len(values), 0), np.float32), np.zeros(0)
    else:
        raise ValueError(f"{method.name} gave neither cells with their layer nor values")
    shown = values if method.signed else np.maximum(values, 0.0)
    return np.where(window.valid, shown, 0.0).astype(np.float32), cells, centres


def _per_millivolt(
    gradient: Tensor | None, prepared: Prepared, spec: InputSpec, settings: Settings
) -> tuple[FloatArray, FloatArray]:
    """Return d score / d mV of the window's leads (R, T), and it smoothed; (R, 0) without a gradient."""
    window = prepared.window
    if gradient is None:
        nothing = np.zeros((len(prepared.rows), 0), np.float32)
        return nothing, nothing
    per_mv = gradient_per_mv(gradient.cpu().float().numpy()[prepared.rows], prepared.scale[prepared.rows], spec)
    slope = np.where(window.valid, per_mv, 0.0).astype(np.float32)
    values = slope if settings.signed_gradient else np.abs(slope)
    return slope, smooth(values, window.valid, window.fs, settings.smooth_ms, settings.smoother)


def _meta(
    window: Window,
    text: str,
    maps: MethodOutput,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
    warnings: list[str],
) -> dict[str, Any]:
    paths = [path for path, _ in model.spec.layers_named(settings.layer)]
    per_sample = 1000.0 / window.fs
    step: float | None = None
    width: float | None = None
    if maps.layer is not None:
        step, width = maps.layer.step, _width(model, paths)
    return {
        "format": FORMAT,
        "record": window.record.name,
        "text": text,
        "method": method.name,
        "options": method.complete(settings.options),
        "report": maps.report,
        "layer": ",".join(paths) if maps.layer is not None or "activations" in method.needs else None,
        "mask": settings.mask or model.input.fill,
        "signed": method.signed,
        "model": model.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "precision": model.precision,
        "derived_leads": list(window.record.derived),
        "absent_leads": [lead for lead in model.input.leads if lead not in window.leads],
        "cell_step_ms": None if step is None else step * per_sample,
        "cell_width_ms": None if width is None else width * per_sample,
        "window": {
            "start": window.start,
            "seconds": window.signal.shape[1] / window.fs,
            "record_seconds": window.record.seconds,
        },
        "gradient": settings.gradient,
        "seed": settings.seed,
        "smoothing": {"smoother": settings.smoother, "ms": settings.smooth_ms, "signed": settings.signed_gradient},
        "warnings": warnings,
        "versions": {
            # As plain text: torch's own kind of it would bring torch into every process that takes an explanation.
            "ecgcam": __version__, "torch": str(torch.__version__), "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip


def _width(model: EcgTextModel, paths: list[str]) -> float | None:
    """Return how far a cell of the layers looks, in samples: as far as the one that looks furthest."""
    widths = [model.cached(("cell_width", path), partial(cell_width, model, path)) for path in paths]
    return max((width for width in widths if width is not None), default=None)
