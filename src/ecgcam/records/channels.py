"""Channels as files hold them, each with a name, a unit and a rate of its own, and the record they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.records.record import Record, canonical_name, possible_rate
from ecgcam.records.windows import at_rate

# Millivolts per unit of the header. A header without a unit means millivolts (WFDB header(5)).
_MILLIVOLTS = {"mv": 1.0, "": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6}
# Ambulatory recorders' limb leads with the electrodes on the torso: not the limb leads, but the nearest that such a file has.
_MODIFIED = {"mli": "I", "mlii": "II", "mliii": "III"}

# What libraries let through when a file is damaged: they check little and have no exceptions of their own.
DAMAGED = (
    ValueError, TypeError, LookupError, NameError, AttributeError, ArithmeticError, RuntimeError, OSError, EOFError,
    MemoryError, AssertionError,
)  # fmt: skip


class Channel(NamedTuple):
    """One channel of a file: its name there, its unit, samples per second, and values in that unit, (N,)."""

    name: str
    unit: str
    fs: float
    samples: npt.NDArray[Any]


def record_from(
    path: Path,
    name: str,
    channels: Sequence[Channel],
    fs: float | None = None,
    lead_names: tuple[str, ...] | None = None,
    *,
    state_units: bool = True,
    part: bool = False,
) -> Record:
    """Build a record from channels: volts become millivolts, leads of several rates get the fastest one's.

    `fs` and `lead_names` are what the user gave; `state_units` notes a conversion; a `part` may have no known sample.

    Raises
    ------
    EcgcamError
        If no channel is a lead, a lead is no voltage, or a rate cannot be an ECG's.
    """
    channels = [one._replace(name=_plain(one.name), unit=_plain(one.unit)) for one in channels]
    names = names_for(path, [channel.name for channel in channels], lead_names)
    kept, foreign, units = [], [], set()
    for channel, given in zip(channels, names, strict=True):
        scale = millivolts(channel.unit)
        if scale is None and canonical_name(given) is not None:
            raise EcgcamError(
                f"{path}: lead {given[:40]} has the unit {channel.unit[:20]!r}, which is not a voltage; mend the header"
            )
        if scale is None:
            foreign.append(f"{given} ({channel.unit})")
            continue
        if scale != 1.0 and canonical_name(given) is not None:
            units.add(channel.unit.strip())
        kept.append((given, channel.fs, channel.samples, scale))
    if not kept:
        raise EcgcamError(f"{path}: no channel holds a voltage ({', '.join(foreign)}); there is nothing to explain")
    notes = [f"channels left out, not a voltage: {', '.join(foreign)}"] if foreign else []
    if units and state_units:
        notes.append(f"converted to mV: {', '.join(sorted(units))}")
    leads = leads_of([given for given, *_ in kept])
    for lead, (given, *_) in zip(leads, kept, strict=True):
        if lead and canonical_name(given) is None:
            notes.append(f"{given}, with its electrodes on the torso, is taken for {lead}")
    used = [row for row, lead in enumerate(leads) if lead] or list(range(len(kept)))
    fastest = max(kept[row][1] for row in used)
    rows, said = _at_one_rate(path, [kept[row] for row in used], fastest)
    named = dict(zip(used, rows, strict=True))
    result = Record.from_channels(
        name,
        [named.get(row, rows[0]) for row in range(len(kept))],
        rate_for(path, fastest, fs) or 0.0,
        [lead or given for lead, (given, *_) in zip(leads, kept, strict=True)],
        source=str(path),
        part=part,
    )
    return replace(result, notes=(*result.notes, *notes, *said))


def _plain(text: str | None) -> str:
    """Return a name or a unit as one short line without control characters: it may come from a damaged file."""
    return " ".join("".join(c if c.isprintable() else " " for c in text or "").split())[:40]


def _at_one_rate(
    path: Path, rows: Sequence[tuple[str, float, npt.NDArray[Any], float]], fastest: float
) -> tuple[list[npt.NDArray[Any]], list[str]]:
    """Return the rows in mV at the fastest rate and of one length, and notes of what that took."""
    slower = sorted({rate for _, rate, _, _ in rows if rate != fastest})
    if slower and not all(possible_rate(rate) for rate in (*slower, fastest)):
        stated = ", ".join(f"{name} {rate:g}" for name, rate, _, _ in rows)
        raise EcgcamError(f"{path}: sampling rates that no ECG has among its leads ({stated} Hz); mend the header")
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


def leads_of(names: Sequence[str]) -> list[str | None]:
    """Return which lead each channel is, None for those that are none: MLII stands for II where nothing else does."""
    leads = [canonical_name(name) for name in names]
    for row, name in enumerate(names):
        modified = _MODIFIED.get(str(name).strip().lower().removeprefix("ecg ").removeprefix("ekg "))
        if modified and modified not in leads:
            leads[row] = modified
    return leads


def millivolts(unit: str | None) -> float | None:
    """Return how many millivolts a unit is, None if it is no voltage."""
    return _MILLIVOLTS.get((unit or "").strip().lower())


def names_for(path: Path, stated: Sequence[str], given: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names of the file, or those given where the file's own say nothing."""
    if given is None:
        return tuple(stated)
    if len(given) != len(stated):
        raise EcgcamError(f"{path}: {len(given)} lead names for {len(stated)} channels; name every channel")
    known = [canonical_name(name) for name in stated]
    clash = [
        f"{a} is named {b}"
        for a, b, name in zip(stated, given, known, strict=True)
        if name and name != canonical_name(b)
    ]
    if clash:
        raise EcgcamError(f"{path}: --lead-names contradicts the file ({clash[0]}); leave it out")
    return given


def rate_for(path: Path, stated: float | None, given: float | None) -> float | None:
    """The file's rate, or the one given where the file states none that is possible."""
    if given is None:
        return stated
    if stated is None or not possible_rate(stated):
        return given
    if abs(stated - given) > 1e-6 * abs(stated):
        raise EcgcamError(f"{path}: --fs {given:g} contradicts the file, which says {stated:g} Hz; leave it out")
    return stated


class Length(NamedTuple):
    """How long a recording is: rate (Hz), samples that are there, and whether they are as many as its header says."""

    fs: float
    samples: int
    complete: bool

    @property
    def seconds(self) -> float:
        """In seconds."""
        return self.samples / self.fs
