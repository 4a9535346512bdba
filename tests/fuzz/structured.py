"""What tests of valid files by construction share: how many examples there are, and a folder for each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

# The same examples in every run: `ECGCAM_EXAMPLES=1000` for more of them, as `make ci` and `make fuzz` have.
examples = settings(
    max_examples=int(os.environ.get("ECGCAM_EXAMPLES", "25")), derandomize=True, database=None, deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
)  # fmt: skip


@contextmanager
def a_folder() -> Iterator[Path]:
    """Yield an empty folder; pytest's own would be one for all examples."""
    with tempfile.TemporaryDirectory(prefix="ecgcam-structured-") as name:
        yield Path(name)
