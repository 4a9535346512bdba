"""A caption to paste below a figure: what it shows, how it is to be read, and every setting."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ecgcam._version import __version__
from ecgcam.render import paper, wording
from ecgcam.render.colour import colours
from ecgcam.render.several import common_scale
from ecgcam.results.explanation import Explanation

FILE = "caption.txt"
_ELSEWHERE = {"record", "text", "against", "warnings", "format", "verdict", "check", "criteria", "reasons", "report"}


def caption(explanations: Sequence[Explanation], scale: str | None = None) -> str:
    """Return the caption of a figure of one explanation, or of several with panel letters."""
    several = len(explanations) > 1
    parts = [_panel(one, f"({_letter(number)}) " if several else "") for number, one in enumerate(explanations)]
    first = explanations[0]
    palette = common_scale(explanations, [colours(one, scale) for one in explanations])[0]
    reading = [
        f"Colour: {wording.about_colour(first, palette, 'its bar')}.",
        "Bars: each lead alone, minus no ECG; leads whose values differ by less than 2 % of the largest share a rank; flat or "
        "missing leads have none.",
        "Triangles: strongest moments of the leads that add most.",
        f"{paper.RESEARCH}. ecgcam {__version__}.",
    ]
    settings = [
        f"Settings{f' of ({_letter(number)})' if several else ''}: {_settings(one)}."
        for number, one in enumerate(explanations)
    ]
    return "\n\n".join([*parts, " ".join(reading), *settings]) + "\n"


def _letter(number: int) -> str:
    return chr(ord("a") + number)


def _panel(explanation: Explanation, letter: str) -> str:
    sentences = [f"{letter}{wording.headline(explanation)}. {wording.outcome(explanation)}."]
    if basis := wording.basis(explanation):
        sentences.append(f"The answer is based on {basis}.")
    checked = wording.check_result(explanation)
    if checked is not None:
        sentences.append(f"{checked[0]}.")
    if measured := wording.criteria_line(explanation):
        sentences.append(f"{measured}.")
    sentences += [f"{warning}." for warning in wording.warnings(explanation)]
    return " ".join(sentence.replace("  ", " ") for sentence in sentences)


def _settings(explanation: Explanation) -> str:
    return "; ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted(explanation.meta.items())
        if name not in _ELSEWHERE and value not in (None, {}, [], "")
    )
