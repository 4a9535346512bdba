"""Augmentation: shifts are undone, draws repeat, and nothing is left of it where it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.models.base import EcgTextModel
from ecgcam.models.spec import LayerSpec
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
