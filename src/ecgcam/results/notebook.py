"""What notebooks show: a small page, the verdict, the check and a table of leads. pandas where a table is asked for."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

from ecgcam.errors import EcgcamError
from ecgcam.results.sentences import verdict_sentence

if TYPE_CHECKING:
    from ecgcam.results.comparison import MapComparison
    from ecgcam.results.explanation import Explanation

_DPI = 70


def pandas() -> Any:
    """Return the module pandas.

    Raises
    ------
    EcgcamError
        If it is not installed.
    """
    try:
        import pandas as module
    except ImportError as error:
        raise EcgcamError("to_dataframe: needs pandas, which is not installed; pip install pandas") from error
    return module


def explanation_html(explanation: Explanation) -> str:
    """Return a figure of the page with the verdict, the check and a table of leads."""
    summary = explanation.summary()
    verdict, check = summary.get("verdict"), summary.get("check")
    lines = [f"<strong>{html.escape(verdict_sentence(summary))}</strong>"]
    if verdict:
        lines.append(html.escape(str(verdict["basis"])))
    if check is not None:
        lines.append(
            f"Without the marked {100 * check['removed']:.0f} % of the signal the score falls by {check['drop']:.3f}; "
            f"without random parts as large by {check['random']:.3f} (sd {check['random_sd']:.3f}, {check['draws']} draws)."
        )
    rows = "".join(
        f"<tr><td>{html.escape(lead['name'])}</td><td>{lead['gain']:+.3f}</td><td>{lead['score']:.3f}</td>"
        f"<td>{', '.join(f'{moment:.2f}' for moment in lead['moments_s'])}</td></tr>"
        for lead in summary["leads"]
    )
    table = (
        "<table><thead><tr><th>lead</th><th>gain</th><th>score alone</th><th>strongest moments (s)</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
    name = f"{explanation.meta['record']}: {explanation.meta['text']}, by {explanation.meta['method']}"
    return (
        f"<figure>{_picture(explanation.plot(), name)}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"
        f"<details><summary>Leads</summary>{table}</details>"
    )


def comparison_html(comparison: MapComparison) -> str:
    """Return the two pages side by side with the rank correlations."""
    words = html.escape(repr(comparison)[1:-1])
    return f"<figure>{_picture(comparison.plot(), repr(comparison))}<figcaption>{words}</figcaption></figure>"


def _picture(figure: Any, name: str) -> str:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=_DPI)
    picture = base64.b64encode(written.getvalue()).decode()
    return f'<img alt="{html.escape(name, quote=True)}" src="data:image/png;base64,{picture}">'
