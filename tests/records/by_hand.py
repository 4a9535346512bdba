"""WFDB records written byte by byte from header(5) and signal(5), not by the library that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

INVALID = -32768  # the value of format 16 that stands for "no sample"


def wfdb(
    folder: Path,
    samples: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    gains: Sequence[str] | str = "1000/mV",
    fs: str = "500",
    length: int | None = None,
    name: str = "rec",
) -> Path:
    """Write `samples` (one row a channel) in format 16; return the path of the header.

    `gains` are written as they are, such as ``1000(0)/mV``; an empty name leaves the rest of its line away.
    """
    array = np.asarray(samples, "<i2").reshape(len(samples), -1)
    gains = [gains] * len(array) if isinstance(gains, str) else gains
    lines = [f"{name} {len(array)} {fs} {array.shape[1] if length is None else length}"]
    for row, lead, gain in zip(array, names, gains, strict=True):
        first = int(row[0]) if row.size else 0
        tail = f" 16 0 {first} 0 0 {lead}" if lead else ""
        lines.append(f"{name}.dat 16 {gain}{tail}")
    (folder / f"{name}.dat").write_bytes(array.T.tobytes())
    header = folder / f"{name}.hea"
    header.write_text("\n".join(lines) + "\n# age: 99, a comment\n")
    return header


def in_segments(folder: Path, gap: bool) -> Path:
    """Four minutes at 100 Hz in eight segments of 30 s, I and V1; with a `gap`, the third and the fourth are none."""
    lines = []
    for i in range(8):
        samples = [[(7 * k + i) % 97 * 10 for k in range(3000)], [(5 * k + i) % 89 * 10 for k in range(3000)]]
        wfdb(folder, samples, ["I", "V1"], fs="100", name=f"s{i}")
        lines.append("~ 3000" if gap and i in (2, 3) else f"s{i} 3000")
    if gap:
        (folder / "layout.hea").write_text("layout 2 100 0\n~ 0 1000/mV 16 0 0 0 0 I\n~ 0 1000/mV 16 0 0 0 0 V1\n")
        lines.insert(0, "layout 0")
    (folder / "rec.hea").write_text(f"rec/{len(lines)} 2 100 24000\n" + "\n".join(lines) + "\n")
    return folder / "rec.hea"
