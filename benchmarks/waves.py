"""Beats and waves against LUDB's cardiologists: python -m benchmarks.waves FOLDER [--peer] [--fs HZ] [--kinds].

FOLDER holds LUDB as WFDB records (1.dat, 1.i, ...). Records 1 to 99 are those that `ecgcam.records.waves` was chosen on; 101 to
199 score it. ``--peer`` scores NeuroKit2's wavelet delineation, lead by lead, instead; ``--kinds`` also scores the records of
each of `KINDS` by themselves.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import wfdb

from ecgcam.records.waves import WAVES, P, find_waves

LEADS = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
SYMBOLS = ("p", "N", "t")
# Of which records by themselves: what a line of the header's diagnoses contains.
KINDS = {
    "AV block": "AV block",
    "bundle branch block": "bundle branch block",
    "extrasystoles": "extrasystole",
    "atrial fibrillation": "Rhythm: Atrial fibrillation",
    "pacing": "pacing",
}
NEAR = 0.15  # s between a QRS and its annotation
RATE = 500.0

# (B, 3, 3): onset, peak and offset (s) of the P, QRS and T of each beat of a lead; NaN where unknown.
Delineation = Callable[[np.ndarray, float], list[np.ndarray]]


@dataclass
class Scores:
    """What a delineation found, counted over beats and leads; errors in ms."""

    beats: int = 0
    found: int = 0
    without_p: int = 0
    false_p: int = 0
    with_p: int = 0
    called_p: int = 0
    errors: dict[str, list[float]] = field(default_factory=dict)

    @property
    def sensitivity(self) -> float:
        """Share of the annotated QRS that were found."""
        return self.found / self.beats

    @property
    def false_p_share(self) -> float:
        """Share of the beats without an annotated P in which one is called."""
        return self.false_p / self.without_p

    def median(self, bound: str) -> float:
        """Median absolute error of a bound ("P onset"), ms, where both know it."""
        return float(np.median(np.abs(self.known(bound))))

    def known(self, bound: str) -> np.ndarray:
        """Errors where the delineation has the bound."""
        errors = np.array(self.errors[bound])
        return errors[np.isfinite(errors)]


def annotated(stem: Path, lead: str) -> dict[str, np.ndarray]:
    """Return the annotations of a lead: onset, peak and offset (s) of each wave, (n, 3), by symbol; NaN where not marked."""
    marks = wfdb.rdann(str(stem), lead)
    samples, symbols = marks.sample / RATE, marks.symbol
    rows: dict[str, list[tuple[float, float, float]]] = {symbol: [] for symbol in SYMBOLS}
    for at, symbol in enumerate(symbols):
        if symbol in rows:
            onset = samples[at - 1] if at and symbols[at - 1] == "(" else np.nan
            offset = samples[at + 1] if at + 1 < len(symbols) and symbols[at + 1] == ")" else np.nan
            rows[symbol].append((onset, samples[at], offset))
    return {symbol: np.array(row).reshape(-1, 3) for symbol, row in rows.items()}


def count(scores: Scores, truth: dict[str, np.ndarray], waves: np.ndarray) -> None:
    """Add a lead's beats to the scores. Beats are those annotated: LUDB's marks do not cover the whole recording."""
    qrs = truth["N"]
    for beat, mark in enumerate(qrs):
        scores.beats += 1
        distance = np.abs(waves[:, 1, 1] - mark[1])
        if not np.any(distance <= NEAR):
            continue
        scores.found += 1
        found = waves[np.nanargmin(distance)]
        following = qrs[beat + 1, 1] if beat + 1 < len(qrs) else mark[1] + 0.7
        p = [wave for wave in truth["p"] if beat and qrs[beat - 1, 1] < wave[1] < mark[1]]
        t = [wave for wave in truth["t"] if mark[1] < wave[1] < following]
        if beat and not p:  # the first beat's P may lie before the annotated span
            scores.without_p += 1
            scores.false_p += bool(np.isfinite(found[P, 1]))
        if p:
            scores.with_p += 1
            scores.called_p += bool(np.isfinite(found[P, 1]))
        for wave, marked in enumerate((p[-1] if p else None, mark, t[0] if t else None)):
            for bound, name in ((0, "onset"), (2, "offset")):
                if marked is not None and np.isfinite(marked[bound]):
                    error = 1000 * (found[wave, bound] - marked[bound])
                    scores.errors.setdefault(f"{WAVES[wave]} {name}", []).append(float(error))


def ours(signal: np.ndarray, fs: float) -> list[np.ndarray]:
    """`ecgcam.records.waves`. Where a QRS has no bounds its beat still counts as found."""
    waves = find_waves(signal, fs)
    leads = []
    for peak in waves.peak:
        peak[:, 1] = np.where(np.isnan(peak[:, 1]), waves.beats, peak[:, 1])
        leads.append(np.stack([waves.onset, peak, waves.offset], axis=-1) / fs)
    return leads


def peer(signal: np.ndarray, fs: float) -> list[np.ndarray]:
    """NeuroKit2's own steps, lead by lead: clean, R peaks, discrete wavelet transform. What raises has found nothing."""
    import neurokit2

    leads = []
    for lead in signal:
        try:
            clean = neurokit2.ecg_clean(lead, sampling_rate=int(fs))
            peaks = neurokit2.ecg_peaks(clean, sampling_rate=int(fs))[1]["ECG_R_Peaks"]
            found = neurokit2.ecg_delineate(clean, peaks, sampling_rate=int(fs), method="dwt")[1]
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            leads.append(np.zeros((0, 3, 3)))
            continue
        places = {
            bound: [np.array(found[f"ECG_{wave}_{bound}"], float) for wave in "PRT"] for bound in ("Onsets", "Offsets")
        }
        middles = [np.array(found["ECG_P_Peaks"], float), peaks.astype(float), np.array(found["ECG_T_Peaks"], float)]
        leads.append(np.stack([np.stack(part, 1) for part in (places["Onsets"], middles, places["Offsets"])], -1) / fs)
    return leads


def score(folder: Path, numbers: Iterable[int], delineate: Delineation = ours, fs: float = RATE) -> Scores:
    """Score a delineation on those of LUDB's records `numbers` that `folder` has, at `fs` Hz (a divisor of 500)."""
    from scipy.signal import resample_poly

    scores = Scores()
    for number in numbers:
        stem = folder / str(number)
        if not stem.with_suffix(".hea").exists():
            continue
        # The header's gains are not real: the stored integers are microvolts.
        signal = wfdb.rdrecord(str(stem), physical=False).d_signal.T / 1000
        if fs < RATE:
            signal = resample_poly(signal, 1, round(RATE / fs), axis=1)
        for lead, waves in zip(LEADS, delineate(signal, fs), strict=True):
            count(scores, annotated(stem, lead), waves)
    return scores


def of_kind(folder: Path, numbers: Iterable[int], words: str) -> list[int]:
    """Return those of the records whose header has the words among its diagnoses."""
    stems = {number: folder / f"{number}.hea" for number in numbers}
    return [n for n, path in stems.items() if path.exists() and words in path.read_text(encoding="utf-8")]


def report(name: str, scores: Scores) -> None:
    """Print the scores of some records."""
    print(f"records {name}, {scores.beats} QRS annotated")
    print(f"  QRS found {scores.sensitivity:.4f}")
    called = scores.called_p / scores.with_p if scores.with_p else float("nan")
    false = scores.false_p_share if scores.without_p else float("nan")
    print(f"  P called in {called:.3f} of {scores.with_p} beats that have one marked, ", end="")
    print(f"in {false:.3f} of {scores.without_p} that have none")
    for bound, errors in scores.errors.items():
        known = scores.known(bound)
        if not len(known):
            continue
        print(f"  {bound:10} median error {scores.median(bound):5.1f} ms, bias {np.median(known):+6.1f} ms, ", end="")
        print(f"90th percentile {np.percentile(np.abs(known), 90):6.1f} ms, unknown {1 - len(known) / len(errors):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--fs", type=float, default=RATE)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    delineate = peer if options.peer else ours
    for name, numbers in (("1 to 99", range(1, 100)), ("101 to 199", range(101, 200))):
        began = time.process_time()
        report(name, score(options.folder, numbers, delineate, options.fs))
        print(f"  {time.process_time() - began:.1f} s of processor time, with reading")
        for kind, words in KINDS.items() if options.kinds else ():
            report(
                f"{name}, {kind}", score(options.folder, of_kind(options.folder, numbers, words), delineate, options.fs)
            )


if __name__ == "__main__":
    main()
