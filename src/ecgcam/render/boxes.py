"""Where the leads lie on a scanned page: box files (TOML), checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.records import CANONICAL_LEADS, canonical_name
from ecgcam.resources import configs


@dataclass(frozen=True)
class Box:
    """The paper under one lead's trace.

    Attributes
    ----------
    lead : str
        A name of the twelve.
    left, top, right, bottom : float
        Fractions of the page's width and height, from its upper left corner.
    start, seconds : float, float or None
        Which part of the explained window the box shows, s from the window's start; None: all that follows.
    """

    lead: str
    left: float
    top: float
    right: float
    bottom: float
    start: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True)
class PageBoxes:
    """The boxes of one kind of page, and the width over the height of the page they were measured on."""

    name: str
    about: str
    aspect: float
    boxes: tuple[Box, ...]


def box_names() -> list[str]:
    """Return the names of the box files that come with ecgcam."""
    return sorted(path.stem for path in (configs() / "boxes").glob("*.toml"))


def load_boxes(name: str) -> PageBoxes:
    """Read a box file by the name it has here, or by its path (``FILE.toml``).

    Raises
    ------
    EcgcamError
        If there is no such file, or it does not state where leads lie.
    """
    path = Path(name) if name.endswith(".toml") else configs() / "boxes" / f"{name}.toml"
    if not path.is_file():
        raise EcgcamError(f"`boxes` {name}: no such boxes; choose from {', '.join(box_names())}, or give a FILE.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EcgcamError(f"{path}: cannot be read ({error.strerror or error}); check `boxes`") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EcgcamError(f"{path}: is not TOML ({error}); see {configs() / 'boxes/two-column.toml'}") from error
    width, height = (_number(table, key, path) for key in ("width", "height"))
    if width <= 0 or height <= 0:
        raise EcgcamError(f"{path}: width and height must be above 0; give the page's size, in pixels or mm")
    entries = table.get("box")
    if not isinstance(entries, list) or not entries:
        raise EcgcamError(f"{path}: has no [[box]]; each lead needs one, with lead, left, top, right and bottom")
    boxes = tuple(_box(entry, path, number) for number, entry in enumerate(entries, 1))
    return PageBoxes(path.stem, str(table.get("about", "")), width / height, boxes)


def _box(entry: Any, path: Path, number: int) -> Box:
    where = f"{path}: box {number}"
    if not isinstance(entry, dict):
        raise EcgcamError(f"{where}: is not a table; write [[box]]")
    known = [field.name for field in fields(Box)]
    if unknown := sorted(set(entry) - set(known)):
        raise EcgcamError(f"{where}: {', '.join(unknown)} is not a key of a box; it has {', '.join(known)}")
    lead = canonical_name(str(entry.get("lead", "")))
    if lead is None:
        raise EcgcamError(f"{where}: lead {entry.get('lead')!r} is unknown; choose from {', '.join(CANONICAL_LEADS)}")
    left, top, right, bottom = (_number(entry, key, where) for key in ("left", "top", "right", "bottom"))
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise EcgcamError(
            f"{where} ({lead}): left < right and top < bottom must be fractions from 0 to 1, "
            f"not {left:g} to {right:g} and {top:g} to {bottom:g}"
        )
    start = _number(entry, "start", where) if "start" in entry else 0.0
    seconds = _number(entry, "seconds", where) if "seconds" in entry else None
    if start < 0 or (seconds is not None and seconds <= 0):
        raise EcgcamError(f"{where} ({lead}): start must be at least 0, and seconds above 0")
    return Box(lead, left, top, right, bottom, start, seconds)


def _number(table: dict[str, Any], key: str, where: object) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise EcgcamError(f"{where}: {key} must be a number; it is {value!r}")
    return float(value)
