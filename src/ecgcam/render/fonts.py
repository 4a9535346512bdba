"""Text that always fits and always has its glyphs: fonts for any script, wrapping, ellipses.

Prompts come from users: they may be long, Chinese, or hold a dollar sign. Everything written on a picture passes through
`draw_text`, so that nothing overflows and Matplotlib neither parses a formula nor warns about a glyph.
"""

from __future__ import annotations

import contextlib
import logging
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font
from matplotlib.text import Text

LATIN = "DejaVu Sans"  # comes with Matplotlib, so pictures look the same on every machine
# Tried in this order for what the first lacks; then any installed font that has it.
OTHERS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "WenQuanYi Zen Hei",
    "Source Han Sans SC",
    "SimHei",
    "Microsoft YaHei",
    "PingFang SC",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Arial Unicode MS",
)
# First and last character of scripts that the first font lacks, and the font to install for each.
_INSTALL = (
    ("\u0900", "\u097f", "Noto Sans Devanagari (Debian, Ubuntu: fonts-noto-core)"),
    ("\u0e00", "\u0e7f", "Noto Sans Thai (Debian, Ubuntu: fonts-noto-core)"),
    ("\u1100", "\u11ff", "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)"),
    ("\u2e80", "\ua4cf", "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)"),
    ("\uac00", "\ud7af", "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)"),
    ("\uf900", "\uffef", "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)"),
    ("\U00020000", "\U0003ffff", "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)"),
    ("\U0001f000", "\U0001faff", "Symbola (Debian, Ubuntu: fonts-symbola)"),
)
_ANY = "Noto Sans (Debian, Ubuntu: fonts-noto)"
_MISSING = "□"
_BOXES = "Last Resort"  # fonts that draw a box for everything


def draw_text(
    target: Figure | Axes,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    width: float | None = None,
    lines: int = 1,
    **style: Any,
) -> Text:
    """Write `text` at (x, y) in the target's own coordinates (figure fraction, or `transform`), and return the artist.

    Parameters
    ----------
    size : float
        Points.
    width : float, optional
        Inches the text may take; what does not fit in `lines` lines of it ends in an ellipsis.
    style
        Further properties of `matplotlib.text.Text`.
    """
    # A "$" in a prompt is a dollar sign. Families are given as a list of fonts that exist, never by rcParams.
    artist = target.text(x, y, "", fontsize=size, parse_math=False, **style)
    write(artist, text, width=width, lines=lines)
    return artist


def write(artist: Text, text: str, *, width: float | None = None, lines: int = 1) -> None:
    """Give an existing text artist new words, with the fonts they need and cut to `width` inches and `lines` lines."""
    text = clean(text)
    font = _font(text, artist.get_fontproperties())
    artist.set_fontproperties(font)
    artist.set_text(text if width is None else wrap(text, width, lines, font, _dpi(artist)))


def readable(text: str) -> bool:
    """Return whether the installed fonts have most characters of `text`."""
    shown = clean(text)
    return 2 * shown.count(_MISSING) <= len(shown) or text.count(_MISSING) == shown.count(_MISSING)


def line_count(text: str, *, size: float, width: float, lines: int, dpi: float, weight: str = "normal") -> int:
    """Return how many lines of `width` inches `draw_text` would take for `text`, `lines` at most; 0 for no text."""
    text = clean(text)
    font = _font(text, FontProperties(size=size, weight=weight))
    return wrap(text, width, lines, font, dpi).count("\n") + 1 if text else 0


def text_width(text: str, *, size: float, dpi: float, weight: str = "normal") -> float:
    """Return the inches that `draw_text` would take for `text` on one line."""
    text = clean(text)
    return _width(text, _font(text, FontProperties(size=size, weight=weight)), dpi)


def _font(text: str, style: FontProperties) -> FontProperties:
    """Return a style with the fonts that draw `text`."""
    font, families = style.copy(), font_families(text)
    font.set_family(list(families))
    if not all(_has_bold(family) for family in families):
        font.set_weight("normal")  # otherwise Matplotlib prints to stderr that there is none
    return font


def clean(text: str) -> str:
    """Return `text` on one line, without control characters, and with a box for every character no font can draw."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    missing = {c for c in text if not _drawable(LATIN, c)}
    other = _other_font(frozenset(missing)) if missing else None
    lost = {c for c in missing if other is None or not _drawable(other, c)}
    if lost:
        _tell(_to_install(min(lost)))
    return "".join(_MISSING if c in lost else c for c in text)


def font_families(text: str) -> tuple[str, ...]:
    """Return the fonts that draw `text`, in the order in which Matplotlib should try them."""
    missing = frozenset(c for c in text if not _drawable(LATIN, c))
    other = _other_font(missing) if missing else None
    return (LATIN,) if other is None else (LATIN, other)


def wrap(text: str, width: float, lines: int, font: FontProperties, dpi: float) -> str:
    """Return `text` on at most `lines` lines of `width` inches in `font`; what is left over becomes an ellipsis.

    Lines break at spaces where there are any, else (Chinese, long names) between any two characters.
    """
    wrapped: list[str] = []
    rest = text
    while rest and len(wrapped) < lines:
        last = len(wrapped) == lines - 1
        if _width(rest, font, dpi) <= width:
            wrapped.append(rest)
            break
        count = _prefix(rest, width, font, dpi, "…" if last else "")
        space = rest.rfind(" ", 0, count + 1)
        if space > count // 2:
            count = space
        wrapped.append(rest[:count].rstrip() + ("…" if last else ""))
        rest = rest[count:].lstrip()
    return "\n".join(wrapped)


def _prefix(text: str, width: float, font: FontProperties, dpi: float, end: str) -> int:
    """Return how many characters of `text`, followed by `end`, fit in `width` inches (at least one)."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if _width(text[:middle] + end, font, dpi) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _dpi(artist: Text) -> float:
    return float(artist.figure.dpi) if artist.figure is not None else 100.0


@lru_cache(maxsize=4)
def _measure(dpi: float) -> RendererAgg:
    return RendererAgg(1, 1, dpi)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=4096)  # blocks of text are measured before they are drawn, and most pictures have the same words
def _width(text: str, font: FontProperties, dpi: float) -> float:
    """Inches, at the resolution of the picture: hinting rounds every glyph to its pixels."""
    width: float = _measure(dpi).get_text_width_height_descent(text, font, False)[0]  # type: ignore[no-untyped-call]
    return width / dpi


@lru_cache(maxsize=64)
def _other_font(characters: frozenset[str]) -> str | None:
    """Return the font of `OTHERS` that has most of `characters` (the first of equals), else of all installed, if any has one."""
    return _best_font(characters) or (_best_font(characters) if _new_fonts() else None)


@lru_cache(maxsize=1)
def _new_fonts() -> bool:
    """Add fonts to Matplotlib that were installed after it listed them, which it does once; return whether any were."""
    known = {entry.fname for entry in fontManager.ttflist}
    found = [path for path in findSystemFonts() if path not in known]
    for path in found:
        with contextlib.suppress(RuntimeError, OSError):  # a font that FreeType cannot read draws nothing anyway
            fontManager.addfont(path)
    return bool(found)


def _best_font(characters: frozenset[str]) -> str | None:
    installed = {
        entry.name
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in {400, "normal"} and not entry.name.startswith(_BOXES)
    }
    for candidates in ([name for name in OTHERS if name in installed], sorted(installed - {*OTHERS})):
        counts = {name: sum(_drawable(name, c) for c in characters) for name in candidates}
        best = max(counts, key=counts.__getitem__, default=None)
        if best is not None and counts[best]:
            return best
    return None


def _to_install(character: str) -> str:
    return next((font for first, last, font in _INSTALL if first <= character <= last), _ANY)


@lru_cache(maxsize=16)
def _has_bold(family: str) -> bool:
    return any(entry.name == family and entry.weight in {700, "bold"} for entry in fontManager.ttflist)


@lru_cache(maxsize=4096)
def _drawable(family: str, character: str) -> bool:
    return get_font(_file(family)).get_char_index(ord(character)) != 0


@lru_cache(maxsize=16)
def _file(family: str) -> str:
    return str(fontManager.findfont(FontProperties(family=[family])))


@lru_cache(maxsize=8)
def _tell(font: str) -> None:
    logging.getLogger("ecgcam").warning(
        "some characters of the prompt have no glyph in the installed fonts and are drawn as %s; install %s",
        _MISSING,
        font,
    )
