"""The bounds that docs/waves.md counts against cardiologists' are these: a constant changed by accident moves some of them.

`python -m tests.records.test_waves_stay` writes the table beside this file anew, where a change is meant (and the page's figures
are measured again).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgcam.records.simulator import simulate
from ecgcam.records.waves import Waves, find_waves

TABLE = Path(__file__).with_name("waves.json")
# Rhythms, widths, no P, a late T, a P on the T; noise at which some waves are lost; what a slow recorder sees.
HEARTS = [
    *((finding, 3, 500.0, 1.0) for finding in ("normal", "af", "flutter", "tachycardia", "bradycardia", "av-block-1", "lbbb")),
    *((finding, 4, 500.0, 1.0) for finding in ("pvc", "lvh", "long-qt", "t-abnormal", "st-elevation")),
    *((finding, 5, 500.0, 6.0) for finding in ("normal", "af", "pvc", "rbbb")),
    ("normal", 6, 100.0, 2.0),
    ("pvc", 6, 250.0, 3.0),
]  # fmt: skip


def found(finding: str, seed: int, fs: float, noise: float) -> Waves:
    return find_waves(simulate(finding, seed, fs=fs, noise=noise).signal, fs)


def row(waves: Waves) -> dict[str, Any]:
    def whole(bounds: np.ndarray) -> list[int]:
        return np.nan_to_num(bounds, nan=-1).astype(int).ravel().tolist()  # type: ignore[no-any-return]

    return {
        "beats": waves.beats.tolist(),
        "onset": whole(waves.onset),
        "offset": whole(waves.offset),
        "peak": whole(waves.peak[[0, 6]].transpose(1, 2, 0)),
    }


def name(finding: str, seed: int, fs: float, noise: float) -> str:
    return f"{finding} of seed {seed} at {fs:g} Hz, noise {noise:g}"


@pytest.mark.parametrize("heart", HEARTS, ids=lambda heart: name(*heart).replace(" ", "-"))
def test_the_bounds_are_those_that_were_measured(heart: tuple[str, int, float, float]) -> None:
    made, wanted = row(found(*heart)), json.loads(TABLE.read_text())[name(*heart)]
    assert made["beats"] == wanted["beats"]
    for part in ("onset", "offset", "peak"):
        assert len(made[part]) == len(wanted[part])
        apart = np.abs(np.subtract(made[part], wanted[part]))
        # Another library's rounding may move a bound by a sample, a flat wave's peak by some.
        assert np.mean(apart <= 1) >= 0.97, part


if __name__ == "__main__":
    rows = [f'"{name(*heart)}": {json.dumps(row(found(*heart)))}' for heart in HEARTS]
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
