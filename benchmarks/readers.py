"""The cost of reading each format: python -m benchmarks.readers [--count N]. Processor time, one thread.

Each format gets N names for ten recordings of 10 s, 12 leads, 500 Hz (MUSE and SCP-ECG 8 leads, as devices export them). Prints
a table for docs/formats.md: ms of processor time per recording, the most memory that reading one takes, and by how much the
process grew over all N.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat
from tests.records.formats_by_hand import Signal, aecg, bent, chunk, edf, sequence, sierra, times
from tests.records.more_by_hand import Beat, Bimodal, Group, dicom, ishne, mfer, muse, muse_lead, muse_waveform, scp

from ecgcam.records import CANONICAL_LEADS, read_record

FS, SAMPLES = 500, 5000
STORED_LEADS = ("I", "II", *CANONICAL_LEADS[6:])
Maker = Callable[[Path, np.ndarray], Path]


def _wfdb(stem: Path, rows: np.ndarray) -> Path:
    stem.with_suffix(".dat").write_bytes(rows.T.astype("<i2").tobytes())
    lines = "\n".join(f"{stem.name}.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in CANONICAL_LEADS)
    stem.with_suffix(".hea").write_text(f"{stem.name} 12 {FS} {SAMPLES}\n{lines}\n")
    return stem.with_suffix(".hea")


def _npz(stem: Path, rows: np.ndarray) -> Path:
    np.savez(stem.with_suffix(".npz"), signal=rows / 1000, fs=FS, leads=list(CANONICAL_LEADS))
    return stem.with_suffix(".npz")


def _npy(stem: Path, rows: np.ndarray) -> Path:
    np.save(stem.with_suffix(".npy"), rows / 1000)
    return stem.with_suffix(".npy")


def _mat(stem: Path, rows: np.ndarray) -> Path:
    savemat(stem.with_suffix(".mat"), {"signal": rows / 1000, "fs": float(FS), "leads": list(CANONICAL_LEADS)})
    return stem.with_suffix(".mat")


def _edf(stem: Path, rows: np.ndarray, suffix: str = ".edf", onsets: Sequence[float] | None = None) -> Path:
    signals = [Signal(lead, "uV", row) for lead, row in zip(CANONICAL_LEADS, rows, strict=True)]
    return edf(stem.with_suffix(suffix), signals, 10, 1.0, onsets)


def _sierra(stem: Path, rows: np.ndarray) -> Path:
    packed = b"".join(chunk(*bent(row)) for row in rows)
    return sierra(stem.with_suffix(".xml"), packed, " ".join(CANONICAL_LEADS), SAMPLES)


def _bimodal(stem: Path, rows: np.ndarray) -> Path:
    zones = [(first + 1, first + 60) for first in range(200, SAMPLES, 400)]
    beat = Beat([row[:100] for row in rows[:8]], 51, 2500, [(9, 1, 1)] * len(zones))
    return scp(stem.with_suffix(".scp"), STORED_LEADS, list(rows[:8]), beat=beat, bimodal=Bimodal(zones, 4))


def _aecg(stem: Path, rows: np.ndarray) -> Path:
    leads = "".join(
        sequence(f"MDC_ECG_LEAD_{lead.upper()}", " ".join(map(str, row)))
        for lead, row in zip(CANONICAL_LEADS, rows, strict=True)
    )
    return aecg(stem.with_suffix(".xml"), times() + leads)


def _muse(stem: Path, rows: np.ndarray) -> Path:
    leads = [muse_lead(lead, row) for lead, row in zip(STORED_LEADS, rows[:8], strict=True)]
    return muse(stem.with_suffix(".xml"), muse_waveform("Rhythm", leads))


def _csv(stem: Path, rows: np.ndarray) -> Path:
    lines = [",".join(CANONICAL_LEADS), *(",".join(f"{value / 1000:.3f}" for value in row) for row in rows.T)]
    stem.with_suffix(".csv").write_text("Sample Rate,500 Hz\n" + "\n".join(lines) + "\n")
    return stem.with_suffix(".csv")


def _hdf5(stem: Path, rows: np.ndarray) -> Path:
    with h5py.File(stem.with_suffix(".h5"), "w") as file:
        data = file.create_dataset("ecg", data=np.stack([rows / 1000] * 3).astype(np.float32))
        data.attrs["fs"], data.attrs["leads"] = float(FS), list(CANONICAL_LEADS)
    return stem.with_suffix(".h5")


MAKERS: dict[str, Maker] = {
    "WFDB, format 16": _wfdb,
    "NumPy `.npy`": _npy,
    "NumPy `.npz`": _npz,
    "MATLAB": _mat,
    "HDF5, one of three": _hdf5,
    "EDF": _edf,
    "EDF+D, one gap": lambda stem, rows: _edf(stem, rows, onsets=[*range(9), 12.0]),
    "BDF": lambda stem, rows: _edf(stem, rows, ".bdf"),
    "DICOM": lambda stem, rows: dicom(stem.with_suffix(".dcm"), [Group(CANONICAL_LEADS, rows.T)]),
    "HL7 aECG": _aecg,
    "Philips Sierra XML": _sierra,
    "GE MUSE XML, 8 leads": _muse,
    "SCP-ECG, Huffman, 8 leads": lambda stem, rows: scp(stem.with_suffix(".scp"), STORED_LEADS, list(rows[:8])),
    "ISHNE": lambda stem, rows: ishne(stem.with_suffix(".ecg"), CANONICAL_LEADS, list(rows), fs=FS),
    "SCP-ECG, bimodal, 8 leads": _bimodal,
    "MFER": lambda stem, rows: mfer(stem.with_suffix(".mwf"), CANONICAL_LEADS, list(rows)),
    "CSV": _csv,
}


def _named(path: Path, name: str) -> Path:
    """Give the files of a recording another name, which costs no copy."""
    for file in path.parent.glob(f"{path.stem}.*"):
        other = file.with_name(name + file.suffix)
        if file.suffix == ".hea":
            other.write_text(file.read_text())
        else:
            os.link(file, other)
    return path.with_name(name + path.suffix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", default="", help="formats whose name has this")
    given = parser.parse_args()
    count = given.count
    random = np.random.default_rng(0)
    print(f"| format, {count} recordings | ms each | MB at most | process grew by, MB |\n|---|---:|---:|---:|")
    for kind, make in ((kind, make) for kind, make in MAKERS.items() if given.only in kind):
        with tempfile.TemporaryDirectory() as folder:
            made = []
            for number in range(10):
                rows = np.cumsum(random.integers(-20, 21, (12, SAMPLES)), axis=1).clip(-4000, 4000)
                made.append(make(Path(folder) / f"rec{number}", rows))
            paths = [_named(made[number % 10], f"copy{number}") for number in range(count)]
            ends = "#1" if kind.startswith("HDF5") else ""
            options: dict[str, Any] = {"fs": FS, "lead_names": CANONICAL_LEADS} if kind.endswith("npy`") else {}
            read_record(f"{made[0]}{ends}", **options)  # imports and tables that are built once
            tracemalloc.start()
            read_record(f"{made[1]}{ends}", **options)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.process_time()
            for path in paths:
                read_record(f"{path}{ends}", **options)
            each = (time.process_time() - began) / count
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"| {kind} | {1000 * each:.1f} | {most / 1e6:.1f} | {grown:.0f} |", flush=True)


if __name__ == "__main__":
    main()
