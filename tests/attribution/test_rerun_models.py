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
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.records.waves import find_waves

# Options that keep the tests short.
SHORT: dict[str, dict[str, object]] = {
    "score-cam": {},
    "ss-cam": {"draws": 1},
    "is-cam": {"steps": 1},
    "ablation-cam": {},
    "smooth-grad-cam++": {"draws": 2},
    "shapley-cam": {},
    "layer-integrated-gradients": {"steps": 2},
    "dff": {"steps": 50},
    "occlusion": {"window_ms": 1000, "stride_ms": 1000},
    "wave-occlusion": {"by": "segment"},
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
    # ablation-cam's weights are small differences of scores over a score, each rounded to float32.
    close = 5e-5 if name == "ablation-cam" else 1e-5
    np.testing.assert_allclose(one.map, three[0].map, rtol=0, atol=close * np.abs(one.map).max())
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


@pytest.mark.parametrize(
    ("name", "options", "of"),
    [
        ("score-cam", {}, 128),  # of mini's channels
        ("ablation-cam", {}, 16),  # runs of 8 channels
        ("smooth-grad-cam++", {"draws": 3}, 3),
        ("augmented", {"draws": 3}, 3),
        ("smooth-grad", {"draws": 3}, 3),
        ("integrated-gradients", {"steps": 20}, 20),
        ("occlusion", {"window_ms": 400, "stride_ms": 400}, 13),  # windows with signal in 5 s
        ("wave-occlusion", {"by": "wave"}, None),
        ("lead-shapley", {}, 2),
        ("kernel-shap", {"tile_ms": 500, "samples": 40}, 40),
    ],
)
def test_long_methods_tell_how_far_they_are(name: str, options: dict[str, object], of: int | None) -> None:
    """Steps upwards, each told once, up to all of it; a second prompt that has the runs in common tells nothing new."""
    on_progress: list[tuple[int, int]] = []
    record = recorded([6], seconds=5)
    ecgcam.explain(
        record, TEXTS["mini"][:1], method=name, options=options, gradient=None, batch=8,
        progress=lambda done, total: on_progress.append((done, total)),
    )  # fmt: skip
    longest = max(total for _, total in on_progress)
    assert of in (None, longest)
    steps = [done for done, total in on_progress if total == longest]
    assert steps == sorted(set(steps))
    assert steps[-1] >= longest - 8


def test_methods_of_one_pass_tell_nothing() -> None:
    on_progress: list[tuple[int, int]] = []
    ecgcam.explain(recorded([6]), TEXTS["mini"][:1], progress=lambda done, total: on_progress.append((done, total)))
    assert not on_progress


def test_wave_occlusion_takes_the_beats_of_the_record() -> None:
    """Each segment of a lead has one value; where no segment is known, and in padding, there is none."""
    record = recorded([1, 6], seconds=6)
    (got,) = ecgcam.explain(record, TEXTS["mini"][:1], method="wave-occlusion", gradient=None)
    waves = find_waves(got.signal, got.fs, got.valid)
    labels = waves.parts("segment")
    assert len(waves.beats) > 3
    for row in range(2):
        assert not got.map[row][(labels < 0) | ~got.valid[row]].any()
        for part in np.unique(labels[labels >= 0]):
            here = got.map[row][(labels == part) & got.valid[row]]
            assert here.any()
            assert (here == here[0]).all()
    beats = ecgcam.explain(record, TEXTS["mini"][:1], method="wave-occlusion", options={"by": "beat"}, gradient=None)[
        0
    ].map
    assert len(np.unique(beats[0][got.valid[0]])) == len(waves.beats) + 1


def test_a_record_without_beats_says_so() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (1, 5000)).astype(np.float32)
    record = Record.from_channels("noise", noise, 500.0, ["V1"], source="noise")
    (got,) = ecgcam.explain(record, TEXTS["mini"][:1], method="wave-occlusion", gradient=None)
    assert not got.map.any()
    assert any("no heartbeat is found in this window" in warning for warning in got.meta["warnings"])
    assert any("map is zero everywhere: nothing changed the score" in warning for warning in got.meta["warnings"])


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
