"""Gradient methods on mini against captum, sample by sample: the same window, the same nodes, the same draws."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution.cells import upsample_to_samples
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.problem import Problem
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

from .conftest import imported, told

pytestmark = [pytest.mark.slow, pytest.mark.peers]

CLOSE = 1e-4
DRAWS, NOISE = 4, 0.5
AVERAGES = {"smooth-grad": "smoothgrad", "smooth-grad-squared": "smoothgrad_sq", "var-grad": "vargrad"}


class Scores(nn.Module):
    """Signals (B, 12, T) to their scores (B, 1)."""

    def __init__(self, model: EcgTextModel, text: Tensor) -> None:
        super().__init__()
        self.network, self.encode, self.text = model.network, model.encode_signal, text

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.encode(x) @ self.text[:, None]
        return scores


@pytest.fixture(scope="module")
def asked() -> Problem:
    """Twelve leads of a record, two seconds of them padding."""
    model, simulation = ecgcam.load_model("mini", device="cpu"), simulate("af", 11)
    signal = simulation.signal[:, : round(8 * simulation.fs)]
    record = Record.from_channels("af", signal, simulation.fs, list(simulation.leads), source="af")
    (window,) = windows_of(record, model.input)
    made = prepare(window, model.input, Settings())
    arrays = (torch.from_numpy(array) for array in (made.x, made.fill, made.valid, made.scale))
    return Problem(model, model.encode_text(["atrial fibrillation"])[0], *arrays, made.rows, window.fs)


@pytest.fixture
def problem(asked: Problem) -> Problem:
    return replace(asked, shared={}, report={}, warnings=[])


@pytest.fixture
def captum() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks
        yield imported("captum.attr")


def run(name: str, problem: Problem, **options: object) -> Tensor:
    values: Tensor = METHODS[name].bind(options)(problem)
    return values


def apart(one: Tensor, other: Tensor) -> float:
    return told(float((one - other.detach()).abs().max() / one.abs().max()))


def noise_of(problem: Problem) -> Tensor:
    """What ecgcam adds in each draw, (M, L, T), as the gradients' own signals show it."""
    seen: list[Tensor] = []
    gradients = Problem.gradients

    def listen(self: Problem, signals: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(signals[0] - problem.x)
        return gradients(self, signals)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Problem, "gradients", listen)
        run("smooth-grad", problem, draws=DRAWS, noise=NOISE)
    return torch.stack(seen)


def test_saliency(problem: Problem, captum: Any) -> None:
    theirs = captum.Saliency(Scores(problem.model, problem.text)).attribute(problem.x[None], target=0)[0]
    assert apart(run("saliency", problem), theirs * problem.scale) <= CLOSE


def test_input_x_gradient(problem: Problem, captum: Any) -> None:
    moved = Scores(problem.model, problem.text)
    encode = moved.encode
    moved.encode = lambda x: encode(x + problem.fill)  # captum's reference is 0
    theirs = captum.InputXGradient(moved).attribute((problem.x - problem.fill)[None], target=0)[0]
    assert apart(run("input-x-gradient", problem), theirs) <= CLOSE


@pytest.mark.parametrize("steps", [20, 100])
def test_integrated_gradients(steps: int, problem: Problem, captum: Any) -> None:
    theirs, delta = captum.IntegratedGradients(Scores(problem.model, problem.text)).attribute(
        problem.x[None], problem.fill[None], target=0, n_steps=steps, return_convergence_delta=True
    )
    assert apart(run("integrated-gradients", problem, steps=steps), theirs[0]) <= CLOSE
    assert problem.report["completeness_error"] == pytest.approx(abs(float(delta)), abs=1e-5)


def test_gradient_shap(problem: Problem, captum: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    baselines = problem.fill + noise_of(problem)
    within = np.array([np.random.default_rng([0, 12, draw + 1]).random() for draw in range(DRAWS)])
    share = (np.arange(DRAWS) + within) / DRAWS
    monkeypatch.setattr(np.random, "uniform", lambda *_: share)
    monkeypatch.setattr(np.random, "choice", lambda count, *_: np.arange(count))
    theirs = captum.GradientShap(Scores(problem.model, problem.text)).attribute(
        problem.x[None], baselines, n_samples=DRAWS, stdevs=0.0, target=0
    )
    assert apart(run("gradient-shap", problem, draws=DRAWS, noise=NOISE), theirs[0]) <= CLOSE


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_over_noise(name: str, problem: Problem, captum: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = noise_of(problem)
    assert not noise[:, ~problem.valid].any()
    monkeypatch.setattr(torch, "normal", lambda _mean, _std: noise)
    theirs = captum.NoiseTunnel(captum.Saliency(Scores(problem.model, problem.text))).attribute(
        problem.x[None], nt_type=AVERAGES[name], nt_samples=DRAWS, stdevs=1.0, target=0
    )
    scale = problem.scale if name == "smooth-grad" else problem.scale**2
    assert apart(run(name, problem, draws=DRAWS, noise=NOISE), theirs[0] * scale) <= CLOSE


@pytest.mark.parametrize(
    ("name", "theirs"), [("guided-backprop", "GuidedBackprop"), ("deconvolution", "Deconvolution")]
)
def test_rules_of_relu(name: str, theirs: str, problem: Problem, captum: Any) -> None:
    scores = Scores(problem.model, problem.text)
    values = getattr(captum, theirs)(scores).attribute(problem.x[None], target=0)[0]
    assert apart(run(name, problem), values * problem.scale) <= CLOSE


def test_guided_grad_cam(problem: Problem, captum: Any) -> None:
    """Captum takes cells for pixels when it lays them on samples; its two factors are compared with cells where they are."""
    scores = Scores(problem.model, problem.text)
    module, where = problem.model.layer()
    guided = captum.GuidedBackprop(scores).attribute(problem.x[None], target=0)[0]
    cells = captum.LayerGradCam(scores, module).attribute(problem.x[None], target=0, relu_attributions=True)[0, 0]
    laid = torch.from_numpy(upsample_to_samples(cells.detach().numpy(), where, problem.x.shape[1]))
    assert laid.any()
    assert apart(run("guided-grad-cam", problem, cam="whole"), guided * laid * problem.scale) <= CLOSE
