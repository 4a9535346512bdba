"""WFDB recordings in, millivolts out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.structured_wfdb import encoded

from ecgcam.records import CANONICAL_LEADS, read_record


@pytest.mark.shared
def test_ptbxl_record_is_read_in_millivolts(wfdb_folder: Path) -> None:
    record = read_record(wfdb_folder / "ptbxl/00152_hr.dat")
    raw = np.fromfile(wfdb_folder / "ptbxl/00152_hr.dat", "<i2").reshape(-1, 12).T
    assert record.leads == CANONICAL_LEADS
    assert (record.fs, record.seconds, record.name) == (500.0, 10.0, "00152_hr")
    np.testing.assert_allclose(record.signal, raw / 1000.0, atol=1e-6)


@pytest.mark.parametrize("fmt", ["310", "311", "212"])
def test_filler_of_a_packed_format_is_no_sample(tmp_path: Path, fmt: str) -> None:
    """Two samples fill the bytes of a block that has room for more; a skew must not read the filler as a sample."""
    samples = np.arange(1, 6)  # a whole block and a part of one, for two and three samples a block
    (tmp_path / "rec.hea").write_text(f"rec 1 500 5\nrec.dat {fmt}:1 1/mV 10 0 1 0 0 I\n")
    (tmp_path / "rec.dat").write_bytes(encoded(fmt, samples))
    np.testing.assert_array_equal(read_record(tmp_path / "rec.hea").signal, [[2, 3, 4, 5, np.nan]])
