"""The methods that run the model themselves, on three kinds of network, the whole way through `ecgcam.explain`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.narrow import narrow_resnet, narrow_vit

import ecgcam
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.models.base import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

# Options that keep the tests short.
SHORT: dict[str, dict[str, object]] = {
    "score-cam": {},
    "ss-cam": {"draws": 1},
    "is-cam": {"steps": 1},
    "ablation-cam": {},
    "smooth-grad-cam++": {"draws": 2},
    "shapley-cam": {},
    "occlusion": {"window_ms": 1000, "stride_ms": 1000},
    "lead-occlusion": {},
    "lead-shapley": {},
}
MODELS: dict[str, Callable[[], EcgTextModel]] = {
    "mini": lambda: ecgcam.load_model("mini"),
    "merl resnet": narrow_resnet,
    "merl vit": narrow_vit,
}
TEXTS = {"mini": ["atrial fibrillation", "normal ECG", "left bundle branch block"]}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[list[str], EcgTextModel]:
    return TEXTS.get(request.param, ["0", "1", "2"]), MODELS[request.param]()


def recorded(leads: list[int], seconds: float = 10.0) -> Record:
    simulation = simulate("af", 11)
    signal = simulation.signal[leads][:, : round(seconds * simulation.fs)]
    return Record.from_channels("af", signal, simulation.fs, [simulation.leads[i] for i in leads], source="af")


@pytest.mark.parametrize("name", SHORT)
def test_every_method_on_every_model(name: str, model: tuple[list[str], EcgTextModel]) -> None:
    texts, loaded = model
    one_lead = name in ("score-cam", "ss-cam", "is-cam")
    record = recorded([6] if one_lead else [6, 10], seconds=6)
    weights = {key: value.clone() for key, value in loaded.network.state_dict().items()}
    signal = record.signal.copy()
    three = ecgcam.explain(record, texts, loaded, method=name, options=SHORT[name], gradient=None)
    (one,) = ecgcam.explain(record, texts[:1], loaded, method=name, options=SHORT[name], gradient=None)
    assert len(three) == 3
    np.testing.assert_allclose(one.map, three[0].map, atol=1e-5 * np.abs(one.map).max())
    for explanation in three:
        assert explanation.map.shape == (len(record.leads), loaded.input.samples)
        assert np.isfinite(explanation.map).all()
        assert not explanation.map[~explanation.valid].any()
        if METHODS[name].family == "rerun":
            assert np.isfinite(explanation.map_cells).all()
            assert explanation.map_cells.any()
            assert explanation.map.min() >= 0
        else:
            assert explanation.map_cells.shape == (len(record.leads), 0)
            assert explanation.meta["signed"]
            assert explanation.map.any()
    first, second = ((e.map_cells if METHODS[name].family == "rerun" else e.map) for e in three[:2])
    assert np.abs(first - second).max() > 0
    assert all(not module._forward_hooks and not module._backward_hooks for module in loaded.network.modules())
    assert all(torch.equal(value, weights[key]) for key, value in loaded.network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in loaded.network.parameters())
    assert not loaded.network.training
    assert np.array_equal(record.signal, signal)


def test_lead_values_sum_to_what_the_signal_adds() -> None:
    (got,) = ecgcam.explain(recorded([6, 8, 10]), ["atrial fibrillation"], method="lead-shapley", gradient=None)
    report = got.meta["report"]
    assert report["exact"]
    assert report["sets_run"] == 8
    np.testing.assert_allclose(got.map.sum(1) / got.fs, [report["values"][lead] for lead in got.leads], atol=1e-6)
    assert sum(report["values"].values()) == pytest.approx(got.score - got.empty_score, abs=1e-6)


def test_a_contrast_is_the_difference_of_its_prompts() -> None:
    record, options = recorded([6, 10]), {"window_ms": 2000, "stride_ms": 2000}
    af, normal = ecgcam.explain(record, TEXTS["mini"][:2], method="occlusion", options=options, gradient=None)
    (contrast,) = ecgcam.explain(
        record, TEXTS["mini"][:1], method="occlusion", options=options, against=(TEXTS["mini"][1],), gradient=None
    )
    np.testing.assert_allclose(contrast.map, af.map - normal.map, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("occlusion", {"window_ms": 100, "stride_ms": 200}, "stride_ms=200: longer than window_ms=100"),
        ("occlusion", {"window_ms": 20000}, "at most the window's 10000 ms"),
        ("score-cam", {"weights": "mean"}, "weights must be softmax or increase"),
        ("ss-cam", {"draws": 0}, "draws must be a whole number, at least 1"),
        ("is-cam", {"steps": 0}, "steps must be a whole number, at least 1"),
        ("smooth-grad-cam++", {"noise": -1}, "noise must be a number, at least 0"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_a_line(method: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(EcgcamError, match=says) as caught:
        ecgcam.explain(recorded([1]), ["atrial fibrillation"], method=method, options=options, gradient=None)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_twelve_leads_of_mini(name: str) -> None:
    options = {"draws": 2} if name == "ss-cam" else {"steps": 2} if name == "is-cam" else {}
    (got,) = ecgcam.explain(recorded(list(range(12))), TEXTS["mini"][:1], method=name, options=options, gradient=None)
    assert got.map.shape[0] == 12
    assert np.isfinite(got.map).all()
    assert got.map.any()
