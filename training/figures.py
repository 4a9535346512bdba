"""What the model card states, each figure one function of the model and the recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import wfdb

from ecgcam.protocol.model import EcgTextModel
from ecgcam.records import Record, read_record
from ecgcam.records.waves import find_waves
from training.data import Finding, in_model_space
from training.metrics import auroc
from training.train import FS, SAMPLES, embed

ENOUGH = 10  # positives below which a finding is listed, not averaged

# LUDB's words for a finding, in the lines of its headers.
LUDB = {
    "af": r"Rhythm: Atrial fibrillation",
    "bradycardia": r"Rhythm: Sinus bradycardia",
    "lvh": r"Left ventricular hypertrophy",
    "irbbb": r"Incomplete right bundle branch block",
    "lafb": r"Left anterior hemiblock",
}

# Prompts, and the SNOMED CT codes that CinC 2021 gives recordings with them.
CINC = {
    "atrial fibrillation": {"164889003"},
    "right bundle branch block": {"59118001", "713427006"},
    "left bundle branch block": {"164909002", "733534002"},
    "first degree AV block": {"270492004"},
    "left anterior fascicular block": {"445118002"},
    "left axis deviation": {"39732003"},
    "right axis deviation": {"47665007"},
    "premature atrial complexes": {"284470004", "63593006"},
    "premature ventricular complexes": {"164884008", "427172004", "17338001"},
    "sinus bradycardia": {"426177001"},
    "sinus tachycardia": {"427084000"},
}


def scores_of(model: EcgTextModel, windows: np.ndarray, texts: list[str]) -> np.ndarray:
    """(N, 12, T), P texts -> (N, P)."""
    scores: np.ndarray = embed(model.network, windows).numpy() @ model.encode_text(texts).numpy().T
    return scores


def macro(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUROC over the columns, those without both classes left out."""
    values = np.array([auroc(labels[:, i], scores[:, i]) for i in range(labels.shape[1])])
    return float(np.nanmean(values))


def macro_interval(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the macro AUROC, patients drawn with replacement."""
    found = [macro(labels[rows], scores[rows]) for rows in _draws(patients, draws, seed)]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _draws(patients: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of patients drawn with replacement, as many as there are."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    for _ in range(draws):
        yield np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])


@dataclass(frozen=True)
class Paired:
    """A model's macro AUROC, the yardstick's, and the interval of the difference."""

    ours: float
    theirs: float
    low: float
    high: float


def against_yardstick(
    labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, patients: np.ndarray, draws: int = 1000, seed: int = 0
) -> Paired:
    """Return both macro AUROCs and the 95 % interval of ours less theirs, the same patients drawn with replacement for both."""
    gaps = [
        macro(labels[rows], ours[rows]) - macro(labels[rows], theirs[rows]) for rows in _draws(patients, draws, seed)
    ]
    low, high = np.percentile(gaps, [2.5, 97.5])
    return Paired(macro(labels, ours), macro(labels, theirs), float(low), float(high))


@dataclass(frozen=True)
class Negation:
    """Of one finding: balanced accuracy of "FINDING" against "no FINDING", and the cosines of their embeddings."""

    finding: str
    positives: int
    accuracy: float
    no: float
    without: float


def negation(model: EcgTextModel, findings: list[Finding], windows: np.ndarray, labels: np.ndarray) -> list[Negation]:
    """Mean of two shares: records with the finding where it beats its negation, and records without where it loses."""
    result = []
    signals = embed(model.network, windows)
    for i, finding in enumerate(findings):
        said, no, without = model.encode_text(
            [finding.prompt, f"no {finding.prompt}", f"without evidence of {finding.prompt}"]
        )
        beats = (signals @ (said - no) > 0).numpy()
        positive, negative = labels[:, i] == 1, labels[:, i] == 0
        accuracy = float("nan")
        if positive.any():
            accuracy = float((beats[positive].mean() + (~beats[negative]).mean()) / 2)
        result.append(Negation(finding.name, int(positive.sum()), accuracy, float(said @ no), float(said @ without)))
    return result


def single_leads(model: EcgTextModel, windows: np.ndarray, labels: np.ndarray, texts: list[str]) -> np.ndarray:
    """AUROC from each lead alone, the others at their baseline: (P, 12)."""
    figures = []
    for lead in range(windows.shape[1]):
        scores = scores_of(model, alone(windows, lead), texts)
        figures.append([auroc(labels[:, i], scores[:, i]) for i in range(len(texts))])
    return np.array(figures).T


def alone(windows: np.ndarray, lead: int) -> np.ndarray:
    """Return the windows with one lead kept, the others at 0, which is their median."""
    kept = np.zeros_like(windows)
    kept[:, lead] = windows[:, lead]
    return kept


def heart_rates(windows: np.ndarray) -> np.ndarray:
    """Beats per minute by the median RR interval; NaN where no beats are found. (N,)."""
    rates = np.full(len(windows), np.nan)
    for i, window in enumerate(windows.astype(np.float64)):
        beats = find_waves(window, FS).beats
        if len(beats) > 2:
            rates[i] = 60 * FS / np.median(np.diff(beats))
    return rates


def far_shares(model: EcgTextModel, known: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of single-lead records that lie further from `known` than 99 % of the whole `windows` do: by lead (12,).

    Distance is 1 - cosine to the nearest embedding of `known`, the records that were trained on, unmasked. Also returns the
    distance that 99 % stay below.
    """
    space = embed(model.network, known)

    def distance(signals: np.ndarray) -> np.ndarray:
        nearest: np.ndarray = (1 - (embed(model.network, signals) @ space.T).amax(dim=1)).numpy()
        return nearest

    limit = float(np.percentile(distance(windows), 99))
    return np.array([(distance(alone(windows, lead)) > limit).mean() for lead in range(windows.shape[1])]), limit


def load_ludb(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return windows in model space and labels by finding.

    The gains of LUDB's headers are not real (each lead would be 1 mV tall); the stored integers are microvolts.
    """
    headers = sorted(folder.glob("*.hea"), key=lambda path: int(path.stem))
    windows, notes = [], []
    for path in headers:
        raw = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
        record = Record.from_channels(path.stem, raw.d_signal.T / 1000.0, raw.fs, raw.sig_name, source=str(path))
        windows.append(in_model_space(record, FS, SAMPLES))
        notes.append(path.read_text(encoding="utf-8"))
    labels = {name: np.array([float(bool(re.search(words, note))) for note in notes]) for name, words in LUDB.items()}
    return np.stack(windows), labels


def load_cinc(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return windows in model space of the first ten seconds, and labels by prompt, of recordings with ``# Dx:`` headers."""
    windows, codes = [], []
    for path in sorted(folder.glob("*.hea")):
        windows.append(in_model_space(read_record(path), FS, SAMPLES))
        found = re.search(r"^# ?Dx: ?(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        codes.append(set(re.split(r"[,\s]+", found[1].strip())) if found else set())
    return np.stack(windows), {
        name: np.array([float(bool(one & here)) for here in codes]) for name, one in CINC.items()
    }


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return what `training.export` wrote, in single precision."""
    with np.load(path, allow_pickle=False) as arrays:
        state = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def yardstick_scores(path: Path, windows: np.ndarray, count: int) -> np.ndarray:
    """Scores (N, findings) of the supervised network in `path`."""
    from training.train import Yardstick

    network = Yardstick(count)
    network.load_state_dict(read_weights(path))
    return network.scores(windows)
