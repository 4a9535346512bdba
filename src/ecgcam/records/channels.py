"""Channels as files store them, each with its own name, unit and rate, and the record made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.lead_names import leads_of, naming_advice, renaming_note
from ecgcam.records.record import Record, possible_rate
from ecgcam.records.windows import at_rate

# Millivolts per unit, by its lower-case name. The micro sign and the Greek letter mu are different characters.
_MILLIVOLTS = {
    "mv": 1.0, "millivolt": 1.0, "millivolts": 1.0,
    "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "microvolt": 1e-3, "microvolts": 1e-3,
    "v": 1e3, "volt": 1e3, "volts": 1e3, "nv": 1e-6, "nanovolt": 1e-6, "nanovolts": 1e-6,
}  # fmt: skip
# Values of `unit`.
UNITS = ("mV", "uV", "V")

# What libraries let through when a file is damaged: they check little and have no exceptions of their own.
DAMAGED = (
    ValueError, TypeError, LookupError, NameError, AttributeError, ArithmeticError, RuntimeError, OSError, EOFError,
    MemoryError, AssertionError,
)  # fmt: skip


@dataclass(frozen=True)
class ReadOptions:
    """What the caller states about a file.

    Attributes
    ----------
    fs : float, optional
        Sampling rate (Hz), for files that state none.
    lead_names : tuple of str, optional
        Names of all channels in file order; they overrule the file's.
    unit : str, optional
        ``mV``, ``uV`` or ``V``, for files that state none.
    member : str, optional
        Which recording of a file with many: its number from 0, or ``id=ID``.
    """

    fs: float | None = None
    lead_names: tuple[str, ...] | None = None
    unit: str | None = None
    member: str | None = None


class Channel(NamedTuple):
    """One channel of a file: its name there, its unit (None if not stated), samples per second, and values in that unit, (N,)."""

    name: str
    unit: str | None
    fs: float
    samples: npt.NDArray[Any]


class Length(NamedTuple):
    """The length of a recording: rate (Hz), samples in the file, and whether these are as many as the header states."""

    fs: float
    samples: int
    complete: bool

    @property
    def seconds(self) -> float:
        """In seconds."""
        return self.samples / self.fs


def record_from(
    path: Path,
    name: str,
    channels: Sequence[Channel],
    options: ReadOptions | None = None,
    *,
    state_units: bool = True,
    part: bool = False,
) -> Record:
    """Build a record from channels: volts become millivolts, leads of several rates get the fastest one's.

    `state_units` notes a conversion; a `part` may have no known sample.

    Raises
    ------
    EcgcamError
        If no channel is a lead, a lead is not a voltage, or a rate cannot be an ECG's.
    """
    given = options or ReadOptions()
    stated = [plain_text(channel.name) for channel in channels]
    names = names_for(path, stated, given.lead_names)
    leads = leads_of(names)
    notes = [] if given.lead_names is None else [note for note in [renaming_note(stated, names)] if note]
    kept, foreign, converted, unstated, unused, units = [], [], set(), [], set(), set()
    for channel, own, lead in zip(channels, names, leads, strict=True):
        written = channel.unit if channel.unit is None else plain_text(channel.unit)
        unit = written or given.unit or "mV"
        scale = millivolts(unit)
        if scale is None and lead is not None:
            raise EcgcamError(
                f"{path}: lead {own[:40]} has the unit {unit[:20]!r}, which is not a voltage; correct the header"
            )
        if scale is None:
            foreign.append(f"{own} ({unit})")
            continue
        if lead is not None and written and given.unit and scale != millivolts(given.unit):
            unused.add(unit)
        if lead is not None and not written and given.unit is None:
            unstated.append(own)
        if lead is not None:
            units.add(unit)
        if scale != 1.0 and lead is not None:
            converted.add(unit)
        kept.append((own, channel.fs, channel.samples, scale))
    if kept and not any(leads):
        raise EcgcamError(
            f"{path}: none of the channels ({_listed([own for own, *_ in kept])}) is one of the twelve leads; "
            f"{naming_advice(names)}"
        )
    if not kept:
        raise EcgcamError(f"{path}: no channel holds a voltage ({_listed(foreign)}); choose another file")
    if foreign:
        notes.append(f"channels left out, not a voltage: {', '.join(foreign)}")
    if converted and state_units:
        notes.append(f"converted to mV: {', '.join(sorted(converted))}")
    if unstated:
        notes.append(f"no unit in the file, mV assumed: {', '.join(unstated)}; `unit` states another")
    if unused:
        notes.append(f"`unit` {given.unit} is not used, the file states {', '.join(sorted(unused))}")
    named = leads_of([own for own, *_ in kept])
    used = [row for row, lead in enumerate(named) if lead] or list(range(len(kept)))
    fastest = max(kept[row][1] for row in used)
    rows, said = _at_one_rate(path, [kept[row] for row in used], fastest)
    by_row = dict(zip(used, rows, strict=True))
    result = Record.from_channels(
        name,
        [by_row.get(row, rows[0]) for row in range(len(kept))],
        rate_for(path, fastest, given.fs) or 0.0,
        [own for own, *_ in kept],
        source=str(path),
        part=part,
    )
    return replace(result, notes=(*result.notes, *notes, *said), unit=", ".join(sorted(units)))


def _listed(names: Sequence[str]) -> str:
    """Return names as a list that a message has room for."""
    text = ", ".join(name or "unnamed" for name in names)
    return text if len(text) <= 200 else f"{text[:200]}..."


def plain_text(text: str | None) -> str:
    """Return a name or a unit as one short line without control characters: it may come from a damaged file."""
    return " ".join("".join(c if c.isprintable() else " " for c in text or "").split())[:40]


def _at_one_rate(
    path: Path, rows: Sequence[tuple[str, float, npt.NDArray[Any], float]], fastest: float
) -> tuple[list[npt.NDArray[Any]], list[str]]:
    """Return the rows in mV at the fastest rate and of one length, and notes of what that took."""
    slower = sorted({rate for _, rate, _, _ in rows if rate != fastest})
    if slower and not all(possible_rate(rate) for rate in (*slower, fastest)):
        stated = _listed([f"{name} {rate:g}" for name, rate, _, _ in rows])
        raise EcgcamError(
            f"{path}: its leads have sampling rates that are not possible for an ECG ({stated} Hz); correct the header"
        )
    longest = max(
        len(samples) if rate == fastest else round(len(samples) * fastest / rate) for _, rate, samples, _ in rows
    )
    notes, made, short = [], [], []
    if slower:
        changed = ", ".join(f"{name} ({rate:g} Hz)" for name, rate, _, _ in rows if rate != fastest)
        notes.append(f"leads of several rates, resampled to {fastest:g} Hz: {changed}")
    for name, rate, samples, scale in rows:
        if rate == fastest:
            row = samples if scale == 1.0 else samples * scale
        else:
            row = at_rate(samples * scale, rate, fastest, round(len(samples) * fastest / rate))
        if len(row) < longest:
            short.append(name)
            row = np.concatenate([row, np.full(longest - len(row), np.nan)])
        made.append(row)
    if short:
        notes.append(f"leads that end before the others: {', '.join(short)}")
    return made, notes


def millivolts(unit: str | None) -> float | None:
    """Return how many millivolts a unit is, None if it is not a voltage."""
    return _MILLIVOLTS.get((unit or "").strip().lower())


def check_unit(unit: str | None) -> None:
    """Raise `EcgcamError` if `unit`, where given, is not one of `UNITS`."""
    if unit is not None and (not isinstance(unit, str) or millivolts(unit) is None):
        raise EcgcamError(f"`unit` {str(unit)[:20]}: no such unit; choose from {', '.join(UNITS)}")


def names_for(path: Path, stated: Sequence[str], given: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names that the caller gave, else the file's own."""
    if given is None:
        return tuple(stated)
    if len(given) != len(stated):
        raise EcgcamError(
            f"{path}: {len(given)} lead names for {len(stated)} channels ({_listed(stated)}); name every channel"
        )
    return given


def rate_for(path: Path, stated: float | None, given: float | None) -> float | None:
    """Return the file's rate, or the one given where the file states none that is possible."""
    if given is None:
        return stated
    if stated is None or not possible_rate(stated):
        return given
    if abs(stated - given) > 1e-6 * abs(stated):
        raise EcgcamError(f"{path}: `fs` {given:g} contradicts the file, which states {stated:g} Hz; leave it out")
    return stated
