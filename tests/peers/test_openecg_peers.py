"""openecg's codec with its published weights (Apache-2.0, part of the package), brought as one's own network.

One lead at 500 Hz, rank-normalised, to logits of other, P, QRS and T at every sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecgcam import InputSpec, LayerSpec, explain, own_model
from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.hooks import capture
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate

from .conftest import imported

pytestmark = [
    pytest.mark.slow, pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning"),  # of torch, for its encoder
]  # fmt: skip

INPUT = InputSpec(fs=500, seconds=10, leads=("II",), normalisation="none")
LAYER = "codec.upper_transformer"


class Frames(nn.Module):
    """Signals (B, 1, 5000), rank-normalised, to logits (B, 4, 5000)."""

    def __init__(self) -> None:
        super().__init__()
        self.codec, self.labels = imported("openecg").load_codec(), ["other", "P", "QRS", "T"]

    def forward(self, x: Tensor) -> Tensor:
        frames, _, _ = self.codec(x[:, 0], torch.zeros(len(x), dtype=torch.long))
        return frames.transpose(1, 2)


@pytest.fixture(scope="module")
def network() -> Frames:
    return Frames().eval()


@pytest.fixture(scope="module")
def model(network: Frames) -> EcgTextModel:
    return own_model(network, layer=LAYER, targets=True, input=INPUT)


@pytest.fixture(scope="module")
def lead() -> np.ndarray:
    """Lead II of a normal ECG, (5000,), as openecg normalises it."""
    known = simulate("normal", 3)
    return np.asarray(imported("openecg.dsp").rank_normalize(known.signal[1, :5000]), np.float32)


def test_the_network_is_openecg_s_and_its_score_the_sum_of_an_output(
    network: Frames, model: EcgTextModel, lead: np.ndarray
) -> None:
    with torch.no_grad():
        logits = network(torch.from_numpy(lead)[None, None])[0]
    assert np.array_equal(logits.argmax(0).numpy(), imported("openecg").encode(lead, fs=500, model="default").frame)
    record = Record.from_channels("II", lead[None], 500.0, INPUT.leads, source="II")
    whole, part = explain(record, ["QRS", "QRS@2-4"], model, gradient=None)
    assert whole.score == pytest.approx(float(logits[2].sum()), rel=1e-4)
    assert part.score == pytest.approx(float(logits[2, 1000:2000].sum()), rel=1e-4)


def test_cells_lie_on_the_patches_of_its_tokenizer(network: Frames, model: EcgTextModel) -> None:
    tokens: Any = network.codec.conv_tok
    step, kernel, padding = tokens.stride[0], tokens.kernel_size[0], tokens.padding[0]
    assert model.spec.layers[LAYER] == LayerSpec("BTC", step, (kernel - 1) / 2 - padding)


def test_grad_cam_is_plain_torch_s(network: Frames, model: EcgTextModel, lead: np.ndarray) -> None:
    x = torch.from_numpy(lead)[None, None]
    found = capture(model, x, model.encode_text(["QRS"]), reduce=grad_cam).reduced[0][0]
    kept: list[Tensor] = []
    handle = network.codec.upper_transformer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        score = network(x.requires_grad_())[0, 2].sum()
    finally:
        handle.remove()
    (slope,) = torch.autograd.grad(score, kept[0])
    wanted = (slope.mean(dim=1, keepdim=True) * kept[0].detach()).sum(dim=2)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
