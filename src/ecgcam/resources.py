"""Where files are: model files, vocabularies, pages and submodules of the installed package or a checkout, and the cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError

# Names another folder for the cache, or ``off``.
SWITCH = "ECGCAM_CACHE"


def lazy_submodules(package: str) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package that imports its submodules when they are first used."""

    def submodule(name: str) -> Any:
        if name.startswith("__") or find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return submodule


def configs() -> Path:
    """Return the folder of model files and vocabularies."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parents[1] / "configs"):
        if folder.is_dir():
            return folder
    raise EcgcamError(f"{package / 'configs'}: ecgcam's own model files are missing; install ecgcam again")


def cache_folder() -> Path | None:
    """Return where ecgcam may keep what it can work out again, by the platform's custom; None if switched off."""
    chosen = os.environ.get(SWITCH, "")
    if chosen:
        return None if chosen.lower() == "off" else Path(chosen).expanduser()
    try:
        home = Path.home()
    except RuntimeError:  # no home: a container's nameless user
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local") / "ecgcam/Cache"
    if sys.platform == "darwin":
        return home / "Library/Caches/ecgcam"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else home / ".cache") / "ecgcam"


def docs_pages() -> dict[str, Path]:
    """Return the pages of the documentation by name: the README, then the others in order of name; translations left out."""
    package = Path(__file__).resolve().parent
    for folder in (package / "docs", package.parents[1] / "docs"):
        if folder.is_dir():
            break
    else:
        raise EcgcamError(f"{package / 'docs'}: the pages of ecgcam are missing; install ecgcam again")
    readme = next((path for path in (folder / "README.md", folder.parent / "README.md") if path.is_file()), None)
    pages = {} if readme is None else {"README": readme}
    for path in sorted(folder.rglob("*.md")):
        pages.setdefault(path.stem, path)
    return pages
