"""DeepLIFT: multipliers by hand, sums that add up whatever the network is written with, and captum where captum is right."""

from __future__ import annotations

import warnings

import pytest
import torch
from captum.attr import DeepLift
from tests.toys import toy_model
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ecgcam.attribution.deeplift import deep_lift
from ecgcam.attribution.problem import Problem
from ecgcam.protocol.spec import LayerSpec


class Net(nn.Module):
    """Two leads of 16 samples to two numbers; `how` names what lies between."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.how = how
        self.first, self.second = nn.Conv1d(2, 6, 5, padding=2), nn.Conv1d(6, 6, 3, padding=1)
        self.relu, self.again, self.pool = nn.ReLU(inplace=how == "in place"), nn.ReLU(), nn.MaxPool1d(2)
        self.bn, self.norm = nn.BatchNorm1d(6), nn.LayerNorm(6)
        self.attend, self.rnn = nn.MultiheadAttention(6, 2, batch_first=True), nn.LSTM(6, 3, bidirectional=True)
        self.head = nn.Linear(6, 2)
        with torch.no_grad():
            self.bn.running_mean.uniform_(-0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        f = self.first(x)
        if self.how in {"modules", "in place"}:
            f = self.again(self.second(self.relu(f)))
        elif self.how == "functions":
            f = F.relu(self.second(torch.relu(f)))
        elif self.how == "conv-pool-relu":
            f = self.again(self.second(self.relu(self.pool(f))))
        elif self.how == "relu-pool":
            f = self.second(self.pool(self.relu(f)))
        elif self.how == "pre-activation":
            f = f + self.second(self.relu(f))
        elif self.how == "shared input":  # the shortcut is read by a pooling and by a normalisation
            f = self.pool(f) + self.pool(self.second(self.relu(self.bn(f))))
        elif self.how == "one module twice":
            f = self.relu(self.second(self.relu(f)))
        elif self.how == "gate":
            f = f * torch.sigmoid(f.mean(-1, keepdim=True)) / (1 + self.second(f).abs())
        elif self.how == "global maximum":
            return self.head(f.max(dim=-1).values)
        elif self.how == "attention":
            tokens = self.norm(f.transpose(1, 2))
            f = (tokens + self.attend(tokens, tokens, tokens)[0]).transpose(1, 2)
        elif self.how == "tokens, time first":
            f = self.rnn(F.gelu(f.permute(2, 0, 1)))[0].permute(1, 2, 0)
        return self.head(f.mean(dim=-1))


KINDS = (
    "modules", "in place", "functions", "conv-pool-relu", "relu-pool", "pre-activation", "shared input", "one module twice",
    "gate", "global maximum", "attention", "tokens, time first",
)  # fmt: skip


def problem_of(network: nn.Module, similarity: str = "dot", fill: float = 0.1, width: int = 2) -> Problem:
    model = toy_model(network, {"first": LayerSpec("BCT", 1.0, 0.0)}, samples=16, similarity=similarity, width=width)
    x = 2 * torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(2, 16, dtype=torch.bool)
    text = torch.tensor([0.6, -0.8])
    return Problem(model, text, x, torch.full((2, 16), fill), valid, torch.ones(2, 1), [0, 1], 100.0)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("how", KINDS)
def test_the_sum_is_the_difference_of_scores(how: str, similarity: str) -> None:
    problem = problem_of(Net(how), similarity)
    values = deep_lift(problem)
    whole, empty = problem.scores(torch.stack([problem.x, problem.fill]))
    assert abs(whole - empty) > 1e-3
    # Averages along a line are of twelve points: attention and recurrent layers are not exact.
    torch.testing.assert_close(values.sum(), whole - empty, rtol=1e-4, atol=2e-6)
    assert not problem.warnings


@pytest.mark.parametrize("how", ["modules", "in place"])
def test_equal_to_captum_where_captum_is_right(how: str) -> None:
    problem = problem_of(Net(how))
    score = nn.Sequential(Net("modules"), nn.Linear(2, 1, bias=False)).eval()
    with torch.no_grad():
        score[1].weight.copy_(problem.text[None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = DeepLift(score).attribute(problem.x[None].clone().requires_grad_(), problem.fill[None], target=0)[0]
    torch.testing.assert_close(deep_lift(problem), wanted.detach(), rtol=1e-4, atol=1e-6)


def test_modules_and_functions_are_one_case() -> None:
    torch.testing.assert_close(deep_lift(problem_of(Net("functions"))), deep_lift(problem_of(Net("modules"))))


def test_a_maximum_by_hand() -> None:
    # max(a, b) of (3, 1) against (0, 2): the cross maximum is max(3, 2) = 3, so a gets 3 - 2 = 1 for its change of 3, and b,
    # the reference's maximum, gets 3 - 3 = 0.
    class Maximum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.pool = nn.Identity(), nn.MaxPool1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(self.first(x)).flatten(1)[:, :1]

    model = toy_model(Maximum(), {"first": LayerSpec("BCT", 1.0, 0.0)}, samples=2, leads=("I",), width=1)
    x, fill = torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, 2.0]])
    problem = Problem(model, torch.ones(1), x, fill, torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 1), [0], 100.0)
    torch.testing.assert_close(deep_lift(problem), torch.tensor([[1.0, 0.0]]))


def test_a_sum_that_misses_warns() -> None:
    class Steps(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.round(x).mean(dim=-1)

    problem = problem_of(Steps("modules"))
    deep_lift(problem)
    assert "the map sums to" in problem.warnings[0]
