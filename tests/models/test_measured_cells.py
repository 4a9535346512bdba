"""Net1D's cells lie where its weights put them: measured on the loaded network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.models.published import narrow_file, published_model

from ecgcam import explain
from ecgcam.models.families import net1d
from ecgcam.models.families.net1d import Block, Net1D, build
from ecgcam.models.model_file import load_spec
from ecgcam.protocol.spec import LayerSpec
from ecgcam.records import Record
from ecgcam.records.simulator import simulate


def network(branch: float) -> Net1D:
    """Two stages of two blocks with even kernels, whose convolved paths weigh `branch` beside the shortcuts."""
    torch.manual_seed(0)
    net = build(filters=(8, 8), blocks=(2, 2), group=8, labels=2).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Block):
                # All taps alike: the path's centre is the middle of its sixteen taps.
                module.conv2.conv.weight.copy_(module.conv2.conv.weight.mean(dim=2, keepdim=True).expand(-1, -1, 16))
                module.conv3.conv.weight.mul_(branch)
                module.conv3.conv.bias.mul_(branch)
        net.first_conv.conv.weight.copy_(net.first_conv.conv.weight.mean(dim=2, keepdim=True).expand(-1, -1, 16))
    return net


@pytest.mark.parametrize(("branch", "later"), [(0.0, 0.0), (1e4, 6.0)])
def test_cells_lie_between_the_shortcut_and_the_convolved_path(
    branch: float, later: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks of stride 1, at steps 4 and 8: their sixteen taps look 2 and 4 samples later than their shortcuts."""
    monkeypatch.setattr(
        net1d, "_AT", tuple(0.3 + 0.4 * i / 63 for i in range(64))
    )  # more cells than on loading: less noise
    layer = LayerSpec("BCT", 8, 3.5)
    assert network(branch).cell_offset("stage_list.1", layer, 2000) == pytest.approx(3.5 + later, abs=0.8)


def test_measuring_leaves_the_network_as_it_was() -> None:
    net = network(1.0)
    x = torch.randn(1, 12, 2000)
    before = net(x)
    net.cell_offset("stage_list.0", LayerSpec("BCT", 4, 1.5), 2000)
    assert torch.equal(net(x), before)
    assert not any(module._forward_hooks for module in net.modules())
    assert not any(module.gates_held for module in net.modules() if isinstance(module, Block))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_map_lies_at_the_measured_cells(tmp_path: Path) -> None:
    model = published_model("ecgfounder", tmp_path)
    declared = load_spec(narrow_file("ecgfounder", tmp_path)).layers["stage_list.6"]
    measured = model.spec.layer_named()[1]
    assert measured == replace(declared, offset=measured.offset)
    assert 0 < measured.offset - declared.offset < 686
    known = simulate("normal", 1)
    (got,) = explain(Record("r", known.signal, known.fs, known.leads), ["sinus rhythm"], model, gradient=None)
    assert got.cell_time[0] == pytest.approx(measured.offset / 500)
