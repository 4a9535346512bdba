"""Where the model files and vocabularies are: inside the installed package, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

from ecgcam.errors import EcgcamError


def configs() -> Path:
    """Return the folder of model files and vocabularies."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parents[1] / "configs"):
        if folder.is_dir():
            return folder
    raise EcgcamError(f"{package / 'configs'}: ecgcam's own model files are missing; install ecgcam again")
