"""Cells sit where they look: at their true centres, never stretched edge to edge."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import Tensor, nn

from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.cells import (
    average_layers,
    cell_centres,
    cells_view,
    lead_cells,
    mixed_leads,
    select_lead,
    shift_cells,
    shortest_span,
    sum_leads,
    to_cells,
    upsample_to_samples,
)
from ecgcam.attribution.hooks import capture
from ecgcam.models.load import load_model
from ecgcam.protocol.spec import LayerSpec


@pytest.mark.parametrize("layout", ["BCT", "BTC", "TBC"])
def test_layouts_become_one(layout: str) -> None:
    wanted = torch.arange(2 * 3 * 5.0).reshape(2, 3, 5)
    given = {"BCT": wanted, "BTC": wanted.transpose(1, 2), "TBC": wanted.permute(2, 0, 1)}[layout]
    assert torch.equal(to_cells(given, LayerSpec(layout, 1, 0)), wanted)  # type: ignore[arg-type]
    assert torch.equal(to_cells(given, LayerSpec(layout, 1, 0, n_prefix_tokens=1)), wanted[..., 1:])  # type: ignore[arg-type]


def test_laying_by_hand() -> None:
    # Cells at samples 1 and 5: flat before the first, a straight line between, flat after the second.
    laid = upsample_to_samples(np.array([4.0, 0.0]), LayerSpec("BCT", 4, 1), 8)
    np.testing.assert_allclose(laid, [4, 4, 3, 2, 1, 0, 0, 0])
    np.testing.assert_allclose(cell_centres(2, LayerSpec("BCT", 4, 1)), [1, 5])


def test_one_cell_covers_the_window() -> None:
    np.testing.assert_allclose(
        upsample_to_samples(np.array([[2.0]]), LayerSpec("BCT", 8, 3.5), 8), np.full((1, 8), 2.0)
    )


@pytest.mark.parametrize(("step", "offset"), [(8, 0.0), (16, 0.0), (50, 24.5), (7, 3.0)])
def test_a_lone_cell_keeps_its_centroid(step: int, offset: float) -> None:
    layer, samples = LayerSpec("BCT", step, offset), step * 20
    for cell in (3, 10, 16):
        laid = upsample_to_samples(np.eye(20)[cell], layer, samples)
        centroid = (laid * np.arange(samples)).sum() / laid.sum()
        assert centroid == pytest.approx(offset + step * cell, abs=1e-3)
        assert laid[: int(offset + step * (cell - 1))].max(initial=0) == 0


def test_shortest_span_by_hand() -> None:
    assert shortest_span(np.array([0, 1, 8, 1, 0.0])) == 2  # 9 of 10 is exactly 90 %
    assert shortest_span(np.array([1, 1, 1, 1, 1.0])) == 5
    assert shortest_span(np.array([0, 0, 7, 0.0])) == 1
    assert shortest_span(np.zeros(4)) == 0


class Strided(nn.Module):
    """Two strided convolutions with symmetric kernels; the mean square answers where the signal is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 3, 7, 2, 3, bias=False), nn.ReLU(), nn.Conv1d(3, 4, 5, 4, 2, bias=False), nn.ReLU()
        )
        with torch.no_grad():
            for convolution in (self.features[0], self.features[2]):
                weight = convolution.weight
                reach = weight.shape[-1] // 2
                weight.copy_((torch.hann_window(weight.shape[-1] + 2, periodic=False)[1:-1]).expand_as(weight))
                assert weight.shape[-1] == 2 * reach + 1

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean(-1)


@pytest.mark.parametrize("at", [80, 160, 240])
def test_an_impulse_appears_at_its_own_time_convolutions(at: int) -> None:
    model = toy_model(Strided(), {"features": LayerSpec("BCT", 8, 0)}, samples=320, width=4)
    x = torch.zeros(1, 2, 320)
    x[0, 0, at] = 1.0
    got = capture(model, x, torch.eye(4)[:1])
    laid = upsample_to_samples(
        grad_cam(got.activations, got.gradients[0]).relu().numpy()[0], LayerSpec("BCT", 8, 0), 320
    )
    assert (laid * np.arange(320)).sum() / laid.sum() == pytest.approx(at, abs=1.0)


class Patches(nn.Module):
    """Tokens of 10 samples, a little mixed with all others, read out by their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv1d(2, 4, 10, 10, bias=False)
        nn.init.ones_(self.embed.weight)
        self.block = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).transpose(1, 2)
        return self.block(tokens + 0.1 * tokens.mean(1, keepdim=True)).mean(1)


@pytest.mark.parametrize("token", [0, 7, 19])
def test_an_impulse_makes_its_own_token_strongest(token: int) -> None:
    layer = LayerSpec("BTC", 10, 4.5)
    model = toy_model(Patches(), {"block": layer}, samples=200, width=4)
    x = torch.zeros(1, 2, 200)
    x[0, 1, token * 10 + 3] = 1.0
    got = capture(model, x, torch.eye(4)[:1])
    laid = upsample_to_samples(grad_cam(got.activations, got.gradients[0]).numpy()[0], layer, 200)
    assert token * 10 <= int(laid.argmax()) < (token + 1) * 10


@pytest.mark.parametrize("path", ["signal.stem", "signal.stages.0", "signal.stages.1"])
def test_the_bundled_models_cells_are_where_its_file_says(path: str) -> None:
    """Move an impulse by a whole number of steps: the response moves by as many cells, and is centred on the impulse's cell."""
    model = load_model("mini")
    module, layer = model.layer(path)
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _m, _i, output: outputs.append(output))
    x = torch.zeros(3, 12, model.input.samples)
    x[1, :, 1000] = 0.5
    x[2, :, 1000 + 5 * int(layer.step)] = 0.5
    with torch.no_grad():
        model.encode_signal(x)
    handle.remove()
    A = to_cells(outputs[0], layer)
    first, second = (A[1] - A[0]).abs().sum(0), (A[2] - A[0]).abs().sum(0)
    torch.testing.assert_close(first[60:-60], second[65:-55], atol=1e-4, rtol=1e-4)
    # Odd kernels and symmetric padding: the cells that may respond lie evenly around the impulse. On zeros a cell at the edge may
    # be silent in all channels, so the impulse is added to noise, and the cells of all draws are taken together.
    noise = torch.randn(16, 12, model.input.samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    struck = noise.clone()
    struck[:, :, 1000] += 5
    network = copy.deepcopy(model.network).double()
    outputs.clear()
    handle = network.get_submodule(path).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    with torch.no_grad():
        for x in (noise, struck):
            network.get_submodule("signal")(x)
    handle.remove()
    before, after = (to_cells(output, layer) for output in outputs)
    # In double precision a cell that is not reached differs by rounding at most.
    reached = torch.nonzero((after - before).abs().amax((0, 1)) > 1e-10).flatten().double()
    centre = (reached.min() + reached.max()) / 2 * layer.step + layer.offset
    assert abs(float(centre) - 1000) <= layer.step / 2


def test_layers_are_averaged_on_the_finest_by_hand() -> None:
    # Cells at samples 0, 2, 4, 6 and at 0, 4: the coarse layer reads 0, 0.5, 1, 1 there after division by its largest, 8.
    fine = torch.tensor([[0.0, 2.0, 0.0, -4.0], [1.0, 0.0, 0.0, 0.0]])
    coarse = torch.tensor([[0.0, 8.0], [4.0, 4.0]])
    cells, layer = average_layers([(coarse, LayerSpec("BCT", 4, 0)), (fine, LayerSpec("BCT", 2, 0))])
    want = torch.tensor([[0.0, 0.5 + 0.5, 1.0, 1.0 - 1.0], [0.25 + 0.5, 0.5, 0.5, 0.5]]) / 2
    torch.testing.assert_close(cells, want)
    assert layer.step == 2
    silent, _ = average_layers([(coarse * 0, LayerSpec("BCT", 4, 0)), (fine * 0, LayerSpec("BCT", 2, 0))])
    assert not silent.any()


def test_leads_that_a_layer_keeps_apart_are_taken_apart() -> None:
    # Two leads of three cells, a separator before and after each, behind one class token: tokens 10, then 0..9.
    output = torch.tensor([10.0, *range(10)])[None, :, None]
    layer = LayerSpec("BTC", 4, 1.5, n_prefix_tokens=1, leads=2, n_separators=1)
    cells = to_cells(output, layer)
    assert cells.tolist() == [[[1, 2, 3, 6, 7, 8]]]
    assert lead_cells(cells[0], layer).tolist() == [[[1, 2, 3], [6, 7, 8]]]
    both = cells[0].repeat(2, 1)
    assert select_lead(both, layer, [1, 0]).tolist() == [[6, 7, 8], [1, 2, 3]]
    assert sum_leads(cells[0, 0], layer).tolist() == [7, 9, 11]
    # One cell later, within each lead.
    assert shift_cells(cells[0], layer, 4).tolist() == [[2, 3, 3, 7, 8, 8]]
    # A view, so that a channel can be put out in place.
    cells_view(output, layer)[:] = 0
    assert output.flatten().tolist() == [10, 0, 0, 0, 0, 4, 5, 0, 0, 0, 9]


def test_leads_end_to_end_are_read_off_on_the_way() -> None:
    # Two leads of 10 samples; tokens every 4 samples of the run, from 1.5: centres 1.5, 5.5, 9.5, 13.5, 17.5.
    layer = LayerSpec("BTC", 5, 2, leads=2, concat_grid=(4, 1.5, 10))
    cells = torch.tensor([[1.5, 5.5, 9.5, 13.5, 17.5]])  # each holds its own place in the run
    assert lead_cells(cells, layer).tolist() == [[[2, 7], [12, 17]]]
    assert select_lead(cells, layer, [1]).tolist() == [[12, 17]]
    assert sum_leads(cells[0], layer).tolist() == [14, 24]


def test_a_layer_whose_cells_look_at_every_lead_stays_as_it_is() -> None:
    layer = LayerSpec("BCT", 4, 0)
    cells = torch.arange(6.0).view(2, 3)
    assert select_lead(cells, layer, [5, 7]) is cells
    assert sum_leads(cells, layer) is cells


def test_how_far_leads_are_mixed_by_hand() -> None:
    """Two leads kept apart, two cells each: lead 1's own cells (3, 4) become (3, 0) when it is alone; lead 0's stay (0, 5)."""
    layer = LayerSpec("BCT", 4.0, 1.5, leads=2)
    whole = torch.tensor([[0.0, 5.0, 3.0, 4.0]])
    alone = torch.tensor([[[0.0, 5.0, 9.0, 9.0]], [[7.0, 7.0, 3.0, 0.0]]])
    assert mixed_leads(whole, alone, layer, [0, 1]) == pytest.approx(4 / 50**0.5)
    assert mixed_leads(whole, whole.expand(2, 1, 4), layer, [0, 1]) == 0
