"""Smoothing along time: constants stay, padding is not read, edges do not droop."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.attribution.smoothing import SMOOTHERS, _odd, smooth
from ecgcam.errors import EcgcamError

ALL = np.ones((1, 200), bool)


@pytest.mark.parametrize("smoother", SMOOTHERS)
def test_a_constant_stays_to_the_edges_of_what_is_valid(smoother: str) -> None:
    valid = ALL.copy()
    valid[0, 150:] = False
    values = np.full((1, 200), 3.0)
    values[0, 150:] = 1e6  # padding must not be read
    out = smooth(values, valid, 250.0, 60.0, smoother)
    np.testing.assert_allclose(out[0, :150], 3.0, rtol=1e-6)
    assert not out[0, 150:].any()


def test_gaussian_has_the_stated_width() -> None:
    impulse = np.zeros((1, 2001))
    impulse[0, 1000] = 1.0
    out = smooth(impulse, np.ones((1, 2001), bool), 1000.0, 80.0)[0]
    above = np.flatnonzero(out >= out.max() / 2)
    assert above[-1] - above[0] == 80
    assert out.sum() == pytest.approx(1.0, rel=1e-4)
    assert int(out.argmax()) == 1000


def test_mean_by_hand() -> None:
    # 30 ms at 100 Hz: three samples; two at an edge.
    out = smooth(np.array([[0.0, 3.0, 6.0, 0.0]]), np.ones((1, 4), bool), 100.0, 30.0, "mean")
    np.testing.assert_allclose(out, [[1.5, 3.0, 3.0, 3.0]])


def test_savgol_keeps_a_cubic() -> None:
    t = np.linspace(-1, 1, 200)
    cubic = (2 * t**3 - t)[None]
    np.testing.assert_allclose(smooth(cubic, ALL, 250.0, 60.0, "savgol"), cubic, atol=1e-6)
    assert np.abs(smooth(cubic, ALL, 250.0, 60.0, "mean") - cubic).max() > 1e-3


@pytest.mark.parametrize("smoother", SMOOTHERS)
def test_runs_shorter_than_the_window(smoother: str) -> None:
    valid = np.zeros((1, 200), bool)
    valid[0, [5, 50, 51, 52, 100, 101]] = True
    out = smooth(np.full((1, 200), 2.0), valid, 250.0, 100.0, smoother)
    np.testing.assert_allclose(out[valid], 2.0, rtol=1e-6)


def test_no_width_is_no_smoothing_and_inputs_stay() -> None:
    values = np.random.default_rng(0).standard_normal((2, 200))
    kept = values.copy()
    np.testing.assert_allclose(smooth(values, np.ones((2, 200), bool), 250.0, 0.0), values, rtol=1e-6)
    smooth(values, np.ones((2, 200), bool), 250.0, 40.0)
    assert np.array_equal(values, kept)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((40.0, "median"), "no such smoother"), ((-1.0, "mean"), "must be 0 or more"), ((1e6, "mean"), "wider than the window"),
     ((float("nan"), "mean"), "must be 0 or more")],
)  # fmt: skip
def test_errors(arguments: tuple[float, str], says: str) -> None:
    with pytest.raises(EcgcamError, match=says):
        smooth(np.zeros((1, 200)), ALL, 250.0, *arguments)


def test_a_width_is_an_odd_number_of_samples_of_at_least_one() -> None:
    assert [_odd(width) for width in (0.2, 1, 2.5, 3, 4.5)] == [1, 1, 3, 3, 5]
