"""Every metric on a linear model, whose right map is known on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import trapezoid

from ecgcam.evidence.edits import TilePerturbation
from ecgcam.evidence.faithfulness import (
    BINS,
    SHARES,
    ShownMap,
    TileRemoval,
    comprehensiveness,
    faithfulness_correlation,
    random_map,
    slope_map,
    sufficiency,
)
from ecgcam.evidence.metrics import measure
from ecgcam.results.intervals import mean_interval

# score(x) = sum of w x: with 0 as the fill, the map of every sample is w x, and nothing interacts.
SAMPLES = 400


def linear(seed: int = 0, **settings) -> tuple[TilePerturbation, np.ndarray]:
    rng = np.random.default_rng(seed)
    signal = np.repeat(rng.exponential(size=(2, SAMPLES // 8)), 8, axis=1).astype(np.float32)
    weights = np.repeat(rng.exponential(size=(2, SAMPLES // 8)) ** 2, 8, axis=1)
    valid = np.ones(signal.shape, bool)

    def score(signals: np.ndarray) -> np.ndarray:
        return (signals * weights).sum(axis=(1, 2))

    case = TilePerturbation(signal, np.zeros_like(signal), valid, ("I", "V1"), 100.0, score, removal="mask", **settings)
    return case, weights * signal


def measure_faithfulness(case: TilePerturbation, values: np.ndarray) -> dict[str, float]:
    return measure(TileRemoval(case, values)) | measure(ShownMap(case, values))


LOWER = {"deletion", "sufficiency", "infidelity"}


METRICS = ("deletion", "insertion", "comprehensiveness", "sufficiency", "faithfulness correlation", "infidelity")


@pytest.mark.parametrize("metric", METRICS)
def test_the_right_map_is_best_and_its_opposite_worst(metric: str) -> None:
    case, right = linear()
    values = {
        "right": measure_faithfulness(case, right)[metric],
        "opposite": measure_faithfulness(case, right.max() - right)[metric],
        "random": float(np.mean([measure_faithfulness(case, random_map(case, seed))[metric] for seed in range(8)])),
    }
    ranked = sorted(values, key=values.__getitem__, reverse=metric not in LOWER)
    assert ranked == ["right", "random", "opposite"]


def test_the_right_map_foretells_every_loss() -> None:
    case, right = linear()
    found = measure_faithfulness(case, right)
    assert found["faithfulness correlation"] == pytest.approx(1.0, abs=1e-6)
    assert found["infidelity"] == pytest.approx(0.0, abs=1e-9)


def test_a_random_map_foretells_nothing() -> None:
    correlations = []
    for seed in range(40):
        case, _ = linear(seed)
        correlations.append(faithfulness_correlation(TileRemoval(case, random_map(case, seed))))
    mean, error = np.mean(correlations), np.std(correlations) / np.sqrt(len(correlations))
    assert abs(mean) < 3 * error


def test_areas_by_hand() -> None:
    # Four tiles of 8 samples, worth 4, 3, 2 and 1: the curve of removal is known at every share.
    signal = np.repeat([[4.0, 3.0, 2.0, 1.0]], 8, axis=1).astype(np.float32) / 8

    def score(signals: np.ndarray) -> np.ndarray:
        return signals.sum(axis=(1, 2)).astype(np.float64)

    case = TilePerturbation(signal, np.zeros_like(signal), np.ones((1, 32), bool), ("I",), 100.0, score, removal="mask")
    subject = TileRemoval(case, signal)
    removed, left = subject.removed, subject.left
    #        0   .01 .05 .1  .2  .3  .4  .5  .6  .7  .8  .9  1
    tiles = [0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]
    lost = np.cumsum([0, 4, 3, 2, 1])[tiles]
    assert removed == pytest.approx(10 - lost, abs=1e-5)
    assert left == pytest.approx(lost, abs=1e-5)
    assert comprehensiveness(subject) == pytest.approx((4 + 4 + 4 + 4 + 7) / 5, abs=1e-5)
    assert sufficiency(subject) == pytest.approx((6 + 6 + 6 + 6 + 3) / 5, abs=1e-5)


def test_a_blank_map_says_nothing_and_breaks_nothing() -> None:
    case, right = linear()
    found = measure_faithfulness(case, np.zeros_like(right))
    assert found["faithfulness correlation"] == 0.0
    assert found["infidelity"] == 1.0


def test_seeing_through_the_map() -> None:
    case, right = linear()
    score_whole = measure_faithfulness(case, np.ones_like(right))["confidence change"]
    nothing = measure_faithfulness(case, np.zeros_like(right))["confidence change"]
    assert score_whole == pytest.approx(0.0, abs=1e-6)
    assert nothing == pytest.approx(-case.score_whole, rel=1e-6)


def test_seen_through_maps_of_the_same_values_the_right_one_is_best_and_its_opposite_worst() -> None:
    """What is seen of a linear model is sum of map x w x: greatest where the largest values meet, least where they miss."""
    case, right = linear()
    order = np.argsort(right.ravel())
    values = np.linspace(0, 1, right.size)
    best, worst, *random = (np.empty(right.size) for _ in range(10))
    best[order], worst[order] = values, values[::-1]
    for seed, draw in enumerate(random):
        draw[:] = np.random.default_rng(seed).permutation(values)
    changes = [
        measure_faithfulness(case, values.reshape(right.shape))["confidence change"]
        for values in (best, worst, *random)
    ]
    assert max(changes[2:]) < changes[0]
    assert min(changes[2:]) > changes[1]
    assert changes[0] == pytest.approx(
        float(best.reshape(right.shape).ravel() @ right.ravel()) - case.score_whole, rel=1e-5
    )


def test_a_random_map_gets_what_chance_is_on_paper() -> None:
    """Of a linear model, tiles drawn by lot take their share of the score with them; worked out for every metric."""
    case, right = linear()
    count = len(case.tiles)
    taken = np.array([min(count, int(np.ceil(share * count - 1e-9))) for share in SHARES]) / count
    at = [SHARES.index(share) for share in BINS]
    area = float(trapezoid(taken, SHARES))
    drops = case.random_subsets[1]
    chance = {
        "deletion": case.score_whole * (1 - area),
        "insertion": case.score_whole * area,
        "comprehensiveness": case.score_whole * taken[at].mean(),
        "sufficiency": case.score_whole * (1 - taken[at].mean()),
        "faithfulness correlation": 0.0,
    }
    draws = [measure_faithfulness(case, random_map(case, seed)) for seed in range(200)]
    for metric, expected in chance.items():
        _, low, high = mean_interval(np.array([draw[metric] for draw in draws]), level=0.999)
        assert low < expected < high, metric
    # Masses that differ little foretell the mean loss: less than the 1 of a blank map, more than the 0 of the right one.
    _, low, high = mean_interval(np.array([draw["infidelity"] for draw in draws]), level=0.999)
    equal = measure_faithfulness(case, np.ones_like(right))["infidelity"]
    assert equal == pytest.approx(float(drops.var() / (drops**2).mean()), rel=1e-6)
    assert 0 < equal < low < high < 1


def test_the_seed_repeats_and_no_map_changes_the_subsets() -> None:
    case, right = linear(seed=3)
    again = replace(case)
    expected = measure_faithfulness(case, right)
    measure_faithfulness(again, right.max() - right)
    assert measure_faithfulness(again, right) == expected


def test_complexity_is_the_mean_over_the_largest_value() -> None:
    case, right = linear()
    values = np.zeros_like(right)
    assert measure(ShownMap(case, values))["complexity"] == 0.0
    values[0, :100], values[1, :50] = 2.0, 1.0  # 100 samples at 1, 50 at one half, of 800
    values[0, 100:200] = -5.0
    assert measure(ShownMap(case, values))["complexity"] == pytest.approx((100 + 25) / 800)
    assert measure(ShownMap(case, np.ones_like(right)))["complexity"] == 1.0


def test_the_slope_by_hand() -> None:
    signal = np.array([[0.0, 1.0, 3.0, 2.0, 2.0]])
    valid = np.ones((1, 5), bool)
    # Steps 1, 2, 1, 0 at 10 per second; each sample has the mean of both its steps, the ends half of one.
    np.testing.assert_allclose(slope_map(signal, valid, 10.0), [[5.0, 15.0, 15.0, 5.0, 0.0]])
    valid[0, 2] = False
    np.testing.assert_allclose(slope_map(signal, valid, 10.0), [[5.0, 5.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(slope_map(-signal, valid, 10.0), slope_map(signal, valid, 10.0))
