"""Gradient methods: answers on paper, each formula written out the slow way, what must not matter, and the whole way through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.narrow import narrow_resnet, narrow_vit
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.cells import spread_on_samples, upsample_to_samples
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.rules import ReluRule
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

SAMPLES = LayerSpec("BCT", 1.0, 0.0)
NAMES = [name for name, method in METHODS.items() if method.function.startswith("ecgcam.attribution.gradients:")]
RULES = ["guided-backprop", "deconvolution", "guided-grad-cam"]


def asked(model: EcgTextModel, x: Tensor, fill: Tensor | None = None, text: int = 0, **settings: object) -> Problem:
    """A window of a toy model: every sample real, model space in mV unless `scale` says otherwise."""
    given: dict[str, object] = {
        "valid": torch.ones_like(x, dtype=torch.bool), "scale": torch.ones(len(x), 1), "rows": list(range(len(x))),
        "fs": model.input.fs, **settings,
    }  # fmt: skip
    fill = torch.zeros_like(x) if fill is None else fill
    return Problem(model, model.encode_text([str(text)])[0], x, fill, **given)  # type: ignore[arg-type]


def run(name: str, problem: Problem, **options: object) -> Tensor:
    values: Tensor = METHODS[name].bind(options)(problem)
    return values


# Answers on paper.


class Linear(nn.Module):
    """score = sum_lt w_lt x_lt."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.register_buffer("weights", weights)

    def forward(self, x: Tensor) -> Tensor:
        return (self.weights * self.features(x)).sum(dim=(1, 2))[:, None]


W = torch.tensor([[1.0, -2.0, 0.0], [3.0, 0.5, -1.0]])
X = torch.tensor([[1.0, 1.0, 5.0], [2.0, -4.0, 1.0]])
FILL = torch.tensor([[0.5, 0.5, 0.5], [-1.0, -1.0, -1.0]])
# (x - fill) w = [[0.5, 0.5, 4.5] * [1, -2, 0], [3, -3, 2] * [3, 0.5, -1]]; sum 6.
SHARES = torch.tensor([[0.5, -1.0, 0.0], [9.0, -1.5, -2.0]])


def linear() -> EcgTextModel:
    return toy_model(Linear(W), {"features": SAMPLES}, samples=3, width=1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("input-x-gradient", {}),
        ("integrated-gradients", {"steps": 1}),
        ("integrated-gradients", {"steps": 7}),
        ("gradient-shap", {"noise": 0, "draws": 3}),
    ],
)
def test_of_a_linear_model_each_sample_gets_what_it_adds(name: str, options: dict[str, object]) -> None:
    problem = asked(linear(), X, FILL)
    torch.testing.assert_close(run(name, problem, **options), SHARES)
    if problem.report:
        assert problem.report["sum"] == pytest.approx(5.0, abs=1e-5)
        assert problem.report["score_difference"] == pytest.approx(5.0, abs=1e-5)
        assert problem.report["completeness_error"] < 1e-5
    assert problem.warnings == []


def test_saliency_is_per_millivolt() -> None:
    scale = torch.tensor([[10.0], [0.5]])
    torch.testing.assert_close(run("saliency", asked(linear(), X, scale=scale)), (W * scale).abs())


def test_noise_changes_nothing_of_a_linear_model() -> None:
    problem = asked(linear(), X, FILL)
    torch.testing.assert_close(run("smooth-grad", problem, draws=4), W.abs())
    torch.testing.assert_close(run("smooth-grad-squared", problem, draws=4), W**2)
    torch.testing.assert_close(run("var-grad", problem, draws=4), torch.zeros_like(W))


class Paper(nn.Module):
    """a = (x_I - x_II, -x_I + 2 x_II), r = relu(a), b = (r_0 - r_1, r_1 - r_0), s = relu(b); score = sum_t 2 s_0 - 3 s_1."""

    def __init__(self, relu: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.features, self.second = nn.Conv1d(2, 2, 1, bias=False), nn.Conv1d(2, 2, 1, bias=False)
        self.relu = nn.ReLU() if relu is None else relu
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[[1.0], [-1.0]], [[-1.0], [2.0]]]))
            self.second.weight.copy_(torch.tensor([[[1.0], [-1.0]], [[-1.0], [1.0]]]))

    def forward(self, x: Tensor) -> Tensor:
        s = self.relu(self.second(self.relu(self.features(x))))
        return (torch.tensor([[2.0], [-3.0]]) * s).sum(dim=(1, 2))[:, None]


RELUS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "module": nn.ReLU,
    "module in place": lambda: nn.ReLU(inplace=True),
    "function": lambda: nn.functional.relu,
    "torch.relu": lambda: torch.relu,
    "method": lambda: Tensor.relu,
    "method in place": lambda: Tensor.relu_,
}


@pytest.mark.parametrize("relu", RELUS)
def test_rules_of_two_relus_worked_out_by_hand(relu: str) -> None:
    # t = 0: x = (3, 1), a = (2, -1), r = (2, 0), b = (2, -2), s = (2, 0). t = 1: x = (1, 2), a = (-1, 3), r = (0, 3),
    # b = (-3, 3), s = (0, 3). At the top the gradient is (2, -3).
    # Plain, t = 0: [b > 0] leaves (2, 0); times the second layer (2, -2); [a > 0] (2, 0); times the first (2, -2).
    #        t = 1: (0, -3); (3, -3); (0, -3); (3, -6).
    # Guided, t = 0: relu(2, -3) = (2, 0), [b > 0] (2, 0); (2, -2); relu (2, 0), [a > 0] (2, 0); (2, -2).
    #        t = 1: (2, 0), [b > 0] (0, 0); nothing arrives.
    # Deconvolution, either t: (2, 0); (2, -2); relu (2, 0); (2, -2).
    x = torch.tensor([[3.0, 1.0], [1.0, 2.0]])
    model = toy_model(Paper(RELUS[relu]()), {"features": SAMPLES}, samples=2, width=1)
    plain = torch.tensor([[2.0, 3.0], [-2.0, -6.0]])
    scale = torch.tensor([[10.0], [100.0]])
    torch.testing.assert_close(run("saliency", asked(model, x)), plain.abs())
    guided = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    torch.testing.assert_close(run("guided-backprop", asked(model, x)), guided)
    torch.testing.assert_close(run("guided-backprop", asked(model, x, scale=scale)), guided * scale)
    deconvolved = torch.tensor([[2.0, 2.0], [-2.0, -2.0]])
    torch.testing.assert_close(run("deconvolution", asked(model, x)), deconvolved)
    # And afterwards the gradient is plain again.
    torch.testing.assert_close(run("saliency", asked(model, x)), plain.abs())


def test_guided_grad_cam_worked_out_by_hand() -> None:
    # Whole: A = a = [[2, -1], [-1, 3]], G = [[2, 0], [0, -3]], w = (1, -1.5), cells = (2 + 1.5, -1 - 4.5) = (3.5, -5.5).
    # Guided backpropagation is [[2, 0], [-2, 0]]; times relu of the cells: [[7, 0], [-7, 0]].
    # Lead I alone, x = (3, 1) over 0: a = [[3, 1], [-3, -1]], r = [[3, 1], [0, 0]], b = (r_0, -r_0), s = (r_0, 0);
    # G = [[2, 2], [0, 0]], w = (2, 0), cells = (6, 2). Lead II alone, x = (1, 2): a = [[-1, -2], [2, 4]], s = (0, a_1);
    # G = [[0, 0], [-3, -3]], w = (0, -3), cells = (-6, -12). So [[12, 0], [0, 0]].
    x = torch.tensor([[3.0, 1.0], [1.0, 2.0]])
    model = toy_model(Paper(), {"features": SAMPLES}, samples=2, width=1)
    torch.testing.assert_close(run("guided-grad-cam", asked(model, x), cam="whole"), torch.tensor([[7.0, 0], [-7, 0]]))
    torch.testing.assert_close(run("guided-grad-cam", asked(model, x)), torch.tensor([[12.0, 0.0], [0.0, 0.0]]))


class Biased(nn.Module):
    """score = sum_t relu(z_t) + 5, z = 2 x_I - x_II - 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv1d(2, 1, 1), nn.Linear(1, 1)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[[2.0], [-1.0]]]))
            self.features.bias.fill_(-1.0)  # type: ignore[union-attr]
            self.head.weight.fill_(1.0)
            self.head.bias.fill_(5.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).relu().sum(dim=-1))


def test_full_grad_worked_out_by_hand() -> None:
    # x_I = (1, 3, 0), x_II = (3, 1, -2): z = (-2, 4, 1), score = 0 + 4 + 1 + 5 = 10. Input part: [[0, 6, 0], [0, -1, 2]],
    # sum 7. The convolution's bias: (0, -1, -1), half of it to each lead. The head's has no place in time: 5 / 6 a sample.
    model = toy_model(Biased(), {"features": SAMPLES}, samples=3, width=1)
    problem = asked(model, torch.tensor([[1.0, 3.0, 0.0], [3.0, 1.0, -2.0]]))
    expected = torch.tensor([[0.0, 5.5, -0.5], [0.0, -1.5, 1.5]]) + 5 / 6
    torch.testing.assert_close(run("full-grad", problem), expected)
    report = problem.report
    assert (report["input"], report["bias"], report["score"]) == pytest.approx((7.0, 3.0, 10.0))
    assert report["completeness_error"] < 1e-6
    assert report["bias_without_place"] == pytest.approx(5.0)
    # Magnitudes: [[0, 6, 0], [0, 1, 2]] + (0, 1/2, 1/2) + 5/6.
    magnitudes = torch.tensor([[0.0, 6.5, 0.5], [0.0, 1.5, 2.5]]) + 5 / 6
    torch.testing.assert_close(run("full-grad", problem, post="abs"), magnitudes)


def test_full_grad_of_one_output_of_three() -> None:
    """As above, where the other two outputs, and how many there are, have no part in the score."""
    network = Biased()
    network.head = nn.Linear(1, 3)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[7.0], [1.0], [-3.0]]))
        network.head.bias.copy_(torch.tensor([1.0, 5.0, 2.0]))
    problem = asked(
        toy_model(network, {"features": SAMPLES}, samples=3, width=3),
        torch.tensor([[1.0, 3.0, 0.0], [3.0, 1.0, -2.0]]),
        text=1,
    )
    expected = torch.tensor([[0.0, 5.5, -0.5], [0.0, -1.5, 1.5]]) + 5 / 6
    torch.testing.assert_close(run("full-grad", problem), expected)


def test_a_lead_that_is_absent_gets_nothing_of_what_belongs_to_none() -> None:
    """As above with II absent, at its fill of 0: z = (1, 5, -1), score 1 + 5 + 5; biases and products go to I alone."""
    model = toy_model(Biased(), {"features": SAMPLES}, samples=3, width=1)
    x = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[2.0 - 1, 6.0 - 1, 0.0], [0.0, 0.0, 0.0]]) + torch.tensor([[5 / 3], [0.0]])
    for lead in (0, 1):  # padding of the absent lead counts for as little
        valid = torch.ones(2, 3, dtype=torch.bool)
        valid[1] = bool(lead)
        problem = asked(model, x, rows=[0], valid=valid)
        torch.testing.assert_close(run("full-grad", problem), expected)
        assert problem.report["score"] == pytest.approx(11)
    # I alone, worked out above; of II, whose guided backpropagation is not 0, nothing.
    x = torch.tensor([[3.0, 1.0], [1.0, 2.0]])
    model = toy_model(Paper(), {"features": SAMPLES}, samples=2, width=1)
    assert run("guided-backprop", asked(model, x))[1].abs().max() > 0
    torch.testing.assert_close(
        run("guided-grad-cam", asked(model, x, rows=[0])), torch.tensor([[12.0, 0.0], [0.0, 0.0]])
    )
    nothing = run("guided-grad-cam", asked(model, x, rows=[1]))
    torch.testing.assert_close(nothing, torch.zeros(2, 2))


def test_cells_spread_on_samples_keep_their_sums() -> None:
    for layer, count in ((LayerSpec("BCT", 4, 0), 6), (LayerSpec("BCT", 5, 2), 5), (LayerSpec("BCT", 1, 0), 24)):
        cells = np.random.default_rng(0).standard_normal(count)
        spread = spread_on_samples(cells, layer, 24)
        assert spread.shape == (24,)
        assert spread.sum() == pytest.approx(cells.sum())
        # A lone cell has the shape that laying it on samples gives it.
        lone = np.eye(count)[2]
        laid = upsample_to_samples(lone, layer, 24)
        np.testing.assert_allclose(spread_on_samples(lone, layer, 24), laid / laid.sum(), rtol=1e-6)


# The formulas, the slow way.


class Deep(nn.Module):
    """Strides, BatchNorm with statistics, in-place operations, a residual, one ReLU that runs three times; piecewise linear."""

    def __init__(self, smooth: bool = False, inplace: bool = True) -> None:
        super().__init__()
        self.relu = nn.Softplus() if smooth else nn.ReLU(inplace=inplace)
        self.stem = nn.Sequential(nn.Conv1d(2, 4, 3, 2, 1), nn.BatchNorm1d(4), self.relu)
        self.features = nn.Sequential(nn.Conv1d(4, 4, 3, 1, 1, bias=False), nn.BatchNorm1d(4))
        self.mix, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, value in (*self.named_parameters(), *self.named_buffers()):
                if value.is_floating_point():
                    value.copy_(torch.randn(value.shape, generator=generator))
                if "running_var" in name:
                    value.abs_()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.features(x)
        y = y.add_(x) if self.inplace else y + x
        y = self.mix(self.relu(y).transpose(1, 2)).transpose(1, 2)
        return self.head(self.relu(y).mean(dim=-1))


STEP2 = LayerSpec("BCT", 2.0, 0.0)
LONG = torch.randn(2, 16, generator=torch.Generator().manual_seed(5))


def deep(smooth: bool = False, inplace: bool = True, similarity: str = "dot") -> EcgTextModel:
    layers = {"features": STEP2, "mix": LayerSpec("BTC", 2.0, 0.0)}
    return toy_model(Deep(smooth, inplace), layers, samples=16, similarity=similarity)


def slope_at(problem: Problem, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    score = problem.model.encode_signal(x.clone()[None])[0] @ problem.text
    return torch.autograd.grad(score, x)[0]


def noise_of(problem: Problem, draw: int, size: float) -> Tensor:
    """The noise as it is described: a stream for each lead and draw, as wide as the lead's robust spread, on valid samples."""
    noise = torch.zeros_like(problem.x)
    for row in problem.rows:
        real = problem.x[row][problem.valid[row]].numpy()
        middle = np.sort(real)[(len(real) - 1) // 2]
        spread = 1.4826 * np.sort(np.abs(real - middle))[(len(real) - 1) // 2]
        drawn = np.random.default_rng([problem.seed, row, draw + 1]).standard_normal(problem.x.shape[1], np.float32)
        noise[row] = torch.from_numpy(size * spread * drawn) * problem.valid[row]
    return noise


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_integrated_gradients_against_a_loop(similarity: str) -> None:
    problem = asked(deep(smooth=True, similarity=similarity), LONG, torch.full_like(LONG, 0.2), text=1)
    fine = torch.zeros_like(LONG)
    for i in range(100):
        fine += slope_at(problem, problem.fill + (i + 0.5) / 100 * (LONG - problem.fill)) / 100
    got = run("integrated-gradients", problem)
    torch.testing.assert_close(got, (LONG - problem.fill) * fine, rtol=1e-3, atol=2e-4)
    scores = problem.scores(torch.stack([problem.x, problem.fill]))
    assert problem.report["score_difference"] == pytest.approx(float(scores[0] - scores[1]))
    assert problem.report["completeness_error"] < 1e-3
    assert problem.warnings == []


def test_a_sum_that_is_far_off_is_said() -> None:
    problem = asked(deep(smooth=True, similarity="cosine"), LONG, text=1)
    run("integrated-gradients", problem, steps=1)
    (warning,) = problem.warnings
    assert "a larger `options` steps" in warning
    assert problem.report["completeness_error"] > 0.05 * abs(problem.report["score_difference"])


def test_gradient_shap_against_a_loop() -> None:
    problem = asked(deep(), LONG, torch.full_like(LONG, 0.2), seed=4)
    total, ends = torch.zeros_like(LONG), []
    for draw in range(5):
        start = problem.fill + noise_of(problem, draw, 0.8)
        share = (draw + np.random.default_rng([4, 2, draw + 1]).random()) / 5
        total += (LONG - start) * slope_at(problem, start + share * (LONG - start)) / 5
        ends.append(float(problem.scores(start[None])))
    torch.testing.assert_close(run("gradient-shap", problem, draws=5, noise=0.8), total, rtol=1e-4, atol=1e-5)
    difference = float(problem.scores(LONG[None])) - sum(ends) / 5
    assert problem.report["score_difference"] == pytest.approx(difference, rel=1e-4)
    assert problem.report["completeness_error"] == pytest.approx(abs(float(total.sum()) - difference), rel=1e-3)


@pytest.mark.parametrize("around", ["saliency", "input-x-gradient", "guided-backprop"])
def test_noisy_methods_against_a_loop(around: str) -> None:
    valid = torch.ones(2, 16, dtype=torch.bool)
    valid[1, 12:] = False
    problem = asked(deep(), LONG, seed=9, valid=valid, scale=torch.tensor([[2.0], [3.0]]))
    maps = []
    for draw in range(4):
        noisy = dataclasses.replace(problem, x=LONG + noise_of(problem, draw, 0.7))
        maps.append(run(around, noisy))
    mean = sum(maps) / 4
    options: dict[str, object] = {"around": around, "draws": 4, "noise": 0.7}
    torch.testing.assert_close(run("smooth-grad", problem, **options), mean)
    torch.testing.assert_close(run("smooth-grad-squared", problem, **options), sum(M**2 for M in maps) / 4)
    variance = sum((M - mean) ** 2 for M in maps) / 4
    torch.testing.assert_close(run("var-grad", problem, **options), variance, rtol=1e-4, atol=1e-6)
    assert variance.max() > 0


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_rules_against_a_pass_backwards_written_out(masked: bool, inplace: bool) -> None:
    network = Deep(inplace=False).eval()
    with torch.no_grad():
        conv, norm, _ = network.stem
        z1 = norm(conv(LONG[None]))
        z2 = network.features(z1.relu()) + z1.relu()
        z3 = network.mix(z2.relu().transpose(1, 2)).transpose(1, 2)

        def through(G: Tensor, z: Tensor) -> Tensor:
            return G.clamp(min=0) * (z > 0) if masked else G.clamp(min=0)

        def normed(G: Tensor, layer: nn.Module) -> Tensor:
            return G * (layer.weight / (layer.running_var + layer.eps).sqrt())[:, None]  # type: ignore[operator]

        G = (network.head.weight[1] / z3.shape[-1])[None, :, None].expand_as(z3)
        G = torch.einsum("boc,oi->bic", through(G, z3), network.mix.weight)
        G2 = through(G, z2)
        back = nn.functional.conv_transpose1d(normed(G2, network.features[1]), network.features[0].weight, None, 1, 1)
        G1 = through(back + G2, z1)
        expected = nn.functional.conv_transpose1d(normed(G1, norm), conv.weight, None, 2, 1, 1)[0]
    problem = asked(deep(inplace=inplace), LONG, text=1)
    torch.testing.assert_close(run("guided-backprop" if masked else "deconvolution", problem), expected)
    assert expected.abs().max() > 0


def test_guided_grad_cam_is_the_product_of_its_two_parts() -> None:
    problem = asked(deep(), LONG, torch.full_like(LONG, -0.3), text=1)
    guided = run("guided-backprop", problem)
    for cam in ("whole", "lead"):
        expected = torch.zeros_like(LONG)
        for lead in range(2):
            signal = LONG.clone()
            if cam == "lead":
                signal[1 - lead] = problem.fill[1 - lead]
            (cells,) = capture(problem.model, signal[None], problem.text[None], None, grad_cam).reduced[0]
            expected[lead] = guided[lead] * torch.from_numpy(upsample_to_samples(cells.relu().numpy(), STEP2, 16))
        torch.testing.assert_close(run("guided-grad-cam", problem, cam=cam), expected)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("inplace", [True, False])
def test_full_grad_against_gradients_of_the_parameters(similarity: str, inplace: bool) -> None:
    problem = asked(deep(inplace=inplace, similarity=similarity), LONG, text=1)
    network = Deep(inplace=False).eval()
    # BatchNorm's constant as a bias proper: b - w m / sqrt(v + eps), the running mean 0.
    with torch.no_grad():
        for norm in (network.stem[1], network.features[1]):
            norm.bias -= norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()
            norm.running_mean.zero_()
    x = LONG.clone().requires_grad_()
    embedding = network(x[None])[0]
    length = embedding.detach().norm() if similarity == "cosine" else 1.0
    (embedding[1] / length).backward()
    biases = [(name, value) for name, value in network.named_parameters() if name.endswith("bias")]
    parts = {name: float((value.detach() * value.grad).sum()) for name, value in biases}
    values = run("full-grad", problem)
    report = problem.report
    assert report["bias"] == pytest.approx(sum(parts.values()), rel=1e-4)
    assert report["bias_without_place"] == pytest.approx(parts["head.bias"], rel=1e-4)
    assert report["completeness_error"] < 1e-5
    assert report["score"] == pytest.approx(float(embedding[1].detach() / length), rel=1e-4)
    assert float(values.sum()) == pytest.approx(report["score"], rel=1e-4)
    assert x.grad is not None
    # Leads differ by the input part alone, and what is left is the biases'.
    rest = values - LONG * x.grad
    torch.testing.assert_close(rest[0], rest[1])
    assert float(rest.sum()) == pytest.approx(sum(parts.values()), rel=1e-4)


def test_of_a_cosine_the_free_parts_cancel() -> None:
    problem = asked(deep(similarity="cosine"), LONG)
    run("full-grad", problem, length="free")
    assert problem.report["input"] + problem.report["bias"] == pytest.approx(0, abs=1e-6)
    assert problem.report["completeness_error"] == pytest.approx(abs(problem.report["score"]), abs=1e-6)
    assert abs(problem.report["score"]) > 0.01


def test_where_declared_layers_disagree_biases_have_no_place() -> None:
    layers = {"features": STEP2, "stem": LayerSpec("BCT", 2.0, 0.5), "mix": LayerSpec("BTC", 2.0, 0.0)}
    placed, loose = asked(deep(), LONG), asked(toy_model(Deep(), layers, samples=16), LONG)
    for problem in (placed, loose):
        run("full-grad", problem)
    assert placed.report["bias"] == pytest.approx(loose.report["bias"])
    assert abs(placed.report["bias_without_place"] - loose.report["bias_without_place"]) > 0.1


# What must not matter.


def test_noise_of_a_lead_does_not_depend_on_the_others() -> None:
    x = torch.tensor([[1.0, 2.0, 5.0], [2.0, -4.0, 1.0]])
    both, one = asked(linear(), x), asked(linear(), x, rows=[1])
    options = {"around": "input-x-gradient", "draws": 3}
    with_both, alone = run("smooth-grad", both, **options), run("smooth-grad", one, **options)
    torch.testing.assert_close(with_both[1], alone[1], rtol=0, atol=0)
    torch.testing.assert_close(alone[0], W[0] * x[0])
    assert (with_both[0] - W[0] * x[0]).abs().max() > 0.01


def test_seeds_repeat_and_nobodys_generator_moves() -> None:
    model = deep()
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for name in ("smooth-grad", "smooth-grad-squared", "var-grad", "gradient-shap"):
        first, again, other = (run(name, asked(model, LONG, seed=seed), draws=3) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(legacy, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", NAMES)
def test_batches_do_not_matter(name: str) -> None:
    known = {option.name for option in METHODS[name].options}
    options = {key: value for key, value in {"steps": 5, "draws": 5}.items() if key in known}
    one, three, many = (run(name, asked(deep(), LONG, text=1, batch=batch), **options) for batch in (1, 3, 64))
    for other in (three, many):
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()


class Failing(Paper):
    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        raise ValueError("the network's own error")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_behind_when_the_network_fails(name: str) -> None:
    model = toy_model(Failing(), {"features": SAMPLES}, samples=2, width=1)
    x = torch.tensor([[3.0, 1.0], [1.0, 2.0]])
    quiet: dict[str, object] = {"noise": 0} if any(option.name == "noise" for option in METHODS[name].options) else {}
    with pytest.raises(ValueError, match="own error"):
        run(name, asked(model, x), **quiet)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.network.modules())
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    whole = toy_model(Paper(), {"features": SAMPLES}, samples=2, width=1)
    torch.testing.assert_close(run("saliency", asked(whole, x)), torch.tensor([[2.0, 3.0], [2.0, 6.0]]))


# Refusals.


@pytest.mark.parametrize(
    "other",
    [nn.GELU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(), nn.ELU(), nn.SiLU(), nn.ReLU6(), torch.tanh, torch.erf],
)
def test_another_non_linearity_is_refused_and_named(other: Callable[[Tensor], Tensor]) -> None:
    model = toy_model(Paper(lambda x: other(x.relu())), {"features": SAMPLES}, samples=2, width=1)
    for name in RULES:
        with pytest.raises(EcgcamError, match=f"`method` {name}: .* runs .*; choose another") as caught:
            run(name, asked(model, torch.ones(2, 2)))
        assert "\n" not in str(caught.value)


def test_a_network_without_relu_is_refused() -> None:
    for name in RULES:
        with pytest.raises(EcgcamError, match=f"`method` {name}: .* runs none; choose another"):
            run(name, asked(linear(), X))


def test_what_the_network_never_runs_does_not_matter() -> None:
    network = Paper()
    network.unused = nn.GELU()
    model = toy_model(network, {"features": SAMPLES}, samples=2, width=1)
    assert run("guided-backprop", asked(model, torch.tensor([[3.0, 1.0], [1.0, 2.0]]))).any()


def test_attention_beside_relu_is_no_reason_to_refuse() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with ReluRule("guided-backprop", masked=True) as rule:
        layer(x).sum().backward()
    rule.need_relu()


def test_leads_without_any_spread_are_refused() -> None:
    with pytest.raises(EcgcamError, match="all of them are 0; give noise=0"):
        run("smooth-grad", asked(linear(), torch.ones(2, 3)))
    assert run("smooth-grad", asked(linear(), torch.ones(2, 3)), noise=0).any()


def test_a_network_that_turns_gradients_off_is_refused() -> None:
    class Off(Paper):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(x)

    model = toy_model(Off(), {"features": SAMPLES}, samples=2, width=1)
    for name in ("saliency", "full-grad", "guided-backprop"):
        with pytest.raises(EcgcamError, match="no_grad"):
            run(name, asked(model, torch.ones(2, 2)))


def test_every_method_that_is_no_average_can_be_smoothed() -> None:
    (around, *_) = METHODS["smooth-grad"].options
    assert {*around.choices} == {*NAMES} - {"gradient-shap", "smooth-grad", "smooth-grad-squared", "var-grad"}


# The whole way.


MODELS: dict[str, Callable[[], EcgTextModel]] = {
    "mini": lambda: ecgcam.load_model("mini"),
    "merl resnet": narrow_resnet,
    "merl vit": narrow_vit,
}
TEXTS = {"mini": ["atrial fibrillation", "normal ECG", "left bundle branch block"]}
SHORT: dict[str, dict[str, object]] = {
    "integrated-gradients": {"steps": 3},
    **{name: {"draws": 2} for name in ("gradient-shap", "smooth-grad", "smooth-grad-squared", "var-grad")},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[str, EcgTextModel]:
    return request.param, MODELS[request.param]()


@pytest.fixture(scope="module")
def record() -> Record:
    """Two leads, six seconds: the rest is padding."""
    simulation = simulate("af", 11)
    signal = simulation.signal[[1, 6]][:, : round(6 * simulation.fs)]
    return Record.from_channels("af", signal, simulation.fs, [simulation.leads[i] for i in (1, 6)], source="af")


@pytest.mark.parametrize("name", NAMES)
def test_every_method_on_every_model(name: str, model: tuple[str, EcgTextModel], record: Record) -> None:
    which, loaded = model
    texts = TEXTS.get(which, ["0", "1", "2"])
    weights = {key: value.clone() for key, value in loaded.network.state_dict().items()}
    signal = record.signal.copy()

    def explained(count: int) -> list[ecgcam.Explanation]:
        return ecgcam.explain(record, texts[:count], loaded, method=name, options=SHORT.get(name, {}), gradient=None)

    if which == "merl vit" and name in RULES:
        with pytest.raises(EcgcamError, match=f"`method` {name}: .* runs gelu, .*; choose another method") as caught:
            explained(1)
        assert "\n" not in str(caught.value)
    else:
        three, (one,) = explained(3), explained(1)
        np.testing.assert_allclose(one.map, three[0].map, atol=1e-5 * np.abs(one.map).max())
        assert np.abs(three[0].map - three[1].map).max() > 0
        for explanation in three:
            assert explanation.map.shape == (2, loaded.input.samples)
            assert explanation.map_cells.shape == (2, 0)
            assert explanation.cell_time.shape == (0,)
            assert np.isfinite(explanation.map).all()
            said = any("zero everywhere" in warning for warning in explanation.meta["warnings"])
            assert said is not bool(explanation.map.any())
            assert explanation.map.any() or name == "guided-grad-cam"  # where Grad-CAM is below zero everywhere
            assert not explanation.map[~explanation.valid].any()
            assert explanation.meta["signed"] is METHODS[name].signed
            assert explanation.meta["signed"] or explanation.map.min() >= 0
    assert all(not module._forward_hooks and not module._backward_hooks for module in loaded.network.modules())
    assert all(torch.equal(value, weights[key]) for key, value in loaded.network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in loaded.network.parameters())
    assert not loaded.network.training
    assert np.array_equal(record.signal, signal)


def test_saliency_is_the_gradient_of_the_explanation(record: Record) -> None:
    (got,) = ecgcam.explain(record, TEXTS["mini"][:1], method="saliency")
    np.testing.assert_allclose(got.map, np.abs(got.gradient), rtol=1e-5)


def test_what_a_method_reports_and_warns_of_reaches_the_result(record: Record) -> None:
    (got,) = ecgcam.explain(
        record, TEXTS["mini"][:1], method="integrated-gradients", options={"steps": 1}, gradient=None
    )
    report = got.meta["report"]
    assert report["score_difference"] == pytest.approx(got.score - got.empty_score, abs=1e-6)
    assert got.map.sum() + report["sum_in_padding"] == pytest.approx(report["sum"], rel=1e-4)
    assert any("a larger `options` steps" in warning for warning in got.meta["warnings"])


def test_of_mini_the_parts_of_full_grad_are_its_score(record: Record) -> None:
    for explanation in ecgcam.explain(record, TEXTS["mini"], method="full-grad", gradient=None):
        report = explanation.meta["report"]
        assert report["completeness_error"] < 1e-5
        assert report["score"] == pytest.approx(explanation.score, abs=1e-6)


@pytest.mark.parametrize("name", ["integrated-gradients", "gradient-shap", "smooth-grad"])
def test_prompts_of_a_window_share_what_goes_through_the_model(name: str) -> None:
    """Maps as of each prompt alone, and the signals on the way run once for them; more than are made together too."""
    torch.manual_seed(0)
    prompts = 35
    network = nn.Sequential(
        nn.Conv1d(2, 9, 3), nn.ReLU(), nn.Conv1d(9, prompts, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )
    model = toy_model(network, {"0": SAMPLES}, samples=10, width=prompts, similarity="cosine")
    ran: list[int] = []
    model.network.register_forward_hook(lambda _module, inputs, _output: ran.append(len(inputs[0])))
    texts = model.encode_text([str(number) for number in range(prompts)])
    problem = asked(model, torch.randn(2, 10), torch.randn(2, 10))
    options = {"around": "integrated-gradients", "draws": 2} if name == "smooth-grad" else {}
    shared: dict[str, Tensor] = {}
    for number, text in enumerate(texts):
        ran.clear()
        one = replace(problem, text=text, texts=texts, number=number, shared=shared, report={})
        together, passes = run(name, one, **options), sum(ran)
        torch.testing.assert_close(together, run(name, replace(problem, text=text, report={}), **options))
        if name != "smooth-grad":  # whose noisy windows are each a window of their own
            assert (passes >= 100) == (number in (0, 32)), number
            assert (
                name == "gradient-shap" or max(ran) <= one.backward_batch < one.batch
            )  # its starts run without a graph
    assert not any(parameter.grad is not None for parameter in network.parameters())
