"""DeepLIFT by the rescale rule, for any network that torch runs."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcam.attribution.problem import Problem
from ecgcam.attribution.rules import RescaleRule
from ecgcam.attribution.taps import grad
from ecgcam.errors import EcgcamError


def deep_lift(problem: Problem) -> Tensor:
    """(x - fill) m, m the multipliers of the rescale rule along the network: Shrikumar et al. 2017, section 3.5.1.

    The values sum to score(x) - score(fill), also for a cosine, with the multipliers of `_multipliers`. How far the sum
    is off is in the report. Functions without a rule in the paper: see `ecgcam.attribution.rules.RescaleRule`.
    """
    model, rule = problem.model, RescaleRule()
    with model.asking(problem.text), torch.enable_grad():
        with rule:
            fill = model.embed(problem.fill[None].clone().requires_grad_().clone())
        rule.recording = False
        leaf = problem.x[None].clone().requires_grad_()
        with rule:
            embedding = model.embed(leaf.clone())
        if not embedding.requires_grad:
            raise EcgcamError(
                f"{model.name}: turns gradients off (torch.no_grad) before the embedding; use `method` occlusion"
            )
        start = _multipliers(problem, embedding[0].detach(), fill[0].detach())
        (multipliers,) = grad((embedding[0] * start).sum(), leaf, model)
    values = (problem.x - problem.fill) * multipliers[0]
    whole, empty = problem.scores(torch.stack([problem.x, problem.fill]))
    problem.report_sum(values, whole - empty, "a function of this network has no multiplier that adds up")
    return values


def _multipliers(problem: Problem, e: Tensor, f: Tensor) -> Tensor:
    """Return m (D,) with (e - f) . m = t . e / |e| - t . f / |f|; t if the score is not a cosine.

    The rescale rule for square, root and reciprocal; of a product's change each factor gets its own, at the other's mean.
    """
    if problem.model.spec.similarity != "cosine":
        return problem.text
    t, both = problem.text, e + f
    long, short = torch.linalg.vector_norm(e), torch.linalg.vector_norm(f)
    begin: Tensor = t * (1 / long + 1 / short) / 2 - both * (t @ both) / (2 * long * short * (long + short))
    return begin
