"""Criteria of `configs/criteria` on the records of PTB-XL, by our own measurements: the third stage trains on them.

    python -m training.observed --data PTBXL [MORE]

Measured once and kept in `.cache` (19,500 records: ten minutes on two cores). No report and no statement gives whether "QRS at
least 120 ms" holds, nor in which leads and where in the beat; the measurements do.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcam.evidence.reasons import criterion_region
from ecgcam.records import CANONICAL_LEADS, read_record
from ecgcam.records.criteria import Criterion, all_criteria
from ecgcam.records.measurements import measure
from ecgcam.records.waves import find_waves
from training.data import ROOT, WITHDRAWN, signal_of

# Cells of the last stage: number i is at so many seconds times i.
CELL_S, CELLS = 0.032, 313
# Criteria of these show at single beats, which the waves of a criterion do not single out, or nowhere.
NOWHERE = frozenset(
    {"normal", "af", "flutter", "tachycardia", "bradycardia", "sinus-arrhythmia", "pvc", "pac", "paced"}
)


@dataclass(frozen=True)
class Observed:
    """Criteria of N records: number, answers (N, C) 1, 0 or NaN, leads in which each holds (N, C, 12), waves (N, C, cells)."""

    ids: np.ndarray
    answers: np.ndarray
    leads: np.ndarray
    times: np.ndarray

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each record number."""
        order = np.argsort(self.ids)
        rows: np.ndarray = order[np.searchsorted(self.ids, ids, sorter=order)]
        return rows

    def places(self, row: int, criteria: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells (12, cells) of the waves and leads of those criteria that hold, and the leads (12,) they name."""
        cells, leads = np.zeros((len(CANONICAL_LEADS), CELLS), bool), np.zeros(len(CANONICAL_LEADS), bool)
        for one in criteria:
            if self.answers[row, one] == 1:
                shown = self.leads[row, one]
                cells |= (shown if shown.any() else np.ones_like(shown))[:, None] & np.unpackbits(
                    self.times[row, one], count=CELLS
                ).astype(bool)
                leads |= shown
        return cells, leads


@dataclass(frozen=True)
class Observation:
    """One measurement with its threshold and leads: phrases for and against it, and the columns of `Observed` that have it."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    columns: tuple[int, ...]


def observations() -> list[Observation]:
    """Return the criteria that have phrases of both sides, those of several findings once."""
    groups: dict[object, list[int]] = {}
    criteria = all_criteria()
    for i, one in enumerate(criteria):
        if one.positive and one.negative:
            groups.setdefault((one.conditions, one.leads, one.at_least), []).append(i)
    return [
        Observation(
            tuple(dict.fromkeys(text for i in columns for text in criteria[i].positive)),
            tuple(dict.fromkeys(text for i in columns for text in criteria[i].negative)),
            tuple(columns),
        )
        for columns in groups.values()
    ]


def observe(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure a record: its row of each array of `Observed`."""
    criteria = all_criteria()
    record = read_record(path)
    answers = np.full(len(criteria), np.nan, np.float16)
    leads = np.zeros((len(criteria), len(CANONICAL_LEADS)), bool)
    times = np.zeros((len(criteria), CELLS), bool)
    results = measure(record, criteria=criteria).criteria
    waves = find_waves(np.nan_to_num(record.signal.astype(np.float64)), record.fs, np.isfinite(record.signal))
    segments = waves.segments()
    samples = np.arange(len(segments)) / record.fs
    for i, criterion in enumerate(criteria):
        result = results[criterion.name]
        if result.holds is None:
            continue
        answers[i] = float(result.holds)
        leads[i] = [lead in result.leads for lead in CANONICAL_LEADS]
        region = criterion_region(criterion, result, segments, record.leads, np.ones(record.signal.shape, bool))
        if result.holds and criterion.finding not in NOWHERE and region is not None:
            # A cell is in the place if a sample within half its step is.
            near = np.round(samples[region.any(axis=0)] / CELL_S).astype(int)
            times[i, near[near < CELLS]] = True
    return answers, leads, np.packbits(times, axis=1)


def load_observed(folders: Sequence[Path], cache: Path) -> Observed:
    """Measure the records of all folders, or read what was measured before."""
    paths: dict[int, Path] = {}
    for folder in folders:
        with (folder / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row["ecg_id"]) not in WITHDRAWN]
        paths |= {int(row["ecg_id"]): folder / signal_of(folder, row) for row in rows}
    asked = [(c.name, c.text, c.conditions, c.leads, c.at_least, c.wave) for c in all_criteria()]
    key = hashlib.sha256(repr((sorted(paths), asked)).encode()).hexdigest()[:16]
    kept = cache / f"observed-{key}.npz"
    if not kept.exists():
        with ProcessPoolExecutor() as pool:
            found = list(pool.map(observe, paths.values(), chunksize=64))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            kept, ids=np.array(list(paths)), **{
                name: np.stack([one[i] for one in found]) for i, name in enumerate(("answers", "leads", "times"))
            },
        )  # fmt: skip
    with np.load(kept) as arrays:
        return Observed(*(arrays[name] for name in ("ids", "answers", "leads", "times")))


def main() -> None:
    """Measure, and print how often each criterion holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    observed = load_observed(parser.parse_args().data, ROOT / ".cache")
    criteria: tuple[Criterion, ...] = all_criteria()
    for i, criterion in enumerate(criteria):
        answers = observed.answers[:, i].astype(float)
        print(f"{criterion.name:36} {int((answers == 1).sum()):6} hold, {int((answers == 0).sum()):6} do not")


if __name__ == "__main__":
    main()
