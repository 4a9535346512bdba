"""What criteria say of a record: which hold, in which leads, and where in the beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training.observed import CELL_S, CELLS, Observed, observations, observe

from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.criteria import all_criteria
from ecgcam.records.simulator import simulate
from ecgcam.records.waves import SEGMENTS, find_waves

NAMES = [one.name for one in all_criteria()]


@pytest.fixture
def lbbb(tmp_path: Path) -> Path:
    made = simulate("lbbb", 3)
    path = tmp_path / "lbbb.npz"
    np.savez(path, signal=made.signal, fs=made.fs, leads=list(CANONICAL_LEADS))
    return path


def test_the_places_are_the_waves_of_the_criteria_that_hold_in_their_leads(lbbb: Path) -> None:
    answers, leads, times = observe(lbbb)
    wide, deep, rate = (
        NAMES.index(f"{name}") for name in ("lbbb/qrs-duration", "lbbb/dominant-s-v1-v2", "tachycardia/rate")
    )
    assert answers[wide] == answers[deep] == 1
    assert not leads[wide].any()  # of the recording as a whole
    assert [CANONICAL_LEADS[i] for i in np.flatnonzero(leads[deep])] == ["V1", "V2"]
    made = simulate("lbbb", 3)
    inside = (
        np.flatnonzero(find_waves(made.signal.astype(float), made.fs).segments() == SEGMENTS.index("QRS")) / made.fs
    )
    expected = sorted({round(float(second) / CELL_S) for second in inside} & set(range(CELLS)))
    assert np.flatnonzero(np.unpackbits(times[wide], count=CELLS)).tolist() == expected
    assert not times[rate].any()
    observed = Observed(np.array([7]), answers[None], leads[None], times[None])
    cells, named = observed.places(0, [deep])
    assert (
        np.flatnonzero(cells.any(axis=1)).tolist()
        == np.flatnonzero(named).tolist()
        == np.flatnonzero(leads[deep]).tolist()
    )
    cells, named = observed.places(0, [wide, rate])
    assert cells.any(axis=1).all()
    assert not named.any()


def test_a_criterion_of_several_findings_is_one_observation() -> None:
    found = observations()
    columns = [column for one in found for column in one.columns]
    assert sorted(columns) == sorted(i for i, one in enumerate(all_criteria()) if one.positive and one.negative)
    wide = next(one for one in found if NAMES.index("lbbb/qrs-duration") in one.columns)
    assert NAMES.index("rbbb/qrs-duration") in wide.columns
    assert "wide QRS complex" in wide.positive
