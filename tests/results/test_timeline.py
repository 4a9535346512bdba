"""A long recording in one: joined maps, scores over time, and what is kept of the strongest windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.handmade import explanation

from ecgcam.errors import EcgcamError
from ecgcam.results import timeline as module
from ecgcam.results.explanation import Explanation
from ecgcam.results.timeline import Joining, Timeline

FS, LENGTH = 10.0, 10  # windows of one second


def window(
    start: float, values: npt.ArrayLike, seconds: float = 6.0, score: float = 0.75, **changes: Any
) -> Explanation:
    """A window of leads I and V1 whose maps are `values`, of a recording of so many seconds."""
    plain = explanation()
    maps = np.broadcast_to(np.asarray(values, np.float32), (2, LENGTH)).copy()
    where = {"start": start, "seconds": LENGTH / FS, "record_seconds": seconds}
    return explanation(
        **{"map": maps, "time": start + np.arange(LENGTH) / FS, "score": score, "meta": plain.meta | {"window": where}}
        | changes
    )


def joined(*windows: Explanation) -> Timeline:
    joining = Joining()
    for one in windows:
        joining.add(one)
    return joining.finish([])[0]


def test_weights_sum_to_one_wherever_windows_overlap() -> None:
    """Maps that are 1 everywhere join to 1 everywhere, however the windows lie and whatever part of them is valid."""
    rng = np.random.default_rng(3)
    windows = []
    for _ in range(40):
        valid = rng.random((2, LENGTH)) < 0.7
        windows.append(window(int(rng.integers(0, 50)) / FS, 1.0, valid=valid, map=valid.astype(np.float32)))
    got = joined(*windows)
    assert got.valid.sum() > 90
    assert got.map[got.valid] == pytest.approx(1.0, abs=1e-6)
    assert not got.map[~got.valid].any()


def test_windows_that_are_cut_from_one_map_join_to_it() -> None:
    whole = np.random.default_rng(4).random((2, 60)).astype(np.float32)
    starts = [0, 3, 6, 13, 20, 30, 40, 47, 50]
    got = joined(*(window(i / FS, whole[:, i : i + LENGTH]) for i in starts))
    assert (got.step, got.map.shape, got.valid.all()) == (0.1, (2, 60), True)
    assert got.map == pytest.approx(whole, abs=1e-6)
    assert got.time == pytest.approx(np.arange(60) / FS)


def test_where_two_overlap_the_one_whose_end_is_further_counts_more() -> None:
    """At 0.5 s the first window of 1 s is 5 samples from its end, the second, which begins there, at its first: 5 : 1."""
    got = joined(window(0.0, 6.0), window(0.5, 0.0))
    assert got.map[0, [4, 5, 6, 9, 10]] == pytest.approx([6.0, 6 * 5 / 6, 6 * 4 / 6, 6 * 1 / 6, 0.0])


def test_evidence_has_the_mass_of_each_leads_gain() -> None:
    """Lead I gains 0.5 and V1 -0.25 (`tests.handmade`), end to end: over a window's second the evidence has the mass 0.5."""
    got = joined(window(0.0, 3.0), window(1.0, [[0, 0, 0, 9, 0, 0, 0, 0, 0, 0]]), window(2.0, 3.0, score=0.1))
    assert got.evidence[0].reshape(6, 10).sum(axis=1) / FS == pytest.approx([0.5, 0.5, 0.5, 0, 0, 0])
    assert not got.evidence[1].any()
    assert got.evidence[0, 13] == pytest.approx(5.0)


def test_a_long_recording_has_moments_of_several_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOMENTS", 20)  # 60 samples: three each
    whole = np.arange(60, dtype=np.float32)
    got = joined(*(window(i / FS, whole[i : i + LENGTH]) for i in range(0, 60, 10)))
    assert (got.map.shape, got.step) == ((2, 20), pytest.approx(0.3))
    assert got.map[0, :3] == pytest.approx([1.0, 4.0, 7.0])
    assert got.map[0, 3] == pytest.approx(
        (1 * 9 + (10 + 11) * 1.5) / (1 + 2 * 1.5)
    )  # its middle: sample 9 at the one's end
    assert got.time[:2] == pytest.approx([0.1, 0.4])


def test_windows_may_come_in_any_order_and_the_last_be_padded() -> None:
    valid = np.ones((2, LENGTH), bool)
    valid[:, 5:] = False
    last = window(1.0, 2.0, seconds=1.5, score=0.9, valid=valid)
    got = joined(last, window(0.0, 1.0, seconds=1.5, score=0.3))
    assert got.window_start == pytest.approx([0.0, 1.0])
    assert got.score == pytest.approx([0.3, 0.9])
    assert got.map[0] == pytest.approx([1.0] * 10 + [2.0] * 5)
    assert list(got.strongest) == [1, 0]
    assert got.window_seconds == 1.0


def test_the_strongest_do_not_overlap_and_beat_the_empty_signal() -> None:
    """The empty score is 0.25: a window below it is not evidence, unless there is no other."""
    starts, scores = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0], [0.5, 0.9, 0.8, 0.2, 0.7, 0.6]
    joining = Joining()
    for start, score in zip(starts, scores, strict=True):
        joining.add(window(start, start, score=score))
    got, shown = joining.finish(["a window failed"])
    assert [starts[i] for i in got.strongest] == [0.5, 3.0, 4.0]
    assert [(float(one.time[0]), one.leads, one.map.shape) for one in shown] == [
        (start, ("I",), (1, 10)) for start in (0.5, 3.0, 4.0)
    ]
    assert got.meta["missing"] == ["a window failed"]
    assert list(joined(window(0.0, 1.0, score=0.1), window(2.0, 1.0, score=0.2)).strongest) == [1]


def test_memory_does_not_grow_with_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 5)
    joining = Joining()
    for i in range(50):
        joining.add(window(float(i), 1.0, seconds=50.0, score=1.0 + i % 7))
    assert len(joining._best) == 5
    got, _ = joining.finish([])
    assert sorted(got.score[got.strongest]) == [7.0, 7.0, 7.0]


def test_the_commonest_warnings_of_the_windows_are_kept_with_their_numbers() -> None:
    joining = Joining()
    for number in range(5):
        one = window(float(number), 1.0)
        one.meta["warnings"] = ["of all", *(["of two"] if number < 2 else []), f"of window {number}"]
        joining.add(one)
    said = joining.finish([])[0].meta["warnings"]
    assert said[:2] == ["of all", "2 of 5 windows: of two"]
    assert said[2:] == [
        "1 of 5 windows: of window 0", "1 of 5 windows: of window 1",
        "3 more warnings of single windows are in their summaries",
    ]  # fmt: skip


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    made = joined(window(0.0, 1.0), window(0.5, 2.0))
    assert made.save(tmp_path / "rec/af") == tmp_path / "rec/af/timeline.npz"
    read = Timeline.load(tmp_path / "rec/af")
    assert (read.leads, read.step, read.window_seconds, read.meta) == (
        made.leads, made.step, made.window_seconds, made.meta,
    )  # fmt: skip
    for name in (
        "time",
        "map",
        "evidence",
        "valid",
        "window_start",
        "score",
        "empty_score",
        "lead_scores",
        "strongest",
    ):
        assert np.array_equal(getattr(read, name), getattr(made, name)), name
    assert read.meta["warnings"] == ["a warning"]
    assert read.meta["seconds"] == 6.0
    explanation().save(tmp_path)
    with pytest.raises(EcgcamError, match="not a timeline of ecgcam"):
        Timeline.load(tmp_path / "explanation.npz")


def test_what_does_not_belong_together_is_refused() -> None:
    joining = Joining()
    with pytest.raises(EcgcamError, match="no window could be explained"):
        joining.finish([])
    joining.add(window(0.0, 1.0))
    with pytest.raises(EcgcamError, match="a window has the leads II, V1 at 10 Hz, an earlier one I, V1"):
        joining.add(window(1.0, 1.0, leads=("II", "V1")))
