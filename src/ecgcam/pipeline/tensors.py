"""Maps as tensors on the model's device, for people who train with them. No gradient passes through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.cells import upsample_to_samples
from ecgcam.attribution.problem import no_progress
from ecgcam.attribution.registry import Method
from ecgcam.errors import EcgcamError
from ecgcam.pipeline.assembly import MethodOutput, WindowScores
from ecgcam.pipeline.engine import Progress, run_windows
from ecgcam.pipeline.preparation import Prepared
from ecgcam.pipeline.question import ScoreDirections
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Window


@dataclass(frozen=True, eq=False)
class MapTensors:
    """Maps of N windows and P prompts over the model's L leads and T samples, on the model's device, without a graph.

    Attributes
    ----------
    maps : float Tensor, (N, P, L, T)
        As `Explanation.map`; 0 on padding and on leads that the recording lacks.
    cells : float Tensor, (N, P, L, K)
        Cells before relu; K is 0 for methods without cells.
    scores, empty_scores : float Tensor, (N, P)
        Scores of the windows, and of the windows with every lead filled.
    lead_scores : float Tensor, (N, P, L)
        Scores of each lead alone; NaN for leads that the recording lacks.
    valid : bool Tensor, (N, L, T)
        True where a sample is real.
    leads, texts : tuple of str
        Names along L and P.
    """

    maps: Tensor
    cells: Tensor
    scores: Tensor
    empty_scores: Tensor
    lead_scores: Tensor
    valid: Tensor
    leads: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _One:
    """One window and prompt."""

    map: Tensor
    cells: Tensor
    score: Tensor
    empty_score: Tensor
    lead_scores: Tensor
    valid: Tensor
    text: str


def explain_to_tensors(
    windows: Iterable[Window],
    texts: Sequence[str],
    model: EcgTextModel,
    settings: Settings,
    progress: Progress = no_progress,
) -> MapTensors:
    """Explain windows as `explain_windows` does, and keep maps and scores where the model computed them.

    Raises
    ------
    EcgcamError
        If there is no window.
    """
    keyed = ((None, window) for window in windows)
    found = [one for _, one in run_windows(keyed, texts, model, settings, _build, progress)]
    if not found:
        raise EcgcamError("`records`: none is given; give at least one")
    prompts = tuple(dict.fromkeys(one.text for one in found))
    count = len(prompts)

    def stacked(name: str) -> Tensor:
        values = torch.stack([getattr(one, name) for one in found])
        return values.reshape(len(found) // count, count, *values.shape[1:])

    return MapTensors(
        stacked("map"), stacked("cells"), stacked("score"), stacked("empty_score"), stacked("lead_scores"),
        stacked("valid")[:, 0], tuple(model.input.leads), prompts,
    )  # fmt: skip


def _build(
    prepared: Prepared,
    question: ScoreDirections,
    prompt: int,
    answers: WindowScores,
    maps: MethodOutput,
    gradient: Tensor | None,
    model: EcgTextModel,
    method: Method,
    settings: Settings,
) -> _One:
    """Lay cells on samples, and leads in the model's rows, without leaving the device."""
    del gradient, settings
    samples, device = prepared.x.shape[1], model.device
    if maps.cells is not None and maps.layer is not None:
        cells = maps.cells.detach().float()
        shown = cells if method.signed else cells.clamp(min=0)
        values = shown @ _laying(model, maps.layer, cells.shape[-1], samples)
    elif maps.values is not None:
        values = maps.values.detach().float()
        values = values if method.signed else values.clamp(min=0)
        cells = values[:, :0]
    else:
        raise ValueError(f"{method.name} gave neither cells with their layer nor values")
    valid = torch.from_numpy(prepared.valid).to(device)
    leads = len(prepared.valid)

    def rows(of: Tensor, empty: float = 0.0) -> Tensor:
        whole = torch.full((leads, *of.shape[1:]), empty, dtype=of.dtype, device=device)
        whole[prepared.rows] = of.to(device)
        return whole

    alone = answers.alone[:, prompt].detach().float()
    return _One(
        map=rows(values) * valid,
        cells=rows(cells),
        score=answers.whole[prompt].detach().float(),
        empty_score=answers.empty[prompt].detach().float(),
        lead_scores=rows(alone, float("nan")),
        valid=valid,
        text=question.prompts[prompt],
    )


def _laying(model: EcgTextModel, layer: LayerSpec, cells: int, samples: int) -> Tensor:
    """Return the matrix (K, T) that lays cells on samples, as `upsample_to_samples` does: it is linear in the cells."""

    def make() -> Tensor:
        return torch.from_numpy(upsample_to_samples(np.eye(cells, dtype=np.float32), layer, samples)).to(model.device)

    return model.cached(("laying", layer.step, layer.offset, cells, samples), make)
