"""What a calibration measures and chooses, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcam.evidence.calibration import RANDOM, SLOPE, CalibrationCase, Standing, choose, rank_candidates
from ecgcam.records import Record, Window

FS, SAMPLES = 100.0, 400


def _case(**more: object) -> CalibrationCase:
    """Two leads of 4 s; the score is the sum of lead I over its second second, 100 samples."""
    signal = np.full((2, SAMPLES), 0.5, np.float32)
    signal[0, 100:200] = 2.0
    window = Window(Record("a", signal, FS, ("I", "II")), signal, np.ones(signal.shape, bool), 0.0, FS, ())
    return CalibrationCase(window, lambda x: x[:, 0, 100:200].sum(axis=1).astype(np.float64), **more)  # type: ignore[arg-type]


def test_the_true_map_has_the_largest_measures() -> None:
    truth = np.zeros((2, SAMPLES), bool)
    truth[0, 100:200] = True
    twin = np.full((2, SAMPLES), 0.5, np.float32)
    case = _case(twin=twin, truth=truth)
    right, wrong = case.measure(truth.astype(float)), case.measure((~truth).astype(float))
    assert set(right) == {"truth", "exchange", "deletion", "insertion"}
    assert (right["truth"], wrong["truth"]) == (1.0, 0.0)
    # 100 tiles of 80 ms. Of the first 1, 5, 10, 20 and 50, 1, 5 and 10 of the true map's lie within the second; the 12 or so
    # tiles that touch it are all among the first 20. Each whole tile takes 8 samples x 1.5 mV.
    lost = [8 * 1.5, 5 * 8 * 1.5, 10 * 8 * 1.5, 150.0, 150.0]
    assert right["exchange"] == pytest.approx(np.mean(lost), abs=1e-3)
    assert all(right[name] > wrong[name] for name in right)


def test_a_matter_of_time_is_compared_over_time_alone() -> None:
    truth = np.zeros((2, SAMPLES), bool)
    truth[:, 100:200] = True
    in_one_lead = np.zeros((2, SAMPLES))
    in_one_lead[1, 100:200] = 1.0
    assert _case(truth=truth, time_only=True).measure(in_one_lead)["truth"] == 1.0
    assert _case(truth=truth).measure(in_one_lead)["truth"] == pytest.approx(
        0.75
    )  # half of the truth ties with the rest


def test_chance_is_the_mean_of_random_maps_and_the_slope_needs_no_model() -> None:
    found = _case().baselines()
    assert set(found) == {RANDOM, SLOPE}
    assert 0 < found[RANDOM]["deletion"] < 150.0


def test_ranks_by_hand() -> None:
    measured = {
        "one": {
            RANDOM: {"truth": 0.5, "deletion": 1.0},
            "a": {"truth": 1.0, "deletion": 3.0},
            "b": {"truth": 0.75, "deletion": 5.0},
        },
        "two": {RANDOM: {"deletion": 2.0}, "a": {"deletion": 4.0}, "b": {"deletion": -10.0}},
        "three": {
            RANDOM: {"deletion": 1.0},
            "a": {"deletion": 0.0},
            "b": {"deletion": 1.0},
        },  # nobody is better than chance
    }
    by_name = {one.name: one for one in rank_candidates(measured)}
    # truth: a (1 - 0.5) / (1 - 0.5) = 1, b 0.25 / 0.5. deletion: a (2 / 4, 2 / 2), b (4 / 4, -12 / 2 cut at -1).
    assert by_name["a"].parts == {"truth": 1.0, "deletion": 0.75}
    assert by_name["b"].parts == {"truth": 0.5, "deletion": 0.0}
    assert by_name["a"].score == 1.0  # the twin's truth decides; removal does where there is none
    assert (by_name["a"].n, by_name[RANDOM].score) == (3, 0.0)
    assert [one.name for one in rank_candidates(measured)] == ["a", "b", RANDOM]


def test_the_default_is_kept_where_it_is_close_and_left_where_it_is_not() -> None:
    def standing(name: str, score: float) -> Standing:
        return Standing(name, score, {}, 1)

    order = ["default", "cheap", "expensive"]
    close = [standing("expensive", 0.80), standing("default", 0.78), standing("cheap", 0.5)]
    found = choose(close, order)
    assert found is not None
    assert found.name == "default"
    far = [standing(SLOPE, 0.95), standing("expensive", 0.80), standing("cheap", 0.78), standing("default", 0.6)]
    found = choose(far, order)
    assert found is not None
    assert found.name == "cheap"
    # Tiles that matter less than random ones are not an explanation, whatever the truth says.
    idle = [Standing("expensive", 0.9, {"deletion": -0.1}, 1), Standing("cheap", 0.5, {"deletion": 0.2}, 1)]
    found = choose(idle, order)
    assert found is not None
    assert found.name == "cheap"
    assert choose([standing(SLOPE, 0.9)], order) is None
