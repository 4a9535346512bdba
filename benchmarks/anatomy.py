"""Are mini's maps on the leads that anatomy predicts? Fold 9 of PTB-XL, default settings; it tests model and method together.

    python -m benchmarks.anatomy --data .cache/recordings/ptbxl --out benchmarks/results/anatomy.json

Leads are ranked by gain and compared with the wall: inferior infarction II, III, aVF; anteroseptal V1 to V4; bundle branch
blocks V1, V6, I. Every recording of the finding counts, whatever its score. The same prompt is also measured on normal
recordings; this shows how much of a ranking is due to the finding and how much is a preference of the prompt. Atrial
fibrillation is measured along time: the map's mass from 240 to 40 ms before each QRS and from the end of T to the next P
(without one, to 240 ms before the next QRS), and within QRS, compared with the duration of these windows.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from training.data import ROOT, PtbXl, load_findings, load_ptbxl

from benchmarks.page import put
from benchmarks.sanity import FS, SAMPLES, window_of
from ecgcam.evidence.localisation import MarkedValues
from ecgcam.evidence.metrics import measure
from ecgcam.models.load import load_model
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.records.waves import QRS, P, T, Waves, find_waves
from ecgcam.results.explanation import Explanation
from ecgcam.results.intervals import mean_interval
from ecgcam.runs.evaluation import maps_of

BLOCK = ("V1", "V6", "I")
WALLS = {
    "inferior-mi": ("II", "III", "aVF"),
    "anteroseptal-mi": ("V1", "V2", "V3", "V4"),
    "lbbb": BLOCK,
    "rbbb": BLOCK,
    "irbbb": BLOCK,
}
METRICS = ("pointing", "rank", "auc")
# Of a beat, and the value of a map that ignores beats; 0 if it follows from the duration of the windows.
BEATS = {"atrial": 0.0, "QRS": 0.0, "atrial, density": 1.0, "QRS, density": 1.0, "atrial denser than QRS": 0.5}
ATRIAL = (-0.24, -0.04)  # s from the onset of QRS
Bools = np.ndarray


def over_wall(explanation: Explanation, wall: tuple[str, ...]) -> dict[str, float]:
    """Return how the leads' gains rank those of the wall: pointing (the first), rank (as many as the wall has), auc; chance."""
    inside = np.array([[lead in wall for lead in explanation.leads]])
    gains = explanation.gains[None].astype(np.float64)
    # Above 0, so that leads that all speak against the prompt are ranked too.
    subject = MarkedValues.of(gains - gains.min() + 1, inside, np.ones(inside.shape, bool))
    return measure(subject) | {"chance": subject.share}


def atrial(waves: Waves) -> Bools:
    """Return where the atria have the floor, (T,): before each QRS, and from the end of T to the next P."""
    marked = np.zeros(waves.samples, bool)
    for beat, onset in enumerate(waves.onset[:, QRS]):
        if not np.isfinite(onset):
            continue
        before, until = (max(round(float(onset) + seconds * waves.fs), 0) for seconds in ATRIAL)
        marked[before:until] = True
        end = waves.offset[beat - 1, T] if beat else np.nan
        following = waves.onset[beat, P]
        if np.isfinite(end):
            marked[round(float(end)) + 1 : round(float(following)) if np.isfinite(following) else before] = True
    return marked & ~ventricular(waves)


def ventricular(waves: Waves) -> Bools:
    """Return where a QRS is, (T,)."""
    marked = np.zeros(waves.samples, bool)
    for onset, offset in zip(waves.onset[:, QRS], waves.offset[:, QRS], strict=True):
        if np.isfinite(onset) and np.isfinite(offset):
            marked[round(float(onset)) : round(float(offset)) + 1] = True
    return marked


def over_beats(explanation: Explanation, waves: Waves) -> dict[str, float] | None:
    """Return the share of the map's mass (leads summed, evidence scale) in both kinds of windows, and the share of their time.

    Density is the one over the other: 1 for a map that ignores beats. None without beats or mass.
    """
    mass = explanation.scaled_map("evidence").clip(min=0).sum(axis=0)
    windows = {"atrial": atrial(waves), "QRS": ventricular(waves)}
    if not mass.sum() or not all(window.any() for window in windows.values()):
        return None
    found = {name: float(mass[window].sum() / mass.sum()) for name, window in windows.items()}
    time = {f"{name}, of the time": float(window.mean()) for name, window in windows.items()}
    density = {f"{name}, density": found[name] / time[f"{name}, of the time"] for name in windows}
    denser = float(density["atrial, density"] > density["QRS, density"])
    return found | time | density | {"atrial denser than QRS": denser}


def rows_with(data: PtbXl, finding: str, fold: int) -> list[int]:
    """Return the fold's rows that have a finding."""
    column = [known.name for known in load_findings()].index(finding)
    return np.flatnonzero((data.folds == fold) & (data.labels[:, column] == 1)).tolist()


def judged(data: PtbXl, model: EcgTextModel, settings: Settings, fold: int, most: int) -> list[dict[str, Any]]:
    """Return a row for each finding and kind of recording (with the finding, normal): each metric's mean, interval and chance."""
    prompts = {finding.name: finding.prompt for finding in load_findings()}
    normal = rows_with(data, "normal", fold)[:most]
    rows = []
    for finding in (*WALLS, "af"):
        for kind, chosen in (("with the finding", rows_with(data, finding, fold)[:most]), ("normal", normal)):
            measured = []
            for row in chosen:
                window = window_of(data, row, model)
                explanation = maps_of(window, [prompts[finding]], model, settings)[prompts[finding]]
                if finding in WALLS:
                    measured.append(over_wall(explanation, WALLS[finding]))
                elif found := over_beats(explanation, find_waves(window.signal, window.fs, window.valid)):
                    measured.append(found)
            if measured:
                values = {name: mean_interval(np.array([one[name] for one in measured])) for name in measured[0]}
                rows.append({"finding": finding, "recordings": kind, "n": len(measured), "values": values})
    return rows


def tables(rows: list[dict[str, Any]]) -> str:
    """Return both tables as Markdown."""
    lines = [
        "| finding | recordings | n | first lead in the wall | as many as the wall has | AUC | chance |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    beats = ["| recordings | n | mass | mean | chance |", "|---|---:|---|---:|---:|"]
    for row in rows:
        shown = {name: f"{mean:.2f} [{low:.2f}, {high:.2f}]" for name, (mean, low, high) in row["values"].items()}
        if row["finding"] in WALLS:
            cells = " | ".join(shown[name] for name in METRICS)
            chance = row["values"]["chance"][0]
            lines.append(
                f"| {row['finding']} | {row['recordings']} | {row['n']} | {cells} | {chance:.2f}, {chance:.2f}, 0.50 |"
            )
        else:
            for name in BEATS:
                chance = row["values"].get(f"{name}, of the time", (BEATS[name],))[0]
                beats.append(f"| {row['recordings']} | {row['n']} | {name} | {shown[name]} | {chance:.2f} |")
    return "\n".join([*lines, "", *beats])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--most", type=int, default=30, help="recordings of a kind at most")
    parser.add_argument("--method", default="grad-cam")
    parser.add_argument("--layer")
    parser.add_argument("--mask")
    args = parser.parse_args()
    data = load_ptbxl(args.data, FS, SAMPLES, load_findings(), ROOT / ".cache")
    model = load_model("mini", device="cpu")
    settings = replace(Settings(gradient=None), method=args.method, layer=args.layer, mask=args.mask)
    rows = judged(data, model, settings, args.fold, args.most)
    print(tables(rows))
    if args.page:
        put(args.page, "anatomy", tables(rows), model.checkpoint_sha256)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "model": model.checkpoint_sha256,
        "method": args.method,
        "layer": args.layer,
        "mask": args.mask,
        "rows": rows,
    }
    args.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
