"""Test-time augmentation that keeps an ECG plausible: small shifts, mild changes of size, mild noise; never reversal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.cells import shift_cells
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.methods import method_named
from ecgcam.attribution.problem import Problem


def augmented(
    problem: Problem,
    alone: Tensor,
    around: str = "grad-cam",
    draws: int = 8,
    shift_ms: float = 20.0,
    gain: float = 0.1,
    noise: float = 0.1,
) -> Tensor:
    """Mean over draws of a CAM method's cells, each shifted back: pytorch-grad-cam's aug_smooth, with changes that suit an ECG.

    A draw moves the lead that is kept by at most `shift_ms`, scales it above its fill by 1 - gain to 1 + gain, and adds
    Gaussian noise of `noise` times its median absolute deviation from the fill. Draw 0 changes nothing.
    """
    function = method_named(around).bind({}, problem.seed)
    _, layer = problem.model.layer(problem.layer)
    rng = np.random.default_rng([problem.seed, 3])
    valid = problem.valid[problem.rows][:, None]
    excess = alone - problem.fill
    spread = excess[torch.arange(len(alone)), problem.rows].abs().median(dim=-1).values[:, None, None]
    kept = torch.zeros_like(alone)
    kept[torch.arange(len(alone)), problem.rows] = 1.0
    total: Tensor | None = None
    for draw in map(int, problem.chunks(draws, most=1)):
        reach = 0 if draw == 0 else round(float(rng.uniform(-shift_ms, shift_ms)) * problem.fs / 1000)
        size = 1.0 if draw == 0 else float(rng.uniform(1 - gain, 1 + gain))
        level = 0.0 if draw == 0 else noise
        hiss = torch.from_numpy(rng.standard_normal(alone.shape[-1], np.float32)).to(alone)
        moved = _shifted(excess * size, reach) + kept * valid * level * spread * hiss
        found = capture(problem.model, problem.fill + moved, problem.text[None], problem.layer, function).reduced[0]
        back = shift_cells(found, layer, reach)
        total = back if total is None else total + back
    if total is None:
        raise ValueError("at least one draw")
    return total / draws


def _shifted(x: Tensor, by: int) -> Tensor:
    """Move (..., T) by whole samples; what comes in at the edge is 0."""
    moved = torch.zeros_like(x)
    if by >= 0:
        moved[..., by:] = x[..., : x.shape[-1] - by]
    else:
        moved[..., :by] = x[..., -by:]
    return moved
