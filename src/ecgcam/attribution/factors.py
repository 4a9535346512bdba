"""Deep feature factorization: the cells of all leads as sums of a few concepts, of which the prompt selects one."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcam.attribution.hooks import with_cells
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.rerun import activations
from ecgcam.errors import EcgcamError


def deep_feature_factorization(
    problem: Problem, alone: Tensor, factors: int = 8, factor: int | None = None, steps: int = 200
) -> Tensor:
    """|W_j| H_jk, j the concept that scores highest, relu(A) ~ W H over the cells of all leads: Collins et al. 2018, section 3.

    A concept's score is the model's for a layer output that holds W_j max_k H_jk at every cell; `factor` takes the one of that
    rank instead. The scores, and the share of |relu(A)|^2 that W H leaves out, are in the report.
    """
    if factor is not None and factor > factors:
        raise EcgcamError(
            f"`options` factor={factor}: there are {factors} factors; give 1 to {factors}, or a larger factors"
        )
    A = activations(problem, alone)
    X = A.relu().transpose(0, 1).flatten(1).double()
    both = problem.cached("factors", lambda: torch.cat(factorized(X, factors, steps, problem.seed), dim=1))
    W, H = both[:, : len(X)].T, both[:, len(X) :]
    concepts = problem.cached(
        "concepts", lambda: with_cells(problem.model, problem.fill[None], (W * H.amax(dim=1)).T, problem.layer)
    )
    scores, order = (concepts @ problem.text).sort(descending=True, stable=True)
    chosen = order[0 if factor is None else factor - 1]
    left = float((X - W @ H).square().sum() / X.square().sum().clamp(min=1e-30))
    problem.report.update(concept_scores=scores.tolist(), left_out=left)
    below = float((A < 0).double().mean())
    if below > 0.01:
        problem.warnings.append(f"dff: {below:.0%} of the layer's activations are negative, and are taken for 0")
    cells: Tensor = W[:, chosen].norm() * H[chosen]
    return cells.view(len(A), -1).to(A)


def factorized(X: Tensor, factors: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return W' (r, C) and H (r, N), none below zero, with X (C, N) ~ W H: the multiplicative updates of Lee and Seung 2001.

    They start from numbers drawn with `seed`, scaled so that W H is as large as X on average.
    """
    draw = torch.Generator().manual_seed(seed)
    size = (X.mean() / factors).sqrt() * 2
    W, H = (
        (size.cpu() * torch.rand(shape, generator=draw, dtype=X.dtype)).to(X.device)
        for shape in ((len(X), factors), (factors, X.shape[1]))
    )
    least = torch.finfo(X.dtype).tiny
    for _ in range(steps):
        H = H * (W.T @ X) / (W.T @ W @ H).clamp(min=least)
        W = W * (X @ H.T) / (W @ (H @ H.T)).clamp(min=least)
    return W.T, H
