"""Filters in front of a model: what they let through, and the gradient's way back."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.records.filters import Filter, apply_filters, filter_gradient

FS = 500.0
T = np.arange(5000) / FS


def wave(hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * T)[None].astype("f4")


@pytest.mark.parametrize(
    ("one", "passes", "stops"),
    [
        (Filter("notch", hz=50, quality=30), 10, 50),
        (Filter("highpass", order=5, low=0.67), 5, 0.1),
        (Filter("lowpass", order=5, high=40), 5, 100),
        (Filter("bandpass", order=4, low=0.67, high=40), 5, 100),
    ],
)
def test_a_filter_passes_its_band_without_shifting_it_and_stops_the_rest(
    one: Filter, passes: float, stops: float
) -> None:
    inner = slice(1500, 3500)
    assert np.abs(apply_filters(wave(passes), [one], FS) - wave(passes))[:, inner].max() < 0.02
    assert np.abs(apply_filters(wave(stops), [one], FS))[:, inner].max() < 0.05


def test_a_running_median_takes_the_wander_and_leaves_the_spikes() -> None:
    spikes = np.zeros((1, 5000), "f4")
    spikes[:, 250::500] = 1.0
    left = apply_filters(spikes + 0.5 * wave(0.2), [Filter("median", seconds=0.4)], FS)
    assert np.abs(left - spikes)[:, 200:-200].max() < 0.05


def test_the_running_median_is_as_long_as_published_code_has_it() -> None:
    # 0.4 s at 500 Hz: 201 samples. A pulse of 100 is less than half of them and stays; one of 101 is taken off.
    for length, stays in ((100, 1.0), (101, 0.0)):
        pulse = np.zeros((1, 1000), "f4")
        pulse[:, 400 : 400 + length] = 1.0
        assert apply_filters(pulse, [Filter("median", seconds=0.4)], FS)[0, 450] == stays


def test_the_gradient_goes_back_through_the_filters() -> None:
    filters = [Filter("notch", hz=50, quality=30), Filter("bandpass", order=4, low=0.67, high=40)]
    rng = np.random.default_rng(0)
    weight, step = np.zeros((2, 1, 5000), "f4")
    weight[:, 1500:3500] = rng.standard_normal(2000)
    step[:, 1500:3500] = rng.standard_normal(2000)
    # score(x) = sum(weight x F x), whose gradient with respect to x is F' weight: a step's effect both ways.
    moved = float((weight * apply_filters(step, filters, FS)).sum())
    gradient = filter_gradient(weight, filters, FS)
    assert abs(moved) > 100 * 1e-2
    assert float((gradient * step).sum()) == pytest.approx(moved, abs=1e-2)
