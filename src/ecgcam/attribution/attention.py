"""Attention methods: each lead-masked signal (R, L, T) to cells (R, K), none below zero.

A_b (R, H, N, N) is block b's attention after the softmax: heads, queries, keys; its rows sum to 1. The papers read the row
of a class token. Where a network reads the mean of its tokens instead, every query counts alike: the mean over queries. The
networks say where their attention is (`ecgcam.models.attends`); one that has none is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ecgcam.attribution.hooks import frozen, outputs_of
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError
from ecgcam.models.attends import PoolsByAttention, SelfAttends, SelfAttention

_INSTEAD = "choose another method, such as grad-cam or integrated-gradients"


def attention_rollout(problem: Problem, alone: Tensor) -> Tensor:
    """R = M_B ... M_1, M_b = (E_h[A_b] + I) / 2 with rows that sum to 1: Abnar and Zuidema 2020, section 3.

    Cells: the class token's row of R, or the mean of its rows. No prompt has a part in it.
    """
    where = _self_attention(problem, "attention-rollout")

    def rollout(part: Tensor) -> Tensor:
        with torch.no_grad():
            _, maps = outputs_of(problem.model, part, where.maps)
        R = _eye(maps[0])
        for A in maps:
            M = (A.mean(dim=1) + _eye(A)) / 2
            R = M / M.sum(dim=-1, keepdim=True) @ R
        return _read(R, where)

    return problem.remember("rollout", lambda: _in_parts(problem, alone, rollout))


def chefer(problem: Problem, alone: Tensor) -> Tensor:
    """R <- R + E_h[(G_b x A_b)^+] R from R = I, G_b = d score / d A_b: Chefer et al. 2021b, equations 5 and 6.

    Cells: the class token's row of R - I, or the mean of its rows. I, each token's relevance to itself, is the same for all
    cells and would hide the map behind a floor; to a class token's row it adds nothing.
    """
    where = _self_attention(problem, "chefer")

    def relevance(part: Tensor) -> Tensor:
        with torch.enable_grad():
            embeddings, maps = outputs_of(problem.model, part, where.maps)
            gradients = torch.autograd.grad((embeddings @ problem.text).sum(), maps)
        R = _eye(maps[0])
        for A, G in zip(maps, gradients, strict=True):
            R = R + (G * A.detach()).relu().mean(dim=1) @ R
        return _read(R - _eye(R), where)

    return _in_parts(problem, alone, relevance)


def legrad(problem: Problem, alone: Tensor) -> Tensor:
    """Mean over blocks, heads and queries of (d s_b / d A_b)^+: Bousselham et al. 2025, section 3.

    s_b is the score that block b's tokens have when they are read as the last block's are: mean, normalisation, projection.
    The paper reads a class token or an attention pooling; a mean of tokens takes its place in the same way. Its min-max to
    [0, 1] is left out, so that leads can be compared.
    """
    where = _self_attention(problem, "legrad")
    model = problem.model
    assert isinstance(model.network, SelfAttends)  # noqa: S101 - for mypy; `_self_attention` has refused others
    readout = model.network.readout

    def sensitivity(part: Tensor) -> Tensor:
        with torch.enable_grad():
            _, outputs = outputs_of(model, part, [*where.maps, *where.blocks])
            maps, blocks = outputs[: len(where.maps)], outputs[len(where.maps) :]
            scores = [(model.finish(readout(tokens)) @ problem.text).sum() for tokens in blocks]
            pairs = zip(scores, maps, strict=True)
            gradients = [torch.autograd.grad(score, A, retain_graph=True)[0] for score, A in pairs]
        keys = torch.stack([G.relu().mean(dim=(1, 2)) for G in gradients]).mean(dim=0)
        return keys[:, int(where.class_token) :]

    return _in_parts(problem, alone, sensitivity)


def attention_pool(problem: Problem, alone: Tensor) -> Tensor:
    """E_h[a_k], a the weights with which the pooling head's query gathers the cells: Radford et al. 2021, section 2.4.

    The weight that the query gives to its own token is left out. No prompt has a part in it.
    """
    network = problem.model.network
    if not isinstance(network, PoolsByAttention):
        raise EcgcamError(f"--method attention-pool: {problem.model.name} has no attention pooling; {_INSTEAD}")
    where = network.attention_pooling()
    _need_same_cells(problem, where.cells)

    def weights(part: Tensor) -> Tensor:
        with torch.no_grad():
            _, (a,) = outputs_of(problem.model, part, [where.weights])
        return a.flatten(1, -2).mean(dim=1)[:, where.skip :]

    return problem.remember("attention pool", lambda: _in_parts(problem, alone, weights))


def _self_attention(problem: Problem, method: str) -> SelfAttention:
    network = problem.model.network
    if not isinstance(network, SelfAttends):
        raise EcgcamError(f"--method {method}: {problem.model.name} has no blocks of self-attention; {_INSTEAD}")
    where = network.self_attention()
    _need_same_cells(problem, where.cells)
    return where


def _need_same_cells(problem: Problem, cells: str) -> None:
    """Attention has cells of its own; they are laid where the target layer's cells are, so the two must be the same."""
    path, layer = problem.model.spec.layer_named(problem.layer)
    _, own = problem.model.spec.layer_named(cells)
    if (layer.step, layer.offset) != (own.step, own.offset):
        raise EcgcamError(f"--layer {path}: the attention is over the cells of {cells}; leave --layer out")


def _in_parts(problem: Problem, alone: Tensor, cells: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `cells` to as many signals at a time as the caller allows."""
    with frozen(problem.model.network):
        return torch.cat([cells(part) for part in torch.split(alone, problem.batch)])


def _read(R: Tensor, where: SelfAttention) -> Tensor:
    """(R, N, N) to cells: the row of what the network reads."""
    return R[:, 0, 1:] if where.class_token else R.mean(dim=1)


def _eye(A: Tensor) -> Tensor:
    return torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
