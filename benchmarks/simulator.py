"""How fast the simulator is, and how its hearts compare with real ones.

    python -m benchmarks.simulator [--data PTBXL]

Prints ten-second recordings per second on one core; with PTB-XL (unpacked, published layout), quantiles of R, S and T in median
beats of its records and of as many simulated ones.
"""

from __future__ import annotations

import argparse
import ast
import csv
import time
from pathlib import Path

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from ecgcam.records import CANONICAL_LEADS, read_record
from ecgcam.records.simulator import FINDINGS, TRAINING_SEEDS, simulate, simulate_batch

FS = 500.0
PAIRS = {"normal": ("NORM", 80), "lbbb": ("CLBBB", 50), "rbbb": ("CRBBB", 50), "lafb": ("LAFB", 50), "lvh": ("LVH", 50)}


def speed() -> None:
    findings = list(FINDINGS) * 4
    for fs in (500.0, 100.0):
        start = time.process_time()
        simulate_batch(findings, TRAINING_SEEDS, fs=fs)
        print(f"simulate_batch, {fs:g} Hz: {len(findings) / (time.process_time() - start):.0f} records/s")
    start = time.process_time()
    for seed, finding in enumerate(findings):
        simulate(finding, seed)
    print(f"simulate with twin and truth, 500 Hz: {len(findings) / (time.process_time() - start):.0f} records/s")


def median_beat(signal: np.ndarray) -> np.ndarray | None:
    """The median beat (12, 400), mV over the level before P, from 300 ms before the steepest point of QRS."""
    signal = sosfiltfilt(butter(2, [0.5, 40], "band", fs=FS, output="sos"), signal.astype(float), axis=1)
    steep = np.convolve(np.abs(np.diff(signal, axis=1)).sum(axis=0), np.ones(50), "same")
    peaks, _ = find_peaks(steep, height=0.4 * np.quantile(steep, 0.97), distance=170)
    beats = [signal[:, p - 150 : p + 250] for p in peaks if 175 < p < signal.shape[1] - 275]
    if len(beats) < 4:
        return None
    beat = np.median(beats, axis=0)
    return np.asarray(beat - np.median(beat[:, 100:115], axis=1, keepdims=True))


def sizes(signals: list[np.ndarray]) -> np.ndarray:
    """R, S and T (records, 3, 12), mV."""
    found = []
    for beat in filter(lambda b: b is not None, map(median_beat, signals)):
        qrs, t = beat[:, 115:195], beat[:, 220:360]
        found.append([qrs.max(axis=1), qrs.min(axis=1), t[np.arange(12), np.abs(t).argmax(axis=1)]])
    return np.array(found)


def compare(folder: Path, most: int = 100) -> None:
    with (folder / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for finding, (code, likelihood) in PAIRS.items():
        names = [row["filename_hr"] for row in rows if ast.literal_eval(row["scp_codes"]).get(code, -1) >= likelihood]
        records = [read_record(folder / name) for name in names[:most]]
        real = sizes([r.signal for r in records if r.leads == CANONICAL_LEADS and np.isfinite(r.signal).all()])
        made = sizes(list(simulate_batch([finding] * len(records), 0)))
        print(f"\n{finding}, {len(real)} records ({code}) and {len(made)} simulated, mV; {' '.join(CANONICAL_LEADS)}")
        for place, wave in enumerate("RST"):
            for name, values in (("real", real), ("made", made)):
                for quantile in (0.1, 0.5, 0.9):
                    row = " ".join(f"{v:6.2f}" for v in np.quantile(values[:, place], quantile, axis=0))
                    print(f"{wave} {name} {quantile:.1f} {row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="PTB-XL in its published layout")
    arguments = parser.parse_args()
    speed()
    if arguments.data:
        compare(arguments.data)


if __name__ == "__main__":
    main()
