"""Conclusions from entries that can be counted."""

from __future__ import annotations

from ecgcam.runs.conclusions import draw_conclusions
from ecgcam.runs.evaluation import RANDOM, SLOPE, Entry


def entries(count: int, **values: float) -> list[Entry]:
    """Comprehensiveness of each method on some recordings, and a little more on each further one."""
    names = {"random": RANDOM, "slope": SLOPE}
    return [
        Entry(f"r{i}", 0.0, "af", names.get(name, name), None, "zero", {"comprehensiveness": value + 0.01 * i})
        for i in range(count)
        for name, value in values.items()
    ]


def test_which_comparisons_a_method_wins() -> None:
    (good, bad) = draw_conclusions(entries(5, random=0.1, slope=0.5, good=0.4, bad=0.05))
    assert [(one.reference, one.better, one.n) for one in good.comparisons] == [(RANDOM, 5, 5), (SLOPE, 0, 5)]
    assert good.sentence() == (
        "good: comprehensiveness better than the random map on 5 of 5 and than the slope of the ECG on 0 of 5 "
        "(beats the random map, loses to the slope of the ECG)"
    )
    assert "(loses to the random map and the slope of the ECG)" in bad.sentence()


def test_one_recording_is_no_win() -> None:
    (found,) = draw_conclusions(entries(1, random=0.1, slope=0.0, good=0.4))
    assert not any(one.wins for one in found.comparisons)
    assert found.sentence().endswith("on 1 of 1")


def test_no_clear_difference() -> None:
    made = [
        Entry(f"r{i}", 0.0, "af", name, None, "zero", {"comprehensiveness": value})
        for i in range(6)
        for name, value in ((RANDOM, 0.0), (SLOPE, 0.0), ("a", 0.1 if i % 2 else -0.1))
    ]
    (found,) = draw_conclusions(made)
    assert found.sentence().endswith("(no clear difference)")
