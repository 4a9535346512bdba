"""How pictures are drawn: Matplotlib's delivered settings, and the options that a user may set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

from ecgcam.errors import EcgcamError, no_such

TRUE_SIZE_DPI = 152.4  # six pixels per millimetre: every grid line falls on a pixel, and their spacing is exact
PRINT_DPI = 300.0
FORMATS = ("png", "pdf", "svg")
NARROWEST, WIDEST = 80.0, 2000.0  # mm
_DPI = (30.0, 2400.0)

# Fonts as Type 42 in PDF (publishers reject Type 3), and text as text in SVG.
_OURS: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none"}


@dataclass(frozen=True)
class PictureOptions:
    """File formats, resolution and width of pictures.

    Attributes
    ----------
    formats : tuple of str
        One or more of ``png``, ``pdf``, ``svg``.
    dpi : float, optional
        Pixels per inch; by default six pixels per millimetre at true size, 300 at another width.
    width_mm : float, optional
        Width of pages and strips, which are then laid out again: paper shrinks or grows, text does not. None: true size,
        25 mm/s and 10 mm/mV.
    """

    formats: tuple[str, ...] = ("png",)
    dpi: float | None = None
    width_mm: float | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise no_such(f"`format` {name}", "picture format", name, FORMATS)
        if not self.formats:
            raise EcgcamError(f"`format`: name at least one of {', '.join(FORMATS)}")
        if self.dpi is not None and not _DPI[0] <= self.dpi <= _DPI[1]:
            raise EcgcamError(f"`dpi` {self.dpi:g}: must lie between {_DPI[0]:g} and {_DPI[1]:g}")
        if self.width_mm is not None and not NARROWEST <= self.width_mm <= WIDEST:
            raise EcgcamError(f"`width_mm` {self.width_mm:g}: must lie between {NARROWEST:g} and {WIDEST:g}")

    @property
    def resolution(self) -> float:
        """Pixels per inch."""
        if self.dpi is not None:
            return self.dpi
        return TRUE_SIZE_DPI if self.width_mm is None else PRINT_DPI


@contextmanager
def as_delivered() -> Iterator[None]:
    """Draw with Matplotlib's own settings, and leave the user's as they were; also a decorator."""
    if _unchanged():  # setting them takes longer than drawing a small picture
        yield
        return
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@contextmanager
def for_files() -> Iterator[None]:
    """As `as_delivered`, with fonts that publishers accept and text that can be edited; also a decorator."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_OURS)
        yield


def _unchanged() -> bool:
    now, own = matplotlib.rcParams, matplotlib.rcParamsDefault
    return all(dict.__getitem__(now, key) == value for key, value in dict.items(own) if key != "backend")
