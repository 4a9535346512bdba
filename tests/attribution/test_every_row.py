"""What holds for every row of the table, those to come too: on three kinds of network, whatever the batch, all or a reason."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.narrow import narrow_resnet, narrow_vit
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution import hooks
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.registry import Method, Option
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.results.explanation import Explanation

TEXTS = ["0", "1", "2"]
# Options that keep the tests short.
SHORT: dict[str, dict[str, object]] = {
    "augmented": {"draws": 2},
    "dff": {"factors": 3, "steps": 30},
    "gradient-shap": {"draws": 7},
    "integrated-gradients": {"steps": 7},
    "is-cam": {"steps": 2},
    "layer-integrated-gradients": {"steps": 3},
    "kernel-shap": {"tile_ms": 1000, "samples": 40},
    "lime": {"tile_ms": 1000, "samples": 40},
    "occlusion": {"window_ms": 1000, "stride_ms": 500},
    "smooth-grad": {"draws": 2},
    "smooth-grad-cam++": {"draws": 2},
    "smooth-grad-squared": {"draws": 2},
    "ss-cam": {"draws": 2},
    "var-grad": {"draws": 2},
}
# Those that draw; of two leads lead-shapley runs every order.
DRAWN = {
    "augmented", "dff", "gradient-shap", "kernel-shap", "lime", "random-cam", "smooth-grad", "smooth-grad-cam++",
    "smooth-grad-squared", "ss-cam", "var-grad",
}  # fmt: skip
# What a network cannot have explained, by what it is made of.
ATTENTION = {"attention-rollout", "chefer", "legrad"}
REFUSED = {
    "plain": {*ATTENTION, "attention-pool"},
    "resnet": {*ATTENTION, "cam"},
    "vit": {"attention-pool", "deconvolution", "guided-backprop", "guided-grad-cam", "cam"},
}


class Plain(nn.Module):
    """Convolutions with ReLU, a mean over time, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv1d(2, 6, 9, 4, 4), nn.ReLU(), nn.Conv1d(6, 8, 5, 2, 2), nn.ReLU())
        self.head = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.head(self.features(x).mean(dim=-1))
        return embedded


def plain() -> EcgTextModel:
    return toy_model(
        Plain(), {"features": LayerSpec("BCT", 8, 0)}, leads=("II", "V1"), samples=2500, fs=250.0, width=6,
        similarity="cosine", fill="baseline",
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], EcgTextModel]] = {"plain": plain, "resnet": narrow_resnet, "vit": narrow_vit}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[str, EcgTextModel]:
    return request.param, NETWORKS[request.param]()


@pytest.fixture(scope="module")
def record() -> Record:
    """Two leads, eight seconds: the rest is padding."""
    simulation = simulate("af", 11)
    signal = simulation.signal[[1, 6]][:, : round(8 * simulation.fs)]
    return Record.from_channels("af", signal, simulation.fs, ("II", "V1"), source="af")


def explained(name: str, model: EcgTextModel, record: Record, texts: list[str], **how: object) -> list[Explanation]:
    return ecgcam.explain(record, texts, model, method=name, options=SHORT.get(name, {}), gradient=None, **how)


def apart(one: Explanation, other: Explanation, least: float = 1e-30) -> float:
    """The largest difference of maps and cells over their largest value, or over `least`."""
    return max(
        float(np.abs(a - b).max(initial=0) / max(least, np.abs(a).max(initial=0)))
        for a, b in ((one.map, other.map), (one.map_cells, other.map_cells))
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_answers_whatever_the_batch_or_says_why_not(
    name: str, network: tuple[str, EcgTextModel], record: Record
) -> None:
    which, model = network
    against = () if name != "finer-cam" else ("5",)
    if name in REFUSED[which]:
        with pytest.raises(EcgcamError, match=f"`method` {name}: .*(choose|use)") as caught:
            explained(name, model, record, TEXTS[:1])
        assert "\n" not in str(caught.value)
        return
    weights = {key: value.clone() for key, value in model.network.state_dict().items()}
    signal = record.signal.copy()
    three = explained(name, model, record, TEXTS, against=against)
    (again,) = explained(name, model, record, TEXTS[:1], against=against, batch=5)
    # A difference of scores carries the rounding of the scores, however small it is itself; weights that are differences lose the
    # digits that the scores share.
    scores = "scores" in METHODS[name].needs
    assert apart(three[0], again, abs(again.score) if scores else 1e-30) <= (1e-4 if scores else 1e-5)
    assert len(three) == 3
    for got in three:
        assert got.map.shape == (2, model.input.samples)
        assert got.map_cells.shape == (2, len(got.cell_time))
        assert (len(got.cell_time) == 0) == (METHODS[name].family == "signal")
        assert np.isfinite(got.map).all()
        assert np.isfinite(got.map_cells).all()
        assert not got.map[~got.valid].any()
        assert METHODS[name].signed or got.map.min() >= 0
        assert said_zero(got) == (not got.map.any())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.network.modules())
    assert all(torch.equal(value, weights[key]) for key, value in model.network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.network.parameters())
    assert np.array_equal(record.signal, signal)


@pytest.mark.parametrize("name", METHODS)
def test_what_draws_repeats_with_its_seed_and_nothing_else_depends_on_it(name: str, record: Record) -> None:
    model = plain() if name not in REFUSED["plain"] else narrow_vit() if name in ATTENTION else narrow_resnet()
    against = () if name != "finer-cam" else ("5",)
    state = torch.random.get_rng_state()
    one, same, other = (explained(name, model, record, TEXTS[:1], against=against, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert apart(one, same) == 0
    assert (apart(one, other) > 0) == (name in DRAWN)


def said_zero(got: Explanation) -> bool:
    return any("the map is zero everywhere" in warning for warning in got.meta["warnings"])


class Against(nn.Module):
    """Whatever the layer shows lowers the score: the embedding is minus the sum of the channels' means."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.features = nn.Sequential(nn.Conv1d(2, 4, 5, 4, 2, bias=False), nn.ReLU())
        self.head = nn.Linear(4, 2, bias=False)
        nn.init.constant_(self.head.weight, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.head(self.features(x).mean(dim=-1))
        return embedded


# Methods whose cells have the sign of what they weigh, of both families with cells; and those that weigh with relu of the
# gradient, and so keep no negative cells. What has a softmax, a mean taken off, or no gradient shows something.
BLANK = {
    "grad-cam", "dot-grad-cam", "finer-cam", "hires-cam", "xgrad-cam", "eigen-cam", "augmented", "cam", "shapley-cam",
    "ablation-cam",
}  # fmt: skip
EMPTY = {"grad-cam-elementwise", "grad-cam++", "layer-cam", "smooth-grad-cam++"}
# On the samples: no negative gradient passes a relu.
STOPPED = {"guided-backprop", "deconvolution", "guided-grad-cam"}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in REFUSED["plain"]])
def test_a_blank_map_says_so_and_offers_the_signed_cells(name: str, record: Record) -> None:
    model = toy_model(
        Against(), {"features": LayerSpec("BCT", 4, 0)}, leads=("II", "V1"), samples=2500, fs=250.0, fill="baseline"
    )
    against = () if name != "finer-cam" else ("1",)
    (got,) = explained(name, model, record, ["0"], against=against)
    assert said_zero(got) == (not got.map.any())
    assert said_zero(got) == (name in BLANK | EMPTY | STOPPED)
    if name in BLANK | EMPTY:
        signed = "; map_cells holds the signed cells" if name in BLANK else ""
        assert f"the map is zero everywhere: nothing raised the score{signed}" in got.meta["warnings"]
        assert got.map_cells.shape[1] > 0
        assert got.map_cells.any() == (name in BLANK)
        assert got.map_cells.max() <= 0


# Adding a method.


def rms(problem: Problem, power: float = 2.0) -> Tensor:
    """|x|^power: a method that this test adds."""
    return problem.x.abs() ** power


def test_a_method_is_added_by_a_function_and_a_row(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, options, the engine, the result and the page of documentation need nothing else."""
    row = Method(
        name="new", function=f"{__name__}:rms", family="signal", needs=("scores",), paper="none", formula="|x|^power",
        misleads="Always.", options=(Option("power", float, 2.0, "The exponent.", above=0),),
    )  # fmt: skip
    monkeypatch.setitem(METHODS, "new", row)
    monkeypatch.setattr(Method, "load", lambda self: rms if self is row else pytest.fail("another method"))
    (got,) = ecgcam.explain(record, ["0"], plain(), method="new", options={"power": "1"}, gradient=None)
    assert got.map.any()
    assert got.meta["options"] == {"power": 1.0}
    with pytest.raises(EcgcamError, match="power must be a number above 0"):
        ecgcam.explain(record, ["0"], plain(), method="new", options={"power": 0})


def statements(function: Callable[..., object]) -> int:
    """Lines of a function's body, its docstring left out."""
    (node,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(node, ast.FunctionDef)
    body = node.body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize(
    "method", [method for method in METHODS.values() if not method.contrast], ids=lambda row: row.name
)
def test_a_method_is_short_and_its_docstring_has_formula_and_source(method: Method) -> None:
    function = method.load()
    said = inspect.getdoc(function) or ""
    assert statements(function) <= 25
    assert Path(inspect.getfile(function)).parent == Path(hooks.__file__).parent
    names = [word.strip("(),") for word in method.paper.split() if word[0].isupper()]
    sourced = any(name in said for name in names) or "no paper" in method.paper or "pytorch-grad-cam" in method.paper
    assert sourced, f"{method.name}: {said}"
    assert any(sign in said for sign in "=|[(*_"), said


@pytest.mark.parametrize(
    "method", [method for method in METHODS.values() if not method.contrast], ids=lambda row: row.name
)
def test_a_default_of_the_table_is_the_function_s(method: Method) -> None:
    stated = inspect.signature(method.load()).parameters
    for option in method.options:
        default = stated[option.name].default
        assert default in (inspect.Parameter.empty, option.default), option.name
