"""Do mini's maps hang on what it learnt and on what it was asked, and on nothing else? On recordings of PTB-XL's fold 9.

    python -m benchmarks.sanity --data .cache/recordings/ptbxl --out benchmarks/results/sanity.json

Three recordings of each finding with so many (more than fifty in all), each explained for its finding's prompt by the shipped
defaults. Spearman's rank correlation of the cells before relu, pooled over leads, with the maps of: networks whose weights were
drawn anew from the top layer down (two draws a depth, five of all); other prompts, negations, synonyms, sentences around the
prompt; the recording with noise and a cell later; and networks trained from other seeds on folds 1-7 (--seeds: their files),
which is as much as two networks that learnt the same can agree.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from training.data import ROOT, PtbXl, load_findings, load_ptbxl

from benchmarks.page import put
from ecgcam.evidence import sanity
from ecgcam.evidence.dependence import against_recordings, cells_of, maps_of, relatives_of
from ecgcam.evidence.intervals import mean_interval
from ecgcam.models.base import EcgTextModel
from ecgcam.models.load import load_model
from ecgcam.models.spec import windows_of
from ecgcam.records import CANONICAL_LEADS, Record, Window
from ecgcam.settings import Settings

FS, SAMPLES = 250.0, 2500
# All phrases that the vocabulary has for a finding, at most so many: three are too few to name a figure.
PHRASES = 8
# Draws of each depth on the way down; all weights are drawn as often as asked.
ON_THE_WAY = 2
Values = dict[str, list[float]]


def cases_of(data: PtbXl, fold: int, each: int, seed: int) -> list[tuple[int, str]]:
    """Return (row, prompt) of `each` recordings of every finding that the fold has so many of, drawn by lot."""
    rng = np.random.default_rng([seed, 8])
    chosen = []
    for column, finding in enumerate(load_findings()):
        rows = np.flatnonzero((data.folds == fold) & (data.labels[:, column] == 1))
        if len(rows) >= each:
            chosen += [(int(row), finding.prompt) for row in np.sort(rng.choice(rows, each, replace=False))]
    return chosen


def window_of(data: PtbXl, row: int, model: EcgTextModel) -> Window:
    """Return a recording's window."""
    record = Record(str(data.ids[row]), data.windows[row].astype(np.float32), FS, CANONICAL_LEADS)
    return next(windows_of(record, model.input))


def settled(twin: EcgTextModel, windows: np.ndarray) -> EcgTextModel:
    """Return a network of random weights whose batch averages were taken anew, in place.

    With the trained network's averages, random weights answer almost the same to every recording.
    """
    norms = [module for module in twin.network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over what it sees
        norm.train()
    with torch.no_grad():
        twin.network(torch.from_numpy(windows.astype(np.float32)))
    twin.network.eval()
    return twin


def spread(model: EcgTextModel, windows: np.ndarray) -> float:
    """Return the mean 1 - cosine between a network's answers to different recordings."""
    with torch.no_grad():
        embedded = model.encode_signal(torch.from_numpy(windows.astype(np.float32)))
    count = len(embedded)
    return float(1 - ((embedded @ embedded.T).sum() - count) / (count * (count - 1)))


def judged(
    data: PtbXl, fold: int, model: EcgTextModel, others: list[EcgTextModel], each: int, draws: int, settings: Settings
) -> dict[str, Any]:
    """Return every correlation by name, and facts about the networks."""
    cases = cases_of(data, fold, each, settings.seed)
    windows = [window_of(data, row, model) for row, _ in cases]
    found = [maps_of(window, [text], model, settings) for window, (_, text) in zip(windows, cases, strict=True)]
    values: Values = defaultdict(list)
    some = data.windows[data.folds == fold][:64]
    facts = {"spread, trained": spread(model, some)}

    def hold(name: str, twin: EcgTextModel) -> None:
        for window, (_, text), ours in zip(windows, cases, found, strict=True):
            cells = cells_of(maps_of(window, [text], twin, settings)[text])
            values[name].append(sanity.agreement(cells_of(ours[text]), cells))

    layers = sanity.signal_layers(model)
    tops = _tops(layers)
    facts_spread = []
    for draw in range(draws):
        for name, count in tops.items():
            if count < len(layers) and draw >= ON_THE_WAY:
                continue
            hold(f"weights from the top to {name}", sanity.randomised(model, count / len(layers), settings.seed + draw))
        twin = sanity.randomised(model, 1.0, settings.seed + draw)
        facts_spread.append(spread(twin, some))
        if draw < ON_THE_WAY:
            hold("all weights, batch averages taken anew", settled(twin, some))
        print(f"draw {draw}", flush=True)
    facts["spread, all weights random"] = float(np.mean(facts_spread))
    for window, (_, text), ours in zip(windows, cases, found, strict=True):
        cells = cells_of(ours[text])
        kinds = relatives_of(text, model, settings.seed, PHRASES)
        asked = list(dict.fromkeys(other for several in kinds.values() for other in several))
        maps = maps_of(window, asked, model, settings)
        for kind, several in kinds.items():
            values[kind].append(float(np.mean([sanity.agreement(cells, cells_of(maps[other])) for other in several])))
        for kind, value in against_recordings(window, ours, model, settings)[text].items():
            values[kind].append(value)
    trained = [
        [cells_of(maps_of(w, [t], other, settings)[t]) for w, (_, t) in zip(windows, cases, strict=True)]
        for other in others
    ]
    for one, other in combinations(trained, 2):
        values["another seed"] += [sanity.agreement(a, b) for a, b in zip(one, other, strict=True)]
    return {"records": len({row for row, _ in cases}), "cases": len(cases), "values": values, "facts": facts}


def _tops(layers: list[str]) -> dict[str, int]:
    """Return how many of the layers lie at or above the head, each block, each stage and the stem, from the top down."""
    tops: dict[str, int] = {}
    for at in range(len(layers) - 1, -1, -1):
        parts = layers[at].split(".")
        name = ".".join(parts[1 : 4 if parts[1] == "stages" else 2])
        tops[name] = len(layers) - at
    return tops


def rows_of(values: Values, cases: int) -> list[dict[str, Any]]:
    """Return mean and interval (recordings drawn, with all their values), and the mean magnitude, of each name."""
    rows = []
    for name, several in values.items():
        by_case = np.array(several).reshape(-1, cases)
        mean, low, high = mean_interval(by_case.mean(axis=0))
        rows.append(
            {"held against": name, "mean": mean, "low": low, "high": high, "magnitude": float(np.abs(by_case).mean()),
             "n": by_case.size}
        )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| held against | correlation | magnitude | n |", "|---|---:|---:|---:|"]
    for row in rows:
        interval = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        lines.append(f"| {row['held against']} | {interval} | {row['magnitude']:.3f} | {row['n']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="a page whose tables are put anew")
    parser.add_argument(
        "--seeds", type=Path, nargs="*", default=sorted((ROOT / "training/weights").glob("select-*.npz"))
    )
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--layer")
    parser.add_argument("--mask")
    args = parser.parse_args()
    data = load_ptbxl(args.data, FS, SAMPLES, load_findings(), ROOT / ".cache")
    model = load_model("mini", device="cpu")
    others = [load_model("mini", path, device="cpu") for path in args.seeds]
    settings = replace(Settings(gradient=None), layer=args.layer, mask=args.mask)
    found = judged(data, args.fold, model, others, args.each, args.draws, settings)
    rows = rows_of(found["values"], found["cases"])
    print(
        f"{found['cases']} maps of {found['records']} recordings of fold {args.fold}; {found['facts']}\n{table(rows)}"
    )
    if args.page:
        put(args.page, "sanity", table(rows), model.checkpoint_sha256)
    kept = {key: found[key] for key in ("records", "cases", "facts")} | {
        "model": model.checkpoint_sha256, "seeds": [path.name for path in args.seeds], "rows": rows,
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
