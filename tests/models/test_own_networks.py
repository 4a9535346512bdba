"""Networks as researchers write them: every method is right on each, or refuses for a reason that is named here."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.attribution.test_every_row import SHORT
from tests.models.own_networks import (
    CASES,
    INPUT,
    Case,
    Conv,
    Folded,
    Joint,
    LastToken,
    LeadPatches,
    Names,
    Pooled,
    SampledUp,
    SkippedAtRandom,
    Task,
    Tokens,
    TrainsItself,
    WindowAttention,
    Windows,
)
from tests.models.plain import plain_grad_cam, state
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ecgcam import explain
from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.hooks import capture, score_signals
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.placement import place_cells
from ecgcam.errors import EcgcamError
from ecgcam.evidence.sanity import randomised
from ecgcam.models.own import load_own, own_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import InputSpec, LayerSpec
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

ATTENTION = {"attention-rollout", "chefer", "legrad", "attention-pool"}
GUIDED = {"guided-backprop", "deconvolution", "guided-grad-cam"}
# Method -> why it may refuse, and a pattern of the message.
REASONS = {
    **dict.fromkeys(
        ATTENTION,
        (
            "no attention over the cells",
            r"has no (blocks|attention)|the attention of \S+ (is over|has \d+ tokens)|the blocks around the attention",
        ),
    ),
    **dict.fromkeys(GUIDED, ("rules for relu", "changes how gradients pass relu")),
    "lrp": ("recurrent layers", "no rule for a recurrent layer"),
    "cam": ("a linear head", "linear head"),
}


def built(name: str) -> tuple[Case, Any, EcgTextModel]:
    case = CASES[name]
    torch.manual_seed(0)
    own = case.build()
    return case, own, own_model(own, layer=case.layer, targets=not case.text, input=INPUT)


# Of these every method runs in `make test`; of the others in the slow group.
QUICK = ("tokens, time first", "folded leads", "closures")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


@pytest.fixture(scope="module")
def table_case(request: pytest.FixtureRequest) -> tuple[Case, Any, EcgTextModel]:
    return built(request.param)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Case, Any, EcgTextModel]:
    return built(request.param)


@pytest.fixture(scope="module")
def record() -> Record:
    known = simulate("normal", 3)
    return Record.from_channels("normal", known.signal[[0, 1, 6]], known.fs, INPUT.leads, source="normal")


def state_of(own: Any) -> list[object]:
    return state(own) if isinstance(own, nn.Module) else state(own.network)


def test_cells_are_found_where_they_lie(case: tuple[Case, Any, EcgTextModel]) -> None:
    known, _, model = case
    where = model.spec.layers[known.layer]
    assert (where.layout, where.leads) == (known.layout, known.leads)
    assert (where.n_prefix_tokens, where.n_suffix_tokens) == (known.prefix, known.suffix)
    assert where.step == known.step
    assert abs(where.offset - known.offset) <= known.tolerance


def test_grad_cam_is_plain_torch_one_signal_at_a_time(case: tuple[Case, Any, EcgTextModel]) -> None:
    known, _, model = case
    if model.notes:  # random, or dependent on the batch: a note tells
        return
    x = torch.randn(2, 3, 1000, generator=torch.Generator().manual_seed(5))
    text = model.encode_text([known.text or "0"])
    found = capture(model, x, text, reduce=grad_cam).reduced[0]
    half = any(weight.dtype == torch.float16 for weight in model.network.parameters())
    for i in range(2):
        wanted = plain_grad_cam(model, x[i : i + 1], text)
        # Half precision holds eleven bits.
        size = (5e-3 if half else 1e-5) * float(wanted.abs().max())
        torch.testing.assert_close(found[i].float(), wanted, rtol=1e-4, atol=size)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("table_case", ALL, indirect=True)
def test_every_method_runs_or_refuses_for_a_named_reason(
    name: str, table_case: tuple[Case, Any, EcgTextModel], record: Record
) -> None:
    known, own, model = table_case
    against = () if name != "finer-cam" else ("st elevation" if known.text else "1",)
    before = state_of(own)
    how: dict[str, Any] = {"method": name, "options": SHORT.get(name, {}), "gradient": None, "against": against}
    found, refused = None, ""
    try:
        (found,) = explain(record, [known.text or "0"], model, **how)
    except EcgcamError as error:
        refused = str(error)
    assert "\n" not in refused
    if found is None:
        assert name in REASONS, refused
        assert re.search(REASONS[name][1], refused), refused
    else:
        assert np.isfinite(found.map).all()
        assert np.isfinite(found.map_cells).all()
    assert state_of(own) == before


def test_a_deep_lift_map_sums_to_the_difference_of_scores(case: tuple[Case, Any, EcgTextModel], record: Record) -> None:
    known, _, model = case
    (found,) = explain(record, [known.text or "0"], model, method="deep-lift", gradient=None)
    report = found.meta["report"]
    if not model.draws and "batch" not in " ".join(model.notes):
        mass = float(np.abs(found.map).sum())
        # Half precision holds eleven bits.
        bits = 5e-3 if any(weight.dtype == torch.float16 for weight in model.network.parameters()) else 1e-3
        assert report["completeness_error"] <= bits * mass + 1e-6


def test_a_relevance_map_accounts_for_the_whole_score(case: tuple[Case, Any, EcgTextModel], record: Record) -> None:
    known, _, model = case
    if model.notes or any(isinstance(one, nn.RNNBase) for one in model.network.modules()):
        return
    (found,) = explain(record, [known.text or "0"], model, method="lrp", gradient=None)
    report = found.meta["report"]
    size = abs(report["sum"]) + abs(report["kept_by_biases"]) + abs(report["kept_by_softmax"])
    half = any(weight.dtype == torch.float16 for weight in model.network.parameters())
    assert abs(report["unaccounted"]) <= (2e-2 if half else 1e-3) * size


def test_notes_tell_what_is_random_and_what_depends_on_the_batch() -> None:
    assert "random" in " ".join(built("random")[2].notes)
    assert "batch" in " ".join(built("batch dependent")[2].notes)
    assert not built("batch norm")[2].notes


@pytest.mark.parametrize(
    ("build", "samples", "layer", "step", "offset"),
    [(WindowAttention, 1024, "norm", 16, 7.5), (SampledUp, 5000, "last", 5, -7.5)],
)
def test_neighbours_that_look_at_the_same_samples_are_told_apart(
    build: Callable[[], nn.Module], samples: int, layer: str, step: float, offset: float
) -> None:
    torch.manual_seed(0)
    source = InputSpec(fs=500.0, seconds=samples / 500, leads=INPUT.leads)
    where = own_model(build(), layer=layer, targets=True, input=source).spec.layers[layer]
    assert where.step == step
    assert abs(where.offset - offset) <= 1


def test_buffers_that_a_forward_pass_changes_are_put_back(record: Record) -> None:
    network = TrainsItself()
    before = [buffer.clone() for buffer in network.buffers()]
    model = own_model(network, layer="features", targets=True, input=INPUT)
    assert "batch" in " ".join(model.notes)
    one, again = (explain(record, ["0"], model)[0] for _ in range(2))
    assert np.array_equal(one.map, again.map)
    assert all(torch.equal(*pair) for pair in zip(before, network.buffers(), strict=True))
    assert any(bool(buffer.any()) for buffer in before)


def test_a_layer_that_is_seldom_left_out_is_found_random() -> None:
    for seed in range(8):
        torch.manual_seed(seed)
        network = SkippedAtRandom()
        before = state(network)
        model = own_model(network, layer="features", targets=True, input=INPUT)
        assert model.draws
        assert "random" in " ".join(model.notes)
        assert state(network) == before


def test_a_layer_that_runs_in_some_passes_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SkippedAtRandom()
    chances = iter([1.0, 1.0, 0.0])
    monkeypatch.setattr(torch, "rand", lambda _: torch.tensor([next(chances)]))
    with pytest.raises(EcgcamError, match="`layer` further: runs in some passes and not in others"):
        place_cells(network, network.further, "further", 3, 1000, network)


def test_gradients_that_cancel_over_the_cells_are_no_map() -> None:
    torch.manual_seed(0)
    assert own_model(Pooled(), targets=True, input=INPUT).spec.layer == "conv"
    model = own_model(Pooled(), layer="weight", targets=True, input=INPUT)
    assert "the gradients at layer weight cancel over its cells" in " ".join(model.notes)
    assert not own_model(Pooled(), layer="conv", targets=True, input=INPUT).notes
    found = capture(model, torch.randn(2, 3, 1000), torch.eye(3)[:1], reduce=grad_cam).reduced[0]
    assert not found.any()


def test_a_layer_whose_batch_is_not_the_signals_is_refused() -> None:
    with pytest.raises(EcgcamError, match="its batch axis does not hold the signals"):
        own_model(Windows(), layer="encoder", targets=True, input=INPUT)


class LeadsFirst(Folded):
    """The first lead of every signal comes first in the batch."""

    def forward(self, x: Tensor) -> Tensor:
        cells = self.encoder(x.transpose(0, 1).reshape(-1, 1, x.shape[2])).mean(-1)
        return self.fc(cells.unflatten(0, (3, -1)).transpose(0, 1).flatten(1))


@pytest.mark.parametrize(
    ("build", "path", "where", "says"),
    [
        (Tokens, "encoder", LayerSpec("BCT", 20, 9.5), r'its output is LayerSpec\("BTC", step=20, offset=9.5\)'),
        (lambda: Tokens(False), "encoder", LayerSpec("BTC", 20, 9.5), r'its output is LayerSpec\("TBC"'),
        (lambda: Conv(nn.BatchNorm1d), "features", LayerSpec("BCT", 10, 400), "samples from there"),
        (Folded, "encoder", LayerSpec("BCT", 5, 0), r'its output is LayerSpec\("\(BL\)CT"'),
        (LastToken, "put", LayerSpec("BTC", 20, 9.5), r"some of its cells do not follow time: .*n_suffix_tokens=1"),
        (LeadPatches, "block", LayerSpec("BTC", 20, 9.5, leads=3), r"do not follow time: .*n_prefix_tokens=1, leads=3"),
        (LeadPatches, "block", LayerSpec("BTC", 20, 109.5, 1, 3), "samples from there"),
        (
            LeadsFirst,
            "encoder",
            LayerSpec("(BL)CT", 5, 0, leads=3),
            "pulses at the times of three cells move others most",
        ),
        (lambda: Conv(nn.BatchNorm1d), "features", LayerSpec("XYZ", 10, 0), "layout 'XYZ'; choose BCT, "),  # type: ignore[arg-type]
        (
            lambda: Conv(nn.BatchNorm1d),
            "features",
            LayerSpec("BTC", float("nan"), 0),
            "step=nan and offset=0 must be finite",
        ),
        (lambda: Conv(nn.BatchNorm1d), "features", LayerSpec("BTC", 10, 0, rows=3), "rows=3 is the size of an L axis"),
        (Windows, "encoder", LayerSpec("(BL)CT", 5, 0, leads=2), "leads=2, but the input has 3"),
        (Windows, "encoder", LayerSpec("BCT", 5, 0), "its batch axis does not hold the signals"),
    ],
)
def test_a_wrong_declaration_is_refused(build: Callable[[], nn.Module], path: str, where: LayerSpec, says: str) -> None:
    with pytest.raises(EcgcamError, match=says):
        own_model(build(), targets=True, input=INPUT, layers={path: where})


@pytest.mark.parametrize("where", [LayerSpec("BCT", 10, 0), LayerSpec("BCT", 10, 5)])
def test_a_declaration_within_what_looking_can_tell_is_believed(where: LayerSpec) -> None:
    model = own_model(Conv(nn.BatchNorm1d), targets=True, input=INPUT, layers={"features": where})
    assert model.spec.layers == {"features": where}


def test_one_model_works_from_several_threads(record: Record) -> None:
    network = Conv(nn.BatchNorm1d)
    model = own_model(network, layer="features", targets=True, input=INPUT)

    def one(number: int) -> Tensor:
        (found,) = explain(record, [str(number % 3)], model)
        return torch.from_numpy(found.map_cells)

    alone = [one(number) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, range(24)))
    for number, found in enumerate(together):
        assert torch.equal(found, alone[number % 3])
    assert all(weight.requires_grad for weight in network.parameters())
    assert network.training


def test_the_whole_module_is_used_where_a_part_is_named_network() -> None:
    torch.manual_seed(0)
    task = Task().train()
    model = own_model(task, layer="neck", targets=True, input=INPUT)
    x = torch.randn(2, 3, 1000)
    with torch.no_grad():
        found = model.encode_signal(x)
        wanted = task.eval()(x)
    torch.testing.assert_close(found, wanted)
    with torch.no_grad():
        task.fc.weight[0, 0] += 1
    assert own_model(task, layer="neck", targets=True, input=INPUT).checkpoint_sha256 != model.checkpoint_sha256


def test_a_closure_s_head_is_in_evaluation_mode_hashed_and_randomised() -> None:
    _, _, model = built("closures")
    x = torch.randn(2, 3, 1000)
    with torch.no_grad():
        assert torch.equal(model.encode_signal(x), model.encode_signal(x))
    twin = randomised(model, 1.0, 0)
    with torch.no_grad():
        assert not torch.allclose(twin.encode_signal(x), model.encode_signal(x))
    assert sum(weight.numel() for weight in model.network.parameters()) == 3 * 8 * 9 + 8 + 8 * 4 + 4


def test_sanity_copies_a_network_that_keeps_its_features() -> None:
    _, task, model = built("task")
    task.eval()(torch.randn(1, 3, 1000))
    assert not task.kept.is_leaf
    assert randomised(model, 0.5, 0).network is not model.network


def test_labels_may_be_a_dict_of_numbers() -> None:
    model = own_model(Names(), layer="layers.0", targets=True, input=INPUT)
    assert model.encode_text(["AF", "SR", "LBBB"]).argmax(dim=1).tolist() == [0, 1, 2]
    with pytest.raises(EcgcamError, match="`labels` must give each output one name"):
        own_model(Names(), layer="layers.0", targets=True, input=INPUT, labels={"AF": 0, "SR": 2})


def test_a_checkpoint_goes_to_a_function_that_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    name = f"takes_{tmp_path.name.replace('-', '_')}"
    code = "def load():\n    return 1\n\n\ndef load_state(state):\n    raise ValueError(sorted(state))\n"
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    with pytest.raises(EcgcamError, match="takes no weights"):
        load_own(f"{name}:load", checkpoint=tmp_path / "w.pt")
    with pytest.raises(EcgcamError, match=r"\['bias', 'weight'\]"):
        load_own(f"{name}:load_state", checkpoint=tmp_path / "w.pt")
    with pytest.raises(EcgcamError, match="`text_model`"):
        load_own(f"{name}:load", text_model=tmp_path)


def test_a_layer_is_chosen_where_none_is_named() -> None:
    assert own_model(Tokens(), targets=True, input=INPUT).spec.layer == "encoder"
    torch.manual_seed(0)
    # Behind the last block only the class token is read.
    assert own_model(Tokens(class_token=True), targets=True, input=INPUT).spec.layer != "encoder"


def test_torchscript_and_inference_mode() -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        scripted = torch.jit.script(Conv(nn.BatchNorm1d).eval())
    assert own_model(scripted, targets=True, input=INPUT).spec.layer == "signal"
    lazy = nn.Sequential(nn.LazyConv1d(4, 9, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.LazyLinear(3))
    assert own_model(lazy, layer="1", targets=True, input=INPUT).spec.layers == {"1": LayerSpec("BCT", 5.0, 0.0)}
    with torch.inference_mode():
        network = Conv(nn.BatchNorm1d)
    model = own_model(network, layer="features", targets=True, input=INPUT)
    assert capture(model, torch.randn(1, 3, 1000), torch.eye(3)[:1]).gradients.any()


class Checkpointed(Conv):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(checkpoint(self.features, x, use_reentrant=True).mean(-1))


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_reentrant_checkpointing_is_one_line(record: Record) -> None:
    network = Checkpointed(nn.BatchNorm1d)
    with pytest.raises(EcgcamError, match="torch takes no gradient on the way to it"):
        own_model(network, layer="features", targets=True, input=INPUT)
    model = own_model(network, targets=True, input=INPUT, layers={"features": LayerSpec("BCT", 10, 0)})
    (found,) = explain(record, ["0"], model, method="lead-occlusion", gradient=None)
    assert found.map.any()
    with pytest.raises(EcgcamError, match=r"gradient|ran 2 times"):
        explain(record, ["0"], model, method="saliency", gradient=None)


def test_joint_scores_share_the_encoder_and_score_what_is_asked() -> None:
    torch.manual_seed(0)
    network = Joint()
    model = own_model(network, layer="tokens", input=INPUT)
    model.encode_text([f"finding {i}" for i in range(40)])  # asked before; not run again
    texts = ["af", "normal", "st elevation"]
    x = torch.randn(2, 3, 1000)
    rows = model.encode_text(texts)
    network.encoded = 0
    called: list[int] = []
    score_texts = network.score_texts
    model.network._score_texts = lambda tokens, some: called.append(len(some)) or score_texts(tokens, some)  # type: ignore[assignment, union-attr, func-returns-value]
    _, scores = score_signals(model, x, rows)
    assert network.encoded == 1
    assert sum(called) == 3
    with torch.no_grad():
        wanted = network.eval().score_texts(network.encode_once(x), texts)
    torch.testing.assert_close(scores, wanted)
    found = capture(model, x, rows)
    leaf = network.encode_once(x).detach().requires_grad_()
    for p in range(3):
        (slope,) = torch.autograd.grad(network.score_texts(leaf, texts)[:, p].sum(), leaf)
        torch.testing.assert_close(found.gradients[p], slope.transpose(1, 2))
