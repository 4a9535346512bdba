"""The only writer of results. A folder of results appears whole or not at all. No torch."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.explanation import FILE, SUMMARY, Explanation
from ecgcam.files import plain_mode


def write_result(
    explanation: Explanation, folder: Path, *, scale: str = "evidence", png: bool = True, npz: bool = True
) -> dict[str, Any]:
    """Write one explanation's files into `folder`: pictures, arrays, summary.

    Everything is written beside `folder` first and moved there when complete. Earlier results of the same names are replaced,
    pictures of leads that are gone are removed; other files in the folder stay.

    Parameters
    ----------
    explanation : Explanation
        What to write.
    folder : Path
        ``OUT/<record>/<slug>``; its parents are made.
    scale : str
        Of the pictures: ``evidence``, ``lead`` or ``raw``.
    png, npz : bool
        Whether to write pictures and arrays.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    EcgcamError
        If the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name[:40]}-", dir=folder.parent) as name:
            staged = Path(name) / "result"
            staged.mkdir()
            summary = explanation.summary() | {"out": str(folder)}
            if npz:
                explanation.save(staged)
            if png:
                _draw(explanation, staged, scale)
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            (staged / SUMMARY).write_text(text, encoding="utf-8")
            _move(staged, folder)
    except OSError as error:
        raise EcgcamError(f"{folder}: cannot be written ({error.strerror or error}); nothing of it was kept") from error
    return summary


def _draw(explanation: Explanation, folder: Path, scale: str) -> None:
    from ecgcam import render

    for name, figure in render.pictures(explanation, scale):
        render.save(figure, folder / name)


def _move(staged: Path, folder: Path) -> None:
    """Rename the whole folder where none is; else file by file, the summary last, since it marks a complete result."""
    if not folder.exists():
        staged.chmod(plain_mode(0o777))
        staged.rename(folder)
        return
    names = {path.name for path in staged.iterdir()}
    for old in [*folder.glob("lead-*.png"), folder / "page.png", folder / FILE]:
        if old.name not in names:
            old.unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == SUMMARY):
        shutil.move(staged / name, folder / name)
