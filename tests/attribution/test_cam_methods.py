"""CAM methods: each against its formula written out in loops, against answers on paper, and through the whole way."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution import cam
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.registry import read_pairs
from ecgcam.errors import EcgcamError
from ecgcam.models.families.merl import AttentionPool, MerlViT, ResidualBlock
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import CANONICAL_LEADS, Record
from ecgcam.records.simulator import simulate

Floats = npt.NDArray[np.float64]
CAMS = [name for name, method in METHODS.items() if method.family == "cam" and not method.contrast]
EIGEN = ["eigen-cam", "eigen-grad-cam", "grad-cam-eigen", "seg-eigen-cam", "kpca-cam"]
# Each method with its defaults, and those with options with others too.
CASES: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in CAMS),
    ("eigen-cam", {"centre": True}),
    ("eigen-grad-cam", {"centre": False}),
    ("seg-eigen-cam", {"centre": False}),
    ("kpca-cam", {"kernel": "rbf", "gamma": 0.3}),
    ("kpca-cam", {"kernel": "linear"}),
    ("fem", {"k": 0.5}),
]
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}{options or ''}" for name, options in CASES])


def run(name: str, A: Tensor, G: Tensor, options: dict[str, object] | None = None, seed: int = 0) -> Tensor:
    cells: Tensor = METHODS[name].bind(options or {}, seed)(A, G)
    return cells


# The formulas, written out: one signal, A and G (C, K), loops over channels and cells.


def slow(name: str, A: Floats, G: Floats, options: dict[str, object]) -> Floats:
    written: Callable[..., Floats] = SLOW[name]
    return written(A, G, **options)


def slow_weighted(weights: list[float], A: Floats) -> Floats:
    C, K = A.shape
    return np.array([sum(weights[c] * A[c, k] for c in range(C)) for k in range(K)])


def slow_cellwise(value: Callable[[float, float], float], A: Floats, G: Floats) -> Floats:
    C, K = A.shape
    return np.array([sum(value(A[c, k], G[c, k]) for c in range(C)) for k in range(K)])


def slow_plus_plus(A: Floats, G: Floats) -> Floats:
    weights = []
    for a, g in zip(A, G, strict=True):
        weight = 0.0
        for slope in g:
            below = 2 * slope**2 + sum(value * slope**3 for value in a)
            alpha = slope**2 / below if slope != 0 else 0.0
            weight += alpha * max(slope, 0.0)
        weights.append(weight)
    return slow_weighted(weights, A)


def slow_xgrad(A: Floats, G: Floats) -> Floats:
    weights = []
    for a, g in zip(A, G, strict=True):
        dead = sum(a) == 0  # a channel at zero throughout
        weights.append(0.0 if dead else sum(a[k] / sum(a) * g[k] for k in range(len(a))))
    return slow_weighted(weights, A)


def slow_sign(cells: Floats, A: Floats, G: Floats) -> Floats:
    h = slow_cellwise(lambda a, g: a * g, A, G)
    return cells if np.corrcoef(cells, h)[0, 1] > 0 else -cells


def slow_centred(X: Floats) -> Floats:
    return np.array([[value - sum(row) / len(row) for value in row] for row in X])


def slow_eigen(A: Floats, G: Floats, centre: bool = False, gradient: bool = False) -> Floats:
    X = G * A if gradient else A
    left, _, _ = np.linalg.svd(slow_centred(X) if centre else X)
    X = slow_centred(X) if centre else X
    return slow_sign(slow_weighted(list(left[:, 0]), X), A, G)


def slow_seg_eigen(A: Floats, G: Floats, centre: bool = True) -> Floats:
    X = np.array([[abs(g) * a for a, g in zip(row, slopes, strict=True)] for row, slopes in zip(A, G, strict=True)])
    X = slow_centred(X) if centre else X
    left, _, _ = np.linalg.svd(X)
    return slow_sign(slow_weighted(list(left[:, 0]), X), A, G)


def slow_smoothed(A: Floats, G: Floats) -> Floats:
    X = slow_centred(np.array([[sum(g) / len(g) * value for value in a] for a, g in zip(A, G, strict=True)]))
    left, _, _ = np.linalg.svd(X)
    return slow_sign(slow_weighted(list(left[:, 0]), X), A, G)


def slow_kpca(A: Floats, G: Floats, kernel: str = "sigmoid", gamma: float | None = None) -> Floats:
    x, K = slow_centred(A).T, A.shape[1]
    width = 1 / A.shape[0] if gamma is None else gamma
    similar = {
        "sigmoid": lambda a, b: math.tanh(width * float(a @ b) + 1),
        "rbf": lambda a, b: math.exp(-width * float((a - b) @ (a - b))),
        "linear": lambda a, b: float(a @ b),
    }[kernel]
    M = np.array([[similar(a, b) for b in x] for a in x])
    H = np.eye(K) - 1 / K
    values, vectors = np.linalg.eigh(H @ M @ H)
    return slow_sign(math.sqrt(values[-1]) * vectors[:, -1], A, G)


def slow_fem(A: Floats, G: Floats, k: float = 2.0) -> Floats:
    cells = np.zeros(A.shape[1])
    for a in A:
        mean = sum(a) / len(a)
        spread = math.sqrt(sum((value - mean) ** 2 for value in a) / len(a))
        for i, value in enumerate(a):
            cells[i] += mean if value > mean + k * spread else 0.0
    return cells


def slow_random(A: Floats, G: Floats) -> Floats:
    """The weights themselves are whatever the generator gives: read off a map of one channel a cell."""
    C = A.shape[0]
    weights = run("random-cam", torch.eye(C)[None], torch.eye(C)[None])[0]
    return slow_weighted([float(weight) for weight in weights], A)


SLOW: dict[str, Callable[..., Floats]] = {
    "grad-cam": lambda A, G: slow_weighted([sum(g) / len(g) for g in G], A),
    "dot-grad-cam": lambda A, G: slow_weighted([sum(g) / len(g) for g in G], A),  # of another G
    "hires-cam": lambda A, G: slow_cellwise(lambda a, g: a * g, A, G),
    "grad-cam-elementwise": lambda A, G: slow_cellwise(lambda a, g: max(a * g, 0.0), A, G),
    "grad-cam++": slow_plus_plus,
    "xgrad-cam": slow_xgrad,
    "layer-cam": lambda A, G: slow_cellwise(lambda a, g: a * max(g, 0.0), A, G),
    "eigen-cam": slow_eigen,
    "eigen-grad-cam": lambda A, G, centre=True: slow_eigen(A, G, centre, gradient=True),
    "grad-cam-eigen": slow_smoothed,
    "seg-eigen-cam": slow_seg_eigen,
    "kpca-cam": slow_kpca,
    "fem": slow_fem,
    "random-cam": slow_random,
}


def tensors(relu: bool, shape: tuple[int, int, int], seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    A, G = (torch.randn(shape, generator=generator) for _ in range(2))
    return (A.relu() if relu else A), G


@cases
@pytest.mark.parametrize("relu", [True, False], ids=["after relu", "signed"])
@pytest.mark.parametrize("shape", [(3, 4, 7), (3, 7, 4)], ids=str)
def test_the_formula_written_out(
    name: str, options: dict[str, object], relu: bool, shape: tuple[int, int, int]
) -> None:
    A, G = tensors(relu, shape, seed=2)
    got = run(name, A, G, options).numpy()
    for i in range(shape[0]):
        want = slow(name, A[i].double().numpy(), G[i].double().numpy(), options)
        np.testing.assert_allclose(got[i], want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


# Answers on paper.

A1 = torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])
G1 = torch.tensor([[[1.0, -1.0], [2.0, 0.0]]])


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("grad-cam", [2, 0]),  # mean gradients (0, 1)
        ("hires-cam", [5, -3]),  # 1*1 + 2*2, -1*3 + 0*0
        ("grad-cam-elementwise", [5, 0]),
        # Sums of A (4, 2); a = 1/(2 + 1*4), -, 1/(2 + 2*2), 0; weights 1/6 * 1 and 1/6 * 2.
        ("grad-cam++", [1 / 6 + 2 / 3, 3 / 6]),
        ("xgrad-cam", [-0.5 + 4, -1.5]),  # weights (1 - 3)/4 and 4/2
        ("layer-cam", [1 + 4, 0]),
    ],
)
def test_two_channels_and_two_cells_worked_out_by_hand(name: str, cells: list[float]) -> None:
    torch.testing.assert_close(run(name, A1, G1), torch.tensor([cells], dtype=torch.float32))


RANK_ONE = torch.tensor([[[3.0, 6.0], [4.0, 8.0]]])  # (3, 4) times (1, 2): first direction (3/5, 4/5)
RISING = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])  # sum of G x A: (3, 6)


def test_eigen_cam_of_one_direction() -> None:
    torch.testing.assert_close(run("eigen-cam", RANK_ONE, RISING), torch.tensor([[5.0, 10.0]]))
    torch.testing.assert_close(run("eigen-cam", RANK_ONE, -RISING), torch.tensor([[-5.0, -10.0]]))
    # Less the means (4.5, 6): (3, 4) times (-1/2, 1/2).
    torch.testing.assert_close(run("eigen-cam", RANK_ONE, RISING, {"centre": True}), torch.tensor([[-2.5, 2.5]]))
    torch.testing.assert_close(run("eigen-cam", RANK_ONE, -RISING, {"centre": True}), torch.tensor([[2.5, -2.5]]))


def test_eigen_grad_cam_of_one_direction() -> None:
    # G x A = ((3, 6), (0, 0)); less the mean (-1.5, 1.5) in one channel.
    torch.testing.assert_close(run("eigen-grad-cam", RANK_ONE, RISING), torch.tensor([[-1.5, 1.5]]))
    torch.testing.assert_close(run("eigen-grad-cam", RANK_ONE, RISING, {"centre": False}), torch.tensor([[3.0, 6.0]]))


def test_eigen_smoothing_of_one_direction() -> None:
    # Mean gradients (1, 0); as above, ((3, 6), (0, 0)) less its mean.
    torch.testing.assert_close(run("grad-cam-eigen", RANK_ONE, RISING), torch.tensor([[-1.5, 1.5]]))


@pytest.mark.parametrize(
    ("options", "p", "q"),
    [
        # x = -+(1.5, 2), |x|^2 = 6.25; the kernel matrix ((p, q), (q, p)) centred has the pair p - q, (1, -1)/sqrt 2.
        ({}, math.tanh(6.25 / 2 + 1), math.tanh(-6.25 / 2 + 1)),
        ({"gamma": 0.1}, math.tanh(1.625), math.tanh(0.375)),
        ({"kernel": "rbf", "gamma": 0.02}, 1.0, math.exp(-0.5)),
        ({"kernel": "linear"}, 6.25, -6.25),
    ],
    ids=str,
)
def test_kpca_cam_of_two_cells(options: dict[str, object], p: float, q: float) -> None:
    height = math.sqrt((p - q) / 2)
    torch.testing.assert_close(run("kpca-cam", RANK_ONE, RISING, options), torch.tensor([[-height, height]]))


def test_fem_of_three_channels() -> None:
    # Means 1, -2, 1 and deviations 2, 2, 0: only the last cell of the first is above 1 + 1.5 * 2, none of the others' is
    # above -2 + 1.5 * 2 or 1; at k = 2 the 5 lies on the threshold, and nothing is above it.
    A = torch.tensor([[[0.0, 0, 0, 0, 5], [-1.0, -1, -1, -1, -6], [1.0, 1, 1, 1, 1]]])
    torch.testing.assert_close(run("fem", A, A, {"k": 1.5}), torch.tensor([[0.0, 0, 0, 0, 1]]))
    torch.testing.assert_close(run("fem", A, A), torch.zeros(1, 5))
    assert not run("fem", torch.full((1, 1, 313), 0.1), torch.zeros(1, 1, 313), {"k": 0.0}).any()


def test_random_cam_draws_from_its_seed_alone() -> None:
    A, G = torch.eye(500)[None], torch.zeros(1, 500, 500)
    weights = run("random-cam", A, G, seed=3)[0]
    assert weights.min() < -0.9
    assert weights.max() > 0.9
    assert weights.abs().max() <= 1
    assert abs(weights.mean()) < 0.1
    before = torch.random.get_rng_state()
    assert torch.equal(run("random-cam", A.expand(4, -1, -1), G, seed=3), weights.expand(4, -1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(run("random-cam", A, G, seed=4)[0], weights)


# What must not matter, and what must not break.


@cases
@pytest.mark.parametrize("relu", [True, False], ids=["after relu", "signed"])
def test_company_does_not_matter(name: str, options: dict[str, object], relu: bool) -> None:
    A, G = tensors(relu, (6, 16, 20), seed=5)
    together = run(name, A, G, options)
    order = [4, 0, 5, 2, 1, 3]
    for other in (
        torch.cat([run(name, A[i : i + 1], G[i : i + 1], options) for i in range(6)]),
        torch.cat([run(name, A[:4], G[:4], options), run(name, A[4:], G[4:], options)]),
        run(name, A[order], G[order], options)[torch.tensor(order).argsort()],
    ):
        assert (together - other).abs().max() <= 1e-5 * together.abs().max()


@pytest.mark.parametrize("name", EIGEN)
@pytest.mark.parametrize("shape", [(3, 4, 7), (3, 7, 4)], ids=str)
def test_the_sign_of_an_eigenvector_does_not_matter(
    name: str, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    A, G = tensors(True, shape, seed=6)
    straight, against = run(name, A, G), run(name, A, -G)
    original = torch.linalg.eigh

    def negated(M: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = original(M)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", negated)
    torch.testing.assert_close(run(name, A, G), straight, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(against, -straight, rtol=1e-5, atol=1e-6)
    h = (G * A).sum(dim=1)
    for cells, wanted in zip(straight, h, strict=True):
        assert np.corrcoef(cells, wanted)[0, 1] > 0


@pytest.mark.parametrize("name", EIGEN)
@pytest.mark.parametrize("shape", [(3, 5, 9), (3, 9, 5)], ids=str)
def test_the_way_of_large_layers_gives_the_same(
    name: str, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    A, G = tensors(True, shape, seed=8)
    A[1] = 0.0
    small = run(name, A, G)
    monkeypatch.setattr(cam, "_MANY", 3)
    torch.testing.assert_close(run(name, A, G), small, rtol=1e-5, atol=1e-6)
    assert not small[1].any()


DEGENERATE = {
    "no gradient": lambda A, G: (A, 0 * G),
    "constant activations": lambda A, G: (torch.ones_like(A), G),
    "constant gradients": lambda A, G: (A, torch.ones_like(G)),
    "no activation": lambda A, G: (0 * A, G),
    "one channel": lambda A, G: (A[:, :1], G[:, :1]),
    "one cell": lambda A, G: (A[..., :1], G[..., :1]),
    "one of each": lambda A, G: (A[:, :1, :1], G[:, :1, :1]),
    "activations that cancel": lambda A, G: (torch.cat([A, -A], dim=-1), torch.cat([G, -G], dim=-1)),
    "activations that nearly cancel": lambda A, G: (torch.cat([A, -A * (1 + 1e-6)], -1), torch.cat([G, -G], -1)),
    "grad-cam++'s denominator at zero": lambda A, G: (
        torch.full_like(A, -2.0 / A.shape[-1]), torch.ones_like(G)
    ),
    "tiny": lambda A, G: (1e-12 * A, 1e-12 * G),
    "huge": lambda A, G: (1e12 * A, 1e12 * G),
}  # fmt: skip


@cases
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_gives_finite_cells(name: str, options: dict[str, object], case: str) -> None:
    A, G = DEGENERATE[case](*tensors(False, (3, 5, 8), seed=7))
    got = run(name, A, G, options)
    assert got.shape == (3, A.shape[-1])
    assert got.dtype == torch.float32
    assert got.isfinite().all()
    if case == "activations that nearly cancel" and name == "xgrad-cam":
        assert not got.any()
    if case == "grad-cam++'s denominator at zero" and name == "grad-cam++":
        assert not got.any()
    if case == "no gradient" and "gradients" in METHODS[name].needs:
        assert not got.any()


@pytest.mark.parametrize("name", EIGEN)
def test_one_cell_takes_the_sign_of_its_own_effect(name: str) -> None:
    A = torch.tensor([[[2.0], [1.0]]]).repeat(2, 1, 1)
    G = torch.tensor([[[1.0], [1.0]], [[-1.0], [-1.0]]])
    if not METHODS[name].options or name == "kpca-cam":  # centred: a lone cell is its own mean
        assert not run(name, A, G).any()
    else:
        got = run(name, A, G, {"centre": False})[:, 0]
        assert got[0] > 1
        assert got[1] == -got[0]


# The whole way.

LEADS = (1, 6, 10)


@pytest.fixture(scope="module")
def record() -> Record:
    simulation = simulate("af", 11)
    names = [simulation.leads[i] for i in LEADS]
    return Record.from_channels("af", simulation.signal[list(LEADS)], simulation.fs, names, source="af")


def drawn(network: nn.Module) -> nn.Module:
    """Weights of a size that keeps signals alive, from a generator of their own."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(1.5 * values / math.sqrt(parameter[0].numel()))
            else:  # the gain of a normalisation, or a bias
                parameter.copy_(0.1 * values + (not name.endswith("bias")))
    return network


class NarrowResNet(nn.Module):
    """MERL's ResNet with few channels: its blocks, its strides and its attention pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(12, 8, 7, 2, 3, bias=False), nn.BatchNorm1d(8), nn.ReLU())
        plan = [(8, 8, 1), (8, 8, 2), (8, 16, 2), (16, 16, 2)]
        self.blocks = nn.Sequential(*(ResidualBlock(before, width, step, False) for before, width, step in plan))
        self.downconv = nn.Conv1d(16, 256, 1)
        self.att_pool_head = AttentionPool(313, 4)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.att_pool_head(self.downconv(self.blocks(self.stem(x))))
        return embedded


def narrow(network: nn.Module, layer: str, where: LayerSpec) -> EcgTextModel:
    return toy_model(
        drawn(network), {layer: where}, leads=CANONICAL_LEADS, samples=5000, fs=500.0, width=256, similarity="cosine",
        normalisation="minmax", fill="baseline",
    )  # fmt: skip


MODELS: dict[str, Callable[[], EcgTextModel]] = {
    "mini": lambda: ecgcam.load_model("mini"),
    "merl resnet": lambda: narrow(NarrowResNet(), "blocks", LayerSpec("BCT", 16, 0)),
    "merl vit": lambda: narrow(MerlViT(64), "ecg_encoder.block11", LayerSpec("BTC", 50, 24.5)),
}
PROMPTS = {"mini": ["atrial fibrillation", "normal ECG", "left bundle branch block"]}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[str, EcgTextModel]:
    return request.param, MODELS[request.param]()


@pytest.mark.parametrize("name", CAMS)
@pytest.mark.parametrize("count", [1, 3])
def test_every_method_on_every_model(name: str, count: int, model: tuple[str, EcgTextModel], record: Record) -> None:
    which, loaded = model
    texts = PROMPTS.get(which, ["0", "1", "2"])[:count]
    weights = {key: value.clone() for key, value in loaded.network.state_dict().items()}
    wanting = [parameter.requires_grad for parameter in loaded.network.parameters()]
    signal = record.signal.copy()
    got = ecgcam.explain(record, texts, loaded, method=name, gradient=None)
    assert len(got) == count
    for explanation in got:
        cells = explanation.map_cells
        assert explanation.map.shape == (3, loaded.input.samples)
        assert cells.shape == (3, len(explanation.cell_time))
        assert np.isfinite(explanation.map).all()
        assert np.isfinite(cells).all()
        assert np.abs(cells).max() > 0
        assert explanation.map.min() >= 0
        warned = any("zero everywhere" in warning for warning in explanation.meta["warnings"])
        assert warned is not bool(explanation.map.any())
        assert explanation.meta["options"] == {option.name: option.default for option in METHODS[name].options}
    assert all(not module._forward_hooks and not module._backward_hooks for module in loaded.network.modules())
    assert all(torch.equal(value, weights[key]) for key, value in loaded.network.state_dict().items())
    assert [parameter.requires_grad for parameter in loaded.network.parameters()] == wanting
    assert not loaded.network.training
    assert np.array_equal(record.signal, signal)


@pytest.mark.parametrize("name", CAMS)
def test_batches_do_not_matter(name: str, model: tuple[str, EcgTextModel], record: Record) -> None:
    _, loaded = model
    texts = PROMPTS.get(model[0], ["0"])[:1]
    short = Record.from_channels("b", record.signal[:, ::-1].copy(), record.fs, list(record.leads), source="b")
    alone, together = (
        [e.map_cells for e in ecgcam.explain_many([record, short], texts, loaded, method=name, gradient=None, batch=batch)]
        for batch in (1, 64)
    )  # fmt: skip
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()


def test_at_the_last_block_of_a_mean_of_tokens_grad_cam_is_hires_cam(record: Record) -> None:
    vit = MODELS["merl vit"]()
    grad, hires = (
        ecgcam.explain(record, ["0"], vit, method=name, gradient=None)[0].map_cells
        for name in ("grad-cam", "hires-cam")
    )
    np.testing.assert_allclose(grad, hires, atol=1e-4 * np.abs(hires).max())


# Options.


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("grad-cam", {"k": 2}, "`options` k=2: no such option; grad-cam takes no options"),
        ("kpca-cam", {"gama": "1"}, "`options` gama=1: no such option; kpca-cam takes kernel, gamma"),
        ("kpca-cam", {"gamma": "wide"}, "`options` gamma=wide: gamma must be a number above 0; kpca-cam takes kernel, gamma"),
        ("kpca-cam", {"gamma": -1.0}, "gamma must be a number above 0"),
        ("kpca-cam", {"gamma": True}, "gamma must be a number above 0"),
        ("kpca-cam", {"gamma": "nan"}, "gamma must be a number above 0"),
        ("kpca-cam", {"kernel": "poly"}, "kernel must be sigmoid, rbf or linear"),
        ("kpca-cam", {"kernel": 3}, "kernel must be sigmoid, rbf or linear"),
        ("fem", {"k": None}, "k must be a number"),
        ("eigen-cam", {"centre": "yes"}, "centre must be true or false"),
        ("eigen-cam", {"centre": 1}, "centre must be true or false"),
    ],
)  # fmt: skip
def test_an_option_that_is_not_is_refused_in_a_line(method: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(EcgcamError) as caught:
        METHODS[method].complete(options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_are_read_from_text_and_completed() -> None:
    given = read_pairs(["gamma=0.5", " kernel = rbf "])
    assert METHODS["kpca-cam"].complete(given) == {"kernel": "rbf", "gamma": 0.5}
    assert METHODS["kpca-cam"].complete({"gamma": np.float64(2)}) == {"kernel": "sigmoid", "gamma": 2.0}
    assert METHODS["eigen-cam"].complete({"centre": "True"}) == {"centre": True}
    for pairs, says in ((["gamma"], "write KEY=VALUE"), (["=1"], "write KEY=VALUE"), (["k=1", "k=2"], "given twice")):
        with pytest.raises(EcgcamError, match=says):
            read_pairs(pairs)


def test_the_table_is_whole() -> None:
    for name, method in METHODS.items():
        assert method.formula.strip(), name
        assert method.misleads.strip(), name
        row = method.row()
        assert list(row) == [
            "name", "shows", "family", "needs", "passes", "options", "formula", "misleads", "signed", "paper",
        ]  # fmt: skip
        assert list(row["options"]) == [option.name for option in method.options]
        json.dumps(row)
        assert method.complete({}) == {option.name: option.default for option in method.options}


def test_options_reach_the_method_and_the_result(record: Record, tmp_path: Path) -> None:
    mini = ecgcam.load_model("mini")
    texts = PROMPTS["mini"][:1]
    usual, low = (
        ecgcam.explain(record, texts, mini, method="fem", gradient=None, options=options)[0]
        for options in ({}, {"k": 0.5})
    )
    assert usual.meta["options"] == {"k": 2.0}
    assert low.meta["options"] == {"k": 0.5}
    assert (low.map > 0).sum() > (usual.map > 0).sum()
    with pytest.raises(EcgcamError, match="`options` kk=1: no such option; fem takes k"):
        ecgcam.explain(record, texts, mini, method="fem", options={"kk": 1})
    kept = ecgcam.Explanation.load(low.save(tmp_path))
    assert kept.meta["options"] == {"k": 0.5}
    seeds = [
        ecgcam.explain(record, texts, mini, method="random-cam", gradient=None, seed=seed)[0].map_cells
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(seeds[0], seeds[1])
    assert not np.array_equal(seeds[0], seeds[2])


def test_a_wrong_option_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", signal=np.zeros((1, 5000)), fs=500, leads=np.array(["II"]))
    # The command ends its process by itself, and runs what was to be run at the end.
    program = (
        "import atexit, sys\nfrom ecgcam.cli import main\n"
        "atexit.register(lambda: print('torch' in sys.modules, flush=True))\nmain(sys.argv[1:])\n"
    )
    call = ["explain", str(tmp_path / "r.npz"), "--text", "af", "--method", "fem", "--set", "k=big"]
    done = subprocess.run(
        [sys.executable, "-c", program, *call], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout.strip()) == (2, "False")
    assert "--set k=big: k must be a number; fem takes k" in done.stderr


def test_set_on_the_command_line_reaches_the_result(record: Record, tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", signal=record.signal, fs=record.fs, leads=np.array(record.leads))
    call = ["explain", "r.npz", "--text", "af", "--method", "kpca-cam", "--set", "kernel=rbf", "--set", "gamma=0.25"]
    program = "import sys\nfrom ecgcam.cli import main\nmain(sys.argv[1:])\n"
    rest = ["--no-png", "--no-gradient", "--out", "out", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", program, *call, *rest], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "out").rglob("explanation.npz")
    assert ecgcam.Explanation.load(found).meta["options"] == {"kernel": "rbf", "gamma": 0.25}


class Two(nn.Module):
    """Two channels, the positive parts of two leads; the embedding is their mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.features(x).mean(-1)
        return mean


def two(similarity: str) -> EcgTextModel:
    layers = {"features": LayerSpec("BCT", 1, 0)}
    return toy_model(Two(), layers, samples=4, similarity=similarity)


def test_the_length_of_the_embedding_is_held_worked_out_by_hand() -> None:
    """A = (12, 0, 0, 0), (0, 0, 0, 16): e = (3, 4), |e| = 5, the score of "0" is 3/5.

    The cosine's gradient is (t - s e/|e|) / |e| / K: (16/25, -12/25) / 20 for each cell; the dot product's (1, 0) / 20.
    """
    model, x, t = two("cosine"), torch.zeros(1, 2, 4), torch.eye(2)[:1]
    x[0, 0, 0], x[0, 1, 3] = 12.0, 16.0
    free = capture(model, x, t, reduce=cam.grad_cam)
    detach_norm = capture(model, x, t, reduce=cam.grad_cam, detach_norm=True)
    assert free.scores.item() == detach_norm.scores.item() == pytest.approx(0.6)
    torch.testing.assert_close(free.embeddings, detach_norm.embeddings)
    torch.testing.assert_close(free.reduced[0], torch.tensor([[0.384, 0.0, 0.0, -0.384]]))
    torch.testing.assert_close(detach_norm.reduced[0], torch.tensor([[0.6, 0.0, 0.0, 0.0]]))


def test_held_cells_add_up_to_the_score_and_free_ones_to_nothing() -> None:
    x = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(3))
    for reduced, wanted in ((True, 1.0), (False, 0.0)):
        found = capture(two("cosine"), x, torch.eye(2), reduce=cam.grad_cam, detach_norm=reduced)
        for cells, score in zip(found.reduced, found.scores.T, strict=True):
            torch.testing.assert_close(cells.sum(-1), wanted * score, atol=1e-6, rtol=0)


def test_near_one_a_cosine_leaves_the_evidence_out_and_the_dot_product_does_not() -> None:
    """One lead's wave is all of "0", a ripple of the other pulls away: the score is 0.9997, and nothing is left to gain."""
    model, x = two("cosine"), torch.zeros(2, 4)
    x[0] = torch.tensor([0.0, 40.0, 0.0, 0.0])
    x[1] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    free = capture(model, x[None], torch.eye(2)[:1], reduce=cam.grad_cam).reduced[0][0]
    detach_norm = capture(model, x[None], torch.eye(2)[:1], reduce=cam.grad_cam, detach_norm=True).reduced[0][0]
    assert free.abs().max() < 0.001
    assert detach_norm.argmax() == 1
    assert detach_norm[1] == pytest.approx(detach_norm.sum())
    assert detach_norm.sum() > 0.999


def test_without_a_cosine_dot_grad_cam_is_grad_cam() -> None:
    x = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(4))
    free, detach_norm = (capture(two("dot"), x, torch.eye(2), detach_norm=detach_norm) for detach_norm in (False, True))
    assert torch.equal(free.gradients, detach_norm.gradients)


def test_dot_grad_cam_goes_through_the_whole_way() -> None:
    known, model = simulate("af", 11, fs=250), ecgcam.load_model("mini", device="cpu")
    record, texts = Record("af-11", known.signal, known.fs, known.leads), ["atrial fibrillation"]
    (free,) = ecgcam.explain(record, texts, model, gradient=None)
    (detach_norm,) = ecgcam.explain(record, texts, model, method="dot-grad-cam", gradient=None)
    np.testing.assert_allclose(detach_norm.lead_scores, free.lead_scores, atol=1e-6)
    assert detach_norm.meta["method"] == "dot-grad-cam"
    # Worked out slowly: the gradient of the dot product with the prompt, the length of the embedding held, times the cells.
    tower, prompt = model.network.get_submodule("signal"), model.encode_text(texts)[0]
    for row in (1, 6):
        alone = torch.zeros(1, 12, 2500)
        volts = torch.from_numpy(known.signal[row]).float()
        alone[0, row] = volts - volts.median()
        with torch.no_grad():
            cells = tower.get_submodule("stages")(tower.get_submodule("stem")(alone))
        cells.requires_grad_(True)
        embedded = tower.get_submodule("head")(cells.mean(-1))[0]
        ((embedded @ prompt) / embedded.detach().norm()).backward()
        assert cells.grad is not None
        expected = (cells.grad.mean(-1, keepdim=True) * cells).sum(1)[0].detach().numpy()
        np.testing.assert_allclose(detach_norm.map_cells[row], expected, atol=0.02 * np.abs(expected).max())
