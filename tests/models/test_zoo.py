"""The networks of ../shared/cases: cells where they lie, plain torch's Grad-CAM, and every method; two published classifiers."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.attribution.test_every_row import SHORT
from tests.models.plain import plain_grad_cam, state

from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.models.own import own_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.api import explain

# Network, layer, layout, step, offset.
PLACES = [
    ("batch_norm", "features", "BCT", 20, 0),
    ("group_norm", "features", "BCT", 20, 0),
    ("instance_norm", "features", "BCT", 20, 0),
    ("z_score_inside", "inner.features", "BCT", 20, 0),
    ("tokens_btc", "encoder", "BTC", 50, 24.5),
    ("tokens_tbc", "encoder", "TBC", 50, 24.5),
    ("leads_in_batch", "encoder", "(BL)CT", 10, 0),
    ("task_in_training_mode", "neck", "BCT", 10, 0),
    ("closures", "0", "BCT", 10, 0),
    ("batch_dependent", "features", "BCT", 20, 0),
    ("random_outputs", "inner.features", "BCT", 20, 0),
    ("recurrent", "rnn", "BTC", 10, 0),
    ("names", "layers.0", "BCT", 10, 0),
    ("half", "inner.features", "BCT", 20, 0),
    ("double", "inner.features", "BCT", 20, 0),
    ("planar", "rows", "BCLT", 10, 0),
    ("planar", "mixed", "BCLT", 10, 0),
    ("joint", "tokens", "BTC", 50, 24.5),
    ("compiled", "features", "BCT", 20, 0),
]
TEXTS = {"closures", "joint"}
ATTENTION = ("attention-rollout", "chefer", "legrad", "attention-pool")
RULES = ("guided-backprop", "deconvolution", "guided-grad-cam")
REFUSES = {*ATTENTION, *RULES}
RELU = {"leads_in_batch", "task_in_training_mode", "closures", "names", "planar", "tokens_btc", "tokens_tbc"}
# The networks that a method may refuse, and a pattern of its message. `encoder` of the tokens is a transformer with attention.
REFUSALS = {
    **dict.fromkeys(
        ATTENTION[:3],
        ({name for name, *_ in PLACES} - {"tokens_btc", "tokens_tbc"}, "has no blocks|has 19 tokens, which are not"),
    ),
    "attention-pool": ({name for name, *_ in PLACES} - {"joint"}, "has no attention pooling"),
    **dict.fromkeys(RULES, ({name for name, *_ in PLACES} - RELU, "changes how gradients pass relu, and this network also runs")),
    "lrp": ({"recurrent"}, "no rule for a recurrent layer"),
    "cam": ({"leads_in_batch", "closures", "random_outputs", "names", "planar rows", "joint"}, "a linear head reads the mean"),
}  # fmt: skip
# What takes minutes on 12 leads and 5000 samples with its own settings.
BRIEF = SHORT | {
    "lead-shapley": {"permutations": 4}, "occlusion": {"window_ms": 5000, "stride_ms": 5000},
    "kernel-shap": {"tile_ms": 5000, "samples": 60}, "lime": {"tile_ms": 5000, "samples": 60},
}  # fmt: skip


def module_of(path: Path) -> ModuleType:
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(shared: Path, name: str, layer: str) -> EcgTextModel:
    network: Any = getattr(module_of(shared / "cases/own_models/zoo.py"), name)()
    return own_model(network, layer=layer, targets=name not in TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer", "layout", "step", "offset"), PLACES)
def test_cells_lie_where_the_network_says(
    name: str, layer: str, layout: str, step: float, offset: float, shared: Path
) -> None:
    where = made(shared, name, layer).spec.layers[layer]
    assert (where.layout, where.step, where.offset) == (layout, step, offset)


@pytest.fixture(scope="module", params=[(name, layer) for name, layer, *_ in PLACES], ids=" ".join)
def case(request: pytest.FixtureRequest, shared: Path) -> tuple[str, EcgTextModel]:
    name, layer = request.param
    return f"{name} {layer}" if name == "planar" else name, made(shared, name, layer)


@pytest.fixture(scope="module")
def record() -> Record:
    known = simulate("normal", 3)
    return Record("n", known.signal, known.fs, known.leads)


@pytest.mark.slow
def test_grad_cam_is_plain_torch_one_signal_and_lead_at_a_time(case: tuple[str, EcgTextModel]) -> None:
    name, model = case
    if name in {"random_outputs", "batch_dependent"}:  # a note says that no two calls, or batches, agree
        assert model.notes
        return
    x = torch.diag_embed(torch.randn(5000, 12, generator=torch.Generator().manual_seed(5))).permute(1, 2, 0)
    text = model.encode_text(["atrial fibrillation" if name in TEXTS else "0"])
    found = capture(model, x, text, reduce=grad_cam).reduced[0]
    for i, signal in enumerate(x):
        wanted = plain_grad_cam(model, signal[None], text)
        # Half precision holds eleven bits.
        size = (5e-3 if name == "half" else 1e-5) * float(wanted.abs().max())
        torch.testing.assert_close(found[i].float(), wanted, rtol=1e-4, atol=size)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_or_refuses_for_a_named_reason(
    method: str, case: tuple[str, EcgTextModel], record: Record
) -> None:
    name, model = case
    texts = ("atrial fibrillation", "sinus rhythm") if name in TEXTS else ("0", "1")
    against = texts[1:] if method == "finer-cam" else ()
    before = state(model.network)
    found, refused = None, ""
    try:
        (found,) = explain(
            record, [texts[0]], model, method=method, options=BRIEF.get(method, {}), gradient=None, against=against
        )
    except EcgcamError as error:
        refused = str(error)
    networks, says = REFUSALS.get(method, (set(), ""))
    assert (found is None) == (not {name, name.split()[0]}.isdisjoint(networks)), refused
    if found is None:
        assert re.search(says, refused)
        assert "\n" not in refused
    else:
        assert np.isfinite(found.map).all()
        assert np.isfinite(found.map_cells).all()
    assert state(model.network) == before


def test_a_division_by_zero_is_told(shared: Path, record: Record) -> None:
    with pytest.raises(
        EcgcamError, match=r"values that are not finite for a signal with a constant lead.*`mask` noise"
    ):
        explain(record, ["0"], made(shared, "z_score_nan", "inner.features"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lbbb", "avb"])
def test_published_networks_score_as_plain_torch_and_every_method_runs_or_refuses(name: str, shared: Path) -> None:
    module = module_of(shared / "cases/networks/aime2024.py")
    network = getattr(module, name)()
    model = own_model(network, layer="stages.4", targets=True)
    known = simulate("lbbb", 1)
    signal = module.filtered(known.signal.astype(np.float64)).astype(np.float32)
    record = Record("f", signal, known.fs, known.leads)
    with torch.no_grad():
        wanted = float(network.eval()(torch.from_numpy(signal[None, :, :5000].copy()))[0, 1])
    short = {
        "lead-shapley": {"permutations": 4}, "occlusion": {"window_ms": 2000, "stride_ms": 2000}, "score-cam": {},
        "kernel-shap": {"samples": 130, "tile_ms": 5000}, "lime": {"samples": 130, "tile_ms": 5000},
        "integrated-gradients": {"steps": 4}, "gradient-shap": {"draws": 3}, "ss-cam": {"draws": 1}, "is-cam": {"steps": 1},
        "smooth-grad": {"draws": 2}, "smooth-grad-squared": {"draws": 2}, "var-grad": {"draws": 2}, "augmented": {"draws": 2},
    }  # fmt: skip
    for method in METHODS:
        if method in {"score-cam", "ss-cam", "is-cam", "ablation-cam"}:
            continue  # 768 passes each
        against = ("0",) if method == "finer-cam" else ()
        try:
            (found,) = explain(
                record, ["1"], model, method=method, options=short.get(method, {}), gradient=None, against=against
            )
        except EcgcamError:
            assert method in REFUSES | {"cam"}
            continue
        if method != "finer-cam":
            assert found.score == pytest.approx(wanted, rel=1e-5)
        assert np.isfinite(found.map).all()
