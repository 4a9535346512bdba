"""What `inspect` states is what is in the file, written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.records.more_by_hand import Group, dicom

import ecgcam
from ecgcam.errors import EcgcamError


def test_a_table_in_microvolts(tmp_path: Path) -> None:
    rows = "\n".join(f"{-100 + value},{2 * value},{value if value else ''}" for value in range(500))
    (tmp_path / "rec.csv").write_text(f"Sample Rate,250 Hz\nI (uV),II (uV),V1 (uV)\n{rows}\n")
    found = ecgcam.inspect(tmp_path / "rec.csv")
    assert (found.record, found.format, found.fs, found.samples, found.seconds) == ("rec", "CSV", 250.0, 500, 2.0)
    assert found.unit == "uV"
    plain = found.to_dict()
    assert list(plain["leads"]) == ["I", "II", "III", "aVR", "aVL", "aVF", "V1"]
    assert plain["leads"]["II"] == {"low_mv": 0.0, "high_mv": 0.998, "missing": 0.0, "derived": False}
    assert plain["leads"]["V1"] == {"low_mv": 0.001, "high_mv": 0.499, "missing": 0.002, "derived": False}
    assert plain["leads"]["III"]["derived"]
    assert plain["leads"]["III"]["low_mv"] == pytest.approx(0.1)  # II - I = 2v - (v - 100) = v + 100 uV
    assert "converted to mV: uV" in found.notes


def test_doubts_are_apart_from_notes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "rec.npz", signal=random.normal(0, 900, (2, 2500)), fs=250.0, leads=["I", "V1"])
    found = ecgcam.inspect(tmp_path / "rec.npz")
    assert found.unit == "mV"
    assert any("implausibly large" in doubt for doubt in found.doubts)
    assert not set(found.doubts) & set(found.notes)
    found = ecgcam.inspect(tmp_path / "rec.npz", unit="uV")
    assert found.unit == "uV"
    assert not any("implausibly" in doubt for doubt in found.doubts)


def test_a_file_without_a_suffix_and_one_that_is_none(tmp_path: Path) -> None:
    group = Group(["I", "V1"], np.arange(600).reshape(300, 2))
    assert ecgcam.inspect(dicom(tmp_path / "IM000001", [group])).format == "DICOM"
    with pytest.raises(EcgcamError, match="no such recording"):
        ecgcam.inspect(tmp_path / "none.edf")
