"""Maps on a page whose geometry is known: a white sheet with black traces where the boxes say."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.render.test_pictures import LEADS, explanation

from ecgcam import render
from ecgcam.errors import EcgcamError
from ecgcam.render.boxes import box_names, load_boxes
from ecgcam.render.scan import read_scan, save_scan
from ecgcam.resources import configs

WIDTH, HEIGHT = 1754, 1240  # A4 landscape at 150 dpi


def sheet() -> Image.Image:
    """White paper with a black line through the middle of every box of two-column."""
    paper = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for box in load_boxes("two-column").boxes:
        middle = round((box.top + box.bottom) / 2 * HEIGHT)
        paper[middle - 1 : middle + 2, round(box.left * WIDTH) : round(box.right * WIDTH)] = 0
    return Image.fromarray(paper)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """True where a pixel of the page is another, above the words in its lower margin."""
    rows = round(0.94 * HEIGHT)
    return (np.asarray(before)[:rows] != np.asarray(after)[:rows]).any(axis=-1)


@pytest.mark.parametrize("lead", ["I", "aVF", "V1", "V6"])
def test_a_hot_second_colours_its_place_in_its_box_and_nothing_else(lead: str) -> None:
    page = load_boxes("two-column")
    (box,) = (box for box in page.boxes if box.lead == lead)
    scan = sheet()
    picture = render.onto_scan(explanation(LEADS, hot={lead: (2000, 2500, 1.0)}), scan, page)
    assert picture.size == scan.size
    rows, columns = np.nonzero(changed(scan, picture))
    assert rows.min() == pytest.approx(box.top * HEIGHT, abs=1)
    assert rows.max() + 1 == pytest.approx(box.bottom * HEIGHT, abs=1)
    # The window is 10 s long: 4 to 5 s lie at 0.4 to 0.5 of the box.
    width = (box.right - box.left) * WIDTH
    assert columns.min() == pytest.approx(box.left * WIDTH + 0.4 * width, abs=1.5)
    assert columns.max() + 1 == pytest.approx(box.left * WIDTH + 0.5 * width, abs=1.5)


def test_the_papers_own_trace_stays_black_and_the_paper_shows_through() -> None:
    page = load_boxes("two-column")
    scan = sheet()
    picture = np.asarray(render.onto_scan(explanation(LEADS, hot={"I": (0, 5000, 1.0)}), scan, page)).astype(int)
    box = page.boxes[0]
    column = round((box.left + box.right) / 2 * WIDTH)
    inside = picture[round(box.top * HEIGHT) + 2 : round(box.bottom * HEIGHT) - 2, column]
    assert inside.min(axis=0).tolist() == [0, 0, 0]
    brightest = inside.max(axis=0)
    assert brightest[2] > brightest[0] + 60  # blue
    assert brightest[0] == pytest.approx(255 * (1 - 0.55), abs=2)  # where the map is strongest
    # The colour bar's right end has that colour too.
    bar = picture[round(0.95 * HEIGHT) :].reshape(-1, 3)
    assert (np.abs(bar - brightest).max(axis=1) <= 3).any()


def test_on_pink_paper_colours_are_stronger_and_the_bar_has_the_papers_colour() -> None:
    page = load_boxes("two-column")
    pink = np.full((HEIGHT, WIDTH, 3), (252, 214, 205), np.uint8)
    example = explanation(LEADS, hot={"I": (0, 5000, 1.0)})
    picture = np.asarray(render.onto_scan(example, Image.fromarray(pink), page)).astype(float)
    box = page.boxes[0]
    inside = picture[round((box.top + box.bottom) / 2 * HEIGHT), round((box.left + box.right) / 2 * WIDTH)]
    # 0.55 + 1.2 x saturation of (252, 214, 205) is 0.774; blue lets 0, 0.318 and 0.655 of the light through.
    opacity = 0.55 + 1.2 * (252 - 205) / 252
    expected = np.array([252, 214, 205]) * (1 - opacity * (1 - np.array([0.0, 0.318, 0.655])))
    np.testing.assert_allclose(inside, expected, atol=2)
    bar = picture[-round(0.05 * HEIGHT) :].reshape(-1, 3)
    assert (np.abs(bar - expected).max(axis=1) <= 3).any()  # its strongest end
    assert (np.abs(bar - [252, 214, 205]).max(axis=1) <= 3).any()  # and its weakest


def test_warnings_stand_below_the_scan() -> None:
    page = load_boxes("two-column")
    example = explanation(LEADS, hot={"I": (0, 500, 1.0)})
    plain = np.asarray(render.onto_scan(example, sheet(), page))
    warned = np.asarray(
        render.onto_scan(explanation(LEADS, hot={"I": (0, 500, 1.0)}, warnings=["padded"]), sheet(), page)
    )
    rust = (np.abs(warned.astype(int) - [138, 44, 10]).max(axis=2) < 30).any()
    assert rust
    assert not (np.abs(plain.astype(int) - [138, 44, 10]).max(axis=2) < 30).any()


def test_parts_of_the_window_lie_in_their_own_boxes() -> None:
    """On two-column-5s the chest leads show 5 to 10 s: what happens before is not on the paper."""
    page, scan = load_boxes("two-column-5s"), sheet()
    early = render.onto_scan(explanation(LEADS, hot={"V1": (1000, 1500, 1.0)}), scan, page)
    assert not changed(scan, early).any()
    late = render.onto_scan(explanation(LEADS, hot={"V1": (3000, 3500, 1.0)}), scan, page)  # 6 to 7 s
    (box,) = (box for box in page.boxes if box.lead == "V1")
    columns = np.flatnonzero(changed(scan, late).any(axis=0))
    width = (box.right - box.left) * WIDTH
    assert columns.min() == pytest.approx(box.left * WIDTH + 0.2 * width, abs=1.5)
    assert columns.max() + 1 == pytest.approx(box.left * WIDTH + 0.4 * width, abs=1.5)


def test_leads_share_one_scale_and_invalid_samples_have_no_colour() -> None:
    page, scan = load_boxes("two-column"), sheet()
    example = explanation(LEADS, hot={"I": (0, 5000, 1.0), "II": (0, 5000, 1.0)}, valid_seconds=5.0)
    example.map[:, 2500:] = 0
    picture = np.asarray(render.onto_scan(example, scan, page, scale="raw"))
    for box in page.boxes[:2]:
        row = round(box.top * HEIGHT) + 5
        left, right = round(box.left * WIDTH), round(box.right * WIDTH)
        assert picture[row, left + 5].tolist() == picture[round(page.boxes[0].top * HEIGHT) + 5, left + 5].tolist()
        assert picture[row, right - 5].tolist() == [255, 255, 255]


def test_words_stand_in_a_blank_margin_or_below_the_page() -> None:
    page = load_boxes("two-column")
    example = explanation(LEADS, hot={"I": (0, 500, 1.0)})
    scan = sheet()
    picture = np.asarray(render.onto_scan(example, scan, page))
    assert (picture[round(0.95 * HEIGHT) :] < 128).any()
    written = np.asarray(scan).copy()
    written[HEIGHT - 30, 100:300] = 0  # a name at the foot of the page
    grown = np.asarray(render.onto_scan(example, Image.fromarray(written), page))
    assert grown.shape == (HEIGHT + round(0.05 * HEIGHT), WIDTH, 3)
    np.testing.assert_array_equal(grown[HEIGHT - 40 : HEIGHT], written[HEIGHT - 40 :])


def test_what_may_mislead_is_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("ecgcam"), "propagate", True)
    page = load_boxes("two-column")
    with caplog.at_level(logging.WARNING, "ecgcam"):
        render.onto_scan(explanation(("I", "V1"), hot={"I": (0, 9, 1.0)}), Image.new("RGB", (900, 900), "white"), page)
    assert "900 by 900" in caplog.text
    assert "has no box for" not in caplog.text
    fewer = type(page)("fewer", "", page.aspect, tuple(box for box in page.boxes if box.lead != "V1"))
    with caplog.at_level(logging.WARNING, "ecgcam"):
        render.onto_scan(explanation(("I", "V1"), hot={"I": (0, 9, 1.0)}), sheet(), fewer)
    assert "fewer has no box for V1" in caplog.text
    assert "not explained: II, III, aVR, aVL, aVF, V2, V3, V4, V5, V6" in caplog.text


def test_every_box_file_holds_the_twelve_leads() -> None:
    assert box_names() == ["3x4", "two-column", "two-column-5s"]
    for name in box_names():
        page = load_boxes(name)
        assert {box.lead for box in page.boxes} == set(LEADS)
        assert page.aspect == pytest.approx(3508 / 2480)
    columns = {box.lead: box.left for box in load_boxes("two-column").boxes}
    assert max(columns[lead] for lead in LEADS[:6]) < 0.5 < min(columns[lead] for lead in LEADS[6:])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("width = ", "is not TOML"),
        ("width = 1\nheight = 0\n[[box]]", "must be above 0"),
        ("width = 3\nheight = 2\n", "has no [[box]]"),
        ('width = 3\nheight = 2\n[[box]]\nlead = "V9"', "lead 'V9' is unknown; choose from I"),
        ('width = 3\nheight = 2\n[[box]]\nlead = "V1"\nleft = 0.1', "top must be a number"),
        (
            'width = 3\nheight = 2\n[[box]]\nlead = "I"\nleft = 0.5\nright = 0.4\ntop = 0.1\nbottom = 0.2',
            "left < right",
        ),
        ('width = 3\nheight = 2\n[[box]]\nlead = "I"\nwidth = 0.5', "width is not a key of a box"),
        ("width = 3\nheight = 2\nbox = [1]", "box 1: is not a table"),
        (
            'width = 3\nheight = 2\n[[box]]\nlead = "I"\nleft = 0\nright = 1\ntop = 0\nbottom = 1\nstart = -1',
            "start must be at least 0",
        ),
        (
            'width = 3\nheight = 2\n[[box]]\nlead = "I"\nleft = 0\nright = 1\ntop = 0\nbottom = 1\nseconds = 0',
            "and seconds above 0",
        ),
    ],
)
def test_a_wrong_box_file_is_named_with_what_is_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(EcgcamError) as raised:
        load_boxes(str(path))
    assert words in str(raised.value)
    assert str(path) in str(raised.value)


def test_unknown_boxes_and_pages_without_a_common_lead() -> None:
    with pytest.raises(EcgcamError, match="choose from 3x4, two-column, two-column-5s"):
        load_boxes("no-such")
    page = load_boxes("two-column")
    one = type(page)("one", "", page.aspect, tuple(box for box in page.boxes if box.lead == "V3"))
    with pytest.raises(EcgcamError, match="none of its boxes"):
        render.onto_scan(explanation(("I", "II")), sheet(), one)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".pdf"])
def test_scans_are_read_and_written(suffix: str, tmp_path: Path) -> None:
    save_scan(sheet(), tmp_path / f"page{suffix}", (150, 150))
    if suffix != ".pdf":
        again = read_scan(tmp_path / f"page{suffix}")
        assert again.size == (WIDTH, HEIGHT)
    assert [path.name for path in tmp_path.iterdir()] == [f"page{suffix}"]


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    with pytest.raises(EcgcamError, match="no such picture; check the path"):
        read_scan(tmp_path / "none.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(EcgcamError, match=r"pipe\.png: is a pipe or a device"):
        read_scan(tmp_path / "pipe.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(EcgcamError, match="cannot be read as a picture"):
        read_scan(tmp_path / "text.png")
    with pytest.raises(EcgcamError, match=r"no such kind of picture; choose from \.png"):
        save_scan(sheet(), tmp_path / "a.bmp")
    assert (configs() / "boxes/two-column.toml").is_file()


def test_a_thumbnail_is_no_page(tmp_path: Path) -> None:
    """Its words would be smaller than a font can be drawn."""
    Image.new("RGB", (299, 400)).save(tmp_path / "small.png")
    with pytest.raises(
        EcgcamError, match=r"small.png: 299 by 400 pixels hold no readable page; scan it with 300 by 200"
    ):
        read_scan(tmp_path / "small.png")
