"""`--mask none`: maps of each lead from one whole signal, where the layer keeps leads apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

import ecgcam
from ecgcam.errors import EcgcamError
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Record

LEADS = ("I", "II")
SIGNAL = np.array([[1.0, 3, 2, 2, 0, 0, 4, 0], [2.0, 2, 0, 6, 1, 1, 0, 2]])


class Grid(nn.Module):
    """Tokens (B, 1 + 2 x 4, 2): a class token, then the mean m of each two samples, lead by lead, and its negative.

    Embedding: sum of w m^2 and of m; w = 1, 2, 3, 4 in lead I and 0 in lead II. `mix` adds the mean of both leads to every token.
    """

    def __init__(self, mix: float) -> None:
        super().__init__()
        self.layer, self.mix = nn.Identity(), mix
        self.register_buffer("w", torch.tensor([1.0, 2, 3, 4, 0, 0, 0, 0]))

    def forward(self, x: Tensor) -> Tensor:
        m = x.unflatten(-1, (4, 2)).mean(-1)
        m = (m + self.mix * m.mean(dim=1, keepdim=True)).flatten(1)
        tokens = torch.stack([m, -m], dim=-1)
        out = self.layer(torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1))[:, 1:]
        return torch.stack([(self.w * out[..., 0] ** 2).sum(-1), out[..., 1].sum(-1)], dim=1)


def model(mix: float = 0.0, leads: int = 2) -> EcgTextModel:
    return toy_model(Grid(mix), {"layer": LayerSpec("BTC", 2.0, 0.5, n_prefix_tokens=1, leads=leads)}, leads=LEADS)


def record() -> Record:
    return Record.from_channels("r", SIGNAL, 100.0, LEADS, source="r")


def test_maps_of_the_whole_signal_on_paper() -> None:
    # m = (2, 2, 0, 2) in I and (2, 3, 1, 1) in II. G of m^2 w is 2 w m = (4, 8, 0, 16) in I and 0 in II: hires-cam (8, 16, 0, 32)
    # and 0; grad-cam weighs m with the mean over all eight cells, 28 / 8 = 3.5.
    (hires,) = ecgcam.explain(record(), ["0"], model(), method="hires-cam", mask="none")
    np.testing.assert_allclose(hires.map_cells, [[8, 16, 0, 32], [0, 0, 0, 0]], atol=1e-5)
    (grad,) = ecgcam.explain(record(), ["0"], model(), mask="none", gradient=None)
    np.testing.assert_allclose(grad.map_cells, 3.5 * np.array([[2.0, 2, 0, 2], [2, 3, 1, 1]]), atol=1e-5)
    assert grad.meta["mask"] == "none"
    assert "maps without masking: the layer's cells depend on their own lead alone" in grad.meta["warnings"]


def test_scores_of_leads_alone_are_those_of_the_model_s_fill() -> None:
    (none,) = ecgcam.explain(record(), ["0"], model(), mask="none")
    (zero,) = ecgcam.explain(record(), ["0"], model(), mask="zero")
    np.testing.assert_allclose(none.lead_scores, zero.lead_scores)
    assert none.score == pytest.approx(zero.score)
    assert (
        np.abs(none.map_cells - zero.map_cells).max() > 0.1
    )  # with lead II masked, fewer cells than eight have a part


def test_leads_that_were_mixed_before_the_layer_are_said_to_be() -> None:
    (got,) = ecgcam.explain(record(), ["0"], model(mix=0.5), mask="none", gradient=None)
    said = next(words for words in got.meta["warnings"] if "without masking" in words)
    # Own cells: m + (m_I + m_II) / 4. Alone they lack a quarter of the other lead's m.
    m = np.array([[2.0, 2, 0, 2], [2, 3, 1, 1]])
    share = np.linalg.norm(m[::-1] / 4) / np.linalg.norm(m + m.sum(0) / 4)
    assert f"change by {share:.0%}" in said


@pytest.mark.parametrize(
    ("leads", "method", "says"),
    [
        (0, "grad-cam", "cells of toy at layer depend on every lead"),
        (2, "score-cam", "only methods of the family cam"),
    ],
)
def test_what_needs_masking_is_refused(leads: int, method: str, says: str) -> None:
    with pytest.raises(EcgcamError, match=says):
        ecgcam.explain(record(), ["0"], model(leads=leads), method=method, mask="none")
