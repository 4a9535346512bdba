"""Occlusion: an additive model gives back its own terms, padding never counts, and loops agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.attribution.perturbation import lead_occlusion, occlusion, wave_occlusion
from ecgcam.attribution.problem import Problem
from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import LayerSpec

LAYER = {"features": LayerSpec("BCT", 1.0, 0.0)}


class Additive(nn.Module):
    """score = sum over leads and samples of w x."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.register_buffer("weights", weights)

    def forward(self, x: Tensor) -> Tensor:
        return (self.weights * self.features(x)).sum((1, 2))[:, None].expand(-1, 2)


class Mixing(nn.Module):
    """Nothing about it is additive."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.features = nn.Sequential(nn.Conv1d(3, 5, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).square().mean(-1).tanh())


def problem(network: nn.Module, samples: int, fs: float = 100.0, batch: int = 64) -> Problem:
    """Leads I and III of three; the last two samples of III are padding."""
    model = toy_model(network, LAYER, leads=("I", "II", "III"), samples=samples, fs=fs)
    x = torch.randn(3, samples, generator=torch.Generator().manual_seed(2))
    fill, valid = torch.full_like(x, 0.25), torch.ones(3, samples, dtype=torch.bool)
    valid[2, -2:], x[1] = False, 0.25
    return Problem(model, torch.tensor([1.0, 0.0]), x, fill, valid, torch.ones(3, 1), [0, 2], fs, batch=batch)


def additive(samples: int = 10) -> tuple[Problem, Tensor]:
    weights = torch.randn(3, samples, generator=torch.Generator().manual_seed(4))
    made = problem(Additive(weights), samples)
    terms = weights * (made.x - made.fill) * made.valid
    terms[1] = 0
    return made, terms


def test_windows_of_one_sample_give_the_terms_of_an_additive_model() -> None:
    made, terms = additive()
    torch.testing.assert_close(occlusion(made, window_ms=10, stride_ms=10), terms, atol=1e-5, rtol=1e-5)


def test_overlapping_windows_on_paper() -> None:
    # One lead, x = (1, 2, 4, 8, 16), weights 1, fill 0; windows of 3 every 2 samples: 0-2 (7), 2-4 (28).
    model = toy_model(Additive(torch.ones(1, 5)), LAYER, leads=("I",), samples=5)
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])
    valid = torch.ones(1, 5, dtype=torch.bool)
    made = Problem(model, torch.tensor([1.0, 0.0]), x, torch.zeros(1, 5), valid, torch.ones(1, 1), [0], 100.0)
    got = occlusion(made, window_ms=30, stride_ms=20)
    torch.testing.assert_close(got, torch.tensor([[7.0, 7.0, 17.5, 28.0, 28.0]]))
    # Windows of 2 every 2: the last one is cut to one sample.
    got = occlusion(replace(made, shared={}), window_ms=20, stride_ms=20)
    torch.testing.assert_close(got, torch.tensor([[3.0, 3.0, 12.0, 12.0, 16.0]]))
    # The last sample is padding: it is not filled, and has no value.
    padded = torch.tensor([[True, True, True, True, False]])
    got = occlusion(replace(made, valid=padded, shared={}), window_ms=20, stride_ms=20)
    torch.testing.assert_close(got, torch.tensor([[3.0, 3.0, 12.0, 12.0, 0.0]]))


@pytest.mark.parametrize(("width", "stride"), [(4, 3), (5, 5), (7, 1), (20, 20)])
def test_occlusion_is_a_loop(width: int, stride: int) -> None:
    made = problem(Mixing(), 20)

    def score(signal: Tensor) -> float:
        with torch.no_grad():
            return float(made.model.encode_signal(signal[None])[0] @ made.text)

    total, count = np.zeros((3, 20)), np.zeros((3, 20))
    for row in (0, 2):
        begin = 0
        while True:
            covered = [t for t in range(begin, min(begin + width, 20)) if made.valid[row, t]]
            signal = made.x.clone()
            for t in covered:
                signal[row, t] = made.fill[row, t]
            for t in covered:
                total[row, t] += score(made.x) - score(signal)
                count[row, t] += 1
            if begin + width >= 20:
                break
            begin += stride
    want = total / np.maximum(count, 1)
    got = occlusion(made, window_ms=10.0 * width, stride_ms=10.0 * stride)
    torch.testing.assert_close(got, torch.from_numpy(want).float(), atol=1e-6, rtol=1e-5)
    for batch in (1, 7):
        again = occlusion(replace(made, batch=batch, shared={}), window_ms=10.0 * width, stride_ms=10.0 * stride)
        torch.testing.assert_close(again, got, atol=1e-6, rtol=1e-5)


def labelled(made: Problem, labels: list[int]) -> Problem:
    return replace(made, parts=lambda _by: np.array(labels), shared={}, warnings=[])


def test_parts_of_the_beat_on_paper() -> None:
    # One lead, x = (1, 2, 4, 8, 16), weights 1, fill 0: part 0 holds samples 0 and 3 (9), part 2 sample 4 (16).
    model = toy_model(Additive(torch.ones(1, 5)), LAYER, leads=("I",), samples=5)
    x, valid = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]]), torch.ones(1, 5, dtype=torch.bool)
    made = Problem(model, torch.tensor([1.0, 0.0]), x, torch.zeros(1, 5), valid, torch.ones(1, 1), [0], 100.0)
    got = wave_occlusion(labelled(made, [0, -1, -1, 0, 2]))
    torch.testing.assert_close(got, torch.tensor([[9.0, 0.0, 0.0, 9.0, 16.0]]))
    # Sample 3 is padding: it is not filled with the rest of its part, and has no value.
    padded = replace(made, valid=torch.tensor([[True, True, True, False, True]]))
    got = wave_occlusion(labelled(padded, [0, -1, -1, 0, 2]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 0.0, 0.0, 0.0, 16.0]]))


def test_wave_occlusion_is_a_loop() -> None:
    made = problem(Mixing(), 20)
    labels = [-1, 0, 0, 1, 1, 1, -1, 2, 2, 2, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    want = torch.zeros(3, 20)
    for row in (0, 2):
        for part in (0, 1, 2):
            hidden = torch.tensor(labels).eq(part) & made.valid[row]
            without = made.x.clone()
            without[row, hidden] = made.fill[row, hidden]
            scores = made.scores(torch.stack([made.x, without]))
            want[row, hidden] = scores[0] - scores[1]
    got = wave_occlusion(labelled(made, labels))
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)
    assert got[0].any()
    assert not got[1].any()
    for batch in (1, 4):
        again = wave_occlusion(replace(labelled(made, labels), batch=batch))
        torch.testing.assert_close(again, got, atol=1e-6, rtol=1e-5)


def test_without_a_beat_nothing_is_hidden_and_that_is_said() -> None:
    made = labelled(problem(Mixing(), 20), [-1] * 20)
    assert not wave_occlusion(made).any()
    assert made.warnings == ["no heartbeat is found in this window, so nothing was hidden; occlusion needs none"]


def test_a_window_whose_heartbeats_nobody_knows_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="places of the heartbeats are missing"):
        wave_occlusion(replace(problem(Mixing(), 20), parts=None))


def test_lead_occlusion_is_the_loss_without_the_lead() -> None:
    made, _ = additive()
    # Padding of a lead goes with it: it is part of what the model saw of that lead.
    whole = (made.model.network.weights * (made.x - made.fill)).sum(1)  # type: ignore[operator]
    got = lead_occlusion(made)
    for row in (0, 2):
        want = torch.where(made.valid[row], whole[row], 0.0)
        torch.testing.assert_close(got[row], want, atol=1e-5, rtol=1e-5)
    assert not got[1].any()
    mixing = problem(Mixing(), 20)
    values = lead_occlusion(mixing)
    for row in (0, 2):
        without = mixing.x.clone()
        without[row] = mixing.fill[row]
        scores = mixing.scores(torch.stack([mixing.x, without]))
        torch.testing.assert_close(values[row, 0], scores[0] - scores[1])
    torch.testing.assert_close(lead_occlusion(replace(mixing, batch=1, shared={})), values)


def test_prompts_of_one_window_share_its_passes() -> None:
    made = problem(Mixing(), 20)
    other = replace(made, text=torch.tensor([0.3, -1.0]))
    for method in (occlusion, lead_occlusion):
        options = {"window_ms": 50, "stride_ms": 30} if method is occlusion else {}
        made.shared.clear()
        method(made, **options)
        shared = method(other, **options)
        torch.testing.assert_close(shared, method(replace(other, shared={}), **options))


@pytest.mark.parametrize(
    ("window", "stride", "says"),
    [
        (201, 10, "window_ms=201.*at most the window's 200 ms"),
        (50, 60, "longer than window_ms"),
        (0, 10, "more than 0"),
    ],
)
def test_windows_that_make_no_sense_are_refused(window: float, stride: float, says: str) -> None:
    with pytest.raises(EcgcamError, match=says):
        occlusion(problem(Mixing(), 20), window, stride)


def test_inputs_are_left_alone() -> None:
    made = problem(Mixing(), 20)
    before = [made.x.clone(), made.fill.clone()]
    occlusion(made, 50, 30)
    lead_occlusion(made)
    assert torch.equal(made.x, before[0])
    assert torch.equal(made.fill, before[1])
    assert made.model.network.features[0].weight.requires_grad  # type: ignore[index,union-attr]
