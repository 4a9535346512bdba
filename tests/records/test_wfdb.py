"""WFDB recordings in, millivolts out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgcam.records import CANONICAL_LEADS, read_record


@pytest.mark.shared
def test_ptbxl_record_is_read_in_millivolts(wfdb_folder: Path) -> None:
    record = read_record(wfdb_folder / "ptbxl/00152_hr.dat")
    raw = np.fromfile(wfdb_folder / "ptbxl/00152_hr.dat", "<i2").reshape(-1, 12).T
    assert record.leads == CANONICAL_LEADS
    assert (record.fs, record.seconds, record.name) == (500.0, 10.0, "00152_hr")
    np.testing.assert_allclose(record.signal, raw / 1000.0, atol=1e-6)
