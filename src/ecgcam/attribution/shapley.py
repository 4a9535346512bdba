"""Leads as players: each lead's fair share of what the signal scores over the empty signal."""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError

# Up to here all 2^n sets of leads are run.
EXACT = 8

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def lead_shapley(problem: Problem, permutations: int = 128) -> Tensor:
    """phi_l = mean over orders of v(leads up to l) - v(leads before l): Shapley 1953; sampled as Castro et al. 2009.

    v(S) is the score with the leads of S as they are and the others filled, so the values sum to score(x) - score(fill).
    Up to 8 leads all sets are run; beyond that, `permutations` random orders in pairs of an order and its reverse
    (Mitchell et al. 2022). The standard error, from the spread between pairs, is in the report.

    Returns
    -------
    Tensor, (L, T)
        Score per second: each lead's value spread evenly over its valid samples, so that a row's sum / fs is the value.
    """
    players = len(problem.rows)
    exact = players <= EXACT
    sets = np.arange(2**players)[None] if exact else _orders(players, permutations, problem.seed)
    codes, where = np.unique(sets, return_inverse=True)
    score = _scores_of_sets(problem, codes)
    values, error = (
        (exact_values(score, players), np.zeros(players)) if exact else _sampled(score[where.reshape(sets.shape)], sets)
    )
    leads = [problem.model.input.leads[row] for row in problem.rows]
    problem.report.update(
        values=dict(zip(leads, values.tolist(), strict=True)),
        standard_error=dict(zip(leads, error.tolist(), strict=True)),
        exact=exact,
        sets_run=len(codes),
    )
    valid = problem.valid[problem.rows]
    density = torch.from_numpy(values).to(problem.x)[:, None] * problem.fs / valid.sum(dim=1, keepdim=True).clamp(min=1)
    spread = torch.zeros_like(problem.x)
    spread[problem.rows] = density * valid
    return spread


def _scores_of_sets(problem: Problem, codes: _Ints) -> _Floats:
    """Return v of each set of leads; bit i of a set's number is 1 if lead i of `rows` is in it."""
    bits = torch.from_numpy(codes[:, None] >> np.arange(len(problem.rows)) & 1).bool()

    def signals(numbers: Tensor) -> Tensor:
        kept = torch.zeros(len(numbers), len(problem.x), 1, dtype=torch.bool)
        kept[:, problem.rows, 0] = bits[numbers]
        return torch.where(kept.to(problem.x.device), problem.x, problem.fill)

    score: _Floats = problem.scores_of("sets of leads", len(codes), signals).cpu().double().numpy()
    return score


def exact_values(score: _Floats, players: int) -> _Floats:
    """Return the sum over sets S without l of |S|! (n - |S| - 1)! / n! (v(S + l) - v(S)) for each player l, (n,).

    `score` is v of all 2^n sets, in the order of their numbers, whose bit l is 1 if player l is in the set.
    """
    sets = np.arange(2**players)
    size = np.array([int(code).bit_count() for code in sets])
    weight = np.array([1 / (players * comb(players - 1, k)) for k in range(players)])
    values = np.zeros(players)
    for player in range(players):
        before = sets[(sets >> player & 1) == 0]
        values[player] = (weight[size[before]] * (score[before | 1 << player] - score[before])).sum()
    return values


def _orders(players: int, permutations: int, seed: int) -> _Ints:
    """Return the growing sets along each order, (permutations, n + 1); an order and its reverse stand next to each other."""
    if permutations < 4 or permutations % 2:
        raise EcgcamError(
            f"`options` permutations={permutations}: orders are drawn in pairs, and the standard error needs two "
            "pairs; give an even number of 4 or more"
        )
    draw = np.random.default_rng(seed)
    forward = np.stack([draw.permutation(players) for _ in range(permutations // 2)])
    orders = np.stack([forward, forward[:, ::-1]], axis=1).reshape(permutations, players)
    grown = np.cumsum(1 << orders, axis=1)
    return np.concatenate([np.zeros((permutations, 1), grown.dtype), grown], axis=1)


def _sampled(score: _Floats, sets: _Ints) -> tuple[_Floats, _Floats]:
    """Mean gain of each lead over orders, and the standard error of the mean of pairs."""
    gain = np.empty((len(sets), sets.shape[1] - 1))
    joined = np.log2(np.diff(sets, axis=1)).astype(int)
    np.put_along_axis(gain, joined, np.diff(score, axis=1), axis=1)
    pairs = gain.reshape(-1, 2, gain.shape[1]).mean(axis=1)
    return pairs.mean(axis=0), pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
