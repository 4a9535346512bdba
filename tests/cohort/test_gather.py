"""A cohort's numbers against those of its explanations, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.cohort.cohorts import explained

from ecgcam.beatwise import average_beat, wave_table
from ecgcam.cohort.gather import TIME, collect
from ecgcam.cohort.tables import comparison_rows, csv_text, lead_rows, wave_rows
from ecgcam.records.waves import QRS, SEGMENTS


def on_qrs() -> np.ndarray[Any, Any]:
    """A map of three leads that is 1 within each QRS and 0 elsewhere."""
    waves = wave_table(explained()).waves
    maps = np.zeros((3, 5000))
    for first, last in zip(waves.onset[:, QRS], waves.offset[:, QRS], strict=True):
        maps[:, int(first) : int(last) + 1] = 1.0
    return maps


def test_groups_are_prompts_by_methods_and_windows_of_a_recording_are_one() -> None:
    made = [
        explained("a", score=1.0), explained("a", score=0.5, time=20 + np.arange(5000) / 500), explained("b"),
        explained("a", record="other"), explained("a", method="occlusion"),
    ]  # fmt: skip
    groups = collect(made)
    assert [(group.text, group.method, group.records) for group in groups] == [
        ("a", "grad-cam", ("rec", "other")), ("a", "occlusion", ("rec",)), ("b", "grad-cam", ("rec",)),
    ]  # fmt: skip
    np.testing.assert_allclose(groups[0].score, [0.75, 0.75])
    assert groups[0].leads == ("I", "II", "V1")


def test_one_method_with_two_masks_is_two() -> None:
    names = [group.method for group in collect([explained("a"), explained("a", mask="noise")])]
    assert names == ["grad-cam, mask zero-mv", "grad-cam, mask noise"]


def test_an_even_map_is_chance_and_one_on_the_qrs_is_there() -> None:
    (even,) = collect([explained("a")])
    np.testing.assert_allclose(even.density, 1.0, rtol=1e-6)
    (sharp,) = collect([explained("a", map=on_qrs())])
    rows = {(row["lead"], row["segment"]): row for row in wave_rows(sharp)}
    assert rows["all", "QRS"]["share"] == pytest.approx(1.0)
    assert rows["V1", "T"]["share"] == 0.0
    assert rows["all", "QRS"]["density"] == pytest.approx(5000 / on_qrs()[0].sum())


def test_all_leads_are_weighed_by_their_positive_gains() -> None:
    maps = on_qrs()
    maps[1] = maps[2] = 1.0  # leads II and V1 are even
    lead_scores = np.array([0.25 + 0.3, 0.25 + 0.1, 0.0], np.float32)  # gains 0.3, 0.1 and -0.25
    (group,) = collect([explained("a", map=maps, lead_scores=lead_scores)])
    qrs = SEGMENTS.index("QRS")
    assert group.share[0, -1, qrs] == pytest.approx(0.75 * 1.0 + 0.25 * group.share[0, 1, qrs])
    (silent,) = collect([explained("a", lead_scores=np.zeros(3, np.float32))])
    assert np.isnan(silent.share[0, -1]).all()


def test_a_lead_that_a_recording_lacks_counts_for_the_others_only() -> None:
    valid = np.ones((3, 5000), bool)
    valid[1] = False
    (group,) = collect([explained("a"), explained("a", record="flat", valid=valid)])
    by_lead = {row["lead"]: row for row in lead_rows(group)}
    assert [by_lead[lead]["n"] for lead in ("all", "I", "II")] == [2, 2, 1]
    assert by_lead["II"]["low"] is None


def test_mean_beats_are_the_average_beats_on_one_time_base() -> None:
    made = explained("a", map=on_qrs())
    (group,) = collect([made])
    beat = average_beat(made, made.scaled_map("evidence"), wave_table(made).waves)
    inside = (beat.time[0] <= TIME) & (beat.time[-1] >= TIME)
    np.testing.assert_allclose(group.beats[0, 0, inside], np.interp(TIME[inside], beat.time, beat.mean[0]), rtol=1e-5)
    assert np.isnan(group.beats[0, 0, ~inside]).all()
    assert abs(TIME[np.nanargmax(group.beats[0, 0])]) < 0.1


def test_a_recording_without_beats_has_gains_and_no_waves() -> None:
    (group,) = collect([explained("a", signal=np.zeros((3, 5000), np.float32))])
    assert np.isfinite(group.gain).all()
    assert np.isnan(group.share).all()
    assert all(row["n"] == 0 and row["share"] is None for row in wave_rows(group))


def test_pairs_are_differences_within_recordings() -> None:
    def three(method: str, add: float) -> list[Any]:
        return [
            explained("a", record=name, method=method, score=score + add)
            for name, score in (("x", 0.1), ("y", 0.5), ("z", 0.9))
        ]

    made = [*three("grad-cam", 0.0), *three("occlusion", 0.2)[:2], explained("a", record="alone", method="occlusion")]
    rows = list(comparison_rows(collect(made)))
    (gain,) = (row for row in rows if row["quantity"] == "gain" and row["lead"] == "all")
    assert (gain["method"], gain["against"], gain["n"]) == ("occlusion", "grad-cam", 2)
    # Every difference is 0.2, so the interval has no width, however far the recordings are apart.
    assert [gain[key] for key in ("difference", "low", "high")] == pytest.approx([0.2] * 3)
    assert (gain["mean"], gain["mean_against"]) == pytest.approx((0.3 + 0.2 - 0.25, 0.3 - 0.25))
    assert not list(comparison_rows(collect(made[:3])))


def test_csv_quotes_what_needs_it_and_leaves_the_unknown_empty() -> None:
    made = explained('a "quoted", text')
    (group,) = collect([replace(made, score=1 / 3)])
    lines = csv_text(("text", "gain", "low"), lead_rows(group)).splitlines()
    assert lines[:2] == ["text,gain,low", '"a ""quoted"", text",0.0833333,']
