"""MERL agrees with the published network definition, and the check notices what is easily got wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.references import COMPARED
from torch import Tensor, nn

from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.hooks import capture, input_gradient
from ecgcam.models.families.merl import RESNETS, MerlResNet
from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel

pytestmark = pytest.mark.shared

PROMPTS = ("sinus rhythm", "atrial fibrillation", "Acute inferior infarction")  # of the fixture `text_table`
NAMES = ("merl-resnet18", "merl-vit-tiny", "merl-resnet50")
HELD = COMPARED["merl-resnet18"]  # embeddings are of unit length
# Largest change of an embedding by half-precision weights, as stated beside the reference values.
HALF = {torch.float16: dict.fromkeys(NAMES, 1e-3), torch.bfloat16: dict.fromkeys(NAMES, 3e-3) | {NAMES[2]: 0.04}}


@dataclass
class Case:
    name: str
    state: dict[str, Tensor]
    expected: dict[str, np.ndarray]
    x: Tensor
    load: Callable[..., EcgTextModel]


@pytest.fixture(scope="module", params=[*NAMES[:2], pytest.param(NAMES[2], marks=pytest.mark.slow)])
def case(
    request: pytest.FixtureRequest, shared: Path, standin_state: Callable, text_table: Path, tmp_path_factory
) -> Case:
    name = request.param
    with np.load(shared / f"reference/{name.replace('-', '_')}.npz") as archive:
        expected = dict(archive)
    state = standin_state([(key, tuple(shape)) for key, shape in json.loads(str(expected["keys"]))])

    def load(content: object) -> EcgTextModel:
        path = tmp_path_factory.mktemp("reference") / "checkpoint.pth"
        torch.save(content, path)
        return load_model(name, path, embeddings=text_table, device="cpu")

    return Case(name, state, expected, signals(), load)


def signals() -> Tensor:
    """The two test signals, (2, 12, 5000)."""
    t, lead = np.arange(5000) / 500, np.arange(12)[:, None]
    both = []
    for b in (0, 1):
        beat = np.mod(t, 0.8 + 0.25 * b) - 0.3
        wander = 0.4 + 0.03 * np.sin(2 * np.pi * (0.3 + 0.05 * lead) * t)
        qrs = 0.4 * np.cos(1.7 * lead + b) * np.exp(-(beat**2) / (2 * 0.012**2))
        both.append(wander + qrs + 0.1 * np.sin(0.9 * lead + 2 * b) * np.exp(-((beat - 0.25) ** 2) / (2 * 0.04**2)))
    return torch.from_numpy(np.stack(both).astype("f4"))


def largest(a: Tensor, b: np.ndarray) -> float:
    return float(np.abs(a.numpy() - b).max())


def relative(a: Tensor, b: np.ndarray) -> float:
    return largest(a, b) / float(np.abs(b).max())


def off(case: Case, embedding: Tensor) -> float:
    """How far an embedding lies from the reference, in tolerances."""
    return largest(embedding, case.expected["ecg_embedding"]) / HELD["network"]


def test_everything_agrees(case: Case) -> None:
    model = case.load(case.state)
    texts = model.encode_text(PROMPTS)
    assert largest(texts, case.expected["text_embedding"]) < HELD["text"]
    captured = capture(model, case.x, texts)
    assert off(case, captured.embeddings) < 1
    assert largest(captured.scores, case.expected["similarity"]) < HELD["network"]
    assert relative(captured.activations.mean((0, 1)), case.expected["activation_mean"]) < HELD["activations"]
    assert (
        relative(grad_cam(captured.activations, captured.gradients[0]).relu(), case.expected["grad_cam"])
        < HELD["cells"]
    )
    _, scores, _ = input_gradient(model, case.x, texts[:1])
    assert largest(scores, case.expected["similarity"][:, :1]) < HELD["network"]
    # In float32 a ReLU close to its kink opens on one processor and stays shut on another: 0.02 of the largest, with AVX2.
    model.network.double()
    _, _, gradients = input_gradient(model, case.x.double(), texts[:1].double())
    assert relative(gradients[0][..., ::25], case.expected["input_gradient"]) < HELD["gradient"]


def test_a_prefixed_checkpoint_wrapped_with_its_optimizer_is_the_same(case: Case) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    prefixed = {f"module.{key}": value for key, value in case.state.items()}
    language = {"module.lm_model.embeddings.word_embeddings.weight": torch.zeros(4, 3)}
    for content in (
        prefixed,
        {"epoch": 7, "model_state_dict": prefixed | language, "optimizer_state_dict": optimizer},
    ):
        with torch.no_grad():
            assert off(case, case.load(content).encode_signal(case.x)) < 1


@pytest.mark.parametrize("kind", HALF, ids=str)
def test_half_precision_copies(case: Case, kind: torch.dtype) -> None:
    half = {key: value.to(kind) if value.is_floating_point() else value for key, value in case.state.items()}
    model = case.load(half)
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}
    tolerance = HALF[kind][case.name]
    texts = model.encode_text(PROMPTS)
    with torch.no_grad():
        embedding = model.encode_signal(case.x)
    assert largest(embedding, case.expected["ecg_embedding"]) < tolerance
    assert largest(texts, case.expected["text_embedding"]) < tolerance
    assert largest(embedding @ texts.T, case.expected["similarity"]) < tolerance


def test_two_swapped_leads_are_noticed(case: Case) -> None:
    swapped = case.x[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]]
    with torch.no_grad():
        assert off(case, case.load(case.state).encode_signal(swapped)) > 100


def test_a_missing_l2_is_noticed(case: Case) -> None:
    with torch.no_grad():
        assert off(case, case.load(case.state).network(case.x)) > 100


def test_eight_pooling_heads_are_noticed(case: Case) -> None:
    if "resnet" not in case.name:
        return
    network = MerlResNet(*RESNETS[case.name.removeprefix("merl-")], pool_heads=8).eval()
    network.load_state_dict(case.state)
    with torch.no_grad():
        assert off(case, nn.functional.normalize(network(case.x), dim=-1)) > 100
