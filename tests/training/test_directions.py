"""The head and the findings' directions: the loss of the maps by hand, what is trained, and in which units."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from training.data import load_findings
from training.directions import APART, FIRST_SEED, Fitting, Placed, simulate_cells
from training.train import FS

from ecgcam.models.families.mini import MiniSignalTower
from ecgcam.records.simulator import simulate


def fitting(placed: Placed, tower: MiniSignalTower | None = None, steps: int = 60) -> Fitting:
    """Two findings, each with a channel of its own among 128."""
    torch.manual_seed(0)
    labels = torch.eye(2).repeat(40, 1)
    means = torch.cat([labels, torch.rand(80, 126) * 0.02], dim=1)
    spread = torch.linspace(0.5, 2, 128)
    directions = torch.nn.functional.normalize(torch.randn(2, 128), dim=1)
    return Fitting(tower or MiniSignalTower(), means, labels, torch.zeros(128), spread, directions, 2, placed, steps, 0)


def two_recordings() -> Placed:
    """Cells of which channel 0 answers within the truth and channel 1 outside it, in two of three leads."""
    torch.manual_seed(1)
    cells, truth = torch.zeros(2, 3, 128, 10), torch.zeros(2, 3, 10, dtype=torch.bool)
    truth[:, :2, 3:6] = True
    cells[:, :2, 0, 3:6], cells[:, :2, 1, 6:9] = 1.0, 1.0
    return Placed(cells.half(), truth, truth.any(dim=-1), [[0], [0]])


def test_the_share_outside_is_that_of_grad_cam_worked_out_slowly() -> None:
    placed = two_recordings()
    one = fitting(placed)
    found, order = one.misplaced([0, 1])
    shares, gains = [], []
    for cells, truth in zip(placed.cells[0].float(), placed.truth[0], strict=True):
        means = cells.mean(-1).requires_grad_(True)
        hidden = torch.relu(one.first((means - one.centre) / one.spread))
        cosine = torch.nn.functional.cosine_similarity(one.last(hidden), one.found[0], dim=0)
        (gradient,) = torch.autograd.grad(cosine, means)
        values = torch.relu(gradient @ cells)
        shares.append(float(values[~truth].sum() / (values.sum() + 1e-3)))
        gains.append(float(cosine.detach()))
    # The third lead shows nothing: it has no share in the loss.
    weights = [gain - min(gains) for gain in gains[:2]]
    expected = sum(share * weight for share, weight in zip(shares, weights, strict=False)) / (sum(weights) + 5e-7)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    # Both recordings are the same: the mean over two pairs of leads of log(1 + exp(difference)).
    behind = [math.log1p(math.exp((gains[2] - gain) / APART)) for gain in gains[:2]]
    assert order.item() == pytest.approx(sum(behind) / 2, rel=1e-4)


def test_training_moves_maps_into_the_truth_and_leaves_the_cells() -> None:
    tower = MiniSignalTower()
    before = copy.deepcopy(tower)
    one = fitting(two_recordings(), tower)
    first = one.misplaced([0, 1])[0].item()
    losses = [one.step()[0] for _ in range(60)]
    assert losses[-1] < losses[0]
    assert one.misplaced([0, 1])[0].item() < max(0.2, first / 2)
    for part in ("stem", "stages"):
        for a, b in zip(getattr(before, part).parameters(), getattr(tower, part).parameters(), strict=True):
            assert torch.equal(a, b)
    assert torch.allclose(one.directions.norm(dim=1), torch.ones(2))


def test_the_finished_head_takes_means_as_they_are() -> None:
    tower = MiniSignalTower()
    plain = copy.deepcopy(tower.head)
    one = fitting(two_recordings(), tower)
    with torch.no_grad():
        expected = one._embed(one.means)
        one.finish()
        found = torch.nn.functional.normalize(tower.head(one.means), dim=1)
        untrained = torch.nn.functional.normalize(plain(one.means), dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found, untrained, rtol=0, atol=1e-4)


def test_simulated_cells_are_those_of_each_lead_alone_with_the_truth_of_their_samples() -> None:
    findings = [finding for finding in load_findings() if finding.name in {"normal", "af", "pvc", "ischaemia"}]
    walls = [finding for finding in load_findings() if finding.name.endswith("-ischaemia")]
    tower = MiniSignalTower().eval()
    placed = simulate_cells(tower, [*findings, *walls], 2)
    assert placed.columns[:2] == [[2], [2]]  # premature beats; neither normal nor atrial fibrillation
    for row, k in ((2, 0), (3, 1)):
        wall = f"{simulate('ischaemia', FIRST_SEED + k).wall}-ischaemia"
        assert placed.columns[row] == [3, 4 + [finding.name for finding in walls].index(wall)]
    made = simulate("pvc", FIRST_SEED + 1, fs=FS)
    alone = torch.zeros(1, 12, 2500)
    lead = torch.from_numpy(made.signal[7])
    alone[0, 7] = lead - torch.tensor(float(torch.quantile(lead, 0.5)))
    with torch.no_grad():
        expected = tower.stages(tower.stem(alone))[0]
    torch.testing.assert_close(placed.cells[1, 7].float(), expected, rtol=2e-3, atol=2e-3)
    for cell in range(expected.shape[-1]):
        here = made.mask[7, max(0, 8 * cell - 4) : 8 * cell + 5].any()
        assert bool(placed.truth[1, 7, cell]) == here
