"""PTB-XL in its published layout: windows at the model's rate, labels, reports, folds."""

from __future__ import annotations

import ast
import csv
import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcam.prompts import other_words
from ecgcam.records import CANONICAL_LEADS, read_record, take_window
from ecgcam.records.simulator import TRAINING_SEEDS, simulate_batch

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = ROOT / "configs/vocabulary/findings.toml"


@dataclass(frozen=True)
class Finding:
    """A row of the vocabulary; `label` is its meaning for a record's SCP codes."""

    name: str
    prompt: str
    codes: frozenset[str]
    min_likelihood: float
    leave_out: frozenset[str]
    source: str
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
            frozenset(row.get("leave_out", ())), row["source"], tuple(other_words(row)),
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


# What a simulated finding may bring along that its row of the table does not say: neither positive nor negative.
_ALONG = {
    "normal": set(),
    "af": {"tachycardia"},
    "lbbb": {"ischaemia", "t-abnormal", "t-inversion", "st-depression", "st-elevation", "lvh", "q-waves", "lafb",
             "anteroseptal-mi"},
    "rbbb": {"irbbb", "t-abnormal", "t-inversion"},
    "irbbb": {"rbbb"},
    "lvh": {"ischaemia", "t-abnormal", "t-inversion", "st-depression"},
    "inferior-mi": {"q-waves", "t-abnormal", "t-inversion", "lafb", "ischaemia"},
    "anteroseptal-mi": {"q-waves", "t-abnormal", "t-inversion", "ischaemia"},
    "pvc": {"t-abnormal"},
    "paced": {"lbbb", "lafb", "ischaemia", "t-abnormal", "t-inversion", "st-depression", "st-elevation", "q-waves", "av-block-1"},
    "ischaemia": {"st-depression", "t-abnormal", "t-inversion"},
    "st-depression": {"ischaemia", "t-abnormal"},
    "t-abnormal": {"t-inversion", "ischaemia"},
    "q-waves": {"inferior-mi", "anteroseptal-mi"},
    "t-inversion": {"t-abnormal", "ischaemia"},
    "st-elevation": {"ischaemia", "t-abnormal"},
    "long-qt": {"t-abnormal"},
}  # fmt: skip


def load_simulated(findings: list[Finding], each: int, fs: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulate `each` recordings of every finding, and the twins of a third of them: windows and labels as in `PtbXl`.

    Seeds begin at `TRAINING_SEEDS`. A twin is the same heart without the finding, labelled normal: what tells the two apart
    is the finding and nothing else.
    """
    names = [finding.name for finding in findings]
    windows, labels = [np.zeros((0, 12, samples), np.float16)], [np.zeros((0, len(names)), np.float32)]
    for row, name in enumerate(names):
        first = TRAINING_SEEDS + row * each
        for findings_here, count in ((name, each), ("normal", 0 if name == "normal" else each // 3)):
            if count:
                signal = simulate_batch([findings_here] * count, first, seconds=samples / fs, fs=fs)
                windows.append((signal - np.median(signal, axis=2, keepdims=True)).astype(np.float16))
                label = [float("nan") if other in _ALONG.get(findings_here, ()) else 0.0 for other in names]
                label[names.index(findings_here)] = 1.0
                labels.append(np.tile(np.array(label, np.float32), (count, 1)))
    return np.concatenate(windows), np.concatenate(labels)


def load_ptbxl(folder: Path, fs: float, samples: int, findings: list[Finding], cache: Path) -> PtbXl:
    """Read PTB-XL (the full set or a subset) from `folder`; windows are kept in `cache` between runs."""
    with (folder / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    codes = [ast.literal_eval(row["scp_codes"]) for row in rows]
    with (folder / "scp_statements.csv").open(newline="", encoding="utf-8") as file:
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
        windows=_windows(folder, [row["filename_hr"] for row in rows], fs, samples, cache),
        labels=np.array([[finding.label(c) for finding in findings] for c in codes], dtype=np.float32),
        statements=np.array([[stated(row, c) for row in common] for c in codes], dtype=np.float32),
        statement_texts=[row["description"].strip() for row in common],
        reports=[row["report"] for row in rows],
    )


def _windows(folder: Path, names: list[str], fs: float, samples: int, cache: Path) -> np.ndarray:
    key = hashlib.sha256("\n".join([str(folder.resolve()), f"{fs} {samples}", *names]).encode()).hexdigest()[:16]
    path = cache / f"windows-{key}.npy"
    if path.exists():
        return np.load(path)
    windows = np.zeros((len(names), len(CANONICAL_LEADS), samples), np.float16)
    for i, name in enumerate(names):
        window = take_window(read_record(folder / name), fs, samples)
        rows = [CANONICAL_LEADS.index(lead) for lead in window.leads]
        windows[i, rows] = window.signal - np.median(window.signal, axis=1, keepdims=True)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, windows)
    return windows
