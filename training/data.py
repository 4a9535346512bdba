"""PTB-XL in its published layout: windows at the model's rate, labels, reports, folds."""

from __future__ import annotations

import ast
import csv
import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from ecgcam.models.text.vocabulary import other_words
from ecgcam.records import CANONICAL_LEADS, Record, read_record, take_window
from ecgcam.records.resampling import resample
from ecgcam.records.simulator import FINDINGS as MADE
from ecgcam.records.simulator import TRAINING_SEEDS, simulate_batch

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = ROOT / "configs/vocabulary/findings.toml"
# Copies of other records, which PTB-XL withdrew with version 1.0.3, some of them under another patient and fold.
WITHDRAWN = frozenset({137, 139, 140, 141, 142, 143, 145, 456, 458, 459, 461, 462})
# The published 100 Hz signals end between 40 and 48 Hz: a low-pass (cut-off in Hz, half its length in s) that ends as they do, by
# record 3 at both rates.
CUT_OFF, HALF_LENGTH = 44.6, 0.16
_AT_ONCE = 256


@dataclass(frozen=True)
class Finding:
    """A row of the vocabulary; `label` is its meaning for a record's SCP codes."""

    name: str
    prompt: str
    codes: frozenset[str]
    min_likelihood: float
    leave_out: frozenset[str]
    phrases: tuple[str, ...]

    def label(self, codes: dict[str, float]) -> float:
        """1 positive, 0 negative, NaN neither."""
        if any(codes.get(code, -1.0) >= self.min_likelihood for code in self.codes):
            return 1.0
        return float("nan") if (self.codes | self.leave_out) & codes.keys() else 0.0


def load_findings(path: Path = FINDINGS) -> list[Finding]:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Finding(
            row["name"], row["prompt"], frozenset(row["codes"]), row["min_likelihood"],
            frozenset(row.get("leave_out", ())), tuple(other_words(row)),
        )
        for row in table["finding"]
    ]  # fmt: skip


@dataclass(frozen=True)
class PtbXl:
    """Windows (N, 12, T), mV less each lead's median; labels (N, findings) and statements (N, codes), NaN = neither."""

    ids: np.ndarray
    patients: np.ndarray
    folds: np.ndarray
    windows: np.ndarray
    labels: np.ndarray
    statements: np.ndarray
    statement_texts: list[str]
    reports: list[str]


_WALLS = {"anterior-ischaemia", "inferior-ischaemia", "lateral-ischaemia"}
_INFARCTIONS = {"anterior-mi", "anterolateral-mi", "lateral-mi", "inferolateral-mi", "posterior-mi"}
_REPOLARISATION = {
    *_WALLS, "st-change", "anterior-injury", "digitalis", "electrolyte", "t-abnormal", "t-inversion", "ischaemia",
}  # fmt: skip
_QRS = {"sinus-rhythm", "abnormal-qrs"}
# What a simulated finding may include that its row of the table does not state: neither positive nor negative.
_ALONG: dict[str, set[str]] = {
    "normal": {"sinus-rhythm"},
    "af": {"tachycardia", "sv-arrhythmia"},
    "flutter": {"sv-arrhythmia"},
    "tachycardia": {"sinus-rhythm"},
    "bradycardia": {"sinus-rhythm"},
    "av-block-1": {"sinus-rhythm"},
    "lbbb": {*_QRS, *_REPOLARISATION, *_INFARCTIONS, "st-depression", "st-elevation", "lvh", "q-waves", "lafb", "anteroseptal-mi",
             "ilbbb", "ivcd", "high-voltage", "aneurysm"},
    "rbbb": {*_QRS, *_REPOLARISATION, "irbbb", "ivcd", "rvh", "posterior-mi"} - {"ischaemia"},
    "irbbb": {*_QRS, "rbbb", "rvh", "posterior-mi"},
    "lafb": {*_QRS, "high-voltage", "lateral-mi"},
    "lvh": {*_QRS, *_REPOLARISATION, "st-depression", "high-voltage", "lae"},
    "inferior-mi": {*_QRS, *_REPOLARISATION, "q-waves", "lafb", "inferolateral-mi", "posterior-mi"},
    "anteroseptal-mi": {*_QRS, *_REPOLARISATION, "q-waves", "anterior-mi", "anterolateral-mi", "aneurysm", "low-voltage"},
    "pvc": {*_QRS, "t-abnormal"},
    "paced": {*_QRS, *_REPOLARISATION, *_INFARCTIONS, "lbbb", "lafb", "st-depression", "st-elevation", "q-waves", "av-block-1",
              "ivcd", "wpw"},
    "ischaemia": {*_REPOLARISATION, "sinus-rhythm", "st-depression"},
    "st-depression": {*_REPOLARISATION, "sinus-rhythm"} - {"t-inversion"},
    "t-abnormal": {*_REPOLARISATION, "sinus-rhythm"},
    "q-waves": {*_QRS, *_INFARCTIONS, "inferior-mi", "anteroseptal-mi", "aneurysm"},
    "t-inversion": {*_REPOLARISATION, "sinus-rhythm", "rvh"},
    "st-elevation": {*_REPOLARISATION, "sinus-rhythm", "aneurysm"} - {"t-inversion"},
    "long-qt": {"t-abnormal", "sinus-rhythm", "electrolyte", "st-change"},
}  # fmt: skip


def load_simulated(findings: list[Finding], each: int, fs: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulate `each` recordings of what the simulator has, and the twins of a third of them: windows and labels as in `PtbXl`.

    Seeds begin at `TRAINING_SEEDS`. A twin is the same heart without the finding, labelled normal: the difference between the two
    is the finding and nothing else. At rates above 100 Hz every second recording went through 100 Hz, as most real ones did.
    """
    names = [finding.name for finding in findings]
    windows, labels = [np.zeros((0, 12, samples), np.float16)], [np.zeros((0, len(names)), np.float32)]
    for row, name in enumerate(name for name in names if name in MADE):
        first = TRAINING_SEEDS + row * each
        for findings_here, count in ((name, each), ("normal", 0 if name == "normal" else each // 3)):
            if count:
                signal = simulate_batch([findings_here] * count, first, seconds=samples / fs, fs=fs)
                windows.append((signal - np.median(signal, axis=2, keepdims=True)).astype(np.float16))
                label = [float("nan") if other in _ALONG[findings_here] - {findings_here} else 0.0 for other in names]
                label[names.index(findings_here)] = 1.0
                labels.append(np.tile(np.array(label, np.float32), (count, 1)))
    simulated = np.concatenate(windows)
    if fs > 100:
        simulated[1::2] = through_100_hz(simulated[1::2], fs)
    return simulated, np.concatenate(labels)


def through_100_hz(windows: np.ndarray, fs: float) -> np.ndarray:
    """Return windows (N, L, T) as they would be if the recordings had been published at 100 Hz: (N, L, T), half precision."""
    down, up = _ratio(100, fs), _ratio(fs, 100)
    half = round(HALF_LENGTH * fs)
    at = np.arange(-half, half + 1) / fs
    taps = np.sinc(2 * CUT_OFF * at) * np.hamming(len(at))
    count, leads, samples = windows.shape
    size = samples + 4 * half
    response = np.fft.rfft(taps / taps.sum(), size)
    coarse = np.empty(windows.shape, np.float16)
    for begin in range(0, count, _AT_ONCE):
        rows = windows[begin : begin + _AT_ONCE].astype(np.float32).reshape(-1, samples)
        padded = np.pad(rows, ((0, 0), (half, half)), mode="edge")
        low = np.fft.irfft(np.fft.rfft(padded, size) * response, size)[:, 2 * half : 2 * half + samples]
        at_100 = resample(low.astype(np.float32), *down, 0, -(-samples * down[0] // down[1]))
        again = resample(at_100, *up, 0, samples).reshape(-1, leads, samples)
        coarse[begin : begin + _AT_ONCE] = again - np.median(again, axis=2, keepdims=True)
    return coarse


def _ratio(new: float, old: float) -> tuple[int, int]:
    fraction = Fraction(new).limit_denominator() / Fraction(old).limit_denominator()
    return fraction.numerator, fraction.denominator


def load_ptbxl(
    folders: Path | Sequence[Path], fs: float, samples: int, findings: list[Finding], cache: Path, coarse: bool = False
) -> PtbXl:
    """Read PTB-XL (the full set or subsets of it); windows are kept in `cache` between runs.

    Parameters
    ----------
    folders : Path or sequence of Path
        Each with ``ptbxl_database.csv``. A record's signal at 500 Hz is read where there is one, else that at 100 Hz.
    fs, samples : float, int
        Rate and length of the windows.
    findings : list of Finding
        What `labels` has columns for.
    cache : Path
        Where windows are kept.
    coarse : bool
        Append the records of 500 Hz once more, as they would be at 100 Hz, with the same number, patient, fold and labels.

    Raises
    ------
    ValueError
        If two folders have the same record, or folds 9 and 10 have a patient of folds 1-8.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    rows: list[dict[str, str]] = []
    published: list[dict[str, str]] = []
    windows = []
    for folder in folders:
        with (folder / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
            here = [row for row in csv.DictReader(file) if int(row["ecg_id"]) not in WITHDRAWN]
        names = [signal_of(folder, row) for row in here]
        published += here
        rows += here
        path = cache / f"windows-{_key(folder, names, fs, samples)}.npy"
        windows.append(_kept(path, partial(_windows, folder, names, fs, samples)))
        fine = np.array([name == row.get("filename_hr") for name, row in zip(names, here, strict=True)])
        if coarse and fine.any():
            rows += [row for row, keep in zip(here, fine, strict=True) if keep]
            path = path.with_name(path.name.replace("windows", "coarse"))
            windows.append(_kept(path, partial(through_100_hz, windows[-1][fine], fs)))
    _check_apart(published)
    codes = [ast.literal_eval(row["scp_codes"]) for row in rows]
    with (folders[0] / "scp_statements.csv").open(newline="", encoding="utf-8") as file:
        statements = list(csv.DictReader(file))
    key_column = next(iter(statements[0]))
    common = [row for row in statements if sum(row[key_column] in c for c in codes) >= 10]

    def stated(row: dict[str, str], record: dict[str, float]) -> float:
        likelihood = record.get(row[key_column])
        if likelihood is None:
            return 0.0
        # For form and rhythm codes, 0 means that no likelihood was stated; for diagnostic codes it can mean unlikely.
        return 1.0 if likelihood >= 50 or not row["diagnostic"] else float("nan")

    return PtbXl(
        ids=np.array([int(row["ecg_id"]) for row in rows]),
        patients=np.array([float(row["patient_id"]) for row in rows]),
        folds=np.array([int(row["strat_fold"]) for row in rows]),
        windows=windows[0] if len(windows) == 1 else np.concatenate(windows),
        labels=np.array([[finding.label(c) for finding in findings] for c in codes], dtype=np.float32),
        statements=np.array([[stated(row, c) for row in common] for c in codes], dtype=np.float32),
        statement_texts=[row["description"].strip() for row in common],
        reports=[row["report"] for row in rows],
    )


def signal_of(folder: Path, row: dict[str, str]) -> str:
    """Return the name of a record's signal: at 500 Hz where the folder has it, else at 100 Hz."""
    fine = row.get("filename_hr")
    if fine and ((folder / f"{fine}.hea").exists() or not row.get("filename_lr")):
        return fine
    return row["filename_lr"]


def _check_apart(rows: list[dict[str, str]]) -> None:
    ids = [row["ecg_id"] for row in rows]
    if len(set(ids)) < len(ids):
        raise ValueError(f"{len(ids) - len(set(ids))} records of PTB-XL are in two folders")
    trained = {row["patient_id"] for row in rows if int(row["strat_fold"]) <= 8}
    if both := trained & {row["patient_id"] for row in rows if int(row["strat_fold"]) > 8}:
        raise ValueError(f"patients of folds 1-8 are in fold 9 or 10: {', '.join(sorted(both)[:5])}")


def _key(folder: Path, names: list[str], fs: float, samples: int) -> str:
    return hashlib.sha256("\n".join([str(folder.resolve()), f"{fs} {samples}", *names]).encode()).hexdigest()[:16]


def _kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, make())
    kept: np.ndarray = np.load(path, mmap_mode="r")
    return kept


def _windows(folder: Path, names: list[str], fs: float, samples: int) -> np.ndarray:
    windows = np.zeros((len(names), len(CANONICAL_LEADS), samples), np.float16)
    for i, name in enumerate(names):
        windows[i] = in_model_space(read_record(folder / name), fs, samples)
    return windows


def in_model_space(record: Record, fs: float, samples: int) -> np.ndarray:
    """Return the first window (12, samples) of a record as mini takes it: mV less each lead's median, 0 where it has no lead."""
    window = take_window(record, fs, samples)
    signal = np.zeros((len(CANONICAL_LEADS), samples), np.float32)
    rows = [CANONICAL_LEADS.index(lead) for lead in window.leads]
    signal[rows] = window.signal - np.median(window.signal, axis=1, keepdims=True)
    return signal
