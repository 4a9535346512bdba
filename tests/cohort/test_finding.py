"""The picture of a cohort shows the tables' numbers, and no more than is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.cohort.cohorts import explained

from ecgcam.cohort.finding import draw_difference, draw_finding
from ecgcam.cohort.gather import TIME, collect
from ecgcam.cohort.summary import summarize, summarize_group
from ecgcam.cohort.tables import lead_rows
from ecgcam.render.colour import POSITIVE


def drawn() -> Figure:
    """Two recordings, the second without lead II."""
    valid = np.ones((3, 5000), bool)
    valid[1] = False
    (summary,) = summarize([explained("a", score=0.9), explained("a", record="flat", valid=valid, score=0.1)]).groups
    return draw_finding(summary)


def test_bars_are_the_gains_and_lines_their_intervals() -> None:
    (summary,) = summarize([explained("a", score=score, record=str(score)) for score in (0.2, 0.5, 0.9)]).groups
    axes = draw_finding(summary).axes[0]
    rows = lead_rows(summary)
    assert [bar.get_width() for bar in axes.patches[: len(rows)]] == pytest.approx([row["gain"] for row in rows])
    spans = [line.get_xdata() for line in axes.lines[1:]]  # the first is the line at 0
    np.testing.assert_allclose(spans, [[row["low"], row["high"]] for row in rows])


def test_a_lead_that_some_recordings_lack_says_how_many_have_it() -> None:
    labels = [label.get_text() for label in drawn().axes[0].get_yticklabels()]
    assert labels == ["all (2)", "I (2)", "II (1)", "V1 (2)"]


def test_each_lead_has_a_beat_and_a_curve_on_one_scale() -> None:
    figure = drawn()
    assert len(figure.axes) == 2 + 2 * 3 + 1  # and the colour bar
    curves = figure.axes[3:-1:2]
    assert len({curve.get_ylim() for curve in curves}) == 1
    assert all(len(curve.lines[0].get_ydata()) == len(TIME) for curve in curves)


def test_moments_that_few_recordings_reach_are_left_out() -> None:
    made = [explained("a", record=str(number)) for number in range(5)]
    (group,) = collect(made)
    whole = np.isfinite(group.beats[0, 0])
    group.beats[1:, :, whole.argmax() : whole.argmax() + 5] = np.nan  # one in five is left there
    ys = np.asarray(draw_finding(summarize_group(group)).axes[3].lines[0].get_ydata())
    assert np.isnan(ys[: whole.argmax() + 5]).all()
    assert np.isfinite(ys[whole.argmax() + 5])


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in (figure, *figure.axes) for text in axes.texts if text.get_text()]


def test_waves_come_from_one_set_of_recordings_and_every_point_says_n() -> None:
    """P and PR known in one of four recordings: unknown in the picture; the other shares, of three recordings, add up."""
    (group,) = [one.group for one in summarize([explained("a", record=str(number)) for number in range(4)]).groups]
    share, density = group.share.copy(), group.density.copy()
    for values in (share, density):
        values[1:, :, :2] = np.nan
    share[:, -1] = np.where(np.isnan(share[:, -1]), np.nan, [0.5, 0.3, 0.2, 0.25, 0.15, 0.3])
    share[0, -1, 3:] = density[0, -1, 3:] = np.nan  # the only one with a P lacks the rest
    figure = draw_finding(summarize_group(replace(group, share=share, density=density)))
    axes = figure.axes[1]
    said = [text.get_text() for text in axes.texts]
    assert said.count("unknown") == 2
    assert said.count("n = 1") == 2
    assert said.count("n = 3") == 4
    percent = [int(text.split()[0]) for text in said if text.endswith("%")]
    assert percent == [20, 25, 15, 30]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() for line in points] == [POSITIVE] * 4


def test_a_mean_of_fewer_than_three_is_hollow() -> None:
    points = [line for line in drawn().axes[1].lines if line.get_marker() == "o"]
    assert {line.get_markerfacecolor() for line in points} == {"white"}


def test_the_colour_bar_and_the_scale_are_stated() -> None:
    said = words(drawn())
    assert any(text.startswith("mean evidence: score per second") for text in said)
    assert "mV" in said


def test_the_difference_of_two_methods_is_taken_within_recordings() -> None:
    maps = np.ones((3, 5000))
    maps[:, 2500:] = 3.0
    made = [explained("a", record=record) for record in ("one", "two", "three")]
    others = [explained("a", record=record, method="other", map=maps) for record in ("two", "three", "four")]
    first, other = summarize([*made, *others]).groups
    figure = draw_difference(first, other)
    assert figure is not None
    assert "2 recordings · other − grad-cam" in words(figure)
    ys = np.asarray(figure.axes[3].lines[0].get_ydata(), float)
    known = np.isfinite(ys)
    assert known.sum() > 50
    differences = other.group.beats[:2, 0] - first.group.beats[1:, 0]
    np.testing.assert_allclose(ys[known], differences[:, known].mean(axis=0), rtol=1e-5, atol=1e-7)
    alone = summarize([explained("a", record="else", method="other")]).groups[0]
    assert draw_difference(first, alone) is None


def inside_and_apart(figure: Figure, texts: list[Text]) -> None:
    """No text is cut off, and none lies over another."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    for number, (said, box) in enumerate(boxes):
        assert "…" not in said
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, said
        for other, its in boxes[number + 1 :]:
            assert not box.padded(-2).overlaps(its.padded(-2)), (said, other)


def test_no_words_are_cut_or_lie_over_others() -> None:
    """A long prompt, titles of a difference, and the words at points near the lower axis."""
    text = "sinus rhythm with left axis deviation and poor R wave progression; " * 5
    made = [explained(text.strip(), record=str(number)) for number in range(3)]
    others = [explained(text.strip(), record=str(number), method="other") for number in range(3)]
    first, other = summarize([*made, *others]).groups
    low = summarize_group(replace(first.group, density=np.full_like(first.group.density, 0.01)))
    for figure in (draw_finding(low), draw_difference(first, other)):
        assert figure is not None
        assert text.strip() in " ".join(" ".join(words(figure)).split())
        figure.draw_without_rendering()
        inside_and_apart(figure, [*figure.texts, *figure.axes[0].texts, *figure.axes[1].texts])
        lowest = figure.axes[1].get_window_extent().y0
        assert all(text.get_window_extent().y0 >= lowest for text in figure.axes[1].texts)


def test_a_difference_of_nothing_is_stated() -> None:
    made = [explained("a", record=record) for record in ("one", "two")]
    others = [explained("a", record=record, method="other") for record in ("one", "two")]
    figure = draw_difference(*summarize([*made, *others]).groups)
    assert figure is not None
    assert "no difference" in words(figure)
