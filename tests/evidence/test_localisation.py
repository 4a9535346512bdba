"""Localisation on maps small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.evidence.localisation import MarkedValues, localisation_parts, over_leads, over_time, widen
from ecgcam.evidence.metrics import measure
from ecgcam.results.intervals import mean_interval

VALID = np.ones((2, 10), bool)
TRUTH = np.zeros((2, 10), bool)
TRUTH[1, 2:5] = True


def measure_localisation(values: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    subject = MarkedValues.of(values, truth, valid)
    return measure(subject) | {"chance": subject.share}


def test_by_hand() -> None:
    values = np.zeros((2, 10))
    values[1, 2], values[1, 3], values[0, 0] = 3.0, 2.0, 4.0
    found = measure_localisation(values, TRUTH, VALID)
    assert found["pointing"] == 0.0  # the largest lies in the other lead
    assert found["mass"] == pytest.approx(5 / 9)
    assert found["rank"] == pytest.approx(2 / 3)
    assert found["top 5 %"] == 0.0  # one of 20 samples
    assert found["chance"] == pytest.approx(3 / 20)
    # 3 beats 16 of 17 outside, 2 as well, the third of the truth ties with 16 and loses once.
    assert found["auc"] == pytest.approx((16 + 16 + 8) / (3 * 17))


def test_ties_are_shared() -> None:
    values = np.zeros((2, 10))
    values[1, 2], values[0, 0] = 1.0, 1.0
    assert measure_localisation(values, TRUTH, VALID)["pointing"] == 0.5


def test_a_perfect_map_an_opposite_one_and_chance() -> None:
    perfect = measure_localisation(TRUTH.astype(float), TRUTH, VALID)
    opposite = measure_localisation(1.0 - TRUTH, TRUTH, VALID)
    for metric in ("pointing", "mass", "rank", "top 5 %", "auc"):
        assert perfect[metric] == 1.0, metric
        assert opposite[metric] == 0.0, metric
    rng = np.random.default_rng(0)
    draws = [measure_localisation(rng.random((2, 10)), TRUTH, VALID) for _ in range(600)]
    for metric in ("pointing", "mass", "rank", "top 5 %", "auc"):
        _, low, high = mean_interval(np.array([draw[metric] for draw in draws]), level=0.999)
        assert low < (0.5 if metric == "auc" else 3 / 20) < high, metric


def test_a_blank_map_points_nowhere() -> None:
    found = measure_localisation(np.zeros((2, 10)), TRUTH, VALID)
    assert found["pointing"] == found["mass"] == 0.0
    assert found["auc"] == 0.5
    assert found["rank"] == pytest.approx(3 / 20)


@pytest.mark.parametrize("truth", [np.zeros((2, 10), bool), np.ones((2, 10), bool)])
def test_a_truth_of_nothing_or_everything_is_refused(truth: np.ndarray) -> None:
    with pytest.raises(EcgcamError, match=r"every sample|no sample"):
        measure_localisation(np.ones((2, 10)), truth, VALID)


def test_padding_counts_for_nothing() -> None:
    valid = VALID.copy()
    valid[:, 5:] = False
    values = np.zeros((2, 10))
    values[0, 9], values[1, 2] = 100.0, 1.0
    found = measure_localisation(values, TRUTH, valid)
    assert found["pointing"] == found["mass"] == 1.0
    assert found["chance"] == pytest.approx(3 / 10)


def test_widening_adds_to_both_sides_and_stays_in_its_lead() -> None:
    wide = widen(TRUTH, 1.5)
    assert np.flatnonzero(wide[1]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert not wide[0].any()
    assert np.array_equal(widen(TRUTH, 0), TRUTH)


def test_leads_and_time_alone() -> None:
    values = np.zeros((2, 10))
    values[0, 2], values[1, 8] = 1.0, 3.0
    assert measure_localisation(*over_time(values, TRUTH, VALID))["mass"] == 0.25
    leads = over_leads(values, TRUTH, VALID)
    assert leads is not None
    assert measure_localisation(*leads)["mass"] == 0.75
    everywhere = TRUTH.copy()
    everywhere[0, 0] = True
    assert over_leads(values, everywhere, VALID) is None


def test_parts_that_leave_no_choice_are_left_out() -> None:
    values = np.ones((2, 10))
    parts = dict(localisation_parts(values, TRUTH, VALID, tolerance=1.0))
    assert list(parts) == ["", "time: ", "leads: "]
    assert [part.share for part in parts.values()] == [5 / 20, 5 / 10, 1 / 2]  # the leads are not widened
    everywhere = np.tile(TRUTH[1], (2, 1))
    assert list(dict(localisation_parts(values, everywhere, VALID, tolerance=0.0))) == ["", "time: "]
    assert list(dict(localisation_parts(values, everywhere, VALID, tolerance=9.0))) == []
    assert list(dict(localisation_parts(values, np.zeros_like(TRUTH), VALID, tolerance=9.0))) == []
