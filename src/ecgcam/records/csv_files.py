"""CSV: columns by lead name, or one column of a watch; commas, semicolons, tabs or blanks between them; decimal commas too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.channels import Channel, ReadOptions, millivolts, names_for, plain_text, rate_for, record_from
from ecgcam.records.lead_names import canonical_name, leads_of
from ecgcam.records.record import Record, possible_rate

# Lines before the samples, at most.
_MOST_HEADER = 200
_NUMBER = r"[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?"
_EMPTY = {"", "nan", "na", "n/a", "#n/a", "null", "none", "-", "?"}
# What a header line may state, as "Sample Rate,512 hertz".
_RATE_KEY = re.compile(
    r"(?:sampl\w*[\s_]*(?:rate|frequency|freq)|sampling|fs|frequency|freq|rate|hz)(?:\s*\(?hz\)?)?", re.IGNORECASE
)
_LEAD_KEY = re.compile(r"leads?|channels?", re.IGNORECASE)
_UNIT_KEY = re.compile(r"units?|amplitude[\s_]*units?", re.IGNORECASE)
# Columns that count or time the samples: the name, and its unit in seconds.
_TIME = re.compile(
    r"(?:time|t|timestamp|elapsed(?:[\s_]*time)?)\s*[\[(_]?\s*(s|sec|seconds?|ms|msec|milliseconds?|us|µs)?\s*[\])]?",
    re.IGNORECASE,
)
_COUNT = re.compile(r"(?:index|sample|samples|n|no|nr|#|unnamed: 0|)\.?", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "us": 1e-6, "µs": 1e-6}
# "I (mV)", "II [uV]", "V1_mV", "V2 mV": a column's name and unit.
_WITH_UNIT = re.compile(r"(.*?)\s*(?:[\[(]\s*([^\])]*?)\s*[\])]|_([mµμu]?v)|\s([mµμu]v))", re.IGNORECASE)


class _Table(NamedTuple):
    """A table's text: its lines of samples, how they are separated, and what is written before them."""

    lines: list[str]
    separator: str | None
    comma: bool
    names: list[str] | None
    stated: dict[str, str]


def is_csv(path: Path, beginning: bytes) -> bool:
    """Whether a file is a table of samples: it names leads or a sampling rate, or holds nothing but numbers."""
    if b"\0" in beginning[:1024] and beginning[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        return False
    text = _text(beginning)
    lines = text.splitlines()
    if len(beginning) >= 4096:
        lines = lines[:-1]  # the last one may be cut
    try:
        table = _table(lines)
    except ValueError:
        return False
    if len(table.lines) < 2:
        return False
    if table.names is not None:
        return any(leads_of([_column(name)[0] for name in table.names]))
    if table.stated:
        return "rate" in table.stated or "lead" in table.stated
    return path.suffix.lower() in {".csv", ".tsv"}


def read_csv(path: Path, options: ReadOptions) -> Record:
    """Read a table of samples, one row a sample.

    Raises
    ------
    EcgcamError
        If it holds no numbers, or does not name its leads.
    """
    content = path.read_bytes()
    if b"\0" in content[:4096] and content[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        raise EcgcamError(f"{path}: not a readable CSV file (it is not text); see `ecgcam docs formats`")
    try:
        table = _table(_text(content).splitlines())
        values = _values(table)
    except ValueError as error:
        raise EcgcamError(f"{path}: not a readable CSV file ({str(error)[:120]}); see `ecgcam docs formats`") from error
    names, units = _columns(path, table, values.shape[1], options)
    rate, used = _rate(path, table, names, values, options)
    if rate is None:
        raise EcgcamError(f"{path}: a table carries no sampling rate; give it with `fs`, in Hz")
    if not used:
        raise EcgcamError(f"{path}: holds no column of samples; choose another file")
    unit = table.stated.get("unit")
    if unit is not None and millivolts(unit) is None:
        if options.unit is None:
            raise EcgcamError(
                f"{path}: states the unit {plain_text(unit)!r}, which is not a voltage; give the true one with `unit`"
            )
        unit = None
    channels = [Channel(names[row], units[row] or unit, rate, values[:, row]) for row in used]
    given = options.lead_names
    if given is not None and len(given) == len(names) != len(used):
        given = tuple(given[row] for row in used)
    return record_from(path, path.stem, channels, replace(options, lead_names=given))


def _text(content: bytes) -> str:
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) - error.start < 4:  # the beginning of a file, cut within a character
            return content[: error.start].decode("utf-8-sig")
        return content.decode("latin-1")


# Layout


def _table(lines: Sequence[str]) -> _Table:
    """Find the samples: the first line of numbers, of which the last line has as many.

    Raises
    ------
    ValueError
        If there is none.
    """
    for at, line in enumerate(lines[:_MOST_HEADER]):
        for separator, comma in _ways(line):
            fields = _split(line, separator)
            count = len(fields)
            if not _are_samples(fields, comma) or (at == 0 and _number_columns(fields)):
                continue
            following = [one for one in lines[at + 1 : at + 4] if one.strip()]
            if not all(_are_numbers(_split(one, separator), comma) for one in following):
                continue
            if not all(len(_split(one, separator)) == count for one in following):
                continue
            before = [one for one in lines[:at] if one.strip()]
            for number, one in enumerate(lines[:at]):
                above = _split(one, separator)
                if len(above) == count and _are_samples(above, comma) and (number or not _number_columns(above)):
                    raise ValueError(f"line {number + 1} holds samples, and one of the next lines something else")
            one_name = bool(before) and "," not in before[-1]
            if before and (comma and separator is None) != (one_name and "," in line and separator in {",", None}):
                continue  # a comma under one name is a decimal comma, under several it separates
            rows = [one for one in lines[at:] if one.strip()]
            if separator is not None and count > 1 and not fields[-1] and _ends(before, separator, count):
                rows, count = [row.rstrip().removesuffix(separator) for row in rows], count - 1
            names, stated = _header(before, separator, count)
            return _Table(rows, separator, comma, names, stated)
    raise ValueError("it holds no rows of numbers")


def _ways(line: str) -> list[tuple[str | None, bool]]:
    """Return the separators that a line may have, and whether its decimals have a comma."""
    for separator in (";", "\t"):
        if separator in line:
            return [(separator, "," in line)]
    if "," in line:
        return [(",", False), (None, True)]
    return [(None, False)]


def _split(line: str, separator: str | None) -> list[str]:
    return [field.strip().strip("\"'").strip() for field in line.split(separator)]


def _ends(before: Sequence[str], separator: str, count: int) -> bool:
    """Whether lines end with a separator, rather than with an empty last column that has a name."""
    names = _split(before[-1], separator) if before else []
    return len(names) != count or not names[-1]


def _are_numbers(fields: Sequence[str], comma: bool) -> bool:
    pattern = _NUMBER if comma else _NUMBER.replace("[.,]", "[.]")
    return bool(fields) and all(field.lower() in _EMPTY or re.fullmatch(pattern, field) for field in fields)


def _are_samples(fields: Sequence[str], comma: bool) -> bool:
    return _are_numbers(fields, comma) and any(field.lower() not in _EMPTY for field in fields)


def _number_columns(fields: Sequence[str]) -> bool:
    """Whether a file's first line numbers the columns, from 0 or 1, as pandas does where they have no names."""
    numbers = fields[1:] if fields and not fields[0] else fields
    return len(fields) > 2 and any(numbers == [str(row + first) for row in range(len(numbers))] for first in (0, 1))


def _header(before: Sequence[str], separator: str | None, count: int) -> tuple[list[str] | None, dict[str, str]]:
    """Return the columns' names, if the last line before the samples holds them, and what other lines state."""
    stated: dict[str, str] = {}
    names = None
    if before:
        last = before[-1].lstrip("#% ")
        fields = [last.strip(' "')] if count == 1 else _split(last, separator)
        if len(fields) == count + 1 and not fields[-1]:
            fields = fields[:-1]
        keyed = len(fields) == 2 and _key(fields[0]) is not None and not leads_of(fields[1:])[0]
        if (
            len(fields) == count
            and not keyed
            and (count > 1 or len(before) == 1 or leads_of([_column(fields[0])[0]])[0])
        ):
            names = fields
    used = int(names is not None)
    above = _split(before[-2].lstrip("#% "), separator) if names is not None and len(before) > 1 else []
    if names is not None and len(above) == count and _are_units(names):
        names, used = [f"{name} ({unit.strip('[]() ')})" for name, unit in zip(above, names, strict=True)], 2
    for line in before[: len(before) - used]:
        found = re.match(r"[#%\s]*\"?([^,;:=\t\"]{1,40})\"?\s*[,;:=\t]\s*\"?([^\"]{1,60}?)\"?[,;\s]*$", line)
        key = _key(found[1].strip()) if found else None
        if found and key and found[2].strip():
            stated.setdefault(key, found[2].strip())
    return names, stated


def _are_units(names: Sequence[str]) -> bool:
    """Whether a line below the names holds the columns' units: voltages, or seconds."""
    units = [name.strip("[]() ").lower() for name in names]
    known = [millivolts(unit) is not None for unit in units]
    return any(known) and all(
        one or unit in _EMPTY or unit in {"s", "ms", *_SECONDS} for one, unit in zip(known, units, strict=True)
    )


def _key(text: str) -> str | None:
    for key, pattern in (("rate", _RATE_KEY), ("lead", _LEAD_KEY), ("unit", _UNIT_KEY)):
        if pattern.fullmatch(text.strip()):
            return key
    return None


def _values(table: _Table) -> npt.NDArray[np.float64]:
    """Return the samples, (rows, columns); NaN where a field is empty."""
    lines = [line.replace(",", ".") for line in table.lines] if table.comma else table.lines
    try:
        values: npt.NDArray[np.float64] = np.loadtxt(lines, delimiter=table.separator, ndmin=2, comments=None)
    except ValueError:
        return _values_with_gaps(lines, table.separator)
    return values


def _values_with_gaps(lines: Sequence[str], separator: str | None) -> npt.NDArray[np.float64]:
    count = len(_split(lines[0], separator))
    rows = []
    for number, line in enumerate(lines):
        fields = _split(line, separator)
        if len(fields) != count:
            raise ValueError(f"row {number + 1} of the samples has {len(fields)} columns, the first {count}")
        rows.append([np.nan if field.lower() in _EMPTY else float(field) for field in fields])
    return np.array(rows)


# What the columns are


def _column(name: str) -> tuple[str, str | None]:
    """Return a column's name and unit."""
    found = _WITH_UNIT.fullmatch(name)
    unit = (found[2] or found[3] or found[4]) if found else None
    if found and unit and millivolts(unit) is not None:
        return found[1].strip(), unit
    return name, None


def _columns(path: Path, table: _Table, count: int, options: ReadOptions) -> tuple[list[str], list[str | None]]:
    """Return the name and the unit of each column."""
    if table.names is not None and len(table.names) == count:
        columns = [_column(name) for name in table.names]
    elif count == 1 and "lead" in table.stated:
        columns = [(table.stated["lead"], None)]
    elif options.lead_names is not None and len(options.lead_names) == count:
        columns = [(f"column {row + 1}", None) for row in range(count)]
    else:
        raise EcgcamError(
            f"{path}: {count} columns without names, and a wrong order makes a plausible, wrong map; name them with "
            f"`lead_names`{' standard' if count == 12 else ', for example I,II,V1'}"
        )
    return [plain_text(name) for name, _ in columns], [unit for _, unit in columns]


def _rate(
    path: Path, table: _Table, names: Sequence[str], values: npt.NDArray[np.float64], options: ReadOptions
) -> tuple[float | None, list[int]]:
    """Return the sampling rate, and which columns hold samples: not those that count or time them."""
    stated = table.stated.get("rate")
    number = re.match(_NUMBER, stated) if stated else None
    rate = float(number[0].replace(",", ".")) if number else None
    if rate is not None and stated and re.search(r"\bkhz", stated, re.IGNORECASE):
        rate *= 1000
    all_given = options.lead_names is not None and len(options.lead_names) == len(names)
    named = names if not all_given else names_for(path, names, options.lead_names)
    used = []
    for row, (name, own) in enumerate(zip(named, names, strict=True)):
        time = _TIME.fullmatch(own)
        counts = bool(_COUNT.fullmatch(own)) or (not own and row == 0)
        if canonical_name(name) is not None or not (time or counts):
            used.append(row)
        elif time and rate is None:
            rate = _rate_of_times(values[:, row], (time[1] or "").lower(), options.fs)
    return rate_for(path, rate, options.fs), used


def _rate_of_times(times: npt.NDArray[np.float64], unit: str, given: float | None) -> float | None:
    """Return the rate of a column of times; None if they are not evenly spaced, or may be numbers of the samples.

    Times are rounded: of the rates that fit them, it is the `given` one or a whole number, if there is one.
    """
    if len(times) < 3 or not np.isfinite(times).all():
        return None
    step = (times[-1] - times[0]) / (len(times) - 1)
    off = np.abs(np.diff(times) - step).max()
    if step <= 0 or off > 0.55 * step:
        return None
    # Without a unit, a step of 0.5 or more is in ms: no ECG has two samples a second. Steps of 1 may count the samples.
    if not unit and (step == 1 or (given is not None and step >= 0.5)):
        return None
    seconds = step * (_SECONDS.get(unit, 1e-3) if unit else 1.0 if step < 0.5 else 1e-3)
    rate = 1 / seconds
    unsure = off / step / (len(times) - 1) + 1e-6
    near = [one for one in (given, float(round(rate))) if one and abs(one * seconds - 1) <= unsure]
    rate = near[0] if near else float(f"{rate:.6g}")
    return rate if possible_rate(rate) else None
