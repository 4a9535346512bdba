"""`ecgcam inspect` as a command, and the summary of a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run
from tests.records.more_by_hand import Group, dicom

from ecgcam.records import read_record


@pytest.fixture
def folder(tmp_path: Path, recordings: Path) -> Path:
    """A WFDB record, a DICOM file without a suffix, two files that are not recordings, and a damaged one."""
    place = tmp_path / "in"
    place.mkdir()
    for name in ("af-7.hea", "af-7.dat"):
        shutil.copy(recordings / name, place)
    dicom(place / "IM000001", [Group(["V1"], np.arange(-500, 1500).reshape(-1, 1), fs=250.0)])
    (place / "notes.txt").write_text("nothing here\n")
    (place / "labels.csv").write_text("record,age\n1,60\n2,70\n3,80\n")
    (place / "broken.edf").write_bytes(b"0       " * 20)
    return place


def test_one_recording(ecgcam: Run, folder: Path) -> None:
    result = ecgcam("inspect", folder / "IM000001")
    assert result.code == 0
    first, heading, lead, *notes = result.out.splitlines()
    assert first == "IM000001: DICOM, 1 leads, 250 Hz, 8 s (2000 samples), unit uV"
    assert heading.split() == ["lead", "lowest", "highest", "missing", "mV"]
    assert lead.split() == ["V1", "-1.250", "3.748", "-"]  # 2.5 uV a unit
    assert "  note: converted to mV: uV" in notes


def test_json_has_what_the_table_has(ecgcam: Run, folder: Path) -> None:
    row = json.loads(ecgcam("inspect", folder / "af-7.hea", "--json").out)
    record = read_record(folder / "af-7.hea")
    assert {key: row[key] for key in ("record", "format", "fs", "samples", "seconds", "unit")} == {
        "record": "af-7", "format": "WFDB", "fs": record.fs, "samples": record.samples, "seconds": record.seconds, "unit": "mV",
    }  # fmt: skip
    assert list(row["leads"]) == list(record.leads)
    assert row["leads"]["V2"]["low_mv"] == pytest.approx(float(record.signal[7].min()), abs=1e-6)


def test_a_folder_is_summed_up_and_a_damaged_file_takes_nothing_with_it(ecgcam: Run, folder: Path) -> None:
    result = ecgcam("inspect", folder)
    assert result.code == 1
    assert [line.split()[0] for line in result.out.splitlines()] == ["record", "IM000001", "af-7"]
    assert f"note: {folder}, files read: 1 DICOM, 1 WFDB, 1 damaged; skipped: 1 .csv, 1 .txt" in result.err.splitlines()
    (line,) = [line for line in result.err.splitlines() if line.startswith("ecgcam: ")]
    assert "broken.edf" in line
    assert "files read" not in ecgcam("inspect", folder, "--quiet").err


def test_flags_that_contradict_a_file_or_cannot_be(ecgcam: Run, folder: Path) -> None:
    result = ecgcam("inspect", folder / "IM000001", "--fs", 500)
    assert (result.code, result.out) == (2, "")
    assert "--fs 500 contradicts the file, which states 250 Hz" in result.err
    assert "--unit kV: no such unit" in ecgcam("inspect", folder, "--unit", "kV").err


def test_measure_takes_the_unit(ecgcam: Run, recordings: Path, tmp_path: Path) -> None:
    record = read_record(recordings / "af-7.hea")
    np.savez(tmp_path / "rec.npz", signal=1000 * record.signal, fs=record.fs, leads=record.leads)
    mv = json.loads(ecgcam("measure", recordings / "af-7.hea", "--json").out)
    uv = json.loads(ecgcam("measure", tmp_path / "rec.npz", "--unit", "uV", "--json").out)
    assert uv["leads"]["V2"]["s_mv"] == pytest.approx(mv["leads"]["V2"]["s_mv"], abs=1e-3)
