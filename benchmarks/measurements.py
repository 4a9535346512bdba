"""Measurements against the simulator's own values, and their processor time: python -m benchmarks.measurements [FOLDER].

For each finding, six seeds, noise 1: median error, and the 90th percentile of its magnitude. The truth of ST (J + 60 ms) and T is
read from the same recording without noise, at the simulator's own bounds. With a FOLDER, the processor time of each of its
recordings, reading included.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from ecgcam.records.measurements import Measurements, measure, measure_signal
from ecgcam.records.simulator import FINDINGS, Simulation, simulate

SEEDS = 6
INTERVALS, AMPLITUDES = ("pr_ms", "qrs_ms", "qt_ms"), ("st_mv", "t_mv")
COUNTED = 200  # recordings of a folder


def usual_beats(made: Simulation) -> list[tuple[float, float]]:
    """Return QRS intervals (s) of the beats of the most frequent symbol, away from the edges."""
    usual = max(set(made.symbols), key=made.symbols.count)
    times = {at / made.fs: symbol for at, symbol in zip(made.beats, made.symbols, strict=True)}
    found = []
    for name, start, stop in made.intervals:
        kinds = [symbol for at, symbol in times.items() if start - 0.02 < at < stop + 0.02]
        if name == "QRS" and kinds and kinds[0] == usual and start > 0.4 and stop < 9.2:
            found.append((start, stop))
    return found


def true_intervals(made: Simulation) -> dict[str, float]:
    """Return the medians over the usual beats, ms; NaN where the simulation has no such wave."""
    beats = usual_beats(made)
    starts, ends = [b for n, b, _ in made.intervals if n == "P"], [e for n, _, e in made.intervals if n == "T"]
    # Above 0.5 s a P belongs to an earlier beat.
    before = [start - max((p for p in starts if p < start), default=np.nan) for start, _ in beats]
    after = [min((end for end in ends if end > start), default=np.nan) - start for start, _ in beats]
    return {
        "qrs_ms": float(np.median([1000 * (stop - start) for start, stop in beats])),
        "pr_ms": 1000 * float(np.median(before)) if np.median(before) < 0.5 else float("nan"),
        "qt_ms": 1000 * float(np.median(after)),
    }


def true_amplitudes(heart: Simulation) -> dict[str, dict[str, float]]:
    """Return ST and T of each lead, mV over the level before QRS, of a recording without noise: medians over the usual beats."""
    waves = [(round(start * heart.fs), round(stop * heart.fs)) for name, start, stop in heart.intervals if name == "T"]
    rows: dict[str, list[tuple[float, float]]] = {lead: [] for lead in heart.leads}
    if "/" in heart.symbols:  # a pacing spike lies where the level is taken
        return {}
    for start, stop in usual_beats(heart):
        first, j = round(start * heart.fs), round(stop * heart.fs)
        over = heart.signal - heart.signal[:, first - 2 : first].mean(axis=1, keepdims=True)
        t = min(((begin, end) for begin, end in waves if end > j), default=None)
        if t is None:
            continue
        for row, lead in enumerate(heart.leads):
            wave = over[row, t[0] : t[1] + 1]
            rows[lead].append((float(over[row, j + round(0.06 * heart.fs)]), float(wave[np.abs(wave).argmax()])))
    return {
        lead: dict(zip(AMPLITUDES, np.median(found, axis=0).tolist(), strict=True))
        for lead, found in rows.items()
        if found
    }


def errors_of(finding: str) -> dict[str, list[float | None]]:
    """Return the errors of each value: None where it is not measured, NaN where it is and there is no such wave."""
    found: dict[str, list[float | None]] = {name: [] for name in (*INTERVALS, *AMPLITUDES)}
    for seed in range(SEEDS):
        made, heart = simulate(finding, seed), simulate(finding, seed, noise=0)
        measured, truth, heights = (
            measure_signal(made.signal, made.fs, made.leads), true_intervals(made), true_amplitudes(heart)
        )  # fmt: skip
        for name in INTERVALS:
            value = measured.values[name]
            found[name].append(None if value is None else value - truth[name])
        for lead, want in heights.items():
            for name in AMPLITUDES:
                got = measured.leads[lead][name]
                found[name].append(got - want[name] if isinstance(got, float) else None)
    return found


def cell(errors: list[float | None], digits: int) -> str:
    """Return "median (90th percentile)", how many are null, and how many are measured where there is no such wave."""
    known = np.array([one for one in errors if one is not None and np.isfinite(one)])
    null = sum(one is None for one in errors)
    text = f"{np.median(known):+.{digits}f} ({np.percentile(np.abs(known), 90):.{digits}f})" if len(known) else "-"
    false = len(errors) - null - len(known)
    text += f", null in {null} of {len(errors)}" if null else ""
    return text + (f", a value in {false} of {len(errors)} without one" if false else "")


def timed(folder: Path) -> str:
    """Return the processor time of recordings of a folder, one process and thread."""
    paths = sorted(folder.rglob("*.hea"))
    measured: list[Measurements] = [measure(paths[0])]  # imports
    begin = time.process_time()
    measured += [measure(path) for path in paths[:: max(1, len(paths) // COUNTED)]]
    count = len(measured) - 1
    each = (time.process_time() - begin) / count
    return f"{count} of {len(paths)} recordings: {1000 * each:.0f} ms of processor time each, {each * len(paths):.0f} s for all"


def main() -> None:
    print("| finding | PR, ms | QRS, ms | QT, ms | ST, mV | T, mV |")
    for finding in FINDINGS:
        found = errors_of(finding)
        cells = [cell(errors, 3 if name in AMPLITUDES else 0) for name, errors in found.items()]
        print(f"| {finding} | {' | '.join(cells)} |", flush=True)
    if len(sys.argv) > 1:
        print(timed(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
