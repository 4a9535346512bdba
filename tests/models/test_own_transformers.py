"""Networks of transformers, brought as one's own: cells where they lie, and maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.models.own_networks import INPUT
from torch import Tensor, nn

from ecgcam.models.own import own_model
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.api import explain

transformers = pytest.importorskip("transformers")


class Wav2Vec2(nn.Module):
    """Convolutions of strides 5 and 2 and widths 10 and 2, as published ones begin: a cell every 10 samples, the first at 7."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        config = transformers.Wav2Vec2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(16, 16),
            conv_kernel=(10, 2), conv_stride=(5, 2), num_feat_extract_layers=2, feat_extract_norm=norm,
            num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        )  # fmt: skip
        self.first, self.body, self.head = nn.Conv1d(3, 1, 1), transformers.Wav2Vec2Model(config), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x)[:, 0]).last_hidden_state.mean(1))


class PatchTst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = transformers.PatchTSTConfig(
            num_input_channels=3, context_length=1000, patch_length=20, patch_stride=20, d_model=16, num_attention_heads=2,
            num_hidden_layers=2, ffn_dim=32, use_cls_token=False,
        )  # fmt: skip
        self.body, self.head = transformers.PatchTSTModel(config), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(past_values=x.transpose(1, 2)).last_hidden_state.mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad-cam", "layer-integrated-gradients", "deep-lift", "saliency"])
@pytest.mark.parametrize(
    ("build", "layer", "layout", "step", "offset"),
    [
        (lambda: Wav2Vec2("group"), "body.encoder", "BTC", 10, 7.0),
        (lambda: Wav2Vec2("group"), "body.encoder.layers.1", "BTC", 10, 7.0),
        (lambda: Wav2Vec2("layer"), "body.encoder.layers.1", "BTC", 10, 7.0),
        (PatchTst, "body.encoder.layers.1", "BLTC", 20, 9.5),
    ],
)
def test_cells_and_maps(build: object, layer: str, layout: str, step: float, offset: float, method: str) -> None:
    torch.manual_seed(0)
    model = own_model(build(), layer=layer, targets=True, input=INPUT)  # type: ignore[operator]
    where = model.spec.layers[layer]
    assert (where.layout, where.step) == (layout, step)
    assert where.offset == pytest.approx(offset, abs=0.5)
    known = simulate("normal", 3)
    record = Record.from_channels("normal", known.signal[[0, 1, 6]], known.fs, INPUT.leads, source="normal")
    options = {"steps": 3} if method.startswith("layer") else {}
    (found,) = explain(record, ["0"], model, method=method, options=options, gradient=None)
    assert np.isfinite(found.map).all()
