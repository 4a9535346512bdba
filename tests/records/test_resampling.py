"""Resampling beside SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import firwin, resample_poly

from ecgcam.records.resampling import anti_aliasing, resample


@pytest.mark.parametrize(("up", "down"), [(1, 2), (2, 1), (25, 18), (1, 4), (5, 2), (2, 5), (500, 257)])
@pytest.mark.parametrize("length", [1, 7, 1000])
def test_it_is_scipys(up: int, down: int, length: int) -> None:
    signal = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32).cumsum(axis=1)
    wanted = resample_poly(signal.astype(float), up, down, axis=1, window=anti_aliasing(up, down), padtype="edge")
    total = wanted.shape[1]
    assert total == -(-length * up // down)
    np.testing.assert_allclose(resample(signal, up, down, 0, total), wanted, atol=1e-5 * np.abs(wanted).max())
    start, stop = total // 3, total - total // 4
    np.testing.assert_array_equal(
        resample(signal, up, down, start, stop), resample(signal, up, down, 0, total)[:, start:stop]
    )


def test_the_filter_is_scipys_up_to_the_gain_of_its_phases() -> None:
    for up, down in [(1, 2), (25, 18)]:
        slower = max(up, down)
        designed = firwin(20 * slower + 1, 1 / slower, window=("kaiser", 5.0))
        np.testing.assert_allclose(up * anti_aliasing(up, down), designed * up, rtol=5e-3, atol=1e-6)


def test_a_constant_stays_one() -> None:
    constant = np.full((1, 50), 1.5, np.float32)
    np.testing.assert_array_equal(resample(constant, 25, 18, 0, 69), np.full((1, 69), 1.5, np.float32))
