"""Leads as players: games solved on paper, all orders walked in a loop, and a sampled error that holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.attribution import shapley
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.shapley import lead_shapley
from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import LayerSpec

LAYER = {"features": LayerSpec("BCT", 1.0, 0.0)}
NAMES = tuple(f"V{i}" for i in range(1, 13))


class Present(nn.Module):
    """Which leads are there (mean above 0), and a game of them."""

    def __init__(self, leads: int, rule: str) -> None:
        super().__init__()
        self.features, self.rule = nn.Identity(), rule
        self.register_buffer("pair", torch.randn(leads, leads, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        there = self.features(x).mean(-1)
        if self.rule == "and":
            score = there.prod(dim=1)
        elif self.rule == "sum":
            score = there @ torch.arange(1.0, there.shape[1] + 1)
        else:  # a game of pairs, bent
            score = torch.einsum("bi,ij,bj->b", there, self.pair, there).tanh() + there[:, 0]
        return score[:, None].expand(-1, 2)


def game(leads: int, rule: str, samples: int = 4, fs: float = 100.0) -> Problem:
    """x is 1 and the fill 0, so that a lead is there or not."""
    model = toy_model(Present(leads, rule), LAYER, leads=NAMES[:leads], samples=samples, fs=fs)
    x, valid = torch.ones(leads, samples), torch.ones(leads, samples, dtype=torch.bool)
    text = torch.tensor([1.0, 0.0])
    return Problem(model, text, x, torch.zeros_like(x), valid, torch.ones(leads, 1), list(range(leads)), fs)


def values(problem: Problem, got: Tensor) -> Tensor:
    """The map's meaning: a row's sum over samples / fs."""
    return got.sum(dim=1) / problem.fs


def test_two_leads_that_need_each_other_share_alike() -> None:
    # AND: either alone scores 0, both 1. Orders (1, 2) and (2, 1): the second to come gets all. Half each.
    problem = game(2, "and")
    got = lead_shapley(problem)
    torch.testing.assert_close(values(problem, got), torch.tensor([0.5, 0.5]))
    # Four samples at 100 Hz last 0.04 s: 0.5 / 0.04 s = 12.5 per second.
    torch.testing.assert_close(got, torch.full((2, 4), 12.5))
    assert problem.report == {
        "values": {"V1": 0.5, "V2": 0.5}, "standard_error": {"V1": 0.0, "V2": 0.0}, "exact": True, "sets_run": 4,
    }  # fmt: skip


def test_an_additive_model_gives_its_terms() -> None:
    problem = game(5, "sum")
    torch.testing.assert_close(values(problem, lead_shapley(problem)), torch.arange(1.0, 6.0))


def test_padding_and_absent_leads_get_nothing() -> None:
    problem = game(3, "sum")
    problem.valid[0, 2:] = False
    problem.x[1] = problem.fill[1]
    present = replace(problem, rows=[0, 2])
    got = lead_shapley(present)
    torch.testing.assert_close(got, torch.tensor([[50.0, 50, 0, 0], [0, 0, 0, 0], [75, 75, 75, 75]]))
    assert list(present.report["values"]) == ["V1", "V3"]


def test_exact_values_are_the_mean_over_all_orders() -> None:
    problem = game(5, "bent")

    def score(leads: tuple[int, ...]) -> float:
        signal = problem.fill.clone()
        signal[list(leads)] = problem.x[list(leads)]
        with torch.no_grad():
            return float(problem.model.encode_signal(signal[None])[0] @ problem.text)

    want, orders = np.zeros(5), list(permutations(range(5)))
    for order in orders:
        for place, lead in enumerate(order):
            want[lead] += (score(order[: place + 1]) - score(order[:place])) / len(orders)
    got = values(problem, lead_shapley(problem))
    torch.testing.assert_close(got, torch.from_numpy(want).float(), atol=1e-5, rtol=1e-5)
    assert got.sum() == pytest.approx(score((0, 1, 2, 3, 4)) - score(()), abs=1e-5)


@pytest.fixture(scope="module")
def exact() -> dict[str, float]:
    problem = game(10, "bent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapley, "EXACT", 10)
        lead_shapley(problem)
    assert problem.report["exact"]
    return problem.report["values"]


def test_sampled_values_lie_within_their_stated_error(exact: dict[str, float]) -> None:
    z = []
    for seed in range(8):
        problem = replace(game(10, "bent"), seed=seed)
        lead_shapley(problem, permutations=64)
        assert not problem.report["exact"]
        assert sum(problem.report["values"].values()) == pytest.approx(sum(exact.values()), abs=1e-5)
        for lead, value in problem.report["values"].items():
            error = problem.report["standard_error"][lead]
            assert error > 0
            z.append((value - exact[lead]) / error)
    # 80 estimates: a stated error that is right gives z a spread of 1.
    assert 0.7 < np.std(z) < 1.3
    assert np.abs(z).max() < 4.5


def test_seeds_repeat_and_batches_do_not_matter() -> None:
    problem = game(10, "bent")
    got = lead_shapley(problem, permutations=8)
    assert torch.equal(lead_shapley(replace(problem, shared={}, report={}), permutations=8), got)
    assert not torch.equal(lead_shapley(replace(problem, shared={}, report={}, seed=1), permutations=8), got)
    for batch in (1, 7):
        again = lead_shapley(replace(problem, shared={}, report={}, batch=batch), permutations=8)
        torch.testing.assert_close(again, got, atol=1e-5 * float(got.abs().max()), rtol=1e-5)


def test_prompts_of_one_window_share_its_passes() -> None:
    problem = game(10, "bent")
    first = lead_shapley(problem, permutations=8)
    other = replace(problem, text=torch.tensor([0.0, -2.0]), report={})
    torch.testing.assert_close(lead_shapley(other, permutations=8), -2 * first)


@pytest.mark.parametrize("count", [2, 7])
def test_orders_that_make_no_pairs_are_refused(count: int) -> None:
    with pytest.raises(EcgcamError, match=f"permutations={count}.*even number of 4 or more"):
        lead_shapley(game(9, "sum"), permutations=count)
