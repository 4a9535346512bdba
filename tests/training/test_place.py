"""The second stage: stretches that are changed, how far from them cells answer, and that a few steps draw cells nearer."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from training.place import EVERY, STEP, Placing, changed, reach
from training.train import FS

from ecgcam.models.families.mini import MiniSignalTower


def test_only_the_stretches_change_and_the_signals_stay() -> None:
    x = torch.randn(20, 12, 2500, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    other, spans = changed(x, np.random.default_rng(0))
    assert torch.equal(x, kept)
    assert spans.shape == (20, 5, 2)
    inside = torch.zeros(20, 2500, dtype=torch.bool)
    for row, pairs in zip(inside, spans.int().tolist(), strict=True):
        for first, last in pairs:
            assert 0 <= first < last < 2500
            row[first : last + 1] = True
    touched = (x != other).any(1)
    assert not (touched & ~inside).any()
    assert touched.any(1).all()
    leads = (x != other).any(2).sum(1)
    assert len(set(leads.tolist())) > 1  # not always the same leads


def test_reach_is_the_mean_square_distance_of_what_answers_worked_out_by_hand() -> None:
    before = torch.zeros(1, 2, 313)
    after = before.clone()
    spans = torch.tensor([[[1000.0, 1016.0]]])  # cells 125 to 127
    after[0, 0, 125] = 1.0
    assert reach(before, after, spans).item() == 0.0
    after[0, 1, 127 + 25] = 1.0  # 200 samples after the last: 0.8 s, and as large
    expected = 0.5 * 0.8**2
    assert reach(before, after, spans).item() == pytest.approx(expected, rel=2e-3)
    after[0, 1, 127 + 25] = 3.0  # nine tenths of the squares
    assert reach(before, after, spans).item() == pytest.approx(0.9 * 0.8**2, rel=2e-3)
    before[0, 0, 300] = 5.0  # further away than half of what lies between changes: another's
    assert (300 * STEP - 1008) / FS > EVERY / 2
    assert reach(before, after, spans).item() == pytest.approx(0.9 * 0.8**2, rel=2e-3)


def test_changes_weigh_the_same_whatever_their_size_but_for_those_that_no_cell_answers_to() -> None:
    before, after = torch.zeros(2, 1, 1, 313)
    spans = torch.tensor([[[400.0, 408.0], [1400.0, 1408.0]]])
    after[0, 0, 51 + 25] = 1.0  # 0.8 s
    after[0, 0, 175] = 10.0  # inside
    two = reach(before, after, spans).item()
    assert two == pytest.approx(0.5 * 0.8**2, rel=0.06)  # a hundredth of the answer, and half of the figure
    after[0, 0, 51 + 25] = 1e-4
    assert reach(before, after, spans).item() < 1e-3 * two
    assert reach(before, before, spans).item() == 0.0


@pytest.mark.slow
def test_a_few_steps_draw_cells_nearer_and_hold_the_embeddings() -> None:
    torch.manual_seed(0)
    tower = MiniSignalTower(widths=(8, 8, 16), depths=(1, 1), dim=16)
    first = copy.deepcopy(tower).eval()
    placing = Placing(tower, 60, 0)
    windows = np.random.default_rng(0).standard_normal((16, 12, 1250)).cumsum(-1).astype(np.float32) / 20
    windows -= np.median(windows, axis=2, keepdims=True)
    found = [placing.step(windows) for _ in range(60)]
    assert np.mean([far for _, far in found[-10:]]) < 0.8 * np.mean([far for _, far in found[:5]])
    x = torch.from_numpy(windows)
    with torch.no_grad():
        kept = torch.nn.functional.cosine_similarity(placing.average.module(x), first(x))
    assert kept.mean() > 0.9
    again = MiniSignalTower(widths=(8, 8, 16), depths=(1, 1), dim=16)
    again.load_state_dict(first.state_dict())
    repeated = Placing(again, 60, 0)
    assert [repeated.step(windows) for _ in range(3)] == found[:3]
