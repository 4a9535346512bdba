"""How far from real recordings do masks take mini, and which distance detects it? On PTB-XL's fold 9.

    python -m benchmarks.masks --data .cache/recordings/ptbxl --ludb .cache/recordings/ludb --out benchmarks/results/masks.json

First, distances: statistics of folds 1-7, a limit that 99 % of fold 8 stay below, and the share beyond it of fold 9, LUDB,
simulated recordings, and of signals that are not recordings: white noise, shuffled samples and pieces, silence. Then, fills: how
far the embedding moves, and how many lead-masked signals lie beyond the shipped limits.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training.data import ROOT, PtbXl, load_findings, load_ptbxl
from training.familiarity import cells_and_embeddings, distances, fit_reference
from training.figures import load_ludb

from benchmarks.page import put
from ecgcam.attribution.masking import FILLS, fill_signal
from ecgcam.models.load import load_model
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.reference import KNOWN, Reference
from ecgcam.records import read_record, take_window
from ecgcam.records.simulator import FINDINGS, simulate_batch
from ecgcam.records.waves import find_waves
from ecgcam.results.intervals import mean_interval

FS, SAMPLES = 250.0, 2500
LAYERS = ("signal.stem", "signal.stages.0", "signal.stages.1")
LIMIT = KNOWN
Array = np.ndarray
Distance = Callable[[Array], Array]


def shuffled_pieces(windows: Array, samples: int, rng: np.random.Generator) -> Array:
    """Return windows (N, L, T) with pieces of so many samples in another order, the same in every lead."""
    count = windows.shape[2] // samples
    parts = windows.reshape(*windows.shape[:2], count, samples)
    return np.stack([part[:, rng.permutation(count)].reshape(windows.shape[1:]) for part in parts])


def no_recordings(windows: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Return signals that are not recordings, in the numbers of `windows` (N, L, T): noise, shuffled, empty."""
    white = rng.standard_normal(windows.shape).astype(np.float32)
    return {
        "white noise, each lead's own deviation": white * windows.std(axis=2, keepdims=True),
        "white noise, 0.1 mV": 0.1 * white,
        "white noise, 1 mV": white,
        "shuffled samples": shuffled_pieces(windows, 1, rng),
        **{f"shuffled pieces of {ms} ms": shuffled_pieces(windows, ms // 4, rng) for ms in (40, 100, 200)},
        "empty": np.zeros_like(windows[:1]),
    }


def mahalanobis(known: Array, shrink: float = 0.1) -> Distance:
    """Return the distance from the mean of `known` (N, F) by its covariance, shrunk towards the features' own variances."""
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    z = (known - mean) / deviation
    inverse = np.linalg.inv((1 - shrink) * np.cov(z.T) + shrink * np.eye(z.shape[1]))

    def distance(features: Array) -> Array:
        z = (features - mean) / deviation
        return np.sqrt(np.einsum("nf,fg,ng->n", z, inverse, z))

    return distance


def nearest(known: Array, which: int = 5) -> Distance:
    """Return the distance to the `which`-th nearest of `known` (N, F), each feature over its deviation."""
    from scipy.spatial import cKDTree

    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    tree = cKDTree((known - mean) / deviation)
    return lambda features: tree.query((features - mean) / deviation, k=[which])[0][:, 0]


def pooled(model: EcgTextModel, windows: Array, layer: str) -> tuple[Array, Array]:
    """Return log mean magnitudes and deviations over time of a layer's channels (N, 2 C), and embeddings (N, D)."""
    batches, embeddings = cells_and_embeddings(model, windows, layer)
    parts = [torch.cat([cells.mean(dim=2).abs(), cells.std(dim=2)], dim=1) for cells in batches]
    return np.log(torch.cat(parts).numpy() + 1e-3), embeddings.numpy()


def tried(model: EcgTextModel, data: PtbXl, sets: dict[str, Array]) -> dict[str, dict[str, float]]:
    """Return the share of each set beyond each distance's limit, and of the shipped pair."""
    known, chosen = data.windows[data.folds <= 7], data.windows[data.folds == 8]
    found: dict[str, dict[str, float]] = {}

    def keep(name: str, limit_of: Array, far: dict[str, Array]) -> None:
        limit = np.quantile(limit_of, LIMIT)
        found[name] = {what: float((values > limit).mean()) for what, values in far.items()}
        print(name, {what: round(share, 2) for what, share in found[name].items()}, flush=True)

    for layer in LAYERS:
        train, embedded = pooled(model, known, layer)
        detach_norm, held_embedded = pooled(model, chosen, layer)
        there = {name: pooled(model, windows, layer) for name, windows in sets.items()}
        for name, make in (("Mahalanobis", mahalanobis), ("5 nearest", nearest)):
            far = make(train)
            keep(
                f"{layer}, pooled, {name}", far(detach_norm), {what: far(values) for what, (values, _) in there.items()}
            )
            if layer == LAYERS[-1]:
                far = make(embedded)
                keep(
                    f"embedding, {name}", far(held_embedded), {what: far(values) for what, (_, values) in there.items()}
                )
        if layer != LAYERS[0]:
            other = fit_reference(model, known, chosen, layer)
            far_of = {what: distances(model, windows, other)[0].numpy() for what, windows in sets.items()}
            keep(f"{layer}, cells", distances(model, chosen, other)[0].numpy(), far_of)
    reference = reference_of(model)
    both = {what: [part.numpy() for part in distances(model, windows, reference)] for what, windows in sets.items()}
    keep(
        "embedding, nearest by cosine",
        distances(model, chosen, reference)[1].numpy(),
        {what: far[1] for what, far in both.items()},
    )
    limits = np.array(reference.limits)
    found["shipped: cells and embedding"] = {
        what: float((np.stack(far) > limits[:, None]).any(axis=0).mean()) for what, far in both.items()
    }
    return found


def reference_of(model: EcgTextModel) -> Reference:
    """Return the statistics next to the model's weights."""
    if model.reference is None:
        raise SystemExit("mini has no statistics next to its weights; run python -m training.reference")
    return model.reference


def typical_beat(windows: Array, before: float = 0.3, after: float = 0.5) -> Array:
    """Return the median over recordings (N, L, T) of each lead's median beat, (L, samples), at `FS`."""
    first, stop = round(before * FS), round(after * FS)
    medians = []
    for window in windows.astype(np.float64):
        beats = [beat for beat in find_waves(window, FS).beats if first <= beat <= window.shape[1] - stop]
        if len(beats) > 2:
            medians.append(np.median([window[:, beat - first : beat + stop] for beat in beats], axis=0))
    beat: Array = np.median(medians, axis=0)
    return beat


def beats_laid(window: Array, beat: Array, before: float = 0.3) -> Array:
    """Return a fill (L, T): the typical beat at each of the window's own beats, 0 between; where two meet, the later one's."""
    filled = np.zeros_like(window)
    for at in find_waves(window.astype(np.float64), FS).beats:
        begin = int(at) - round(before * FS)
        low, high = max(begin, 0), min(begin + beat.shape[1], window.shape[1])
        filled[:, low:high] = beat[:, low - begin : high - begin]
    return filled


def regression(windows: Array) -> Array:
    """Return the second moments (L, L) of leads over windows (N, L, T), each less its median: for linear prediction."""
    flat = windows[:, :, ::10].transpose(1, 0, 2).reshape(windows.shape[1], -1).astype(np.float64)
    return flat @ flat.T / flat.shape[1]


def predicted(window: Array, kept: list[int], moments: Array) -> Array:
    """Return a window (L, T) whose other leads are the best linear prediction, sample by sample, from those kept."""
    inner = moments[np.ix_(kept, kept)]
    weights = np.linalg.solve(inner + 1e-6 * np.trace(inner) / len(kept) * np.eye(len(kept)), moments[kept])
    made = (weights.T @ window[kept]).astype(np.float32)
    made[kept] = window[kept]
    return made


def offsets(folder: Path, ids: Array) -> Array:
    """Return the medians (N, L), mV, subtracted from the recordings' leads: 0 mV lies that far below 0 in model space."""
    with (folder / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
        paths = {int(row["ecg_id"]): row["filename_hr"] for row in csv.DictReader(file)}
    windows = [take_window(read_record(folder / paths[int(number)]), FS, SAMPLES) for number in ids]
    return np.stack([np.median(window.signal, axis=1) for window in windows])


def masked_by(
    fill: str, window: Array, kept: list[int], offset: Array, beat: Array, moments: Array, mean: Array
) -> Array:
    """Return a window (L, T) in model space with all leads but `kept` masked; `offset` (L,) is what was subtracted from it."""
    if fill == "regression":
        return predicted(window, kept, moments)
    if fill == "median beat":
        filled = beats_laid(window, beat)
    else:
        zero_mv = -offset[:, None].astype(np.float32)
        filled = fill_signal(fill, window, np.ones(window.shape, bool), zero_mv, mean)
    masked = filled.astype(np.float32).copy()
    masked[kept] = window[kept]
    return masked


def fills(model: EcgTextModel, data: PtbXl, folder: Path, records: int, seed: int) -> list[dict[str, Any]]:
    """Return, for each fill and each way to mask, how far it takes the model; a lead alone, or all but one."""
    known = data.windows[data.folds <= 7].astype(np.float32)
    normal = (data.labels[:, 0] == 1)[data.folds <= 7]
    beat, moments, mean = (
        typical_beat(known[normal][:60]),
        regression(known),
        known.mean(axis=(0, 2), dtype=np.float64),
    )
    rng = np.random.default_rng(seed)
    held_out = data.windows[data.folds == 9].astype(np.float32)
    drawn = np.sort(rng.choice(len(held_out), records, replace=False))
    chosen, taken_off = held_out[drawn], offsets(folder, data.ids[data.folds == 9][drawn])
    reference, rows = reference_of(model), []
    with torch.no_grad():
        whole = model.encode_signal(torch.from_numpy(chosen))
    for fill in (*FILLS, "regression", "median beat"):
        for name, kept_of in (
            ("lead alone", lambda lead: [lead]),
            ("lead masked", lambda lead: [i for i in range(12) if i != lead]),
        ):
            signals = np.stack(
                [
                    masked_by(fill, window, kept_of(lead), offset, beat, moments, mean)
                    for window, offset in zip(chosen, taken_off, strict=True)
                    for lead in range(12)
                ]
            )
            with torch.no_grad():
                moved = torch.cat([model.encode_signal(part) for part in torch.from_numpy(signals).split(64)])
            shift = 1 - (moved * whole.repeat_interleave(12, dim=0)).sum(dim=1).numpy()
            cells, embedding = (part.numpy() for part in distances(model, signals, reference))
            far = {"cells": cells > reference.limits[0], "embedding": embedding > reference.limits[1]}
            far["either"] = far["cells"] | far["embedding"]
            row = {"fill": fill, "masked": name, "shift": mean_interval(shift.reshape(records, 12).mean(axis=1))}
            row |= {what: mean_interval(beyond.reshape(records, 12).mean(axis=1)) for what, beyond in far.items()}
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    shown = [
        f"{row[what][0]:.2f} [{row[what][1]:.2f}, {row[what][2]:.2f}]"
        for what in ("shift", "cells", "embedding", "either")
    ]
    return f"| {row['masked']} | {row['fill']} | " + " | ".join(shown) + " |"


def by_finding(model: EcgTextModel, data: PtbXl) -> dict[str, tuple[float, int]]:
    """Return the share of fold 9's recordings of each finding that the shipped limits flag."""
    rows = data.folds == 9
    reference = reference_of(model)
    cells, embedding = (part.numpy() for part in distances(model, data.windows[rows], reference))
    far = (cells > reference.limits[0]) | (embedding > reference.limits[1])
    labels = data.labels[rows] == 1
    names = [finding.name for finding in load_findings()]
    return {
        name: (float(far[labels[:, i]].mean()), int(labels[:, i].sum()))
        for i, name in enumerate(names)
        if labels[:, i].sum() >= 5
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the shares as Markdown, a line a distance."""
    columns = list(next(iter(found.values())))
    lines = ["| distance | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [
        f"| {name} | " + " | ".join(f"{share:.2f}" for share in row.values()) + " |" for name, row in found.items()
    ]
    return "\n".join(lines)


def sets_of(data: PtbXl, ludb: Path, seed: int) -> dict[str, Array]:
    """Return everything that is compared with the limits."""
    held_out = data.windows[data.folds == 9].astype(np.float32)
    names = [name for name in FINDINGS for _ in range(5)]
    simulated = simulate_batch(names, 2000, seconds=SAMPLES / FS, fs=FS)
    simulated = simulated - np.median(simulated, axis=2, keepdims=True)
    real = {"fold 9": held_out, "LUDB": load_ludb(ludb)[0], "simulated": simulated.astype(np.float32)}
    return real | no_recordings(held_out[::2], np.random.default_rng([seed, 9]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ludb", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--records", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = load_ptbxl(args.data, FS, SAMPLES, load_findings(), ROOT / ".cache")
    model = load_model("mini", device="cpu")
    result: dict[str, Any] = {
        "model": model.checkpoint_sha256,
        "distances": tried(model, data, sets_of(data, args.ludb, args.seed)),
    }
    tables = [table(result["distances"])]
    print(tables[0])
    result["by finding"] = by_finding(model, data)
    print({name: f"{share:.2f} of {count}" for name, (share, count) in result["by finding"].items()})
    result["fills"] = fills(model, data, args.data, args.records, args.seed)
    head = "| masked | fill | 1 - cosine | beyond: cells | embedding | either |\n|---|---|---:|---:|---:|---:|"
    tables.append("\n".join([head, *(_line(row) for row in result["fills"])]))
    if args.page:
        put(args.page, "distances", tables[0], model.checkpoint_sha256)
        put(args.page, "fills", tables[1], model.checkpoint_sha256)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
