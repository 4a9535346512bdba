"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecgcam.errors import EcgcamError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any exception.

    The temporary name keeps the suffix, since NumPy and Matplotlib choose the format by it.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(plain_mode(0o666))  # mkstemp makes private files; results are ordinary ones
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raise `EcgcamError` unless files can be made in `folder`, or in its nearest existing parent; leave no trace."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise EcgcamError(f"{folder}: cannot write here, {existing} is not a folder; choose another with --out")
    try:
        with tempfile.TemporaryDirectory(prefix=".ecgcam-", dir=existing):
            pass
    except OSError as error:
        raise EcgcamError(
            f"{folder}: cannot write here ({error.strerror or error}); choose another folder with --out"
        ) from error


def plain_mode(mode: int) -> int:
    """Return the permissions that an ordinary new file or folder would get here."""
    mask = os.umask(0)
    os.umask(mask)
    return mode & ~mask
