"""CAM by running the model: answers on paper, the papers' formulas in loops, and what must not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.attribution.cam import grad_cam_plus_plus
from ecgcam.attribution.hooks import activations_of, capture, without_channel
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.rerun import (
    ablation_cam,
    class_activation,
    is_cam,
    layer_integrated_gradients,
    score_cam,
    shapley_cam,
    smooth_grad_cam_pp,
    ss_cam,
)
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec

Method = Callable[..., Tensor]
SAMPLES = LayerSpec("BCT", 1.0, 0.0)
METHODS: list[tuple[Method, dict[str, Any]]] = [
    (score_cam, {}),
    (ss_cam, {"draws": 3, "noise": 0.2}),
    (is_cam, {"steps": 3}),
    (ablation_cam, {}),
    (smooth_grad_cam_pp, {"draws": 3, "noise": 0.5}),
    (shapley_cam, {}),
    (layer_integrated_gradients, {"steps": 3}),
]
# Whose prompts each have their own graph.
PROMPT_BY_PROMPT = (smooth_grad_cam_pp, shapley_cam, layer_integrated_gradients)
each_method = pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda value: getattr(value, "__name__", ""))


class Line(nn.Module):
    """Two channels of one lead, f0 = 2 x and f1 = -x. Embedding: their sums over time."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[[2.0]], [[-1.0]]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).sum(-1)


def line(text: tuple[float, float]) -> tuple[Problem, Tensor]:
    """x = (1, 3): A = ((2, 6), (-1, -3)), sums 8 and -4; the masks are (0, 1) and (1, 0)."""
    model = toy_model(Line(), {"features": SAMPLES}, leads=("I",), samples=2)
    x, valid = torch.tensor([[1.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool)
    problem = Problem(
        model, torch.tensor(text, dtype=torch.float32), x, torch.zeros(1, 2), valid, torch.ones(1, 1), [0], 100.0
    )
    return problem, x[None]


def test_score_cam_on_paper() -> None:
    # Masked signals (0, 3) and (1, 0) score 6 and 2 by f0. 6 (2, 6) + 2 (-1, -3) = (10, 30).
    torch.testing.assert_close(score_cam(*line((1, 0)), weights="increase"), torch.tensor([[10.0, 30.0]]))
    # softmax(6, 2) = (s, 1 - s), s = 1 / (1 + e^-4): s (2, 6) - (1 - s) (1, 3) = (3 s - 1) (1, 3).
    s = 1 / (1 + np.exp(-4.0))
    torch.testing.assert_close(score_cam(*line((1, 0))), torch.tensor([[3 * s - 1, 9 * s - 3]], dtype=torch.float32))


def test_the_score_of_the_empty_signal_counts() -> None:
    # Fill 1: x - fill = (0, 2). Masks leave (1, 3) and (1, 1): f0 8 and 4, less 4 for the empty signal.
    problem, alone = line((1, 0))
    filled = replace(problem, fill=torch.ones(1, 2), shared={})
    torch.testing.assert_close(score_cam(filled, alone, weights="increase"), torch.tensor([[8.0, 24.0]]))


def test_is_cam_on_paper() -> None:
    # The score is linear: masks at 1/2 and 1 give 3/4 of the increase.
    torch.testing.assert_close(is_cam(*line((1, 0)), weights="increase", steps=2), torch.tensor([[7.5, 22.5]]))


def test_ss_cam_without_noise_is_score_cam() -> None:
    torch.testing.assert_close(ss_cam(*line((1, 0)), noise=0.0, draws=2), score_cam(*line((1, 0))))


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ((1, 0), [2.0, 6.0]),  # y = 8, without f0 it is 0 (weight 1), without f1 8 (weight 0)
        ((1, 1), [5.0, 15.0]),  # y = 4, without f0 -4 (weight 2), without f1 8 (weight -1)
        ((-1, -1), [-5.0, -15.0]),  # y = -4: the paper's division by y would give (5, 15) for the opposite text
    ],
)
def test_ablation_cam_on_paper(text: tuple[float, float], cells: list[float]) -> None:
    torch.testing.assert_close(ablation_cam(*line(text)), torch.tensor([cells]))


def test_ablation_where_the_score_is_zero_is_reported() -> None:
    problem, alone = line((1, 2))  # 8 - 2 * 4
    cells = ablation_cam(problem, alone)
    assert torch.isfinite(cells).all()
    assert problem.report == {"score_near_zero": ["I"]}


def test_smooth_grad_cam_pp_on_paper() -> None:
    # The gradient is 1 at every cell, with and without noise: a = 1 / (2 + 8) = 0.1 for f0, 1 / (2 - 4) = -0.5 for f1;
    # two cells: weights 0.2 and -1. 0.2 (2, 6) - (-1, -3) = (1.4, 4.2).
    for noise in (0.0, 0.7):
        got = smooth_grad_cam_pp(*line((1, 1)), draws=2, noise=noise)
        torch.testing.assert_close(got, torch.tensor([[1.4, 4.2]]))


class Square(Line):
    """As Line, but the embedding is half the squared sums over time: d e_c / d f_ck = the sum S_c."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.features(x).sum(-1) ** 2


def test_shapley_cam_on_paper() -> None:
    # S = (8, -4) is the gradient; every entry of H within a channel is 1, so H A = S too: w = S - S / 2 = (4, -2).
    # Text (1, 1): 4 (2, 6) - 2 (-1, -3) = (10, 30).
    problem, alone = line((1, 1))
    square = toy_model(Square(), {"features": SAMPLES}, leads=("I",), samples=2)
    torch.testing.assert_close(shapley_cam(replace(problem, model=square), alone), torch.tensor([[10.0, 30.0]]))
    # Where the score is linear in A there is no curvature, and it is grad-cam: weights 1 and 1.
    torch.testing.assert_close(shapley_cam(problem, alone), torch.tensor([[1.0, 3.0]]))


def test_shapley_cam_is_the_gradient_less_half_the_whole_hessian_along_the_activations() -> None:
    problem, alone = small()
    model = problem.model
    got = shapley_cam(problem, alone)
    for i, signal in enumerate(alone):
        A = activations_of(model, signal[None])

        def score_of(layer: Tensor, x: Tensor = signal[None]) -> Tensor:
            handle = model.network.features.register_forward_hook(lambda *_: layer)
            try:
                return (model.encode_signal(x) @ problem.text).sum()
            finally:
                handle.remove()

        G = torch.autograd.functional.jacobian(score_of, A)[0]
        H = torch.autograd.functional.hessian(score_of, A).reshape(A.numel(), A.numel())
        w = (G - (H @ A.flatten()).reshape(G.shape) / 2).mean(dim=-1)
        torch.testing.assert_close(got[i], (w[:, None] * A[0]).sum(0), rtol=1e-4, atol=1e-6)


def test_layer_integrated_gradients_on_paper() -> None:
    # Half the squared sums S = (8, -4), from 0: on the way the gradient is a S, its mean S / 2. Text (1, 1):
    # 4 (2, 6) - 2 (-1, -3) = (10, 30), whose sum is the score (64 + 16) / 2.
    problem, alone = line((1, 1))
    square = toy_model(Square(), {"features": SAMPLES}, leads=("I",), samples=2)
    curved = replace(problem, model=square)
    for steps in (1, 4):
        got = layer_integrated_gradients(curved, alone, steps=steps)
        torch.testing.assert_close(got, torch.tensor([[10.0, 30.0]]))
    assert curved.report["completeness_error"] <= 1e-5
    # From a fill of 1, whose sums are (4, -2): mean gradients (6, -3), A - A_fill = ((0, 4), (0, -2)).
    filled = replace(curved, fill=torch.ones(1, 2), shared={})
    torch.testing.assert_close(layer_integrated_gradients(filled, alone), torch.tensor([[0.0, 30.0]]))


def test_layer_integrated_gradients_are_their_integral() -> None:
    """A Riemann sum over the way, the layer set by hand; each lead's cells sum to its gain."""
    problem, alone = small()
    model = problem.model
    got = layer_integrated_gradients(problem, alone, steps=12)
    A0 = activations_of(model, problem.fill[None])
    for i, signal in enumerate(alone):
        A, total = activations_of(model, signal[None]), torch.zeros_like(A0)
        for step in range(400):
            layer = (A0 + (step + 0.5) / 400 * (A - A0)).requires_grad_(True)
            handle = model.network.features.register_forward_hook(lambda *_, layer=layer: layer)
            score = (model.encode_signal(signal[None]) @ problem.text).sum()
            handle.remove()
            total += torch.autograd.grad(score, layer)[0] / 400
        torch.testing.assert_close(got[i], ((A - A0) * total)[0].sum(0), rtol=1e-3, atol=1e-5)
    scores = problem.scores(torch.cat([alone, problem.fill[None]]))
    torch.testing.assert_close(got.sum(dim=1), scores[:-1] - scores[-1], rtol=1e-3, atol=1e-5)


class Mean(Line):
    """A linear head on the mean over cells: e = M mean_k f + (0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean(-1) @ torch.tensor([[3.0, 0.0], [1.0, 2.0]]) + torch.tensor([0.0, 1.0])


def test_cam_on_paper() -> None:
    # f means (4, -2): e = (12 - 2, -4 + 1) = (10, -3). Text (1, 0): w = (3, 1), cells 3 (2, 6) + (-1, -3) = (5, 15), mean 10.
    problem, alone = line((1, 0))
    model = toy_model(Mean(), {"features": SAMPLES}, leads=("I",), samples=2)
    torch.testing.assert_close(class_activation(replace(problem, model=model), alone), torch.tensor([[5.0, 15.0]]))
    # Of a cosine, all over the length of e.
    cosine = toy_model(Mean(), {"features": SAMPLES}, leads=("I",), samples=2, similarity="cosine")
    want = torch.tensor([[5.0, 15.0]]) / 109**0.5
    torch.testing.assert_close(class_activation(replace(problem, model=cosine), alone), want)


class Bent(Mean):
    """The mean, and then something that is not linear."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Weighed(Line):
    """A linear head, but not on the mean."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.features(x) * torch.tensor([1.0, 2.0])).sum(-1)


@pytest.mark.parametrize("network", [Bent, Weighed, Square])
def test_cam_is_refused_where_the_head_is_not_linear_or_reads_no_mean(network: type[nn.Module]) -> None:
    problem, alone = line((1, 1))
    model = toy_model(network(), {"features": SAMPLES}, leads=("I",), samples=2)
    with pytest.raises(EcgcamError, match="`method` cam: defined only where a linear head reads the mean"):
        class_activation(replace(problem, model=model), alone)


class Small(nn.Module):
    """Three leads, four channels, cells every second sample, nothing linear; `layout` of the target layer's output."""

    def __init__(self, layout: str = "BCT", relu: bool = True) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv1d(3, 4, 3, 2, 1), nn.ReLU() if relu else nn.Identity(), Permuted(layout))
        self.layout, self.head = layout, nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        f = self.features(x)
        f = {"BCT": f, "BTC": f.transpose(1, 2), "TBC": f.permute(1, 2, 0)}[self.layout] if self.layout != "BCT" else f
        return self.head(torch.cat([f.tanh().mean(-1), f.amax(-1)], dim=1)).tanh()


class Permuted(nn.Module):
    def __init__(self, layout: str) -> None:
        super().__init__()
        self.order = {"BCT": (0, 1, 2), "BTC": (0, 2, 1), "TBC": (2, 0, 1)}[layout]

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


def small(layout: str = "BCT", network: nn.Module | None = None) -> tuple[Problem, Tensor]:
    """A record with the leads I and III of a model with three; III ends in padding."""
    made = network or Small(layout)
    where = LayerSpec(layout, 2.0, 0.0)  # type: ignore[arg-type]
    model = toy_model(made, {"features": where}, leads=("I", "II", "III"), samples=12, width=4, similarity="cosine")
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(5))
    fill, valid = torch.full((3, 12), 0.1), torch.ones(3, 12, dtype=torch.bool)
    valid[2, 9:], x[1] = False, 0.1
    alone = fill.repeat(2, 1, 1)
    alone[0, 0], alone[1, 2] = x[0], x[2]
    text = nn.functional.normalize(torch.tensor([1.0, -0.5, 0.3, 0.2]), dim=0)
    return Problem(model, text, x, fill, valid, torch.ones(3, 1), [0, 2], 100.0), alone


def score(problem: Problem, signal: Tensor) -> float:
    with torch.no_grad():
        return float(problem.model.encode_signal(signal[None])[0] @ problem.text)


def features(problem: Problem, signal: Tensor) -> np.ndarray:
    with torch.no_grad():
        return problem.model.network.features(signal[None])[0].numpy()  # type: ignore[operator]


def slow_masks(problem: Problem, lead: int, signal: Tensor) -> list[np.ndarray]:
    """s(U(A_c)) of each channel: straight lines between cells two samples apart, min-max over the valid samples."""
    masks = []
    for channel in features(problem, signal):
        up = np.interp(np.arange(12), 2.0 * np.arange(6), channel)
        real = problem.valid[problem.rows[lead]].numpy()
        low, high = up[real].min(), up[real].max()
        masks.append(np.clip((up - low) / (high - low), 0, 1) if high > low else np.zeros(12))
    return masks


def slow_score_cam(
    problem: Problem, alone: Tensor, change: Callable[[np.ndarray, int, int], list[np.ndarray]]
) -> Tensor:
    cells = []
    for lead, signal in enumerate(alone):
        increase = []
        for c, mask in enumerate(slow_masks(problem, lead, signal)):
            masks = [torch.from_numpy(m).float() for m in change(mask, lead, c)]
            scores = [score(problem, problem.fill + m * (signal - problem.fill)) for m in masks]
            increase.append(np.mean(scores) - score(problem, problem.fill))
        weights = np.exp(increase) / np.exp(increase).sum()
        cells.append(sum(w * a for w, a in zip(weights, features(problem, signal), strict=True)))
    return torch.from_numpy(np.stack(cells)).float()


def test_score_cam_is_its_paper() -> None:
    problem, alone = small()
    want = slow_score_cam(problem, alone, lambda mask, _lead, _c: [mask])
    assert any(not mask.any() for lead in (0, 1) for mask in slow_masks(problem, lead, alone[lead])), "no dead channel"
    torch.testing.assert_close(score_cam(problem, alone), want, atol=1e-5, rtol=1e-4)


def test_ss_cam_is_its_paper() -> None:
    problem, alone = small()

    def noisy(mask: np.ndarray, lead: int, c: int) -> list[np.ndarray]:
        seeds = ([0, problem.rows[lead], c, d] for d in range(3))
        return [mask + 0.2 * np.random.default_rng(s).standard_normal(12, np.float32) for s in seeds]

    want = slow_score_cam(problem, alone, noisy)
    torch.testing.assert_close(ss_cam(problem, alone, draws=3, noise=0.2), want, atol=1e-5, rtol=1e-4)


def test_is_cam_is_its_paper() -> None:
    problem, alone = small()
    want = slow_score_cam(problem, alone, lambda mask, _lead, _c: [mask * i / 4 for i in range(1, 5)])
    torch.testing.assert_close(is_cam(problem, alone, steps=4), want, atol=1e-5, rtol=1e-4)


class Cut(nn.Module):
    """The network after the target layer, with one channel at zero: the layer is left out, not hooked."""

    def __init__(self, network: Small, channel: int) -> None:
        super().__init__()
        self.network, self.channel = network, channel

    def forward(self, x: Tensor) -> Tensor:
        f = self.network.features[:2](x).clone()
        f[:, self.channel] = 0
        return self.network.head(torch.cat([f.tanh().mean(-1), f.amax(-1)], dim=1)).tanh()


@pytest.mark.parametrize("layout", ["BCT", "BTC", "TBC"])
def test_ablation_cam_is_its_paper(layout: str) -> None:
    problem, alone = small(layout)
    network = problem.model.network
    assert isinstance(network, Small)
    cells = []
    for signal in alone:
        y, total = score(problem, signal), np.zeros(6)
        with torch.no_grad():
            A = network.features[:2](signal[None])[0].numpy()
        for c in range(4):
            cut = EcgTextModel(problem.model.spec, Cut(network, c), problem.model.text, "")
            with torch.no_grad():
                total += (y - float(cut.encode_signal(signal[None])[0] @ problem.text)) / abs(y) * A[c]
        cells.append(total)
    want = torch.from_numpy(np.stack(cells)).float()
    assert want.abs().max() > 0.1
    torch.testing.assert_close(ablation_cam(problem, alone), want, atol=1e-5, rtol=1e-4)


def test_smooth_grad_cam_pp_is_its_paper() -> None:
    problem, alone = small()
    network, cells = problem.model.network, []
    assert isinstance(network, Small)
    for lead, signal in enumerate(alone):
        row = problem.rows[lead]
        real = problem.x[row][problem.valid[row]].numpy()
        middle = np.sort(real)[(len(real) - 1) // 2]
        sigma = 1.4826 * np.sort(np.abs(real - middle))[(len(real) - 1) // 2]
        draw = np.random.default_rng([0, row])
        D = np.zeros((3, 4, 6))
        for _ in range(3):
            noisy = signal.clone()
            noisy[row] += torch.from_numpy(0.5 * sigma * draw.standard_normal(12, np.float32)) * problem.valid[row]
            leaf = network.features(noisy[None]).detach().requires_grad_()
            out = network.head(torch.cat([leaf.tanh().mean(-1), leaf.amax(-1)], dim=1)).tanh()
            s = nn.functional.normalize(out, dim=-1)[0] @ problem.text
            G = torch.autograd.grad(s, leaf)[0][0].double().numpy()
            D += np.stack([G, G**2, G**3]) / 3
        A = features(problem, signal).astype(float)
        total = np.zeros(6)
        for c in range(4):
            w = 0.0
            for k in range(6):
                below = 2 * D[1, c, k] + A[c].sum() * D[2, c, k]
                w += D[1, c, k] / below * max(D[0, c, k], 0.0) if below else 0.0
            total += w * A[c]
        cells.append(total)
    want = torch.from_numpy(np.stack(cells)).float()
    got = smooth_grad_cam_pp(problem, alone, draws=3, noise=0.5)
    torch.testing.assert_close(got, want, atol=1e-5 * float(want.abs().max()), rtol=1e-4)


def test_smooth_grad_cam_pp_without_noise_is_grad_cam_pp() -> None:
    problem, alone = small()
    captured = capture(problem.model, alone, problem.text[None], reduce=grad_cam_plus_plus)
    torch.testing.assert_close(smooth_grad_cam_pp(problem, alone, draws=2, noise=0.0), captured.reduced[0])


@each_method
def test_batch_and_seed(method: Method, options: dict[str, Any]) -> None:
    """Batch sizes change nothing, seeds repeat, another seed differs where something is drawn."""

    def run(**changes: Any) -> Tensor:
        problem, alone = small()
        return method(replace(problem, **changes), alone, **options)

    first = run()
    scale = float(first.abs().max())
    assert scale > 0
    assert torch.equal(run(), first)
    for batch in (1, 3):
        assert (run(batch=batch) - first).abs().max() <= 1e-5 * scale
    drawn = method in (ss_cam, smooth_grad_cam_pp)
    assert torch.equal(run(seed=1), first) != drawn


@each_method
def test_a_lead_does_not_depend_on_the_others(method: Method, options: dict[str, Any]) -> None:
    problem, alone = small()
    both = method(problem, alone, **options)
    one = method(replace(problem, rows=[2], shared={}), alone[1:], **options)
    torch.testing.assert_close(one, both[1:], atol=1e-6, rtol=1e-4)


@each_method
def test_prompts_of_one_window_share_its_passes(method: Method, options: dict[str, Any]) -> None:
    problem, alone = small()
    other = replace(problem, text=-problem.text.flip(0), report={})
    if method not in PROMPT_BY_PROMPT:
        assert other.shared is problem.shared
        method(problem, alone, **options)
        runs: list[int] = []
        handle = problem.model.network.register_forward_hook(lambda *_: runs.append(1))
        second = method(other, alone, **options)
        handle.remove()
        assert runs == []
    else:
        second = method(other, alone, **options)
    torch.testing.assert_close(second, method(replace(other, shared={}), alone, **options))


def test_a_network_that_holds_on_to_its_batch_size() -> None:
    """Ablation adds rows at the target layer; where the network does not bear that, whole copies run instead."""

    class Holding(Small):
        def forward(self, x: Tensor) -> Tensor:
            f = self.features(x)
            pooled = torch.cat([f.tanh().mean(-1), f.amax(-1)], dim=1)
            return self.head(pooled.view(len(x), 8)).tanh()

    want = ablation_cam(*small())
    torch.testing.assert_close(ablation_cam(*small(network=Holding())), want)
    torch.testing.assert_close(ablation_cam(*small()), want)


def test_a_layer_that_runs_twice_is_refused() -> None:
    class Twice(Small):
        def forward(self, x: Tensor) -> Tensor:
            self.features(x)
            return super().forward(x)

    for method in (score_cam, ablation_cam):
        with pytest.raises(EcgcamError, match="ran 2 times"):
            method(*small(network=Twice()))
    problem, alone = small(network=Twice())
    with pytest.raises(EcgcamError, match="ran 2 times"):
        without_channel(problem.model, alone[:1], torch.arange(4))


@each_method
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(method: Method, options: dict[str, Any], fails: bool) -> None:
    class Failing(Small):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            self.calls += 1
            if fails and self.calls > 1:
                raise ValueError("the network's own error")
            return y

    network = Failing()
    problem, alone = small(network=network)
    problem = replace(problem, batch=1)  # so that every method runs the network more than once
    network.train()
    network.features.eval()
    before = [tensor.clone() for tensor in (problem.x, problem.fill, alone, problem.text, *network.parameters())]
    if fails:
        with pytest.raises(ValueError, match="own error"):
            method(problem, alone, **options)
    else:
        method(problem, alone, **options)
    after = (problem.x, problem.fill, alone, problem.text, *network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert network.training
    assert not network.features.training
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
