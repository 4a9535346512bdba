"""The pictures of one explanation into a folder, all or none."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import new_folder
from ecgcam.render import wording
from ecgcam.render.captions import FILE, caption
from ecgcam.render.output import pictures, save
from ecgcam.render.style import PictureOptions
from ecgcam.results.beatwise import wave_table
from ecgcam.results.explanation import Explanation


def write_pictures(
    explanation: Explanation,
    folder: Path,
    *,
    scale: str | None = None,
    layout: str = "3x4",
    waves: bool = False,
    gradient: bool = False,
    options: PictureOptions | None = None,
    outline: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Draw an explanation's pictures into `folder` (made if needed), over earlier ones; nothing else in it changes.

    All are drawn before the first one takes its place. With `options` other than the default ones, ``caption.txt`` is written
    too. `outline` as in `page`.

    Raises
    ------
    EcgcamError
        If the folder cannot be written, or there is no such layout or scale.
    """
    table = wave_table(explanation) if waves else None
    title, description = wording.headline(explanation), wording.outcome(explanation)
    drawn = pictures(explanation, scale, layout, waves=table, gradient=gradient, options=options, outline=outline)
    try:
        with new_folder(folder), tempfile.TemporaryDirectory(prefix=".ecgcam-", dir=folder) as name:
            workspace = Path(name)
            for file, figure in drawn:
                save(figure, workspace / file, title=title, description=description)
            if options not in (None, PictureOptions()):
                text = caption([explanation], scale)
                (workspace / FILE).write_text(text, encoding="utf-8")
            for path in sorted(workspace.iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        reason = error.strerror or error
        raise EcgcamError(f"{folder}: cannot be written ({reason}); choose another with `out`") from error
