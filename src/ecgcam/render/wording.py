"""The words on a picture: what was asked, what the model answers, whether the map holds, and how it was made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from ecgcam.records.criteria import all_criteria
from ecgcam.render.colour import ALL_ZERO, Colours, default_scale, denied, lead_values
from ecgcam.render.fonts import readable
from ecgcam.render.paper import recorded
from ecgcam.results.explanation import Explanation
from ecgcam.results.ranks import lead_ranks
from ecgcam.results.sentences import WITHOUT, percent
from ecgcam.results.trace import Trace

NO_GAIN = "this lead alone does not raise the score"
FLAT = "flat or missing"
NO_BEATS = "no beats found"
BARS_TITLE = "Gain: each lead alone, minus no ECG"
_AGAINST = {"mean": "the mean of the vocabulary", "empty": "the empty text"}
_ANSWERS = ("yes", "no", "unclear")


class WithMeta(Protocol):
    """What carries the settings that it was made with: an explanation, a timeline."""

    @property
    def meta(self) -> dict[str, Any]:
        """The settings."""


def prompt(explanation: WithMeta) -> str:
    """Return `quoted_prompt`, with a note where no installed font has its script."""
    said = quoted_prompt(explanation)
    return said if readable(said) else f"{said} (no font for this script; the prompt is in summary.json)"


def quoted_text(explanation: WithMeta) -> str:
    """Return the prompt in quotes."""
    return f"“{explanation.meta['text']}”"


def quoted_prompt(explanation: WithMeta) -> str:
    """Return the prompt in quotes, and its foils: “atrial fibrillation” − “normal ECG”."""
    foils = explanation.meta.get("against") or []
    others = " and ".join(_AGAINST.get(foil, f"“{foil}”") for foil in foils)
    text = quoted_text(explanation)
    return f"{text} − {others}" if foils else text


def headline(explanation: Explanation) -> str:
    """Return the answer and the prompt: Model: yes — “left bundle branch block”; without a verdict the prompt alone.

    A score that is not above the score without ECG is never a yes; without a verdict it is a no.
    """
    verdict = explanation.meta.get("verdict")
    answer = verdict.get("answer") if isinstance(verdict, dict) else None
    if answer not in _ANSWERS:
        answer = "no" if denied(explanation) else None
    said = prompt(explanation)
    return said if answer is None else f"Model: {answer} — {said}"


def outcome(explanation: Explanation) -> str:
    """Return the scores, how the prompt ranks, the time shown and the record."""
    begin, end = recorded(explanation)
    verdict = explanation.meta.get("verdict")
    verdict = verdict if isinstance(verdict, dict) else {}
    name = "difference of scores" if explanation.meta.get("against") else "score"
    parts = [f"{name} {number(explanation.score)}", f"without ECG {number(explanation.empty_score)}"]
    if verdict.get("rank") is not None and verdict.get("of") is not None:
        parts.append(f"rank {verdict['rank']} of {verdict['of']} prompts")
    if verdict.get("percentile") is not None:
        without = WITHOUT if f"recordings{WITHOUT}" in str(verdict.get("basis")) else ""
        parts.append(f"higher than in {percent(float(verdict['percentile']))} of the reference recordings{without}")
    parts.append(f"{round(begin, 1):g} to {round(end, 1):g} s")
    parts.append(f"record {shortened(str(explanation.meta['record']), 60)}")
    return "  ·  ".join(parts)


def basis(explanation: Explanation) -> str:
    """Return what the verdict is based on; empty where it is not stated."""
    verdict = explanation.meta.get("verdict")
    found = str(verdict["basis"]) if isinstance(verdict, dict) and verdict.get("basis") else ""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", found)


def check_result(explanation: Explanation) -> tuple[str, bool] | None:
    """Return the result of the deletion check in one line, and whether it passed; None without one."""
    found = explanation.meta.get("check")
    if not isinstance(found, dict) or found.get("drop") is None:
        return None
    passed = bool(found.get("passed"))
    # `drop` and `random` are positive where the score falls.
    change = signed(-float(found["drop"]))
    line = f"replacing the strongest {100 * float(found['removed']):.0f} % of the map changes the score by {change}"
    if found.get("random") is not None:
        line += f", random parts of this size by {signed(-float(found['random']))}"
        if found.get("random_sd") is not None:
            line += f" ± {float(found['random_sd']):.3f}"
        if found.get("draws"):
            line += f" ({found['draws']} draws)"
    verdict = "Check passed" if passed else "Check failed: do not rely on this map"
    return f"{verdict}: {line}", passed


@dataclass(frozen=True)
class CriterionWords:
    """A criterion as a picture states it: its words, whether it holds, and numbers with their units, "–" where unknown."""

    text: str
    holds: str
    value: str
    density: str
    change: str
    words: str


def criteria_rows(explanation: WithMeta) -> list[CriterionWords]:
    """Return the criteria of the prompt's finding in words; none where they were not measured."""
    found = explanation.meta.get("criteria")
    rows = []
    for each in found if isinstance(found, list) else ():
        value, density, drop, score = (each.get(name) for name in ("value", "density", "drop", "score"))
        rows.append(
            CriterionWords(
                text=_criterion_text(each),
                holds={True: "yes", False: "no"}.get(each.get("holds"), "unknown"),
                value="–" if value is None else _measured(float(value), str(each.get("unit") or "")),
                density="–" if density is None else f"{float(density):.1f} ×",
                change="–" if drop is None else signed(-float(drop)),
                words="–" if score is None else signed(float(score)),
            )
        )
    return rows


def _criterion_text(row: dict[str, Any]) -> str:
    """Return the words of a criterion; its name in plain words where the result does not state it."""
    name = str(row.get("name"))
    known = row.get("text") or next((one.text for one in all_criteria() if one.name == name), None)
    text = str(known or name.partition("/")[2].replace("-", " "))
    return f"{text[:1].upper()}{text[1:]}"


def _measured(value: float, unit: str) -> str:
    unit = {"leads": "lead", "notches": "notch", "beats": "beat"}.get(unit, unit) if value == 1 else unit
    return f"{value:.3g} {unit}".strip().replace("-", "−")


def reasons_sentence(explanation: WithMeta) -> str:
    """Return whether the evidence lies on the criteria that hold, in words; empty where it was not compared."""
    reasons = explanation.meta.get("reasons")
    sentence = str(reasons.get("sentence") or "") if isinstance(reasons, dict) else ""
    return f"{sentence[:1].upper()}{sentence[1:]}"


def criteria_line(explanation: WithMeta) -> str:
    """Return where the evidence lies, and every criterion with what was measured, as running text; empty without criteria."""
    parts = [
        f"{row.text}: {row.holds} ({row.value}{'' if row.density == '–' else f'; map density {row.density} there'})"
        for row in criteria_rows(explanation)
    ]
    return (
        ".  ".join(part for part in (reasons_sentence(explanation), f"Criteria:  {'  ·  '.join(parts)}") if part)
        if parts
        else ""
    )


def warnings(explanation: WithMeta) -> list[str]:
    """Return what a reader should know, one sentence each."""
    return [f"{str(warning)[:1].upper()}{str(warning)[1:]}" for warning in explanation.meta.get("warnings") or []]


def provenance(explanation: WithMeta) -> str:
    """Return the method, mask, layer, model, and how the map's cells lie."""
    meta = explanation.meta
    parts = [f"{key} {meta[key]}" for key in ("model", "method", "layer") if meta.get(key) not in (None, "")]
    if meta.get("mask"):
        parts.append(f"leads replaced by: {meta['mask']}")
    step, width = meta.get("cell_step_ms"), meta.get("cell_width_ms")
    if step is not None:
        parts.append(f"the map has one value every {step:g} ms")
    if width is not None:
        parts.append(f"each from about {width:g} ms of signal")
    return "  ·  ".join(parts)


def rate(explanation: Explanation, trace: Trace | None) -> str:
    """Return the rate at which traces are drawn, and whose it is."""
    if trace is None or len(trace.time) < 2:
        return f"traces at the model's {explanation.fs:g} Hz"
    own = (len(trace.time) - 1) / float(trace.time[-1] - trace.time[0])
    return f"traces at the recording's {own:.4g} Hz"


def about_colour(explanation: Explanation, palette: Colours, importance: str = "") -> str:
    """Return how the colours are to be read; `importance` states where the picture shows how much a lead counts."""
    if palette.blank:
        return f"no colour: {palette.blank}"
    parts = [palette.unit]
    if palette.signed:
        parts.append("blue for, orange against")
    if palette.panels:
        parts.append("one scale for all panels")
    elif palette.shared:
        parts.append("same scale on every page of this model and method")
    elif palette.scale != "lead":
        parts.append("a scale of its own")
    if palette.beyond:
        parts.append("≥: 1 % of the coloured samples lie above")
    if palette.smoothed:
        parts.append("smoothed over 40 ms for display")
    if palette.scale == "evidence":
        parts.append(f"dark = concentrated in a short time{importance and f'; how much a lead counts is {importance}'}")
        if any(float(gain) <= 0 for gain in explanation.gains):
            parts.append("leads that do not raise the score stay blank")
    if palette.scale == "lead":
        parts.append("colours do not compare between leads")
    if denied(explanation):
        verdict = explanation.meta.get("verdict")
        says_no = isinstance(verdict, dict) and verdict.get("answer") == "no"
        parts.append(f"pale: {'the model says no' if says_no else 'the score is not above the score without ECG'}")
    return "  ·  ".join(parts)


def gain(explanation: Explanation, row: int) -> str:
    """Return a lead's gain, and its rank; for methods with one value per lead, that value."""
    by_lead = lead_values(explanation) if default_scale(explanation) == "raw" else None
    if by_lead is None:
        ranks, value = lead_ranks(explanation), f"gain {signed(float(explanation.gains[row]))}"
    else:
        ranks, value = lead_ranks(explanation, *by_lead), f"{explanation.meta['method']} {signed(by_lead[0][row])}"
        if by_lead[1][row] == by_lead[1][row]:
            value += f" ± {by_lead[1][row]:.3f}"
    return value if ranks[row] is None else f"{value}, rank {rank(ranks, row)} of {sum(r is not None for r in ranks)}"


def rank(ranks: list[int | None], row: int) -> str:
    """Return a lead's rank, with "=" where others share it; a dash for a lead without one."""
    mine = ranks[row]
    if mine is None:
        return "–"
    return f"{mine}=" if ranks.count(mine) > 1 else str(mine)


def number(value: float) -> str:
    """Return a score with three decimals and a true minus."""
    return f"{value:.3f}".replace("-", "−")


def signed(value: float) -> str:
    """Return a number with its sign, a true minus included; three decimals, or its order of magnitude where they are all 0.

    Scores are float32: below a millionth there is only rounding.
    """
    if abs(value) < 1e-6:
        return "0.000"
    return (f"{value:+.3f}" if abs(value) >= 0.0005 else f"{value:+.0e}").replace("-", "−")


def shortened(text: str, most: int) -> str:
    """Return `text`, its middle replaced by an ellipsis beyond `most` characters: names of recordings differ at either end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"


def notes(explanation: Explanation, row: int, scale: str) -> str:
    """Return what a reader must know before trusting the colour (or its absence) of one lead."""
    if not explanation.valid[row].any():
        return FLAT
    if scale == "evidence" and float(explanation.gains[row]) <= 0:
        return f"{NO_GAIN}: left blank"
    if not explanation.map[row].any():
        return ALL_ZERO
    return ""
