"""The picture of a long recording, measured where a reader would measure it."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from tests.render.test_pictures import explanation

from ecgcam.render import timeline_strip
from ecgcam.render.time_strip import clock
from ecgcam.results.explanation import Explanation
from ecgcam.results.timeline import Joining

SCORES, MAPS = 0, 1  # the first axes of the figure


def drawn(starts: list[float], seconds: float, scores: list[float] | None = None, leads: int = 2) -> Figure:
    joining = Joining()
    names = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")[:leads]
    for i, start in enumerate(starts):
        one = explanation(leads=names, start=start, fs=50.0, hot={"I": (0, 500, 1.0)})
        one.meta["window"] = {"start": start, "seconds": 10.0, "record_seconds": seconds}
        one = Explanation(**{**one.__dict__, "score": scores[i] if scores else 0.5})
        joining.add(one)
    return timeline_strip(*joining.finish([]))


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in (figure, *figure.axes) for text in axes.texts if text.get_text()]


def image(figure: Figure) -> np.ndarray:
    (shown,) = (child for child in figure.axes[MAPS].get_children() if isinstance(child, AxesImage))
    return np.asarray(shown.get_array())


def test_the_strongest_windows_stand_where_they_are_and_are_shown() -> None:
    figure = drawn([0.0, 10.0, 20.0, 30.0, 40.0], 50.0, [0.3, 0.9, 0.4, 0.8, 0.35])
    marks = [line for line in figure.axes[SCORES].lines if line.get_marker() == "v"]
    assert sorted(float(x) for mark in marks for x in np.asarray(mark.get_xdata())) == [15.0, 25.0, 35.0]
    strips = [text for text in words(figure) if "the lead that adds most alone:" in text]
    assert [text.split(" · ")[:3] for text in strips] == [
        ["1", "0:00:10.0", "score 0.900"], ["2", "0:00:30.0", "score 0.800"], ["3", "0:00:20.0", "score 0.400"],
    ]  # fmt: skip


def test_close_together_they_share_their_numbers() -> None:
    figure = drawn([i * 10.0 for i in range(400)], 4000.0, [0.3] * 200 + [0.9, 0.8, 0.7] + [0.3] * 197)
    assert "1, 2, 3" in words(figure)


def test_the_map_lies_where_the_window_is_and_windows_left_out_are_hatched() -> None:
    """Windows end to end, of which those from 30 to 70 s are missing."""
    figure = drawn([0.0, 10.0, 20.0, 70.0, 80.0, 90.0], 100.0)
    alpha = image(figure)[0, :, 3]
    known = np.flatnonzero(alpha > 0) / len(alpha) * 100
    assert not ((known > 30.2) & (known < 69.8)).any()
    assert known.min() < 0.2
    assert known.max() > 99.8
    boxes = [path.get_extents() for path in figure.axes[SCORES].collections[0].get_paths()]
    assert [(box.x0, box.x1) for box in boxes] == [(30.0, 70.0)]


def test_between_windows_that_are_far_apart_the_nearest_ones_map_is_shown() -> None:
    figure = drawn([0.0, 60.0, 120.0, 180.0], 190.0)
    assert (image(figure)[0, :, 3] > 0).all()
    assert not figure.axes[SCORES].collections[0].get_paths()
    assert any("between windows the nearest one's" in text for text in words(figure))


@pytest.mark.parametrize("leads", [1, 3, 12])
@pytest.mark.parametrize(("count", "step"), [(1, 10.0), (40, 5.0), (3000, 10.0)])
def test_no_word_leaves_the_sheet(leads: int, count: int, step: float) -> None:
    figure = drawn([i * step for i in range(count)], (count - 1) * step + 10.0, leads=leads)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for axes in (figure, *figure.axes):
        for text in axes.texts:
            if text.get_text():
                box = text.get_window_extent()
                assert box.x0 >= 0, text.get_text()
                assert box.y0 >= 0, text.get_text()
                assert box.x1 <= width, text.get_text()
                assert box.y1 <= height, text.get_text()


def test_clock() -> None:
    assert [clock(0), clock(59.96), clock(3725)] == ["0:00:00", "0:01:00", "1:02:05"]
    assert [clock(59.96, tenths=True), clock(86399.94, tenths=True)] == ["0:01:00.0", "23:59:59.9"]


def test_a_long_prompt_and_every_warning_are_whole() -> None:
    text = "sinus rhythm with left axis deviation and poor R wave progression; " * 5
    joining = Joining()
    for number in range(3):
        one = explanation(start=10.0 * number, fs=50.0, hot={"I": (0, 500, 1.0)}, text=text.strip())
        one.meta["window"] = {"start": 10.0 * number, "seconds": 10.0, "record_seconds": 30.0}
        one.meta["warnings"] = ["flat or missing leads: V3", *(["a long note, " * 25 + "its end"] if number else [])]
        joining.add(one)
    figure = timeline_strip(*joining.finish([]))
    said = " ".join(" ".join(words(figure)).split())
    for whole in (text.strip(), "Flat or missing leads: V3", "2 of 3 windows: a long note,", "its end"):
        assert whole in said
    figure.draw_without_rendering()
    heads = [text.get_window_extent() for text in figure.texts if text.get_text() and not text.get_text()[0].isdigit()]
    scores = figure.axes[SCORES].get_window_extent()
    for number, box in enumerate(heads):
        assert box.x1 <= figure.bbox.x1 + 1
        assert not box.overlaps(scores)
        assert not any(box.padded(-2).overlaps(other.padded(-2)) for other in heads[number + 1 :])
