"""The maps laid on a scanned page, half transparent: the paper's own trace stays visible."""

from __future__ import annotations

import logging
import struct
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, is_special, writing
from ecgcam.records import CANONICAL_LEADS
from ecgcam.render import paper, wording
from ecgcam.render.boxes import Box, PageBoxes
from ecgcam.render.colour import NEGATIVE, POSITIVE, STRONGEST, Colours, average_between, colours
from ecgcam.render.fonts import draw_text
from ecgcam.results.explanation import Explanation

_STRENGTH = 0.55  # of the colour at the top of the scale on white paper
_ON_TINTED = 1.2  # more, for each unit of the paper's saturation: a hue sinks into pink paper
_MOST_STRENGTH = 0.8
# Pixels of the smallest page whose words can be drawn.
_LEAST = (300, 200)
_FOOTER, _WARNING = 0.05, 0.02  # of the page's height, for the words below it, and for warnings
_BLANK = 200  # what is brighter everywhere is a margin
_KINDS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pdf")
# What Pillow lets through where a picture is damaged.
_DAMAGED = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError, MemoryError, RuntimeError, struct.error,
    AttributeError, Image.DecompressionBombError,
)  # fmt: skip
Pixels = npt.NDArray[np.float32]

log = logging.getLogger("ecgcam")


def onto_scan(explanation: Explanation, scan: Image.Image, page: PageBoxes, *, scale: str | None = None) -> Image.Image:
    """Return the scan with each lead's map over its box.

    Colours multiply what is on the paper, so black ink stays black and nothing outside the boxes changes; on tinted paper they
    are stronger. The words that every picture carries stand in the page's lower margin, if that is blank; else the page grows
    by them. The colour bar there has the colour of the paper.

    Parameters
    ----------
    explanation : Explanation
        What to draw.
    scan : PIL.Image.Image
        The page, upright.
    page : PageBoxes
        Where its leads lie.
    scale : {"evidence", "lead", "raw"}, optional
        See `Explanation.scaled_map`; by default ``evidence``, or ``raw`` for methods without cells.

    Raises
    ------
    EcgcamError
        If no box is of a lead that the explanation has, or there is no such scale.
    """
    if not any(box.lead in explanation.leads for box in page.boxes):
        raise EcgcamError(
            f"{page.name}: none of its boxes is of a lead that was explained ({', '.join(explanation.leads)}); choose others"
        )
    _note_doubts(explanation, scan, page)
    palette = colours(explanation, scale)
    pixels: Pixels = np.asarray(scan.convert("RGB"), np.float32) / np.float32(255)
    paper_colour = _paper_colour(pixels, page)
    strength = _strength(paper_colour) * palette.strongest / STRONGEST
    for box in page.boxes:
        if box.lead in explanation.leads and palette.vmax > 0:
            _tint(pixels, explanation, palette, box, strength)
    picture = Image.fromarray(np.round(pixels * 255).astype(np.uint8))
    return _with_words(picture, explanation, palette, paper_colour, strength)


def _paper_colour(pixels: Pixels, page: PageBoxes) -> Pixels:
    """Return the median colour (3,) of the paper in the boxes."""
    height, width = pixels.shape[:2]
    parts = [
        pixels[
            int(box.top * height) : max(int(box.bottom * height), int(box.top * height) + 1) : 4,
            int(box.left * width) : max(int(box.right * width), int(box.left * width) + 1) : 4,
        ].reshape(-1, 3)
        for box in page.boxes
    ]
    colour: Pixels = np.median(np.concatenate(parts), axis=0).astype(np.float32)
    return colour


def _strength(paper_colour: Pixels) -> float:
    """Return the strength of the colour at the top of the scale on this paper."""
    saturation = float(np.ptp(paper_colour)) / max(float(paper_colour.max()), 1e-6)
    return min(_STRENGTH + _ON_TINTED * saturation, _MOST_STRENGTH)


def read_scan(path: Path) -> Image.Image:
    """Read a picture of a page, turned upright as its camera recorded it.

    Raises
    ------
    EcgcamError
        If it is missing, no picture, or too small for a page.
    """
    if is_special(path):
        raise EcgcamError(f"{path}: is a pipe or a device, not a picture; save the scan to a file first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a page at 1200 dpi is large and no bomb; damaged Exif is not a loss
            with Image.open(path) as image:
                scan = ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise EcgcamError(f"{path}: no such picture; check the path") from error
    except _DAMAGED as error:
        raise EcgcamError(f"{path}: cannot be read as a picture; save the scan as PNG, JPEG or TIFF") from error
    if scan.width < _LEAST[0] or scan.height < _LEAST[1]:
        raise EcgcamError(
            f"{path}: {scan.width} by {scan.height} pixels hold no readable page; scan it with {_LEAST[0]} by {_LEAST[1]} or more"
        )
    return scan


def save_scan(picture: Image.Image, path: Path, dpi: tuple[float, float] | None = None) -> None:
    """Write the picture (.png, .jpg, .tif or .pdf), whole or not at all.

    Raises
    ------
    EcgcamError
        If the suffix is none of these, or the file cannot be written.
    """
    check_kind(path)
    kind = Image.registered_extensions()[path.suffix.lower()]
    resolution = {} if dpi is None else {"dpi": dpi}
    with writing(path), atomic(path) as temporary:
        picture.save(temporary, format=kind, **({"quality": 92} if kind == "JPEG" else {}), **resolution)


def check_kind(path: Path) -> None:
    """Raise `EcgcamError` unless `path` has the suffix of a picture."""
    if path.suffix.lower() not in _KINDS:
        raise EcgcamError(f"{path}: no such kind of picture; choose from {', '.join(_KINDS)}")


def _note_doubts(explanation: Explanation, scan: Image.Image, page: PageBoxes) -> None:
    """Log what may make the picture misleading."""
    if not 0.97 < scan.width / scan.height / page.aspect < 1.03:
        log.warning(
            "the picture is %d by %d, the boxes of %s are for pages %.3g times as wide as high: check that they lie on the leads",
            scan.width, scan.height, page.name, page.aspect,
        )  # fmt: skip
    placed = {box.lead for box in page.boxes}
    if missing := [lead for lead in explanation.leads if lead not in placed]:
        log.warning("%s has no box for %s", page.name, ", ".join(missing))
    if absent := [lead for lead in CANONICAL_LEADS if lead in placed - set(explanation.leads)]:
        log.warning("leads on the page that were not explained: %s", ", ".join(absent))


def _tint(pixels: Pixels, explanation: Explanation, palette: Colours, box: Box, strength: float) -> None:
    """Multiply a box of the page (H, W, 3) by its lead's colours, in place."""
    height, width = pixels.shape[:2]
    left, right, top, bottom = box.left * width, box.right * width, box.top * height, box.bottom * height
    first, last = round(left), max(round(right), round(left) + 1)
    rows = slice(round(top), max(round(bottom), round(top) + 1))
    seconds = box.seconds or max(len(explanation.time) / explanation.fs - box.start, 0.0)
    # The box begins at its first sample, whose own time reaches half a step to either side.
    times = box.start + (np.arange(first, last + 1) - left) / (right - left) * seconds
    values = average_between(palette.values[explanation.leads.index(box.lead)], times * explanation.fs)
    pixels[rows, first:last] *= _multiplier(values, palette.vmax, strength)


def _multiplier(values: npt.NDArray[np.float64], vmax: float, strength: float) -> Pixels:
    """Return what the paper's colour is multiplied by, (N, 3), where the map has these values (N,)."""
    opacity = (strength * np.clip(np.abs(values) / vmax, 0, 1)).astype(np.float32)[:, None]
    colour = np.where((values < 0)[:, None], NEGATIVE, POSITIVE).astype(np.float32)
    multiplier: Pixels = 1 - opacity * (1 - colour)
    return multiplier


def _with_words(
    picture: Image.Image, explanation: Explanation, palette: Colours, paper_colour: Pixels, strength: float
) -> Image.Image:
    """Return the picture with what was asked, the answer and the colour bar, in its blank lower margin or below it."""
    width, height = picture.size
    room = round((_FOOTER + (_WARNING if wording.warnings(explanation) else 0.0)) * height)
    margin = np.asarray(picture.convert("L"))[height - room :]
    words = _words(width, room, explanation, palette, (paper_colour, strength))
    if margin.min() >= _BLANK:
        picture.paste(words, (0, height - room))
        return picture
    grown = Image.new("RGB", (width, height + room), "white")
    grown.paste(picture, (0, 0))
    grown.paste(words, (0, height))
    return grown


def _words(
    width: int, height: int, explanation: Explanation, palette: Colours, bar_colours: tuple[Pixels, float]
) -> Image.Image:
    """Draw the words on `width` by `height` pixels: a layout of 250 mm, whatever the resolution."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    whole = 250.0
    tall = whole * height / width
    dpi = width / whole * paper.MM_PER_INCH
    figure = paper.blank_figure(whole, tall, dpi)
    bar, side = 46.0, 10.0
    room = (whole - bar - 3 * side) / paper.MM_PER_INCH
    lines = [
        (f"{wording.headline(explanation)}  ·  {wording.outcome(explanation)}", paper.INK),
        (f"{paper.RESEARCH}  ·  {wording.provenance(explanation)}", paper.SOFT_INK),
    ]
    if found := wording.warnings(explanation):
        lines.insert(1, ("  ·  ".join(found), paper.NOTE_INK))
    size = min(6.4, tall * 1.4 / len(lines))
    for place, (line, ink) in enumerate(lines):
        y = 1 - (place + 0.7) / (len(lines) + 0.4)
        draw_text(figure, side / whole, y, line, size=size, width=room, color=ink, va="center")
    axes = paper.axes_at(figure, whole - bar - side, tall * 0.45, bar, tall * 0.22)
    paper.draw_colour_bar(axes, palette, horizontal=True, room=bar)
    if palette.vmax > 0 and not palette.blank:
        values = np.linspace(-palette.vmax if palette.signed else 0.0, palette.vmax, 256)
        paper_colour, strength = bar_colours
        axes.images[0].set_data((paper_colour * _multiplier(values, palette.vmax, strength))[None])
    for text in axes.texts:
        text.set_fontsize(size * 0.9)
    axes.tick_params(labelsize=size * 0.9)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))  # type: ignore[no-untyped-call]
    return drawn if drawn.size == (width, height) else drawn.resize((width, height))
