"""Attention methods: each lead-masked signal (R, L, T) to cells (R, K), none below zero.

A_b (R, H, N, N) is block b's attention after the softmax: heads, queries, keys; its rows sum to 1. The papers read the row
of a class token. Where a network reads the mean of its tokens instead, every query has the same weight: the mean over
queries. A family states where its attention is (`ecgcam.protocol.attention`); for an own network it is found
(`ecgcam.attribution.attention_maps`). A network without attention is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ecgcam.attribution.attention_maps import OwnAttention, own_attention
from ecgcam.attribution.hooks import outputs_of
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError
from ecgcam.protocol.attention import PoolsByAttention, SelfAttends, SelfAttention
from ecgcam.protocol.model import EcgTextModel, ScoresPrompts

_INSTEAD = "choose another method, such as grad-cam or integrated-gradients"


def attention_rollout(problem: Problem, alone: Tensor) -> Tensor:
    """R = M_B ... M_1, M_b = (E_h[A_b] + I) / 2 with rows that sum to 1: Abnar and Zuidema 2020, section 3.

    Cells: the class token's row of R, or the mean of its rows. The prompt does not enter.
    """
    where = _self_attention(problem, "attention-rollout")

    def rollout(part: Tensor) -> Tensor:
        with torch.no_grad():
            _, maps = where.run(part)
        R = _eye(maps[0])
        for A in maps:
            M = (A.mean(dim=1) + _eye(A)) / 2
            R = M / M.sum(dim=-1, keepdim=True) @ R
        return where.read(R)

    return problem.cached("rollout", lambda: _in_parts(problem, alone, rollout))


def chefer(problem: Problem, alone: Tensor) -> Tensor:
    """R <- R + E_h[(G_b x A_b)^+] R from R = I, G_b = d score / d A_b: Chefer et al. 2021b, equations 5 and 6.

    Cells: the class token's row of R - I, or the mean of its rows. I, each token's relevance to itself, is the same for all
    cells and would hide the map behind a floor; to a class token's row it adds nothing.
    """
    where = _self_attention(problem, "chefer")

    def relevance(part: Tensor) -> Tensor:
        with torch.enable_grad():
            embeddings, maps = where.run(part)
            gradients = torch.autograd.grad((embeddings @ problem.text).sum(), maps)
        R = _eye(maps[0])
        for A, G in zip(maps, gradients, strict=True):
            R = R + (G * A.detach()).relu().mean(dim=1) @ R
        return where.read(R - _eye(R))

    return _in_parts(problem, alone, relevance)


def legrad(problem: Problem, alone: Tensor) -> Tensor:
    """Mean over blocks, heads and queries of (d s_b / d A_b)^+: Bousselham et al. 2025, section 3.

    s_b is the score that block b's tokens have when they are read as the last block's are: mean, normalisation, projection.
    The paper reads a class token or an attention pooling; a mean of tokens takes its place in the same way. Its min-max to
    [0, 1] is left out, so that leads can be compared.
    """
    where = _self_attention(problem, "legrad")
    if not where.blocks:
        raise EcgcamError(
            "`method` legrad: the blocks around the attention are not known; declare the `block` of each (`ecgcam "
            "docs own-model`), or "
            f"{_INSTEAD}"
        )

    def sensitivity(part: Tensor) -> Tensor:
        with torch.enable_grad():
            maps, scores = where.scores(part, problem.text)
            pairs = zip(scores, maps, strict=True)
            gradients = [torch.autograd.grad(score, A, retain_graph=True)[0] for score, A in pairs]
        return where.keys(torch.stack([G.relu().mean(dim=(1, 2)) for G in gradients]).mean(dim=0))

    return _in_parts(problem, alone, sensitivity)


def attention_pool(problem: Problem, alone: Tensor) -> Tensor:
    """E_h[a_k], a the weights with which the pooling head's query gathers the cells: Radford et al. 2021, section 2.4.

    The weight that the query gives to its own token is left out. The prompt does not enter.
    """
    network = problem.model.network
    if isinstance(network, PoolsByAttention):
        pooling = network.attention_pooling()
        _need_same_cells(problem, pooling.cells)

        def weights(part: Tensor) -> Tensor:
            with torch.no_grad():
                _, (a,) = outputs_of(problem.model, part, [pooling.weights])
            return a.flatten(1, -2).mean(dim=1)[:, pooling.n_prefix_tokens :]

        return problem.cached("attention pool", lambda: _in_parts(problem, alone, weights))
    where = _found(problem, "pool", "attention-pool")
    if where is None:
        raise EcgcamError(f"`method` attention-pool: {problem.model.name} has no attention pooling; {_INSTEAD}")

    def gathered(part: Tensor) -> Tensor:
        with torch.no_grad():
            _, maps = where.run(part)
        return where.keys(torch.stack([a.mean(dim=(1, 2)) for a in maps]).mean(dim=0))

    if isinstance(network, ScoresPrompts):  # each prompt has queries of its own
        return _in_parts(problem, alone, gathered)
    return problem.cached("attention pool", lambda: _in_parts(problem, alone, gathered))


@dataclass(frozen=True)
class _Stated:
    """Self-attention as a family states it, in the form of `OwnAttention`."""

    model: EcgTextModel
    network: SelfAttends
    where: SelfAttention

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.where.blocks

    def run(self, part: Tensor) -> tuple[Tensor, list[Tensor]]:
        return outputs_of(self.model, part, self.where.maps)

    def read(self, R: Tensor) -> Tensor:
        """(R, N, N) to cells: the row of what the network reads."""
        return R[:, 0, 1:] if self.where.class_token else R.mean(dim=1)

    def keys(self, weights: Tensor) -> Tensor:
        return weights[:, int(self.where.class_token) :]

    def scores(self, part: Tensor, text: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return each block's attention, and the score that its tokens have when they are read as the last block's are."""
        _, outputs = outputs_of(self.model, part, [*self.where.maps, *self.where.blocks])
        maps, blocks = outputs[: len(self.where.maps)], outputs[len(self.where.maps) :]
        return maps, [(self.model.to_joint_space(self.network.readout(tokens)) @ text).sum() for tokens in blocks]


def _self_attention(problem: Problem, method: str) -> _Stated | OwnAttention:
    network = problem.model.network
    if isinstance(network, SelfAttends):
        stated = network.self_attention()
        _need_same_cells(problem, stated.cells)
        return _Stated(problem.model, network, stated)
    found = _found(problem, "self", method)
    if found is None:
        raise EcgcamError(f"`method` {method}: {problem.model.name} has no blocks of self-attention; {_INSTEAD}")
    return found


def _found(problem: Problem, kind: str, method: str) -> OwnAttention | None:
    model, layer = problem.model, problem.layer
    with model.asking(problem.text):
        if isinstance(model.network, ScoresPrompts):  # how many tokens there are depends on the prompt
            return own_attention(model, layer, kind, method)
        return model.cached(("attention", layer, kind), lambda: own_attention(model, layer, kind, method))


def _need_same_cells(problem: Problem, cells: str) -> None:
    """Attention has its own cells. They are placed where the target layer's cells are, so both must have the same cells."""
    path, layer = problem.model.spec.layer_named(problem.layer)
    _, own = problem.model.spec.layer_named(cells)
    if (layer.step, layer.offset) != (own.step, own.offset):
        raise EcgcamError(f"`layer` {path}: the attention is over the cells of {cells}; leave `layer` out")


def _in_parts(problem: Problem, alone: Tensor, cells: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `cells` to as many signals at a time as the caller allows."""
    with problem.model.asking(problem.text):
        return torch.cat([cells(part) for part in torch.split(alone, problem.batch)])


def _eye(A: Tensor) -> Tensor:
    return torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
