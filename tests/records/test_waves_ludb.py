"""The bounds beside those of LUDB's cardiologists, on the records that they were not chosen on."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.waves import score


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("fs", [500.0, 250.0])
def test_bounds_lie_where_cardiologists_put_them(unpacked: Path, fs: float) -> None:
    scores = score(unpacked / "ludb", range(101, 200), fs=fs)
    assert scores.beats == 5556
    assert scores.sensitivity >= 0.99
    assert scores.false_p_share <= 0.10
    assert scores.called_p / scores.with_p >= 0.95
    limits = {"QRS onset": 15, "QRS offset": 15, "P onset": 25, "P offset": 25, "T onset": 45, "T offset": 30}
    for bound, limit in limits.items():
        assert scores.median(bound) <= limit, bound
        assert len(scores.known(bound)) / len(scores.errors[bound]) >= 0.95, bound
