"""A cohort's numbers against those of its explanations, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.cohort.cohorts import explained

from ecgcam.cohort.gather import TIME, _method_names, collect
from ecgcam.cohort.summary import summarize
from ecgcam.cohort.tables import comparison_rows, csv_text, lead_rows, wave_rows
from ecgcam.records.waves import QRS, SEGMENTS
from ecgcam.results.beatwise import average_beat, wave_table


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


def test_precisions_are_not_averaged() -> None:
    half = explained("a", score=1.257)
    half.meta["precision"] = "bf16"
    whole = explained("a", score=0.257)
    whole.meta["precision"] = "fp32"
    groups = collect([whole, half])
    assert [(group.method, group.score.tolist()) for group in groups] == [
        ("grad-cam, precision fp32", [0.257]), ("grad-cam, precision bf16", [1.257]),
    ]  # fmt: skip


def test_names_show_what_differs_and_shorten_hashes() -> None:
    settings = {
        "a": {"model.weights": "sha256:" + "0" * 64, "attribution.method": "grad-cam", "attribution.mask": "zero"},
        "b": {"model.weights": "sha256:" + "1" * 64, "attribution.method": "grad-cam", "attribution.mask": "zero"},
        "c": {"model.weights": "sha256:" + "1" * 64, "attribution.method": "cam", "attribution.mask": "zero"},
    }
    names = _method_names(settings, {"a": "grad-cam", "b": "grad-cam", "c": "cam"})
    assert list(names.values()) == ["grad-cam, weights 00000000", "grad-cam, weights 11111111", "cam"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mask", "noise"), ("against", ["b"]), ("options", {"steps": 3}), ("layer", "other"), ("model", "other"),
        ("checkpoint_sha256", "1" * 64), ("precision", "bf16"), ("seed", 7),
    ],
)  # fmt: skip
def test_every_setting_makes_a_group_of_its_own(key: str, value: Any) -> None:
    other = explained("a")
    other.meta[key] = value
    assert len(collect([explained("a"), other])) == 2


def test_an_even_map_is_chance_and_one_on_the_qrs_is_there() -> None:
    (even,) = collect([explained("a")])
    np.testing.assert_allclose(even.density, 1.0, rtol=1e-6)
    (sharp,) = summarize([explained("a", map=on_qrs())]).groups
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
    (group,) = summarize([explained("a"), explained("a", record="flat", valid=valid)]).groups
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
    (summary,) = summarize([explained("a", signal=np.zeros((3, 5000), np.float32))]).groups
    assert np.isfinite(summary.group.gain).all()
    assert np.isnan(summary.group.share).all()
    assert all(row["n"] == 0 and row["share"] is None for row in wave_rows(summary))


def test_pairs_are_differences_within_recordings() -> None:
    def three(method: str, add: float) -> list[Any]:
        return [
            explained("a", record=name, method=method, score=score + add)
            for name, score in (("x", 0.1), ("y", 0.5), ("z", 0.9))
        ]

    made = [*three("grad-cam", 0.0), *three("occlusion", 0.2)[:2], explained("a", record="alone", method="occlusion")]
    rows = list(comparison_rows(summarize(made).comparisons))
    (gain,) = (row for row in rows if row["quantity"] == "gain" and row["lead"] == "all")
    assert (gain["method"], gain["against"], gain["n"]) == ("occlusion", "grad-cam", 2)
    # Every difference is 0.2, so the interval has no width, however far the recordings are apart.
    assert [gain[key] for key in ("difference", "low", "high")] == pytest.approx([0.2] * 3)
    assert (gain["mean"], gain["mean_against"]) == pytest.approx((0.3 + 0.2 - 0.25, 0.3 - 0.25))
    assert not list(comparison_rows(summarize(made[:3]).comparisons))


def test_csv_quotes_what_needs_it_and_leaves_the_unknown_empty() -> None:
    made = explained('a "quoted", text')
    (group,) = summarize([replace(made, score=1 / 3)]).groups
    lines = csv_text(("text", "gain", "low"), lead_rows(group)).splitlines()
    assert lines[:2] == ["text,gain,low", '"a ""quoted"", text",0.0833333,']
