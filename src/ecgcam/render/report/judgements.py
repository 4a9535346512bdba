"""Evidence for and against the maps, as ``ecgcam evaluate --out DIR`` leaves it in ``DIR/evidence.jsonl``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.files import is_special, one_line, parse_json

FILES = ("evidence.jsonl", "evidence.json")  # one row per line; or one array of the same rows
_MOST = 1e300  # no measure is larger; NaN and a number of 400 digits are none
_TEXTS = ("text", "method", "mask", "metric", "direction")
_NUMBERS = ("mean", "low", "high", "chance", "n")


def read_judgements(places: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the rows of every file of `FILES` in these folders (a file may be named too).

    A row is {text, method, mask, metric, direction, mean, low, high, chance, n}; other keys are left out.

    Raises
    ------
    EcgcamError
        If a row is not one.
    """
    rows: list[dict[str, Any]] = []
    for place in dict.fromkeys(places):
        found = [place / name for name in FILES] if place.is_dir() else [place]
        for path in found:
            if path.is_file():
                rows += _read(path)
            elif is_special(path):
                raise EcgcamError(
                    f"{path}: is a pipe or a device; name the file or folder that ecgcam evaluate --out wrote"
                )
    return rows


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_text(encoding="utf-8")
        lines = content.removesuffix("\n").split("\n") if content else []  # a prompt may hold what else ends lines
        rows = parse_json(content) if path.suffix == ".json" else [parse_json(line) for line in lines]
    except (OSError, ValueError) as error:
        raise EcgcamError(
            f"{path}: not the rows that ecgcam evaluate writes ({one_line(error)}); move it away"
        ) from error
    if not isinstance(rows, list):
        raise EcgcamError(f"{path}: not the rows that ecgcam evaluate writes; move it away")
    return [_row(row, f"{path}: row {number}") for number, row in enumerate(rows, start=1)]


def _row(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in _TEXTS):
        raise EcgcamError(f"{where}: not a row of ecgcam evaluate; it has {', '.join(_TEXTS + _NUMBERS)}")
    for key in _NUMBERS:
        value = row.get(key)
        if not isinstance(value, int | float | None) or isinstance(value, bool) or not abs(value or 0) <= _MOST:
            raise EcgcamError(f"{where}: its {key} is not a number; ecgcam evaluate --out writes the file again")
    return {key: row.get(key) for key in _TEXTS + _NUMBERS}
