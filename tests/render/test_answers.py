"""What a page says: the answer, the check, warnings, ranks, and colours that mean the same on every page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from tests.render.test_layouts import coloured
from tests.render.test_pictures import LEADS, explanation, words
from tests.results.test_beatwise import explained

from ecgcam import render
from ecgcam.attribution.methods import METHODS
from ecgcam.errors import EcgcamError
from ecgcam.render import colour, wording
from ecgcam.render.colour import NO_LEAD, PALE, STRONGEST, colours
from ecgcam.render.several import common_scale, together
from ecgcam.render.style import PictureOptions
from ecgcam.results.beatwise import wave_table
from ecgcam.results.sentences import percent

VERDICT = {
    "answer": "yes", "score": 0.4, "empty_score": 0.1, "rank": 2, "of": 24, "percentile": 97.4, "basis": "its threshold",
}  # fmt: skip
CHECK = {"removed": 0.1, "drop": 0.31, "random": 0.05, "random_sd": 0.02, "draws": 16, "passed": True}


def without_cells(example: Any, **meta: Any) -> Any:
    """The same map from a method without cells."""
    return replace(
        example,
        map_cells=np.zeros((len(example.leads), 0), np.float32),
        cell_time=np.zeros(0),
        meta=example.meta | meta,
    )


def test_verdict_and_check_stand_on_the_page_where_there_are_any() -> None:
    example = explanation(hot={"I": (10, 400, 1.0)}, verdict=VERDICT, check=CHECK)
    text = words(render.page(example))
    assert "Model: yes — “atrial fibrillation”" in text
    assert "rank 2 of 24 prompts · higher than in 97 % of the reference recordings" in text
    assert "Check passed: replacing the strongest 10 % of the map changes the score by −0.310" in text
    assert "random parts of this size by −0.050 ± 0.020 (16 draws)" in text
    assert "the answer is based on its threshold" in text
    bare = words(render.page(explanation(hot={"I": (10, 400, 1.0)})))
    assert bare.startswith("\n") or "Model:" not in bare
    assert "Model:" not in bare
    assert "Check" not in bare
    assert "rank 2 of 24" not in bare


@pytest.mark.parametrize("answer", ["yes", "no", "unclear"])
def test_every_answer_is_the_headline(answer: str) -> None:
    example = explanation(verdict=VERDICT | {"answer": answer, "rank": None, "percentile": None})
    assert wording.headline(example) == f"Model: {answer} — “atrial fibrillation”"
    assert "rank" not in wording.outcome(example)


def test_a_score_that_is_not_above_the_empty_score_is_a_no_in_pale_colours() -> None:
    example = replace(explanation(hot={"I": (10, 400, 1.0)}), score=0.1, empty_score=0.1)
    assert wording.headline(example) == "Model: no — “atrial fibrillation”"
    assert colours(example).strongest == PALE
    assert "pale: the score is not above the score without ECG" in " ".join(words(render.page(example)).split())
    assert colours(explanation(hot={"I": (10, 400, 1.0)})).strongest == STRONGEST
    said_no = explanation(hot={"I": (10, 400, 1.0)}, verdict=VERDICT | {"answer": "no"})
    assert colours(said_no).strongest == PALE
    assert "pale: the model says no" in " ".join(words(render.page(said_no)).split())


def test_a_failed_check_warns_on_page_and_strips() -> None:
    example = explanation(hot={"I": (10, 400, 1.0)}, check=CHECK | {"drop": -0.02, "passed": False})
    for figure in (render.page(example), render.strip(example, "I")):
        (said,) = [text for text in figure.findobj(Text) if "do not rely on this map" in text.get_text()]
        assert "changes the score by +0.020" in said.get_text()
        assert said.get_color() == "#8a2c0a"
    missing = explanation(check={"removed": 0.1, "drop": None, "passed": None})
    assert wording.check_result(missing) is None


CRITERIA: list[dict[str, Any]] = [
    {"name": "x/wide", "text": "QRS ≥ 120 ms", "holds": True, "value": 158.0, "unit": "ms", "density": 3.21}
    | {"drop": 0.2, "score": -0.1},
    {"name": "x/no-p", "text": "no P", "holds": None, "value": None, "unit": None, "density": None, "drop": None},
    {"name": "x/one", "text": "rS in 2 of " + "II, III, aVF, " * 9, "holds": False, "value": 1.0, "unit": "leads"},
]


def test_criteria_are_listed_in_words() -> None:
    example = explanation(criteria=CRITERIA[:2], reasons={"right": True, "sentence": "evidence lies there"})
    assert wording.criteria_line(example) == (
        "Evidence lies there.  Criteria:  QRS ≥ 120 ms: yes (158 ms; map density 3.2 × there)  ·  No P: unknown (–)"
    )
    assert wording.criteria_line(explanation()) == wording.criteria_line(explanation(criteria=[])) == ""
    first, _, third = wording.criteria_rows(explanation(criteria=CRITERIA))
    assert (first.change, first.words, third.value) == ("−0.200", "−0.100", "1 lead")
    # A result of an earlier version has no text: that of the bundled criterion, or the name.
    old = wording.criteria_rows(explanation(criteria=[{"name": "lbbb/qrs-duration"}, {"name": "mine/odd-wave"}]))
    assert [row.text for row in old] == ["QRS at least 120 ms", "Odd wave"]


@pytest.mark.parametrize("width", [None, 180.0, 85.0])
def test_the_page_has_every_criterion_whole_and_inside(width: float | None) -> None:
    example = explanation(LEADS, criteria=CRITERIA, reasons={"right": False, "sentence": "evidence lies there"})
    figure = render.page(example, options=render.PictureOptions(width_mm=width))
    text = " ".join(words(figure).split())
    for row in wording.criteria_rows(example):
        assert " ".join(row.text.split()) in text
        assert all(cell in text for cell in (row.holds, row.value, row.density, row.change, row.words))
    assert "Evidence lies there" in text
    assert "x/wide" not in text
    assert "…" not in text
    figure.draw_without_rendering()
    for artist in figure.findobj(lambda each: hasattr(each, "get_text") and each.get_text()):
        box = artist.get_window_extent()
        assert box.x1 <= figure.bbox.x1 + 1, artist.get_text()
        assert box.y0 >= figure.bbox.y0 - 1, artist.get_text()


@pytest.mark.parametrize("strength", [1.0, 1e-3, 8.7e-6])
def test_no_number_of_the_colour_bar_is_cut(strength: float) -> None:
    example = explanation(LEADS, hot={"I": (10, 400, strength), "II": (10, 4000, strength / 9)})
    example = without_cells(replace(example, map=np.where(example.time > 3, -example.map, example.map)), signed=True)
    for width in (None, 180.0, 85.0):
        for figure in (
            render.strip(example, "I", options=PictureOptions(width_mm=width)),
            render.page(example, options=PictureOptions(width_mm=width)),
        ):
            figure.draw_without_rendering()
            for axes in figure.axes:
                for label in (*axes.get_yticklabels(), *axes.get_xticklabels()):
                    box = label.get_window_extent()
                    assert box.x1 <= figure.bbox.x1, label.get_text()


def test_a_long_prompt_and_its_foil_are_whole() -> None:
    text = "sinus rhythm with left axis deviation and poor R wave progression; " * 5
    example = explanation(LEADS, text=text.strip(), against=["normal ECG"])
    for figure in (render.page(example), render.page(example, options=render.PictureOptions(width_mm=85.0))):
        assert f"“{text.strip()}” − “normal ECG”" in " ".join(words(figure).split())


def test_a_percentile_next_to_an_end_keeps_its_decimal() -> None:
    assert [percent(value) for value in (0.0, 0.4, 1.0, 98.6, 99.0, 99.8, 100.0)] == [
        "0 %", "0.4 %", "1 %", "99 %", "99 %", "99.8 %", "100 %",
    ]  # fmt: skip


def test_every_warning_stands_on_every_kind_of_picture() -> None:
    found = ["padded to 10 s", "further from the reference recordings of mini than 99 % of others " * 3, "a third"]
    example = explanation(LEADS, hot={"I": (10, 400, 1.0)}, warnings=found)
    table = wave_table(example)
    for figure in (render.page(example), render.strip(example, "I"), render.beats(example, table)):
        text = " ".join(words(figure).split())
        for warning in found:
            assert " ".join(warning[1:].split()) in text, warning


def test_no_legend_says_zero_where_the_map_is_not() -> None:
    """All gains are negative: the scaled map is blank, the map is not."""
    example = explanation(hot={"I": (10, 400, 1.0)}, gains=[-0.1, -0.2])
    text = words(render.page(example))
    assert f"no colour: {NO_LEAD}" in text
    assert "No lead alone raises the score" in text  # in large type
    large = [one for one in render.page(example).findobj(Text) if one.get_text() == "No lead alone raises the score"]
    assert [one.get_fontsize() for one in large] == [11]
    assert "zero" not in text
    blank = words(render.page(explanation()))
    assert "no colour: the map is zero everywhere" in blank


def test_two_pages_share_one_scale_and_a_gain_of_a_thousandth_is_pale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same map with gains 0.15 and 0.001, and a floor of 0.2: colours differ as the gains do."""
    monkeypatch.setattr(colour, "_shipped", lambda: {"toy": {"grad-cam": {"evidence": 0.2}}})
    hot = {"I": (1000, 1500, 1.0)}  # 1 s of mass 1
    strong, weak = (colours(explanation(hot=hot, gains=[gain, -1.0])) for gain in (0.15, 0.001))
    assert strong.vmax == weak.vmax == 0.2
    assert strong.shared
    assert weak.shared
    opacity = [colour.shade(of.values, of.vmax, of.strongest)[0, 1200, 3] for of in (strong, weak)]
    assert opacity == pytest.approx([STRONGEST * 0.75, STRONGEST * 0.005], rel=1e-4)
    assert opacity[1] < 0.01
    beyond = colours(explanation(hot=hot, gains=[0.9, -1.0]))
    assert (beyond.vmax, beyond.shared) == (pytest.approx(0.9), False)
    stored = explanation(hot=hot, gains=[0.15, -1.0], colour_top={"evidence": 0.4})
    assert colours(stored).vmax == 0.4


def test_mini_has_floors_for_its_default_method() -> None:
    top = colour.reference_top({"model": "mini", "method": "grad-cam"}, "evidence")
    assert 0.01 < top < 1
    # Score per second is one unit: methods without a floor of their own have the same.
    assert colour.reference_top({"model": "mini", "method": "none such"}, "evidence") == top
    assert colour.reference_top({"model": "other", "method": "grad-cam"}, "evidence") == 0


def test_one_cell_does_not_set_the_scale() -> None:
    """999 samples at 1 and one at 50: the top is 1, and the bar says that values lie above."""
    example = explanation(hot={"I": (0, 1000, 1.0)})
    example.map[0, 500] = 50.0
    of = colours(example, "raw")
    assert of.vmax == pytest.approx(1.0)
    assert of.beyond
    labels = [label.get_text() for axes in render.page(example, scale="raw").axes for label in axes.get_xticklabels()]
    assert "≥ 1" in labels
    even = colours(explanation(hot={"I": (0, 1000, 1.0)}), "raw")
    assert not even.beyond


def test_methods_without_cells_are_shown_raw_and_smoothed_over_40_ms() -> None:
    """At 500 Hz a sample is spread over 21; the integral is kept."""
    example = without_cells(explanation(hot={"I": (1000, 1001, 21.0)}, signed=True), method="integrated-gradients")
    example.map[0, 3000] = -42.0
    of = colours(example)
    assert (of.scale, of.smoothed) == ("raw", True)
    assert np.flatnonzero(np.abs(of.values[0]) > 1e-9).tolist() == [*range(990, 1011), *range(2990, 3011)]
    assert of.values[0, 1000] == pytest.approx(1.0)
    assert of.values[0].sum() == pytest.approx(21.0 - 42.0)
    assert "smoothed over 40 ms for display" in words(render.page(example))
    assert not colours(explanation(hot={"I": (1000, 1001, 21.0)})).smoothed


def test_numbers_keep_their_order_in_units_of_the_score() -> None:
    """At the scale of evidence -0.015 would be stronger than -0.031; as it comes, it is not."""
    example = without_cells(explanation(gains=[0.5, 0.1]), method="occlusion")
    example.map[0], example.map[1] = -0.015, -0.031
    example.map[:, 0] = 0.0  # not one value per lead
    of = colours(example)
    assert np.abs(of.values[0]).max() < np.abs(of.values[1]).max()


def test_the_methods_of_the_table_with_one_value_a_lead_are_bars() -> None:
    assert {"lead-shapley", "lead-occlusion"} <= set(METHODS)
    example = without_cells(
        explanation(LEADS[:3], gains=[0.5, 0.1, 0.2]), method="lead-shapley", signed=True,
        report={"values": {"I": 0.1, "II": -0.03, "III": 0.02}, "standard_error": {"I": 0.01, "II": 0.005, "III": 0.01}},
    )  # fmt: skip
    example.map[:] = np.array([[0.01], [-0.003], [0.002]])
    figure = render.page(example)
    assert not coloured(figure).any()
    shown = [text.get_text() for text in figure.axes[1].findobj(Text)]
    assert "lead-shapley: value of each lead ± standard error (score)" in shown
    assert {"+0.100 #1", "+0.020 #2", "−0.030 #3"} <= set(shown)
    bars = [line for line in figure.axes[1].lines if line.get_linewidth() == 1.0]
    assert len(bars) == 3  # the standard errors
    assert "rank 1 of 3" in words(render.strip(example, "I"))
    assert "lead-shapley +0.100 ± 0.010" in words(render.strip(example, "I"))


def test_a_strongest_moment_in_another_column_is_pointed_at() -> None:
    example = explanation(
        LEADS, hot={"V1": (500, 505, 2.0), "I": (4000, 4010, 2.0)}, gains=[0.6, 0.1, *[0.1] * 4, 0.5, *[0.1] * 5]
    )
    said = [text.get_text() for text in render.page(example).axes[0].texts]
    assert any(text == "‹ strongest at 1.0 s" for text in said)  # V1's column begins at 5 s
    assert not any("8.0 s" in text for text in said)  # lead I has a strip of its own


def test_waves_are_named_once_and_counted() -> None:
    example = explained(np.ones((3, 5000)))
    table = wave_table(example)
    figure = render.page(example, waves=table)
    names = [text.get_text() for text in figure.axes[0].texts if text.get_text() in {"P", "QRS", "T"}]
    assert names.count("QRS") == len(table.waves.beats)
    below = [text for text in figure.axes[0].texts if text.get_text() == "QRS"]
    assert {round(text.get_position()[1], 2) for text in below} == {3.0}
    assert any(f"{len(table.waves.beats)} beats: P in" in text.get_text() for text in figure.axes[1].texts)


@pytest.mark.parametrize("width", [85.0, 180.0, 400.0])
def test_at_any_width_text_is_at_least_6_pt_and_the_scale_is_stated(width: float) -> None:
    example = explanation(LEADS, hot={"I": (10, 400, 1.0)}, verdict=VERDICT, check=CHECK)
    options = PictureOptions(width_mm=width)
    page, strip = render.page(example, options=options), render.strip(example, "I", options=options)
    for figure in (page, strip):
        assert figure.get_size_inches()[0] * 25.4 == pytest.approx(width, abs=0.01)
        assert figure.dpi == 300
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(text.get_fontsize() for text in texts) >= 6
        figure.canvas.draw()
        for text in texts:
            box = text.get_window_extent()
            assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, text.get_text()
    unit = (width - 12) / 258
    assert f"{25 * unit:.3g} mm/s" in words(page)
    axes = page.axes[0]
    seconds = axes.get_xlim()[1] - axes.get_xlim()[0]
    across = axes.get_window_extent().width / page.dpi * 25.4
    assert across / seconds == pytest.approx(25 * unit, rel=1e-3)


def test_true_size_fits_a4() -> None:
    figure = render.page(explanation(LEADS))
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(270, abs=0.01)


def test_pdf_fonts_are_type_42_and_svg_text_is_text(tmp_path: Path) -> None:
    figure = render.strip(explanation(hot={"I": (10, 400, 1.0)}), "I")
    render.save(figure, tmp_path / "a.pdf", title="a title")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    assert b"a title" in pdf
    render.save(figure, tmp_path / "a.svg", title="1 < 2", description="what it shows")
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<title>1 &lt; 2</title><desc>what it shows</desc>" in svg
    assert "“atrial fibrillation”</text>" in svg


@pytest.mark.parametrize("width", [None, 180.0, 85.0])
def test_the_title_and_the_note_of_every_strip_are_whole(width: float | None) -> None:
    """A lead that raises nothing has a note; methods with one value a lead have long titles."""
    verdict = explanation(LEADS, hot={"I": (10, 400, 1.0)}, gains=[0.1, *[-0.123] * 11], verdict=VERDICT, check=CHECK)
    report = {"values": dict.fromkeys(LEADS, 0.1), "standard_error": dict.fromkeys(LEADS, 0.01)}
    by_lead = without_cells(replace(verdict, map=np.full_like(verdict.map, 0.1)), method="lead-shapley", report=report)
    for example, lead, said in (
        (verdict, "I", "rank 1 of 12"),
        (verdict, "aVF", "this lead alone does not raise the score: left blank"),
        (by_lead, "aVF", "lead-shapley +0.100 ± 0.010, rank 1= of 12"),
    ):
        figure = render.strip(example, lead, options=PictureOptions(width_mm=width))
        text = " ".join(words(figure).split())
        assert said in text
        assert "…" not in text
        figure.draw_without_rendering()
        boxes = [
            (one.get_text(), one.get_window_extent()) for one in figure.texts if one.get_text() and one.get_visible()
        ]
        for number, (one, box) in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1 + 1, one
            for other, its in boxes[number + 1 :]:
                assert not box.padded(-3).overlaps(its.padded(-3)), (one, other)


@pytest.mark.parametrize(("width", "said"), [(None, "row 5 mm/mV"), (180.0, "row 3.26 mm/mV"), (85.0, "× 1/2")])
def test_a_row_of_another_scale_states_it_whole(width: float | None, said: str) -> None:
    """With a moment in another column too: at 85 mm only what fits is written."""
    example = explanation(
        LEADS,
        hot={"II": (4000, 4005, 2.0), "I": (10, 20, 1.0), "V1": (500, 505, 2.0)},
        gains=[0.3, 0.5, *[0.1] * 4, 0.6, *[0.1] * 5],
    )
    example.signal[4, 1300:1450] = -6.0  # aVL, in the row of II
    figure = render.page(example, options=PictureOptions(width_mm=width))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any(said in text for text in texts)
    assert not any("…" in text for text in texts)
    assert "or as the row states" in words(figure)
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts if text.get_text()]
    for number, (one, box) in enumerate(boxes):
        for other, its in boxes[number + 1 :]:
            assert not box.padded(-2).overlaps(its.padded(-2)), (one, other)


def test_arrows_to_another_column_are_explained_only_where_one_is_drawn() -> None:
    """II and the lead that adds most have a strip of the whole window; V1, the second lead, has only its column."""
    gains = [0.3, 0.5, *[0.1] * 4, 0.4, *[0.1] * 5]
    inside, outside = (
        render.page(explanation(LEADS, hot={"II": (4000, 4005, 2.0), "V1": (begin, begin + 5, 2.0)}, gains=gains))
        for begin in (3000, 500)
    )
    assert "‹ strongest at" in words(outside)
    assert "› or ‹ and a time" in " ".join(words(outside).split())
    assert "‹" not in words(inside)


def test_bars_of_waves_are_named_and_explained_at_every_width() -> None:
    """P and QRS are too near for both names over their middles: P's name gives way, and is not left out."""
    example = explained(np.ones((3, 5000)))
    table = wave_table(example)
    figure = render.page(example, waves=table)
    figure.draw_without_rendering()
    named = [text for text in figure.axes[0].texts if text.get_text() in {"P", "QRS", "T"}]
    assert len(named) >= 0.9 * np.isfinite(table.waves.onset + table.waves.offset).sum()
    boxes = [text.get_window_extent() for text in named]
    assert not any(box.overlaps(other) for at, box in enumerate(boxes) for other in boxes[at + 1 :])
    narrow = render.page(example, waves=table, options=PictureOptions(width_mm=85.0))
    for drawn in (figure, narrow):
        said = " ".join(words(drawn).split())
        assert "bars below the leads: P, QRS and T, named where there is room" in said
        assert "…" not in said


def test_beats_state_flat_leads_and_where_none_are_found() -> None:
    example = explained(np.ones((3, 5000)))
    valid = np.ones((3, 5000), bool)
    valid[1] = False
    flat = replace(example, valid=valid)
    said = words(render.beats(flat, wave_table(flat)))
    assert "flat or missing" in said
    assert "over the time that all of them have" in said
    silent = explanation(LEADS[:3], hot={"I": (10, 400, 1.0)})
    silent.signal[:] = 0.0
    table = wave_table(silent)
    assert len(table.waves.beats) == 0
    figure = render.beats(silent, table)
    curves = [axes for axes in figure.axes if not axes.lines and not axes.images]
    assert curves
    assert all(len(axes.get_yticks()) == len(axes.get_xticks()) == 0 for axes in curves)


def test_the_recording_s_own_rate_is_drawn_where_it_is_given() -> None:
    example = explanation(fs=100.0)
    time = np.arange(10_000) / 1000
    signal = np.tile(np.where(np.arange(10_000) == 1234, 2.0, 0.0), (2, 1)).astype(np.float32)
    trace = render.Trace(time, signal)
    for figure in (render.page(example, trace=trace), render.strip(example, "I", trace=trace)):
        line = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata()))
        assert len(line.get_xdata()) == 10_000
        assert int(np.argmax(line.get_ydata())) == 1234


def test_the_truth_is_outlined_on_request() -> None:
    example = explanation(LEADS)
    outline = np.zeros(example.map.shape, bool)
    outline[6, 3000:3100] = True  # V1, 6 to 6.2 s
    figure = render.page(example, outline=outline)
    boxes = [patch for patch in figure.axes[0].patches if patch.get_linestyle() not in {"-", "solid"}]
    spans = {(round(box.get_path().get_extents().x0, 3), round(box.get_path().get_extents().x1, 3)) for box in boxes}
    assert spans == {(5.999, 6.199)}
    assert "dashed outline: where the truth is marked" in words(figure)


def test_together_panels_of_one_unit_share_the_scale() -> None:
    one = explanation(hot={"I": (1000, 1500, 1.0)}, gains=[0.4, 0.1])
    two = explanation(hot={"I": (1000, 1500, 1.0)}, gains=[0.2, 0.1], text="normal ECG")
    other = without_cells(replace(one, meta=one.meta | {"method": "occlusion"}))
    palettes = common_scale([one, two, other], [colours(each) for each in (one, two, other)])
    assert [of.vmax for of in palettes] == pytest.approx([0.4, 0.4, colours(other).vmax])
    assert [of.panels for of in palettes] == [True, True, False]
    figure = together([one, two, other], options=PictureOptions(dpi=50))
    text = words(figure)
    for letter, said in (("a", "“atrial fibrillation”"), ("b", "“normal ECG”"), ("c", "“atrial fibrillation”")):
        assert f"{letter} {said}" in text
    assert "method occlusion" in text
    assert "one scale for all panels" in text
    papers = [axes for axes in figure.axes if axes.get_xlim()[0] < 0 and len(axes.get_xticks()) > 5]
    tops = [axes.get_window_extent().y1 for axes in papers]
    assert tops[0] == pytest.approx(tops[1])
    with pytest.raises(EcgcamError, match="one figure takes 1 to 12"):
        together([one] * 13)


def test_a_caption_has_every_setting() -> None:
    example = explanation(verdict=VERDICT, check=CHECK, warnings=["a warning"], seed=7, options={"gamma": 0.6})
    text = render.caption([example])
    for said in (
        "Model: yes — “atrial fibrillation”",
        "Check passed",
        "A warning.",
        "seed 7",
        'options {"gamma": 0.6}',
    ):
        assert said in text
    assert render.caption([example, example]).count("Settings of (") == 2


@pytest.mark.parametrize("bad", [{"formats": ("gif",)}, {"formats": ()}, {"dpi": 5}, {"width_mm": 20}])
def test_options_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(EcgcamError):
        PictureOptions(**bad)
