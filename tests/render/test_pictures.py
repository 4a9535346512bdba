"""Pictures of an Explanation, measured on their pixels wherever a reader would measure them."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ecgcam import render
from ecgcam.errors import EcgcamError
from ecgcam.render import fonts
from ecgcam.render.colour import average, colours, shade
from ecgcam.render.lead_strip import LeadDrawing
from ecgcam.render.output import PNG_LEVEL, encode_png
from ecgcam.results.beatwise import wave_table
from ecgcam.results.explanation import Explanation

MM = 6  # pixels per millimetre at the default resolution
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def test_what_is_drawn_once_changes_no_pixel() -> None:
    """Each strip as it is and as a figure drawn whole; flat leads, notes, padding and the gradient's curve among them."""
    made = explanation(leads=LEADS, hot={"I": (900, 1400, 2.0), "V3": (0, 300, 1.0)}, valid_seconds=9.0)
    made.signal[4] = 0
    made.valid[4] = False
    made.signal[7] *= 20
    made = replace(made, gradient_smoothed=np.abs(made.signal), lead_scores=-made.lead_scores)
    drawing = LeadDrawing(made, colours(made, "raw"), render.PictureOptions(dpi=100), gradient=True)
    for row in (*range(12), 3, 4):
        drawing.show(row)
        drawing.figure.canvas.draw()
        kept = np.asarray(drawing.figure.canvas.buffer_rgba()).copy()
        layered = drawing.figure.canvas
        whole = FigureCanvasAgg(drawing.figure)
        whole.draw()
        assert np.array_equal(kept, np.asarray(whole.buffer_rgba())), LEADS[row]
        drawing.figure.set_canvas(layered)


def explanation(
    leads: tuple[str, ...] = ("I", "II"),
    fs: float = 500.0,
    seconds: float = 10.0,
    hot: dict[str, tuple[int, int, float]] | None = None,
    gains: list[float] | None = None,
    valid_seconds: float | None = None,
    start: float = 0.0,
    **meta: Any,
) -> Explanation:
    """An explanation whose map is 0 but for `hot`: lead -> (first sample, one past the last, value)."""
    samples = round(seconds * fs)
    count = len(leads)
    time = start + np.arange(samples) / fs
    signal = np.tile(0.4 * np.sin(2 * np.pi * 1.1 * time), (count, 1)).astype(np.float32)
    valid = np.ones((count, samples), bool)
    if valid_seconds is not None:
        valid[:, round(valid_seconds * fs) :] = False
    signal[~valid] = 0
    maps = np.zeros((count, samples), np.float32)
    for lead, (first, stop, value) in (hot or {}).items():
        maps[leads.index(lead), first:stop] = value
    gain = np.array(gains if gains is not None else [0.2 / (row + 1) for row in range(count)], np.float32)
    settings: dict[str, Any] = {
        "format": "ecgcam-explanation/1", "record": "rec01", "text": "atrial fibrillation", "against": None,
        "method": "grad-cam", "layer": "stage3", "mask": "baseline", "signed": False, "model": "toy",
        "cell_step_ms": 40.0, "cell_width_ms": None, "warnings": [],
    }  # fmt: skip
    nothing = np.zeros((count, 0), np.float32)
    return Explanation(
        map=maps, map_cells=np.zeros((count, 4), np.float32), cell_time=start + np.arange(4.0), gradient=nothing,
        gradient_smoothed=nothing,
        signal=signal, time=time, fs=fs, valid=valid, leads=leads, score=0.4, empty_score=0.1,
        lead_scores=gain + np.float32(0.1), mask_shift=np.zeros(count, np.float32), meta=settings | meta,
    )  # fmt: skip


def pixels(figure: Figure) -> npt.NDArray[np.int64]:
    """The picture as (rows, columns, RGB), with the canvas it came with."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(np.int64)  # type: ignore[attr-defined]


def paper_box(figure: Figure) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of the paper in pixels of the picture."""
    box = figure.axes[0].get_window_extent()
    height = round(figure.bbox.height)
    return round(box.x0), round(box.x1), height - round(box.y1), height - round(box.y0)


def blueness(figure: Figure) -> npt.NDArray[np.int64]:
    """How much more blue than red each column of the paper is, at its median row: colour of the map, not of grid or trace."""
    left, right, top, bottom = paper_box(figure)
    part = pixels(figure)[top:bottom, left:right]
    return np.median(part[..., 2] - part[..., 0], axis=0).astype(np.int64)


def line_places(profile: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where lines lie along a profile of the paper: its local minima of brightness, each at its first pixel."""
    dark = profile < profile.max() - 10
    return np.flatnonzero(dark & ~np.concatenate([[False], dark[:-1]]))


@pytest.mark.parametrize("draw", ["strip", "page"])
def test_grid_has_true_size(draw: str) -> None:
    example = explanation(seconds=10.0)
    figure = render.strip(example, "I") if draw == "strip" else render.page(example)
    for trace in figure.axes[0].lines:
        trace.set_visible(False)
    for artist in (*figure.axes[0].collections, *figure.axes[0].texts):
        artist.set_visible(False)
    left, right, top, bottom = paper_box(figure)
    green = pixels(figure)[..., 1]
    # A row and a column of plain paper between two grid lines, away from the frame.
    across = green[top + 3, left + 3 : right - 3]
    down = green[top + 3 : bottom - 3, left + 3]
    for profile in (across, down):
        lines = line_places(profile)
        assert len(lines) > 20
        assert set(np.diff(lines)) == {MM}  # every millimetre, without drift
        bold = line_places(np.where(profile < profile.max() - 60, 0, 255))
        assert set(np.diff(bold)) == {5 * MM}
    assert figure.dpi == pytest.approx(25.4 * MM)


def test_ten_seconds_and_one_millivolt_at_another_resolution() -> None:
    example = explanation()
    example.signal[:] = 0
    example.signal[0, 2500:] = 1.0  # a step of 1 mV at 5 s
    figure = render.strip(example, "I", options=render.PictureOptions(dpi=200))
    left, right, top, bottom = paper_box(figure)
    assert right - left == pytest.approx(250 / 25.4 * 200, abs=1)
    dark = pixels(figure)[top + 2 : bottom - 2, left:right].sum(axis=2) < 200
    rows_before = np.flatnonzero(dark[:, : (right - left) // 2 - 20].any(axis=1))
    rows_after = np.flatnonzero(dark[:, (right - left) // 2 + 20 :].any(axis=1))
    assert rows_before.mean() - rows_after.mean() == pytest.approx(10 / 25.4 * 200, abs=1)
    assert np.flatnonzero(dark[: -len(dark) // 2].sum(axis=0) > 20).mean() == pytest.approx((right - left) / 2, abs=2)


@pytest.mark.parametrize(("fs", "start"), [(100.0, 0.0), (500.0, 0.0), (500.0, 7.0)])
def test_a_hot_stretch_colours_its_own_time_and_no_other(fs: float, start: float) -> None:
    first, stop = round(3.0 * fs), round(3.4 * fs)
    figure = render.strip(explanation(fs=fs, start=start, hot={"II": (first, stop, 1.0)}), "II")
    blue = np.flatnonzero(blueness(figure) > 60)
    # Sample i reaches from (i - 1/2) / fs to (i + 1/2) / fs.
    assert blue[0] == pytest.approx((first - 0.5) / fs * 25 * MM, abs=1)
    assert blue[-1] + 1 == pytest.approx((stop - 0.5) / fs * 25 * MM, abs=1)
    assert len(blue) == blue[-1] + 1 - blue[0]
    plain = np.delete(blueness(figure), np.arange(blue[0] - 1, blue[-1] + 2))
    assert plain.max() <= 0


def test_a_peak_thinner_than_a_pixel_is_not_lost() -> None:
    for peak in range(2007, 2012):  # between two grid lines
        figure = render.strip(explanation(hot={"I": (peak, peak + 1, 1.0)}), "I")
        column = int(np.argmax(blueness(figure)))
        assert column == pytest.approx(peak / 500 * 25 * MM, abs=1)
        assert blueness(figure)[column] > 10


def test_averaging_keeps_the_integral() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5000))
    values[:, [0, -1]] = 0
    np.testing.assert_allclose(average(values, 1500).mean(axis=1), values.mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(average(np.ones((1, 5000)), 1471), 1.0)


def test_leads_share_one_scale_and_equal_values_get_equal_colours() -> None:
    example = explanation(
        ("I", "II", "V1"),
        hot={"I": (1000, 1500, 1.0), "II": (1000, 1500, 1.0), "V1": (1000, 1500, 1.0)},
        gains=[0.2, 0.2, 0.1],
    )
    strength = {lead: blueness(render.strip(example, lead))[330:420].max() for lead in example.leads}
    assert strength["I"] == strength["II"]
    assert strength["V1"] == pytest.approx(strength["I"] / 2, abs=2)
    palette = colours(example, "evidence")
    assert palette.vmax == pytest.approx(0.2)  # one second wide, of mass 0.2
    page = render.page(example)
    left, _, top, bottom = paper_box(page)
    part = pixels(page)[
        top:bottom, left + 8 * MM + 2 * 25 * MM + 60 + 3
    ]  # a column in the hot stretch, between grid lines
    found = {lead: int((part[:, 2] - part[:, 0]).max()) for lead in ("I",)}
    assert found["I"] == pytest.approx(strength["I"], abs=2)


def test_strength_is_opacity_and_close_to_linear_in_lightness() -> None:
    coloured = shade(np.linspace(0, 1, 11)[None], 1.0)[0]
    assert coloured[0, 3] == 0.0  # plain paper
    blended = 1 - coloured[:, 3:] * (1 - coloured[:, :3])
    linear = np.where(blended <= 0.04045, blended / 12.92, ((blended + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    np.testing.assert_allclose(lightness, np.linspace(lightness[0], lightness[-1], 11), atol=1.5)
    assert lightness[-1] > 45  # a black trace stays readable on the strongest colour


def test_signed_maps_diverge_around_zero() -> None:
    example = explanation(("I",), hot={"I": (1000, 1500, -0.5)}, gains=[0.2], signed=True)
    example.map[0, 3000:3500] = 1.0
    palette = colours(example, "raw")
    assert (palette.vmax, palette.signed) == (1.0, True)
    blue = blueness(render.strip(example, "I", scale="raw"))
    assert blue[2 * 150 + 60] < -40
    assert blue[6 * 150 + 60] > 80
    assert render.strip(example, "I", scale="raw").axes[1].get_ylim() == (-1.0, 1.0)


def test_padding_is_left_out_and_gaps_are_hatched_without_colour() -> None:
    """3 s of 10 are drawn as 3 s; where one lead of two has no signal there is neither colour nor trace."""
    example = explanation(valid_seconds=3.0, hot={"I": (0, 5000, 1.0), "II": (0, 5000, 1.0)})
    example.valid[0, 500:1000] = False  # 1 to 2 s
    figure = render.strip(example, "I")
    left, right, top, bottom = paper_box(figure)
    assert right - left == 3 * 25 * MM
    part = pixels(figure)[top + 3 : bottom - 3, left : right - 3]
    signal, gap = part[:, : 150 - 3], part[:, 150 + 3 : 300 - 3]
    assert np.median(signal[..., 2] - signal[..., 0]) > 60
    assert np.abs(gap[..., 2] - gap[..., 0]).max() <= 4  # grey only: neither colour nor grid
    assert gap.min() > 120  # and no trace
    assert np.ptp(gap[..., 0]) > 30  # hatched


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def test_flat_leads_blank_maps_and_negative_gains_are_said() -> None:
    example = explanation(("I", "II", "V1"), hot={"I": (100, 200, 1.0), "II": (0, 9, 1.0)}, gains=[-0.1, 0.1, 0.05])
    example.valid[1] = False
    example.signal[1] = 0
    assert "this lead alone does not raise the score: left blank" in words(render.strip(example, "I"))
    assert blueness(render.strip(example, "I")).max() <= 0
    assert "flat or missing" in words(render.strip(example, "II"))
    assert "the map is zero everywhere" in words(render.strip(example, "V1"))
    assert words(render.page(example)).count("flat or missing") == 2  # on the paper and in the list


def test_what_stands_on_every_picture() -> None:
    example = explanation(cell_width_ms=310.0)
    for figure in (render.strip(example, "II"), render.page(example)):
        text = words(figure)
        for expected in (
            "atrial fibrillation", "rec01", "0.400", "0.100", "grad-cam", "baseline", "stage3", "toy", "Research use",
            "40 ms", "310 ms", "25 mm/s", "10 mm/mV", "seconds",
        ):  # fmt: skip
            assert expected in text, expected
    assert "II · gain +0.100, rank 2 of 2" in words(render.strip(example, "II"))


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(explanation(hot={"I": (10, 400, 1.0)}), id="two leads"),
        pytest.param(explanation(LEADS, gains=[-0.01 * i for i in range(12)]), id="no gain"),
        pytest.param(explanation(LEADS, fs=100.0, valid_seconds=3.0, hot={"V6": (3, 90, 2.0)}), id="100 Hz, padded"),
        pytest.param(explanation(LEADS, seconds=2.5, start=1.23, record="a" * 300), id="short window"),
        pytest.param(
            explanation(against=["a normal ECG"], signed=True, hot={"I": (10, 400, -1.0)}), id="signed difference"
        ),
        pytest.param(explanation(layer=None, cell_step_ms=None, gains=[0.0, 0.0]), id="nothing known"),
    ],
)
def test_everything_draws_and_nothing_overflows(example: Explanation, tmp_path: Path) -> None:
    drawn = []
    for name, figure in render.pictures(example, waves=wave_table(example)):
        render.save(figure, tmp_path / name)
        drawn.append(name)
        assert_readable(figure)
    assert drawn == [f"lead-{lead}.png" for lead in example.leads] + ["page.png", "beats.png"]
    for table in (None, wave_table(example)):
        figure = render.page(example, layout="3x4", waves=table)
        figure.canvas.draw()
        assert_readable(figure)


@pytest.mark.parametrize("text", ["ST elevation " * 60, "x" * 900, "costs $5 and $6_{a}$ " * 9, "tab\tand\nnewline"])
def test_long_and_odd_prompts_stay_inside(text: str) -> None:
    example = explanation(LEADS, text=text)
    for figure in (render.strip(example, "V1"), render.page(example)):
        figure.canvas.draw()
        assert_readable(figure)
        assert text[:3] in words(figure)


def assert_readable(figure: Figure) -> None:
    """No words leave the picture or lie on others."""
    ticks = [label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]
    shown = [text for text in {*figure.findobj(Text), *ticks} if text.get_visible() and text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    for number, (text, box) in enumerate(boxes):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width, text
        assert box.y1 <= figure.bbox.height, text
        for other, its_box in boxes[number + 1 :]:
            assert not box.padded(-2).overlaps(its_box.padded(-2)), (text, other)


def test_glyphs_without_a_font_are_boxes_and_told_once_with_the_font_to_install(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_other_font", lambda _: None)
    logger = logging.getLogger("ecgcam")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])  # such as a command in another test left there
    fonts._tell.cache_clear()
    with caplog.at_level(logging.WARNING, "ecgcam"):
        for text, shown in (("心房颤动 AF", "“□□□□ AF”"), ("ภาวะ", "“□□□□”")):
            example = explanation(text=text)
            for figure in (render.strip(example, "I"), render.page(example)):
                pixels(figure)  # Matplotlib's own warning would be an error here
                assert shown in words(figure)
    assert [record.name for record in caplog.records] == ["ecgcam"] * 2
    assert "install Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)" in caplog.text
    assert "install Noto Sans Thai" in caplog.text
    fonts._tell.cache_clear()


def test_any_installed_font_is_found(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """U+02EF is in a font that comes with Matplotlib, though not in the first one nor in the list."""
    monkeypatch.setattr(fonts, "OTHERS", ())
    fonts._other_font.cache_clear()
    assert fonts.font_families("\u02ef")[0] == "DejaVu Sans"
    assert len(fonts.font_families("\u02ef")) == 2
    figure = render.page(explanation(text="a \u02ef"))
    pixels(figure)
    assert "“a \u02ef”" in words(figure)
    assert not caplog.records
    fonts._other_font.cache_clear()


def test_a_font_that_was_installed_after_matplotlib_listed_fonts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    character = "\u02ef"
    family = fonts.font_families(character)[1]
    path = fonts._file(family)
    others = [one for one in fonts.fontManager.ttflist if one.name == "DejaVu Sans"]
    monkeypatch.setattr(fonts.fontManager, "ttflist", others)
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [path])
    for cache in (fonts._other_font, fonts._new_fonts):
        cache.cache_clear()
    assert fonts.font_families(character) == ("DejaVu Sans", family)
    for cache in (fonts._other_font, fonts._new_fonts):
        cache.cache_clear()


def test_the_gradient_is_a_thin_curve_on_one_scale_and_only_on_request() -> None:
    example = explanation()
    smoothed = np.zeros((2, 5000), np.float32)
    smoothed[0, 1000], smoothed[1, 2000] = 0.5, 0.25
    object.__setattr__(example, "gradient_smoothed", smoothed)
    assert len(render.strip(example, "I").axes[0].lines) == 1
    heights = []
    for lead in ("I", "II"):
        axes = render.strip(example, lead, gradient=True).axes[0]
        curve = next(line for line in axes.lines if line.get_color() == "#7a1f8a")
        values = np.asarray(curve.get_ydata()) - axes.get_ylim()[0]
        assert int(np.argmax(values)) == (1000 if lead == "I" else 2000)
        heights.append(values.max())
    assert heights[0] == pytest.approx(np.ptp(axes.get_ylim()) / 3)
    assert heights[1] == pytest.approx(heights[0] / 2)
    assert "0.5 per mV" in words(render.strip(example, "I", gradient=True))
    with pytest.raises(EcgcamError, match="has no input gradient"):
        render.strip(explanation(), "I", gradient=True)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_picture_is_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    example = explanation(valid_seconds=9.0, hot={"I": (10, 400, 1.0)})
    for name in ("a", "b"):
        render.save(render.page(example), tmp_path / f"{name}{suffix}")
    first = (tmp_path / f"a{suffix}").read_bytes()
    assert first == (tmp_path / f"b{suffix}").read_bytes()
    assert b"CreationDate" not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


def test_references_of_an_svg_still_lead_somewhere(tmp_path: Path) -> None:
    render.save(render.strip(explanation(valid_seconds=9.0, hot={"I": (10, 400, 1.0)}), "I"), tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    names = re.findall(r'\bid="([^"]+)"', svg)
    assert len(names) == len(set(names))
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    assert references
    assert set(references) <= set(names)


def test_a_shared_figure_draws_what_a_fresh_one_does(tmp_path: Path) -> None:
    example = explanation(("I", "II", "V1"), hot={"I": (9, 99, 1.0), "V1": (900, 999, 1.0)}, gains=[0.1, -0.1, 0.05])
    example.signal[2] = 2.0 * example.signal[2] - 1.0
    example.valid[1, 100:300] = False
    for name, figure in render.pictures(example):
        if name != "page.png":
            fresh = render.strip(example, name.removeprefix("lead-").removesuffix(".png"))
            np.testing.assert_array_equal(pixels(figure), pixels(fresh))


def test_png_states_its_resolution(tmp_path: Path) -> None:
    render.save(render.strip(explanation(), "I"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGB"
        assert image.info["dpi"] == pytest.approx((152.4, 152.4), abs=0.01)


def test_png_holds_the_pixels(tmp_path: Path) -> None:
    """Of any width, sliced or not; Pillow, which reads it, checks every part's checksum."""
    rng = np.random.default_rng(3)
    for width, height in [(1, 1), (7, 5), (300, 41)]:
        drawn = rng.integers(0, 256, (height, width + 2, 4), np.uint8)[:, 1:-1]
        (tmp_path / "a.png").write_bytes(encode_png(drawn, 100))
        with Image.open(tmp_path / "a.png") as image:
            image.verify()
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(image), drawn[..., :3])


def test_png_is_no_larger_than_pillows(tmp_path: Path) -> None:
    render.save(render.strip(explanation(hot={"I": (10, 400, 1.0)}), "I"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "b.png", compress_level=PNG_LEVEL)
    assert (tmp_path / "a.png").stat().st_size <= (tmp_path / "b.png").stat().st_size


def test_errors_name_what_is_allowed(tmp_path: Path) -> None:
    example = explanation()
    with pytest.raises(EcgcamError, match=r"3x3: no such layout; choose from 12x1"):
        render.page(example, layout="3x3")
    with pytest.raises(EcgcamError, match=r"V9: the explanation has no such lead; it has I, II"):
        render.strip(example, "V9")
    with pytest.raises(EcgcamError, match=r"evidence, lead, raw"):
        render.strip(example, "I", scale="jet")
    with pytest.raises(EcgcamError, match=r"\.png, \.pdf, \.svg"):
        render.save(render.strip(example, "I"), tmp_path / "a.bmp")


def test_a_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    example = explanation(hot={"I": (10, 400, 1.0)})

    def drawn(folder: str) -> list[bytes]:
        (tmp_path / folder).mkdir()
        for name, figure in render.pictures(example):
            render.save(figure, tmp_path / folder / name)
        render.save(render.page(example), tmp_path / folder / "page.svg")
        return [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]

    wild = {"axes.facecolor": "red", "text.usetex": True, "font.size": 40, "lines.linewidth": 9, "savefig.dpi": 20,
            "path.simplify": False, "axes.linewidth": 7, "savefig.bbox": "tight", "text.parse_math": True}  # fmt: skip
    plain = drawn("plain")
    with matplotlib.rc_context(wild):
        assert drawn("wild") == plain
        assert matplotlib.rcParams["font.size"] == 40


def test_drawing_imports_neither_torch_nor_pyplot_and_leaves_rcparams_alone(tmp_path: Path) -> None:
    code = f"""
import sys, runpy
import matplotlib
before = dict(matplotlib.rcParams.copy())
helper = runpy.run_path({str(Path(__file__))!r})["explanation"]
from ecgcam import render
for suffix in ("png", "pdf", "svg"):
    render.save(render.page(helper()), {str(tmp_path)!r} + "/page." + suffix)
assert dict(matplotlib.rcParams.copy()) == before
assert "torch" not in sys.modules and "matplotlib.pyplot" not in sys.modules, "imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
