"""Methods of captum, and its peers: toys with known answers, a network left as it was, and refusals that say why."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from tests.narrow import narrow_resnet, narrow_vit
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam import Record, explain, load_model
from ecgcam.attribution import peers
from ecgcam.attribution.deeplift import deep_lift
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError, EcgcamWarning
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import CANONICAL_LEADS

if not os.environ.get("CI"):  # there, it must be installed
    pytest.importorskip("captum")
    pytest.importorskip("sklearn")

SAMPLES = LayerSpec("BCT", 1.0, 0.0)
OF_TILES = pytest.mark.parametrize("function", [peers.kernel_shap, peers.lime])


def problem_of(model: EcgTextModel, x: Tensor, text: Tensor, rows: list[int] | None = None, batch: int = 64) -> Problem:
    fill = 0.1 * torch.ones_like(x)
    if rows is not None:
        absent = [row for row in range(len(x)) if row not in rows]
        x[absent] = fill[absent]
    valid, scale = torch.ones_like(x, dtype=torch.bool), torch.ones(len(x), 1)
    return Problem(model, text, x, fill, valid, scale, rows or list(range(len(x))), model.input.fs, batch=batch)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Residual(nn.Module):
    """Convolutions, batch normalisation, ReLU, a shortcut and a mean over time, as mini has them; an unused module too."""

    def __init__(self, biases: bool = True) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(2, 4, 3, padding=1, bias=biases), nn.Conv1d(4, 4, 3, padding=1, bias=biases)
        self.bn, self.relu1, self.relu2 = nn.BatchNorm1d(4), nn.ReLU(), nn.ReLU()
        self.shortcut, self.head, self.unused = nn.Sequential(), nn.Linear(4, 2, bias=biases), nn.LayerNorm(3)
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters()):
                parameter.copy_(noise(*parameter.shape, seed=i))
            self.bn.running_mean.copy_(noise(4) if biases else torch.zeros(4))
            if not biases:
                self.bn.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        f = self.relu1(self.conv1(x))
        return self.head(self.relu2(self.bn(self.conv2(f)) + self.shortcut(f)).mean(dim=-1))


def residual(similarity: str, biases: bool = True) -> EcgTextModel:
    return toy_model(Residual(biases), {"relu1": SAMPLES}, samples=8, similarity=similarity)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_deep_lift_sums_to_what_the_signal_scores_over_its_fill(similarity: str) -> None:
    problem = problem_of(residual(similarity), 2 * noise(2, 8), torch.tensor([0.6, -0.8]))
    values = deep_lift(problem)
    whole, empty = problem.scores(torch.stack([problem.x, problem.fill]))
    assert abs(whole - empty) > 0.1
    torch.testing.assert_close(values.sum(), whole - empty, rtol=1e-5, atol=1e-6)
    assert abs(problem.report["completeness_error"]) < 1e-5


def test_deep_lift_of_one_neuron_by_hand() -> None:
    # relu(x_I + 2 x_II), a sample: x = (3, -1), fill = 0.1: from relu(0.3) = 0.3 to relu(1) = 1, multiplier 0.7 / 0.7 = 1;
    # x = (1, -2): 0.3 to 0, the input from 0.3 to -3, multiplier 1 / 11. Means over time halve them.
    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum, self.relu = nn.Conv1d(2, 1, 1, bias=False), nn.ReLU()
            with torch.no_grad():
                self.sum.weight.copy_(torch.tensor([[[1.0], [2.0]]]))

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.sum(x)).mean(dim=-1)

    model = toy_model(Neuron(), {"relu": SAMPLES}, samples=2, width=1)
    problem = problem_of(model, torch.tensor([[3.0, 1.0], [-1.0, -2.0]]), torch.ones(1))
    expected = torch.tensor([[2.9, 0.9 / 11], [-2.2, -4.2 / 11]]) / 2
    torch.testing.assert_close(deep_lift(problem), expected)


class Additive(nn.Module):
    """Each tile adds its weighted sum: the values of four tiles of two samples are known."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.register_buffer("weights", torch.tensor([[1.0, 0, 0, 2], [0, -3, 0.5, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.features(x) * self.weights).sum((1, 2))[:, None].expand(-1, 2) + 5


X = torch.tensor([[2.1, 0.0, 4.0, 1.1], [7.0, 0.1, 2.1, 0.0]])
# Tiles of two samples, each sample less its fill of 0.1: 2 x 1; 1 x 2; 0 x -3; 2 x 0.5.
VALUES = torch.tensor([[2.0, 2.0], [0.0, 1.0]])


def additive(batch: int = 64, **change: Tensor) -> Problem:
    model = toy_model(Additive(), {"features": SAMPLES}, samples=4)
    problem = problem_of(model, X.clone(), torch.tensor([1.0, 0.0]), batch=batch)
    return Problem(**{**vars(problem), **change})


@OF_TILES
def test_tiles_of_an_additive_score_get_what_they_add(function: Callable[..., Tensor]) -> None:
    # 20 ms at 100 Hz are two samples. Score per second: the value x 100 / 2 at each of them.
    options = {"alpha": 1e-9} if function is peers.lime else {}
    problem = additive()
    values = function(problem, tile_ms=20.0, samples=60, **options)
    torch.testing.assert_close(values, VALUES.repeat_interleave(2, dim=1) * 50, rtol=1e-4, atol=1e-2)
    assert problem.report["tiles"] == 4


@OF_TILES
def test_padding_and_absent_leads_are_no_players(function: Callable[..., Tensor]) -> None:
    valid = torch.tensor([[True, True, True, False]] * 2)
    x = X.clone()
    x[1] = 0.1
    problem = additive(valid=valid, x=x)
    problem = Problem(**{**vars(problem), "rows": [0]})
    values = function(problem, tile_ms=20.0, samples=60, **({"alpha": 1e-9} if function is peers.lime else {}))
    assert problem.report["tiles"] == 2
    assert not values[1].any()
    assert values[0, 3] == 0
    # The padding's 1 x 2 is part of every signal, and of no tile.
    assert values[0, 2].abs() < 1.0
    torch.testing.assert_close(values[0, :2], torch.tensor([100.0, 100.0]), rtol=1e-3, atol=0.1)


@OF_TILES
def test_seeded_whatever_the_batch_and_torchs_own_generator_goes_on(function: Callable[..., Tensor]) -> None:
    model = residual("cosine")
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def run(batch: int, seed: int = 0, shared: dict[str, Tensor] | None = None) -> Tensor:
        problem = problem_of(model, 2 * noise(2, 8), torch.tensor([0.6, -0.8]), batch=batch)
        changed = {"seed": seed, "shared": {} if shared is None else shared}
        return function(Problem(**{**vars(problem), **changed}), tile_ms=20.0, samples=40)

    shared: dict[str, Tensor] = {}
    one = run(64, shared=shared)
    torch.testing.assert_close(one, run(7), rtol=1e-4, atol=1e-4)
    assert torch.equal(one, run(64))
    assert torch.equal(one, run(64, shared=shared))  # the second prompt of a window runs nothing again
    assert not torch.equal(one, run(64, seed=1))
    assert torch.equal(state, torch.get_rng_state())


@OF_TILES
@pytest.mark.parametrize(("tile_ms", "samples"), [(20.0, 4), (10.0, 9)])
def test_too_few_samples_are_refused(function: Callable[..., Tensor], tile_ms: float, samples: int) -> None:
    with pytest.raises(EcgcamError, match=f"tiles of {tile_ms:g} ms and {samples} samples; there must be"):
        function(additive(), tile_ms=tile_ms, samples=samples)


def traces(network: nn.Module) -> list[object]:
    """Everything that captum could leave on a network."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    state: list[object] = []
    for name, module in network.named_modules():
        state += [
            name,
            type(module),
            module.training,
            sorted(vars(module)),
            *(len(vars(module)[kind]) for kind in kinds),
        ]
    for parameter in [*network.parameters(), *network.buffers()]:
        state += [parameter.requires_grad, parameter.grad, parameter.data_ptr(), parameter._version, id(parameter)]
    return state


def test_a_missing_captum_is_one_line_that_names_the_extra() -> None:
    """In a process of its own, where captum cannot be imported; the table and its help do not miss it."""
    code = """
import sys
sys.modules["captum"] = None
from ecgcam import load_model
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
for name in ("kernel-shap", "lime"):
    assert METHODS[name].row()["name"] == name
    try:
        METHODS[name].bind({})(None)
    except EcgcamError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for name, line in zip(("kernel-shap", "lime"), lines, strict=True):
        assert line.startswith(f"`method` {name}: ")
        assert line.endswith("pip install 'ecgcam[captum]'")


def test_captum_is_imported_only_when_used() -> None:
    code = "import sys, ecgcam.attribution.peers; sys.exit('captum' in sys.modules or 'sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


MODELS = {"mini": lambda: load_model("mini", device="cpu"), "resnet": narrow_resnet, "vit": narrow_vit}


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Iterator[EcgTextModel]:
    """A model by name, which must be the same after the test."""
    chosen = MODELS[request.param]()
    before = traces(chosen.network)
    yield chosen
    assert traces(chosen.network) == before


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("name", ["deep-lift", "lrp", "kernel-shap", "lime"])
@pytest.mark.parametrize("model", ["mini", "vit", "resnet"], indirect=True)
def test_every_method_on_every_model_explains_or_says_why_not(model: EcgTextModel, name: str, prompts: int) -> None:
    texts = [["0", "1", "2"], ["sinus rhythm", "atrial fibrillation", "pvc"]][model.name == "mini"][:prompts]
    t = np.arange(5000) / 500
    beat = np.exp(-((np.mod(t, 0.9) - 0.3) ** 2) / (2 * 0.012**2))
    signal = (np.linspace(-0.5, 1.0, 12)[:, None] * beat).astype(np.float32)
    record, options = Record("beats", signal.copy(), 500.0, CANONICAL_LEADS), {}
    if name in {"kernel-shap", "lime"}:
        options = {"tile_ms": 10000, "samples": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", EcgcamWarning)  # notes on the recording
        explanations = explain(record, texts, model, method=name, options=options, gradient=None)
    assert len(explanations) == prompts
    for explanation in explanations:
        assert explanation.map.shape == (12, model.input.samples)
        assert explanation.map_cells.shape == (12, 0)
        assert np.isfinite(explanation.map).all()
        assert explanation.meta["signed"]
    if name in {"deep-lift", "kernel-shap"}:
        per = 1.0 if name == "deep-lift" else model.input.fs
        for explanation in explanations:
            gained = explanation.score - explanation.empty_score
            assert explanation.map.sum() / per == pytest.approx(gained, abs=1e-3)
    assert np.array_equal(record.signal, signal)
