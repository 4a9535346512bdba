"""CAM by running the model again: each lead-masked signal (R, L, T) to cells (R, K) before relu.

The weight of a channel is the score of a changed signal or of a changed layer, not a gradient at one point (except for
Smooth Grad-CAM++ and layer integrated gradients, which average gradients). A (R, C, K) are the activations of the target
layer for the signals that keep one lead each; U lays them on samples; s is min-max to [0, 1] over the lead's valid samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ecgcam.attribution.cells import select_lead, upsample_to_samples
from ecgcam.attribution.hooks import (
    activations_of,
    capture,
    curvature,
    gradients_along_path,
    unnormalised_gradients,
    without_channel,
)
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError

# Scores nearer to zero than this do not measure a drop.
_SMALL = 1e-6

# A mask (m, T), and which lead, channel and draw each of its rows is for, (m,) each, to the mask that is used.
_Change = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def shapley_cam(problem: Problem, alone: Tensor) -> Tensor:
    """sum_c w_c A_ck, w_c = mean_k (G - H A / 2)_ck, H the Hessian of the score at the layer: Cai 2025 (ShapleyCAM).

    H A is one more backward pass, along A: H itself is never formed. Class tokens and separators are part of A there.
    """
    parts = torch.split(alone, problem.batch)
    slopes = [curvature(problem.model, part, problem.text, problem.layer) for part in parts]
    return torch.cat([_combined((G - HA / 2).mean(dim=-1), A) for A, G, HA in slopes])


def layer_integrated_gradients(problem: Problem, alone: Tensor, steps: int = 8) -> Tensor:
    """sum_c (A - A_fill)_ck int_0^1 G_ck(A_fill + a (A - A_fill)) da: Sundararajan et al. 2017, equation 1, from the layer on.

    A_fill are the layer's activations for the empty signal. By Gauss-Legendre quadrature. A lead's cells sum to its gain, the
    score of the lead alone over that of the empty signal, up to the quadrature and to cells without a place in time;
    how far they are off at most is in the report.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    cells = []
    for part in torch.split(alone, problem.batch):
        way, slopes = gradients_along_path(
            problem.model,
            part,
            problem.fill[None],
            problem.text,
            ((nodes + 1) / 2).tolist(),
            problem.layer,
            problem.backward_batch,
        )
        mean = torch.tensordot(torch.from_numpy(weights / 2).to(slopes), slopes, dims=1)
        cells.append((way * mean).sum(dim=1))
    signals = torch.cat([alone, problem.fill[None]])
    scores = problem.scores_of("leads alone", len(signals), lambda numbers: signals[numbers])
    error = (torch.cat(cells).sum(dim=1) - (scores[:-1] - scores[-1])).abs().max()
    problem.report["completeness_error"] = float(error)
    return torch.cat(cells)


def class_activation(problem: Problem, alone: Tensor) -> Tensor:
    """sum_c w_c A_ck, w the weights of a linear head on the mean over cells: Zhou et al. 2016, equation 2.

    The score before L2 is then b + mean_k sum_c w_c A_ck. Of a cosine, w and b are over the length of the signal's embedding, so
    that the mean of the cells and b make the score. Whether the head is linear is tried: over the lead-masked signals, the
    empty one and noise, w must be the same at every cell.
    """
    drawn = torch.randn(alone[:2].shape, generator=torch.Generator().manual_seed(0)).to(alone)
    tried = torch.cat([alone, problem.fill[None], drawn])
    slopes = [
        unnormalised_gradients(problem.model, part, problem.text, problem.layer)
        for part in torch.split(tried, problem.batch)
    ]
    A, G, length = (torch.cat(part) for part in zip(*slopes, strict=True))
    weights = G[0, :, :1]
    if not torch.allclose(G, weights.expand_as(G), rtol=1e-3, atol=1e-4 * float(weights.abs().max())):
        raise EcgcamError(
            f"`method` cam: defined only where a linear head reads the mean of the layer's cells, and "
            f"{problem.model.name} does more than that after {problem.layer or problem.model.spec.layer}; use "
            "grad-cam, which needs no such head"
        )
    if problem.model.spec.similarity != "cosine":
        length = torch.ones_like(length)
    count = len(alone)
    return _combined(weights[None, :, 0] * A.shape[-1] / length[:count, None], A[:count])


def score_cam(problem: Problem, alone: Tensor, weights: str = "softmax") -> Tensor:
    """sum_c w_c A_c, w = softmax_c(score(fill + s(U(A_c)) (x - fill)) - score(fill)): Wang et al. 2020, algorithm 1.

    ``weights=increase`` leaves the softmax out, as the paper's definition of the map does.
    """
    A = activations(problem, alone)
    gain = _increase(problem, alone, A, 1, lambda mask, _lead, _channel, _draw: mask)
    return _weighted(gain, A, weights)


def ss_cam(problem: Problem, alone: Tensor, weights: str = "softmax", draws: int = 10, noise: float = 0.3) -> Tensor:
    """As Score-CAM, the increase averaged over masks s(U(A_c)) + n, n ~ N(0, noise^2) a sample: Wang et al. 2020b, SS-CAM(1)."""
    A = activations(problem, alone)
    samples = alone.shape[-1]

    def noisy(mask: Tensor, lead: Tensor, channel: Tensor, draw: Tensor) -> Tensor:
        # Every mask has its own stream, so that neither chunks nor other leads change it.
        seeds = zip(lead.tolist(), channel.tolist(), draw.tolist(), strict=True)
        rows = [
            np.random.default_rng([problem.seed, problem.rows[i], c, d]).standard_normal(samples, np.float32)
            for i, c, d in seeds
        ]
        return mask + noise * torch.from_numpy(np.stack(rows)).to(mask)

    return _weighted(_increase(problem, alone, A, draws, noisy), A, weights)


def is_cam(problem: Problem, alone: Tensor, weights: str = "softmax", steps: int = 10) -> Tensor:
    """As Score-CAM, the increase averaged over masks (i / N) s(U(A_c)), i = 1..N: Naidu et al. 2020, along the straight path."""
    A = activations(problem, alone)
    share = torch.arange(1, steps + 1, dtype=A.dtype) / steps
    return _weighted(_increase(problem, alone, A, steps, _scaled(share)), A, weights)


def ablation_cam(problem: Problem, alone: Tensor) -> Tensor:
    """sum_c (y - y_c) / |y| A_c, y_c the score with channel c of A at zero: Desai and Ramaswamy 2020, section 3.

    The paper divides by y, in place of a norm and with y > 0 in mind. A similarity can be negative, and then y would turn
    every channel's sign around; where |y| < 1e-6 it measures nothing, and 1e-6 stands in (see `report`).
    """
    A = activations(problem, alone)
    y = problem.scores_of("alone", len(alone), lambda numbers: alone[numbers])
    channels = torch.split(torch.arange(A.shape[1], device=A.device), problem.batch)
    runs = [(lead, some) for lead in range(len(alone)) for some in channels]

    def without() -> Tensor:
        parts = [
            without_channel(problem.model, alone[lead : lead + 1], some, problem.layer)
            for lead, some in (runs[int(number)] for number in problem.chunks(len(runs), most=1))
        ]
        return torch.cat(parts).view(len(alone), A.shape[1], -1)

    drop = y[:, None] - problem.cached("without", without) @ problem.text
    small = y.abs() < _SMALL
    if small.any():
        names = [problem.model.input.leads[row] for row in problem.rows]
        problem.report["score_near_zero"] = [name for name, is_small in zip(names, small, strict=True) if is_small]
    return _combined(drop / y.abs().clamp(min=_SMALL)[:, None], A)


def smooth_grad_cam_pp(problem: Problem, alone: Tensor, draws: int = 16, noise: float = 0.5) -> Tensor:
    """sum_c w_c A_c, w_c = sum_k a_ck relu(D1_ck), a = D2 / (2 D2 + sum_j A_cj D3): Omeiza et al. 2019, section 3.

    D1, D2, D3 are the means of G, G^2 and G^3 over signals with white noise on the lead that is kept, of `noise` times the
    lead's robust spread (1.4826 x median absolute deviation). The paper prints D1 as the numerator of a; Grad-CAM++, which
    it averages, has D2.
    """
    A, leads = activations(problem, alone).double(), torch.arange(len(alone))
    sigma = noise * problem.spread()[problem.rows]
    draw_of = [np.random.default_rng([problem.seed, row]) for row in problem.rows]
    D = torch.zeros(3, *A.shape, dtype=A.dtype, device=A.device)
    for _ in problem.chunks(draws, most=1):
        noisy = alone.clone()
        white = np.stack([rng.standard_normal(alone.shape[-1], np.float32) for rng in draw_of])
        noisy[leads, problem.rows] += sigma * torch.from_numpy(white).to(alone) * problem.valid[problem.rows]
        G = capture(problem.model, noisy, problem.text[None], problem.layer).reduced[0].double()
        D += torch.stack([G, G**2, G**3]) / draws
    below = 2 * D[1] + A.sum(dim=-1, keepdim=True) * D[2]
    usable = below.abs() > 1e-6 * D[1]  # as in grad_cam_plus_plus
    alpha = torch.where(usable, D[1] / torch.where(usable, below, 1.0), 0.0)
    return _combined((alpha * D[0].relu()).sum(dim=-1), A).to(alone)


def activations(problem: Problem, alone: Tensor) -> Tensor:
    """Return A (R, C, K) of the lead-masked signals; run once, for all prompts."""
    parts = torch.split(alone, problem.batch)
    return problem.cached(
        "activations", lambda: torch.cat([activations_of(problem.model, part, problem.layer) for part in parts])
    )


def _increase(problem: Problem, alone: Tensor, A: Tensor, draws: int, change: _Change) -> Tensor:
    """Return score(fill + mask (x - fill)) - score(fill), (R, C), its mean over `draws` masks of each lead and channel."""
    _, where = problem.model.layer(problem.layer)
    count, channels, samples = len(alone), A.shape[1], alone.shape[-1]
    valid, rows = problem.valid[problem.rows], torch.tensor(problem.rows)

    def masked(numbers: Tensor) -> Tensor:
        lead, channel, draw = numbers // (channels * draws), numbers // draws % channels, numbers % draws
        cells = select_lead(A[lead, channel], where, rows[lead].tolist())
        laid = torch.from_numpy(upsample_to_samples(cells.cpu().numpy(), where, samples)).to(alone)
        mask = change(_unit(laid, valid[lead]), lead, channel, draw)
        return problem.fill + mask[:, None] * (alone[lead] - problem.fill)

    scores = problem.scores_of("masked", count * channels * draws, masked).view(count, channels, draws)
    return scores.mean(dim=-1) - problem.scores_of("empty", 1, lambda _: problem.fill[None])


def _unit(laid: Tensor, valid: Tensor) -> Tensor:
    """Min-max of each row (m, T) over its valid samples, to [0, 1] everywhere; 0 where a row is constant."""
    low = laid.masked_fill(~valid, torch.inf).amin(dim=-1, keepdim=True)
    span = laid.masked_fill(~valid, -torch.inf).amax(dim=-1, keepdim=True) - low
    flat = ~(span > 0)
    return torch.where(flat, 0.0, (laid - low) / torch.where(flat, 1.0, span)).clamp(0.0, 1.0)


def _scaled(share: Tensor) -> _Change:
    """Masks times `share` of their draw, (draws,)."""
    return lambda mask, _lead, _channel, draw: share[draw].to(mask)[:, None] * mask


def _weighted(gain: Tensor, A: Tensor, weights: str) -> Tensor:
    return _combined(gain.softmax(dim=-1) if weights == "softmax" else gain, A)


def _combined(weights: Tensor, A: Tensor) -> Tensor:
    return (weights[..., None] * A).sum(dim=1)
