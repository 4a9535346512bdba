"""Means and intervals against values worked out by hand, and against direct resampling."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from ecgcam.results import intervals
from ecgcam.results.intervals import bootstrap_means, cluster_means, mean_interval


def test_two_recordings_reach_from_one_to_the_other() -> None:
    # A quarter of the draws takes the first twice, a quarter the second twice: the ends of the middle 95 %.
    found = bootstrap_means(np.array([[0.0], [1.0]]))
    assert (found.mean[0], found.low[0], found.high[0], found.n[0]) == (0.5, 0.0, 1.0, 2)


def test_the_interval_is_that_of_direct_resampling() -> None:
    values = np.random.default_rng(1).normal(size=(40, 3))
    found = bootstrap_means(values, 500, seed=7)
    for column in range(3):
        drawn = np.random.default_rng(7).integers(40, size=(500, 40))
        low, high = np.quantile(values[drawn, column].mean(axis=1), [0.025, 0.975])
        assert (found.low[column], found.high[column]) == pytest.approx((low, high), rel=1e-12)
        assert mean_interval(values[:, column], 500, seed=7) == pytest.approx(
            (found.mean[column], low, high), rel=1e-12
        )


def test_coverage_is_near_what_is_said() -> None:
    rng = np.random.default_rng(2)
    found = [bootstrap_means(rng.normal(3.0, 1.0, (50, 1)), 400, seed) for seed in range(300)]
    inside = np.mean([estimate.low[0] <= 3.0 <= estimate.high[0] for estimate in found])
    assert 0.90 <= inside <= 0.98


def test_missing_values_are_left_out_of_each_draw() -> None:
    values = np.array([[1.0, np.nan, np.nan, 2.0], [3.0, 5.0, np.nan, 4.0], [5.0, np.nan, np.nan, np.nan]])
    found = bootstrap_means(values)
    np.testing.assert_array_equal(found.n, [3, 1, 0, 2])
    np.testing.assert_allclose(found.mean, [3.0, 5.0, np.nan, 3.0])
    assert np.isfinite(found.low[0])
    assert np.isnan([found.low[1], found.high[1], found.low[2]]).all()
    assert (found.low[3], found.high[3]) == (2.0, 4.0)


def test_the_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(9, 2, 2))
    whole = bootstrap_means(values, 101, seed=1)
    monkeypatch.setattr(intervals, "_MAX_COUNTS", 20)
    parts = bootstrap_means(values, 101, seed=1)
    assert parts.mean.shape == (2, 2)
    np.testing.assert_allclose(parts.low, whole.low, rtol=1e-12)
    np.testing.assert_allclose(parts.high, whole.high, rtol=1e-12)


def test_memory_is_bounded_for_all_of_ptb_xl() -> None:
    values = np.random.default_rng(4).normal(size=21_837)
    mean_interval(values, draws=10)  # imports scipy.stats
    tracemalloc.start()
    mean_interval(values, draws=400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 8 * intervals._MAX_COUNTS  # all 2000 draws at once: 700 MB for the indices and the values


def test_only_the_seed_decides_the_draws() -> None:
    values = np.random.default_rng(4).normal(size=(9, 1))
    assert bootstrap_means(values, seed=5).low == bootstrap_means(values, seed=5).low
    assert bootstrap_means(values, seed=5).low != bootstrap_means(values, seed=6).low


def test_the_interval_of_a_mean() -> None:
    values = np.array([0.0, 1.0] * 50)
    mean, low, high = mean_interval(values)
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.02)
    assert mean_interval(np.array([1.0, np.nan]))[0] == 1.0
    assert np.isnan(mean_interval(np.array([np.nan]))).all()
    assert np.isnan(mean_interval([])).all()
    assert np.isnan(mean_interval(np.array([1.0]))[1])


def test_values_of_one_patient_are_drawn_together() -> None:
    # Two patients: a quarter of the draws holds the first alone (mean 0), a quarter the second alone (mean 1).
    values = np.array([0.0, 0.0, 0.0, 1.0])
    assert cluster_means(values, ["a", "a", "a", "b"]) == (0.25, 0.0, 1.0)
    assert np.isnan(cluster_means(values, ["a"] * 4)[1:]).all()
    # One value for each patient: the plain bootstrap.
    many = np.random.default_rng(0).normal(size=30)
    assert cluster_means(many, range(30)) == pytest.approx(mean_interval(many), rel=1e-12)


def test_scipy_stats_is_imported_when_needed() -> None:
    code = "import sys, ecgcam.results.intervals, ecgcam.cohort.tables; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
