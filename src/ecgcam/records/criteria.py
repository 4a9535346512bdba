"""Diagnostic criteria as tables (``configs/criteria/*.toml``), and whether they hold on what was measured. No torch.

A file is a finding; each ``[[criterion]]`` compares a measurement with a threshold, in leads or in the recording as a whole.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ecgcam.errors import EcgcamError
from ecgcam.resources import configs

WAVES = ("P", "PR", "QRS", "ST", "T", "TP", "beat")
COMPARISONS = (">=", ">", "<=", "<", "between", "matches")
_KEYS = {
    "name", "text", "measurement", "compare", "threshold", "unit", "wave", "leads", "at_least", "also", "positive", "negative",
    "source",
}  # fmt: skip


class Measured(Protocol):
    """What criteria are evaluated on: `ecgcam.records.measurements.Measurements`."""

    def value(self, name: str, lead: str | None = None) -> float | str | None:
        """Return a value by name, of a lead where one is named; None where it is unknown."""


@dataclass(frozen=True)
class Condition:
    """A measurement compared with a threshold: two numbers for ``between``, a regular expression for ``matches``."""

    measurement: str
    compare: str
    threshold: float | tuple[float, float] | str

    def holds(self, value: float | str | None) -> bool | None:
        """Return whether it holds for a value; None where there is none."""
        if value is None:
            return None
        if isinstance(self.threshold, str):
            return isinstance(value, str) and re.fullmatch(self.threshold, value) is not None
        if isinstance(value, str):
            return None
        if isinstance(self.threshold, tuple):
            return self.threshold[0] <= value <= self.threshold[1]
        limit = self.threshold
        return {">=": value >= limit, ">": value > limit, "<=": value <= limit, "<": value < limit}[self.compare]


@dataclass(frozen=True)
class Criterion:
    """A criterion of a finding.

    Attributes
    ----------
    name : str
        ``finding/criterion``, both as in the file: ``lbbb/qrs-duration``.
    text : str
        The criterion in words.
    conditions : tuple of Condition
        All must hold, in the same lead where there are leads; the first one gives the reported value.
    leads : tuple of str
        Leads in which it is sought; empty for the recording as a whole.
    at_least : int
        In how many of them it must hold.
    wave : str
        Where in the beat it shows, one of `WAVES`; ``beat`` for all of it.
    shows_in : tuple of str
        Leads in which it shows; `leads`, or all where it is of the recording as a whole.
    unit, source : str
        Of the value; where the criterion is from.
    positive, negative : tuple of str
        Phrases for a criterion that holds, and for one that does not.
    """

    name: str
    text: str
    conditions: tuple[Condition, ...]
    leads: tuple[str, ...]
    at_least: int
    wave: str
    unit: str
    source: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    @property
    def finding(self) -> str:
        """The finding's name, as in the vocabulary."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class CriterionResult:
    """Whether a criterion holds: True, False, or None where it cannot be decided, with the value and its threshold."""

    name: str
    holds: bool | None
    value: float | None
    unit: str
    threshold: float | tuple[float, float]
    compare: str
    leads: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``ecgcam measure --json`` prints."""
        return {
            "holds": self.holds,
            "value": None if self.value is None else round(self.value, 4),
            "unit": self.unit,
            "threshold": list(self.threshold) if isinstance(self.threshold, tuple) else self.threshold,
            "compare": self.compare,
            "leads": list(self.leads),
        }


def evaluate_criteria(criteria: Iterable[Criterion], measured: Measured) -> dict[str, CriterionResult]:
    """Return the result of each criterion, by name."""
    return {criterion.name: evaluate_criterion(criterion, measured) for criterion in criteria}


def evaluate_criterion(criterion: Criterion, measured: Measured) -> CriterionResult:
    """Return whether a criterion holds on what was measured.

    Over leads, the value is that of the lead that decides: with `at_least` 2, the second most extreme. For a pattern, it is the
    number of leads that show it. None holds where too few leads are measured to decide.
    """
    first, places = criterion.conditions[0], criterion.leads or (None,)
    values = {lead: [measured.value(c.measurement, lead) for c in criterion.conditions] for lead in places}
    answers = {
        lead: _all(c.holds(value) for c, value in zip(criterion.conditions, row, strict=True))
        for lead, row in values.items()
    }
    yes, open_ = [lead for lead in places if answers[lead]], [lead for lead in places if answers[lead] is None]
    holds = True if len(yes) >= criterion.at_least else None if len(yes) + len(open_) >= criterion.at_least else False
    shown = tuple(lead for lead in yes if lead is not None)
    if isinstance(first.threshold, str):
        count = None if len(open_) == len(places) else float(len(yes))
        return CriterionResult(criterion.name, holds, count, "leads", float(criterion.at_least), ">=", shown)
    # Leads in which the other conditions hold come first.
    ranked = sorted(
        (
            (answers[lead] is not True, _distance(first, row[0]), float(row[0]))
            for lead, row in values.items()
            if isinstance(row[0], float)
        ),
    )
    value = ranked[min(criterion.at_least, len(ranked)) - 1][2] if ranked else None
    return CriterionResult(criterion.name, holds, value, criterion.unit, first.threshold, first.compare, shown)


def _all(answers: Iterable[bool | None]) -> bool | None:
    """Return False if one is false, else None if one is unknown, else True."""
    known = list(answers)
    return False if False in known else None if None in known else True


def _distance(condition: Condition, value: float) -> float:
    """Return a number that is smaller the more a value meets the condition."""
    if isinstance(condition.threshold, tuple):
        low, high = condition.threshold
        return max(low - value, value - high)
    return value if condition.compare in {"<", "<="} else -value


@cache
def _bundled() -> tuple[Criterion, ...]:
    return tuple(
        criterion for path in sorted((configs() / "criteria").glob("*.toml")) for criterion in read_criteria(path)
    )


def all_criteria() -> tuple[Criterion, ...]:
    """Return the bundled criteria, finding by finding."""
    return _bundled()


def criteria_of(finding: str) -> tuple[Criterion, ...]:
    """Return the criteria of a finding, by its name in the vocabulary or its prompt; empty where it has none."""
    prompts = finding_prompts()
    return tuple(c for c in all_criteria() if finding.casefold() in {c.finding, prompts[c.finding].casefold()})


@cache
def finding_prompts() -> dict[str, str]:
    """Return the prompt of each finding that has criteria, by its name."""
    return {path.stem: str(_table(path)["prompt"]) for path in sorted((configs() / "criteria").glob("*.toml"))}


def read_criteria(path: Path) -> tuple[Criterion, ...]:
    """Read a file of criteria.

    Raises
    ------
    EcgcamError
        If it is not such a file; the message names the criterion and the key.
    """
    table = _table(path)
    rows = table.get("criterion")
    if not isinstance(rows, list) or not rows:
        raise EcgcamError(f"{path}: holds no [[criterion]]; see `ecgcam docs criteria`")
    found = tuple(_criterion(path, row, str(table.get("source", ""))) for row in rows)
    names = [criterion.name for criterion in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise EcgcamError(f"{path}: {min(twice)} is there twice; criteria of a finding have different names")
    return found


def _table(path: Path) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise EcgcamError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EcgcamError(f"{path}: is not TOML ({error}); see `ecgcam docs criteria`") from error
    if not isinstance(table.get("prompt"), str):
        raise EcgcamError(f"{path}: has no `prompt`, the text of the finding; see `ecgcam docs criteria`")
    return table


def _criterion(path: Path, row: Mapping[str, Any], source: str) -> Criterion:
    name = str(row.get("name", "")) or "a criterion without a name"

    def wrong(key: str, what: str) -> EcgcamError:
        return EcgcamError(f"{path}: {name}: {key}: {what}; see `ecgcam docs criteria`")

    if unknown := sorted(set(row) - _KEYS):
        raise wrong(unknown[0], "no such key")
    for key in ("name", "text", "measurement", "compare", "threshold"):
        if key not in row:
            raise wrong(key, "is missing")
    if row.get("wave", "QRS") not in WAVES:
        raise wrong("wave", f"choose one of {', '.join(WAVES)}")
    leads = tuple(row.get("leads", ()))
    at_least = int(row.get("at_least", 1))
    if not 1 <= at_least <= max(1, len(leads)):
        raise wrong("at_least", f"{at_least} of {len(leads)} leads")
    conditions = []
    for part in (row, *row.get("also", ())):
        compare, threshold = part.get("compare"), part.get("threshold")
        if compare not in COMPARISONS:
            raise wrong("compare", f"{compare}: choose one of {', '.join(COMPARISONS)}")
        if compare == "between" and isinstance(threshold, list) and len(threshold) == 2:
            limit: float | tuple[float, float] | str = (float(threshold[0]), float(threshold[1]))
        elif compare == "matches" and isinstance(threshold, str):
            limit = threshold
        elif compare not in {"between", "matches"} and isinstance(threshold, int | float):
            limit = float(threshold)
        else:
            raise wrong("threshold", f"{threshold!r} does not fit {compare}")
        conditions.append(Condition(str(part.get("measurement")), str(compare), limit))
    phrases: dict[str, tuple[str, ...]] = {key: _phrases(row.get(key, ())) for key in ("positive", "negative")}
    return Criterion(
        name=f"{path.stem}/{row['name']}",
        text=str(row["text"]),
        conditions=tuple(conditions),
        leads=leads,
        at_least=at_least,
        wave=str(row.get("wave", "QRS")),
        unit=str(row.get("unit", "")),
        source=str(row.get("source", source)),
        **phrases,
    )


def _phrases(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
