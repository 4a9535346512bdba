"""Leads against a wall and moments against the beat, on maps whose answer is known on paper."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.anatomy import WALLS, atrial, over_beats, over_wall, ventricular
from tests import handmade

from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.waves import Waves
from ecgcam.results.explanation import Explanation

NAN = float("nan")


def explanation(gains: np.ndarray | None = None, over_time: np.ndarray | None = None) -> Explanation:
    """Twelve leads of 2 s at 100 Hz; gains and the map's course over time (the same in every lead) as given."""
    gains = np.ones(12, np.float32) if gains is None else gains.astype(np.float32)
    course = np.ones(200, np.float32) if over_time is None else over_time.astype(np.float32)
    blank = np.zeros((12, 200), np.float32)
    return handmade.explanation(
        map=np.tile(course, (12, 1)), map_cells=blank[:, :0], gradient=blank, gradient_smoothed=blank, signal=blank,
        time=np.arange(200) / 100, fs=100.0, valid=np.ones((12, 200), bool), leads=CANONICAL_LEADS, lead_scores=gains,
        empty_score=0.0, mask_shift=np.zeros(12, np.float32), cell_time=np.zeros(0),
    )  # fmt: skip


def two_beats(second_p: float = NAN) -> Waves:
    """QRS from 0.50 to 0.60 s and from 1.50 to 1.60 s; T of the first ends at 1.00 s."""
    onset = np.array([[NAN, 50, 70], [second_p, 150, NAN]])
    offset = np.array([[NAN, 60, 100], [second_p + 8, 160, NAN]])
    return Waves(100.0, 200, np.array([55, 155]), onset, offset, np.full((12, 2, 3), NAN))


@pytest.mark.parametrize("finding", list(WALLS))
def test_a_right_ranking_is_best_an_inverted_one_worst_and_equal_gains_are_chance(finding: str) -> None:
    wall = WALLS[finding]
    inside = np.array([lead in wall for lead in CANONICAL_LEADS])
    spread = 0.01 * np.arange(12)
    right, wrong = over_wall(explanation(inside + spread), wall), over_wall(explanation(-1.0 * inside - spread), wall)
    even = over_wall(explanation(np.ones(12)), wall)
    for metric in ("pointing", "rank", "auc"):
        assert right[metric] == 1.0, metric
        assert wrong[metric] == 0.0, metric
    share = len(wall) / 12
    assert (even["pointing"], even["rank"], even["auc"]) == (pytest.approx(share), pytest.approx(share), 0.5)
    assert even["chance"] == pytest.approx(share)


def test_random_gains_get_chance() -> None:
    rng = np.random.default_rng(0)
    drawn = [over_wall(explanation(rng.random(12)), WALLS["inferior-mi"]) for _ in range(400)]
    for metric, chance in (("pointing", 0.25), ("rank", 0.25), ("auc", 0.5)):
        assert np.mean([one[metric] for one in drawn]) == pytest.approx(chance, abs=0.06)


def test_windows_by_the_clock() -> None:
    assert np.flatnonzero(ventricular(two_beats())).tolist() == [*range(50, 61), *range(150, 161)]
    before = [*range(26, 46), *range(126, 146)]
    # From the sample after T's end to 240 ms before the next QRS, where there is no P; to P where there is.
    assert np.flatnonzero(atrial(two_beats())).tolist() == sorted({*before, *range(101, 126)})
    assert np.flatnonzero(atrial(two_beats(second_p=130.0))).tolist() == sorted({*before, *range(101, 130)})
    assert np.flatnonzero(atrial(two_beats(second_p=110.0))).tolist() == sorted({*before, *range(101, 110)})


def test_mass_by_hand() -> None:
    waves = two_beats()
    floor, beat = atrial(waves), ventricular(waves)
    even = over_beats(explanation(), waves)
    assert even is not None
    assert even["atrial"] == pytest.approx(floor.mean()) == even["atrial, of the time"]
    assert even["atrial, density"] == even["QRS, density"] == pytest.approx(1.0)
    course = 3.0 * floor + 1.0 * beat  # three times as dense, and nothing elsewhere
    found = over_beats(explanation(over_time=course), waves)
    assert found is not None
    assert found["atrial, density"] == pytest.approx(3 * found["QRS, density"])
    assert found["atrial denser than QRS"] == 1.0
    assert found["atrial"] == pytest.approx(3 * floor.sum() / (3 * floor.sum() + beat.sum()))
    assert over_beats(explanation(over_time=np.zeros(200)), waves) is None
    assert over_beats(explanation(gains=-np.ones(12)), waves) is None
    nothing = Waves(100.0, 200, np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((12, 0, 3)))
    assert over_beats(explanation(), nothing) is None
