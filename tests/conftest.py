"""Shared fixtures: the real recordings beside the checkout, unpacked once into the git-ignored cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecgcam.files import locked

# What prompts were embedded to is kept between calls: tests leave the user's folder alone, and begin with nothing.
os.environ["ECGCAM_CACHE"] = "off"

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """A command in this process sets the processor to flush denormal numbers; the next test finds it as Python has it."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings. Its absence skips on a user's machine and fails in CI."""
    if not (SHARED / "data/unpack.py").is_file():
        reason = f"the recordings are not beside the checkout ({SHARED})"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI must not skip")
        pytest.skip(reason)
    return SHARED


@pytest.fixture(scope="session")
def wfdb_folder(shared: Path) -> Path:
    """WFDB records as published: ptbxl, cinc, ptb."""
    return shared / "data/wfdb"


@pytest.fixture(scope="session")
def unpacked(shared: Path) -> Path:
    """The packed sets as WFDB records: ptbxl, ludb, quality."""
    cache = ROOT / ".cache/recordings"
    cache.mkdir(parents=True, exist_ok=True)
    done = cache / "complete"
    with (cache / "lock").open("w") as handle, locked(handle.fileno()):  # several processes run the tests
        if not done.exists():
            subprocess.run(
                [sys.executable, str(shared / "data/unpack.py"), str(cache)], check=True, capture_output=True
            )
            done.touch()
    return cache
