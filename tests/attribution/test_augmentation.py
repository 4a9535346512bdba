"""Augmentation: shifts are undone, draws repeat, and nothing is left of it where it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.attribution.augmentation import augmented
from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.hooks import capture
from ecgcam.attribution.problem import Problem
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Record


class Squares(nn.Module):
    """Cells move as the signal moves: a pointwise network and a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(2, 3, 5, 2, 2, bias=False)
        nn.init.normal_(self.features.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).square().mean(-1)


@pytest.fixture
def model() -> EcgTextModel:
    return toy_model(Squares(), {"features": LayerSpec("BCT", 2, 0)}, samples=400, fs=100.0, width=3)


@pytest.fixture
def record() -> Record:
    signal = np.zeros((2, 400), np.float32)
    time = np.arange(400)
    signal[0] = np.exp(-0.5 * ((time - 150) / 12) ** 2)
    signal[1] = np.exp(-0.5 * ((time - 260) / 9) ** 2)
    return Record.from_channels("r", signal, 100.0, ("I", "II"), source="r")


def test_shifts_are_undone(model: EcgTextModel, record: Record) -> None:
    (plain,) = ecgcam.explain(record, ["0"], model, method="grad-cam", gradient=None)
    options = {"shift_ms": 60.0, "gain": 0.0, "noise": 0.0, "draws": 12}
    (got,) = ecgcam.explain(record, ["0"], model, method="augmented", options=options, gradient=None)
    largest = np.abs(plain.map_cells).max()
    # Odd shifts fall between cells and are read off straight lines between them.
    np.testing.assert_allclose(got.map_cells, plain.map_cells, atol=0.03 * largest)
    for row in range(2):
        centre = (got.map[row] * got.time).sum() / got.map[row].sum()
        assert centre == pytest.approx((plain.map[row] * plain.time).sum() / plain.map[row].sum(), abs=0.005)


def test_without_change_it_is_the_method_itself(model: EcgTextModel, record: Record) -> None:
    options = {"shift_ms": 0.0, "gain": 0.0, "noise": 0.0, "around": "layer-cam"}
    (got,) = ecgcam.explain(record, ["1"], model, method="augmented", options=options, gradient=None)
    (plain,) = ecgcam.explain(record, ["1"], model, method="layer-cam", gradient=None)
    np.testing.assert_allclose(got.map_cells, plain.map_cells, atol=1e-5 * np.abs(plain.map_cells).max())


def test_draws_repeat_with_the_seed(model: EcgTextModel, record: Record) -> None:
    one, two, other = (
        ecgcam.explain(record, ["0"], model, method="augmented", seed=seed, gradient=None)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.map_cells, two.map_cells)
    assert np.abs(one.map_cells - other.map_cells).max() > 0
    assert one.meta["options"] == {"around": "grad-cam", "draws": 8, "shift_ms": 20.0, "gain": 0.1, "noise": 0.1}


def test_each_draw_is_the_lead_larger_or_smaller_over_its_fill_with_noise_where_it_is_valid(
    model: EcgTextModel,
) -> None:
    """The docstring as a loop over draws and leads. No shift: that is another test's."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 400)).astype(np.float32))
    fill = torch.tensor([[0.3], [-0.2]]).expand(2, 400)
    valid = torch.ones(2, 400, dtype=torch.bool)
    valid[1, 300:] = False
    text, seed = model.encode_text(["0"])[0], 4
    problem = Problem(model, text, x, fill, valid, torch.ones(2, 1), [0, 1], 100.0, seed=seed)
    alone = fill.repeat(2, 1, 1)
    alone[0, 0], alone[1, 1] = x[0], x[1]
    rng = np.random.default_rng([seed, 3])
    total = torch.zeros(2, 200)
    for draw in range(3):
        size, level = 1.0, 0.0
        if draw:
            rng.uniform(-1, 1)  # the shift, of 0
            size, level = rng.uniform(0.7, 1.3), 0.5
        hiss = torch.from_numpy(rng.standard_normal(400, np.float32))
        for lead in range(2):
            excess = x[lead] - fill[lead]
            spread = excess.abs().median()
            signal = fill.clone()
            signal[lead] += size * excess + level * spread * hiss * valid[lead]
            total[lead] += capture(model, signal[None], text[None], None, grad_cam).reduced[0][0]
    got = augmented(problem, alone, draws=3, shift_ms=0.0, gain=0.3, noise=0.5)
    torch.testing.assert_close(got, total / 3)
