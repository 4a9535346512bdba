"""Among good recordings of every format lie damaged ones of every format: each good one has its result, each bad one its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.cli.conftest import Run
from tests.records.formats_by_hand import Signal, aecg, edf, sequence, times
from tests.records.more_by_hand import Group, Whole, dicom, ishne, mfer, muse, muse_lead, muse_waveform, scp

from ecgcam.records.simulator import simulate

FLAGS = ("--text", "af", "--no-png", "--no-gradient", "--no-check", "--quiet")


def wfdb(path: Path, row: Whole, fs: float = 500) -> None:
    path.with_suffix(".dat").write_bytes(row.astype("<i2").tobytes())
    path.with_suffix(".hea").write_text(f"{path.stem} 1 {fs} {len(row)}\n{path.stem}.dat 16 1000/mV 16 0 0 0 0 V1\n")


def hdf5(path: Path, row: Whole) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("ecg", data=np.stack([row[None] / 1000] * 2).astype(np.float32))
        data.attrs["fs"], data.attrs["leads"] = 500.0, ["V1"]


# A file by its name, of one lead in microvolts at 500 Hz.
WRITERS: dict[str, Callable[[Path, Whole], object]] = {
    "rec.hea": wfdb,
    "rec.npz": lambda path, row: np.savez(path, signal=row[None] / 1000, fs=500.0, leads=["V1"]),
    "rec.edf": lambda path, row: edf(path, [Signal("V1", "uV", row, 32767)], 10),
    "gaps.edf": lambda path, row: edf(path, [Signal("V1", "uV", row, 32767)], 10, 1, [*range(9), 11.0]),
    "rec.bdf": lambda path, row: edf(path, [Signal("V1", "uV", row, 8388607)], 10),
    "aecg.xml": lambda path, row: aecg(path, times() + sequence("MDC_ECG_LEAD_V1", " ".join(map(str, row)))),
    "muse.xml": lambda path, row: muse(path, muse_waveform("Rhythm", [muse_lead("V1", row, "1")])),
    "IM000001": lambda path, row: dicom(path, [Group(["V1"], row[:, None], sensitivity=1.0)]),
    "rec.scp": lambda path, row: scp(path, ["V1"], [row], step=1000),
    "rec.ecg": lambda path, row: ishne(path, ["V1"], [row], step=1000, fs=500),
    "rec.mwf": lambda path, row: mfer(path, ["V1"], [row], step=10),
    "rec.csv": lambda path, row: path.write_text("Sample Rate,500 Hz\nV1 (uV)\n" + "\n".join(map(str, row)) + "\n"),
    "many.h5": hdf5,
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """A folder with a good and a damaged file of each format, and a long recording at 360.1 Hz; the numbers of good and bad."""
    folder = tmp_path_factory.mktemp("mixed")
    row = np.round(simulate("af", 11).signal[6] * 1000).astype(np.int64)
    for name, write in WRITERS.items():
        for place in (f"a-{name}", f"b-{name}"):
            write(folder / place, row)
        bad = folder / f"b-{name}"
        if bad.suffix == ".hea":
            bad = bad.with_suffix(".dat")
        content = bad.read_bytes()
        # Half a table is a table, and of ISHNE what is there is read.
        kept = {".csv": content[:2000] + b"\x00!\xff", ".ecg": content[:400]}
        bad.write_bytes(kept.get(bad.suffix, content[: len(content) // 2]))
    (folder / "c.edf").write_bytes(np.random.default_rng(0).bytes(3000))
    (folder / "c.dcm").write_bytes(b"")
    wfdb(folder / "long.hea", np.tile(row, 3), 360.1)
    return folder, len(WRITERS) + 2, len(WRITERS) + 2


@pytest.mark.parametrize("flags", [("--jobs", "1"), pytest.param(("--jobs", "2"), marks=pytest.mark.slow)])
def test_each_good_recording_has_its_result(
    ecgcam: Run, mixed: tuple[Path, int, int], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    folder, good, bad = mixed
    got = ecgcam("explain", folder, *FLAGS, *flags, "--all", "--out", tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
    done = {line["record"] for line in lines if line.get("status") == "done"}
    failed = {line["record"] for line in lines if line.get("status") == "failed"}
    errors = [line for line in got.err.splitlines() if line.startswith("ecgcam: ")]
    assert got.code == 1
    assert done == {name for name in done if name[0] in "al"}
    assert len(done) == good, (done, errors)
    assert len(errors) == bad
    assert all(name[0] in "bc" for name in failed)
