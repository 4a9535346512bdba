"""Figures to files, the same bytes for the same picture."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic
from ecgcam.render.average_beats import draw_beats
from ecgcam.render.colour import colours
from ecgcam.render.full_page import draw_page
from ecgcam.render.lead_strip import LeadDrawing
from ecgcam.render.panels import check_layout
from ecgcam.render.style import PictureOptions, as_delivered, for_files
from ecgcam.results.beatwise import WaveTable
from ecgcam.results.explanation import Explanation
from ecgcam.results.trace import Trace

PNG_LEVEL = 3

# What to leave out so that two runs write the same bytes.
_METADATA: dict[str, dict[str, None]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}


def pictures(
    explanation: Explanation,
    scale: str | None = None,
    layout: str = "3x4",
    *,
    waves: WaveTable | None = None,
    gradient: bool = False,
    skip_names: Container[str] = (),
    options: PictureOptions | None = None,
    trace: Trace | None = None,
    outline: npt.NDArray[np.bool_] | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Yield ``("lead-I.png", figure)`` for every lead, then ``("page.png", figure)``; with `waves` ``beats.png`` too.

    With other formats in `options` each picture is yielded once a format (``page.png``, ``page.pdf``). The strips share one
    figure, whose lead changes with each step: save a picture before asking for the next. Those in `skip_names` are not drawn.
    `trace` and `outline` as in `page`.
    """
    check_layout(layout)
    options = options or PictureOptions()
    palette = colours(explanation, scale)

    def wanted(stem: str) -> list[str]:
        return [name for each in options.formats if (name := f"{stem}.{each}") not in skip_names]

    if strips := [row for row, lead in enumerate(explanation.leads) if wanted(f"lead-{lead}")]:
        drawing = LeadDrawing(explanation, palette, options, gradient=gradient, trace=trace)
        for row in strips:
            drawing.show(row)
            for name in wanted(f"lead-{explanation.leads[row]}"):
                yield name, drawing.figure
    if names := wanted("page"):
        figure = draw_page(explanation, palette, layout, options, waves, trace, outline)
        for name in names:
            yield name, figure
    if waves is not None and (names := wanted("beats")):
        figure = draw_beats(explanation, palette, waves, options)
        for name in names:
            yield name, figure


def save(figure: Figure, path: str | Path, *, title: str = "", description: str = "") -> None:
    """Write `figure` to `path` (.png, .pdf or .svg), whole or not at all, with no time stamp in it.

    Fonts are embedded in a PDF as Type 42; text is text in an SVG. Both carry `title` (SVG also `description`) for readers that
    do not see them.

    Raises
    ------
    EcgcamError
        If the suffix is none of these.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise EcgcamError(f"{path}: no such kind of picture; choose from {', '.join(_METADATA)}")
    with atomic(path) as temporary:
        if suffix == ".png":
            with as_delivered():
                _save_png(figure, temporary)
            return
        metadata: dict[str, str | None] = {**_METADATA[suffix], **({"Title": title} if title else {})}
        with for_files():
            figure.savefig(temporary, format=suffix[1:], dpi=figure.dpi, metadata=metadata)
        if suffix == ".svg":
            svg = _plain_ids(temporary.read_text(encoding="utf-8"))
            temporary.write_text(_described(svg, title, description), encoding="utf-8")


def _save_png(figure: Figure, path: Path) -> None:
    """Write the pixels without Matplotlib's opacity channel: on white paper it carries nothing and costs a fifth of the file."""
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    path.write_bytes(encode_png(np.asarray(canvas.buffer_rgba()), figure.dpi))  # type: ignore[no-untyped-call]


def encode_png(pixels: npt.NDArray[np.uint8], dpi: float) -> bytes:
    """Return pixels (H, W, 3 or more), of which the first three channels are kept, as a PNG file (ISO/IEC 15948:2004).

    Rows are deflated as they are. Pillow and Matplotlib try every row with five filters first, which takes as long again and
    makes pictures of lines and flat colours larger.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # before each row the number of its filter, 0: none
    for channel in range(3):
        rows[:, 1 + channel :: 3] = pixels[..., channel]
    per_metre = round(dpi / 0.0254)
    return b"\x89PNG\r\n\x1a\n" + b"".join([
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),  # 8 bits, colours, not interlaced
        _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
        _chunk(b"IDAT", zlib.compress(rows.data, PNG_LEVEL)),
        _chunk(b"IEND", b""),
    ])  # fmt: skip


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _described(svg: str, title: str, description: str) -> str:
    """Put a title and a description into an SVG, as its first elements."""
    words = [f"<{tag}>{escape(text)}</{tag}>" for tag, text in (("title", title), ("desc", description)) if text]
    if not words:
        return svg
    start = svg.index("<svg")
    head = svg.index(">", start)
    return f'{svg[:head]} role="img"{svg[head : head + 1]}\n {"".join(words)}{svg[head + 1 :]}'


def _plain_ids(svg: str) -> str:
    """Number the identifiers of an SVG in their order: Matplotlib salts them at random unless rcParams, a global, prevents it."""
    salted = r"[A-Za-z0-9_]*[0-9a-f]{10}"
    names: dict[str, str] = {}
    for name in re.findall(rf'\bid="({salted})"', svg):
        names.setdefault(name, f"e{len(names)}")
    return re.sub(rf'((?:\bid="|href="#|url\(#))({salted})(?=["\)])', lambda m: m[1] + names.get(m[2], m[2]), svg)
