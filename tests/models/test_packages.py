"""Networks of real packages (torch_ecg, tsai, transformers): cells and Grad-CAM are right, and every method runs or refuses."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tests.attribution.test_every_row import SHORT
from tests.models.own_networks import INPUT
from tests.models.package_networks import NETWORKS
from torch import Tensor, nn

from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.cells import to_cells
from ecgcam.attribution.hooks import activations_of, capture
from ecgcam.attribution.methods import METHODS
from ecgcam.attribution.taps import outputs_of, part_of
from ecgcam.errors import EcgcamError
from ecgcam.models.own import own_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record
from ecgcam.records.simulator import simulate
from ecgcam.runs.api import explain

pytestmark = [pytest.mark.peers, pytest.mark.slow]

SELF = {"attention-rollout", "chefer", "legrad"}
RULES = {"guided-backprop", "deconvolution", "guided-grad-cam"}
# Why a method may refuse a network: a pattern of its message, and the networks.
REFUSALS = {
    # Without attention there is nothing to show.
    **dict.fromkeys(SELF, ("has no blocks of self-attention", {"ECG_CRNN", "InceptionTime", "LSTM_FCN"})),
    "attention-pool": ("has no attention pooling", set(NETWORKS)),
    # GELU, Mish, sigmoid and LSTM stand next to ReLU, or in its place.
    **dict.fromkeys(RULES, ("changes how gradients pass relu", set(NETWORKS) - {"InceptionTime"})),
    # Relevance has no rule for a recurrent layer.
    "lrp": ("has no rule for a recurrent layer", {"ECG_CRNN", "LSTM_FCN"}),
    # More than a mean and a linear head follow the layer.
    "cam": ("a linear head reads the mean", {"ECG_CRNN", "GPT-2"}),
}  # fmt: skip


@pytest.fixture(scope="module", params=NETWORKS)
def package(request: pytest.FixtureRequest) -> tuple[str, nn.Module, EcgTextModel]:
    build, layer, _, _ = NETWORKS[request.param]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch_ecg and tsai script functions, and set options of pandas, when imported
        network = build()
    return request.param, network, own_model(network, layer=layer, targets=request.param != "GPT-2", input=INPUT)


@pytest.fixture(scope="module")
def record() -> Record:
    known = simulate("normal", 3)
    return Record.from_channels("normal", known.signal[[0, 1, 6]], known.fs, INPUT.leads, source="normal")


def test_a_pulse_moved_over_the_window_moves_the_cell_that_lies_there(
    package: tuple[str, nn.Module, EcgTextModel],
) -> None:
    name, _, model = package
    _, _, layout, step = NETWORKS[name]
    where = model.spec.layers[model.spec.layer]
    assert (where.layout, where.step) == (layout, step)
    cells = activations_of(model, torch.zeros(1, 3, 1000)).shape[-1] // max(where.leads, 1)
    reach = max(round(3 * step), 80)
    shifts = np.arange(-reach, reach + 1, max(1, int(step // 10)))
    moved = np.zeros(len(shifts))
    generator = torch.Generator().manual_seed(1)
    for cell in (cells // 4, cells // 2, 3 * cells // 4):
        for _ in range(3):
            background = torch.randn(3, 1000, generator=generator)
            pulses = background.repeat(len(shifts) + 1, 1, 1)
            at = np.round(where.offset + where.step * cell + shifts).astype(int)
            pulses[torch.arange(len(at)), :, torch.from_numpy(at)] += 3.0
            A = activations_of(model, pulses)
            A = A.unflatten(-1, (where.leads, cells)).sum(-2) if where.leads else A
            moved += (A[:-1, :, cell] - A[-1:, :, cell]).abs().sum(-1).numpy()
    far = moved[np.abs(shifts) > 70].max() if reach <= 80 else 0.0  # what every sample does
    local = far < 0.02 * moved.max()
    inside = shifts[moved > (2 * far + 1e-6 * moved.max() if local else moved.max() / 2)]
    assert abs(inside.min() + inside.max()) / 2 <= step / 2 + 0.5 * (step > 1)


def test_grad_cam_is_plain_torch_one_signal_and_lead_at_a_time(package: tuple[str, nn.Module, EcgTextModel]) -> None:
    name, network, model = package
    x = torch.randn(3, 1000, generator=torch.Generator().manual_seed(5))
    alone = torch.diag_embed(x.T).permute(1, 2, 0)  # each keeps one lead
    text = model.encode_text(["af" if name == "GPT-2" else "1"])
    found = capture(model, alone, text, reduce=grad_cam).reduced[0]
    module, where = model.layer()
    network.eval()
    for i, signal in enumerate(alone):
        with outputs_of(module) as outputs, torch.backends.cudnn.flags(enabled=False):
            signal = signal[None].clone().requires_grad_()
            scores = (
                network.score_texts(network.encode_once(signal), ["sinus", "af"])
                if name == "GPT-2"
                else network(signal)
            )
        output = part_of(outputs[0], where.part)
        assert output is not None
        (slope,) = torch.autograd.grad(scores[0, 1], output)
        A, G = (to_cells(tensor.detach(), where) for tensor in (output, slope))
        wanted = (G.mean(dim=-1, keepdim=True) * A).sum(dim=1)[0]
        torch.testing.assert_close(found[i], wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    network.train()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_or_refuses_for_a_named_reason(
    method: str, package: tuple[str, nn.Module, EcgTextModel], record: Record
) -> None:
    name, network, model = package
    texts = ("af", "sinus") if name == "GPT-2" else ("1", "0")
    how: dict[str, Any] = {"against": texts[1:] if method == "finer-cam" else ()}
    before = [weight.detach().clone() for weight in [*network.parameters(), *network.buffers()]]
    required = [weight.requires_grad for weight in network.parameters()]
    refused = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = explain(
                record,
                [texts[0]],
                model,
                method=method,
                options=SHORT.get(method, {}),
                gradient=None,
                **how,
            )
    except EcgcamError as error:
        refused = str(error)
    pattern, networks = REFUSALS.get(method, ("^$", set()))
    assert bool(refused) == (name in networks), refused
    if refused:
        assert re.search(pattern, refused), refused
        assert "\n" not in refused
    else:
        assert np.isfinite(found.map).all()
        assert np.isfinite(found.map_cells).all()
    after: list[Tensor] = [*network.parameters(), *network.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert [weight.requires_grad for weight in network.parameters()] == required
    assert network.training
