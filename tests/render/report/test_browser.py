"""The report in a real browser: it renders, every control does what it says, and nothing leaves the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.handmade import explanation

from ecgcam.render.colour import PALE
from ecgcam.render.report import report_html

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HOSTILE = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
WAVES = {
    "beats": 3,
    "leads": [
        {"name": "I", "P": {"share": 0.25, "density": 2.0, "spread": 0.1}, "QRS": {"share": None, "density": None}}
    ],
}
EVIDENCE = {
    "text": "atrial fibrillation", "method": "grad-cam", "mask": "zero-mv", "metric": "deletion", "direction": "lower",
    "mean": 0.125, "low": 0.1, "high": 0.2, "chance": 0.5, "n": 4,
}  # fmt: skip


def other(made: Any, **meta: Any) -> Any:
    return replace(made, meta=made.meta | meta)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings; of the first three prompts, one of them by two methods."""
    first = explanation()
    valid = np.ones((2, 10), bool)
    valid[1, 7:] = False
    made = [
        (first, {"waves": WAVES}),
        (other(first, method="occlusion"), {}),
        (replace(explanation("normal ECG"), map=first.map[:, ::-1].copy(), score=0.1), {}),
        (explanation(HOSTILE), {}),
        (replace(explanation(valid=valid), meta=first.meta | {"record": "second"}), {}),
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_html(made, [EVIDENCE]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or what CHROMIUM names. Its absence skips on a user's machine and fails in CI."""
    program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if sync_playwright is None or not Path(program).exists():
        reason = f"the report's tests need the package playwright and a browser at {program} (or CHROMIUM=path)"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI must not skip")
        pytest.skip(reason)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report, opened from disk. Afterwards: no error, no word on the console, no request but the file itself."""
    view = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(report.as_uri())
    view.wait_for_selector(".trace")
    yield view
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}
    view.close()


def pixels(page: Any, place: int = 0, row: int = 0) -> list[list[int]]:
    """The map's picture of a lead: red, green, blue, opacity of every column."""
    found: list[list[int]] = page.evaluate(
        """async ([place, row]) => {
          const image = new Image();
          image.src = document.querySelector(`.view[data-place="${place}"] .trace[data-row="${row}"] .map`).getAttribute("href");
          await image.decode();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [image.width, 1];
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const data = context.getImageData(0, 0, image.width, 1).data;
          return Array.from({length: image.width}, (_, i) => Array.from(data.slice(4 * i, 4 * i + 4)));
        }""",
        [place, row],
    )
    return found


def opacities(page: Any, place: int = 0, row: int = 0) -> list[int]:
    return [pixel[3] for pixel in pixels(page, place, row)]


FULL = round(255 * 0.72)


def test_it_renders_with_the_map_behind_the_trace(page: Any) -> None:
    assert page.locator(".trace").count() == 2
    order = page.evaluate("[...document.querySelector('.trace').children].map((child) => child.getAttribute('class'))")
    assert order.index("grid") < order.index("map") < order.index("ecg")
    assert page.locator("h3").first.inner_text() == "“atrial fibrillation”"
    assert "score 0.750" in page.locator(".scores").inner_text()
    # The map of lead I is 0 1 4 1 0 6 6 2 0 0: opacity is its share of the strongest.
    assert opacities(page) == pytest.approx([FULL * v / 6 for v in (0, 1, 4, 1, 0, 6, 6, 2, 0, 0)], abs=1)
    red, green, blue, _ = pixels(page)[5]
    assert (red, green, blue) == pytest.approx((0, 81, 167), abs=2)
    # V1 has no gain, so on the scale of evidence it has no colour, and says so.
    assert page.locator(".trace").nth(1).locator(".map").count() == 0
    assert "left blank" in page.locator(".name").nth(1).inner_text()
    stroke = page.evaluate("getComputedStyle(document.querySelector('.ecg')).stroke")
    assert stroke == "rgb(16, 16, 16)"


def test_a_tall_trace_is_drawn_at_half_standard_and_says_so(browser: Any, tmp_path: Path) -> None:
    made = explanation()
    signal = made.signal.copy()
    signal[:, 3:6] = -16.0
    path = tmp_path / "report.html"
    path.write_text(report_html([(replace(made, signal=signal), {})], []), encoding="utf-8")
    view = browser.new_page()
    view.goto(path.as_uri())
    view.wait_for_selector(".trace")
    names = view.locator(".name").all_inner_texts()
    assert names[0] == "I gain +0.500, rank 1 of 2 2.5 mm/mV"
    assert names[1].endswith("does not raise the score alone: left blank; 2.5 mm/mV")
    for place in range(2):
        height = float(view.locator(".trace").nth(place).get_attribute("viewBox").split()[3])
        path_ = view.locator(".trace").nth(place).locator(".ecg").last.get_attribute("d")
        ys = [float(point.split()[1]) for point in path_[1:].split("L")]
        assert 0 < min(ys) < max(ys) < height
    view.close()


def test_grid_and_trace_are_to_scale(page: Any) -> None:
    # One second is 25 mm of paper and 1 mV is 10; the sine of lead I reaches 0.951 mV, 9.51 mm from its zero line.
    width, height = (float(n) for n in page.locator(".trace").first.get_attribute("viewBox").split()[2:])
    assert (width, height) == (8 + 25, 30)  # 8 mm before the first sample hold the calibration pulse
    assert page.locator(".ecg").first.get_attribute("d") == "M-7 15h1v-10h4v10h1"
    path = page.locator(".ecg").nth(1).get_attribute("d")
    points = np.array([[float(n) for n in point.split()] for point in path[1:].split("L")])
    np.testing.assert_allclose(points[:, 0], np.arange(10) * 2.5, atol=0.01)
    np.testing.assert_allclose(15 - points[:, 1], 10 * np.sin(2 * np.pi * (3 + np.arange(10) / 10)), atol=0.02)


def test_pointing_tells_time_voltage_and_map(page: Any) -> None:
    trace = page.locator(".trace").first
    box = trace.bounding_box()
    trace.hover(position={"x": box["width"] * (8 + 15) / 33, "y": 10})
    said = page.locator("#readout").inner_text()
    assert said == "I at 3.600 s: −0.59 mV; map 1.5, 100 % of the strongest"
    assert page.locator(".cursor.on").count() == 2
    assert page.locator(".cursor").first.get_attribute("x1") == "15"


def test_a_prompt_is_chosen(page: Any) -> None:
    page.select_option("#prompt-a", label="normal ECG")
    assert page.locator("h3").first.inner_text() == "Model: no — “normal ECG”"  # 0.1 is below the score without ECG
    assert "score 0.100" in page.locator(".scores").inner_text()
    pale = round(255 * PALE)
    assert opacities(page) == pytest.approx([pale * v / 6 for v in (0, 0, 2, 6, 6, 0, 1, 4, 1, 0)], abs=1)
    assert "normal ECG" in page.locator("#tables caption").inner_text()


def test_two_prompts_side_by_side_share_a_scale_or_do_not(page: Any) -> None:
    page.select_option("#prompt-b", label="normal ECG")
    left, right = (page.locator(".view").nth(place).bounding_box() for place in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    page.select_option("#scale", "raw")
    page.locator(".trace").first.focus()
    assert "for “atrial fibrillation”; map" in page.locator("#readout").inner_text()
    assert page.locator("#tables table").count() == 2
    page.select_option("#prompt-b", "")
    assert page.locator("#views .view").count() == 1


def test_it_opens_with_the_prompt_that_the_model_says_most_of(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "two.html"
    path.write_text(
        report_html([(explanation("a", score=0.3), {}), (explanation("b"), {}), (explanation("c", score=0.7), {})])
    )
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator("h3").first.inner_text() == "“b”"
    page.close()


def test_one_scale_for_both_is_the_larger(browser: Any, tmp_path: Path) -> None:
    weak = explanation("weak", lead_scores=np.array([0.5, 0.0], np.float32))  # half the gain, so half the evidence
    path = tmp_path / "two.html"
    path.write_text(report_html([(explanation(), {}), (weak, {})]))
    page = browser.new_page()
    page.goto(path.as_uri())
    page.select_option("#prompt-b", label="weak")
    assert max(opacities(page, 1)) == pytest.approx(FULL / 2, abs=1)
    page.uncheck("#shared")
    assert max(opacities(page, 1)) == pytest.approx(FULL, abs=1)
    page.close()


def test_a_method_is_chosen(page: Any) -> None:
    page.select_option("#method-a", label="occlusion")
    assert "method occlusion" in page.locator(".provenance").inner_text()
    page.select_option("#prompt-b", label="atrial fibrillation")
    page.select_option("#method-b", label="grad-cam")
    assert "method grad-cam" in page.locator(".provenance").nth(1).inner_text()


def test_a_recording_is_chosen_and_its_gaps_are_grey(page: Any) -> None:
    options = page.locator("#recording option").all_inner_texts()
    assert options == ["rec, 3 to 4 s", "second, 3 to 4 s"]
    assert page.locator(".missing").count() == 0
    page.select_option("#recording", label="second, 3 to 4 s")
    assert "record second" in page.locator(".scores").inner_text()
    gap = page.locator(".missing")
    assert (gap.get_attribute("x"), gap.get_attribute("width")) == ("16.25", "7.5")


def test_a_lead_is_chosen(page: Any) -> None:
    page.select_option("#lead", "V1")
    assert page.locator(".trace").count() == 1
    assert page.locator(".name b").inner_text() == "V1"
    page.select_option("#lead", "")
    assert page.locator(".trace").count() == 2


def test_the_scale_is_chosen(page: Any) -> None:
    page.select_option("#scale", "lead")
    assert opacities(page, row=1)[8] == pytest.approx(FULL, abs=1)
    assert "share of the lead" in page.locator(".legend").inner_text()
    page.select_option("#scale", "raw")
    assert opacities(page, row=1)[8] == pytest.approx(FULL * 4 / 6, abs=1)


def test_the_threshold_hides_what_is_below_it(page: Any) -> None:
    page.locator("#threshold").fill("50")
    assert page.locator("#threshold-value").inner_text() == "50 %"
    assert opacities(page) == pytest.approx([FULL * v / 6 for v in (0, 0, 4, 0, 0, 6, 6, 0, 0, 0)], abs=1)
    assert "below 50 %" in page.locator("#views .note").inner_text()


def test_the_gradient_is_a_second_curve(page: Any) -> None:
    assert page.locator(".gradient").count() == 0
    page.check("#gradient")
    assert page.locator(".gradient").count() == 2
    assert "0.5 per mV" in page.locator("#views .note").inner_text()


def test_the_width_is_chosen(page: Any) -> None:
    before = page.locator(".trace").first.bounding_box()["width"]
    page.select_option("#zoom", "2")
    assert page.locator(".trace").first.bounding_box()["width"] == pytest.approx(2 * before, rel=0.02)


def test_a_moment_leads_to_its_place(page: Any) -> None:
    page.get_by_role("button", name="Go to 3.20 s in lead I", exact=True).click()
    assert page.locator("#readout").inner_text().startswith("I at 3.200 s")
    assert page.evaluate("document.activeElement.dataset.row") == "0"


def test_a_row_of_the_results_shows_it(page: Any) -> None:
    row = page.locator("#all tbody tr").filter(has_text="second")
    row.get_by_role("button").click()
    assert "record second" in page.locator(".scores").inner_text()
    assert row.get_attribute("data-current") is not None
    assert (
        page.locator("#recording").evaluate("(select) => select.selectedOptions[0].textContent") == "second, 3 to 4 s"
    )


def test_by_keyboard_alone(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for _ in range(3):  # a scrolling region of its own may come first
        if page.evaluate("document.activeElement.getAttribute('role')") == "slider":
            break
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.row") == "0"
    value = "document.activeElement.getAttribute('aria-valuetext')"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(value).startswith("3.100 s, 0.59 mV, map 0.25, 17 %")
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate(value).startswith("3.300 s")
    page.keyboard.press("PageDown")
    assert page.evaluate(value).startswith("3.500 s")
    page.keyboard.press("PageUp")
    assert page.evaluate(value).startswith("3.200 s")
    page.keyboard.press("End")
    assert page.evaluate(value).startswith("3.900 s")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(value).startswith("3.900 s")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.row") == "1"
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-valuenow')") == "3.000"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_everything_has_a_name_for_screen_readers(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll("select, input, button, [role]")].filter((element) => !element.closest("[hidden]")
          && !element.labels?.length && !element.getAttribute("aria-label") && !element.textContent.trim())
          .map((element) => element.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("table").count() == page.locator("table > caption").count()
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("slider", name="Lead I, gain +0.500, rank 1, “atrial fibrillation”").count() == 1


def test_a_prompt_that_is_markup_stays_text(page: Any) -> None:
    page.select_option("#prompt-a", label=HOSTILE)
    assert page.locator("h3").first.inner_text() == f"“{HOSTILE}”"
    assert page.locator("main img:not(.legend img)").count() == 0
    assert "pwned" not in page.title()


def test_the_policy_holds_even_for_a_script_that_got_in(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))"
    )
    assert page.title() != "1"
    blocked = page.evaluate("fetch('https://example.org').then(() => 'went out', () => 'blocked')")
    assert blocked == "blocked"
    page.close()


def test_waves_and_evidence_are_shown_where_there_are_any(page: Any) -> None:
    cells = page.locator("#waves tbody tr").first.locator("td").all_inner_texts()
    assert cells[0] == "25 % 2.0\u202f×"
    assert cells[2] == "–"  # found in fewer than half of the beats
    evidence = page.locator("#evidence tbody tr").locator("td").all_inner_texts()
    assert page.locator("#evidence tbody th").all_inner_texts() == ["deletion"]
    assert evidence == ["zero-mv", "lower", "0.500", "0.125 0.100 to 0.200 ✓ n\u202f=\u202f4"]
    page.select_option("#prompt-a", label="normal ECG")
    assert not page.locator("#waves-section").is_visible()
    assert not page.locator("#evidence-section").is_visible()


def test_dark_where_the_reader_s_screen_is_dark_but_paper_is_paper(page: Any) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert (light, page.evaluate(colour)) == ("rgb(247, 247, 245)", "rgb(20, 23, 27)")
    assert page.evaluate("getComputedStyle(document.querySelector('.paper')).fill") == "rgb(255, 255, 255)"


def test_every_chosen_result_is_printed_with_its_recording_and_prompt(page: Any, tmp_path: Path) -> None:
    for name in ("Print rec, “atrial fibrillation”, grad-cam", "Print second, “atrial fibrillation”, grad-cam"):
        page.get_by_role("checkbox", name=name).check()
    assert page.locator("#print-chosen").inner_text() == "Print 2 chosen"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#controls").is_visible()
    assert not page.locator("#readout").is_visible()
    assert page.get_by_text("Research use only").first.is_visible()
    # The head of a table is repeated on each of its pages.
    heads = page.locator("#print thead:not(table table *) th")
    assert page.locator(".printed > thead th").all_inner_texts() == [
        "rec, 3 to 4 s · “atrial fibrillation” · grad-cam", "second, 3 to 4 s · “atrial fibrillation” · grad-cam",
    ]  # fmt: skip
    assert heads.count() >= 2
    assert page.locator(".printed").first.locator(".trace").count() == 2
    assert page.locator(".printed .trace").first.is_visible()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    pages = page.pdf().count(b"/Type /Page\n")
    assert pages >= 2
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="screen")
    page.locator("#choose-none").click()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".printed").count() == 1  # nothing chosen: what is shown


@pytest.fixture
def phone(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Ten seconds on a phone with touch; traces are 640 px wide."""
    time = np.arange(1000) / 100
    made = explanation(
        time=time, fs=100.0, valid=np.ones((2, 1000), bool), map=np.ones((2, 1000), np.float32),
        signal=np.tile(np.sin(2 * np.pi * time), (2, 1)).astype(np.float32),
        gradient=np.zeros((2, 0), np.float32), gradient_smoothed=np.zeros((2, 0), np.float32),
    )  # fmt: skip
    path = tmp_path / "phone.html"
    path.write_text(report_html([(made, {})]), encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    view = context.new_page()
    view.goto(path.as_uri())
    yield view
    context.close()


@pytest.mark.parametrize("x", [200, 300])
def test_a_tap_reads_the_right_second(phone: Any, x: int) -> None:
    trace = phone.locator(".trace").first
    trace.scroll_into_view_if_needed()
    box = trace.bounding_box()
    assert box["width"] == pytest.approx(640, abs=1)
    phone.touchscreen.tap(box["x"] + x, box["y"] + box["height"] / 2)
    # 10 s and 8 mm of pulse are 258 mm.
    seconds = (x / box["width"] * 258 - 8) / 25
    said = phone.locator("#readout").inner_text()
    assert float(said.split(" at ")[1].split(" s")[0]) == pytest.approx(seconds, abs=0.02)


def test_the_overview_is_sorted_and_filtered(page: Any) -> None:
    rows = page.locator("#all tbody tr")
    assert rows.count() == 5
    assert page.locator('#all th[data-key="difference"]').get_attribute("aria-sort") == "descending"
    assert "normal ECG" in rows.last.inner_text()  # the only one below the score without ECG
    page.get_by_role("button", name="prompt", exact=True).click()
    assert page.locator('#all th[data-key="text"]').get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.textContent").startswith("prompt")
    page.locator("#filter").fill("second fibr")
    assert rows.count() == 1
    assert page.locator("#all caption").inner_text() == "1 of 5 results"
    page.locator("#filter").fill("")
    assert rows.count() == 5


def test_columns_over_strips_and_the_sample_below_the_pointer(browser: Any, tmp_path: Path) -> None:
    leads = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    time = np.arange(1000) / 100
    signal = np.tile(np.sin(2 * np.pi * time), (12, 1)).astype(np.float32)
    made = explanation(
        time=time, fs=100.0, valid=np.ones((12, 1000), bool), map=np.ones((12, 1000), np.float32), signal=signal,
        map_cells=np.ones((12, 3), np.float32), leads=leads, lead_scores=np.linspace(0.3, 0.8, 12).astype(np.float32),
        mask_shift=np.zeros(12, np.float32), gradient=np.zeros((12, 0), np.float32),
        gradient_smoothed=np.zeros((12, 0), np.float32),
    )  # fmt: skip
    path = tmp_path / "clinical.html"
    path.write_text(report_html([(made, {})]), encoding="utf-8")
    view = browser.new_page(viewport={"width": 1280, "height": 900})
    view.goto(path.as_uri())
    view.select_option("#view", "3x4")
    names = view.locator(".name b").all_inner_texts()
    assert names == ["I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II", "V6"]
    trace = view.locator('.trace[data-row="9"]')  # V4: 7.5 to 10 s
    box = trace.bounding_box()
    trace.hover(position={"x": box["width"] / 2, "y": 20})
    assert view.locator("#readout").inner_text().startswith("V4 at 8.75")
    view.close()


def test_side_by_side_rows_stand_at_one_height(page: Any) -> None:
    page.select_option("#prompt-b", label=HOSTILE)
    left, right = (page.locator(f'.view[data-place="{place}"] .trace').first.bounding_box() for place in (0, 1))
    assert left["y"] == pytest.approx(right["y"], abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, report: Path, scheme: str) -> None:
    """axe-core, all its rules; the report's policy would keep it out."""
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(bypass_csp=True, color_scheme=scheme)
    view = context.new_page()
    view.goto(report.as_uri())
    view.select_option("#prompt-b", label="normal ECG")
    found = Axe().run(view).response["violations"]
    context.close()
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []


def test_a_narrow_screen_scrolls_the_paper_and_not_the_page(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('.paper-scroll').scrollWidth") >= 640
