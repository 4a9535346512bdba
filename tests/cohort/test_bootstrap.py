"""Means and intervals that can be worked out by hand, or the slow way."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.cohort import bootstrap
from ecgcam.cohort.bootstrap import bootstrap_means
from ecgcam.evidence.intervals import mean_interval


def test_two_recordings_reach_from_one_to_the_other() -> None:
    # A quarter of the draws takes the first twice, a quarter the second twice: the ends of the middle 95 %.
    found = bootstrap_means(np.array([[0.0], [1.0]]))
    assert (found.mean[0], found.low[0], found.high[0], found.n[0]) == (0.5, 0.0, 1.0, 2)


def test_the_same_as_one_value_at_a_time() -> None:
    values = np.random.default_rng(1).normal(size=(40, 3))
    found = bootstrap_means(values, 500, seed=7)
    for column in range(3):
        expected = mean_interval(values[:, column], 500, seed=7)
        assert (found.mean[column], found.low[column], found.high[column]) == pytest.approx(expected)


def test_coverage_is_near_what_is_said() -> None:
    rng = np.random.default_rng(2)
    found = [bootstrap_means(rng.normal(3.0, 1.0, (50, 1)), 400, seed) for seed in range(300)]
    inside = np.mean([estimate.low[0] <= 3.0 <= estimate.high[0] for estimate in found])
    assert 0.90 <= inside <= 0.98


def test_what_is_unknown_is_left_out_of_each_draw() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [5.0, np.nan, np.nan]])
    found = bootstrap_means(values)
    np.testing.assert_array_equal(found.n, [3, 1, 0])
    np.testing.assert_allclose(found.mean, [3.0, 5.0, np.nan])
    assert np.isfinite(found.low[0])
    assert np.isnan([found.low[1], found.high[1], found.low[2]]).all()


def test_memory_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(9, 2, 2))
    whole = bootstrap_means(values, 101, seed=1)
    monkeypatch.setattr(bootstrap, "_BLOCK", 20)
    parts = bootstrap_means(values, 101, seed=1)
    assert parts.mean.shape == (2, 2)
    np.testing.assert_allclose(parts.low, whole.low)
    np.testing.assert_allclose(parts.high, whole.high)


def test_the_seed_is_all_there_is_to_chance() -> None:
    values = np.random.default_rng(4).normal(size=(9, 1))
    assert bootstrap_means(values, seed=5).low == bootstrap_means(values, seed=5).low
    assert bootstrap_means(values, seed=5).low != bootstrap_means(values, seed=6).low
