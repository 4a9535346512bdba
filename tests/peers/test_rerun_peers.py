"""Methods that run the model, on mini, against torchcam, grad-cam and captum: the same signals, the same layer.

Where a definition differs, `docs/methods.md` says so, and the test shows that the difference named there is the whole one.
One difference is everywhere: to make a mask of a map, torchcam takes its cells for pixels (and scales them before it lays
them out), grad-cam stretches them from edge to edge, ecgcam puts each cell where it looks. In one dimension torchcam's
score-cams raise, so both peers see pictures of one row.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution import rerun
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.perturbation import lead_occlusion, occlusion, wave_occlusion
from ecgcam.attribution.problem import Problem
from ecgcam.attribution.shapley import lead_shapley
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.records.waves import find_waves

from .conftest import Scores, imported, told

pytestmark = [pytest.mark.slow, pytest.mark.peers]

Floats = npt.NDArray[np.floating]
LEADS = (6, 8, 10)
CLOSE = 1e-4


@pytest.fixture(scope="module")
def asked() -> tuple[Problem, Tensor]:
    """V1, V3 and V5 of a record, and each of them alone."""
    model, simulation = ecgcam.load_model("mini", device="cpu"), simulate("af", 11)
    names = [simulation.leads[i] for i in LEADS]
    record = Record.from_channels("af", simulation.signal[list(LEADS)], simulation.fs, names, source="af")
    (window,) = windows_of(record, model.input)
    made = prepare(window, model.input, Settings())
    x, fill, valid, scale = (torch.from_numpy(array) for array in (made.x, made.fill, made.valid, made.scale))
    text = model.encode_text(["atrial fibrillation"])[0]
    return Problem(model, text, x, fill, valid, scale, made.rows, window.fs), torch.from_numpy(made.masked())


@pytest.fixture
def problem(asked: tuple[Problem, Tensor]) -> Problem:
    return replace(asked[0], shared={}, report={})


@pytest.fixture
def alone(asked: tuple[Problem, Tensor]) -> Tensor:
    return asked[1]


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks as torchcam makes them."""

    def lay(cells: Floats, _where: object, samples: int) -> Floats:
        least = cells.min(axis=1, keepdims=True)
        unit = torch.from_numpy((cells - least) / np.maximum((cells - least).max(axis=1, keepdims=True), 1e-8))
        laid: Floats = nn.functional.interpolate(unit[None], samples, mode="linear", align_corners=False)[0].numpy()
        return laid

    monkeypatch.setattr(rerun, "upsample_to_samples", lay)
    monkeypatch.setattr(rerun, "_unit", lambda laid, _valid: laid)


def edge_to_edge(cells: Floats, _where: object, samples: int) -> Floats:
    laid = nn.functional.interpolate(torch.from_numpy(cells)[None], samples, mode="linear", align_corners=True)
    stretched: Floats = laid[0].numpy()
    return stretched


def by_torchcam(package: Any, name: str, problem: Problem, alone: Tensor, noise: list[Tensor], **how: object) -> Floats:
    """Cells of torchcam, after relu, (R, K); `noise` is what it draws."""

    class Given:
        def sample(self, size: torch.Size) -> Tensor:
            return noise.pop(0).reshape(size)

    scores = Scores(problem.model, problem.text)
    layer = problem.model.network.get_submodule(problem.model.spec.layer)
    with getattr(package, name)(scores, layer, reshape_transform=lambda t: t[:, :, None], **how) as cam:
        cam._distrib = Given()
        (cells,) = cam(0, scores(alone[:, :, None]), normalized=False)
    found: Floats = cells.detach().numpy()[:, 0]
    return found


def difference(got: Tensor, want: Floats) -> float:
    return told(float(np.abs(got.numpy() - want).max() / np.abs(want).max()))


@pytest.mark.usefixtures("pixels")
def test_score_cam_of_torchcam(problem: Problem, alone: Tensor, torchcam_methods: Any) -> None:
    want = by_torchcam(torchcam_methods, "ScoreCAM", problem, alone, [])
    assert difference(rerun.score_cam(problem, alone).relu(), want) <= CLOSE


@pytest.mark.usefixtures("pixels")
def test_ss_cam_of_torchcam(problem: Problem, alone: Tensor, torchcam_methods: Any) -> None:
    seeds = [[[[0, row, c, draw] for c in range(128)] for row in problem.rows] for draw in range(2)]
    noise = [
        torch.from_numpy(0.3 * np.stack([[np.random.default_rng(s).standard_normal(2500, np.float32) for s in channels]
        for channels in rows])) for rows in seeds
    ]  # fmt: skip
    want = by_torchcam(torchcam_methods, "SSCAM", problem, alone, noise, num_samples=2)
    assert difference(rerun.ss_cam(problem, alone, draws=2, noise=0.3).relu(), want) <= CLOSE


@pytest.mark.usefixtures("pixels")
def test_is_cam_of_torchcam_adds_its_steps_up(problem: Problem, alone: Tensor, torchcam_methods: Any) -> None:
    want = by_torchcam(torchcam_methods, "ISCAM", problem, alone, [], num_samples=4)
    assert difference(rerun.is_cam(problem, alone, steps=4).relu(), want) > 1e-3
    fresh = replace(problem, shared={})
    A = rerun.activations(fresh, alone)
    added = rerun._scaled(torch.tensor([0.25, 0.75, 1.5, 2.5]))
    got = rerun._weighted(rerun._increase(fresh, alone, A, 4, added), A, "softmax").relu()
    assert difference(got, want) <= CLOSE


def test_smooth_grad_cam_pp_of_torchcam_is_that_of_its_last_draw(
    problem: Problem, alone: Tensor, torchcam_methods: Any
) -> None:
    # Its denominator has 1e-8 added, which rules beside squared gradients of a cosine; the score is scaled out of its reach.
    scaled, name = replace(problem, text=1e6 * problem.text), "SmoothGradCAMpp"
    want = by_torchcam(torchcam_methods, name, scaled, alone, [torch.zeros_like(alone)] * 2, num_samples=2)
    assert difference(rerun.smooth_grad_cam_pp(scaled, alone, draws=2, noise=0.0).relu(), want) <= CLOSE
    # The paper's weights hold the mean gradient, and weigh the clean signal's activations; torchcam takes the last draw's.
    noise = [torch.zeros_like(alone) for _ in range(3)]
    for i, row in enumerate(problem.rows):
        stream = np.random.default_rng([0, row])
        for drawn in noise:
            white = torch.from_numpy(stream.standard_normal(alone.shape[-1], np.float32))
            drawn[i, row] = 0.5 * problem.spread()[row] * white
    want = by_torchcam(torchcam_methods, name, scaled, alone, list(noise), num_samples=3)
    assert difference(rerun.smooth_grad_cam_pp(scaled, alone, draws=3).relu(), want) > 0.1
    A = rerun.activations(scaled, alone)
    seen = [capture(scaled.model, alone + drawn, scaled.text[None]) for drawn in noise]
    G = torch.stack([one.gradients[0] for one in seen])
    squares, cubes = G.square().mean(dim=0), G.pow(3).mean(dim=0)
    alpha = squares / (2 * squares + A.sum(dim=-1, keepdim=True) * cubes + 1e-8)
    last = ((alpha * G[-1].relu()).sum(dim=-1, keepdim=True) * seen[-1].activations).sum(dim=1)
    assert difference(last.relu(), want) <= CLOSE


def by_grad_cam(package: Any, name: str, problem: Problem, alone: Tensor, **how: object) -> Floats:
    """Cells of grad-cam before relu and scaling, (R, K)."""
    layer = problem.model.network.get_submodule(problem.model.spec.layer)
    seen: list[Floats] = []
    scores = Scores(problem.model, problem.text)
    with getattr(package, name)(scores, [layer], reshape_transform=lambda t: t[:, :, None], **how) as cam:
        inner = cam.get_cam_image

        def noted(*arguments: Any, **keywords: Any) -> Floats:
            seen.append(np.asarray(inner(*arguments, **keywords)))
            return seen[-1]

        cam.get_cam_image = noted
        target = package.utils.model_targets.ClassifierOutputTarget(0)
        cam(alone[:, :, None], [target] * len(alone))
    return seen[0][:, 0]


def test_score_cam_of_grad_cam(
    problem: Problem, alone: Tensor, pytorch_grad_cam: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = by_grad_cam(pytorch_grad_cam, "ScoreCAM", problem, alone)
    assert difference(rerun.score_cam(problem, alone), want) > 1e-3
    monkeypatch.setattr(rerun, "upsample_to_samples", edge_to_edge)
    assert difference(rerun.score_cam(replace(problem, shared={}), alone), want) <= CLOSE


@pytest.mark.parametrize("sign", [1, -1])
def test_ablation_cam_of_grad_cam_turns_round_with_a_negative_score(
    sign: int, asked: tuple[Problem, Tensor], alone: Tensor, pytorch_grad_cam: Any
) -> None:
    problem = replace(asked[0], text=sign * asked[0].text, shared={})

    class OneDimension(pytorch_grad_cam.AblationLayer):
        def set_next_batch(self, input_batch_index: int, activations: Tensor, num_channels_to_ablate: int) -> None:
            self.activations = activations[input_batch_index].repeat(num_channels_to_ablate, 1, 1)

    want = by_grad_cam(pytorch_grad_cam, "AblationCAM", problem, alone, ablation_layer=OneDimension())
    got = rerun.ablation_cam(problem, alone) * problem.scores(alone).sign()[:, None]
    for mine, theirs in zip(got, want, strict=True):
        assert difference(mine, theirs) <= CLOSE


def test_occlusion_of_captum(problem: Problem) -> None:
    captum = imported("captum.attr")
    with torch.no_grad():
        want = captum.Occlusion(Scores(problem.model, problem.text)).attribute(
            problem.x[None], sliding_window_shapes=(1, 400), strides=(1, 300), baselines=problem.fill[None], target=0,
            perturbations_per_eval=16,
        )[0]  # fmt: skip
    assert difference(occlusion(problem, window_ms=1600, stride_ms=1200), want.numpy()) <= CLOSE


def test_leads_and_waves_by_captums_ablation(problem: Problem) -> None:
    """Feature ablation of whole leads; and of the parts of the beat in each lead, what is in none being a part of its own."""
    ablation = imported("captum.attr").FeatureAblation(Scores(problem.model, problem.text))

    def ablated(mask: Tensor) -> Tensor:
        with torch.no_grad():
            return ablation.attribute(problem.x[None], problem.fill[None], 0, feature_mask=mask[None])[0]

    leads = torch.arange(12)[:, None].expand(-1, problem.x.shape[1])
    assert difference(lead_occlusion(problem), ablated(leads).numpy()) <= CLOSE
    rows = problem.rows
    waves = find_waves(problem.x[rows].numpy(), problem.fs)
    for by in ("segment", "beat"):
        labels = waves.parts(by)
        parts = torch.from_numpy(labels) + 1
        want = ablated(parts + leads * (int(parts.max()) + 1)) * (parts > 0)
        got = wave_occlusion(replace(problem, parts=lambda _by, labels=labels: labels), by)
        assert difference(got, want.numpy()) <= CLOSE


def test_lead_shapley_of_captum(problem: Problem) -> None:
    captum = imported("captum.attr")
    # Leads that the record lacks are at their fill, so that it does not matter whose player they join.
    player = torch.zeros(12, dtype=torch.long)
    player[problem.rows] = torch.arange(len(LEADS))
    with torch.no_grad():
        want = captum.ShapleyValues(Scores(problem.model, problem.text)).attribute(
            problem.x[None], baselines=problem.fill[None], feature_mask=player[None, :, None], target=0,
        )[0]  # fmt: skip
    got = lead_shapley(problem).sum(dim=1) / problem.fs
    assert difference(got[problem.rows], want[problem.rows, 0].numpy()) <= CLOSE


@pytest.mark.parametrize("layer", ["signal.stages.0", "signal.stages.1"])
def test_layer_integrated_gradients_of_captum(layer: str, problem: Problem, alone: Tensor) -> None:
    captum = imported("captum.attr")
    scores = Scores(problem.model, problem.text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks
        want = captum.LayerIntegratedGradients(scores, scores.network.get_submodule(layer)).attribute(
            alone, problem.fill.expand_as(alone), target=0, n_steps=8, method="gausslegendre"
        )
    got = rerun.layer_integrated_gradients(replace(problem, layer=layer), alone, steps=8)
    assert told(float((got - want.detach().sum(dim=1)).abs().max() / got.abs().max())) <= CLOSE
