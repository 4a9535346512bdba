"""The report of a folder of results, or of explanations in memory: what `ecgcam.report` and `ecgcam report` call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ecgcam.errors import EcgcamError, check_choice
from ecgcam.render.report.document import MOST, report_html, write_report
from ecgcam.render.report.judgements import read_judgements
from ecgcam.results.collection import find_results
from ecgcam.results.explanation import SCALES, Explanation

NAME = "report.html"
OnError = Literal["raise", "skip"] | Callable[[Path, EcgcamError], object]
log = logging.getLogger("ecgcam")


def make_report(
    results: str | Path | Explanation | Sequence[str | Path | Explanation],
    out: str | Path | None = None,
    *,
    scale: str | None = None,
    most: int | None = None,
    evidence: str | Path | None = None,
    on_error: OnError = "raise",
    on_progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write one HTML file about results, with traces to explore, tables, settings and a reading guide; return its path.

    Parameters
    ----------
    results : path, Explanation, or sequence of them
        Folders of results, ``explanation.npz`` files and packs, or explanations.
    out : path, optional
        The file; default ``report.html`` in the first folder of `results`, or in the current one.
    scale : str, optional
        ``"evidence"``, ``"lead"`` or ``"raw"``.
    most : int, optional
        The largest number of results in the file, 100 by default. A note states how many are left out.
    evidence : path, optional
        What `ecgcam.evaluate` wrote; default: ``evidence.jsonl`` or ``evidence.json`` in the folders of `results`.
    on_error : "raise", "skip" or callable
        What happens when a result cannot be read; a callable is called with (file, error), and the result is left out.
    on_progress : callable, optional
        Called with (read, total).

    Raises
    ------
    EcgcamError
        If no result can be read, or the file cannot be written.
    """
    if scale is not None:
        check_choice("scale", scale, SCALES)
    given = [results] if isinstance(results, str | Path | Explanation) else list(results)
    paths = [Path(one) for one in given if not isinstance(one, Explanation)]
    if evidence is not None and not Path(evidence).exists():
        raise EcgcamError(
            f"{evidence}: no such file or folder; `evidence` takes what `ecgcam evaluate --out DIR` wrote"
        )
    judgements = read_judgements(
        [Path(evidence)] if evidence is not None else [path for path in paths if path.is_dir()]
    )
    found: list[Any] = [one for one in given if isinstance(one, Explanation)]
    found += list(find_results(paths)) if paths else []
    if not found:
        raise EcgcamError("`results`: none of them is an explanation; explain a recording first")
    taken = found[: MOST if most is None else most]
    read: list[tuple[Explanation, dict[str, Any]]] = []
    first_error: EcgcamError | None = None
    for number, result in enumerate(taken):
        try:
            one = result if isinstance(result, Explanation) else result.load()
            read.append((one, result.summary()))
        except EcgcamError as error:
            if on_error == "raise":
                raise
            first_error = first_error or error
            if callable(on_error):
                on_error(result.file, error)
        if on_progress is not None:
            on_progress(number + 1, len(taken))
    if not read:
        raise first_error or EcgcamError("`most`: must be at least 1")
    left_out = len(found) - len(taken)
    if left_out:
        what = f"{left_out} result{'s are' if left_out > 1 else ' is'} left out of the report"
        log.info("%s; `most` %d takes all, or name the folders of some", what, len(found))
    if out is None:
        first = paths[0] if paths else Path()
        out = (first if first.is_dir() else first.parent) / NAME
    path = Path(out)
    if path.is_dir():
        raise EcgcamError(f"{path}: is a folder; `out` takes the name of the file, for example {path / NAME}")
    write_report(path, report_html(read, judgements, scale=scale, left_out=left_out))
    return path
