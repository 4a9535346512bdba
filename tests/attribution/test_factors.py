"""Deep feature factorization: parts known by hand, updates in loops and by scikit-learn, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import NMF
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.attribution.factors import deep_feature_factorization, factorized
from ecgcam.attribution.hooks import with_cells
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec


class UpAndDown(nn.Module):
    """Channels: what the leads add up to above 0, and below it; the embedding is their means."""

    def __init__(self, rectified: bool = True) -> None:
        super().__init__()
        self.features, self.rectified = nn.Identity(), rectified

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack([x.sum(dim=1), -x.sum(dim=1)], dim=1)
        return self.features(both.relu() if self.rectified else both).mean(-1)


def up_and_down(**how: bool) -> tuple[Problem, Tensor]:
    """Lead I: 2, 0, -4, 0; lead II: 0, -2, 0, 6; each of them alone."""
    model = toy_model(UpAndDown(**how), {"features": LayerSpec("BCT", 1.0, 0.0)}, samples=4)
    x = torch.tensor([[2.0, 0, -4, 0], [0, -2, 0, 6]])
    alone = torch.stack([x * torch.tensor([[1.0], [0]]), x * torch.tensor([[0.0], [1]])])
    valid = torch.ones(2, 4, dtype=torch.bool)
    return Problem(model, torch.tensor([1.0, 0.0]), x, 0 * x, valid, torch.ones(2, 1), [0, 1], 100.0), alone


def test_two_parts_on_paper() -> None:
    # Above 0: 2 at the first cell of I, 6 at the last of II. Below: 4 at the third of I, 2 at the second of II. No cell has both,
    # so that two factors hold all of it. At its highest in every cell, the first scores 6 for prompt 0 and nothing for 1.
    problem, alone = up_and_down()
    got = deep_feature_factorization(problem, alone, factors=2, steps=400)
    torch.testing.assert_close(got, torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 6]]), atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(problem.report["concept_scores"], [6, 0], atol=1e-3)
    assert problem.report["left_out"] < 1e-6
    second = deep_feature_factorization(problem, alone, factors=2, factor=2, steps=400)
    torch.testing.assert_close(second, torch.tensor([[0.0, 0, 4, 0], [0, 2, 0, 0]]), atol=1e-3, rtol=1e-3)
    other = replace(problem, text=torch.tensor([0.0, 1.0]), report={})
    torch.testing.assert_close(deep_feature_factorization(other, alone, factors=2, steps=400), second)
    np.testing.assert_allclose(other.report["concept_scores"], [4, 0], atol=1e-3)
    assert not problem.warnings


def test_negative_activations_are_taken_for_nothing_and_said() -> None:
    problem, alone = up_and_down(rectified=False)
    got = deep_feature_factorization(problem, alone, factors=2, steps=400)
    torch.testing.assert_close(got, torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 6]]), atol=1e-3, rtol=1e-3)
    assert problem.warnings == ["dff: 25% of the layer's activations are negative, and are taken for 0"]


def test_nothing_to_factorize_gives_nothing() -> None:
    problem, alone = up_and_down()
    got = deep_feature_factorization(replace(problem, x=0 * problem.x), 0 * alone)
    assert not got.any()
    assert torch.isfinite(got).all()


def start(X: Tensor, factors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    W, H = factorized(X, factors, 0, seed)
    return W.T.contiguous().numpy(), H.numpy()


def test_the_updates_are_those_of_lee_and_seung_in_loops() -> None:
    X = torch.rand(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    W, H = start(X, 3, seed=5)
    V = X.numpy()
    for _ in range(6):
        top, below = W.T @ V, W.T @ W @ H
        H = np.array([[H[a, m] * top[a, m] / below[a, m] for m in range(7)] for a in range(3)])
        top, below = V @ H.T, W @ H @ H.T
        W = np.array([[W[i, a] * top[i, a] / below[i, a] for a in range(3)] for i in range(4)])
    got_W, got_H = factorized(X, 3, 6, 5)
    np.testing.assert_allclose(got_W.T, W, rtol=1e-9)
    np.testing.assert_allclose(got_H, H, rtol=1e-9)


def test_the_same_as_scikit_learn() -> None:
    """From the same start, after as many updates; scikit-learn updates W first, so it gets the transpose."""
    X = torch.rand(6, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    W, H = start(X, 3, seed=0)
    theirs = NMF(3, init="custom", solver="mu", max_iter=50, tol=0)
    their_H = theirs.fit_transform(X.T.contiguous().numpy(), W=np.ascontiguousarray(H.T), H=np.ascontiguousarray(W.T))
    got_W, got_H = factorized(X, 3, 50, 0)
    np.testing.assert_allclose(got_H, their_H.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got_W, theirs.components_, rtol=1e-4, atol=1e-6)


def test_more_updates_leave_less_out() -> None:
    X = torch.rand(6, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    left = [float((X - W.T @ H).norm()) for W, H in (factorized(X, 3, steps, 0) for steps in (0, 1, 5, 25, 125))]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.7 * left[0]


def test_a_factor_that_is_not_there_is_refused() -> None:
    problem, alone = up_and_down()
    with pytest.raises(EcgcamError, match="factor=3: there are 2 factors; give 1 to 2"):
        deep_feature_factorization(problem, alone, factors=2, factor=3)


class Tokens(nn.Module):
    """Tokens (N, B, 2) or (B, N, 2): a class token 100, then each sample of two leads and minus it; all are summed."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layer, self.layout = nn.Identity(), layout

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        tokens = torch.cat([torch.full((len(x), 1, 2), 100.0), torch.stack([flat, -flat], dim=-1)], dim=1)
        out = self.layer(tokens.transpose(0, 1)).transpose(0, 1) if self.layout == "TBC" else self.layer(tokens)
        return out.sum(dim=1)


def tokens(layout: str) -> EcgTextModel:
    return toy_model(Tokens(layout), {"layer": LayerSpec(layout, 1.0, 0.0, n_prefix_tokens=1, leads=2)}, samples=4)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["BTC", "TBC"])
def test_concepts_fill_every_cell_and_nothing_else(layout: str) -> None:
    model = tokens(layout)
    got = with_cells(model, torch.ones(1, 2, 4), torch.tensor([[1.0, 2.0], [0.0, -3.0], [5.0, 0.0]]))
    torch.testing.assert_close(got, torch.tensor([[108.0, 116.0], [100.0, 76.0], [140.0, 100.0]]))
    assert not any(module._forward_hooks for module in model.network.modules())
