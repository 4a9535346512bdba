"""HL7 annotated ECG (aECG, HL7 v3 PORT_MT020001): sequences of digits, each with an origin and a scale."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.channels import Channel, ReadOptions, millivolts, record_from
from ecgcam.records.record import Record

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Parts of one recording lie within a day.
_LONGEST = 86_400.0


def read_aecg(path: Path, root: Element, options: ReadOptions) -> Record:
    """Read the longest series of an annotated ECG.

    Representative beats (derived series) are not read. Leads that were recorded in groups, one after another, keep their
    times, with missing samples elsewhere.

    Raises
    ------
    EcgcamError
        If it holds no waveform, or one that is damaged.
    """
    sets = [
        [_sequence_set(path, one) for one in series.findall("component/sequenceSet")]
        for series in root.findall("component/series")
    ]
    found = [channels for some in sets if (channels := _laid_out(path, [one for one in some if one.channels]))]
    if not found:
        raise EcgcamError(f"{path}: is an HL7 aECG without a waveform; choose another file")
    record = record_from(path, path.stem, max(found, key=_seconds), options)
    if len(found) > 1:
        record = replace(record, notes=(*record.notes, f"the longest of {len(found)} series is read"))
    return record


class _Set(NamedTuple):
    """Leads recorded at the same time, and when they begin (s, from any moment; None where the file does not state it)."""

    begin: float | None
    channels: list[Channel]


def _seconds(channels: Sequence[Channel]) -> float:
    return max(len(channel.samples) / channel.fs for channel in channels)


def _sequence_set(path: Path, one: Element) -> _Set:
    """Return the leads of a sequence set; their times are in a separate sequence."""
    increment, begin, leads = None, None, []
    for sequence in one.findall("component/sequence"):
        code, value = sequence.find("code"), sequence.find("value")
        name = "" if code is None else code.get("code", "")
        if value is None or not name:
            continue
        if name.startswith("TIME_"):
            increment = _quantity(path, value, "increment", "the time between samples", _SECONDS)
            begin = _moment(_child(value, "head"))
        else:
            leads.append((name, value))
    if leads and not increment:
        raise EcgcamError(f"{path}: an HL7 aECG that does not state the time between samples; export it again")
    return _Set(begin, [_channel(path, name, value, 1 / increment) for name, value in leads if increment])


def _laid_out(path: Path, sets: list[_Set]) -> list[Channel]:
    """Return the leads of sets that follow one another, each at its time, missing where it was not recorded."""
    if len(sets) < 2:
        return sets[0].channels if sets else []
    rates = {channel.fs for one in sets for channel in one.channels}
    begins = [one.begin for one in sets if one.begin is not None]
    if len(rates) > 1 or len(begins) < len(sets):
        raise EcgcamError(
            f"{path}: an HL7 aECG in {len(sets)} parts of several rates or unknown times; export each part as a file"
        )
    rate, first = rates.pop(), min(begins)
    if not max(begins) - first <= _LONGEST:
        raise EcgcamError(
            f"{path}: its parts lie {max(begins) - first:g} s apart, so they are not one recording; "
            "export each part as a file"
        )
    places = [round((begin - first) * rate) for begin in begins]
    ends = [at + max(len(c.samples) for c in one.channels) for at, one in zip(places, sets, strict=True)]
    units: dict[str, str | None] = {}
    rows: dict[str, npt.NDArray[np.float64]] = {}
    if max(ends) > _LONGEST * rate:
        raise EcgcamError(
            f"{path}: its parts last {max(ends) / rate:g} s together, so they are not one recording; "
            "export each part as a file"
        )
    for at, one in zip(places, sets, strict=True):
        for channel in one.channels:
            if units.setdefault(channel.name, channel.unit) != channel.unit:
                raise EcgcamError(f"{path}: {channel.name} changes its unit between its parts; export it with one unit")
            row = rows.setdefault(channel.name, np.full(max(ends), np.nan))
            row[at : at + len(channel.samples)] = channel.samples
    return [Channel(name, units[name], rate, row) for name, row in rows.items()]


def _channel(path: Path, name: str, value: Element, rate: float) -> Channel:
    text = value.findtext("digits")
    if text is None:
        raise EcgcamError(f"{path}: {name} has no digits; export it with listed values")
    try:
        digits = np.array(text.split(), np.float64)
    except ValueError as error:
        raise EcgcamError(
            f"{path}: {name} holds values that are not numbers ({one_line(error)}); the file is "
            "damaged, export it again"
        ) from error
    unit = (_child(value, "scale").get("unit") or "").strip()
    scale = _quantity(path, value, "scale", f"the scale of {name}")
    if not scale:
        raise EcgcamError(f"{path}: {name} has a scale of 0, so its voltages are unknown; export it again")
    origin = _quantity(path, value, "origin", f"the origin of {name}") if value.find("origin") is not None else 0.0
    other = (_child(value, "origin").get("unit") or unit).strip()
    if other != unit:  # both are voltages then, or the origin has no meaning
        here, there = millivolts(unit), millivolts(other)
        if here is None or there is None:
            raise EcgcamError(
                f"{path}: {name} mixes the units {unit!r} and {other!r}, so its voltages are unknown; export it again"
            )
        origin *= there / here
    return Channel(name, unit or None, float(f"{rate:.9g}"), origin + scale * digits)


def _child(value: Element, tag: str) -> Element:
    found = value.find(tag)
    return Element(tag) if found is None else found


def _quantity(path: Path, value: Element, tag: str, what: str, units: dict[str, float] | None = None) -> float:
    child = _child(value, tag)
    try:
        number = float(child.get("value", ""))
        factor = 1.0 if units is None else units[(child.get("unit") or "s").strip()]
    except (ValueError, KeyError) as error:
        raise EcgcamError(f"{path}: {what} is not stated as a number; the file is damaged, export it again") from error
    if not np.isfinite(number) or (units is not None and number <= 0):
        raise EcgcamError(f"{path}: {what} is {number:g}; the file is damaged, export it again")
    return number * factor


def _moment(head: Element) -> float | None:
    """Return when a sequence begins, s: an HL7 time stamp (YYYYMMDDHHMMSS.ffff, its zone left away), or a number of seconds."""
    text, unit = head.get("value", "").strip(), (head.get("unit") or "").strip()
    try:
        if unit:
            seconds = float(text) * _SECONDS[unit]
            return seconds if np.isfinite(seconds) else None
        stamp = re.fullmatch(r"(\d{8,14})(\.\d+)?(?:[+-]\d{4})?", text)
        if not stamp:
            return None
        whole = datetime.strptime(stamp[1].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return whole.timestamp() + float(stamp[2] or 0)
    except (ValueError, KeyError):
        return None
