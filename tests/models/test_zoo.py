"""The networks of ../shared/cases: cells where they lie, and two published classifiers whose scores are plain torch's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

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
REFUSES = {
    "attention-rollout", "chefer", "legrad", "attention-pool", "guided-backprop", "deconvolution", "guided-grad-cam",
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


def test_a_division_by_zero_is_told(shared: Path) -> None:
    known = simulate("normal", 3)
    record = Record("n", known.signal, known.fs, known.leads)
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
