"""The page in columns, and beside the waves of the heartbeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.render.test_pictures import LEADS, MM, explanation, paper_box, pixels
from tests.results.test_beatwise import explained

from ecgcam import render
from ecgcam.render.panels import LAYOUTS
from ecgcam.render.paper import recorded
from ecgcam.results.beatwise import wave_table
from ecgcam.results.ranks import lead_ranks

PULSE = 8  # mm of paper before the first sample


def coloured(figure: Figure) -> np.ndarray:
    """Where the paper of a page has the map's colour: True by pixel, traces, marks and words taken away."""
    axes = figure.axes[0]
    for artist in (*axes.lines, *axes.texts, *axes.collections):
        artist.set_visible(False)
    left, right, top, bottom = paper_box(figure)
    part = pixels(figure)[top + 1 : bottom - 1, left + 1 : right - 1]
    return part[..., 2] - part[..., 0] > 40


def seconds(columns: np.ndarray) -> tuple[float, float]:
    """The first and last moment (s) of the coloured columns."""
    return ((columns[0] + 1) / MM - PULSE) / 25, ((columns[-1] + 2) / MM - PULSE) / 25  # the frame's pixel is cut off


def rows_of(found: np.ndarray) -> list[tuple[int, int]]:
    """The runs of rows that have colour."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found.any(axis=1).astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


@pytest.mark.parametrize(
    ("lead", "column", "row"),
    [("I", 0, 0), ("III", 0, 2), ("aVR", 1, 0), ("aVL", 1, 1), ("V2", 2, 1), ("V4", 3, 0), ("V6", 3, 2)],
)
def test_columns_show_their_own_two_and_a_half_seconds(lead: str, column: int, row: int) -> None:
    """A lead whose map is the same at all times is coloured in its own column, and in its own row."""
    # II adds most, so that its strips are the same one, and not of the lead in question.
    example = explanation(LEADS, hot={lead: (0, 5000, 1.0)}, gains=[0.2, 0.3, *[0.2] * 10])
    found = coloured(render.page(example, layout="3x4"))
    begin, end = seconds(np.flatnonzero(found.any(axis=0)))
    assert begin == pytest.approx(2.5 * column, abs=1.5 / (MM * 25))
    assert end == pytest.approx(2.5 * (column + 1), abs=1.5 / (MM * 25))
    ((top, bottom),) = rows_of(found)
    panel = next(each for each in LAYOUTS["3x4"](example) if example.leads[each.row] == lead)
    whole = max(each.outer_top for each in LAYOUTS["3x4"](example))
    assert top == pytest.approx((whole - panel.top) * MM, abs=2)
    assert bottom == pytest.approx((whole - panel.bottom) * MM, abs=2)
    assert column == round(panel.begin / 2.5)
    assert row == sorted({each.bottom for each in LAYOUTS["3x4"](example)}, reverse=True).index(panel.bottom)


def test_one_hot_cell_is_seen_in_its_column_only_if_it_lies_there() -> None:
    """From 6.0 to 6.1 s belongs to the third column: V1 shows it, V4 does not."""
    hot = (3000, 3050, 1.0)
    begin, end = seconds(
        np.flatnonzero(coloured(render.page(explanation(LEADS, hot={"V1": hot}), layout="3x4")).any(axis=0))
    )
    assert (begin, end) == (pytest.approx(6.0, abs=0.01), pytest.approx(6.1, abs=0.01))
    assert not coloured(render.page(explanation(LEADS, hot={"V4": hot}), layout="3x4")).any()


def test_the_strip_below_is_lead_ii_from_beginning_to_end() -> None:
    gains = [0.2, 0.3, *[0.2] * 10]
    figure = render.page(explanation(LEADS, hot={"II": (4000, 4500, 1.0)}, gains=gains), layout="3x4")
    found = coloured(figure)  # 8 to 9 s is not in lead II's own column
    assert seconds(np.flatnonzero(found.any(axis=0))) == (pytest.approx(8.0, abs=0.01), pytest.approx(9.0, abs=0.01))
    ((top, _),) = rows_of(found)
    assert top > 0.7 * found.shape[0]


def test_traces_too_are_those_of_the_column() -> None:
    figure = render.page(explanation(LEADS), layout="3x4")
    spans = {
        (round(float(line.get_xdata()[0]), 3), round(float(line.get_xdata()[-1]), 3)) for line in figure.axes[0].lines
    }
    traces = {(begin, end) for begin, end in spans if end > begin}
    assert traces == {(0.0, 2.498), (2.5, 4.998), (5.0, 7.498), (7.5, 9.998), (0.0, 9.998)}


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (explanation(("II", "V1")), {10.0}),  # three leads at most are drawn whole
        (explanation(LEADS, valid_seconds=3.0), {3.0}),  # columns of 0.75 s would hold no beat; 3 s are drawn as 3 s
        (explanation(LEADS[:6]), {5.0, 10.0}),
        (explanation(LEADS, valid_seconds=8.0), {2.0, 8.0}),  # the recording, not its padding, is cut in four
        (explanation(LEADS, seconds=5.0), {5.0}),
    ],
    ids=["two leads", "3 s", "limb leads", "8 s", "window of 5 s"],
)
def test_columns_adapt(example: object, expected: set[float]) -> None:
    from ecgcam.render.panels import LAYOUTS

    panels = LAYOUTS["3x4"](example)  # type: ignore[arg-type]
    assert {round(panel.end - panel.begin, 3) for panel in panels} == expected


def test_columns_mark_the_strongest_moments_that_they_show() -> None:
    """V1 is strongest at 1 s, which its column (5 to 7.5 s) does not show; there it is strongest at 6 s."""
    example = explanation(LEADS, hot={"V1": (500, 505, 2.0)}, gains=[0.0] * 6 + [0.3] + [0.0] * 5)
    example.map[6, 3000:3005] = 1.0

    def moments(layout: str) -> list[float]:
        marks = [line for line in render.page(example, layout=layout).axes[0].lines if line.get_marker() == "v"]
        return [round(float(x), 2) for line in marks for x in line.get_xdata()]

    assert moments("12x1") == [1.0, 6.0]
    assert moments("3x4") == [6.0, 1.0, 6.0]  # in its column, and in its strip below


def test_the_page_lists_leads_by_gain_and_densities_by_wave() -> None:
    example = explained(np.ones((3, 5000)), lead_scores=np.array([0.3, 0.9, 0.6], np.float32))
    figure = render.page(example, waves=wave_table(example))
    shown = [text.get_text() for text in figure.axes[1].findobj(Text)]
    for heading in ("P", "PR", "QRS", "ST", "T", "TP"):
        assert heading in shown
    assert shown.count("1.0") == 18  # an even map is chance in every wave of every lead
    without = [text.get_text() for text in render.page(example).axes[1].findobj(Text)]
    assert "QRS" not in without


def test_a_flat_lead_has_no_rank_on_the_page() -> None:
    example = explanation(gains=[0.2, 0.0])
    example.valid[1] = False
    shown = [text.get_text() for text in render.page(example).axes[1].findobj(Text)]
    assert "+0.200 #1" in shown
    assert "flat or missing" in shown
    assert not any("#2" in text for text in shown)


def test_nearly_equal_gains_share_a_rank_and_flat_leads_have_none() -> None:
    example = explanation(LEADS[:6], gains=[0.300, 0.307, 0.306, 0.100, 0.900, 0.301])
    example.valid[4] = False
    # 2 % of 0.307 is 0.0061: 0.306 and 0.301 lie within it below the best, 0.300 does not.
    assert lead_ranks(example) == [4, 1, 1, 5, None, 1]
    shown = [text.get_text() for text in render.page(example).axes[1].findobj(Text)]
    assert {"+0.307 #1=", "+0.306 #1=", "+0.301 #1=", "+0.300 #4", "+0.100 #5"} <= set(shown)


def test_values_within_two_standard_errors_have_no_order() -> None:
    example = explanation(LEADS[:3], gains=[0.10, 0.07, 0.02])
    assert lead_ranks(example, example.gains, np.array([0.01, 0.02, 0.01])) == [1, 1, 3]
    assert lead_ranks(example, example.gains, np.array([np.nan, 0.01, 0.01])) == [1, 2, 3]


@pytest.mark.parametrize("layout", ["12x1", "3x4"])
@pytest.mark.parametrize(("spike", "gain"), [(-1.0, 10.0), (-6.0, 5.0), (-16.0, 1.25), (300.0, 10 / 128)])
def test_tall_complexes_are_drawn_at_half_standard_and_never_cut(layout: str, spike: float, gain: float) -> None:
    example = explanation(LEADS)
    example.signal[6, 2600:2900] = spike
    panels = LAYOUTS[layout](example)
    assert {panel.gain for panel in panels if panel.row == 6} == {gain}
    figure = render.page(example, layout=layout)
    said = [text.get_text() for text in figure.axes[0].texts if "mm/mV" in text.get_text()]
    assert (len(said) > 0) == (gain != 10)
    traces = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 100]
    assert len(traces) == len(panels)
    for panel, line in zip(panels, traces, strict=True):
        heights = np.asarray(line.get_ydata())
        assert panel.bottom <= np.nanmin(heights)
        assert np.nanmax(heights) <= panel.top
    # The pulse before the row has the row's own height.
    (pulses,) = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    tall = {round(float(np.ptp(path.vertices[:, 1])), 6) for path in pulses.get_paths()}
    assert tall == {round(panel.gain, 6) for panel in panels}


@pytest.mark.parametrize("suffix", [".pdf", ".svg"])
def test_columns_and_beats_are_vector_pictures_too(suffix: str, tmp_path: Path) -> None:
    example = explained(np.ones((3, 5000)))
    table = wave_table(example)
    wide = explanation(LEADS, hot={"V1": (3000, 3050, 1.0)})
    for name, figure in (("page", render.page(wide, layout="3x4")), ("beats", render.beats(example, table))):
        for place in ("one", "two"):
            render.save(figure, tmp_path / f"{name}-{place}{suffix}")
        one, two = ((tmp_path / f"{name}-{place}{suffix}").read_bytes() for place in ("one", "two"))
        assert one == two
        assert len(one) > 5000


def test_beats_have_the_colour_of_the_page() -> None:
    """An even map has one colour, as strong on the average beat as on the page."""
    example = explained(np.ones((3, 5000)))
    figures = (render.page(example), render.beats(example, wave_table(example)))
    strongest = []
    for figure in figures:
        images = [axes.images[0].get_array() for axes in figure.axes[:1]]
        strongest.append(float(np.asarray(images[0])[..., 3].max()))
    assert strongest[0] == pytest.approx(strongest[1], rel=1e-5)


def test_the_rhythm_strip_is_the_first_lead_with_a_signal_where_ii_has_none() -> None:
    example = explanation(LEADS)
    for silent, rhythm in (((), "II"), (("II",), "I"), (("I", "II"), "III")):
        valid = np.array([[lead not in silent] * example.valid.shape[1] for lead in LEADS])
        panels = LAYOUTS["3x4"](replace(example, valid=valid))
        strips = [LEADS[panel.row] for panel in panels if panel.end - panel.begin > 9]
        assert strips[0] == rhythm


def test_the_second_strip_is_the_lead_that_adds_most() -> None:
    panels = LAYOUTS["3x4"](explanation(LEADS, gains=[0.1] * 7 + [0.5] + [0.1] * 4))
    assert [LEADS[panel.row] for panel in panels if panel.end - panel.begin > 9] == ["II", "V2"]


def test_of_a_window_without_any_signal_all_is_shown() -> None:
    example = explanation(seconds=5.0, start=2.0, valid_seconds=3.0)
    assert recorded(example) == pytest.approx((2.0, 5.0))
    assert recorded(replace(example, valid=np.zeros_like(example.valid))) == pytest.approx((2.0, 7.0))
