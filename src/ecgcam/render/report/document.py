"""The report's HTML: template, style and script made one file, with a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ecgcam._version import __version__
from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, writing
from ecgcam.render.colour import NO_LEAD
from ecgcam.render.paper import RESEARCH
from ecgcam.render.report.payload import encode, palette
from ecgcam.results.explanation import Explanation

MOST = 100  # results in one file, unless asked otherwise: some 200 kB each
_LIGHT = 200  # results beyond which signals and maps are thinned, and gradients left out


def report_html(
    explanations: Iterable[tuple[Explanation, dict[str, Any]]],
    judgements: Sequence[dict[str, Any]] = (),
    *,
    scale: str | None = None,
    left_out: int = 0,
) -> str:
    """Return the report on explanations as one self-contained HTML document.

    It requests nothing from any network and runs no script but its own: a content security policy in it names both by their
    hash. Prompts and names are data, shown as text whatever they hold.

    Parameters
    ----------
    explanations : iterable of (Explanation, dict)
        Each with what its ``summary.json`` holds (may be empty): ``waves`` is shown where it is there. Of more than 200, signals
        and maps are thinned to 100 samples per second and gradients left out: the page states it.
    judgements : sequence of dict
        Rows of `read_judgements`; those on other prompts are left out.
    scale : str, optional
        What the page begins with; by default ``evidence``, or ``raw`` for methods without cells.
    left_out : int
        How many results are not in it, to state it.
    """
    signals: dict[str, Any] = {}
    given = list(explanations)
    light = len(given) > _LIGHT
    results = [encode(explanation, summary, signals, light=light) for explanation, summary in given]
    texts = {result["text"] for result in results}
    content = {
        "version": __version__,
        "research": RESEARCH,
        "palette": palette(),
        "scale": "auto" if scale is None else scale,
        "noLead": NO_LEAD,
        "signals": signals,
        "results": results,
        "evidence": [row for row in judgements if row["text"] in texts],
        "leftOut": left_out,
        "light": light,
    }
    style, script = _asset("report.css"), "".join(map(_asset, ("logic.js", "elements.js", "report.js")))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _asset("template.html")
    for name, value in {"POLICY": policy, "RESEARCH": RESEARCH, "STYLE": style, "SCRIPT": script}.items():
        page = page.replace(f"%{name}%", value)
    # Last, since data may hold anything, names of places in the template too.
    return page.replace("%DATA%", _as_data(content))


def write_report(path: Path, document: str) -> None:
    """Write a report, whole or not at all.

    Raises
    ------
    EcgcamError
        If it cannot be written.
    """
    with writing(path), atomic(path) as temporary:
        temporary.write_text(document, encoding="utf-8")


def _as_data(value: Any) -> str:
    """Return JSON that nothing in HTML can end or open: no less-than sign, no ampersand, no line separator."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise EcgcamError("`results`: a setting is not a finite number; explain the recordings again") from error
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # What UTF-8 cannot hold, half a character of a broken prompt.
    return text.encode("utf-8", "replace").decode("utf-8")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}'"
