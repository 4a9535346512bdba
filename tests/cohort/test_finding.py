"""The picture of a cohort shows the tables' numbers, and no more than is known."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.cohort.cohorts import explained

from ecgcam.cohort.finding import draw_finding
from ecgcam.cohort.gather import TIME, collect
from ecgcam.cohort.tables import lead_rows


def drawn() -> Figure:
    """Two recordings, the second without lead II."""
    valid = np.ones((3, 5000), bool)
    valid[1] = False
    (group,) = collect([explained("a", score=0.9), explained("a", record="flat", valid=valid, score=0.1)])
    return draw_finding(group)


def test_bars_are_the_gains_and_lines_their_intervals() -> None:
    (group,) = collect([explained("a", score=score, record=str(score)) for score in (0.2, 0.5, 0.9)])
    axes = draw_finding(group).axes[0]
    rows = lead_rows(group)
    assert [bar.get_width() for bar in axes.patches[: len(rows)]] == pytest.approx([row["gain"] for row in rows])
    spans = [line.get_xdata() for line in axes.lines[1:]]  # the first is the line at 0
    np.testing.assert_allclose(spans, [[row["low"], row["high"]] for row in rows])


def test_a_lead_that_some_recordings_lack_says_how_many_have_it() -> None:
    labels = [label.get_text() for label in drawn().axes[0].get_yticklabels()]
    assert labels == ["all", "I", "II (1)", "V1"]


def test_each_lead_has_a_beat_and_a_curve_on_one_scale() -> None:
    figure = drawn()
    assert len(figure.axes) == 2 + 2 * 3
    curves = figure.axes[3::2]
    assert len({curve.get_ylim() for curve in curves}) == 1
    assert all(len(curve.lines[0].get_ydata()) == len(TIME) for curve in curves)


def test_moments_that_few_recordings_reach_are_left_out() -> None:
    made = [explained("a", record=str(number)) for number in range(5)]
    (group,) = collect(made)
    whole = np.isfinite(group.beats[0, 0])
    group.beats[1:, :, whole.argmax() : whole.argmax() + 5] = np.nan  # one in five is left there
    ys = np.asarray(draw_finding(group).axes[3].lines[0].get_ydata())
    assert np.isnan(ys[: whole.argmax() + 5]).all()
    assert np.isfinite(ys[whole.argmax() + 5])
